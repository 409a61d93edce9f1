"""Decoders of windows that slide over a grid: what they see of each animal, what they read, and the same on permuted trials."""

import zlib
from collections.abc import Mapping, Sequence
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

RAW_NULL = "activity permuted among the trials of each animal, scalers and decoders refitted"
LATENT_NULL = "latents permuted among the test trials of each animal, model and decoders not refitted"
RENAMED_NULL = "classes of each animal renamed, all trials of a class alike, decoders refitted, model not refitted"


class Sliding(NamedTuple):
    """The windows of one animal, and where its trials lie in each split."""

    values: Floats  # (trial, window, feature), not scaled
    label: NDArray[np.int16]  # (trial,)
    fitted: NDArray[np.bool_]  # (split, trial)
    scored: NDArray[np.bool_]  # (split, trial)
    orders: list[NDArray[np.int64]]  # the trial whose activity each trial takes: its own, then one for each null draw


class Followed(NamedTuple):
    """One representation of all animals along the grid."""

    animals: Mapping[str, Sliding]
    centres: NDArray[np.float64]  # (window,)
    width: float
    shared: bool  # whether one decoder can read several animals
    null: str  # what is permuted and refitted


class Decoded(NamedTuple):
    """How well decoders of some animals read one, averaged over splits; NaN where nothing can be scored."""

    matrix: Floats  # (train window, test window)
    null: Floats  # (draw, train window, test window)
    alone: Floats  # (draw, window): the null of this animal, whatever the others have in common
    bootstrap: Floats  # (draw, window), trained and tested in the same window
    chance: float
    trials: int


def follow_features(windows: xr.DataTree, splits: xr.DataTree, draws: int, within: str | None = None) -> Followed:
    """Follow the features of the recordings.

    Parameters
    ----------
    windows
        Samples along the grid, labels the same in all windows of a trial.
    splits
        Of the run; trials that they do not have are left out.
    draws
        Permutations for the null.
    within
        Trial label within which trials are exchangeable.
    """
    spec, animals = sample_spec(windows), {}
    for name, node in windows.children.items():
        dataset, place = _in_splits(node.to_dataset(), splits, name)
        values = features(dataset["activity"], spec)
        animals[name] = _sliding(name, dataset, values, splits[name]["part"].to_numpy()[:, place], draws, within)
    window = next(iter(windows.children.values()))["window"]
    return Followed(animals, window.to_numpy(), float(window.attrs["width"]), shared=False, null=RAW_NULL)


def follow_latents(
    paths: xr.DataTree, windows: xr.DataTree, splits: xr.DataTree, draws: int, within: str | None = None
) -> Followed:
    """Follow the shared latents of a model's first replica; labels are those of ``windows``.

    The model is not trained again and may know the labels of its training trials, so test trials alone are permuted, and
    decoders stay what they are. Other arguments are as of :func:`follow_features`.
    """
    latents = Latents(paths, splits, inverse_penalty=1.0)
    split, animals = latents.replicas[0], {}
    for name, node in windows.children.items():
        values = latents.seen(0, name, name) if name in paths.children else None
        if values is None:
            continue
        dataset, place = _in_splits(node.to_dataset(), splits, name)
        kept = training_side(splits, split, name)[place]
        block = np.full(len(kept), "") if within is None else dataset[within].to_numpy().astype(str)
        side = np.where(kept, np.char.add("kept ", np.arange(len(kept)).astype(str)), np.char.add("tested ", block))
        sided = dataset.assign_coords(side=("trial", side))
        part = splits[name]["part"].to_numpy()[[split]][:, place]
        animals[name] = _sliding(name, sided, values[place], part, draws, "side")
    window = next(iter(paths.children.values()))["window"]
    return Followed(animals, window.to_numpy(), float(window.attrs.get("width", 0)), shared=True, null=LATENT_NULL)


def decode_windows(animals: Mapping[str, Sliding], target: str, sources: Sequence[str], bootstraps: int, seed: int) -> Decoded:
    """Read an animal in every window by decoders that were fitted in every window, observed and on permuted trials.

    Parameters
    ----------
    animals
        Of one representation.
    target
        Whose test trials are read.
    sources
        On whose training sides, together, one decoder a window is fitted: the target itself, whose trials are permuted under the
        null, or others, when the classes of each are renamed.
    bootstraps, seed
        Draws of test trials within class.

    Returns
    -------
    Balanced accuracy over the classes that sources and target share.
    """
    one = animals[target]
    splits, draws, windows = len(one.scored), len(one.orders), one.values.shape[1]
    matrices = np.full((splits, draws, windows, windows), np.nan)
    read: list[Read] = []
    alone: list[Floats] = []
    known = 1 + max(int(each.label.max()) for each in animals.values())
    classes = np.append(np.arange(known), -1).astype(np.int16)  # the last is found at -1: no label stays none
    renaming = Renaming([] if target in sources else [target, *sources], known, draws - 1, seed)
    for split in range(splits):
        shared, tested = _shared_classes(animals, target, sources, split), one.scored[split]
        if len(shared) < 2 or not np.isin(one.label[tested], shared).any():
            continue
        names = dict.fromkeys([target, *sources], np.tile(classes, (draws, 1)))
        if target not in sources:
            names = {name: _named(classes, shared, renaming.names(name, shared)) for name in names}
        truth = one.label[tested]
        for draw in range(draws):
            order = draw if target in sources else 0
            codes = _read(animals, target, sources, split, order, shared, {name: each[draw] for name, each in names.items()})
            matrices[split, draw] = _balanced_accuracy(codes, names[target][draw, truth], shared)
            if draw == 0:
                read.append(Read(tested, np.einsum("tww->tw", codes), shared))
        if target in sources:
            alone.append(np.einsum("dww->dw", matrices[split, 1:]))
        else:
            shares = recall(read[-1].codes.T[..., None], truth[:, None], known)  # (window, class, class said)
            alone.append(renaming.accuracy(shares, np.isin(classes[:-1], shared), target, None))
    means = over_trials.mean_of_scored(matrices, axis=0)
    if not read:
        unread = np.full((draws - 1, windows), np.nan)
        return Decoded(means[0], means[1:], unread, np.full((bootstraps, windows), np.nan), np.nan, 0)
    rng = np.random.default_rng([seed, zlib.crc32(target.encode())])
    return Decoded(
        means[0],
        means[1:],
        over_trials.mean_of_scored(np.stack(alone), axis=0),
        _bootstrap(one.label, read, bootstraps, rng),
        chance=float(np.mean([1 / len(each.shared) for each in read])),
        trials=int(np.any([each.tested for each in read], axis=0).sum()),
    )


class Read(NamedTuple):
    """What was read in one split, each window by its own decoder."""

    tested: NDArray[np.bool_]  # (trial,)
    codes: NDArray[np.int16]  # (tested trial, window)
    shared: NDArray[np.int16]  # classes among which the decoders chose


def _shared_classes(animals: Mapping[str, Sliding], target: str, sources: Sequence[str], split: int) -> NDArray[np.int16]:
    """Return the classes on which the decoder is fitted and which the target has; none where it cannot be fitted."""
    codes = [animals[source].label[animals[source].fitted[split]] for source in sources]
    known = np.concatenate([np.empty(0, dtype=np.int16), *codes])
    if len(known) <= len(np.unique(known)):  # nothing to tell the spread within classes from
        return known[:0]
    return np.intersect1d(known, animals[target].label[animals[target].label >= 0])


def _read(
    animals: Mapping[str, Sliding],
    target: str,
    sources: Sequence[str],
    split: int,
    order: int,
    shared: NDArray[np.int16],
    names: Mapping[str, NDArray[np.int16]],
) -> NDArray[np.int16]:
    """Return class codes of the target's test trials, ``(trial, test window, train window)``, its classes and others' renamed."""
    training, codes = [], []
    for source in sources:
        one = animals[source]
        training.append(one.values[one.orders[order][one.fitted[split]]])
        codes.append(names[source][one.label[one.fitted[split]]])
    known = np.concatenate(codes)
    # Sources that lack different classes may lack another one when they are renamed.
    there = np.intersect1d(shared, known).astype(np.int16)
    decoders = fit_discriminants(np.concatenate(training), known).among(np.searchsorted(np.unique(known), there))
    read = animals[target]
    return np.asarray(there[decoders.predict(read.values[read.orders[order][read.scored[split]]])])


def _named(classes: NDArray[np.int16], shared: NDArray[np.int16], names: NDArray[np.integer]) -> NDArray[np.int16]:
    """Return the names of classes ``(draw, class)``, of which some are renamed: first as they are, then in every draw."""
    named = np.tile(classes, (1 + len(names), 1))
    named[1:, shared] = names
    return named


def _balanced_accuracy(codes: NDArray[np.int16], truth: NDArray[np.int16], shared: NDArray[np.int16]) -> Floats:
    """Return the mean recall of the classes that are tested, ``(train window, test window)``."""
    of_class = truth == shared[:, None]
    of_class = of_class[of_class.any(axis=1)]
    weight = (of_class / of_class.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.asarray(np.tensordot(weight, codes == truth[:, None, None], axes=1).T)


def _bootstrap(label: NDArray[np.int16], read: Sequence[Read], draws: int, rng: np.random.Generator) -> Floats:
    """Draw test trials again within class, the same in all windows and splits; return ``(draw, window)``, mean over splits."""
    windows, classes = read[0].codes.shape[1], np.arange(int(label.max()) + 1, dtype=np.int16)
    votes = np.zeros((len(read), windows, len(label), 1, len(classes)), dtype=np.float32)
    for number, one in enumerate(read):
        votes[number][:, one.tested, 0] = one.codes.T[..., None] == classes
    scores = (len(read) * windows, len(label))
    rows = LabelRows.of(label[:, None])
    tested = np.repeat([one.tested for one in read], windows, axis=0)
    counted = np.repeat([np.isin(classes, one.shared) for one in read], windows, axis=0)
    tally = Tally.of(votes.reshape(*scores, 1, len(classes)), tested, counted, rows)
    drawn = tally.balanced_accuracy(over_trials.bootstrap(rows, draws, rng))
    return over_trials.mean_of_scored(drawn.reshape(draws, len(read), windows), axis=1)


def _in_splits(dataset: xr.Dataset, splits: xr.DataTree, animal: str) -> tuple[xr.Dataset, NDArray[np.intp]]:
    """Keep the trials that the run has, and say where they lie in its splits; another label may lack other trials."""
    known = splits[animal]["trial"].to_numpy()
    _, own, place = np.intersect1d(dataset["trial"].to_numpy(), known, return_indices=True)
    order = np.argsort(own)
    return dataset.isel(trial=own[order]), np.asarray(place[order])


def _sliding(name: str, dataset: xr.Dataset, values: Floats, part: NDArray[np.int8], draws: int, within: str | None) -> Sliding:
    orders = [draw_permutation(name, dataset, draw, within=within).trial for draw in range(draws + 1)]
    label = dataset["label"].to_numpy()[:, 0]
    return Sliding(values.astype(np.float64), label, is_fitted(part), is_scored(part), orders)
