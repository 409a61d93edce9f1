"""The mixture prior of the MMVM VAE: how far each posterior is from the average of all of them."""

import math

import torch
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, log_density


def kl_to_mixture(posteriors: Posteriors, latents: Tensor, available: Tensor, standard_normal: float = 0.0) -> Tensor:
    """KL from each posterior to the equal mixture of the posteriors present, by one sample each.

    Parameters
    ----------
    posteriors, latents
        ``(modality, batch, latent)``, and one reparameterised sample of each.
    available
        ``(modality, batch)``, 1 where the modality is present in the sample, else 0.
    standard_normal
        Weight of a component N(0, I) in the mixture; the posteriors share the rest.

    Returns
    -------
    ``(modality, batch)`` [nats], 0 where absent. An unbiased estimate of KL(q_m || (1/M) sum_k q_k) (Sutter et al., Unity by
    Diversity, NeurIPS 2024, eq. 3), at most log M. Its expectation is zero if and only if all posteriors agree, and the sum over
    modalities is M times the Jensen-Shannon divergence.
    """
    densities = _log_densities(latents, posteriors)
    mixture = _mixed(densities, available)
    if standard_normal > 0:
        prior = log_density(latents, torch.zeros_like(latents), torch.ones_like(latents)) + math.log(standard_normal)
        posterior_part = mixture + math.log1p(-standard_normal) if standard_normal < 1 else torch.full_like(mixture, -math.inf)
        mixture = torch.logaddexp(prior, posterior_part)
    return (densities.diagonal().movedim(-1, 0) - mixture) * available


def log_mixture_density(latents: Tensor, posteriors: Posteriors, available: Tensor) -> Tensor:
    """Log density ``(source, batch)`` of latents ``(source, batch, latent)`` under the equal mixture of posteriors present."""
    return _mixed(_log_densities(latents, posteriors), available)


def mean_pairwise_kl(posteriors: Posteriors, available: Tensor, standard_normal: float = 0.0) -> Tensor:
    """Mean over the posteriors present, k, of the closed-form KL(q_m || q_k), as in the published code of Sutter et al.

    ``standard_normal`` is the weight of KL(q_m || N(0, I)); the pairs share the rest.

    Returns
    -------
    ``(modality, batch)`` [nats], 0 where absent. By convexity an upper bound of :func:`kl_to_mixture`, without its ceiling.
    """
    # Sums over k come first, so that no array holds all pairs; means are centred, since products lose digits far from 0.
    weight = torch.exp(_log_weights(available))
    scale = posteriors.scale
    mean = posteriors.mean - posteriors.mean.mean(0, keepdim=True).detach()
    precision = scale.reciprocal().square() * weight[..., None]
    towards = precision * mean
    to_all = precision.sum(0)
    quadratic = ((mean * to_all - 2 * towards.sum(0)) * mean + scale.square() * to_all).sum(-1) + (towards * mean).sum((0, 2))
    log_scale = torch.log(scale).sum(-1)
    rate = (0.5 * (quadratic - mean.shape[-1]) + (weight * log_scale).sum(0) - log_scale) * available
    if standard_normal > 0:
        rate = (1 - standard_normal) * rate + standard_normal * kl_to_standard_normal(posteriors) * available
    return rate


def kl_to_pooled_mixture(posteriors: Posteriors, latents: Tensor, available: Tensor, condition: Tensor) -> Tensor:
    """As :func:`kl_to_mixture`, the mixture being that of all posteriors of the same ``condition (batch,)`` in the batch."""
    shape, weights = available.shape, _pooled_weights(available, condition)
    mean, scale = (values.flatten(0, 1) for values in posteriors)
    densities = log_density(latents.flatten(0, 1)[:, None], mean, scale)  # (row, posterior)
    mixture = torch.logsumexp(densities.masked_fill(weights == 0, -math.inf) + torch.log(weights.clamp(min=1e-30)), dim=1)
    return (densities.diagonal() - mixture).reshape(shape) * available


def pooled_pairwise_kl(posteriors: Posteriors, available: Tensor, condition: Tensor) -> Tensor:
    """As :func:`mean_pairwise_kl`, over all posteriors of the same condition in the batch."""
    shape, weights = available.shape, _pooled_weights(available, condition)
    mean, scale = (values.flatten(0, 1) for values in posteriors)
    mean = mean - (weights @ mean).detach()  # conditions that lie far apart would cost digits
    precision = scale.reciprocal().square()
    # sum over latents of (s_q^2 + (m_q - m_p)^2) / s_p^2, multiplied out into matrix products
    moment = scale.square() + mean.square()
    quadratic = moment @ precision.T - 2 * mean @ (precision * mean).T + (precision * mean.square()).sum(-1)
    log_scale = torch.log(scale).sum(-1)
    pairs = 0.5 * (quadratic - mean.shape[1]) + log_scale - log_scale[:, None]
    return (pairs * weights).sum(1).reshape(shape) * available


def _log_densities(latents: Tensor, posteriors: Posteriors) -> Tensor:
    """Return the log density of latents ``(source, batch, latent)`` under every posterior, ``(posterior, source, batch)``."""
    return log_density(latents, posteriors.mean[:, None], posteriors.scale[:, None])


def _mixed(densities: Tensor, available: Tensor) -> Tensor:
    """Return the log density under the equal mixture of posteriors present, from log densities ``(posterior, source, batch)``."""
    return torch.logsumexp(densities + _log_weights(available)[:, None], dim=0)


def _pooled_weights(available: Tensor, condition: Tensor) -> Tensor:
    """Equal weights over the posteriors present of the same condition, ``(modality * batch, modality * batch)``.

    An absent posterior has weight 1 on itself, so that its row stays finite.
    """
    modalities, rows = available.shape
    matched = (condition[:, None] == condition[None]).to(available.dtype).repeat(modalities, modalities)
    present = available.flatten()
    absent = torch.eye(modalities * rows, device=available.device, dtype=available.dtype) * (1 - present)
    weights = matched * present * present[:, None] + absent
    return weights / weights.sum(1, keepdim=True)


def _log_weights(available: Tensor) -> Tensor:
    """Log of equal weights over the modalities present ``(modality, batch)``; over all where none is, to stay finite."""
    empty = available.sum(0, keepdim=True) == 0
    present = torch.where(empty, torch.ones_like(available), available)
    return torch.log(present / present.sum(0, keepdim=True))
