"""Decoders of windows that slide over a grid: their inputs, their accuracy, and the same on permuted trials."""

import zlib
from collections.abc import Mapping, Sequence
from math import factorial
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.discriminant import fit_discriminants
from neuromvm.analysis.readouts.representations import Floats, Latents, training_side
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows, Tally
from neuromvm.analysis.statistics.renamed_classes import Renaming, recall
from neuromvm.data.features import features
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.windows import sample_spec
from neuromvm.schema import is_fitted, is_scored

Codes = NDArray[np.int16]

RAW_NULL = "activity permuted among the trials of each animal, scalers and decoders refitted"
LATENT_NULL = "latents permuted among the test trials of each animal, model and decoders not refitted"
RENAMED_NULL = "classes of each animal renamed, all trials of a class alike, decoders refitted, model not refitted"
BETWEEN_WINDOWS = "between different windows p is the larger of this and of the classes of each animal renamed"


class Sliding(NamedTuple):
    """The windows of one animal, and the side of its trials in each split."""

    values: Floats  # (trial, window, feature), not scaled
    label: Codes  # (trial,)
    fitted: NDArray[np.bool_]  # (split, trial)
    scored: NDArray[np.bool_]  # (split, trial)
    orders: list[NDArray[np.int64]]  # for no permutation and for each null draw, the trial whose activity each trial takes

    def taken(self, trials: NDArray[np.bool_], draw: int) -> Floats:
        """Return the values of a selection of trials in a draw, ``(trial, window, feature)``."""
        return np.asarray(self.values[self.orders[draw][trials]])


class Followed(NamedTuple):
    """A representation of all animals along the grid."""

    animals: Mapping[str, Sliding]
    centres: NDArray[np.float64]  # (window,)
    width: float
    shared: bool  # whether a decoder of one animal can be applied to another
    null: str  # what is permuted and refitted


class Decoded(NamedTuple):
    """Balanced accuracy on the test trials of an animal, mean over splits; NaN where no trial can be scored.

    ``renamed`` is the null between different windows: a decoder gives all trials of a class one answer, by luck the right one. It
    needs no fits for an animal's own decoder; where sources are other animals, it is ``null``.
    """

    matrix: Floats  # (train window, test window)
    null: Floats  # (draw, train window, test window)
    renamed: Floats  # (draw, train window, test window): the classes of the target renamed, its decoders as they are
    alone: Floats  # (draw, window): the null in which the classes of this animal alone are renamed
    bootstrap: Floats  # (draw, window), trained and tested in the same window
    chance: float
    trials: int
    namings: int  # ways to name the classes that are shared; 1 if nothing is scored


class Readout(NamedTuple):
    """Predictions in one split."""

    tested: NDArray[np.bool_]  # (trial,)
    codes: Codes  # (tested trial, test window, train window)
    shared: Codes  # classes among which the decoders chose

    @property
    def of_own_window(self) -> Codes:
        """Predictions in each window by the decoder of the same window ``(tested trial, window)``."""
        return np.asarray(np.einsum("tww->tw", self.codes))


def follow_features(windows: xr.DataTree, splits: xr.DataTree, draws: int, within: str | None = None) -> Followed:
    """Return the features of the recordings along the grid.

    ``windows`` are samples along the grid, with the same label in all windows of a trial. Trials that are not in ``splits`` are
    left out. ``draws`` is the number of permutations for the null, ``within`` a trial label within which trials are exchangeable.
    """
    spec, animals = sample_spec(windows), {}
    for name, node in windows.children.items():
        dataset, trials = _in_splits(node.to_dataset(), splits, name)
        values = features(dataset["activity"], spec)
        animals[name] = _sliding(name, dataset, values, splits[name]["part"].to_numpy()[:, trials], draws, within)
    window = next(iter(windows.children.values()))["window"]
    return Followed(animals, window.to_numpy(), float(window.attrs["width"]), shared=False, null=RAW_NULL)


def follow_latents(
    paths: xr.DataTree, windows: xr.DataTree, splits: xr.DataTree, draws: int, within: str | None = None
) -> Followed:
    """Return the shared latents of a model's first replica along the grid; labels are those of ``windows``.

    The model is not trained again and may know the labels of its training trials, so only test trials are permuted, and
    decoders are not refitted. Other arguments are those of :func:`follow_features`.
    """
    latents = Latents(paths, splits, inverse_penalty=1.0)
    split, animals = latents.replicas[0], {}
    for name, node in windows.children.items():
        values = latents.seen(0, name, name) if name in paths.children else None
        if values is None:
            continue
        dataset, trials = _in_splits(node.to_dataset(), splits, name)
        training = training_side(splits, split, name)[trials]
        block = np.full(len(training), "") if within is None else dataset[within].to_numpy().astype(str)
        unmoved = np.char.add("kept ", np.arange(len(training)).astype(str))
        sides = dataset.assign_coords(side=("trial", np.where(training, unmoved, np.char.add("tested ", block))))
        part = splits[name]["part"].to_numpy()[[split]][:, trials]
        animals[name] = _sliding(name, sides, values[trials], part, draws, "side")
    window = next(iter(paths.children.values()))["window"]
    return Followed(animals, window.to_numpy(), float(window.attrs.get("width", 0)), shared=True, null=LATENT_NULL)


def decode_windows(animals: Mapping[str, Sliding], target: str, sources: Sequence[str], bootstraps: int, seed: int) -> Decoded:
    """Decode the test trials of ``target`` in every window by the decoder of every window, observed and under the null.

    The decoder of a window is fitted on the joint training sides of ``sources`` and scored over the classes that they share with
    the target. They are the target itself, whose trials are permuted under the null, or other animals; then the classes of each
    animal are renamed. Between different windows of the target itself, its classes are renamed as well (``renamed``). Bootstrap
    draws are of test trials within class.
    """
    animal = animals[target]
    draws, windows = len(animal.orders) - 1, animal.values.shape[1]
    classes = 1 + max(int(sliding.label.max()) for sliding in animals.values())
    renaming = Renaming(list(dict.fromkeys([target, *sources])), classes, draws, seed)
    matrices = np.full((len(animal.scored), 1 + draws, windows, windows), np.nan)
    readouts: list[Readout] = []
    alone: list[Floats] = []
    renamed: list[Floats] = []
    for split, tested in enumerate(animal.scored):
        shared = _shared_classes(animals, target, sources, split)
        if len(shared) < 2 or not np.isin(animal.label[tested], shared).any():
            continue
        matrices[split], codes = _decode_split(animals, target, sources, split, shared, renaming)
        readout = Readout(tested, codes, shared)
        readouts.append(readout)
        if target in sources:
            alone.append(np.einsum("dww->dw", matrices[split, 1:]))
            renamed.append(_with_renamed_classes(readout, animal.label, renaming, target))
        else:
            shares = recall(readout.of_own_window.T[..., None], animal.label[tested][:, None], classes)
            alone.append(renaming.accuracy(shares, np.isin(np.arange(classes), shared), target, None))
            renamed.append(matrices[split, 1:])
    means = over_trials.mean_of_scored(matrices, axis=0)
    if not readouts:
        unscored = np.full((draws, windows), np.nan)
        return Decoded(means[0], means[1:], means[1:], unscored, np.full((bootstraps, windows), np.nan), np.nan, 0, 1)
    return Decoded(
        means[0],
        means[1:],
        over_trials.mean_of_scored(np.stack(renamed), axis=0),
        over_trials.mean_of_scored(np.stack(alone), axis=0),
        _bootstrap(animal.label, readouts, bootstraps, np.random.default_rng([seed, zlib.crc32(target.encode())])),
        chance=float(np.mean([1 / len(readout.shared) for readout in readouts])),
        trials=int(np.any([readout.tested for readout in readouts], axis=0).sum()),
        namings=min(factorial(len(readout.shared)) for readout in readouts),
    )


def _with_renamed_classes(readout: Readout, label: Codes, renaming: Renaming, target: str) -> Floats:
    """Return the accuracies ``(draw, train window, test window)`` of predictions after the classes of the target are renamed."""
    truth, common = label[readout.tested][:, None], np.isin(np.arange(renaming.classes), readout.shared)
    by_train_window = []
    for codes in np.moveaxis(readout.codes, 2, 0):  # (trial, test window)
        shares = recall(codes.T[..., None], truth, renaming.classes)  # (test window, class, predicted class)
        shares = np.where(common[:, None], shares, np.nan)
        by_train_window.append(renaming.accuracy(shares, common, target, None))
    return np.stack(by_train_window, axis=1)


def _shared_classes(animals: Mapping[str, Sliding], target: str, sources: Sequence[str], split: int) -> Codes:
    """Return the classes that training trials of the sources and the target have; empty if no decoder can be fitted."""
    codes = [animals[source].label[animals[source].fitted[split]] for source in sources]
    known = np.concatenate([np.empty(0, dtype=np.int16), *codes])
    if len(known) <= len(np.unique(known)):  # without two trials of a class there is no covariance within classes
        return known[:0]
    return np.intersect1d(known, animals[target].label[animals[target].label >= 0])


def _decode_split(
    animals: Mapping[str, Sliding], target: str, sources: Sequence[str], split: int, shared: Codes, renaming: Renaming
) -> tuple[Floats, Codes]:
    """Return accuracies ``(draw, train window, test window)``, the observed draw before null draws, and observed predictions.

    Predictions are ``(trial, test window, train window)``.
    """
    accuracies = []
    classes = np.append(np.arange(renaming.classes), -1).astype(np.int16)  # index -1 holds -1: no label stays no label
    names = dict.fromkeys([target, *sources], np.tile(classes, (1 + renaming.draws, 1)))
    if target not in sources:
        for animal in names:
            names[animal] = names[animal].copy()
            names[animal][1:, shared] = renaming.names(animal, shared)
    truth = animals[target].label[animals[target].scored[split]]
    for draw in range(1 + renaming.draws):
        order = draw if target in sources else 0
        labels = [names[source][draw, animals[source].label[animals[source].fitted[split]]] for source in sources]
        training = [animals[source].taken(animals[source].fitted[split], order) for source in sources]
        codes = _predict(training, labels, animals[target].taken(animals[target].scored[split], order), shared)
        accuracies.append(_balanced_accuracy(codes, names[target][draw, truth], shared))
        if draw == 0:
            observed = codes
    return np.stack(accuracies), observed


def _predict(training: Sequence[Floats], labels: Sequence[Codes], tested: Floats, shared: Codes) -> Codes:
    """Return the class codes of test trials, ``(trial, test window, train window)``."""
    known = np.concatenate(labels)
    # If sources lack different classes, renaming can remove a shared class from the training trials.
    choices = np.intersect1d(shared, known).astype(np.int16)
    decoders = fit_discriminants(np.concatenate(training), known).among(np.searchsorted(np.unique(known), choices))
    return np.asarray(choices[decoders.predict(tested)])


def _balanced_accuracy(codes: Codes, truth: Codes, shared: Codes) -> Floats:
    """Return the mean recall of the classes that are tested, ``(train window, test window)``."""
    of_class = truth == shared[:, None]
    of_class = of_class[of_class.any(axis=1)]
    weight = (of_class / of_class.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.asarray(np.tensordot(weight, codes == truth[:, None, None], axes=1).T)


def _bootstrap(label: Codes, readouts: Sequence[Readout], draws: int, rng: np.random.Generator) -> Floats:
    """Resample test trials within class, equally in all windows and splits; return ``(draw, window)``, mean over splits."""
    windows, classes = readouts[0].codes.shape[1], np.arange(int(label.max()) + 1, dtype=np.int16)
    votes = np.zeros((len(readouts), windows, len(label), 1, len(classes)), dtype=np.float32)
    for index, readout in enumerate(readouts):
        votes[index][:, readout.tested, 0] = readout.of_own_window.T[..., None] == classes
    rows = LabelRows.of(label[:, None])
    tested = np.repeat([readout.tested for readout in readouts], windows, axis=0)
    counted = np.repeat([np.isin(classes, readout.shared) for readout in readouts], windows, axis=0)
    tally = Tally.of(votes.reshape(len(tested), len(label), 1, len(classes)), tested, counted, rows)
    accuracies = tally.balanced_accuracy(over_trials.bootstrap(rows, draws, rng))
    return over_trials.mean_of_scored(accuracies.reshape(draws, len(readouts), windows), axis=1)


def _in_splits(dataset: xr.Dataset, splits: xr.DataTree, animal: str) -> tuple[xr.Dataset, NDArray[np.intp]]:
    """Return the trials that are in the splits of the run, and their positions there; another label may lack trials."""
    _, positions, in_splits = np.intersect1d(dataset["trial"].to_numpy(), splits[animal]["trial"].to_numpy(), return_indices=True)
    order = np.argsort(positions)
    return dataset.isel(trial=positions[order]), np.asarray(in_splits[order])


def _sliding(name: str, dataset: xr.Dataset, values: Floats, part: NDArray[np.int8], draws: int, within: str | None) -> Sliding:
    orders = [draw_permutation(name, dataset, draw, within=within).trial for draw in range(draws + 1)]
    label = dataset["label"].to_numpy()[:, 0]
    return Sliding(values.astype(np.float64), label, is_fitted(part), is_scored(part), orders)
