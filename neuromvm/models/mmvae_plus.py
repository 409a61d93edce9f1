"""MMVAE+: a shared and a private part of every latent (Palumbo, Daunhawer & Vogt, ICLR 2023)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuromvm.functional.experts import Experts, mixture_of_experts
from neuromvm.functional.gaussian import Posteriors, log_density, sample
from neuromvm.functional.mixture import log_mixture_density
from neuromvm.models.base import Batch, Likelihoods, Modules, MultimodalVAE, Objective, mean_over_rows


class _Draws(NamedTuple):
    """Latents of every draw and source, and their rates."""

    latent: Tensor  # (draw, source, batch, latent)
    private: Tensor  # (draw, modality, batch, private), draws of the prior with which other modalities are decoded
    rate: Tensor  # (term, draw, source, batch)


class MMVAEPlus(MultimodalVAE):
    """Decodes its own modality from shared and private latent, others from the shared one and a private draw of their prior.

    The joint posterior of the shared part is the mixture of experts; ``private`` dimensions follow the shared ones. The bound
    is importance-weighted: for each source, the log mean over ``samples`` draws of exp(log-likelihood - beta * rate), then the
    mean over sources. With one sample it is the evidence lower bound.
    """

    def __init__(self, encoders: Modules, decoders: Modules, likelihoods: Likelihoods, private: int, samples: int = 1) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.private, self.samples = private, samples
        # Learned scale of the auxiliary prior of each modality's private part; its mean is 0.
        self.auxiliary = nn.ParameterDict({name: nn.Parameter(torch.zeros(private)) for name in self.modalities})

    @property
    def noise_shape(self) -> tuple[int, int]:
        return self.samples * len(self.modalities), self.latent + self.private

    @property
    def shared_latents(self) -> int:
        return self.latent - self.private

    @property
    def rate_terms(self) -> tuple[str, ...]:
        return ("shared", "private")

    def objective(self, batch: Batch, noise: Tensor, beta: Tensor | float, progress: float = 1.0) -> Objective:
        """Return log-likelihoods and rates, averaged over draws and sources, and the importance-weighted loss."""
        draws = self._draw(self.encode(batch.inputs), noise, batch.available)
        log_likelihood = torch.stack(
            [self.log_likelihood(name, batch.targets[name], self.latents_for(name, draws)) for name in self.modalities]
        )  # (modality, draw, source, batch)
        log_likelihood = log_likelihood * batch.available[:, None, None]
        source_weight = batch.available / batch.available.sum(0).clamp(min=1)
        log_weight = log_likelihood.sum(0) - beta * draws.rate.sum(0)
        bound = ((torch.logsumexp(log_weight, 0) - math.log(self.samples)) * source_weight).sum(0)
        return Objective(
            (log_likelihood.mean(1) * source_weight).sum(1),
            (draws.rate.mean(1) * source_weight).sum(1),
            -mean_over_rows(bound, batch.available),
        )

    forward = objective

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the shared parts of those present, beside the auxiliary prior of the target's private part."""
        shared, (mean, scale) = self.shared_latents, posteriors
        private = torch.exp(self.auxiliary[target]).expand_as(scale[..., shared:])
        return mixture_of_experts(
            Posteriors(
                torch.cat([mean[..., :shared], torch.zeros_like(private)], -1), torch.cat([scale[..., :shared], private], -1)
            ),
            available,
        )

    def _draw(self, posteriors: Posteriors, noise: Tensor, available: Tensor) -> _Draws:
        shared, (mean, scale) = self.shared_latents, posteriors
        noise = noise.reshape(self.samples, len(self.modalities), *noise.shape[1:])
        latent = sample(posteriors, noise[..., : self.latent])
        scales = torch.exp(torch.stack([self.auxiliary[name] for name in self.modalities]))
        private = noise[..., self.latent :] * scales[:, None]
        inferred = Posteriors(mean[..., :shared], scale[..., :shared])
        log_shared = torch.stack([log_mixture_density(draw[..., :shared], inferred, available) for draw in latent])
        log_private = log_density(latent[..., shared:], mean[..., shared:], scale[..., shared:])
        prior = log_density(latent[..., None], torch.zeros_like(latent[..., None]), torch.ones_like(latent[..., None]))
        rate = torch.stack([log_shared - prior[..., :shared].sum(-1), log_private - prior[..., shared:].sum(-1)])
        return _Draws(latent, private, rate * available)

    def latents_for(self, target: str, draws: _Draws) -> Tensor:
        """Return the latents ``(draw, source, batch, latent)`` of a modality, its private part drawn for other sources."""
        modality = self.modalities.index(target)
        is_target = torch.eye(len(self.modalities), device=draws.latent.device, dtype=draws.latent.dtype)[modality][:, None, None]
        inferred, drawn = draws.latent[..., self.shared_latents :], draws.private[:, modality : modality + 1]
        private = is_target * inferred + (1 - is_target) * drawn
        return torch.cat([draws.latent[..., : self.shared_latents], private], -1)
