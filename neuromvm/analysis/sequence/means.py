"""Means over trials in which classes and animals have equal weight, with bootstrap intervals and null draws."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.scores import Absent
from neuromvm.analysis.sequence.trials import Codes
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows

ACTIVITY = Absent("activity itself is scored")  # in place of a baseline
NAN = float("nan")

Variable = tuple[tuple[str, ...], NDArray[np.generic]]


class Draws(NamedTuple):
    """A measure of one animal: observed, on resampled trials and on null data."""

    observed: Floats  # (...)
    bootstrap: Floats  # (draw, ...)
    null: Floats  # (permutation, ...)

    @classmethod
    def missing(cls, *shape: int) -> "Draws":
        """Return NaN, for what cannot be measured."""
        return cls(np.full(shape, NAN), np.full((1, *shape), NAN), np.full((1, *shape), NAN))


def balanced_mean(values: Floats, group: Codes) -> Floats:
    """Return the mean over groups of their means, ``(...)`` from ``(trial, ...)``."""
    return np.asarray(np.mean([values[group == code].mean(axis=0) for code in np.unique(group)], axis=0))


def resampled_mean(values: Floats, group: Codes, draws: int, seed: Sequence[int]) -> Floats:
    """Return :func:`balanced_mean` of trials resampled within their group, ``(draw, ...)``."""
    names, codes = np.unique(group, return_inverse=True)
    labels = np.arange(len(names), dtype=np.int16)[:, None]
    rows = LabelRows(labels, codes.astype(np.intp), shifted=labels.astype(np.intp))
    weight = over_trials.bootstrap(rows, draws, np.random.default_rng(seed)).sum(axis=2)  # (draw, trial)
    share = weight.astype(np.float64) / (np.bincount(codes)[codes] * len(names))
    return np.asarray(np.tensordot(share / share.sum(axis=1, keepdims=True), values, axes=1))


def seeds(seed: int, animal: str) -> list[int]:
    """Return the seed of an animal's resamples, which does not depend on other animals."""
    return [seed, zlib.crc32(animal.encode())]


def shuffled_within(codes: Codes, random: np.random.Generator) -> Codes:
    """Return an order of trials, permuted within trials of the same code."""
    order = np.arange(len(codes))
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        order[members] = random.permutation(members)
    return order


def over_animals(draws: Sequence[Draws]) -> dict[str, Floats]:
    """Return the summary of the mean over animals, see :func:`neuromvm.analysis.statistics.over_trials.judged`."""
    return over_trials.judged(*(np.mean(values, axis=0) for values in zip(*draws, strict=True)))


def variables_of(draws: Sequence[Draws], dims: tuple[str, ...] = (), prefix: str = "") -> dict[str, Variable]:
    """Return :func:`over_animals` as variables over some dims; ``prefix`` begins their names."""
    return {prefix + key: (dims, values) for key, values in over_animals(draws).items()}
