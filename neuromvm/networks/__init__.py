"""Encoders and decoders of one modality."""

from neuromvm.networks.convolution import PathDecoder, PathEncoder
from neuromvm.networks.encoder import ConstantScale, Encoder, NoScale, PredictedScale, SimplexMean
from neuromvm.networks.mlp import Decoder, mlp
from neuromvm.networks.side_by_side import decoders_hidden, encode_together

__all__ = [
    "ConstantScale",
    "Decoder",
    "Encoder",
    "NoScale",
    "PathDecoder",
    "PathEncoder",
    "PredictedScale",
    "SimplexMean",
    "decoders_hidden",
    "encode_together",
    "mlp",
]
