"""One line of a summary: a score with everything needed to judge it."""

import math
from typing import Any, NamedTuple

import xarray as xr

NAN = float("nan")
REASON = "none: "  # begins the words that say why there is no number
WORDS = {  # words -> the numbers that they are about
    "interval": ("value", "low", "high"),
    "null_kind": ("null_n", "floor", "floor_low", "floor_high", "p"),
    "chance_kind": ("chance",),
    "baseline": ("difference", "difference_low", "difference_high"),
}
COUNTS = ("n_animals", "n_trials", "n_windows", "n_splits")


class Score(NamedTuple):
    """A score, its interval, what it would be by chance, and the baseline that it is to beat.

    A quantity that does not exist is NaN (0 of counts), and the words about it hold "none: " and the reason; :meth:`missing`
    names what is empty without one.

    Attributes
    ----------
    what, representation, setting
        What is measured, of which model or baseline, and how.
    value, low, high, interval
        The score with its 95 % interval, and in words what was drawn again for it.
    animals_low, animals_high
        95 % interval with the animal as the unit: what other animals would give (:mod:`neuromvm.analysis.statistics.hierarchy`).
    null_kind, null_n, floor, floor_low, floor_high, p
        How labels were broken (refitted or decoded only), how often; mean of the score under this null, 95 % range of it, and
        (b + 1) / (n + 1), b being how many of them reach the score.
    chance, chance_kind
        What guessing gives; why there is none, else "".
    baseline, difference, difference_low, difference_high, difference_animals_low, difference_animals_high
        Representation or rule that it is compared with (or why with none), and the paired difference to it with the same two
        intervals.
    n_animals, n_trials, n_windows, n_splits
        Animals, distinct trials and windows of these that are scored, and splits.
    in_sample
        Whether the scored trials were fitted on; then there is neither null nor p.
    """

    what: str
    representation: str
    setting: str
    value: float
    low: float = NAN
    high: float = NAN
    interval: str = ""
    null_kind: str = ""
    null_n: int = 0
    floor: float = NAN
    floor_low: float = NAN
    floor_high: float = NAN
    chance: float = NAN
    p: float = NAN
    baseline: str = ""
    difference: float = NAN
    difference_low: float = NAN
    difference_high: float = NAN
    animals_low: float = NAN
    animals_high: float = NAN
    difference_animals_low: float = NAN
    difference_animals_high: float = NAN
    n_animals: int = 0
    n_trials: int = 0
    n_windows: int = 0
    n_splits: int = 0
    in_sample: bool = False
    chance_kind: str = ""

    def row(self) -> dict[str, Any]:
        """Return the line as ``summary.json`` holds it."""
        return self._asdict()

    def missing(self) -> list[str]:
        """Return the names of fields that are empty without a reason; intervals over animals are not asked for.

        Examples
        --------
        >>> score = Score("balanced accuracy", "mmvm", "cross", 0.4, 0.3, 0.5, "95 % over test trials", chance=0.25)
        >>> score = score._replace(null_kind="none: trials that train are scored")
        >>> score = score._replace(n_animals=5, n_trials=90, n_windows=1, n_splits=3)
        >>> score.missing()
        ['baseline', 'difference', 'difference_low', 'difference_high']
        >>> score._replace(baseline="none: no other model was trained").missing()
        []
        """
        texts = ("what", "representation", "setting", *(words for words in WORDS if words != "chance_kind"))
        unexplained = [number for words, numbers in WORDS.items() if REASON not in getattr(self, words) for number in numbers]
        return [
            name
            for name in (*texts, *unexplained, *COUNTS)
            if not (math.isfinite(value) if isinstance(value := getattr(self, name), float) else value)
        ]


def numbers(one: xr.Dataset, prefix: str = "", null: str = "null", p: str = "p") -> dict[str, Any]:
    """Return the numbers of a saved score as fields of a line.

    Parameters
    ----------
    one
        Scalars ``value, low, high``, ``null_mean, null_low, null_high`` and ``p``.
    prefix
        Of all names.
    null, p
        Names of another null and of its p-value.

    Examples
    --------
    >>> saved = {"value": 0.4, "low": 0.3, "high": 0.5, "null_mean": 0.25, "null_low": 0.2, "null_high": 0.3, "p": 0.01}
    >>> Score("balanced accuracy", "mmvm", "cross", **numbers(xr.Dataset(saved))).floor
    0.25
    """
    named = {"value": "value", "low": "low", "high": "high", "p": p}
    named |= {"floor": f"{null}_mean", "floor_low": f"{null}_low", "floor_high": f"{null}_high"}
    return {field: float(one[prefix + name]) for field, name in named.items()}


def difference(one: xr.Dataset, prefix: str = "") -> dict[str, Any]:
    """Return the saved difference to a baseline, with its interval, as fields of a line."""
    return {name: float(one[prefix + name]) for name in ("difference", "difference_low", "difference_high")}
