"""What the published rat code computes where it differs from what the paper says: for reproducing it, not for use.

Matched to 1e-6 against that code's own output on fixed posteriors (``tests/core/test_published_code.py``).
"""

import itertools

import torch
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors, kl_divergence

ADDED = 1e-6  # to every standard deviation inside a divergence, the prior's too


def published_rate(joint: Posteriors, modalities: int) -> Tensor:
    """KL(joint || N(0, I)), added once for every modality: ``joint (batch, latent)`` to ``(batch,)`` [nats]."""
    prior = torch.ones_like(joint.scale) + ADDED
    return modalities * kl_divergence(joint.mean, joint.scale + ADDED, torch.zeros_like(prior), prior)


def published_product(posteriors: Posteriors, available: Tensor) -> Posteriors:
    """Product of experts in which the head is read as a log variance, and the result's log variance as a log scale.

    ``(modality, batch, latent)`` to ``(batch, latent)``. The same head is a log standard deviation everywhere else.
    """
    precision = posteriors.scale.reciprocal()
    variance = precision.sum(0).reciprocal()
    return Posteriors((posteriors.mean * precision).sum(0) * variance, variance)


def published_mixture(components: Posteriors, available: Tensor) -> Posteriors:
    """Cut the batch for a "mixture" into consecutive pieces, one a component; the last takes the remainder.

    ``(component, batch, latent)`` to ``(batch, latent)``. Rows without any modality are padding at the end and do not count.
    """
    count, padded = components.mean.shape[:2]
    piece = torch.div(available.amax(0).sum(), count, rounding_mode="floor")
    row = torch.arange(padded, device=components.mean.device)
    owner = torch.div(row, piece.clamp(min=1), rounding_mode="floor").clamp(max=count - 1)
    owner = torch.where(piece > 0, owner, torch.full_like(owner, count - 1)).long()
    index = owner[None, :, None].expand(1, padded, components.mean.shape[2])
    return Posteriors(components.mean.gather(0, index)[0], components.scale.gather(0, index)[0])


def published_mixture_of_products(posteriors: Posteriors, available: Tensor) -> Posteriors:
    """Cut the batch into pieces for all subsets, smallest first; a batch smaller than 2^M - 1 is all of the full product."""
    modalities = range(len(posteriors.mean))
    subsets = [list(chosen) for size in modalities for chosen in itertools.combinations(modalities, size + 1)]
    parts = [Posteriors(posteriors.mean[chosen], posteriors.scale[chosen]) for chosen in subsets]
    means, scales = zip(*(published_product(part, available) for part in parts), strict=True)
    return published_mixture(Posteriors(torch.stack(means), torch.stack(scales)), available)
