"""How negative-binomial counts differ from Poisson counts of the same mean: pure functions, exact as dispersion tends to 0.

With dispersion a, mean m and count k the log-probability is, with r = 1 / a,
``lgamma(k + r) - lgamma(r) - lgamma(k + 1) + k log(a m) - (k + r) log(1 + a m)``. For small a its terms are huge and cancel,
in float32 to nothing. Here the Poisson part is taken out by hand, and what is left is a sum of small terms.
"""

import torch
from torch import Tensor

STIRLING_BELOW = 1 / 8  # dispersion: there r >= 8, and the series of lgamma is exact to 1e-9
SERIES_BELOW = 0.03  # there five terms of the series of log(1 + x) / x are exact to 1e-8
SMALLEST_START, LARGEST_START = 0.01, 10.0


def log_overdispersion(counts: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """Return log NB(counts; mean, dispersion) - log Poisson(counts; mean) [nats], elementwise; inputs broadcast.

    The dispersion, 0 or more, is a in variance = mean + a mean^2 (Lawless, Canadian Journal of Statistics 1987).

    Examples
    --------
    >>> count, mean = torch.tensor(0.0), torch.tensor(2.0)
    >>> log_overdispersion(count, mean, torch.tensor(0.5)).item()  # log(1 + a m)^(-1/a) + m
    0.6137...
    """
    excess = dispersion * mean
    return _log_rising(counts, dispersion) - counts * torch.log1p(excess) - mean * _log1p_ratio(excess)


def dispersion_from_moments(counts: Tensor, units: int) -> Tensor:
    """Return the dispersion of each unit ``(unit,)`` from counts ``(sample, feature)``, feature = bin * units + unit.

    It is the excess of variance over mean, summed over bins, over the sum of squared means, between 0.01 and 10. Each bin
    has its own mean and variance, so that a rate that changes over bins does not count as dispersion.
    """
    counts = counts.float()
    mean, variance = counts.mean(0), counts.var(0, correction=0)
    excess = (variance - mean).reshape(-1, units).sum(0)
    square = mean.square().reshape(-1, units).sum(0)
    silent = square == 0
    return torch.where(silent, 0.0, excess / square.where(~silent, 1.0)).clamp(SMALLEST_START, LARGEST_START)


def _log_rising(counts: Tensor, dispersion: Tensor) -> Tensor:
    """Return the sum of log(1 + j a) over j = 0 ... k - 1: lgamma(k + r) - lgamma(r) + k log a.

    Each branch is kept away from where it breaks, since ``where`` would pass on the other's infinite gradient.
    """
    large = dispersion.clamp(min=STIRLING_BELOW)
    direct = torch.lgamma(counts + 1 / large) - torch.lgamma(1 / large) + counts * torch.log(large)
    small = dispersion.clamp(max=STIRLING_BELOW)
    grown = small * counts
    stirling = (
        (counts - 0.5) * torch.log1p(grown)
        + counts * _log1p_ratio(grown)
        + _stirling_rest(small / (1 + grown))
        - _stirling_rest(small)
    )
    return torch.where(dispersion < STIRLING_BELOW, stirling, direct)


def _stirling_rest(inverse: Tensor) -> Tensor:
    """Return what Stirling's formula of lgamma(z) leaves out, from 1 / z (Abramowitz & Stegun 6.1.41)."""
    square = inverse.square()
    return inverse * (1 / 12 - square * (1 / 360 - square / 1260))


def _log1p_ratio(x: Tensor) -> Tensor:
    """Return log(1 + x) / x - 1 for x >= 0; 0 at 0."""
    series = -x * (1 / 2 - x * (1 / 3 - x * (1 / 4 - x * (1 / 5 - x / 6))))
    apart = x.clamp(min=SERIES_BELOW)
    return torch.where(x < SERIES_BELOW, series, torch.log1p(apart) / apart - 1)
