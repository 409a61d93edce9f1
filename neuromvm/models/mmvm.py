"""The MMVM VAE: every posterior is drawn towards the mixture of all of them (Sutter et al., NeurIPS 2024)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuromvm.functional.experts import Experts, mixture_of_experts
from neuromvm.functional.gaussian import Posteriors, sample
from neuromvm.functional.mixture import kl_to_mixture, kl_to_pooled_mixture, mean_pairwise_kl, pooled_pairwise_kl
from neuromvm.functional.schedules import Schedule, constant
from neuromvm.likelihoods import Likelihood
from neuromvm.models.base import Batch, MultimodalVAE, SharedLatents
from neuromvm.models.decodable import decode_across
from neuromvm.networks import ConstantScale


class MMVM(MultimodalVAE):
    """Mixture-of-experts prior with the exact rate, KL(q_m || (1/M) sum_k q_k), estimated without bias.

    Parameters
    ----------
    encoders, decoders, likelihoods
        Modality -> module.
    cross_reconstruction
        Share of each modality's reconstruction taken from the latents of other modalities in the matched sample; 0 is
        the published model, above 0 is our extension.
    standard_normal
        Share of N(0, I) in the mixture as training goes on.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        decoders: Mapping[str, nn.Module],
        likelihoods: Mapping[str, Likelihood],
        cross_reconstruction: float = 0.0,
        standard_normal: Schedule | None = None,
    ) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.cross_reconstruction = cross_reconstruction
        self.standard_normal = standard_normal or constant(0.0)
        self._constant_scales = all(isinstance(getattr(encoder, "scale", None), ConstantScale) for encoder in encoders.values())

    def rate(self, posteriors: Posteriors, latents: Tensor, batch: Batch, progress: float) -> Tensor:
        """Return the rate of each modality ``(modality, batch)`` [nats]."""
        return kl_to_mixture(self._compact(posteriors), latents, batch.available, self.standard_normal(progress))

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        latents = sample(posteriors, noise)
        decodable = decode_across(latents, self.modalities, batch.available, self.cross_reconstruction)
        return SharedLatents(decodable, self.rate(posteriors, latents, batch, progress))

    def _compact(self, posteriors: Posteriors) -> Posteriors:
        """Return one row of scales where the encoders give every row the same: nothing is then computed row by row."""
        return posteriors._replace(scale=posteriors.scale[:, :1]) if self._constant_scales else posteriors

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the mixture of those present, N(0, I) with its last share among them."""
        share = self.standard_normal(1.0)
        (mean, scale), weight = mixture_of_experts(posteriors, available)
        components = Posteriors(torch.cat([mean, torch.zeros_like(mean[:1])]), torch.cat([scale, torch.ones_like(scale[:1])]))
        return Experts(components, torch.cat([(1 - share) * weight, torch.full_like(weight[:1], share)]))


class PairwiseMMVM(MMVM):
    """The rate of the published code: the mean of closed-form KLs between all pairs, an upper bound of the exact one."""

    def rate(self, posteriors: Posteriors, latents: Tensor, batch: Batch, progress: float) -> Tensor:
        return mean_pairwise_kl(self._compact(posteriors), batch.available, self.standard_normal(progress))


class PooledMMVM(MMVM):
    """The mixture runs over all posteriors of a condition in the batch, several trials of every modality: our extension."""

    def rate(self, posteriors: Posteriors, latents: Tensor, batch: Batch, progress: float) -> Tensor:
        return kl_to_pooled_mixture(posteriors, latents, batch.available, batch.condition)


class PooledPairwiseMMVM(MMVM):
    """Mean of closed-form KLs to all posteriors of the same condition in the batch: our extension."""

    def rate(self, posteriors: Posteriors, latents: Tensor, batch: Batch, progress: float) -> Tensor:
        return pooled_pairwise_kl(posteriors, batch.available, batch.condition)
