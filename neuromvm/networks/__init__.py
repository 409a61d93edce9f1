"""Encoders and decoders of one modality."""

from neuromvm.networks.convolution import PathDecoder, PathEncoder
from neuromvm.networks.encoder import ConstantScale, Encoder, NoScale, PredictedScale, SimplexMean
from neuromvm.networks.mlp import Decoder, mlp

__all__ = [
    "ConstantScale",
    "Decoder",
    "Encoder",
    "NoScale",
    "PathDecoder",
    "PathEncoder",
    "PredictedScale",
    "SimplexMean",
    "mlp",
]
