"""Independent VAEs: one for each modality, nothing shared."""

import torch
from torch import Tensor

from neuromvm.functional.experts import Experts
from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, sample
from neuromvm.models.base import Batch, MultimodalVAE, SharedLatents
from neuromvm.models.decodable import decode_own


class IndependentVAE(MultimodalVAE):
    """Every modality with a standard-normal prior of its own (Kingma & Welling 2014)."""

    shares_latents = False
    has_common_space = False

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        latents = sample(posteriors, noise)
        return SharedLatents(decode_own(latents, self.modalities), kl_to_standard_normal(posteriors) * batch.available)

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the prior: the others say nothing."""
        one = Posteriors(torch.zeros_like(posteriors.mean[:1]), torch.ones_like(posteriors.scale[:1]))
        return Experts(one, torch.ones_like(available[:1]))
