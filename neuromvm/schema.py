"""Names of dims, variables and attributes of recordings, samples, splits and latents, and checks of these trees.

Recordings: a node an animal with ``spike_count`` (integers) or ``event_amplitude`` (floats), dims ``(trial, time | position,
unit)``. The grid coordinate (bin centres, ``time`` in s relative to the alignment event) lives at the root and is shared. With a
field potential, ``theta_phase (trial, time)`` [rad] labels the bins; NaN where it is not known. Samples, windows of recordings:
``activity (trial, window, bin, unit)`` with ``label`` and ``match (trial, window)``. Splits: ``part (split, trial)``, see
:class:`Part`. Latents: ``latent_mean, latent_scale (replica, trial, window, latent)``.
"""

import json
import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from neuromvm.errors import ArgumentError, NeuromvmError, SchemaError, did_you_mean, expect

VERSION = "1"
ACTIVITY_NAMES = ("spike_count", "event_amplitude")
GRID_DIMS = ("time", "position")
THETA_PHASE = "theta_phase"
RESERVED_ANIMAL_NAMES = {"type", "train", "keys", "items", "values", "training", "forward", "pop", "clear"}


class Part(IntEnum):
    """Part of a trial in a split: see :func:`is_fitted` and :func:`is_scored`.

    Trials that are fitted and scored, TRAIN_AND_TEST, occur only where a published computation is reproduced.
    """

    UNUSED = 0
    TRAIN = 1
    VALIDATION = 2
    TEST = 3
    TRAIN_AND_TEST = 4


def is_fitted(part: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of the trials on which scalers, alignments, models and decoders may be fitted.

    >>> is_fitted([Part.TRAIN, Part.VALIDATION, Part.TEST, Part.TRAIN_AND_TEST]).tolist()
    [True, True, False, True]
    """
    return np.isin(part, (Part.TRAIN, Part.VALIDATION, Part.TRAIN_AND_TEST))


def is_scored(part: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of the trials that are scored.

    >>> is_scored([Part.TRAIN, Part.VALIDATION, Part.TEST, Part.TRAIN_AND_TEST]).tolist()
    [False, False, True, True]
    """
    return np.isin(part, (Part.TEST, Part.TRAIN_AND_TEST))


def in_sample(splits: xr.DataTree) -> bool:
    """Return whether fitted trials are scored: scores then say nothing about new trials, and have no floor."""
    return any(bool((node["part"] == Part.TRAIN_AND_TEST).any()) for node in splits.children.values())


class Dropped(NamedTuple):
    """A line of the data account: what was left out, why, and how many."""

    what: str
    reason: str
    count: int  # type: ignore[assignment]  # shadows tuple.count


def expect_tree(tree: xr.DataTree, variable: str, name: str, make: str) -> None:
    """Raise ArgumentError unless the argument ``name`` is a tree whose animals have a variable; ``make`` says how to make one."""
    expect(tree, xr.DataTree, name, make)
    variables = {str(key) for node in tree.children.values() for key in node.data_vars}
    if variable not in variables:
        description = f"a tree with {', '.join(sorted(variables)) or 'no variables'}"
        raise ArgumentError(f"argument {name!r}", found=description, expected=f"one with {variable}", next_step=make)


def expect_samples(samples: xr.DataTree) -> None:
    """Raise ArgumentError unless the argument ``samples`` is a tree of samples."""
    expect_tree(samples, "activity", "samples", "Make them: make_samples(recordings, SampleSpec(...))")


def expect_splits(splits: xr.DataTree) -> None:
    """Raise ArgumentError unless the argument ``splits`` is a tree of splits."""
    expect_tree(splits, "part", "splits", "Make them: make_splits(samples, SplitSpec(...))")


def animals(tree: xr.DataTree) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield ``(animal, dataset)`` for every animal, grid coordinate included."""
    for name, node in tree.children.items():
        yield name, node.to_dataset()


def activity(dataset: xr.Dataset) -> xr.DataArray:
    """Return the one activity variable of an animal, dims ``(trial, grid, unit)``; SchemaError unless there is one."""
    names = [name for name in ACTIVITY_NAMES if name in dataset.data_vars]
    if len(names) != 1:
        raise SchemaError(
            "recordings",
            found=f"activity variables {names} among {sorted(map(str, dataset.data_vars))}",
            expected=f"exactly one of {', '.join(ACTIVITY_NAMES)}",
        )
    return dataset[names[0]]


def grid_dim(dataset: xr.Dataset) -> str:
    """Return the dim between trial and unit: ``time`` or ``position``."""
    return str(activity(dataset).dims[1])


def trial_label(animal: str, dataset: xr.Dataset, label: str, error: type[NeuromvmError] = SchemaError) -> xr.DataArray:
    """Return a coordinate along the trials of an animal, or raise the error if there is none of that name."""
    known = sorted(str(key) for key, coord in dataset.coords.items() if coord.dims == ("trial",))
    if label not in known:
        raise error(f"animal {animal}", found=f"no trial label {label!r}", next_step=did_you_mean(label, known))
    return dataset[label]


def time_order(dataset: xr.Dataset, order: str = "onset") -> NDArray[np.intp]:
    """Return the trials in the order of a trial label, or of the file if there is none of that name."""
    if order not in dataset.coords:
        return np.arange(dataset.sizes["trial"])
    return np.argsort(dataset[order].to_numpy(), kind="stable")


def check_animal_name(name: str) -> str:
    """Return a name that can be a tree node, file name and module key, or raise SchemaError.

    >>> check_animal_name("sub-C14M4_ses-env0")
    'sub-C14M4_ses-env0'
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,99}", name) or name in RESERVED_ANIMAL_NAMES:
        raise SchemaError(
            f"animal {name!r}",
            found="a name that cannot be a tree node, file and module name",
            expected="letters, digits, '_', '+', '-', at most 100, none of " + ", ".join(sorted(RESERVED_ANIMAL_NAMES)),
            next_step="Rename the animal in the data spec under 'rename'",
        )
    return name


def check_same_trials(tree: xr.DataTree, splits: xr.DataTree) -> None:
    """Raise SchemaError unless splits and tree have the same trials."""
    for name, node in splits.children.items():
        numbers = node["split"].to_numpy()
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise SchemaError(
                f"splits/{name}",
                found=f"splits numbered {numbers.tolist()}",
                expected="all of them, from 0",
                next_step="Pass the splits unchanged, without a selection",
            )
    for name, node in tree.children.items():
        if name not in splits.children:
            raise SchemaError("splits", found=f"no animal {name!r}", expected="splits made of these samples")
        if not np.array_equal(node["trial"].to_numpy(), splits[name]["trial"].to_numpy()):
            raise SchemaError(
                f"splits/{name}", found="other trials than the samples have", expected="splits made of these samples"
            )


def expect_samples_with_splits(samples: xr.DataTree, splits: xr.DataTree) -> None:
    """Raise ArgumentError or SchemaError unless they are samples and splits of the same trials."""
    expect_samples(samples)
    expect_splits(splits)
    check_same_trials(samples, splits)


def dropped(dataset: xr.Dataset) -> list[Dropped]:
    """Return the data account of an animal from its attributes."""
    return [Dropped(*line) for line in json.loads(dataset.attrs.get("dropped", "[]"))]


def with_dropped(dataset: xr.Dataset, lines: list[Dropped]) -> xr.Dataset:
    """Return the dataset with lines added to its account; lines with a count of zero are left out."""
    account = [line for line in [*dropped(dataset), *lines] if line.count]
    return dataset.assign_attrs(dropped=json.dumps(account))


def validate_recordings(tree: xr.DataTree) -> xr.DataTree:
    """Return the tree if it is a valid set of recordings, else raise SchemaError."""
    if not tree.children:
        raise SchemaError("recordings", found="no animals", expected="one node an animal")
    for name, dataset in animals(tree):
        check_animal_name(name)
        values = activity(dataset)
        if len(values.dims) != 3 or values.dims[0] != "trial" or values.dims[2] != "unit" or values.dims[1] not in GRID_DIMS:
            raise SchemaError(
                f"recordings/{name}", found=f"{values.name} with dims {values.dims}", expected="(trial, time | position, unit)"
            )
        if values.name == "spike_count" and values.dtype.kind != "u":
            raise SchemaError(f"recordings/{name}", found=f"spike_count of type {values.dtype}", expected="unsigned integers")
        if values.name == "event_amplitude" and values.dtype.kind != "f":
            raise SchemaError(f"recordings/{name}", found=f"event_amplitude of type {values.dtype}", expected="floats")
        for dim in values.dims:
            if dim not in dataset.coords:
                raise SchemaError(f"recordings/{name}", found=f"dim {dim} without a coordinate", expected="labels on every dim")
    return tree
