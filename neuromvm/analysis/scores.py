"""A line of the summary: a score, its intervals, its null, and the baseline it is compared with.

A part that does not exist is :class:`Absent` and carries the reason, so that no reader takes a missing number for a zero.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import xarray as xr

ABSENT_PREFIX = "none: "  # begins the words that stand for an absent part in ``summary.json``
NULL_VARIABLES = ("null_mean", "null_low", "null_high", "p")


class Absent(NamedTuple):
    """A part of a score that does not exist, and why."""

    reason: str

    def __str__(self) -> str:
        return f"{ABSENT_PREFIX}{self.reason}"


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Null(NamedTuple):
    """What the score would be under a null hypothesis.

    ``kind`` says in words how labels were broken, ``draws`` how often. ``mean`` of the score over draws, their 95 % range ``low,
    high``, and ``p`` = (b + 1) / (n + 1), b being the number of the n draws that reach the score.
    """

    kind: str
    draws: int
    mean: float
    low: float
    high: float
    p: float


class Difference(NamedTuple):
    """The paired difference to a baseline, with its interval over trials and over animals."""

    baseline: str
    value: float
    interval: Interval
    over_animals: Interval | Absent = Absent("not computed")


class Counts(NamedTuple):
    """Number of animals, of distinct scored trials, of windows of a trial, and of splits."""

    animals: int
    trials: int
    windows: int
    splits: int


class Score(NamedTuple):
    """A score with everything needed to judge it.

    Attributes
    ----------
    what, representation, setting
        What is measured, of which model or baseline, and how.
    value, n
        The score, and what it was measured on.
    interval, resampled
        The 95 % interval, and in words what was resampled for it.
    over_animals
        The 95 % interval with the animal as the unit (:mod:`neuromvm.analysis.statistics.hierarchy`).
    null, chance, difference
        The null distribution and p, what guessing gives, and the difference to a baseline.
    in_sample
        Whether the scored trials were fitted on; then there is neither null nor p.

    Examples
    --------
    >>> score = Score("balanced accuracy", "mmvm", "cross", 0.4, Counts(5, 90, 1, 3), Interval(0.3, 0.5), "test trials")
    >>> score.row()["null_kind"]
    'none: not computed'
    """

    what: str
    representation: str
    setting: str
    value: float
    n: Counts
    interval: Interval | Absent
    resampled: str = ""
    over_animals: Interval | Absent = Absent("not computed")
    null: Null | Absent = Absent("not computed")
    chance: float | Absent = Absent("not defined")
    difference: Difference | Absent = Absent("no baseline")
    in_sample: bool = False

    def row(self) -> dict[str, Any]:
        """Return the line as ``summary.json`` holds it: flat, NaN for absent numbers, and the reason in words beside them."""
        null, difference = self.null, self.difference
        if isinstance(null, Absent):
            null = Null(str(null), 0, *[math.nan] * 4)
        if isinstance(difference, Absent):
            difference = Difference(str(difference), math.nan, Interval(math.nan, math.nan))
        chance, chance_kind = (math.nan, str(self.chance)) if isinstance(self.chance, Absent) else (self.chance, "")
        return {
            "what": self.what,
            "representation": self.representation,
            "setting": self.setting,
            "value": self.value,
            **_bounds("", self.interval),
            "interval": str(self.interval) if isinstance(self.interval, Absent) else self.resampled,
            "null_kind": null.kind,
            "null_n": null.draws,
            "floor": null.mean,
            "floor_low": null.low,
            "floor_high": null.high,
            "chance": chance,
            "p": null.p,
            "baseline": difference.baseline,
            "difference": difference.value,
            **_bounds("difference_", difference.interval),
            **_bounds("animals_", self.over_animals),
            **_bounds("difference_animals_", difference.over_animals),
            **{f"n_{name}": count for name, count in self.n._asdict().items()},
            "in_sample": self.in_sample,
            "chance_kind": chance_kind,
        }


def _bounds(prefix: str, interval: Interval | Absent) -> dict[str, float]:
    low, high = (math.nan, math.nan) if isinstance(interval, Absent) else interval
    return {f"{prefix}low": low, f"{prefix}high": high}


def saved_interval(scores: xr.Dataset, prefix: str = "") -> Interval:
    """Return the interval ``low, high`` of saved scalars; ``prefix`` begins their names."""
    return Interval(float(scores[f"{prefix}low"]), float(scores[f"{prefix}high"]))


def saved_null(scores: xr.Dataset, kind: str, draws: int, names: Iterable[str] = NULL_VARIABLES) -> Null | Absent:
    """Return a null that is saved as scalars; Absent where ``kind`` begins with "none: "."""
    if kind.startswith(ABSENT_PREFIX):
        return Absent(kind.removeprefix(ABSENT_PREFIX))
    return Null(kind, int(draws), *(float(scores[name]) for name in names))


def score_of(
    scores: xr.Dataset,
    null_kind: str,
    null_draws: int,
    parts: Mapping[str, Any],
    *,
    prefix: str = "",
    null: str = "null",
    p: str = "p",
) -> Score:
    """Return the line of a score saved as scalars ``value, low, high, null_mean, null_low, null_high, p``.

    ``null_kind`` and ``null_draws`` say how labels were broken and how often, or after "none: " why there is no null; ``parts``
    are other fields of the line. ``prefix`` begins the names of all variables; ``null`` and ``p`` name another null.
    """
    null_variables = [prefix + name for name in (f"{null}_mean", f"{null}_low", f"{null}_high", p)]
    return Score(
        value=float(scores[f"{prefix}value"]),
        interval=saved_interval(scores, prefix),
        null=saved_null(scores, null_kind, null_draws, null_variables),
        **parts,
    )
