"""The mixture prior of the MMVM VAE: how far each posterior is from the average of all of them."""

import torch
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors, kl_divergence, log_density


def kl_to_mixture(posteriors: Posteriors, latents: Tensor, available: Tensor) -> Tensor:
    """KL from each posterior to the equal mixture of the posteriors present, by one sample each.

    Parameters
    ----------
    posteriors
        ``(modality, batch, latent)``.
    latents
        One reparameterised sample of each posterior ``(modality, batch, latent)``.
    available
        ``(modality, batch)``, 1 where the modality is present in the sample, else 0.

    Returns
    -------
    ``(modality, batch)`` [nats], 0 where absent. An unbiased estimate of KL(q_m || (1/M) sum_k q_k), never above
    log M by more than sampling error, and zero if and only if all posteriors agree. Their sum over modalities is
    M times the Jensen-Shannon divergence.

    References
    ----------
    Sutter et al., Unity by Diversity, NeurIPS 2024, eq. 3.
    """
    mean, scale = posteriors
    each = log_density(latents[:, None], mean[None], scale[None])  # (sampled from, evaluated under, batch)
    mixture = torch.logsumexp(each + _log_weights(available), dim=1)
    return (torch.diagonal(each).movedim(-1, 0) - mixture) * available


def mean_pairwise_kl(posteriors: Posteriors, available: Tensor) -> Tensor:
    """Mean over the posteriors present, k, of the closed-form KL(q_m || q_k).

    Parameters
    ----------
    posteriors
        ``(modality, batch, latent)``.
    available
        ``(modality, batch)``, 1 where present, else 0.

    Returns
    -------
    ``(modality, batch)`` [nats], 0 where absent. By convexity an upper bound of :func:`kl_to_mixture`, without its
    ceiling. It is what the published code trains.

    References
    ----------
    Sutter et al., Unity by Diversity, NeurIPS 2024, published code.
    """
    mean, scale = posteriors
    pairs = kl_divergence(mean[:, None], scale[:, None], mean[None], scale[None])
    return (pairs * torch.exp(_log_weights(available))).sum(1) * available


def _log_weights(available: Tensor) -> Tensor:
    """Log of equal weights over the modalities present ``(modality, batch)``; over all where none is, to stay finite."""
    nobody = available.sum(0, keepdim=True) == 0
    present = torch.where(nobody, torch.ones_like(available), available)
    return torch.log(present / present.sum(0, keepdim=True))
