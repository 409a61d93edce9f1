"""Models: each a way of sharing latents between modalities."""

from neuromvm.models.base import Batch, Decodable, MultimodalVAE, Objective, SharedLatents
from neuromvm.models.independent import IndependentVAE
from neuromvm.models.mmvm import MMVM, PairwiseMMVM

__all__ = [
    "MMVM",
    "Batch",
    "Decodable",
    "IndependentVAE",
    "MultimodalVAE",
    "Objective",
    "PairwiseMMVM",
    "SharedLatents",
]
