"""Scores along a grid with their null and bootstrap draws: which windows are significant, and from when on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.clusters import ROUNDING, cluster_mass, cluster_p_of, max_statistic
from neuromvm.analysis.statistics.over_trials import Floats

ONSETS = {"cluster_p": "onset of the first cluster [s]", "p_max": "onset of significance [s]"}
ONSET_NUMBERS = ("value", "low", "high", "p", "found")


class Draws(NamedTuple):
    """Scores with their null and bootstrap draws; NaN where no trial is scored."""

    value: Floats  # (...)
    null: Floats  # (draw, ...), no draws where scored trials were fitted on
    bootstrap: Floats  # (draw, ...)

    def mean_over(self, windows: NDArray[np.bool_]) -> "Draws":
        """Return the mean over a selection of windows, ``(..., 1)``; NaN if it is empty."""
        return Draws(*(over_trials.mean_of_scored(values[..., windows], axis=-1)[..., None] for values in self))

    @property
    def tested(self) -> bool:
        """Whether there is a null, and a score in every window."""
        return len(self.null) > 0 and bool(np.isfinite(self.value).all())

    def summary(self) -> dict[str, Floats]:
        """Return value, interval, range of the null, and p of each point, not corrected for the number of points."""
        return over_trials.judged(self.value, self.bootstrap, self.null)

    def corrected(self, level: float) -> dict[str, Floats]:
        """Return p of each point, corrected for all points by the largest value and by the largest cluster mass of null draws."""
        if not self.tested:
            return dict.fromkeys(("p_max", "cluster_p"), np.full(self.value.shape, np.nan))
        clusters = cluster_mass(self.value, self.null, level)
        return {"p_max": max_statistic(self.value, self.null), "cluster_p": clusters.p_of_points}

    def significant(self, level: float) -> "Draws":
        """Return 1 where p_max is at most the level and 0 elsewhere, for the observed curve and for every draw."""
        if not self.tested:
            return Draws(np.full(self.value.shape, np.nan), self.null, self.bootstrap[:0])
        # The p-value of a null draw compares it with all draws including itself, like that of the observed curve.
        draws = np.concatenate([self.value[None], self.null])
        largest = np.sort(draws.max(axis=1) + ROUNDING)
        reached = len(draws) - np.searchsorted(largest, draws)
        significant = (reached / len(draws) <= level).astype(np.float64)
        resampled = (max_statistic(self.bootstrap, self.null) <= level).astype(np.float64)
        return Draws(significant[0], significant[1:], resampled)


def between_windows(matrix: Floats, nulls: Sequence[Floats], level: float) -> dict[str, Floats]:
    """Return the largest ``p_max`` and ``cluster_p`` of several nulls, corrected for all pairs of different windows.

    ``matrix (train window, test window)``, ``nulls`` of ``(draw, train window, test window)`` each. A window tested in itself
    joins no cluster and is in no maximum; its p here mean nothing. The larger p holds its level under each of the nulls.
    Berger (1982). Multiparameter hypothesis testing and acceptance sampling. *Technometrics* 24, 295-300.
    """
    diagonal = np.eye(len(matrix), dtype=bool)
    no_score = np.where(np.isfinite(matrix), 0.0, np.nan)  # not above any accuracy, and the same in all draws
    value = np.where(diagonal, no_score, matrix)
    tested = [Draws(value, np.where(diagonal, 0.0, null), null[:0]).corrected(level) for null in nulls]
    return {key: np.maximum.reduce([p[key] for p in tested]) for key in ("p_max", "cluster_p")}


def onsets(curve: Draws, ends: NDArray[np.floating], level: float) -> dict[str, Floats]:
    """Return when a curve becomes significant, with an element for each of ``ONSETS``; ``ends (window,)`` are those of windows.

    ``value``: the end of the first significant window (NaN if there is none); ``p`` of this window, or the smallest p of all;
    ``low, high``: 95 % of the times at which the run of significant windows that begins with it begins in bootstrap draws, with
    thresholds of the observed data; ``found``: the share of draws in which any window of this run is significant, below one half
    of which there is no interval. The interval is that of the edge of a run; it does not exclude information before it.
    """
    if not curve.tested:
        return dict.fromkeys(ONSET_NUMBERS, np.full(len(ONSETS), np.nan))
    observed, ends = curve.corrected(level), np.round(ends, 9)
    resampled = {
        "cluster_p": cluster_p_of(curve.bootstrap, curve.value, curve.null, level),
        "p_max": max_statistic(curve.bootstrap, curve.null),
    }
    numbers = np.array([_onset(observed[key], resampled[key], ends, level) for key in ONSETS])
    return dict(zip(ONSET_NUMBERS, numbers.T, strict=True))


def _onset(observed: Floats, resampled: Floats, ends: Floats, level: float) -> tuple[float, ...]:
    """Return ``ONSET_NUMBERS`` from p-values ``(window,)`` and those of bootstrap draws ``(draw, window)``."""
    significant = observed <= level
    if not significant.any():
        return np.nan, np.nan, np.nan, float(observed.min()), np.nan
    start = int(significant.argmax())
    stop = start + int(np.argmin([*significant[start:], False]))
    times = ends[_run_starts(resampled <= level, start, stop)]
    low, high = over_trials.interval(times) if 2 * len(times) >= len(resampled) else (np.nan, np.nan)
    return float(ends[start]), float(low), float(high), float(observed[start]), len(times) / max(len(resampled), 1)


def _run_starts(significant: NDArray[np.bool_], start: int, stop: int) -> NDArray[np.intp]:
    """Return the window at which the run of the first significant window in ``start`` to ``stop`` begins, in draws with one."""
    continued = np.pad(significant[:, :-1], ((0, 0), (1, 0)))
    starts = np.maximum.accumulate(np.where(continued, 0, np.arange(significant.shape[1])), axis=1)
    inside = significant[:, start:stop]
    earliest = start + inside.argmax(axis=1)
    return np.asarray(starts[np.arange(len(significant)), earliest][inside.any(axis=1)])
