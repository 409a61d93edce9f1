"""Diagonal Gaussians: log density and Kullback-Leibler divergences, summed over the last dim, in nats."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Posteriors(NamedTuple):
    """Diagonal Gaussian posteriors of every modality: means and standard deviations ``(modality, batch, latent)``."""

    mean: Tensor
    scale: Tensor


def sample(posteriors: Posteriors, noise: Tensor) -> Tensor:
    """Return mean + scale * noise, for standard-normal noise ``(..., modality, batch, latent)`` (Kingma & Welling 2014)."""
    return posteriors.mean + posteriors.scale * noise


def log_density(value: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log N(value; mean, scale^2), summed over the last dim, in which all are as wide; the others broadcast.

    Examples
    --------
    >>> import torch
    >>> round(log_density(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1)).item(), 4)
    -0.9189
    """
    # Whatever does not depend on all of them is summed before it is broadcast.
    deviation = (value - mean) * scale.reciprocal()
    normalizer = torch.log(scale).sum(-1) + 0.5 * scale.shape[-1] * math.log(2 * math.pi)
    return -0.5 * deviation.square().sum(-1) - normalizer


def kl_divergence(mean_q: Tensor, scale_q: Tensor, mean_p: Tensor, scale_p: Tensor) -> Tensor:
    """KL(q || p) of diagonal Gaussians, summed over the last dim; inputs broadcast."""
    ratio = scale_q / scale_p
    shift = (mean_q - mean_p) / scale_p
    return (0.5 * (ratio.square() + shift.square() - 1) - torch.log(ratio)).sum(-1)


def kl_to_standard_normal(posteriors: Posteriors) -> Tensor:
    """KL(q_m || N(0, I)) of every modality ``(modality, batch)`` [nats]."""
    mean, scale = posteriors
    return (0.5 * (scale.square() + mean.square() - 1) - torch.log(scale)).sum(-1)
