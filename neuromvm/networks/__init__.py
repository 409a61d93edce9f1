"""Encoders and decoders of one modality."""

from neuromvm.networks.convolution import PathDecoder, PathEncoder
from neuromvm.networks.encoder import ConstantScale, Encoder, NoScale, PredictedScale, SimplexMean
from neuromvm.networks.mlp import mlp

__all__ = ["ConstantScale", "Encoder", "NoScale", "PathDecoder", "PathEncoder", "PredictedScale", "SimplexMean", "mlp"]
