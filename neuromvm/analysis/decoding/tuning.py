"""Settings of baselines and decoders, chosen on inner folds of training sides without any test trial.

The training side of each split is divided into stratified folds. Every candidate is fitted on the inner training sides, and
decoders of each animal are scored on the inner held-out trials of the other animals, or of the same animal where a baseline has
no common space. For each split the candidate with the best mean over animals and folds is chosen, or the simplest of equals.
Folds are drawn anew until the choice is stable (:mod:`neuromvm.analysis.decoding.choice`).
"""

import itertools
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.baselines.catalogue import BASELINES, PENALTIES, BaselineOptions
from neuromvm.analysis.decoding.choice import Choice, Mask, choose
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Floats, Inputs, Latents, Representation, training_side
from neuromvm.analysis.statistics.over_trials import mean_of_scored
from neuromvm.data.splits import divide_training_sides
from neuromvm.errors import ShapeError, SplitError
from neuromvm.progress import steps
from neuromvm.specs import SplitSpec

Setting = TypeVar("Setting")
Options = TypeVar("Options", bound=BaselineOptions)


class Tuned(NamedTuple, Generic[Setting]):
    """Settings of each split, and how they were chosen."""

    settings: list[Setting]
    repeats: list[int]  # divisions of the training side into folds; 0: as given
    share: list[float]  # of these divisions, in which the chosen settings were the best; NaN: as given

    @classmethod
    def as_given(cls, settings: Setting, splits: int) -> "Tuned[Setting]":
        """Return the same settings for all splits."""
        return cls([settings] * splits, [0] * splits, [float("nan")] * splits)

    @classmethod
    def of(cls, candidates: list[Setting], choice: Choice) -> "Tuned[Setting]":
        """Return the candidates that were chosen."""
        return cls([candidates[number] for number in choice.candidate], choice.repeats.tolist(), choice.share.tolist())


class Inner(NamedTuple):
    """Folds of the training side of every split."""

    splits: xr.DataTree  # part (split, trial), split = outer split * folds + fold
    folds: int

    def of_outer(self, outer: Mask) -> list[int]:
        """Return the inner splits of a selection of outer splits."""
        return [split * self.folds + fold for split in np.flatnonzero(outer).tolist() for fold in range(self.folds)]

    def scores(self, candidate: Representation, samples: xr.DataTree) -> Floats:
        """Return the mean accuracy of a candidate over inner folds and seeds of each outer split, ``(split,)``.

        NaN for splits that the candidate was not fitted in.
        """
        accuracy = training_accuracy(candidate, samples, self.splits)
        outer, split = _number_of_splits(self.splits) // self.folds, np.array(candidate.replicas) // self.folds
        return np.array([mean_of_scored(accuracy[split == number], axis=0) for number in range(outer)])


def inner_folds(samples: xr.DataTree, splits: xr.DataTree, folds: int, repeat: int = 0) -> Inner:
    """Divide the training side of every split into folds, stratified by label; fewer where a class has fewer training trials.

    Inner training trials are TRAIN, inner held-out trials TEST, all others UNUSED. Each ``repeat`` is another division.
    SplitError if a class of an animal has one training trial only.
    """
    for name, node in samples.children.items():
        for split in range(_number_of_splits(splits)):
            side = training_side(splits, split, name)
            _, counts = np.unique(node["label"].to_numpy()[side], axis=0, return_counts=True)
            folds = min([folds, *counts.tolist()])
    if folds < 2:
        raise SplitError(
            "option tune",
            found="a class with one training trial",
            expected="two training trials of each class, to divide them",
            next_step="Set tune=false and give settings, or give the training side more trials",
        )
    seed = repeat * _number_of_splits(splits)  # the number of the split is added to it
    return Inner(divide_training_sides(samples, splits, SplitSpec(kind="kfold", folds=folds, seed=seed)), folds)


def tuned_options(samples: xr.DataTree, splits: xr.DataTree, options: Options) -> dict[str, Tuned[Options]]:
    """Choose the settings of every baseline, for each split on inner folds of its training side.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    options
        Baselines, folds, and the settings that are used if ``tune`` is off.

    Returns
    -------
    Baseline -> options of each split, for :func:`neuromvm.analysis.baselines.catalogue.baseline`, and how they were chosen.

    Notes
    -----
    A null that refits may call this again on its permuted samples; its p-value is then exact. Settings chosen on the true labels
    are cheaper and slightly anti-conservative: slightly, since settings of a split are chosen without its test trials.
    """
    if not options.tune:
        return {name: Tuned.as_given(options, _number_of_splits(splits)) for name in options.baselines}
    divisions = _Divisions(samples, splits, options.inner_folds)
    rows = steps(options.baselines, "choosing settings", "row")
    return {name: _tuned(name, divisions, options) for name in rows}


def tuned_penalties(latents: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, options: BaselineOptions) -> Tuned[float]:
    """Return C of the decoders of a model's latents for each split, chosen on inner folds of its training side if ``tune`` is on.

    The model was trained on the whole training side, inner held-out trials included, so the choice leans towards weak penalties;
    it uses no test trial, and is the same for all seeds.
    """
    count = _number_of_splits(splits)
    if not options.tune:
        return Tuned.as_given(options.latent_inverse_penalty, count)

    def scored(number: int, splits_scored: Mask) -> Floats:
        inner = inner_folds(samples, splits, options.inner_folds, number)
        repeated = _repeated(latents, inner.folds, np.asarray(splits_scored.any(axis=0)))
        fitted = Latents(repeated, inner.splits, inverse_penalty=PENALTIES[0])
        return np.stack([inner.scores(fitted.with_penalty(penalty), samples) for penalty in PENALTIES])

    return Tuned.of(list(PENALTIES), choose(scored, len(PENALTIES), count, options.inner_repeats))


class _Divisions:
    """Divisions of the training sides into folds, made when they are needed, with the inputs of baselines in their splits."""

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, folds: int) -> None:
        self.samples, self.splits, self._folds = samples, splits, folds
        self._inputs = Inputs(samples, splits)
        self._made: dict[int, tuple[Inner, Inputs]] = {}

    def of(self, number: int) -> tuple[Inner, Inputs]:
        """Return a division by its number."""
        if number not in self._made:
            inner = inner_folds(self.samples, self.splits, self._folds, number)
            self._made[number] = inner, self._inputs.in_splits(inner.splits)
        return self._made[number]


def training_accuracy(representation: Representation, samples: xr.DataTree, splits: xr.DataTree) -> Floats:
    """Return the mean balanced accuracy across animals, or within animals if there is none across, ``(replica,)``.

    The mean is over tested classes that decoder and target share, then over decoders and targets. NaN where nothing is decoded.
    """
    animals = list(samples.children)
    cross, within = [], []
    for target, node in decode(representation, samples, splits, animals).children.items():
        labels = samples[target]["label"].to_numpy().reshape(-1)
        codes = node["predicted"].to_numpy()
        codes = codes.reshape(*codes.shape[:2], -1)
        member = (labels[:, None] == np.arange(node.sizes["class"])).astype(np.float32)
        hits, tested = (samples_in.astype(np.float32) @ member for samples_in in (codes == labels, codes >= 0))
        counted = node["common"].to_numpy() & (tested > 0)
        recall = np.where(counted, hits / np.maximum(tested, 1), 0).sum(axis=-1)
        number = counted.sum(axis=-1)
        accuracy = np.where(number > 0, recall / np.maximum(number, 1), np.nan)
        index = animals.index(target)
        cross.append(mean_of_scored(np.delete(accuracy, index, axis=1), axis=1))
        within.append(accuracy[:, index])
    across = mean_of_scored(np.stack(cross, axis=1), axis=1)
    return np.where(np.isnan(across), mean_of_scored(np.stack(within, axis=1), axis=1), across)


def _tuned(name: str, divisions: _Divisions, options: Options) -> Tuned[Options]:
    method, splits = BASELINES[name], _number_of_splits(divisions.splits)
    grid = itertools.product(*method.grid.values())
    candidates = [options.model_copy(update=dict(zip(method.grid, values, strict=True))) for values in grid]

    def scored(number: int, splits_scored: Mask) -> Floats:
        inner, inputs = divisions.of(number)
        scores = np.full(splits_scored.shape, np.nan)
        for numbers in method.by_alignment(candidates):
            numbers = [candidate for candidate in numbers if splits_scored[candidate].any()]
            if not numbers:
                continue
            inner_splits = inner.of_outer(np.asarray(splits_scored[numbers].any(axis=0)))
            fits = method.fit_each(inputs, [candidates[candidate] for candidate in numbers], inner_splits)
            try:
                for candidate, fitted in zip(numbers, fits, strict=True):
                    scores[candidate] = inner.scores(fitted, divisions.samples)
            except ShapeError:  # more components than there are dimensions
                continue
        return scores

    choice = choose(scored, len(candidates), splits, options.inner_repeats)
    if not choice.repeats.any():  # no candidate could be fitted
        return Tuned.as_given(options, splits)
    return Tuned.of(candidates, choice)


def _number_of_splits(splits: xr.DataTree) -> int:
    return next(iter(splits.children.values())).sizes["split"]


def _repeated(latents: xr.DataTree, folds: int, outer: Mask) -> xr.DataTree:
    """Repeat the replicas of a selection of splits for each inner fold of their split."""
    nodes = {}
    for name, node in latents.children.items():
        dataset = node.to_dataset()
        replicas_kept: NDArray[np.intp] = np.flatnonzero(outer[dataset["split"].to_numpy()])
        replica = np.repeat(replicas_kept, folds)
        split = dataset["split"].to_numpy()[replica] * folds + np.tile(np.arange(folds), len(replicas_kept))
        nodes[name] = dataset.isel(replica=replica).assign_coords(split=("replica", split))
    return xr.DataTree.from_dict(nodes)
