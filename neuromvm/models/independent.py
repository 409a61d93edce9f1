"""Independent VAEs: one for each modality, nothing shared."""

import torch
from torch import Tensor

from neuromvm.functional.experts import Experts
from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, sample
from neuromvm.models.base import Batch, MultimodalVAE, SharedLatents


class IndependentVAE(MultimodalVAE):
    """Every modality with a standard-normal prior of its own (Kingma & Welling 2014)."""

    shares_latents = False
    has_common_space = False

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        return SharedLatents(kl_to_standard_normal(posteriors) * batch.available, own=sample(posteriors, noise))

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the prior: other modalities carry no information."""
        prior = Posteriors(torch.zeros_like(posteriors.mean[:1]), torch.ones_like(posteriors.scale[:1]))
        return Experts(prior, torch.ones_like(available[:1]))
