"""One line of a summary: a score with everything needed to judge it."""

from typing import NamedTuple


class Score(NamedTuple):
    """A score, its interval, and what it would be by chance.

    ``low, high`` is the 95 % interval; ``floor`` the mean of the score with labels permuted, ``floor_low, floor_high`` the
    95 % range of it and ``p`` the share of permutations that score as high; ``chance`` what guessing gives. NaN where a
    quantity does not exist. ``in_sample`` says that the scored trials were fitted on, so that there is no floor and no p.
    """

    what: str
    representation: str
    setting: str
    value: float
    low: float
    high: float
    floor: float
    floor_low: float
    floor_high: float
    chance: float
    p: float
    n_animals: int
    n_trials: int
    n_splits: int
    in_sample: bool = False
