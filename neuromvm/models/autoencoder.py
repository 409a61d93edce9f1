"""Plain autoencoders: no noise and no rate."""

import torch
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors
from neuromvm.models.base import Batch, Likelihoods, Modules, MultimodalVAE, SharedLatents, decode_across


class Autoencoder(MultimodalVAE):
    """Decodes the posterior means themselves. Its error bounds that of every VAE with the same networks (Sutter et al., app. A).

    ``cross_reconstruction`` is the share of each modality's reconstruction taken from the latents of other modalities in the
    matched sample.
    """

    def __init__(self, encoders: Modules, decoders: Modules, likelihoods: Likelihoods, cross_reconstruction: float = 0.0) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.cross_reconstruction = cross_reconstruction

    @property
    def shares_latents(self) -> bool:
        return self.cross_reconstruction > 0

    @property
    def has_common_space(self) -> bool:
        return self.shares_latents

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        rate = torch.zeros_like(batch.available)
        return decode_across(posteriors.mean, rate, batch.available, self.cross_reconstruction)
