"""One line of a summary: a score with everything needed to judge it."""

from typing import NamedTuple

NAN = float("nan")


class Score(NamedTuple):
    """A score, its interval, what it would be by chance, and the baseline that it is to beat.

    NaN or "" where a quantity does not exist: ``null_kind`` then says why there is none.

    Attributes
    ----------
    what, representation, setting
        What is measured, of which model or baseline, and how.
    value, low, high, interval
        The score with its 95 % interval, and in words what was drawn again for it.
    animals_low, animals_high
        95 % interval with the animal as the unit: what other animals would give (:mod:`analysis.hierarchy`).
    null_kind, null_n, floor, floor_low, floor_high, p
        How labels were broken (refitted or decoded only), how often; mean of the score under this null, 95 % range of it, and
        (b + 1) / (n + 1), b being how many of them reach the score.
    chance
        What guessing gives.
    baseline, difference, difference_low, difference_high, difference_animals_low, difference_animals_high
        Representation or rule that it is compared with, and the paired difference to it with the same two intervals.
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
