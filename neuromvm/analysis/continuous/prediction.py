"""Labels of test trials as predicted by decoders of the animal itself and of the others, for true labels and those of a null."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.continuous.bayes import BayesDecoder
from neuromvm.analysis.continuous.labels import Labels, Scale
from neuromvm.analysis.continuous.regression import Regression
from neuromvm.analysis.decoding.few_shot import NewAnimal
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.readouts.representations import Representation, held_out, training_side
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.data.splits import few_trials

WITHIN = "within"
READERS = (WITHIN, OTHERS)
STRETCH = "stretch held out"
Masks = Mapping[str, NDArray[np.bool_]]


class Problem(NamedTuple):
    """What some targets are trained and tested on.

    ``left_out (trial, window)`` of a target: samples that no decoder or map of it is fitted on; only they are tested. Without it
    all are fitted, and tested, as the splits say. ``latents``: model -> latents that were inferred under these conditions.
    """

    targets: Sequence[str]
    samples: xr.DataTree
    splits: xr.DataTree
    left_out: Masks
    latents: Mapping[str, xr.DataTree]


class Sides(NamedTuple):
    """Training samples of one or several animals, and the test trials of a target."""

    features: Floats  # (sample, feature)
    labels: Floats  # (sample, column)
    condition: NDArray[np.intp]  # (sample,)
    group: NDArray[np.intp]  # (sample,) animal, or trial if there is one animal
    following: NDArray[np.bool_]  # (sample,) whether the sample before it is the window before it
    tested: Floats  # (test trial, window, feature)


class Decoder(Protocol):
    """Predicts labels of test trials."""

    def __call__(self, sides: Sides) -> Floats:
        """Return ``(test trial, window, column)``."""


class Regressed(NamedTuple):
    """Regression of the label, on a circle of its cosine and sine."""

    regression: Regression
    scale: Scale

    def __call__(self, sides: Sides) -> Floats:
        """Return ``(test trial, window, column)``."""
        labels = self.scale.coordinates(sides.labels)
        flat = sides.tested.reshape(-1, sides.tested.shape[-1])
        predicted = self.scale.values(self.regression.predict(sides.features, labels, sides.group, flat))
        return np.asarray(predicted.reshape(*sides.tested.shape[:2], -1))


class Inferred(NamedTuple):
    """Mean of a posterior."""

    decoder: BayesDecoder

    def __call__(self, sides: Sides) -> Floats:
        """Return ``(test trial, window, column)``."""
        return self.decoder.predict(sides.features, sides.labels, sides.condition, sides.following, sides.tested)


def plain(samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, xr.DataTree]) -> list[Problem]:
    """Return the run's own training and test trials."""
    return [Problem(list(samples.children), samples, splits, {}, latents)]


def with_few_trials(
    samples: xr.DataTree, splits: xr.DataTree, per_class: int, seed: int, trained: Mapping[str, NewAnimal]
) -> list[Problem]:
    """Return a problem for every target, which has a few training trials of each class.

    ``trained``: target -> splits and latents of models that were trained or adapted with few trials of it; without them trials
    are drawn by :func:`neuromvm.data.splits.few_trials`.
    """
    problems = []
    for target in samples.children:
        few = trained[target] if target in trained else NewAnimal(few_trials(samples, splits, target, per_class, seed), {})
        problems.append(Problem([target], samples, few.splits, {}, few.latents))
    return problems


def with_stretches(samples: xr.DataTree, splits: xr.DataTree, labels: Mapping[str, Labels], stretches: int) -> list[Problem]:
    """Return a problem for every target and stretch of the label, which is held out of the target.

    The samples of the stretch have no match code, so that no alignment is fitted on them.
    """
    problems = []
    for target in samples.children:
        number = stretch_of(labels[target].values, stretches)
        for stretch in range(stretches):
            left_out = number == stretch
            node = samples[target].to_dataset()
            without = {name: node[name].where(~left_out, -1).astype(node[name].dtype) for name in ("label", "match")}
            for name in without:
                without[name].attrs = node[name].attrs
            nodes = {name: child.to_dataset() for name, child in samples.children.items()} | {target: node.assign(without)}
            reduced = xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes})
            problems.append(Problem([target], reduced, splits, {target: left_out}, {}))
    return problems


def stretch_of(values: Floats, stretches: int) -> NDArray[np.intp]:
    """Return the stretch of each value, of equally many samples each; -1 for NaN. Equal values are in the same stretch.

    Examples
    --------
    >>> stretch_of(np.array([[1.0, 1.0, 2.0, np.nan, 5.0, 7.0]]), 2).tolist()
    [[0, 0, 1, -1, 1, 1]]
    """
    known = np.isfinite(values)
    _, number, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / max(1, counts.sum())
    stretch = np.full(values.shape, -1)
    stretch[known] = np.minimum((middle * stretches).astype(int), stretches - 1)[number.reshape(-1)]
    return stretch


class Reader:
    """Decoders on one representation of a problem.

    ``null_labels``: reader -> animal -> labels ``(trial, window, column)``, the true ones first. ``recorded``: activity as
    recorded ``(trial, window, feature)``, in place of what the representation holds.
    """

    def __init__(
        self,
        representation: Representation,
        problem: Problem,
        labels: Mapping[str, Labels],
        null_labels: Mapping[str, Mapping[str, Floats]],
        recorded: Mapping[str, Floats] | None = None,
    ) -> None:
        self._representation, self._problem = representation, problem
        self._labels, self._null_labels, self._recorded = labels, null_labels, recorded

    def predictions(
        self, target: str, reader: str, decoder: Decoder, scale: Scale
    ) -> Iterator[tuple[int, NDArray[np.bool_], Floats, float]]:
        """Yield for each replica its number, the tested windows ``(trial, window)``, their labels and what guessing gives.

        Labels are ``(tested window, column)``. Guessing is the mean label of the training samples.
        """
        for replica, split in enumerate(self._representation.replicas):
            tested = held_out(self._problem.splits, split, target)
            known = np.isfinite(self._labels[target].values) & tested[:, None]
            if target in self._problem.left_out:
                known &= self._problem.left_out[target]
            sides = self._sides(replica, split, target, reader, tested) if known.any() else None
            if sides is None:
                continue
            center = scale.coordinates(sides.labels[:, 0]).mean(axis=0)
            yield replica, known, decoder(sides)[known[tested]], float(scale.values(center))

    def _sides(self, replica: int, split: int, target: str, reader: str, tested: NDArray[np.bool_]) -> Sides | None:
        """Return what a decoder is fitted on and tested on; None if it cannot be."""
        if reader == WITHIN:
            sources = [target]
        else:
            sources = schema.other_animals(self._problem.samples, target) if self._representation.shared else []
        seen = {name: self._seen(replica, name) for name in dict.fromkeys([*sources, target])}
        parts = []
        for number, source in enumerate(sources):
            values, labels = seen[source], self._labels[source]
            fitted = np.isfinite(labels.values) & training_side(self._problem.splits, split, source)[:, None]
            if source in self._problem.left_out:
                fitted &= ~self._problem.left_out[source]
            if values is None or not fitted.any():
                continue
            trial, window = np.nonzero(fitted)
            following = np.r_[False, (np.diff(trial) == 0) & (np.diff(window) == 1)]
            animal = np.full(len(trial), number)
            parts.append(
                (values[fitted], self._null_labels[reader][source][fitted], labels.condition[trial], animal, trial, following)
            )
        test_values = seen[target]
        if not parts or test_values is None:
            return None
        features, targets, condition, animal, trial, following = (np.concatenate(part) for part in zip(*parts, strict=True))
        group = trial if len(parts) == 1 else animal
        tested_values = test_values[tested].astype(np.float64)
        return Sides(features.astype(np.float64), targets, condition, group, following, tested_values)

    def _seen(self, replica: int, animal: str) -> Floats | None:
        seen = self._representation.seen(replica, animal, animal)
        return seen if self._recorded is None or seen is None else self._recorded[animal]
