"""Independent VAEs: one for each modality, nothing shared."""

from torch import Tensor

from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, sample
from neuromvm.models.base import MultimodalVAE, SharedLatents, decode_own


class IndependentVAE(MultimodalVAE):
    """Every modality with a standard-normal prior of its own (Kingma & Welling 2014)."""

    def share(self, posteriors: Posteriors, noise: Tensor, available: Tensor) -> SharedLatents:
        latents = sample(posteriors, noise)
        return SharedLatents(decode_own(latents, self.modalities), kl_to_standard_normal(posteriors) * available)
