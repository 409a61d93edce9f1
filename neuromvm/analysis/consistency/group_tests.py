"""Tests of a difference between two groups of animals: by permuting which animals make a group, the animal being the unit.

References
----------
Welch, B. L. (1947). The generalization of Student's problem when several different population variances are involved.
*Biometrika* 34, 28-35.
Hedges, L. V. (1981). Distribution theory for Glass's estimator of effect size. *J. Educ. Stat.* 6, 107-128.
Arvesen, J. N. (1969). Jackknifing U-statistics. *Ann. Math. Stat.* 40, 2076-2100.
"""

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from neuromvm.analysis.flat_score import NAN
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats

Statistic = Callable[[Floats, Floats], Floats]  # of members of both groups, (draw, animal) of 0 and 1, to (draw,)

TIE = 1e-6  # differences of scores that are equal may differ in the last bits


class Comparison(NamedTuple):
    """A number that tells two groups apart, with what is needed to judge it; NaN where it does not exist."""

    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    null_mean: float
    null_low: float
    null_high: float
    hedges_g: float


def group_members(first: NDArray[np.bool_], most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the first group in all ways to make it, or in ``most`` ways drawn at random, ``(draw, animal)``.

    Examples
    --------
    >>> group_members(np.array([True, True, False]), 100, np.random.default_rng(0)).astype(int).tolist()
    [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    animals, size = len(first), int(first.sum())
    if comb(animals, size) > most:
        return np.asarray(rng.permuted(np.broadcast_to(first, (most, animals)), axis=1))
    ways = np.zeros((comb(animals, size), animals), dtype=bool)
    for row, chosen in enumerate(combinations(range(animals), size)):
        ways[row, list(chosen)] = True
    return ways


def compare_animals(values: Floats, first: NDArray[np.bool_], members: NDArray[np.bool_]) -> Comparison:
    """Compare the means of two groups of animals.

    Parameters
    ----------
    values
        One number an animal, ``(animal,)``.
    first
        Whether it is of the first group.
    members
        Of :func:`group_members`.

    Examples
    --------
    >>> first = np.array([True] * 3 + [False] * 3)
    >>> members = group_members(first, 100, np.random.default_rng(0))
    >>> found = compare_animals(np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.3]), first, members)
    >>> round(found.difference, 3), found.p, found.smallest_p
    (0.4, 0.1, 0.1)
    """

    def difference(one: Floats, other: Floats) -> Floats:
        return np.asarray(one @ values / one.sum(axis=1) - other @ values / other.sum(axis=1))

    return _judged(difference, first, members)._replace(hedges_g=hedges_g(values[first], values[~first]))


def compare_pairs(
    pairs: Floats, statistic: Callable[[Floats], Statistic], first: NDArray[np.bool_], members: NDArray[np.bool_]
) -> Comparison:
    """Compare groups by scores of pairs of animals ``(source, target)``, with :func:`among` or :func:`own_group`."""
    return _judged(statistic(pairs), first, members)


def among(pairs: Floats) -> Statistic:
    """Return the statistic: mean over pairs within the first group, minus that within the second."""
    mean = block_mean(pairs)
    return lambda one, other: mean(one, one) - mean(other, other)


def own_group(pairs: Floats) -> Statistic:
    """Return the statistic: mean over pairs within a group, minus that over pairs of two groups."""
    mean = block_mean(pairs)
    return lambda one, other: (mean(one, one) + mean(other, other) - mean(one, other) - mean(other, one)) / 2


def hedges_g(one: Floats, other: Floats) -> float:
    """Return the difference of means in units of the pooled standard deviation, without the bias of few animals (Hedges 1981)."""
    free = len(one) + len(other) - 2
    pooled = np.sqrt(((len(one) - 1) * np.var(one, ddof=1) + (len(other) - 1) * np.var(other, ddof=1)) / free)
    if not pooled > 0:
        return NAN
    unbiased = np.exp(gammaln(free / 2) - gammaln((free - 1) / 2)) / np.sqrt(free / 2) if free > 1 else NAN
    return float(unbiased * (np.mean(one) - np.mean(other)) / pooled)


def _judged(statistic: Statistic, first: NDArray[np.bool_], members: NDArray[np.bool_]) -> Comparison:
    """Judge a difference by permuted groups, and by leaving out each animal (for means of animals, that is Welch's interval)."""
    value = float(statistic(first[None].astype(float), (~first[None]).astype(float))[0])
    null = statistic(members.astype(float), (~members).astype(float))
    low, high = _interval(statistic, first, value)
    if np.isnan(value):
        return Comparison(*[NAN] * len(Comparison._fields))
    exact = len(members) == comb(len(first), int(first.sum()))
    reached = int((np.abs(null) >= abs(value) - TIE).sum())
    # Where groups are of one size, the two swapped give the same size of difference.
    mirrored = 2 if 2 * first.sum() == len(first) else 1
    null_low, null_high = over_trials.interval(null)
    return Comparison(
        value,
        low,
        high,
        p=reached / len(members) if exact else (reached + 1) / (len(members) + 1),
        smallest_p=mirrored / len(members) if exact else 1 / (len(members) + 1),
        null_mean=float(null.mean()),
        null_low=float(null_low),
        null_high=float(null_high),
        hedges_g=NAN,
    )


def _interval(statistic: Statistic, first: NDArray[np.bool_], value: float) -> tuple[float, float]:
    """Return the 95 % interval of a jackknife of two samples, degrees of freedom as of Welch & Satterthwaite."""
    variances, free = [], []
    for group in (first, ~first):
        size = int(group.sum())
        left = ~np.eye(len(first), dtype=bool)[group]
        without = statistic((first & left).astype(float), (~first & left).astype(float))
        variances.append((size - 1) / size * ((without - without.mean()) ** 2).sum())
        free.append(size - 1)
    error = np.sqrt(sum(variances))
    if not np.isfinite(error) or error == 0:
        return NAN, NAN
    degrees = sum(variances) ** 2 / sum(variance**2 / one for variance, one in zip(variances, free, strict=True))
    half = float(error * stats.t.ppf(0.975, degrees))
    return value - half, value + half


def block_mean(pairs: Floats) -> Statistic:
    """Return the mean over pairs of a source in one group and a target in the other, NaN where there is no pair."""
    off = ~np.eye(len(pairs), dtype=bool) & np.isfinite(pairs)
    scored = np.where(off, pairs, 0)

    def mean(source: Floats, target: Floats) -> Floats:
        count = ((source @ off) * target).sum(axis=1)
        return np.where(count > 0, ((source @ scored) * target).sum(axis=1) / np.maximum(count, 1), np.nan)

    return mean
