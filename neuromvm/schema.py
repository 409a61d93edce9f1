"""Names of dims, variables and attributes of recordings, samples, splits and latents, and checks of these trees.

Recordings: a node an animal with ``spike_count`` (whole numbers) or ``event_amplitude`` (floats; ``attrs["activity_kind"]`` says
of which kind, see ``ACTIVITY_KINDS``), dims ``(trial, time | position, unit)``. The grid coordinate (bin centres, ``time`` in s
relative to the alignment event) lives at the root and is shared. With a field potential, ``theta_phase (trial, time)`` [rad]
labels the bins; NaN where it is not known. Samples, windows of recordings: ``activity (trial, window, bin, unit)`` with ``label``
and ``match (trial, window)``. Splits: ``part (split, trial)``, see :class:`Part`. Latents: ``latent_mean, latent_scale (replica,
trial, window, latent)``.

A modality that is not neural is a node too. An image has its pixels as positions, row by row (``attrs["extent"]``: rows and
columns), and its channels as units; a text its positions and its vocabulary, one-hot bytes; a vector one position. The grid of
such a node is its own.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from neuromvm.errors import ArgumentError, NeuromvmError, SchemaError, did_you_mean, expect, expect_choice

VERSION = "1"
ACTIVITY_NAMES = ("spike_count", "event_amplitude")
GRID_DIMS = ("time", "position")
THETA_PHASE = "theta_phase"
ACTIVITY_KIND = "activity_kind"  # attribute of activity: one of ACTIVITY_KINDS
EXTENT = "extent"  # attribute of images: rows and columns
MISSING_STEP = "Correct them, or set samples.missing (missing=... of arrays) to drop_trials or drop_units, which are counted"
LARGEST_COUNT = 2**32 - 1
LABEL_TYPES = (str, bool, int, float, np.bool_, np.integer, np.floating, np.datetime64, type(None))  # in arrays of objects
LABEL_VALUES = "numbers, true and false, times, or text; missing numbers are NaN, and missing text is '' or None"
TRIAL_TIMES = ("onset", "start_time", "stop_time")  # labels of trials that are times [s]
BLOCK = 2**22  # [bytes] of activity that are checked at a time
# Names that a network (torch.nn.ModuleDict) or the root of a tree uses itself
RESERVED_ANIMAL_NAMES = {
    *("T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "clear", "compile", "cpu"),
    *("cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state"),
    *("get_parameter", "get_submodule", "half", "ipu", "items", "keys", "load_state_dict", "modules", "mtia", "named_buffers"),
    *("named_children", "named_modules", "named_parameters", "parameters", "pop", "register_backward_hook", "register_buffer"),
    *("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook", "register_full_backward_pre_hook"),
    *("register_load_state_dict_post_hook", "register_load_state_dict_pre_hook", "register_module", "register_parameter"),
    *("register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_", "set_extra_state", "set_submodule"),
    *("share_memory", "state_dict", "to", "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad"),
    *GRID_DIMS,
}


class ActivityValues(NamedTuple):
    """What numbers a kind of activity holds: its ``variable`` in recordings, and whether they can be ``negative``.

    ``own_grid``: its bins are pixels or positions in a text, which other modalities need not have.
    """

    variable: str
    negative: bool
    own_grid: bool = False


# How each kind is binned, transformed and modelled: neuromvm.data.activity_kinds
ACTIVITY_KINDS = {
    "counts": ActivityValues("spike_count", negative=False),
    "rates": ActivityValues("event_amplitude", negative=False),
    "fluorescence": ActivityValues("event_amplitude", negative=True),
    "amplitudes": ActivityValues("event_amplitude", negative=False),
    "power": ActivityValues("event_amplitude", negative=False),
    "image": ActivityValues("event_amplitude", negative=True, own_grid=True),
    "tokens": ActivityValues("event_amplitude", negative=False, own_grid=True),
    "vector": ActivityValues("event_amplitude", negative=True, own_grid=True),
}
Missing = Literal["refuse", "drop_trials", "drop_units"]


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


def subjects(tree: xr.DataTree) -> NDArray[np.intp]:
    """Return a number for the subject of each node ``(animal,)``: nodes with the same ``subject_id`` are sessions of one animal.

    A node without a subject is one by itself. Where all nodes are of one subject, they are compared like animals.
    """
    names = [str(node.attrs.get("subject_id", "")) or f"/{name}" for name, node in tree.children.items()]
    number = {subject: number for number, subject in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names]) if len(number) > 1 else np.arange(len(names))


def other_animals(tree: xr.DataTree, target: str) -> list[str]:
    """Return the nodes that are of other subjects than ``target``."""
    names, numbers = list(tree.children), subjects(tree)
    return [name for name, number in zip(names, numbers, strict=True) if number != numbers[names.index(target)]]


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


def has_own_grid(values: xr.DataArray) -> bool:
    """Return whether the bins of activity are pixels or positions of its own, not times that all animals have."""
    kind = ACTIVITY_KINDS.get(values.attrs.get(ACTIVITY_KIND, ""))
    return kind is not None and kind.own_grid


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
    check_animal_names([name])
    return name


def check_animal_names(names: Iterable[str]) -> None:
    """Raise SchemaError, with all bad names in one message, unless each can be a tree node, a file and a module of a model.

    Names that differ in case only are bad too: some file systems do not tell them apart.
    """
    names = list(names)
    safe = safe_names(names)
    bad = [name for name in names if safe[name] != name]
    if bad:
        several = len(bad) > 1
        raise SchemaError(
            f"animal{'s' if several else ''} {', '.join(map(repr, bad))}",
            found=f"{'names' if several else 'a name'} that cannot be a tree node, file and module name",
            expected="1 to 100 letters, digits, '_', '+', '-', the first a letter or digit; no name of a part of a model or tree "
            "(type, train, time ...); names that differ in more than case",
            next_step=f"Rename: {', '.join(f'{name!r} to {safe[name]!r}' for name in bad)}; in a data spec under 'rename'",
        )


def safe_names(names: Iterable[str], separator: str = "-") -> dict[str, str]:
    """Return each name with one that can be an animal's: itself if possible; no two are alike, even without regard to case.

    Accents are left out, other signs become ``separator``, and names that are reserved or occur already get a word or number.

    >>> safe_names(["rat.1", "rat-1", "type", "Žofie"])
    {'rat.1': 'rat-1-2', 'rat-1': 'rat-1', 'type': 'animal-type', 'Žofie': 'Zofie'}
    """
    names = list(dict.fromkeys(names))
    safe: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if is_animal_name(name) and name.casefold() not in taken:
            safe[name] = name
            taken.add(name.casefold())
    for name in names:
        if name in safe:
            continue
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^A-Za-z0-9_+-]+", separator, plain).strip("-_+")[:80] or "animal"
        stem = stem if is_animal_name(stem) else f"animal{separator}{stem}"
        candidate, number = stem, 2
        while candidate.casefold() in taken:
            candidate, number = f"{stem}{separator}{number}", number + 1
        safe[name] = candidate
        taken.add(candidate.casefold())
    return {name: safe[name] for name in names}


def is_animal_name(name: str) -> bool:
    """Return whether a name can be a tree node, a file and a module of a model."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,99}", name) is not None and name not in RESERVED_ANIMAL_NAMES


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
    """Return the data account of an animal, ``attrs["dropped"]``; SchemaError is raised if that is something else."""
    account = dataset.attrs.get("dropped", "[]")
    try:
        return [Dropped(str(what), str(reason), int(count)) for what, reason, count in json.loads(account)]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise SchemaError(
            "attrs['dropped']",
            found=repr(account),
            expected="the account of what was left out, a JSON list of [what, reason, count]",
            next_step="Remove this attribute, or keep it under another name",
        ) from error


def with_dropped(dataset: xr.Dataset, lines: list[Dropped]) -> xr.Dataset:
    """Return the dataset with lines added to its account; lines with a count of zero are left out."""
    account = [line for line in [*dropped(dataset), *lines] if line.count]
    return dataset.assign_attrs(dropped=json.dumps(account))


def validate_recordings(tree: xr.DataTree, missing: Missing = "refuse") -> xr.DataTree:
    """Return recordings that are valid, whatever they come from: files, arrays in memory or trees from elsewhere.

    Parameters
    ----------
    tree
        One node an animal, see :mod:`neuromvm.schema`. Counts can be integers of any type, or floats without a fraction.
    missing
        What to do with activity that is NaN or infinite: refuse it by name, or leave out every trial, or every unit, in which
        it occurs; what is left out is counted in the account of the animal (:func:`dropped`).

    Returns
    -------
    The tree itself, or one without what was left out.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong type, or ``missing`` is unknown.
    SchemaError
        If names, dims, the grid, types or values are wrong; it names animal, trial and unit.
    """
    expect_choice(missing, get_args(Missing), "missing")
    check_structure(tree)
    complete = {name: _without_missing(name, dataset, missing) for name, dataset in animals(tree)}
    for name, dataset in complete.items():
        _check_values(name, activity(dataset))
    if all(complete[name].sizes == node.sizes for name, node in tree.children.items()):
        return tree
    nodes = {name: dataset.drop_vars(grid_dim(dataset), errors="ignore") for name, dataset in complete.items()}
    root = tree.to_dataset()
    inherited = {name: nodes[name] if grid_dim(complete[name]) in root.coords else complete[name] for name in complete}
    return xr.DataTree.from_dict({"/": root, **inherited})


def check_structure(tree: xr.DataTree) -> None:
    """Raise the errors of :func:`validate_recordings` for all but the values of activity, which are not read."""
    expect(tree, xr.DataTree, "recordings", 'Make them: load_recordings(load_data_spec("my_lab.yaml"))')
    if not tree.children:
        raise SchemaError("recordings", found="no animals", expected="one node an animal")
    check_animal_names(tree.children)
    for name, dataset in animals(tree):
        _check_dims(name, dataset)
        _check_labels(name, dataset)
        dropped(dataset)
    _check_grid(tree)


def _check_dims(name: str, dataset: xr.Dataset) -> None:
    """Raise SchemaError unless the activity of an animal has the dims, type and coordinates of recordings."""
    values, where = activity(dataset), f"recordings/{name}"
    if len(values.dims) != 3 or values.dims[0] != "trial" or values.dims[2] != "unit" or values.dims[1] not in GRID_DIMS:
        raise SchemaError(where, found=f"{values.name} with dims {values.dims}", expected="(trial, time | position, unit)")
    if not values.size:
        sizes = ", ".join(f"{size} {dim}s" for dim, size in values.sizes.items())
        raise SchemaError(where, found=f"{values.name} of {sizes}", expected="one of each, or more", next_step="Leave it out")
    if values.name == "spike_count" and values.dtype.kind not in "uifb":
        raise SchemaError(where, found=f"spike_count of type {values.dtype}", expected="whole numbers")
    one_hot = values.attrs.get(ACTIVITY_KIND) == "tokens" and values.dtype.kind == "u"
    if values.name == "event_amplitude" and values.dtype.kind != "f" and not one_hot:
        step = "Name counts spike_count; convert other numbers with .astype('float32')"
        raise SchemaError(where, found=f"event_amplitude of type {values.dtype}", expected="floats", next_step=step)
    _check_coordinates(where, dataset, values)


def _check_coordinates(where: str, dataset: xr.Dataset, values: xr.DataArray) -> None:
    """Raise SchemaError unless activity is of a known kind, and trials, units and bins have coordinates."""
    kind = values.attrs.get(ACTIVITY_KIND)
    kinds = [known for known, of in ACTIVITY_KINDS.items() if of.variable == values.name]
    if kind is not None and kind not in kinds:
        raise SchemaError(where, found=f"{values.name} of kind {kind!r}", expected=f"one of {', '.join(kinds)}")
    grid, unlabelled = str(values.dims[1]), [str(dim) for dim in ("trial", "unit") if dim not in dataset.coords]
    lacking = [f"dim {dim} without a coordinate" for dim in unlabelled]
    if grid not in dataset.coords or "bin_width" not in dataset[grid].attrs:
        lacking.insert(0, f"{grid} without {'bin_width' if grid in dataset.coords else 'bin centres and bin_width'}")
    if lacking:
        numbers = ", ".join(f"{dim}=range({values.sizes[dim]})" for dim in unlabelled)
        step = f"dataset.assign_coords({numbers}) and " if numbers else ""
        centres = f"tree.coords[{grid!r}] = ({grid!r}, start + bin_width * (numpy.arange({values.sizes[grid]}) + 0.5), "
        raise SchemaError(
            where,
            found=", ".join(lacking),
            expected=f"labels of trials and units, and at the root of the tree a coordinate {grid!r} of bin centres, the same "
            f"for all animals, with attrs['bin_width']{' [s]' if grid == 'time' else ''}",
            next_step=f"Make the tree with neuromvm.recordings_from_arrays(..., bin_width=...), or set {step}"
            f"{centres}{{'bin_width': bin_width}})",
        )


def _check_labels(name: str, dataset: xr.Dataset) -> None:
    """Raise SchemaError unless labels of trials and columns of units are numbers, true and false, times or text, or missing."""
    for key, coord in dataset.coords.items():
        if coord.dims not in (("trial",), ("unit",)):
            continue
        kinds, expected = ("iufMm", "seconds") if key in TRIAL_TIMES else ("biufUMm", LABEL_VALUES)
        lacking = [] if coord.dtype.kind in kinds else [str(coord.dtype)]
        if coord.dtype.kind == "O" and key not in TRIAL_TIMES:
            values = coord.to_numpy().tolist()
            lacking = sorted({type(value).__name__ for value in values if not isinstance(value, LABEL_TYPES)})
        if lacking:
            raise SchemaError(
                f"recordings/{name}: {coord.dims[0]} label {str(key)!r}",
                found=f"values of type {', '.join(lacking)}",
                expected=expected,
                next_step="Convert it, for example with .astype(str)" if expected == LABEL_VALUES else "Convert it, or rename it",
            )


def _check_grid(tree: xr.DataTree) -> None:
    """Raise SchemaError unless all animals have one grid of equal bins whose width is known; images and texts have their own."""
    grids = {name: (grid_dim(dataset), dataset) for name, dataset in animals(tree)}
    for name, (dim, dataset) in grids.items():
        check_bins(f"recordings/{name}: {dim}", dataset[dim])
    common = [(name, grid) for name, grid in grids.items() if not has_own_grid(activity(grid[1]))]
    if not common:
        return
    (first, (dim, dataset)), *others = common
    for name, (other_dim, other) in others:
        same = other_dim == dim and other.sizes[dim] == dataset.sizes[dim] and np.allclose(other[dim], dataset[dim], atol=1e-9)
        if not same or not math.isclose(other[dim].attrs["bin_width"], dataset[dim].attrs["bin_width"], rel_tol=1e-6):
            raise SchemaError(
                f"recordings/{name}",
                found=f"another grid than that of animal {first}",
                expected="the same bins in all animals",
                next_step="Cut all animals with one window and bin width",
            )


def checked_width(where: str, width: object) -> float:
    """Return the width of bins, or raise SchemaError unless it is a number above 0."""
    if isinstance(width, bool) or not isinstance(width, int | float | np.integer | np.floating) or not 0 < width < math.inf:
        raise SchemaError(where, found=f"bin_width {width!r}", expected="a number above 0")
    return float(width)


def check_bins(where: str, grid: xr.DataArray) -> None:
    """Raise SchemaError unless a grid is bin centres that rise by ``attrs["bin_width"]``."""
    width = checked_width(where, grid.attrs.get("bin_width"))
    if grid.ndim != 1 or not grid.size or grid.dtype.kind not in "iuf":
        raise SchemaError(where, found=f"a grid of shape {grid.shape} and type {grid.dtype}", expected="bin centres, numbers")
    centres = grid.to_numpy().astype(np.float64)
    rounding = 2 * float(np.spacing(np.abs(grid.to_numpy()).max())) if grid.dtype.kind == "f" else 0.0
    if not np.isfinite(centres).all() or (np.abs(np.diff(centres) - width) > 1e-3 * width + rounding).any():
        raise SchemaError(
            where,
            found=f"bin centres {', '.join(f'{centre:g}' for centre in centres[:4])} ... and a bin_width of {width:g}",
            expected="centres of bins that follow one another, one bin_width apart",
        )


def _without_missing(name: str, dataset: xr.Dataset, missing: Missing) -> xr.Dataset:
    """Return an animal without the trials or units that hold NaN or infinite activity, which are counted, or refuse it."""
    values = activity(dataset)
    if values.dtype.kind != "f":
        return dataset
    absent = np.zeros((values.sizes["trial"], values.sizes["unit"]), dtype=bool)
    for rows, block in _blocks(values):
        # sums of squares are finite if all numbers are of ordinary size, and need no array of their size
        with np.errstate(over="ignore", invalid="ignore"):  # what exceeds single precision counts as infinite
            if not np.float32(np.vdot(block, block)) < np.inf:
                absent[rows] = ~np.isfinite(block.astype(np.float32)).all(axis=1)
    if not absent.any():
        return dataset
    trials, units = dataset["trial"].to_numpy()[absent.any(axis=1)], dataset["unit"].to_numpy()[absent.any(axis=0)]
    where = f"recordings/{name}"
    problem = f"{values.name} is NaN or infinite in {_listed('trial', trials)}, {_listed('unit', units)}"
    if missing == "refuse":
        raise SchemaError(where, found=problem, expected="finite numbers", next_step=MISSING_STEP)
    dim, affected = ("trial", absent.any(axis=1)) if missing == "drop_trials" else ("unit", absent.any(axis=0))
    if affected.all():
        other = "drop_units" if dim == "trial" else "drop_trials"
        step = f"Correct the numbers, or set samples.missing to {other}"
        raise SchemaError(where, found=f"{problem}: no {dim} is left", expected=f"a {dim} without", next_step=step)
    complete = dataset.isel({dim: np.flatnonzero(~affected)})
    return with_dropped(complete, [Dropped(f"{dim}s", "activity is NaN or infinite", int(affected.sum()))])


def _listed(word: str, labels: NDArray[np.generic], most: int = 5) -> str:
    """Return "trial 3" or "7 trials: 3, 4, 5, 6, 8 ..."."""
    texts = ", ".join(str(label) for label in labels[:most].tolist())
    return f"{word} {texts}" if len(labels) == 1 else f"{len(labels)} {word}s: {texts}{' ...' if len(labels) > most else ''}"


def _check_values(name: str, values: xr.DataArray) -> None:
    """Raise SchemaError if counts have a fraction or are negative or huge, or activity is negative whose kind cannot be."""
    kind = "counts" if values.name == "spike_count" else values.attrs.get(ACTIVITY_KIND)
    if kind is None or ACTIVITY_KINDS[kind].negative or (values.dtype.kind in "ub" and values.dtype.itemsize <= 4):
        return
    for rows, block in _blocks(values):
        problem = _problem(block, counts=kind == "counts")
        if problem is None:
            continue
        trial, number, unit = (int(index[0]) for index in np.nonzero(problem.wrong))
        labels = f"trial {values['trial'].to_numpy()[rows][trial]}, unit {values['unit'].to_numpy()[unit]}, bin {number}"
        raise SchemaError(
            f"recordings/{name}",
            found=f"{values.name} ({kind}) of {block[trial, number, unit]:g} in {labels}",
            expected=problem.expected,
            next_step="Activity that is no count is event_amplitude, with attrs['activity_kind'] = 'rates', 'fluorescence', "
            "'amplitudes' or 'power'"
            if kind == "counts"
            else "Correct it, or set attrs['activity_kind'] = 'fluorescence', which can be negative",
        )


class _Problem(NamedTuple):
    """Which numbers of a block ``(trial, grid, unit)`` are wrong, and what they should be."""

    wrong: NDArray[np.bool_]
    expected: str


def _problem(block: NDArray[Any], *, counts: bool) -> _Problem | None:
    """Return what is wrong in a block of activity that cannot be negative, or None."""
    if not block.size:
        return None
    if block.dtype.kind in "if" and block.min() < 0:
        return _Problem(block < 0, "0 or more")
    if counts and block.dtype.kind == "f" and (fraction := block != np.floor(block)).any():
        return _Problem(fraction, "counts: whole numbers of spikes")
    if counts and float(block.max()) > LARGEST_COUNT:
        return _Problem(block > LARGEST_COUNT, f"a number of spikes in a bin, at most {LARGEST_COUNT}")
    return None


def _blocks(values: xr.DataArray) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield slices of trials with their activity, which may be in a file."""
    step = max(1, BLOCK * values.sizes["trial"] // max(1, values.nbytes))
    for start in range(0, values.sizes["trial"], step):
        rows = slice(start, start + step)
        yield rows, values[rows].to_numpy()


def can_be_negative(values: xr.DataArray) -> bool:
    """Return whether activity is negative somewhere."""
    return values.dtype.kind in "if" and any(bool(block.size) and float(block.min()) < 0 for _, block in _blocks(values))
