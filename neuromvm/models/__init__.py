"""Models: each a way of sharing latents between modalities."""

from neuromvm.models.autoencoder import Autoencoder
from neuromvm.models.base import Batch, MultimodalVAE, Objective, SharedLatents, Sources
from neuromvm.models.independent import IndependentVAE
from neuromvm.models.joint import JointVAE
from neuromvm.models.mmvae_plus import MMVAEPlus
from neuromvm.models.mmvm import MMVM
from neuromvm.models.published import PublishedJointVAE

__all__ = [
    "MMVM",
    "Autoencoder",
    "Batch",
    "IndependentVAE",
    "JointVAE",
    "MMVAEPlus",
    "MultimodalVAE",
    "Objective",
    "PublishedJointVAE",
    "SharedLatents",
    "Sources",
]
