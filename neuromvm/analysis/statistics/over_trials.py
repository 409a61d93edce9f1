"""Balanced accuracy of predictions, with bootstrap intervals and permutation floors over trials.

Predictions are turned into *votes*, the share of decoders (or seeds) that predict each class, and trials into *rows* of
labels, one label a window. Bootstrap and permutation both assign a row of labels and a count to each trial; scores of all draws
come from one matrix product. Windows of a trial stay together.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class LabelRows(NamedTuple):
    """Distinct rows of labels, with all their circular shifts, and which of them each trial carries."""

    labels: NDArray[np.int16]  # (row, window)
    row: NDArray[np.intp]  # (trial,)
    shifted: NDArray[np.intp]  # (row, shift): the row that a row becomes

    @classmethod
    def of(cls, labels: NDArray[np.int16]) -> "LabelRows":
        """Find the distinct rows of ``(trial, window)``."""
        trials, windows = labels.shape
        shifts = np.stack([np.roll(labels, shift, axis=1) for shift in range(windows)])
        rows, number = np.unique(shifts.reshape(windows * trials, windows), axis=0, return_inverse=True)
        number = number.reshape(windows, trials)
        shifted = np.zeros((len(rows), windows), dtype=np.intp)
        for shift in range(windows):
            for start in range(windows):
                shifted[number[start], shift] = number[(start + shift) % windows]
        return cls(rows, number[0], shifted)


class Tally(NamedTuple):
    """Correct votes and tested windows if a trial carried a row of labels, summed over windows."""

    hits: Floats  # (trial, row, score, class)
    tested: Floats  # (trial, row, score, class)

    @classmethod
    def of(cls, votes: Floats, tested: NDArray[np.bool_], counted: NDArray[np.bool_], rows: LabelRows) -> "Tally":
        """Count for every trial and row of labels.

        ``votes (score, trial, window, class)`` are shares of decoders that predict the class, zero where not tested; ``tested
        (score, trial)`` and ``counted (score, class)`` say which trials and classes count for a score.
        """
        carried = rows.labels[:, :, None] == np.arange(votes.shape[-1])
        hits = np.einsum("ktwc,rwc->trkc", votes, carried.astype(np.float32), optimize=True)
        windows = tested.T[:, None, :, None] * carried.sum(axis=1).astype(np.float32)[None, :, None, :]
        return cls(hits * counted, windows * counted)

    def balanced_accuracy(self, assignments: Floats) -> Floats:
        """Return the mean recall over classes that are tested, ``(draw, score)``; NaN where nothing is.

        ``assignments (draw, trial, row)`` say how often a trial counts with a row of labels.
        """
        hits, tested = (np.tensordot(assignments, counts, axes=2) for counts in self)
        recall = np.divide(hits, tested, out=np.zeros_like(hits, dtype=np.float64), where=tested > 0)
        classes = (tested > 0).sum(axis=-1)
        return np.where(classes > 0, recall.sum(axis=-1) / np.maximum(classes, 1), np.nan)


def as_they_are(rows: LabelRows) -> Floats:
    """Assign each trial its true row, ``(1, trial, row)``."""
    return np.eye(len(rows.labels), dtype=np.float32)[rows.row][None]


def bootstrap(rows: LabelRows, draws: int, rng: np.random.Generator) -> Floats:
    """Draw trials with replacement among the n trials of the same row of labels, ``(draw, trial, row)``.

    n - 1 are drawn, since drawing n gives a variance too small by (n - 1) / n, which matters when a class has few trials. All
    rows keep their weight. A row with a single trial does not vary.
    Rao & Wu (1988). Resampling inference with complex survey data. *J. Am. Stat. Assoc.* 83, 231-241.
    """
    weight = np.zeros((draws, len(rows.row)), dtype=np.float32)
    for row in np.unique(rows.row):
        members = np.flatnonzero(rows.row == row)
        drawn = max(1, len(members) - 1)
        counts = rng.multinomial(drawn, np.full(len(members), 1 / len(members)), size=draws)
        weight[:, members] = counts * (len(members) / drawn)
    return weight[:, :, None] * as_they_are(rows)


def permutations(rows: LabelRows, draws: int, rng: np.random.Generator) -> Floats:
    """Permute rows of labels among trials and shift each circularly among its windows, ``(draw, trial, row)``.

    A trial carries the same row in all splits, so that scores of splits stay dependent. The shift breaks labels of windows
    (places on a track) and keeps neighbouring windows neighbours; where all windows of a trial share a label it has no effect.
    """
    permuted = rng.permuted(np.broadcast_to(rows.row, (draws, len(rows.row))), axis=1)
    permuted = rows.shifted[permuted, rng.integers(rows.labels.shape[1], size=permuted.shape)]
    return np.asarray(np.eye(len(rows.labels), dtype=np.float32)[permuted])


def mean_of_scored(values: Floats, axis: int) -> Floats:
    """Return the mean over an axis without NaN; NaN where there are only NaN."""
    scored = ~np.isnan(values)
    count = scored.sum(axis=axis)
    return np.where(count > 0, np.where(scored, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def interval(draws: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the central interval over the first axis; NaN where a draw is NaN."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def judged(value: Floats, bootstrap: Floats, null: Floats) -> dict[str, Floats]:
    """Return a score of any shape with its interval and its null, from draws ``(draw, ...)`` of which there may be none.

    Keys are ``value``, its 95 % interval ``low, high``, of the null ``null_mean, null_low, null_high`` (95 % of its draws), and
    the one-sided ``p``; NaN where there are no draws.

    Examples
    --------
    >>> score = judged(np.float64(2.0), np.array([1.0, 3.0]), np.array([0.0, 0.5, 2.5]))
    >>> float(score["null_mean"]), float(score["p"])
    (1.0, 0.5)
    """
    low, high = interval(bootstrap) if len(bootstrap) else (np.full(np.shape(value), np.nan),) * 2
    mean, null_low, null_high, p = np.moveaxis(under_null(value, null), -1, 0)
    return {"value": value, "low": low, "high": high, "null_mean": mean, "null_low": null_low, "null_high": null_high, "p": p}


def under_null(value: Floats, null: Floats) -> Floats:
    """Return ``(..., 4)``: mean, low and high of the null (95 % of its draws), and the one-sided p of the value.

    ``null`` is ``(draw, ...)``; a draw that is NaN has failed and counts as reaching the value. NaN where no draw succeeded.
    """
    known = null[~np.isnan(null).all(axis=tuple(range(1, null.ndim)))]
    if not len(known):
        return np.full((*np.shape(value), 4), np.nan)
    p = np.where(np.isnan(known).all(axis=0), np.nan, p_value(value, null))
    return np.stack([mean_of_scored(known, axis=0), *interval(known), p], axis=-1)


def under_refits(value: Floats, null: Floats) -> Floats:
    """Return what :func:`under_null` returns for a null of refits: p is 1, not NaN, where all of at least one draw failed."""
    statistics = under_null(value, null)
    if len(null):
        statistics[..., -1] = p_value(value, null)
    return statistics


def p_value(value: Floats, null: Floats) -> Floats:
    """Return (b + 1) / (n + 1), b being the number of the n null draws (first axis) that reach the value.

    Phipson & Smyth (2010). Permutation p-values should never be zero. *Stat. Appl. Genet. Mol. Biol.* 9, 39.
    """
    # Scores are ratios of small integers, and equal ones may differ in the last bits. A draw without score counts as reaching.
    reached = (~(null < value - 1e-6)).sum(axis=0)
    return np.where(np.isnan(value), np.nan, (reached + 1) / (len(null) + 1))
