"""Samples: windows of trials, in coarser bins than the recordings, each with a label and a match code.

A window is within one trial, and splits divide trials, so overlapping windows are on the same side of a split. Recordings are
read in blocks of trials, from memory, a mapped file, or a file that xarray has opened.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.activity_kinds import common_transform, kinds_of
from neuromvm.data.memory import MemoryBudget, row_blocks
from neuromvm.data.neighbours import warn_of_neighbours
from neuromvm.data.numeric_labels import different_numbers, looks_continuous
from neuromvm.errors import AlignmentError, SchemaError, expect
from neuromvm.schema import Dropped
from neuromvm.specs import SampleSpec

LOG = logging.getLogger(__name__)
WHOLE_BINS = "a whole number of the data's bins of {:g}"
WINDOW_CENTRE = "window_centre"  # trial label of samples in which every window is a trial
_ROW = "_row"  # not an identifier that labels may have


class WindowShape(NamedTuple):
    """Shape of the windows of one animal: ``bins`` of ``bin_width`` [s, or units of the position grid] and ``units``.

    ``extent``: rows and columns of an image, whose pixels are the bins, row by row; empty for all else.
    """

    bins: int
    units: int
    bin_width: float
    extent: tuple[int, ...] = ()

    @property
    def features(self) -> int:
        """Number of features: bins times units, bin-major."""
        return self.bins * self.units


def window_shape(samples: xr.Dataset) -> WindowShape:
    """Return the shape of an animal's windows."""
    activity = samples["activity"]
    extent = tuple(int(side) for side in np.atleast_1d(activity.attrs.get(schema.EXTENT, ())))
    return WindowShape(activity.sizes["bin"], activity.sizes["unit"], float(activity.attrs["bin_width"]), extent)


def make_samples(recordings: xr.DataTree, spec: SampleSpec) -> xr.DataTree:
    """Cut every trial into windows and label them.

    Parameters
    ----------
    recordings
        One node an animal, see :mod:`neuromvm.schema`.
    spec
        Windows, trial filter and labels.

    Returns
    -------
    One node an animal: ``activity (trial, window, bin, unit)``, ``label`` and ``match`` ``(trial, window)``, codes of
    ``attrs["classes"]``, which are the same in all animals. Counts are summed in each bin, other activity is averaged;
    ``attrs["activity_kind"]`` of activity says which kind it is (:mod:`neuromvm.data.activity_kinds`).

    Raises
    ------
    AlignmentError
        If windows exceed the grid or are not whole numbers of its bins.
    SchemaError
        If recordings are not valid (:func:`neuromvm.schema.validate_recordings`) or a transform does not fit their kind; if a
        label is unknown, no trial of an animal passes the filter, there is one class only, or a label has so many different
        numbers that most occur in a single trial. Where it has more than 20, with several trials each, a warning is logged.

    Warns in the log of windows that reach into neighbouring trials.
    """
    expect(recordings, xr.DataTree, "recordings", 'Make them: load_recordings(load_data_spec("my_lab.yaml"))')
    expect(spec, SampleSpec, "spec", 'Make one: SampleSpec(start=0, stop=1, label=["odor"])')
    recordings = schema.validate_recordings(recordings, spec.missing)
    animals = dict(schema.animals(recordings))
    recorded = {name: schema.activity(dataset) for name, dataset in animals.items()}
    kinds = kinds_of(recorded)
    spec = spec.model_copy(update={"transform": common_transform(kinds.values(), spec.transform)})
    windows = {name: Windows.of(dataset, spec) for name, dataset in animals.items()}
    chosen = {name: _select_trials(name, dataset, spec) for name, dataset in animals.items()}
    _check_few_numbers(chosen, spec.label)
    ends = next(iter(windows.values()))
    warn_of_neighbours(animals, ends.centres[0] - ends.width / 2, ends.centres[-1] + ends.width / 2)
    label_names = {name: _join_labels(name, dataset, windows[name], spec.label) for name, dataset in chosen.items()}
    match_names = {name: _join_labels(name, dataset, windows[name], spec.match_by) for name, dataset in chosen.items()}
    classes, matches = _classes(label_names.values()), _classes(match_names.values())
    if len(classes) < 2:
        raise SchemaError(
            f"label {' and '.join(spec.label)}",
            found=f"one class only: {classes}",
            expected="at least two",
            next_step="Choose another label or widen samples.keep",
        )
    nodes, memory = {}, MemoryBudget()
    for name, dataset in chosen.items():
        cut, values = windows[name], recorded[name]
        activity = cut.activity(values, dataset[_ROW].to_numpy(), memory)
        activity.attrs[schema.ACTIVITY_KIND] = kinds[name]
        node = dataset.drop_vars(_ROW).assign(activity=activity)
        node = node.assign_coords(window=("window", np.array(cut.centres), {"width": cut.width, "dim": str(values.dims[1])}))
        for variable, names, known in (("label", label_names, classes), ("match", match_names, matches)):
            codes = np.searchsorted(known, names[name]).astype(np.int16)
            node[variable] = (("trial", "window"), codes, {"classes": json.dumps(known)})
        nodes[name] = node
    attrs = {"classes": json.dumps(classes), "label": " and ".join(spec.label), "sample_spec": spec.model_dump_json()}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs={**recordings.attrs, **attrs}), **nodes})


def single_windows(samples: xr.DataTree) -> xr.DataTree:
    """Return samples in which every window is a trial of its own; samples with one window a trial are returned unchanged.

    Trial labels are repeated. ``of_trial (trial)`` is the trial that a window is from, ``window_centre (trial)`` its centre.
    """
    if all(node.sizes["window"] == 1 for node in samples.children.values()):
        return samples
    nodes = {name: _single_windows(dataset) for name, dataset in schema.animals(samples)}
    return xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes})


def single_window_splits(splits: xr.DataTree, samples: xr.DataTree) -> xr.DataTree:
    """Return the splits of ``samples`` for :func:`single_windows` of them: a window is on the side of its trial."""
    nodes = {}
    for name, dataset in schema.animals(splits):
        part = np.repeat(dataset["part"].to_numpy(), samples[name].sizes["window"], axis=1)
        coords = {"split": dataset["split"].to_numpy(), "trial": np.arange(part.shape[1])}
        nodes[name] = xr.Dataset({"part": (("split", "trial"), part, dataset["part"].attrs)}, coords)
    return xr.DataTree.from_dict({"/": splits.to_dataset(), **nodes})


def _single_windows(dataset: xr.Dataset) -> xr.Dataset:
    trials, windows = dataset.sizes["trial"], dataset.sizes["window"]
    of_trial = np.repeat(np.arange(trials), windows)
    variables = {}
    for key in ("activity", "label", "match"):
        variable = dataset[key].transpose("trial", "window", ...)
        values = variable.to_numpy().reshape(trials * windows, 1, *variable.shape[2:])
        variables[key] = (variable.dims, values, variable.attrs)
    labels = {
        str(key): ("trial", coord.to_numpy()[of_trial], coord.attrs)
        for key, coord in dataset.coords.items()
        if coord.dims == ("trial",) and key != "trial"
    }
    coords = {
        "trial": np.arange(trials * windows),
        "unit": dataset["unit"].to_numpy(),
        "window": ("window", [0.0], dataset["window"].attrs),
        "of_trial": ("trial", dataset["trial"].to_numpy()[of_trial]),
        WINDOW_CENTRE: ("trial", np.tile(dataset["window"].to_numpy(), trials)),
    }
    return xr.Dataset(variables, {**labels, **coords})


def classes(samples: xr.DataTree) -> list[str]:
    """Return the class names, in the order of the codes in ``label``."""
    return cast(list[str], json.loads(samples.attrs["classes"]))


def sample_spec(samples: xr.DataTree) -> SampleSpec:
    """Return the spec of the samples."""
    return SampleSpec.model_validate_json(samples.attrs["sample_spec"])


def make_path_samples(recordings: xr.DataTree, spec: SampleSpec) -> xr.DataTree | None:
    """Return samples in training windows that slide by ``spec.path_step`` over the whole grid; without ``path_step``, None."""
    if spec.path_step is None:
        return None
    recordings = schema.validate_recordings(recordings, spec.missing)
    dataset = next(dataset for _, dataset in schema.animals(recordings))
    windows = Windows.of(dataset, spec)
    fine = float(dataset[schema.grid_dim(dataset)].attrs["bin_width"])
    if abs(spec.path_step / fine - round(spec.path_step / fine)) > 1e-3:
        raise AlignmentError("samples.path_step", found=f"{spec.path_step:g}", expected=WHOLE_BINS.format(fine))
    sliding = {"start": None, "stop": None, "width": windows.width, "step": spec.path_step}
    return make_samples(recordings, spec.model_copy(update=sliding))


@dataclass(frozen=True)
class Windows:
    """Windows of an animal, of ``bins`` that each merge ``merged`` bins of the grid; ``starts`` in bins of the grid."""

    starts: tuple[int, ...]
    bins: int
    merged: int
    centres: tuple[float, ...]
    width: float

    @classmethod
    def of(cls, dataset: xr.Dataset, spec: SampleSpec) -> "Windows":
        """Return the windows of a spec, which are whole bins within the grid of an animal."""
        grid = dataset[schema.grid_dim(dataset)]
        fine = float(grid.attrs["bin_width"])
        low, high = float(grid[0]) - fine / 2, float(grid[-1]) + fine / 2
        start = low if spec.start is None else spec.start
        stop = high if spec.stop is None else spec.stop
        width = stop - start if spec.width is None else spec.width
        step = width if spec.step is None else spec.step
        whole_window = fine if schema.has_own_grid(schema.activity(dataset)) else width
        coarse = whole_window if spec.bin_width is None else spec.bin_width
        if start < low - 1e-6 or stop > high + 1e-6 or stop - start < width - 1e-6:
            raise AlignmentError(
                "samples",
                found=f"windows of {width:g} from {start:g} to {stop:g}",
                expected=f"windows inside the grid {low:g} to {high:g}",
                next_step="Change samples.start, stop or width, or the window of the data spec",
            )
        whole = {}
        for setting, length in (("start", start - low), ("width", width), ("step", step), ("bin_width", coarse)):
            whole[setting] = round(length / fine)
            if abs(length / fine - whole[setting]) > 1e-3 or (setting != "start" and not whole[setting]):
                raise AlignmentError(f"samples.{setting}", found=f"{length:g}", expected=WHOLE_BINS.format(fine))
        if whole["width"] % whole["bin_width"]:
            raise AlignmentError("samples.bin_width", found=f"{coarse:g}", expected=f"a divisor of the window, {width:g}")
        spare = round((stop - start) / fine) - whole["width"]
        starts = tuple(whole["start"] + shift for shift in range(0, spare + 1, whole["step"]))
        centres = tuple(round(low + begin * fine + width / 2, 9) for begin in starts)
        return cls(starts, whole["width"] // whole["bin_width"], whole["bin_width"], centres, width)

    def activity(self, values: xr.DataArray, trials: NDArray[np.integer], memory: MemoryBudget) -> xr.DataArray:
        """Return the windows ``(trial, window, bin, unit)`` of sorted ``trials (trial,)`` of ``values (trial, grid, unit)``."""
        activity = memory.concatenate(len(trials), self._blocks(values, trials))
        attrs = {**values.attrs, "kind": str(values.name), "bin_width": self.width / self.bins}
        return xr.DataArray(activity, dims=("trial", "window", "bin", "unit"), attrs=attrs)

    def _blocks(self, values: xr.DataArray, trials: NDArray[np.integer]) -> Iterator[NDArray[np.generic]]:
        """Yield the windows of blocks of trials; counts have the narrowest type for the block."""
        begin, end = self.starts[0], self.starts[-1] + self.bins * self.merged
        for rows in row_blocks(values.sizes["trial"], values.nbytes // max(1, values.sizes["trial"])):
            chosen = trials[np.searchsorted(trials, rows.start) : np.searchsorted(trials, rows.stop)] - rows.start
            if len(chosen) or rows.start == 0:
                block = values[rows, begin:end].to_numpy()
                block = block if len(chosen) == len(block) else block[chosen]
                yield self._merged(as_unsigned(block) if values.name == "spike_count" else block)

    def _merged(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the windows of ``(trial, bin of the grid, unit)``, an array that begins with the first window.

        Unsigned integers, which are counts, are summed in each bin, and floats averaged.
        """
        length = self.bins * self.merged
        offsets = [start - self.starts[0] for start in self.starts]
        stacked = np.stack([array[:, offset : offset + length] for offset in offsets], axis=1)
        bins = stacked.reshape(*stacked.shape[:2], self.bins, self.merged, stacked.shape[3])
        if array.dtype.kind != "u":
            return np.asarray(bins.mean(axis=3, dtype=np.float32))
        merged = (
            bins[:, :, :, 0]
            if self.merged == 1
            else bins.sum(axis=3, dtype=np.uint32 if array.dtype.itemsize <= 2 else np.uint64)
        )
        return np.asarray(merged.astype(np.min_scalar_type(int(merged.max(initial=0))), copy=False))


def as_unsigned(counts: NDArray[np.generic]) -> NDArray[np.unsignedinteger]:
    """Return counts, whole numbers of any type, as unsigned integers: unchanged, or of the narrowest type."""
    if counts.dtype.kind == "u":
        return cast(NDArray[np.unsignedinteger], counts)
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def _select_trials(name: str, dataset: xr.Dataset, spec: SampleSpec) -> xr.Dataset:
    """Return the trials of an animal that pass the filters of a spec, without activity; ``_ROW``: their numbers in the recording.

    Trials in which a label that is decoded or matched is missing ('' or NaN) are left out and counted.
    """
    dataset = dataset.drop_dims(schema.grid_dim(dataset)).assign({_ROW: ("trial", np.arange(dataset.sizes["trial"]))})
    for label, allowed in spec.keep.items():
        values = _as_text(schema.trial_label(name, dataset, label).to_numpy())
        selected = np.isin(values, _as_text(np.array(allowed, dtype=object)))
        if not selected.any():
            problem = f"no trial with {label} in {allowed}; the values are {sorted(set(values.tolist()))[:20]}"
            raise SchemaError(f"animal {name}", found=problem, next_step="Change samples.keep")
        dataset = _leave_out(dataset, ~selected, f"{label} is not in {allowed}")
    for label in dict.fromkeys([*spec.label, *spec.match_by]):
        if label != "window":
            missing = np.isin(_as_text(schema.trial_label(name, dataset, label).to_numpy()), ["", "nan"])
            if missing.all():
                problem = f"no trial with a value of {label}"
                raise SchemaError(
                    f"animal {name}", found=problem, next_step="Choose another label, or leave it out with data.animals"
                )
            dataset = _leave_out(dataset, missing, f"{label} has no value")
    return dataset


def _check_few_numbers(chosen: Mapping[str, xr.Dataset], labels: list[str]) -> None:
    """Warn of a label that looks continuous; raise SchemaError if most of its values occur in a single trial."""
    for label in labels:
        for animal, dataset in chosen.items() if label != "window" else ():
            values = dataset[label].to_numpy()
            if not looks_continuous(values):
                continue
            numbers = different_numbers(values)
            problem = f"{len(numbers)} different numbers from {numbers[0]:g} to {numbers[-1]:g} in animal {animal}"
            advice = f"To predict the number itself, write 'analyses: {{continuous: {{label: {label}}}}}'"
            if len(values) < 2 * len(numbers):
                raise SchemaError(
                    f"samples.label={label}",
                    found=f"{problem}, most of them in one trial",
                    expected="classes with several trials each; this label looks continuous",
                    next_step=f"{advice}, and in samples.label a label with few classes, such as a condition, or 'window'",
                )
            LOG.warning(
                "samples.label=%s: %s. It looks continuous and is decoded as that many classes. %s.", label, problem, advice
            )
            break


def _leave_out(dataset: xr.Dataset, trials: NDArray[np.bool_], reason: str) -> xr.Dataset:
    return schema.with_dropped(dataset.isel(trial=~trials), [Dropped("trial", reason, int(trials.sum()))])


def _as_text(values: NDArray[np.generic]) -> NDArray[np.str_]:
    """Return values as text, with True, 1 and 1.0 as "1", so that filters do not depend on their type; missing ones are ''."""
    texts = []
    for value in values:
        if pd.isna(value):
            texts.append("")
            continue
        whole = isinstance(value, bool | np.bool_) or (isinstance(value, float | np.floating) and float(value).is_integer())
        texts.append(str(int(value)) if whole else str(value))
    return np.array(texts)


def _join_labels(name: str, dataset: xr.Dataset, windows: Windows, labels: list[str]) -> NDArray[np.str_]:
    """Return the class name of every sample ``(trial, window)``."""
    parts = []
    for label in labels:
        if label == "window":
            values = np.array([f"{centre:g}" for centre in windows.centres])[None, :]
        else:
            values = _as_text(schema.trial_label(name, dataset, label).to_numpy())[:, None]
        parts.append(np.broadcast_to(values, (dataset.sizes["trial"], len(windows.centres))))
    joined = [", ".join(row) for trial in zip(*parts, strict=True) for row in zip(*trial, strict=True)]
    return np.array(joined, dtype=str).reshape(dataset.sizes["trial"], len(windows.centres))


def _classes(names: Iterable[np.ndarray]) -> list[str]:
    return sorted({str(name) for array in names for name in array.ravel()})
