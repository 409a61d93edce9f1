"""Permutation tests of a difference between two groups of animals, with the animal as the unit.

References
----------
Welch, B. L. (1947). The generalization of Student's problem when several different population variances are involved.
*Biometrika* 34, 28-35.
Hedges, L. V. (1981). Distribution theory for Glass's estimator of effect size. *J. Educ. Stat.* 6, 107-128.
Arvesen, J. N. (1969). Jackknifing U-statistics. *Ann. Math. Stat.* 40, 2076-2100.
"""

from collections.abc import Callable
from itertools import combinations
from math import comb, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats

Statistic = Callable[[Floats, Floats], Floats]  # of members of both groups, (draw, animal) of 0 and 1, to (draw,)

TIE = 1e-6  # differences of scores that are equal may differ in the last bits


class Comparison(NamedTuple):
    """A difference between two groups with its interval and test; NaN for numbers that do not exist."""

    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    null_mean: float
    null_low: float
    null_high: float
    hedges_g: float


def group_members(members: NDArray[np.bool_], most: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return all ways to choose a first group of this size, or ``most`` ways drawn at random, ``(draw, animal)``.

    Examples
    --------
    >>> group_members(np.array([True, True, False]), 100, np.random.default_rng(0)).astype(int).tolist()
    [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    animals, size = len(members), int(members.sum())
    if comb(animals, size) > most:
        return np.asarray(rng.permuted(np.broadcast_to(members, (most, animals)), axis=1))
    ways = np.zeros((comb(animals, size), animals), dtype=bool)
    for row, group in enumerate(combinations(range(animals), size)):
        ways[row, list(group)] = True
    return ways


def compare_animals(values: Floats, members: NDArray[np.bool_], permuted: NDArray[np.bool_]) -> Comparison:
    """Compare the means of two groups of animals, ``values (animal,)``; ``permuted`` is of :func:`group_members`.

    Examples
    --------
    >>> members = np.array([True] * 3 + [False] * 3)
    >>> permuted = group_members(members, 100, np.random.default_rng(0))
    >>> comparison = compare_animals(np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.3]), members, permuted)
    >>> round(comparison.difference, 3), comparison.p, comparison.smallest_p
    (0.4, 0.1, 0.1)
    """

    def difference(group: Floats, reference: Floats) -> Floats:
        return np.asarray(group @ values / group.sum(axis=1) - reference @ values / reference.sum(axis=1))

    return compare(difference, members, permuted)._replace(hedges_g=hedges_g(values[members], values[~members]))


def among(pairs: Floats) -> Statistic:
    """Return the statistic: mean of ``(source, target)`` over pairs within the first group, minus that within the second."""
    mean = block_mean(pairs)
    return lambda group, reference: mean(group, group) - mean(reference, reference)


def own_group(pairs: Floats) -> Statistic:
    """Return the statistic: mean over pairs within a group, minus that over pairs of two groups."""
    mean = block_mean(pairs)

    def difference(group: Floats, reference: Floats) -> Floats:
        within = mean(group, group) + mean(reference, reference)
        return (within - mean(group, reference) - mean(reference, group)) / 2

    return difference


def hedges_g(values: Floats, reference: Floats) -> float:
    """Return the difference of means in units of the pooled standard deviation, corrected for small groups (Hedges 1981)."""
    free = len(values) + len(reference) - 2
    pooled = np.sqrt(((len(values) - 1) * np.var(values, ddof=1) + (len(reference) - 1) * np.var(reference, ddof=1)) / free)
    if not pooled > 0:
        return nan
    correction = np.exp(gammaln(free / 2) - gammaln((free - 1) / 2)) / np.sqrt(free / 2) if free > 1 else nan
    return float(correction * (np.mean(values) - np.mean(reference)) / pooled)


def compare(statistic: Statistic, members: NDArray[np.bool_], permuted: NDArray[np.bool_]) -> Comparison:
    """Test a statistic by permuted groups, with a jackknife interval (Welch's interval if the statistic is a mean of animals)."""
    value = float(statistic(members[None].astype(float), (~members)[None].astype(float))[0])
    if np.isnan(value):
        return Comparison(*[nan] * len(Comparison._fields))
    null = statistic(permuted.astype(float), (~permuted).astype(float))
    low, high = _interval(statistic, members, value)
    exact = len(permuted) == comb(len(members), int(members.sum()))
    reached = int((np.abs(null) >= abs(value) - TIE).sum())
    # Where groups are of the same size, exchanging them gives the same size of difference.
    mirrored = 2 if 2 * members.sum() == len(members) else 1
    null_low, null_high = over_trials.interval(null)
    return Comparison(
        value,
        low,
        high,
        p=reached / len(permuted) if exact else (reached + 1) / (len(permuted) + 1),
        smallest_p=mirrored / len(permuted) if exact else 1 / (len(permuted) + 1),
        null_mean=float(null.mean()),
        null_low=float(null_low),
        null_high=float(null_high),
        hedges_g=nan,
    )


def _interval(statistic: Statistic, members: NDArray[np.bool_], value: float) -> tuple[float, float]:
    """Return the 95 % interval of a jackknife of two samples, degrees of freedom as of Welch & Satterthwaite."""
    variances, free = [], []
    for group in (members, ~members):
        size = int(group.sum())
        remaining = ~np.eye(len(members), dtype=bool)[group]
        without = statistic((members & remaining).astype(float), (~members & remaining).astype(float))
        variances.append((size - 1) / size * ((without - without.mean()) ** 2).sum())
        free.append(size - 1)
    error = np.sqrt(sum(variances))
    if not np.isfinite(error) or error == 0:
        return nan, nan
    degrees = sum(variances) ** 2 / sum(variance**2 / size for variance, size in zip(variances, free, strict=True))
    half = float(error * stats.t.ppf(0.975, degrees))
    return value - half, value + half


def block_mean(pairs: Floats) -> Statistic:
    """Return the mean over pairs of a source in one group and a target in another, NaN where there is no pair."""
    scored = ~np.eye(len(pairs), dtype=bool) & np.isfinite(pairs)
    scores = np.where(scored, pairs, 0)

    def mean(source: Floats, target: Floats) -> Floats:
        count = ((source @ scored) * target).sum(axis=1)
        return np.where(count > 0, ((source @ scores) * target).sum(axis=1) / np.maximum(count, 1), np.nan)

    return mean
