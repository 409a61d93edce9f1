"""Encoders and decoders of one modality."""

from neuromvm.networks.convolution import PathDecoder, PathEncoder
from neuromvm.networks.encoder import ConstantScale, Encoder, NoScale, PredictedScale, SimplexMean
from neuromvm.networks.layout import Layout, ToChannels, ToFeatures
from neuromvm.networks.mlp import Decoder, mlp
from neuromvm.networks.own import hidden_width, own_networks, register_networks
from neuromvm.networks.residual import ResidualSize, residual_readout, residual_trunk

__all__ = [
    "ConstantScale",
    "Decoder",
    "Encoder",
    "Layout",
    "NoScale",
    "PathDecoder",
    "PathEncoder",
    "PredictedScale",
    "ResidualSize",
    "SimplexMean",
    "ToChannels",
    "ToFeatures",
    "hidden_width",
    "mlp",
    "own_networks",
    "register_networks",
    "residual_readout",
    "residual_trunk",
]
