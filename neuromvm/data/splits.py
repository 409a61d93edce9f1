"""Splits as data: which trials train, validate and test, decided before anything else is computed."""

import json
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from neuromvm import schema
from neuromvm.data.pairing import PublishedPairing
from neuromvm.errors import SplitError, did_you_mean, expect
from neuromvm.schema import Part
from neuromvm.specs import SplitSpec

Parts = NDArray[np.int8]


def make_splits(samples: xr.DataTree, spec: SplitSpec, *, among: Mapping[str, NDArray[np.bool_]] | None = None) -> xr.DataTree:
    """Divide the trials of every animal.

    Parameters
    ----------
    samples
        Made by :func:`neuromvm.data.windows.make_samples`; trials are stratified by their labels.
    spec
        The kind of split, its seed, and the share of training-side trials kept for validation.
    among
        Animal -> which trials are divided ``(trial,)``; the others are unused. By default all are.

    Returns
    -------
    One node an animal: ``part (split, trial)``, values of :class:`neuromvm.schema.Part`. An animal's trials are divided
    by a generator of its own, so that adding or leaving out another animal changes nothing.

    Raises
    ------
    SplitError
        If a class is left without training trials, the time order of trials coincides with the label, or trials of any kind
        but ``published`` both train and test.
    """
    schema.expect_samples(samples)
    expect(spec, SplitSpec, "spec", 'Make one: SplitSpec(kind="halves", repeats=5)')
    divide = _DIVIDE[spec.kind]
    paired = _in_published_tuples(samples) if spec.kind == "published" else {}
    children = {}
    for index, (name, dataset) in enumerate(schema.animals(samples)):
        strata = trial_strata(dataset)
        if among is not None:
            strata = np.where(among[name], strata, -1)
        parts = divide(Animal(name, index, len(samples.children), dataset, strata), spec)
        if spec.validation:
            parts = np.stack([_keep_validation(name, strata, part, spec, number) for number, part in enumerate(parts)])
        parts[:, strata < 0] = Part.UNUSED
        if name in paired:
            parts[:, ~paired[name]] = Part.UNUSED
        elif (parts == Part.TRAIN_AND_TEST).any():
            raise SplitError(f"split.kind={spec.kind}, animal {name}", found="trials that train and test", expected="none")
        if spec.kind != "leave_one_animal_out":
            _check_classes(name, dataset, parts)
        children[name] = xr.DataTree(
            xr.Dataset(
                {"part": (("split", "trial"), parts, _PART_ATTRS)},
                coords={"trial": dataset["trial"].to_numpy(), "split": np.arange(len(parts))},
            )
        )
    return xr.DataTree(dataset=xr.Dataset(attrs={"kind": spec.kind, "seed": spec.seed}), children=children)


def few_trials(samples: xr.DataTree, splits: xr.DataTree, animal: str, per_class: int | None, seed: int = 0) -> xr.DataTree:
    """Leave one animal only a few training trials of each class, as if little had been recorded of it.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    animal
        The one that is to have few.
    per_class
        Training trials of each class that are kept, or all where there are fewer; None keeps all of them.
    seed
        Of the draw, one for each split. A larger ``per_class`` keeps the trials that a smaller one does, and more.

    Returns
    -------
    Splits in which the animal's training trials are drawn among those of its training side, validation trials included; the
    rest of them are unused. Its test trials and all other animals are as they were.

    Raises
    ------
    SplitError
        If there is no such animal, ``per_class`` is below 1, or its training trials are those that are tested.

    Examples
    --------
    >>> few = few_trials(samples, splits, "mitt", per_class=4)  # doctest: +SKIP
    """
    _refuse_absent(splits, animal)
    if per_class is not None and per_class < 1:
        raise SplitError("per_class", found=f"{per_class}", expected="at least 1 training trial of each class, or None for all")
    strata = trial_strata(samples[animal].to_dataset())
    node = splits[animal].to_dataset()
    parts = node["part"].to_numpy().copy()
    if (parts == Part.TRAIN_AND_TEST).any():
        found, next_step = "trials that train and test", "Use split.kind=halves or kfold"
        raise SplitError(f"splits/{animal}", found=found, expected="each on one side", next_step=next_step)
    for number, part in enumerate(parts):
        random = np.random.default_rng([seed, number, zlib.crc32(animal.encode()), 2])
        side = np.isin(part, (Part.TRAIN, Part.VALIDATION))
        part[side] = Part.UNUSED
        for stratum in np.unique(strata[strata >= 0]):
            part[random.permutation(np.flatnonzero(side & (strata == stratum)))[:per_class]] = Part.TRAIN
    changed = node.assign(part=(("split", "trial"), parts, _PART_ATTRS))
    return _with_children(splits, {**{name: one.to_dataset() for name, one in splits.children.items()}, animal: changed})


def without_animal(tree: xr.DataTree, animal: str) -> xr.DataTree:
    """Return samples or splits of all animals but one.

    Raises
    ------
    SplitError
        If there is no such animal.

    Examples
    --------
    >>> tree = xr.DataTree.from_dict({"mitt": xr.Dataset(), "stella": xr.Dataset()})
    >>> list(without_animal(tree, "mitt").children)
    ['stella']
    """
    _refuse_absent(tree, animal)
    return _with_children(tree, {name: node.to_dataset() for name, node in tree.children.items() if name != animal})


def _with_children(tree: xr.DataTree, children: Mapping[str, xr.Dataset]) -> xr.DataTree:
    return xr.DataTree(dataset=tree.to_dataset(), children={name: xr.DataTree(dataset) for name, dataset in children.items()})


def _refuse_absent(tree: xr.DataTree, animal: str) -> None:
    if animal not in tree.children:
        raise SplitError("animal", found=f"no animal {animal!r}", next_step=did_you_mean(animal, list(tree.children)))


def trial_strata(dataset: xr.Dataset) -> NDArray[np.intp]:
    """Return one number a trial: trials with the same labels in all windows have the same; -1 if any label is missing."""
    labels = dataset["label"].to_numpy()
    _, strata = np.unique(labels, axis=0, return_inverse=True)
    return np.where((labels < 0).any(axis=1), -1, strata.reshape(-1))


def sorted_by_label(strata: NDArray[np.intp]) -> bool:
    """Say whether every class is one unbroken run of trials, so that time and label cannot be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> sorted_by_label(np.array([0, 0, 1, 1])), sorted_by_label(np.array([0, 1, 0, 1]))
    (True, False)
    """
    used = strata[strata >= 0]
    runs = 1 + int((np.diff(used) != 0).sum())
    classes = len(set(used.tolist()))
    return bool(classes > 1 and runs == classes and runs < len(used))


class Animal:
    """What a way of dividing may look at: the strata and the time order of one animal's trials."""

    def __init__(self, name: str, index: int, animals: int, dataset: xr.Dataset, strata: NDArray[np.intp]) -> None:
        self.name, self.index, self.animals, self.dataset, self.strata = name, index, animals, dataset, strata

    def label(self, name: str) -> NDArray[np.generic]:
        """Return a label of the trials."""
        known = sorted(str(key) for key, coord in self.dataset.coords.items() if coord.dims == ("trial",))
        if name not in known:
            raise SplitError(f"animal {self.name}", found=f"no trial label {name!r}", next_step=did_you_mean(name, known))
        return np.asarray(self.dataset[name].to_numpy())

    def in_time(self, spec: SplitSpec) -> NDArray[np.intp]:
        """Return the labelled trials in order of ``spec.order``, by default of their onset."""
        onset = self.label("onset" if spec.order is None else spec.order)
        order = np.argsort(onset, kind="stable")
        return np.asarray(order[self.strata[order] >= 0])

    def seed(self, spec: SplitSpec, number: int) -> int:
        """Return a seed that depends on the animal's name, not on its place among the others."""
        state = np.random.SeedSequence([spec.seed, number, zlib.crc32(self.name.encode())])
        return int(state.generate_state(1)[0])


def _halves(animal: Animal, spec: SplitSpec) -> Parts:
    folds = [_folds(animal, 2, animal.seed(spec, repeat)) for repeat in range(spec.repeats)]
    return np.stack([np.where(fold == 0, Part.TRAIN, Part.TEST) for fold in folds]).astype(np.int8)


def _kfold(animal: Animal, spec: SplitSpec) -> Parts:
    parts = []
    for repeat in range(spec.repeats):
        folds = _folds(animal, spec.folds, animal.seed(spec, repeat))
        parts += [np.where(folds == number, Part.TEST, Part.TRAIN) for number in range(spec.folds)]
    return np.stack(parts).astype(np.int8)


def _chronological(animal: Animal, spec: SplitSpec) -> Parts:
    _refuse_sorted(animal, spec)
    parts = np.full((1, len(animal.strata)), Part.TEST, dtype=np.int8)
    order = animal.in_time(spec)
    parts[0, order[: round(spec.train_share * len(order))]] = Part.TRAIN
    return parts


def _blocks(animal: Animal, spec: SplitSpec) -> Parts:
    if spec.block is None:
        _refuse_sorted(animal, spec)
        blocks = np.zeros(len(animal.strata), dtype=int)
        for number, run in enumerate(np.array_split(animal.in_time(spec), spec.folds)):
            blocks[run] = number
    else:
        names, blocks = np.unique(animal.label(spec.block).astype(str), return_inverse=True)
        if len(names) != spec.folds:
            raise SplitError(
                f"animal {animal.name}",
                found=f"{len(names)} blocks in {spec.block!r}",
                expected=f"split.folds = {spec.folds} in every animal",
                next_step=f"Set split.folds={len(names)}",
            )
    return np.stack([np.where(blocks == number, Part.TEST, Part.TRAIN) for number in range(spec.folds)]).astype(np.int8)


def _leave_one_animal_out(animal: Animal, spec: SplitSpec) -> Parts:
    if animal.animals < 2:
        raise SplitError("split.kind", found="leave_one_animal_out with one animal", next_step="Use halves or kfold")
    parts = np.full((animal.animals, len(animal.strata)), Part.TRAIN, dtype=np.int8)
    parts[animal.index] = Part.TEST
    return parts


def _published(animal: Animal, spec: SplitSpec) -> Parts:
    return np.full((1, len(animal.strata)), Part.TRAIN_AND_TEST, dtype=np.int8)


_DIVIDE: dict[str, Callable[[Animal, SplitSpec], Parts]] = {
    "halves": _halves,
    "kfold": _kfold,
    "chronological": _chronological,
    "blocks": _blocks,
    "leave_one_animal_out": _leave_one_animal_out,
    "published": _published,
}
_PART_ATTRS = {"flag_values": [int(part) for part in Part], "flag_meanings": " ".join(part.name.lower() for part in Part)}


def _in_published_tuples(samples: xr.DataTree) -> dict[str, NDArray[np.bool_]]:
    """Return for each animal which trials the published pairing takes, ``(trial,)``: none beyond the smallest animal's number."""
    nodes = dict(schema.animals(samples))
    codes = [np.where(node["label"] >= 0, node["match"], -1) for node in nodes.values()]
    pairs = PublishedPairing([one.reshape(-1) for one in codes]).draw(np.random.default_rng(0))
    return {
        name: np.isin(np.arange(len(one)), pairs[:, column] // one.shape[1])
        for column, (name, one) in enumerate(zip(nodes, codes, strict=True))
    }


def _folds(animal: Animal, folds: int, seed: int) -> NDArray[np.intp]:
    """Return the fold of each trial, classes spread evenly."""
    used = np.flatnonzero(animal.strata >= 0)
    _check_counts(animal.name, animal.dataset, used, folds, "folds")
    fold = np.zeros(len(animal.strata), dtype=np.intp)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(used[:, None], animal.strata[used])):
        fold[used[test]] = number
    return fold


def _keep_validation(
    name: str, strata: NDArray[np.intp], part: NDArray[np.int8], spec: SplitSpec, number: int
) -> NDArray[np.int8]:
    """Move a share of each class's training trials to validation."""
    training = np.flatnonzero((part == Part.TRAIN) & (strata >= 0))
    if not len(training):
        return part
    folds = max(2, round(1 / spec.validation))
    counts = np.bincount(strata[training])
    if counts[counts > 0].min() < folds:
        raise SplitError(
            f"animal {name}",
            found=f"a class with {counts[counts > 0].min()} training trials",
            expected=f"at least {folds}, to keep {spec.validation:g} of them for validation",
            next_step="Set split.validation=0 and train for a fixed number of epochs, or raise it towards 0.5",
        )
    seed = np.random.SeedSequence([spec.seed, number, zlib.crc32(name.encode()), 1]).generate_state(1)[0]
    splitter = StratifiedKFold(folds, shuffle=True, random_state=int(seed))
    _, kept = next(iter(splitter.split(training[:, None], strata[training])))
    part = part.copy()
    part[training[kept]] = Part.VALIDATION
    return part


def _refuse_sorted(animal: Animal, spec: SplitSpec) -> None:
    if sorted_by_label(animal.strata[animal.in_time(spec)]):
        raise SplitError(
            f"split.kind={spec.kind}, animal {animal.name}",
            found="trials sorted by label, so a split by time is a split by label",
            expected="classes that come back in time",
            next_step="Use split.kind=halves or kfold, and say that slow drift of the recording can pass for the label",
        )


def _check_counts(name: str, dataset: xr.Dataset, used: NDArray[np.intp], needed: int, what: str) -> None:
    labels, counts = np.unique(dataset["label"].to_numpy()[used], axis=0, return_counts=True)
    if len(labels) < 2 and dataset.sizes["window"] == 1:
        raise SplitError(
            f"animal {name}",
            found="trials of one class only",
            expected="at least two classes",
            next_step="Leave it out with data.animals",
        )
    if counts.min() < needed:
        raise SplitError(
            f"animal {name}",
            found=f"{counts.min()} trials of class {_class_name(dataset, labels[counts.argmin()][0])!r}",
            expected=f"at least {needed}, one for each of the {what}",
            next_step="Drop the class with samples.keep, leave the animal out with data.animals, or use fewer folds",
        )


def _check_classes(name: str, dataset: xr.Dataset, parts: Parts) -> None:
    labels = dataset["label"].to_numpy()
    present = set(labels[labels >= 0].tolist())
    for number, part in enumerate(parts):
        for side, wanted in (("training", Part.TRAIN), ("test", Part.TEST)):
            missing = present - set(labels[np.isin(part, (wanted, Part.TRAIN_AND_TEST))].ravel().tolist())
            if missing:
                raise SplitError(
                    f"split {number}, animal {name}",
                    found=f"no {side} trial of class {_class_name(dataset, min(missing))!r}",
                    expected="every class on both sides",
                    next_step="Use split.kind=halves or kfold, which are stratified, or drop the class with samples.keep",
                )


def _class_name(dataset: xr.Dataset, code: int) -> str:
    return str(json.loads(dataset["label"].attrs["classes"])[int(code)])
