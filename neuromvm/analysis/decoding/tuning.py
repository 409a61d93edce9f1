"""Settings of baselines and decoders, chosen on inner folds of training sides without any test trial.

The training side of each split is divided into stratified folds. Every candidate is fitted on the inner training sides, and
decoders of each animal are scored on the inner held-out trials of the other animals, or of the same animal where a baseline has
no common space. For each split the candidate with the best mean over animals and folds is chosen, or the simplest of equals.
"""

import itertools
from typing import NamedTuple, TypeVar

import numpy as np
import xarray as xr

from neuromvm.analysis.baselines.catalogue import BASELINES, PENALTIES, BaselineOptions, baseline
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Floats, Inputs, Latents, Representation, training_side
from neuromvm.analysis.statistics.over_trials import mean_of_scored
from neuromvm.data.splits import divide_training_sides
from neuromvm.errors import ShapeError, SplitError
from neuromvm.specs import SplitSpec

Options = TypeVar("Options", bound=BaselineOptions)
TIE = 1e-9  # difference in accuracy below which two candidates are equally good


class Inner(NamedTuple):
    """Folds of the training side of every split."""

    splits: xr.DataTree  # part (split, trial), split = outer split * folds + fold
    folds: int

    def scores(self, candidate: Representation, samples: xr.DataTree) -> Floats:
        """Return the mean accuracy of a candidate over inner folds and seeds of each outer split, ``(split,)``."""
        accuracy = training_accuracy(candidate, samples, self.splits)
        outer, split = _number_of_splits(self.splits) // self.folds, np.array(candidate.replicas) // self.folds
        return np.array([mean_of_scored(accuracy[split == number], axis=0) for number in range(outer)])


def inner_folds(samples: xr.DataTree, splits: xr.DataTree, folds: int) -> Inner:
    """Divide the training side of every split into folds, stratified by label; fewer where a class has fewer training trials.

    Inner training trials are TRAIN, inner held-out trials TEST, all others UNUSED. SplitError if a class of an animal has one
    training trial only.
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
    return Inner(divide_training_sides(samples, splits, SplitSpec(kind="kfold", folds=folds)), folds)


def tuned_options(samples: xr.DataTree, splits: xr.DataTree, options: Options) -> dict[str, list[Options]]:
    """Choose the settings of every baseline, for each split on inner folds of its training side.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    options
        Baselines, folds, and the settings that are used if ``tune`` is off.

    Returns
    -------
    Baseline -> options of each split, for :func:`neuromvm.analysis.baselines.catalogue.baseline`.

    Notes
    -----
    A null that refits may call this again on its permuted samples; its p-value is then exact. Settings chosen on the true labels
    are cheaper and slightly anti-conservative: slightly, since settings of a split are chosen without its test trials.
    """
    if not options.tune:
        return {name: [options] * _number_of_splits(splits) for name in options.baselines}
    inner = inner_folds(samples, splits, options.inner_folds)
    inputs = Inputs(samples, inner.splits)
    return {name: _tuned(name, inputs, samples, inner, options) for name in options.baselines}


def tuned_penalties(latents: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, options: BaselineOptions) -> list[float]:
    """Return C of the decoders of a model's latents for each split, chosen on inner folds of its training side if ``tune`` is on.

    The model was trained on the whole training side, inner held-out trials included, so the choice leans towards weak penalties;
    it uses no test trial, and is the same for all seeds.
    """
    if not options.tune:
        return [options.latent_inverse_penalty] * _number_of_splits(splits)
    inner = inner_folds(samples, splits, options.inner_folds)
    repeated = _repeated(latents, inner.folds)
    candidates = [Latents(repeated, inner.splits, inverse_penalty=penalty) for penalty in PENALTIES]
    return [PENALTIES[index] for index in _best(np.array([inner.scores(candidate, samples) for candidate in candidates]))]


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


def _tuned(name: str, inputs: Inputs, samples: xr.DataTree, inner: Inner, options: Options) -> list[Options]:
    candidates, scores, grid = [], [], BASELINES[name].grid
    for values in itertools.product(*grid.values()):
        candidate = options.model_copy(update=dict(zip(grid, values, strict=True)))
        try:
            fitted = baseline(name, inputs, candidate)
        except ShapeError:  # more components than there are dimensions
            continue
        candidates.append(candidate)
        scores.append(inner.scores(fitted, samples))
    if not candidates:
        return [options] * (inputs.splits // inner.folds)
    return [candidates[index] for index in _best(np.array(scores))]


def _best(scores: Floats) -> list[int]:
    """Return the best candidate of each split, from ``(candidate, split)``; the first of equally good ones."""
    scores = np.where(np.isnan(scores), -1.0, scores)
    return [int(index) for index in (scores >= scores.max(axis=0) - TIE).argmax(axis=0)]


def _number_of_splits(splits: xr.DataTree) -> int:
    return next(iter(splits.children.values())).sizes["split"]


def _repeated(latents: xr.DataTree, folds: int) -> xr.DataTree:
    """Repeat every replica for each inner fold of its split."""
    nodes = {}
    for name, node in latents.children.items():
        dataset = node.to_dataset()
        replica = np.repeat(np.arange(dataset.sizes["replica"]), folds)
        split = dataset["split"].to_numpy()[replica] * folds + np.tile(np.arange(folds), dataset.sizes["replica"])
        nodes[name] = dataset.isel(replica=replica).assign_coords(split=("replica", split))
    return xr.DataTree.from_dict(nodes)
