"""A line of the summary: a score, its intervals, its null, and the baseline it is compared with.

A part that does not exist is :class:`Absent` and carries the reason, so that no reader takes a missing number for a zero.
"""

import math
from typing import Any, NamedTuple

NO_REASON = "none: "  # begins the words that stand for an absent part in ``summary.json``


class Absent(NamedTuple):
    """A part of a score that does not exist, and why."""

    reason: str

    def __str__(self) -> str:
        return f"{NO_REASON}{self.reason}"


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Null(NamedTuple):
    """What the score would be under a null hypothesis.

    Attributes
    ----------
    kind
        How labels were broken, in words; it names the hypothesis.
    draws
        Number of null data sets or permutations.
    mean, low, high
        Mean of the score over draws, and the 95 % range of them.
    p
        (b + 1) / (n + 1), b being the number of the n draws that reach the score.
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
    """Animals, distinct trials and windows of these that are scored, and splits."""

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
    value
        The score.
    n
        What it was measured on.
    interval, resampled
        The 95 % interval, and in words what was resampled for it.
    over_animals
        The 95 % interval with the animal as the unit (:mod:`neuromvm.analysis.statistics.hierarchy`).
    null
        The null distribution and p.
    chance
        What guessing gives.
    difference
        The difference to a baseline.
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
        nan = math.nan
        interval = Interval(nan, nan) if isinstance(self.interval, Absent) else self.interval
        null = Null(str(self.null), 0, nan, nan, nan, nan) if isinstance(self.null, Absent) else self.null
        chance, chance_kind = (nan, str(self.chance)) if isinstance(self.chance, Absent) else (self.chance, "")
        over_animals = _numbers(self.over_animals)
        if isinstance(self.difference, Absent):
            difference = Difference(str(self.difference), nan, Interval(nan, nan))
        else:
            difference = self.difference
        difference_animals = _numbers(difference.over_animals)
        return {
            "what": self.what,
            "representation": self.representation,
            "setting": self.setting,
            "value": self.value,
            "low": interval.low,
            "high": interval.high,
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
            "difference_low": difference.interval.low,
            "difference_high": difference.interval.high,
            "animals_low": over_animals.low,
            "animals_high": over_animals.high,
            "difference_animals_low": difference_animals.low,
            "difference_animals_high": difference_animals.high,
            "n_animals": self.n.animals,
            "n_trials": self.n.trials,
            "n_windows": self.n.windows,
            "n_splits": self.n.splits,
            "in_sample": self.in_sample,
            "chance_kind": chance_kind,
        }


def _numbers(interval: Interval | Absent) -> Interval:
    return Interval(math.nan, math.nan) if isinstance(interval, Absent) else interval
