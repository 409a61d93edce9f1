"""Models: each a way of sharing latents between modalities."""

from neuromvm.models.autoencoder import Autoencoder
from neuromvm.models.base import Batch, MultimodalVAE, Objective, SharedLatents
from neuromvm.models.decodable import Across, Decodable
from neuromvm.models.independent import IndependentVAE
from neuromvm.models.joint import Average, JointVAE, MixtureOfExperts, MixtureOfProducts, ProductOfExperts
from neuromvm.models.mmvae_plus import MMVAEPlus
from neuromvm.models.mmvm import MMVM, PairwiseMMVM, PooledMMVM, PooledPairwiseMMVM
from neuromvm.models.published import PublishedJointVAE

__all__ = [
    "MMVM",
    "Across",
    "Autoencoder",
    "Average",
    "Batch",
    "Decodable",
    "IndependentVAE",
    "JointVAE",
    "MMVAEPlus",
    "MixtureOfExperts",
    "MixtureOfProducts",
    "MultimodalVAE",
    "Objective",
    "PairwiseMMVM",
    "PooledMMVM",
    "PooledPairwiseMMVM",
    "ProductOfExperts",
    "PublishedJointVAE",
    "SharedLatents",
]
