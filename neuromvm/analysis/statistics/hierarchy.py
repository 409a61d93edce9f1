"""Intervals over animals, for conclusions about animals that were not recorded; n is the number of animals.

References
----------
Saravanan, V., Berman, G. J. & Sober, S. J. (2020). Application of the hierarchical bootstrap to multi-level data in
neuroscience. *Neurons Behav. Data Anal. Theory* 3.
Davison, A. C. & Hinkley, D. V. (1997). *Bootstrap Methods and their Application*, section 3.8. Cambridge.
Hesterberg, T. C. (2015). What teachers should know about the bootstrap. *Am. Stat.* 69, 371-386.
Arvesen, J. N. (1969). Jackknifing U-statistics. *Ann. Math. Stat.* 40, 2076-2100.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.errors import ShapeError

FEW = 6  # animals below which the width of an interval over animals hangs on a handful of numbers
FEWEST_IN_PAIRS = 3  # leaving one animal out must leave a pair


class Interval(NamedTuple):
    """A mean over animals with its interval, and in words what was resampled for it."""

    value: float
    low: float
    high: float
    animals: int
    words: str


def over_animals(
    observed: Floats, draws: Floats, rng: np.random.Generator, subjects: NDArray[np.intp] | None = None, level: float = 0.95
) -> Interval:
    """Return the mean over animals with a hierarchical bootstrap interval: animals, then trials within each.

    Three corrections bring the plain hierarchical bootstrap to its level:

    - Observed scores vary between animals partly because of trials, and resampled trials would add this a second time.
      Differences between animals are first shrunk by that much (Davison & Hinkley 1997).
    - Drawing n of n animals gives a variance too small by (n - 1) / n; n - 1 are drawn (see :func:`over_trials.bootstrap`).
    - With few animals their variance is uncertain; draws are widened by Student's t of n - 1 degrees of freedom over the normal
      quantile (Hesterberg 2015).

    Parameters
    ----------
    observed
        Score of each animal, ``(animal,)``; animals with NaN are left out.
    draws
        Bootstrap draws of trials within animal and label, ``(draw, animal)``. Only their spread counts, so that bias of a
        resampled score does not shift the interval. For a difference, ``observed`` and ``draws`` are those of the difference.
    rng
        For the draws of animals.
    subjects
        Number of the subject of each recording ``(animal,)``: sessions of a subject are averaged first, and subjects are drawn.
        By default each recording is of another subject.
    level
        Of the interval, which may exceed the bounds of a score; NaN if there are fewer than two animals.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores = np.array([0.6, 0.7, 0.8, 0.7])
    >>> interval = over_animals(scores, scores + 0.02 * rng.standard_normal((2000, 4)), rng)
    >>> print(f"{interval.value:.2f}, {interval.low:.1f} to {interval.high:.1f}")
    0.70, 0.6 to 0.8
    """
    if draws.ndim != 2 or draws.shape[1:] != observed.shape:
        raise ShapeError(
            "interval over animals",
            found=f"draws {draws.shape} of scores {observed.shape}",
            expected="(draw, animal) of (animal,)",
        )
    scored = np.isfinite(observed) & np.isfinite(draws).all(axis=0)
    numbers = np.arange(len(observed)) if subjects is None else subjects
    sessions = (numbers[scored] == np.unique(numbers[scored])[:, None]).astype(np.float64)  # (subject, recording)
    sessions /= sessions.sum(axis=1, keepdims=True)
    values, animals = sessions @ observed[scored], len(sessions)
    mean = float(values.mean()) if animals else np.nan
    if animals < 2:
        return Interval(mean, np.nan, np.nan, animals, "none: fewer than 2 animals")
    trials = (draws[:, scored] - draws[:, scored].mean(axis=0)) @ sessions.T
    between = values.var(ddof=1)
    shrink = np.sqrt(max(0.0, 1 - trials.var(axis=0).mean() / between)) if between > 0 else 0.0
    drawn = rng.integers(animals, size=(len(draws), animals - 1))
    # An animal drawn twice has different trials each time.
    of_trials = trials[rng.integers(len(draws), size=drawn.shape), drawn] * np.sqrt((animals - 1) / animals)
    student = stats.t.ppf((1 + level) / 2, animals - 1) / stats.norm.ppf((1 + level) / 2)
    spread = (shrink * (values - mean)[drawn] + of_trials).mean(axis=1) * student
    low, high = over_trials.interval(spread, level)
    words = (
        f"{100 * level:g} % over {len(draws)} hierarchical bootstrap draws, of animals with replacement "
        f"({animals - 1} of {animals}), then of trials within animal and label; widened by Student's t of {animals - 1} degrees "
        f"of freedom{_few(animals)}"
    )
    return Interval(mean, mean + float(low), mean + float(high), animals, words)


def over_pairs(scores: Floats, subjects: NDArray[np.intp] | None = None, level: float = 0.95) -> Interval:
    """Return the mean over pairs of two animals, with an interval that accounts for animals in several pairs.

    Each animal is left out as source and as target at once (jackknife; Arvesen 1969). Its variance is too large rather than too
    small (Efron & Stein 1981, *Ann. Stat.* 9, 586-596). A bootstrap of animals on both axes covers less, since pairs of an animal
    with itself have no score: with five animals its 95 % interval held the true mean in 85 %, this one in 97 % (three: 49 and 95;
    twenty: 93 and 95).

    Parameters
    ----------
    scores
        ``(source, target)``, mean over trials. The diagonal, NaN and animals without any pair are left out.
    subjects
        Number of the subject of each recording ``(animal,)``: pairs of two sessions of a subject are left out, and its sessions
        are left out together. By default each recording is of another subject.
    level
        Of the interval, by Student's t of n - 1 degrees of freedom; NaN if there are fewer than three animals.

    Examples
    --------
    >>> interval = over_pairs(np.array([[1, 0.5, 0.6, 0.7], [0.5, 1, 0.6, 0.7], [0.5, 0.7, 1, 0.7], [0.6, 0.5, 0.7, 1]]))
    >>> print(f"{interval.value:.2f}, {interval.low:.2f} to {interval.high:.2f}")
    0.61, 0.42 to 0.80
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ShapeError("interval over pairs", found=f"scores {scores.shape}", expected="(source, target), the same animals")
    pairs = between_animals(scores, subjects)
    paired = np.isfinite(pairs).any(axis=0) | np.isfinite(pairs).any(axis=1)
    pairs, numbers = pairs[paired][:, paired], (np.arange(len(scores)) if subjects is None else subjects)[paired]
    mean, remaining = float(mean_of_pairs(pairs)), [numbers != number for number in np.unique(numbers)]
    without, animals = [float(mean_of_pairs(pairs[members][:, members])) for members in remaining], len(remaining)
    if animals < FEWEST_IN_PAIRS or not np.isfinite(without).all():
        return Interval(mean, np.nan, np.nan, animals, f"none: fewer than {FEWEST_IN_PAIRS} animals in pairs")
    error = np.sqrt((animals - 1) * np.var(without))
    half = float(error * stats.t.ppf((1 + level) / 2, animals - 1))
    words = (
        f"{100 * level:g} % over animals, each left out as source and target (jackknife), "
        f"Student's t of {animals - 1} degrees of freedom{_few(animals)}"
    )
    return Interval(mean, mean - half, mean + half, animals, words)


def between_animals(scores: Floats, subjects: NDArray[np.intp] | None = None) -> Floats:
    """Return scores ``(..., source, target)`` with NaN where an animal is paired with itself, or with a session of itself."""
    numbers = np.arange(scores.shape[-1]) if subjects is None else subjects
    return np.where(numbers[:, None] == numbers, np.nan, scores)


def mean_of_pairs(scores: Floats) -> Floats:
    """Return the mean over ordered pairs of two animals, ``(..., source, target)`` to ``(...)``; NaN does not count."""
    pairs = between_animals(scores)
    return over_trials.mean_of_scored(pairs.reshape(*pairs.shape[:-2], -1), axis=-1)


def _few(animals: int) -> str:
    return f"; rough, being of {animals} animals" if animals < FEW else ""
