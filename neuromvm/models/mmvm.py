"""The MMVM VAE: every posterior is drawn towards the mixture of all of them (Sutter et al., NeurIPS 2024)."""

from collections.abc import Callable

import torch
from torch import Tensor

from neuromvm.functional.experts import Experts, mixture_of_experts
from neuromvm.functional.gaussian import Posteriors, sample
from neuromvm.functional.mixture import kl_to_mixture, kl_to_pooled_mixture, mean_pairwise_kl, pooled_pairwise_kl
from neuromvm.functional.schedules import Schedule, constant
from neuromvm.models.base import Batch, Likelihoods, Modules, MultimodalVAE, SharedLatents, decode_across

Rate = Callable[[Posteriors, Tensor, Batch, float], Tensor]
"""A function of posteriors and latents ``(modality, batch, latent)``, the batch and the share of N(0, I) that returns the rate
``(modality, batch)`` [nats]."""


def mixture_rate(posteriors: Posteriors, latents: Tensor, batch: Batch, standard_normal: float) -> Tensor:
    """Return KL(q_m || (1/M) sum_k q_k), estimated without bias: the rate of the paper, eq. 3."""
    return kl_to_mixture(posteriors, latents, batch.available, standard_normal)


def pairwise_rate(posteriors: Posteriors, latents: Tensor, batch: Batch, standard_normal: float) -> Tensor:
    """Return the mean of closed-form KLs to all posteriors: the rate of the published code, an upper bound of the paper's."""
    return mean_pairwise_kl(posteriors, batch.available, standard_normal)


def pooled_mixture_rate(posteriors: Posteriors, latents: Tensor, batch: Batch, standard_normal: float) -> Tensor:
    """Return the KL to the mixture of all posteriors of the same condition in the batch: our extension."""
    return kl_to_pooled_mixture(posteriors, latents, batch.available, batch.condition)


def pooled_pairwise_rate(posteriors: Posteriors, latents: Tensor, batch: Batch, standard_normal: float) -> Tensor:
    """Return the mean of closed-form KLs to all posteriors of the same condition in the batch: our extension."""
    return pooled_pairwise_kl(posteriors, batch.available, batch.condition)


class MMVM(MultimodalVAE):
    """A VAE for each modality with the mixture of all posteriors as a common, data-dependent prior.

    ``rate`` is the distance of each posterior to the prior. ``cross_reconstruction`` is the share of each modality's
    reconstruction taken from the latents of other modalities in the matched sample: 0 is the published model, above 0 is our
    extension. ``standard_normal`` is a schedule: the share of N(0, I) in the mixture as a function of progress.
    """

    def __init__(
        self,
        encoders: Modules,
        decoders: Modules,
        likelihoods: Likelihoods,
        rate: Rate = mixture_rate,
        cross_reconstruction: float = 0.0,
        standard_normal: Schedule | None = None,
    ) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.rate, self.cross_reconstruction = rate, cross_reconstruction
        self.standard_normal = standard_normal or constant(0.0)

    @property
    def changes_with_progress(self) -> bool:
        return self.standard_normal(0.0) != self.standard_normal(1.0)

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        latents = sample(posteriors, noise)
        rate = self.rate(posteriors, latents, batch, self.standard_normal(progress))
        return decode_across(latents, rate, batch.available, self.cross_reconstruction)

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the mixture of those present and N(0, I), with the share it has at the end of training."""
        share = self.standard_normal(1.0)
        (mean, scale), weight = mixture_of_experts(posteriors, available)
        components = Posteriors(torch.cat([mean, torch.zeros_like(mean[:1])]), torch.cat([scale, torch.ones_like(scale[:1])]))
        return Experts(components, torch.cat([(1 - share) * weight, torch.full_like(weight[:1], share)]))
