"""Joint posteriors from those of single modalities: averages, products, and mixtures as weighted components.

Every function takes posteriors ``(modality, batch, latent)`` and ``available (modality, batch)``, 1 where present. Absent
modalities take no part; a row without any modality gets a component of mean 0 and scale 1, so that it stays finite.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors


class Experts(NamedTuple):
    """A mixture of diagonal Gaussians: ``posteriors (component, batch, latent)``, ``weight (component, batch)``, sum 1."""

    posteriors: Posteriors
    weight: Tensor


def average(posteriors: Posteriors, available: Tensor) -> Experts:
    """One Gaussian with the mean of the means and the mean of the scales, as published for "AVG"."""
    share = (available / available.sum(0).clamp(min=1))[..., None]
    mean = (share * posteriors.mean).sum(0, keepdim=True)
    scale = (share * posteriors.scale).sum(0, keepdim=True)
    return _single(mean, scale, available)


def product_of_experts(posteriors: Posteriors, available: Tensor) -> Experts:
    """One Gaussian proportional to the product of those present; a single expert is returned as it is.

    There is no prior expert: precisions add, means are weighted by precision (Wu & Goodman 2018, without their prior).
    """
    return product_of_subsets(posteriors, available[None])


def product_of_subsets(posteriors: Posteriors, members: Tensor) -> Experts:
    """Products of experts of several subsets, equally weighted where the subset is not empty.

    ``members (subset, modality, batch)`` is 1 where the modality is in the subset and present.
    """
    precision = posteriors.scale.reciprocal().square()
    total = torch.einsum("smb,mbl->sbl", members, precision)
    weighted = torch.einsum("smb,mbl->sbl", members, precision * posteriors.mean)
    empty = (members.sum(1) == 0)[..., None]
    total = torch.where(empty, torch.ones_like(total), total)
    used = (~empty[..., 0]).to(weighted.dtype)
    return Experts(Posteriors(weighted / total, total.rsqrt()), used / used.sum(0, keepdim=True).clamp(min=1))


def mixture_of_experts(posteriors: Posteriors, available: Tensor) -> Experts:
    """The modalities present as equally weighted components (Shi et al. 2019)."""
    return Experts(posteriors, available / available.sum(0, keepdim=True).clamp(min=1))


def mixture_of_products(posteriors: Posteriors, available: Tensor) -> Experts:
    """Products of all 2^M - 1 non-empty subsets, equally weighted (Sutter et al. 2021).

    Of a row in which modalities are absent, every subset of those present occurs equally often, hence weighs the same.
    """
    modalities = len(available)
    chosen = torch.tensor(list(itertools.product((0.0, 1.0), repeat=modalities))[1:], device=available.device)
    members = chosen.to(available.dtype)[:, :, None] * available
    experts = product_of_subsets(posteriors, members)
    # A subset that reaches beyond those present would repeat a smaller one: it gets no weight.
    whole = (members.sum(1) == chosen.sum(1)[:, None]).to(available.dtype)
    return Experts(experts.posteriors, whole / whole.sum(0, keepdim=True).clamp(min=1))


def sampled_products(posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
    """Products of random non-empty subsets of the modalities present, each subset equally probable.

    Expectations over these components are unbiased for those over all subsets, at a cost that does not grow as 2^M. Subsets are
    drawn from standard-normal ``noise (subset, batch, modality + 1)``.
    """
    # The first member is the j-th of the n present with probability 2^-j / (1 - 2^-n); after it every bit is fair.
    uniform = torch.special.ndtr(noise[..., -1])
    bits = (noise[..., :-1] > 0).to(available.dtype).movedim(-1, 1)
    present = available.sum(0)
    lowest = torch.ceil(-torch.log2(1 - uniform * (1 - torch.exp2(-present)))).clamp(min=1).minimum(present)
    rank = available.cumsum(0)
    members = ((rank == lowest[:, None]) | (rank > lowest[:, None]) & (bits > 0)).to(available.dtype) * available
    return product_of_subsets(posteriors, members)


def hellinger(posteriors: Posteriors, available: Tensor) -> Experts:
    """One Gaussian with the mean and variances of the density proportional to (mean of the square roots of densities)^2.

    This is Hoelder pooling with exponent 1/2, between the mixture (1) and the product (0): where experts agree it is their
    common density, where they disagree it covers each of them. The square is a mixture of the geometric means of all pairs of
    experts, each weighted by the affinity of the pair, the integral of the root of the product of its densities (1 for a pair
    of equal densities).
    """
    mean, scale = posteriors
    precision = scale.reciprocal().square()
    total = precision[:, None] + precision  # (modality, modality, batch, latent), twice the precision of the geometric mean
    center = ((precision * mean)[:, None] + precision * mean) / total
    width = scale.square()[:, None] + scale.square()
    log_affinity = 0.5 * torch.log(2 * scale[:, None] * scale / width) - (mean[:, None] - mean).square() / (4 * width)
    weight = available[:, None] * available * torch.exp(log_affinity.sum(-1))
    weight = (weight / weight.sum((0, 1)).clamp(min=1))[..., None]
    pooled = (weight * center).sum((0, 1))
    variance = (weight * (2 / total + (center - pooled).square())).sum((0, 1))
    empty = (available.sum(0) == 0)[:, None]
    return _single(pooled[None], torch.where(empty, 1.0, variance).sqrt()[None], available)


def _single(mean: Tensor, scale: Tensor, available: Tensor) -> Experts:
    """Return a single component, standard normal in rows without any modality."""
    empty = (available.sum(0) == 0)[None, :, None]
    scale = torch.where(empty, torch.ones_like(scale), scale)
    return Experts(Posteriors(mean, scale), torch.ones_like(available[:1]))
