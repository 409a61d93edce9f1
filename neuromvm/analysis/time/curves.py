"""Scores along a grid with their null and bootstrap draws: which windows stand out, and since when."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.clusters import ROUNDING, cluster_mass, cluster_p_of, max_statistic
from neuromvm.analysis.statistics.over_trials import Floats

ONSETS = {"cluster_p": "onset of the first cluster [s]", "p_max": "onset of significance [s]"}


class Draws(NamedTuple):
    """Scores with their null and bootstrap draws; NaN where nothing is scored."""

    value: Floats  # (...)
    null: Floats  # (draw, ...), no draw where scored trials were fitted on
    bootstrap: Floats  # (draw, ...)

    def of(self, animal: int) -> "Draws":
        """Return those of one animal."""
        return Draws(self.value[animal], self.null[:, animal], self.bootstrap[:, animal])

    def mean_over(self, inside: NDArray[np.bool_]) -> "Draws":
        """Average some windows; NaN if there are none."""
        return Draws(*(over_trials.mean_of_scored(values[..., inside], axis=-1)[..., None] for values in self))

    @property
    def tested(self) -> bool:
        """Whether there is something to test against."""
        return len(self.null) > 0 and bool(np.isfinite(self.value).all())

    def summary(self) -> dict[str, Floats]:
        """Return value, interval, the range of the null, and p of each point by itself."""
        return over_trials.judged(self.value, self.bootstrap, self.null)

    def corrected(self, level: float) -> dict[str, Floats]:
        """Return p-values of points corrected for all of them, by the largest value and by the mass of clusters."""
        if not self.tested:
            return dict.fromkeys(("p_max", "cluster_p"), np.full(self.value.shape, np.nan))
        clusters = cluster_mass(self.value, self.null, level)
        return {"p_max": max_statistic(self.value, self.null), "cluster_p": clusters.p_of_points}

    def significant(self, level: float) -> "Draws":
        """Return 1 where a window is significant by itself, 0 elsewhere, in every draw as in the observed one."""
        if not self.tested:
            return Draws(np.full(self.value.shape, np.nan), self.null, self.bootstrap[:0])
        # Corrected p-values of null draws, each a member of the draws it is compared with, as the observed one is.
        draws = np.concatenate([self.value[None], self.null])
        largest = np.sort(draws.max(axis=1) + ROUNDING)
        reached = len(draws) - np.searchsorted(largest, draws)
        above = (reached / len(draws) <= level).astype(np.float64)
        return Draws(above[0], above[1:], (max_statistic(self.bootstrap, self.null) <= level).astype(np.float64))


def onsets(curve: Draws, ends: NDArray[np.floating], level: float) -> dict[str, Floats]:
    """Say when a curve first stands out, and where that moves if trials are drawn again.

    Parameters
    ----------
    curve
        ``(window,)`` with its draws.
    ends
        ``(window,)``: by when what was decoded had been recorded.
    level
        Largest p.

    Returns
    -------
    For each of ``ONSETS``: ``value``, the end of the first window that stands out (NaN if none does); ``p`` of this window, or
    the smallest of all; ``low, high``, 95 % of bootstrap draws: where the run of windows that begins with it begins in each,
    thresholds as they are; ``found``, the share of draws in which any window of this run stands out. Without half of the draws
    there is no interval. It says how far the edge of a run moves, not that nothing is before it: of that ``p`` speaks.
    """
    if not curve.tested:
        return dict.fromkeys(("value", "low", "high", "p", "found"), np.full(len(ONSETS), np.nan))
    observed, ends = curve.corrected(level), np.round(ends, 9)
    drawn = {
        "cluster_p": cluster_p_of(curve.bootstrap, curve.value, curve.null, level),
        "p_max": max_statistic(curve.bootstrap, curve.null),
    }
    found: list[tuple[Any, ...]] = []
    for key in ONSETS:
        above = observed[key] <= level
        if not above.any():
            found.append((np.nan, np.nan, np.nan, observed[key].min(), np.nan))
            continue
        first = int(above.argmax())
        starts = ends[_starts(drawn[key] <= level, first, first + int(np.argmin([*above[first:], False])))]
        low, high = over_trials.interval(starts) if 2 * len(starts) >= len(drawn[key]) else (np.nan, np.nan)
        found.append((ends[first], low, high, observed[key][first], len(starts) / max(len(drawn[key]), 1)))
    return dict(zip(("value", "low", "high", "p", "found"), np.array(found, dtype=np.float64).T, strict=True))


def _starts(above: NDArray[np.bool_], first: int, stop: int) -> NDArray[np.intp]:
    """Return where the run that holds the first window above, of ``first`` to ``stop``, begins in each draw that has one.

    Examples
    --------
    >>> above = np.array([[1, 0, 0, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0]], dtype=bool)
    >>> _starts(above, 2, 5).tolist()
    [3, 1]
    """
    start = np.arange(above.shape[1]) * np.ones((len(above), 1), dtype=np.intp)
    for window in range(1, above.shape[1]):
        start[:, window] = np.where(above[:, window - 1], start[:, window - 1], window)
    inside = above[:, first:stop]
    at = first + inside.argmax(axis=1)
    return np.asarray(start[np.arange(len(above)), at][inside.any(axis=1)])
