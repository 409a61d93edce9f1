"""MMVAE+: a shared and a private part of every latent (Palumbo, Daunhawer & Vogt, ICLR 2023)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuromvm.functional.experts import Experts, mixture_of_experts
from neuromvm.functional.gaussian import Posteriors, log_density, sample
from neuromvm.functional.mixture import log_mixture_density
from neuromvm.likelihoods import Likelihood
from neuromvm.models.base import Batch, MultimodalVAE, Objective, SharedLatents, mean_over_rows
from neuromvm.models.decodable import Decodable


class _Draws(NamedTuple):
    """Latents of every draw and source and what they cost, the first dim being draw * source."""

    latent: Tensor  # (draw, source, batch, latent)
    auxiliary: Tensor  # (draw, modality, batch, private), private parts to decode a modality from the latent of another
    rate: Tensor  # (term, draw, source, batch)


class MMVAEPlus(MultimodalVAE):
    """Decodes its own modality from shared and private latent, others from the shared one and a private draw of their prior.

    The joint posterior of the shared part is the mixture of experts. The bound is importance-weighted: for each source, the log
    mean over ``samples`` draws of exp(log-likelihood - beta * rate), then the mean over sources. With one sample it is the
    evidence lower bound.

    Parameters
    ----------
    encoders, decoders, likelihoods
        Modality -> module; latents are shared dimensions followed by private ones.
    private
        Private dimensions.
    samples
        Importance samples.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        decoders: Mapping[str, nn.Module],
        likelihoods: Mapping[str, Likelihood],
        private: int,
        samples: int = 1,
    ) -> None:
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

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        draws = self._draw(posteriors, noise, batch.available)
        source = batch.available / batch.available.sum(0).clamp(min=1)
        weight = (source / self.samples).repeat(self.samples, 1)
        decodable = {name: Decodable(self._for(name, draws).flatten(0, 1), weight) for name in self.modalities}
        return SharedLatents(decodable, (draws.rate.mean(1) * source).sum(1))

    def objective(self, batch: Batch, noise: Tensor, beta: Tensor | float, progress: float = 1.0) -> Objective:
        """Return log-likelihoods and rate terms, averaged over draws and sources, and the importance-weighted loss."""
        draws = self._draw(self.encode(batch.inputs), noise, batch.available)
        latents = {name: self._for(name, draws).flatten(0, 1) for name in self.modalities}
        each = self.log_likelihoods(batch.targets, latents)
        places = (len(self.modalities), self.samples, len(self.modalities), -1)
        each = each.reshape(places)  # (modality, draw, source, batch)
        each = each * batch.available[:, None, None]
        source = batch.available / batch.available.sum(0).clamp(min=1)
        log_weight = each.sum(0) - beta * draws.rate.sum(0)
        bound = ((torch.logsumexp(log_weight, 0) - math.log(self.samples)) * source).sum(0)
        log_likelihood = (each.mean(1) * source).sum(1)
        rate = (draws.rate.mean(1) * source).sum(1)
        return Objective(log_likelihood, rate, -mean_over_rows(bound, batch.available))

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
        auxiliary = noise[..., self.latent :] * scales[:, None]
        inferred = Posteriors(mean[..., :shared], scale[..., :shared])
        log_shared = torch.stack([log_mixture_density(one[..., :shared], inferred, available) for one in latent])
        log_private = log_density(latent[..., shared:], mean[..., shared:], scale[..., shared:])
        prior = log_density(latent[..., None], torch.zeros_like(latent[..., None]), torch.ones_like(latent[..., None]))
        rate = torch.stack([log_shared - prior[..., :shared].sum(-1), log_private - prior[..., shared:].sum(-1)])
        return _Draws(latent, auxiliary, rate * available)

    def _for(self, target: str, draws: _Draws) -> Tensor:
        """Return the latents from which a modality is decoded ``(draw, source, batch, latent)``."""
        place = self.modalities.index(target)
        borrowed = draws.auxiliary[:, place : place + 1].expand(-1, len(self.modalities), -1, -1)
        own = torch.zeros(len(self.modalities), 1, 1, device=borrowed.device, dtype=borrowed.dtype)
        own[place] = 1
        private = own * draws.latent[..., self.shared_latents :] + (1 - own) * borrowed
        return torch.cat([draws.latent[..., : self.shared_latents], private], -1)
