"""Splits of trials into training, validation and test sides, made before any other computation.

A kind of split is a function that divides the trials of one animal and an entry of ``SPLIT_KINDS``; ``split.kind`` names it.
"""

import json
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from neuromvm import schema
from neuromvm.data.held_out import condition_folds
from neuromvm.data.pairing import PublishedPairing
from neuromvm.errors import SplitError, did_you_mean, expect
from neuromvm.schema import Part, is_fitted
from neuromvm.specs import SplitSpec

LOG = logging.getLogger(__name__)
Parts = NDArray[np.int8]


def make_splits(samples: xr.DataTree, spec: SplitSpec, *, among: Mapping[str, NDArray[np.bool_]] | None = None) -> xr.DataTree:
    """Divide the trials of every animal.

    Parameters
    ----------
    samples
        Made by :func:`neuromvm.data.windows.make_samples`; trials are stratified by their labels.
    spec
        The kind of split, its seed, and the share of training-side trials used for validation.
        A class with too few trials in an animal to be on all sides, but enough in another, is unused in that animal, and counted:
        :func:`neuromvm.schema.dropped` of its node.
    among
        Animal -> trials that are divided ``(trial,)``; other trials are unused. By default all trials are divided.

    Returns
    -------
    One node an animal: ``part (split, trial)``, values of :class:`neuromvm.schema.Part`. Random numbers depend on the name of the
    animal, so adding or leaving out another animal does not change its parts.

    Raises
    ------
    SplitError
        If a class has no training trials, the time order of trials coincides with the label, or trials are both training and test
        trials in a kind of split that does not allow it.
    """
    schema.expect_samples(samples)
    expect(spec, SplitSpec, "spec", 'Make one: SplitSpec(kind="halves", repeats=5)')
    kind = SPLIT_KINDS[spec.kind]
    nodes = {}
    rare = {} if among is not None else _rare_trials(samples, spec)
    for name, dataset in schema.animals(samples):
        strata = trial_strata(dataset)
        if among is not None:
            strata = np.where(among[name], strata, -1)
        lines = []
        if name in rare:
            lines = _rare_account(name, dataset, rare[name])
            strata = np.where(rare[name], -1, strata)
        animal = Animal(name, dataset, strata, samples)
        parts = kind.divide(animal, spec)
        if spec.validation:
            parts = np.stack([_with_validation(animal, part, spec, split) for split, part in enumerate(parts)])
        parts[:, strata < 0] = Part.UNUSED
        if (parts == Part.TRAIN_AND_TEST).any() and not kind.in_sample:
            raise SplitError(f"split.kind={spec.kind}, animal {name}", found="trials that train and test", expected="none")
        if kind.every_class:
            _check_classes(name, dataset.isel(trial=strata >= 0), parts[:, strata >= 0])
        coords = {"trial": dataset["trial"].to_numpy(), "split": np.arange(len(parts))}
        nodes[name] = schema.with_dropped(xr.Dataset({"part": (("split", "trial"), parts, _PART_ATTRS)}, coords), lines)
    attrs = {"kind": spec.kind, "seed": spec.seed, "split_spec": spec.model_dump_json()}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **nodes})


def _rare_trials(samples: xr.DataTree, spec: SplitSpec) -> dict[str, NDArray[np.bool_]]:
    """Return, for animals that have any, the trials ``(trial,)`` of classes too rare to be divided there but not elsewhere.

    An animal keeps them, and is refused by name, if fewer than two classes were left.
    """
    fewest = _fewest_trials(spec)
    if fewest is None:
        return {}
    rows = {name: list(map(tuple, dataset["label"].to_numpy().tolist())) for name, dataset in schema.animals(samples)}
    counts = {name: Counter(row for row in labels if min(row) >= 0) for name, labels in rows.items()}
    frequent = {row for numbers in counts.values() for row, number in numbers.items() if number >= fewest}
    trials = {}
    for name, numbers in counts.items():
        rare = {row for row, number in numbers.items() if number < fewest and row in frequent}
        if rare and len(numbers) - len(rare) >= 2:
            trials[name] = np.array([row in rare for row in rows[name]])
    return trials


def _fewest_trials(spec: SplitSpec) -> int | None:
    """Return how many trials a class needs to be on all sides of a split; None for kinds that do not need every class."""
    if not SPLIT_KINDS[spec.kind].every_class or SPLIT_KINDS[spec.kind].in_sample:
        return None
    folds = spec.folds if spec.kind == "kfold" else 2
    if not spec.validation or spec.kind not in ("halves", "kfold"):
        return folds
    validation = max(2, round(1 / spec.validation))
    return next(number for number in count(folds) if number - -(-number // folds) >= validation)


def _rare_account(name: str, dataset: xr.Dataset, rare: NDArray[np.bool_]) -> list[schema.Dropped]:
    """Return the account of the trials of rare classes of an animal, and log it."""
    codes = dataset["label"].to_numpy()[rare][:, 0]
    numbers = Counter(_class_name(dataset, code) for code in codes.tolist())
    described = ", ".join(f"{label} {number}" for label, number in sorted(numbers.items()))
    LOG.warning("Animal %s: classes too rare for the split are left out in it (trials: %s)", name, described)
    return [
        schema.Dropped("trials", f"class {label} is too rare in this animal for the split", n) for label, n in numbers.items()
    ]


def split_spec(splits: xr.DataTree) -> SplitSpec:
    """Return the spec of the splits; KeyError if an earlier version of neuromvm made them."""
    return SplitSpec.model_validate_json(splits.attrs["split_spec"])


def few_trials(samples: xr.DataTree, splits: xr.DataTree, animal: str, per_class: int | None, seed: int = 0) -> xr.DataTree:
    """Return splits in which one animal has fewer training trials, as if only a few trials of it had been recorded.

    Its training trials become a subset of its training and validation trials; the remaining ones are unused. Its test trials and
    all other animals are unchanged.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    animal
        The animal whose training trials are reduced.
    per_class
        Number of training trials of each class, or all trials of a class with fewer; None: all trials.
    seed
        Of the draw, which differs between splits. A larger ``per_class`` adds trials to those of a smaller one.

    Raises
    ------
    SplitError
        If there is no such animal, ``per_class`` is below 1, or its training trials are also test trials.
    """
    _check_animal(splits, animal)
    if per_class is not None and per_class < 1:
        raise SplitError("per_class", found=f"{per_class}", expected="at least 1 training trial of each class, or None for all")
    strata = trial_strata(samples[animal].to_dataset())
    node = splits[animal].to_dataset()
    parts = node["part"].to_numpy().copy()
    if (parts == Part.TRAIN_AND_TEST).any():
        next_step = "Use split.kind=halves or kfold"
        raise SplitError(f"splits/{animal}", found="trials that train and test", expected="each on one side", next_step=next_step)
    for split, part in enumerate(parts):
        random = np.random.default_rng([seed, split, zlib.crc32(animal.encode()), 2])
        training = np.isin(part, (Part.TRAIN, Part.VALIDATION))
        part[training] = Part.UNUSED
        for stratum in np.unique(strata[strata >= 0]):
            part[random.permutation(np.flatnonzero(training & (strata == stratum)))[:per_class]] = Part.TRAIN
    nodes = dict(schema.animals(splits))
    nodes[animal] = node.assign(part=(("split", "trial"), parts, _PART_ATTRS))
    return xr.DataTree.from_dict({"/": splits.to_dataset(), **nodes})


def without_animal(tree: xr.DataTree, animal: str) -> xr.DataTree:
    """Return samples or splits without one animal; SplitError is raised if there is no such animal."""
    _check_animal(tree, animal)
    remaining = {name: dataset for name, dataset in schema.animals(tree) if name != animal}
    return xr.DataTree.from_dict({"/": tree.to_dataset(), **remaining})


def _check_animal(tree: xr.DataTree, animal: str) -> None:
    if animal not in tree.children:
        raise SplitError("animal", found=f"no animal {animal!r}", next_step=did_you_mean(animal, list(tree.children)))


def trial_strata(dataset: xr.Dataset) -> NDArray[np.intp]:
    """Return the stratum of each trial ``(trial,)``, equal for trials with equal labels in all windows; -1: label missing."""
    labels = dataset["label"].to_numpy()
    _, strata = np.unique(labels, axis=0, return_inverse=True)
    return np.where((labels < 0).any(axis=1), -1, strata.reshape(-1))


def sorted_by_label(strata: NDArray[np.intp]) -> bool:
    """Return whether every class is one contiguous run of trials, which confounds time and label."""
    labelled = strata[strata >= 0]
    runs = 1 + int((np.diff(labelled) != 0).sum())
    classes = len(set(labelled.tolist()))
    return bool(classes > 1 and runs == classes and runs < len(labelled))


@dataclass(frozen=True)
class Animal:
    """One animal as a kind of split sees it: its dataset and ``strata (trial,)``, and the samples of all animals."""

    name: str
    dataset: xr.Dataset
    strata: NDArray[np.intp]
    samples: xr.DataTree

    @property
    def subjects(self) -> int:
        """Return the number of subjects of all recordings."""
        return int(schema.subjects(self.samples).max()) + 1

    @property
    def subject(self) -> int:
        """Return the number of its subject, see :func:`neuromvm.schema.subjects`."""
        return int(schema.subjects(self.samples)[list(self.samples.children).index(self.name)])

    @property
    def first_session(self) -> "Animal":
        """Return the first recording of its subject."""
        name = list(self.samples.children)[schema.subjects(self.samples).tolist().index(self.subject)]
        dataset = self.samples[name].to_dataset()
        return Animal(name, dataset, trial_strata(dataset), self.samples)

    def label(self, name: str) -> NDArray[np.generic]:
        """Return a label of the trials ``(trial,)``."""
        return np.asarray(schema.trial_label(self.name, self.dataset, name, SplitError).to_numpy())

    def in_time(self, spec: SplitSpec) -> NDArray[np.intp]:
        """Return the labelled trials in order of ``spec.order``, by default of their onset."""
        name = "onset" if spec.order is None else spec.order
        try:
            order = np.argsort(self.label(name), kind="stable")
        except TypeError as error:
            problem = f"{name} of mixed types or with missing values, which have no order"
            raise SplitError(f"split.order, animal {self.name}", found=problem, expected="a label of numbers") from error
        return np.asarray(order[self.strata[order] >= 0])

    def seed(self, spec: SplitSpec, number: int, *stream: int) -> int:
        """Return a seed that depends on the animal's name, not on other animals."""
        state = np.random.SeedSequence([spec.seed, number, zlib.crc32(self.name.encode()), *stream])
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


def _conditions(animal: Animal, spec: SplitSpec) -> Parts:
    """Hold out the conditions of each fold: their trials are tested, those of other conditions train.

    All sessions of a subject lack the conditions that are drawn for its first.
    """
    first = animal.first_session
    seeds = [first.seed(spec, repeat) for repeat in range(spec.repeats)]
    folds = [fold for seed in seeds for fold in condition_folds(first.name, animal.samples, first.strata >= 0, spec, seed)]
    codes = animal.dataset["match"].to_numpy()[:, 0]
    parts = np.stack([np.where(np.isin(codes, fold), Part.TEST, Part.TRAIN) for fold in folds]).astype(np.int8)
    if spec.lacking == "every_animal":
        return parts
    of_all = np.full((animal.subjects, *parts.shape), Part.TRAIN, dtype=np.int8)
    of_all[animal.subject] = parts
    return of_all.reshape(-1, parts.shape[1])


def _leave_one_animal_out(animal: Animal, spec: SplitSpec) -> Parts:
    if animal.subjects < 2:
        raise SplitError("split.kind", found="leave_one_animal_out with one animal", next_step="Use halves or kfold")
    parts = np.full((animal.subjects, len(animal.strata)), Part.TRAIN, dtype=np.int8)
    parts[animal.subject] = Part.TEST
    return parts


def _published(animal: Animal, spec: SplitSpec) -> Parts:
    """Train and test on the trials in the published pairs: of each class as many as the animal with fewest has."""
    nodes = dict(schema.animals(animal.samples))
    codes = [np.where(node["label"] >= 0, node["match"], -1).reshape(-1) for node in nodes.values()]
    pairs = PublishedPairing(codes).draw(np.random.default_rng(0))
    trials = pairs[:, list(nodes).index(animal.name)] // animal.dataset.sizes["window"]
    parts = np.full((1, len(animal.strata)), Part.UNUSED, dtype=np.int8)
    parts[0, trials] = Part.TRAIN_AND_TEST
    return parts


class SplitKind(NamedTuple):
    """One kind of split: ``divide`` returns the parts ``(split, trial)`` of an animal, with these properties.

    ``inner``: kind of split by which training sides are divided again, None if they cannot be; ``every_class``: each animal has
    training and test trials of every class in every split; ``in_sample``: training trials may also be test trials.
    """

    divide: Callable[[Animal, SplitSpec], Parts]
    inner: Literal["kfold", "blocks"] | None
    every_class: bool = True
    in_sample: bool = False


SPLIT_KINDS: dict[str, SplitKind] = {
    "halves": SplitKind(_halves, inner="kfold"),
    "kfold": SplitKind(_kfold, inner="kfold"),
    "chronological": SplitKind(_chronological, inner="blocks"),
    "blocks": SplitKind(_blocks, inner="blocks"),
    "conditions": SplitKind(_conditions, inner=None, every_class=False),
    "leave_one_animal_out": SplitKind(_leave_one_animal_out, inner=None, every_class=False),
    "published": SplitKind(_published, inner=None, in_sample=True),
}
_PART_ATTRS = {"flag_values": [int(part) for part in Part], "flag_meanings": " ".join(part.name.lower() for part in Part)}


def _folds(animal: Animal, folds: int, seed: int) -> NDArray[np.intp]:
    """Return the fold of each trial ``(trial,)``, with classes spread evenly over the folds."""
    labelled = np.flatnonzero(animal.strata >= 0)
    _check_counts(animal, labelled, folds)
    fold = np.zeros(len(animal.strata), dtype=np.intp)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(labelled[:, None], animal.strata[labelled])):
        fold[labelled[test]] = number
    return fold


def _with_validation(animal: Animal, part: Parts, spec: SplitSpec, split: int) -> Parts:
    """Move a share of each class's training trials to validation."""
    training = np.flatnonzero((part == Part.TRAIN) & (animal.strata >= 0))
    if not len(training):
        return part
    folds = max(2, round(1 / spec.validation))
    counts = np.bincount(animal.strata[training])
    if counts[counts > 0].min() < folds:
        raise SplitError(
            f"animal {animal.name}",
            found=f"a class with {counts[counts > 0].min()} training trials",
            expected=f"at least {folds}, to use {spec.validation:g} of them for validation",
            next_step="Set split.validation=0 and train for a fixed number of epochs, or raise it towards 0.5",
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=animal.seed(spec, split, 1))
    _, validation = next(iter(splitter.split(training[:, None], animal.strata[training])))
    part = part.copy()
    part[training[validation]] = Part.VALIDATION
    return part


def _refuse_sorted(animal: Animal, spec: SplitSpec) -> None:
    if sorted_by_label(animal.strata[animal.in_time(spec)]):
        raise SplitError(
            f"split.kind={spec.kind}, animal {animal.name}",
            found="trials sorted by label, so a split by time is a split by label",
            expected="classes that occur again later in the session",
            next_step="Use split.kind=halves or kfold, and report that slow drift may be decoded in place of the label",
        )


def _check_counts(animal: Animal, labelled: NDArray[np.intp], folds: int) -> None:
    labels, counts = np.unique(animal.dataset["label"].to_numpy()[labelled], axis=0, return_counts=True)
    if len(labels) < 2 and animal.dataset.sizes["window"] == 1:
        problem, next_step = "trials of one class only", "Leave it out with data.animals"
        raise SplitError(f"animal {animal.name}", found=problem, expected="at least two classes", next_step=next_step)
    if counts.min() < folds:
        raise SplitError(
            f"animal {animal.name}",
            found=f"{counts.min()} trials of class {_class_name(animal.dataset, labels[counts.argmin()][0])!r}",
            expected=f"at least {folds}, one for each of the folds",
            next_step="Drop the class with samples.keep, leave the animal out with data.animals, or use fewer folds",
        )


def _check_classes(name: str, dataset: xr.Dataset, parts: Parts) -> None:
    labels = dataset["label"].to_numpy()
    present = set(labels[labels >= 0].tolist())
    for split, part in enumerate(parts):
        for side, value in (("training", Part.TRAIN), ("test", Part.TEST)):
            missing = present - set(labels[np.isin(part, (value, Part.TRAIN_AND_TEST))].ravel().tolist())
            if missing:
                raise SplitError(
                    f"split {split}, animal {name}",
                    found=f"no {side} trial of class {_class_name(dataset, min(missing))!r}",
                    expected="every class on both sides",
                    next_step="Use split.kind=halves or kfold, which are stratified, or drop the class with samples.keep",
                )


def _class_name(dataset: xr.Dataset, code: int) -> str:
    return str(json.loads(dataset["label"].attrs["classes"])[int(code)])


def inner_splits(samples: xr.DataTree, splits: xr.DataTree, spec: SplitSpec, folds: int, seed: int = 0) -> xr.DataTree:
    """Divide the training side of every outer split into ``folds``, with ``seed``.

    ``spec`` is that of the outer splits: inner folds are blocks in time if the outer kind divides by time, with its validation
    share. The result has ``part (split, trial)``, with the folds of the first outer split first and the number of the outer split
    in the coordinate ``outer (split)``; trials outside the training side are unused. SplitError is raised if the kind of split
    has no inner folds (an animal without a training side, or test trials that train), or a class has too few trials.
    """
    schema.expect_samples_with_splits(samples, splits)
    kind = SPLIT_KINDS[spec.kind].inner
    if kind is None:
        raise SplitError(
            f"split.kind={spec.kind}",
            found="no inner folds",
            expected="test trials apart from training trials, in every animal",
            next_step="Use split.kind=halves or kfold to choose settings",
        )
    inner = SplitSpec(kind=kind, folds=folds, seed=seed, validation=spec.validation, order=spec.order)
    return divide_training_sides(samples, splits, inner)


def divide_training_sides(samples: xr.DataTree, splits: xr.DataTree, spec: SplitSpec) -> xr.DataTree:
    """Return inner splits, see :func:`inner_splits`, by ``spec`` with the number of the outer split added to its seed."""
    splits_of_side = []
    for split in range(next(iter(splits.children.values())).sizes["split"]):
        sides = {name: is_fitted(splits[name]["part"].to_numpy()[split]) for name in samples.children}
        among = {name: side for name, side in sides.items() if side.any()}
        trained = xr.DataTree.from_dict({"/": samples.to_dataset(), **{name: samples[name].to_dataset() for name in among}})
        splits_of_side.append(make_splits(trained, spec.model_copy(update={"seed": spec.seed + split}), among=among))
    folds = next(iter(splits_of_side[0].children.values())).sizes["split"]
    nodes = {}
    for name in samples.children:
        unused = np.full((folds, splits[name].sizes["trial"]), Part.UNUSED, dtype=np.int8)
        parts = np.concatenate([inner[name]["part"].to_numpy() if name in inner.children else unused for inner in splits_of_side])
        outer = np.repeat(np.arange(len(splits_of_side)), folds)
        coords = {"split": np.arange(len(parts)), "outer": ("split", outer), "trial": splits[name]["trial"].to_numpy()}
        nodes[name] = xr.Dataset({"part": (("split", "trial"), parts, splits[name]["part"].attrs)}, coords)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=splits_of_side[0].attrs), **nodes})
