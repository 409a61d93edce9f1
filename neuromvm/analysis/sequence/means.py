"""Means over trials that weigh classes and animals alike, with bootstrap intervals and refitted floors."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.flat_score import Score, numbers
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows

ACTIVITY = "none: activity itself is scored"


class Draws(NamedTuple):
    """What was measured on one animal, as it is, on resampled trials and on null data; further dims are free."""

    observed: Floats  # (...)
    bootstrap: Floats  # (draw, ...)
    null: Floats  # (permutation, ...)


def balanced_mean(values: Floats, group: NDArray[np.intp]) -> Floats:
    """Return the mean over groups of their means, ``(...)`` from ``(trial, ...)``.

    Examples
    --------
    >>> float(balanced_mean(np.array([1.0, 0, 0, 0]), np.array([0, 1, 1, 1])))
    0.5
    """
    return np.asarray(np.mean([values[group == one].mean(axis=0) for one in np.unique(group)], axis=0))


def resampled_mean(values: Floats, group: NDArray[np.intp], draws: int, seed: Sequence[int]) -> Floats:
    """Return :func:`balanced_mean` on trials drawn again within their group, ``(draw, ...)``."""
    names, codes = np.unique(group, return_inverse=True)
    labels = np.arange(len(names), dtype=np.int16)[:, None]
    rows = LabelRows(labels, codes.astype(np.intp), shifted=labels.astype(np.intp))
    weight = over_trials.bootstrap(rows, draws, np.random.default_rng(seed)).sum(axis=2)  # (draw, trial)
    share = weight.astype(np.float64) / (np.bincount(codes)[codes] * len(names))
    return np.asarray(np.tensordot(share / share.sum(axis=1, keepdims=True), values, axes=1))


def seeds(seed: int, animal: str) -> list[int]:
    """Return the seed of an animal's resamples, which other animals do not change."""
    return [seed, zlib.crc32(animal.encode())]


def shuffled_within(codes: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.intp]:
    """Return an order of trials in which each takes the place of one with the same code."""
    order = np.arange(len(codes))
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        order[members] = random.permutation(members)
    return order


def over_animals(draws: Sequence[Draws]) -> dict[str, Floats]:
    """Average animals and summarise.

    Returns
    -------
    As of :func:`neuromvm.analysis.statistics.over_trials.judged`; animals are not resampled.
    """
    return over_trials.judged(*(np.mean([one[place] for one in draws], axis=0) for place in range(3)))


def line_of(one: xr.Dataset, what: str, *, prefix: str = "", null: str = "null", p: str = "p") -> Score:
    """Return the numbers of one score as a line of a summary; what they are is to be filled in.

    ``prefix, null, p`` are as of :func:`neuromvm.analysis.scores.numbers`.
    """
    return Score(what=what, representation="raw", setting="", n_windows=1, baseline=ACTIVITY, **numbers(one, prefix, null, p))
