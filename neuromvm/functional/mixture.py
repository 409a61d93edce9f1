"""The mixture prior of the MMVM VAE: how far each posterior is from the average of all of them."""

import math

import torch
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, log_density

# Of latents from posterior means, in one replica: animals^2 * rows * latents. Above it products are faster, in less memory.
MOST_DEVIATIONS = 2**17


def kl_to_mixture(posteriors: Posteriors, latents: Tensor, available: Tensor, standard_normal: float = 0.0) -> Tensor:
    """KL from each posterior to the equal mixture of the posteriors present, by one sample each.

    Parameters
    ----------
    posteriors
        ``(modality, batch, latent)``; scales that are the same for all rows may have 1 in place of ``batch``.
    latents
        One reparameterised sample of each posterior ``(modality, batch, latent)``.
    available
        ``(modality, batch)``, 1 where the modality is present in the sample, else 0.
    standard_normal
        Weight of a component N(0, I) in the mixture; the posteriors share the rest.

    Returns
    -------
    ``(modality, batch)`` [nats], 0 where absent. An unbiased estimate of KL(q_m || (1/M) sum_k q_k), never above
    log M by more than sampling error, and zero if and only if all posteriors agree. Their sum over modalities is
    M times the Jensen-Shannon divergence.

    References
    ----------
    Sutter et al., Unity by Diversity, NeurIPS 2024, eq. 3.
    """
    own, each = _log_densities(latents, posteriors)
    mixture = _mixed(each, available)
    if standard_normal > 0:
        prior = log_density(latents, torch.zeros_like(latents), torch.ones_like(latents)) + math.log(standard_normal)
        rest = mixture + math.log1p(-standard_normal) if standard_normal < 1 else torch.full_like(mixture, -math.inf)
        mixture = torch.logaddexp(prior, rest)
    return (own - mixture) * available


def log_mixture_density(latents: Tensor, posteriors: Posteriors, available: Tensor) -> Tensor:
    """Log density ``(source, batch)`` of latents ``(source, batch, latent)`` under the equal mixture of posteriors present."""
    _, each = _log_densities(latents, posteriors)
    return _mixed(each, available)


def mean_pairwise_kl(posteriors: Posteriors, available: Tensor, standard_normal: float = 0.0) -> Tensor:
    """Mean over the posteriors present, k, of the closed-form KL(q_m || q_k).

    Parameters
    ----------
    posteriors
        ``(modality, batch, latent)``; scales that are the same for all rows may have 1 in place of ``batch``.
    available
        ``(modality, batch)``, 1 where present, else 0.
    standard_normal
        Weight of KL(q_m || N(0, I)); the pairs share the rest.

    Returns
    -------
    ``(modality, batch)`` [nats], 0 where absent. By convexity an upper bound of :func:`kl_to_mixture`, without its
    ceiling. It is what the published code trains.

    References
    ----------
    Sutter et al., Unity by Diversity, NeurIPS 2024, published code.
    """
    # Summed over k before anything is multiplied by m, so that no array holds all pairs; exact near 0 only.
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
    """As :func:`kl_to_mixture`, the mixture being that of all posteriors of the same condition in the batch.

    Parameters
    ----------
    posteriors, latents, available
        As there, scales of every row.
    condition
        ``(batch,)``, what rows have in common.
    """
    shape, pooled = available.shape, _pooled_weights(available, condition)
    one = Posteriors(*(values.flatten(0, 1) for values in posteriors))
    centre = one.mean.mean(0, keepdim=True).detach()  # products of matrices are exact near 0 only
    one, flat = Posteriors(one.mean - centre, one.scale), latents.flatten(0, 1) - centre
    own, each = log_density(flat, *one), _terms(flat) @ _coefficients(one).mT
    mixture = torch.logsumexp(each.masked_fill(pooled == 0, -math.inf) + torch.log(pooled.clamp(min=1e-30)), dim=1)
    return (own - mixture).reshape(shape) * available


def pooled_pairwise_kl(posteriors: Posteriors, available: Tensor, condition: Tensor) -> Tensor:
    """As :func:`mean_pairwise_kl`, over all posteriors of the same condition in the batch; scales of every row."""
    shape, pooled = available.shape, _pooled_weights(available, condition)
    mean, scale = (values.flatten(0, 1) for values in posteriors)
    mean = mean - mean.mean(0, keepdim=True).detach()
    precision = scale.reciprocal().square()
    # sum over latents of (s_q^2 + (m_q - m_p)^2) / s_p^2, multiplied out into matrix products
    moment = scale.square() + mean.square()
    quadratic = moment @ precision.T - 2 * mean @ (precision * mean).T + (precision * mean.square()).sum(-1)
    log_scale = torch.log(scale).sum(-1)
    pairs = 0.5 * (quadratic - mean.shape[1]) + log_scale - log_scale[:, None]
    return (pairs * pooled).sum(1).reshape(shape) * available


def _log_densities(latents: Tensor, posteriors: Posteriors) -> tuple[Tensor, Tensor]:
    """Return the log density of latents ``(source, batch, latent)`` under their own posterior and under each.

    ``(source, batch)`` and ``(posterior, source, batch)``.
    """
    mean, scale = posteriors
    if len(mean) * latents.numel() <= MOST_DEVIATIONS:
        each = log_density(latents, mean[:, None], scale[:, None])
        return each.diagonal().movedim(-1, 0), each
    # Row by row of the batch, and near 0, where products of matrices are exact.
    own, centre = log_density(latents, mean, scale), mean.mean(0, keepdim=True).detach()
    terms, coefficients = _terms(latents - centre), _coefficients(Posteriors(mean - centre, scale))
    each = coefficients.movedim(1, 0) @ terms.movedim(1, 0).mT  # (batch, posterior, source)
    each = each.movedim(0, 2).contiguous()  # sums over a handful of posteriors are slow where these are last
    itself = torch.eye(len(latents), device=latents.device, dtype=torch.bool)
    return own, torch.where(itself[..., None], own, each)


def _mixed(each: Tensor, available: Tensor) -> Tensor:
    """Return the log density under the equal mixture of posteriors present, given that under each of them."""
    return torch.logsumexp(each + _log_weights(available)[:, None], dim=0)


def _terms(values: Tensor) -> Tensor:
    """Return values ``(..., latent)`` squared, values and 1: a Gaussian log density is linear in these."""
    return torch.cat([values.square(), values, torch.ones_like(values[..., :1])], dim=-1)


def _coefficients(posteriors: Posteriors) -> Tensor:
    """Return what :func:`_terms` are multiplied with to give log densities.

    All pairs of values and posteriors are then one product of matrices.
    """
    mean, scale = posteriors
    precision = scale.reciprocal().square()
    towards = precision * mean
    constant = -(0.5 * towards * mean + torch.log(scale)).sum(-1) - 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    return torch.cat([(-0.5 * precision).expand_as(mean), towards, constant[..., None]], dim=-1)


def _pooled_weights(available: Tensor, condition: Tensor) -> Tensor:
    """Equal weights over the posteriors present of the same condition, ``(modality * batch, modality * batch)``.

    A posterior that is absent weighs itself alone, so that its row stays finite.
    """
    modalities, rows = available.shape
    same = (condition[:, None] == condition[None]).to(available.dtype).repeat(modalities, modalities)
    present = available.flatten()
    weights = same * present * present[:, None]
    alone = torch.eye(modalities * rows, device=available.device, dtype=available.dtype) * (1 - present)
    weights = weights + alone
    return weights / weights.sum(1, keepdim=True)


def _log_weights(available: Tensor) -> Tensor:
    """Log of equal weights over the modalities present ``(modality, batch)``; over all where none is, to stay finite."""
    nobody = available.sum(0, keepdim=True) == 0
    present = torch.where(nobody, torch.ones_like(available), available)
    return torch.log(present / present.sum(0, keepdim=True))
