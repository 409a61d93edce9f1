"""Choice among candidates by scores of inner folds that are drawn anew until the choice is stable.

One division of a few training trials into folds gives noisy scores. Each split therefore has its folds drawn again, and the
candidate with the best mean so far is its choice; a split is settled when two more divisions have left its choice as it was.
After the first division only the better candidates go on, since each division costs a fit of every candidate.
"""

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored

TIE = 1e-9  # difference in accuracy below which two candidates are equally good
UNCHANGED = 2  # divisions that have to leave the choice as it was
KEPT_SHARE, FEWEST = 0.25, 4  # share of the candidates that go on after the first division, but no fewer than these

Mask = NDArray[np.bool_]


class Choice(NamedTuple):
    """What was chosen for each split."""

    candidate: NDArray[np.intp]  # (split,)
    repeats: NDArray[np.intp]  # (split,) divisions into folds
    share: Floats  # (split,) share of these divisions in which the chosen candidate was the best


def choose(scored: Callable[[int, Mask], Floats], candidates: int, splits: int, most: int) -> Choice:
    """Choose a candidate for each split, the first of equally good ones.

    ``scored(number, wanted)`` returns accuracies ``(candidate, split)`` in the division of this number, at least where ``wanted
    (candidate, split)``; NaN where there is none. There are ``most`` divisions at most.
    """
    running = np.ones((candidates, splits), dtype=bool)
    open_splits, history, choices = np.ones(splits, dtype=bool), [], []
    for number in range(most):
        scored_splits = running & open_splits
        history.append(np.where(scored_splits, scored(number, scored_splits), np.nan))
        if number == 0:
            running = _better(history[0], max(FEWEST, ceil(KEPT_SHARE * candidates)))
        mean = np.where(running, mean_of_scored(np.stack(history), axis=0), np.nan)
        choices.append(_best(mean).argmax(axis=0))
        if number >= UNCHANGED:
            open_splits &= (np.stack(choices[-1 - UNCHANGED :]) != choices[-1]).any(axis=0)
        if not open_splits.any():
            break
    chosen, of_repeats = choices[-1], np.stack(history)
    tried = ~np.isnan(of_repeats).all(axis=1)  # (repeat, split)
    won = np.stack([_best(np.where(running, scores, np.nan))[chosen, np.arange(splits)] for scores in of_repeats])
    return Choice(chosen, tried.sum(axis=0), (won & tried).sum(axis=0) / np.maximum(tried.sum(axis=0), 1))


def _best(scores: Floats) -> Mask:
    """Return which candidates have the best score of each split, from ``(candidate, split)``."""
    known = np.where(np.isnan(scores), -1.0, scores)
    return np.asarray(known >= known.max(axis=0) - TIE)


def _better(scores: Floats, number: int) -> Mask:
    """Return which candidates are among the best ``number`` of each split, equally good ones included."""
    known = np.where(np.isnan(scores), -1.0, scores)
    limit = np.sort(known, axis=0)[max(len(known) - number, 0)]
    return np.asarray(known >= limit - TIE)
