"""From trials on a fine grid to samples: windows of coarser bins, with a label and a match code each.

Windows never leave their trial, and a split is made on trials, so windows that overlap cannot cross a split. Recordings are read
a block of trials after the other, wherever they are: in memory, mapped, or in a file that xarray has opened.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.memory import Room, row_blocks
from neuromvm.errors import AlignmentError, SchemaError, did_you_mean, expect
from neuromvm.schema import Dropped
from neuromvm.specs import SampleSpec


class WindowShape(NamedTuple):
    """What a window of one animal holds: ``bins`` of ``bin_width`` [s, or units of the position grid] for each of ``units``."""

    bins: int
    units: int
    bin_width: float

    @property
    def features(self) -> int:
        """Number of features: bins times units, bin-major."""
        return self.bins * self.units


def window_shape(samples: xr.Dataset) -> WindowShape:
    """Return the shape of an animal's windows."""
    activity = samples["activity"]
    return WindowShape(activity.sizes["bin"], activity.sizes["unit"], float(activity.attrs["bin_width"]))


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
    One node an animal: ``activity (trial, window, bin, unit)``, ``label`` and ``match`` ``(trial, window)`` as codes into
    ``attrs["classes"]``, which all animals share. Counts are summed in each bin, amplitudes averaged.

    Raises
    ------
    AlignmentError
        If windows leave the grid or are not whole numbers of its bins.
    SchemaError
        If a label is unknown, the filter leaves an animal without trials, or there is one class only.
    """
    expect(recordings, xr.DataTree, "recordings", 'Make them: load_recordings(load_data_spec("my_lab.yaml"))')
    expect(spec, SampleSpec, "spec", 'Make one: SampleSpec(start=0, stop=1, label=["odor"])')
    animals = dict(schema.animals(recordings))
    windows = {name: Windows.of(dataset, spec) for name, dataset in animals.items()}
    chosen = {name: _keep_trials(name, _without_activity(dataset), spec) for name, dataset in animals.items()}
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
    nodes, room = {}, Room()
    for name, dataset in chosen.items():
        placed, values = windows[name], schema.activity(animals[name])
        node = dataset.drop_vars(_ROW).assign(activity=placed.cut(values, dataset[_ROW].to_numpy(), room))
        node = node.assign_coords(
            window=("window", np.array(placed.centres), {"width": placed.width, "dim": str(values.dims[1])})
        )
        for variable, names, known in (("label", label_names, classes), ("match", match_names, matches)):
            codes = np.searchsorted(known, names[name]).astype(np.int16)
            node[variable] = (("trial", "window"), codes, {"classes": json.dumps(known)})
        nodes[name] = node
    return xr.DataTree(
        dataset=xr.Dataset(
            attrs={
                **recordings.attrs,
                "classes": json.dumps(classes),
                "label": " and ".join(spec.label),
                "sample_spec": spec.model_dump_json(),
            }
        ),
        children={name: xr.DataTree(node) for name, node in nodes.items()},
    )


def classes(samples: xr.DataTree) -> list[str]:
    """Return the class names, in the order of the codes in ``label``."""
    return cast(list[str], json.loads(samples.attrs["classes"]))


def sample_spec(samples: xr.DataTree) -> SampleSpec:
    """Return the spec that the samples were made with."""
    return SampleSpec.model_validate_json(samples.attrs["sample_spec"])


def make_path_samples(recordings: xr.DataTree, spec: SampleSpec) -> xr.DataTree | None:
    """Slide the training window over the whole grid, so that an encoder can be followed in time; None if not asked for.

    The windows have the width and bins of the training windows, ``spec.path_step`` apart; labels are those of the trials.
    """
    if spec.path_step is None:
        return None
    dataset = next(dataset for _, dataset in schema.animals(recordings))
    windows = Windows.of(dataset, spec)
    fine = float(dataset[schema.grid_dim(dataset)].attrs["bin_width"])
    if abs(spec.path_step / fine - round(spec.path_step / fine)) > 1e-3:
        found, expected = f"{spec.path_step:g}", f"a whole number of the data's bins of {fine:g}"
        raise AlignmentError("samples.path_step", found=found, expected=expected)
    along = {"start": None, "stop": None, "width": windows.width, "step": spec.path_step}
    return make_samples(recordings, spec.model_copy(update=along))


@dataclass(frozen=True)
class Windows:
    """Windows in units of the bins of the grid."""

    starts: tuple[int, ...]
    bins: int  # in a window
    merged: int  # grid bins in a bin
    centres: tuple[float, ...]
    width: float

    @classmethod
    def of(cls, dataset: xr.Dataset, spec: SampleSpec) -> "Windows":
        """Place the windows of a spec on the grid of an animal; everything must be whole bins inside the grid."""
        grid = dataset[schema.grid_dim(dataset)]
        fine = float(grid.attrs["bin_width"])
        first, last = float(grid[0]) - fine / 2, float(grid[-1]) + fine / 2
        start = first if spec.start is None else spec.start
        stop = last if spec.stop is None else spec.stop
        width = stop - start if spec.width is None else spec.width
        step = width if spec.step is None else spec.step
        coarse = width if spec.bin_width is None else spec.bin_width
        if start < first - 1e-6 or stop > last + 1e-6 or stop - start < width - 1e-6:
            raise AlignmentError(
                "samples",
                found=f"windows of {width:g} from {start:g} to {stop:g}",
                expected=f"windows inside the grid {first:g} to {last:g}",
                next_step="Change samples.start, stop or width, or the window of the data spec",
            )
        whole = {}
        for setting, length in (("start", start - first), ("width", width), ("step", step), ("bin_width", coarse)):
            whole[setting] = round(length / fine)
            if abs(length / fine - whole[setting]) > 1e-3:
                raise AlignmentError(
                    f"samples.{setting}", found=f"{length:g}", expected=f"a whole number of the data's bins of {fine:g}"
                )
        if whole["width"] % whole["bin_width"]:
            raise AlignmentError("samples.bin_width", found=f"{coarse:g}", expected=f"a divisor of the window, {width:g}")
        spare = round((stop - start) / fine) - whole["width"]
        starts = tuple(whole["start"] + shift for shift in range(0, spare + 1, whole["step"]))
        centres = tuple(round(first + begin * fine + width / 2, 9) for begin in starts)
        return cls(starts, whole["width"] // whole["bin_width"], whole["bin_width"], centres, width)

    def cut(self, values: xr.DataArray, trials: NDArray[np.integer], room: Room) -> xr.DataArray:
        """Cut some ``trials (trial,)``, in order, of ``(trial, grid, unit)`` into ``(trial, window, bin, unit)``."""
        activity = room.filled(len(trials), self._blocks(values, trials))
        return xr.DataArray(
            activity,
            dims=("trial", "window", "bin", "unit"),
            attrs={**values.attrs, "kind": str(values.name), "bin_width": self.width / self.bins},
        )

    def _blocks(self, values: xr.DataArray, trials: NDArray[np.integer]) -> Iterator[NDArray[np.generic]]:
        """Yield windows of a few trials after the other, counts in the narrowest type that holds those of the block."""
        begin, end = self.starts[0], self.starts[-1] + self.bins * self.merged
        for rows in row_blocks(values.sizes["trial"], values.nbytes // max(1, values.sizes["trial"])):
            wanted = trials[np.searchsorted(trials, rows.start) : np.searchsorted(trials, rows.stop)] - rows.start
            if len(wanted) or rows.start == 0:
                read = values[rows, begin:end].to_numpy()
                yield self._merged(read if len(wanted) == len(read) else read[wanted])

    def _merged(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Cut ``(trial, bin of the grid, unit)``, which begins where the first window does."""
        length = self.bins * self.merged
        first = self.starts[0]
        stacked = np.stack([array[:, begin - first : begin - first + length] for begin in self.starts], axis=1)
        bins = stacked.reshape(*stacked.shape[:2], self.bins, self.merged, stacked.shape[3])
        if array.dtype.kind != "u":
            return np.asarray(bins.mean(axis=3, dtype=np.float32))
        merged = bins[:, :, :, 0] if self.merged == 1 else bins.sum(axis=3, dtype=np.uint32)
        return np.asarray(merged.astype(np.min_scalar_type(int(merged.max(initial=0))), copy=False))


_ROW = "_row"  # of the recording, while its trials are chosen; no label can be called so


def _without_activity(dataset: xr.Dataset) -> xr.Dataset:
    """Return what is known of trials and units, so that trials are chosen before any activity is read."""
    return dataset.drop_dims(schema.grid_dim(dataset)).assign({_ROW: ("trial", np.arange(dataset.sizes["trial"]))})


def _keep_trials(name: str, dataset: xr.Dataset, spec: SampleSpec) -> xr.Dataset:
    for label, wanted in spec.keep.items():
        values = _canonical(_trial_label(name, dataset, label).to_numpy())
        kept = np.isin(values, _canonical(np.array(wanted, dtype=object)))
        if not kept.any():
            raise SchemaError(
                f"animal {name}",
                found=f"no trial with {label} in {wanted}; the values are {sorted(set(values.tolist()))[:20]}",
                next_step="Change samples.keep",
            )
        dataset = schema.with_dropped(
            dataset.isel(trial=kept), [Dropped("trial", f"{label} is not in {wanted}", int((~kept).sum()))]
        )
    return _drop_unlabelled(name, dataset, spec)


def _drop_unlabelled(name: str, dataset: xr.Dataset, spec: SampleSpec) -> xr.Dataset:
    """Leave out trials that lack a label that is decoded or matched; a missing one is '' or NaN."""
    for label in dict.fromkeys([*spec.label, *spec.match_by]):
        if label == "window":
            continue
        missing = np.isin(_canonical(_trial_label(name, dataset, label).to_numpy()), ["", "nan"])
        lines = [Dropped("trial", f"{label} has no value", int(missing.sum()))]
        dataset = schema.with_dropped(dataset.isel(trial=~missing), lines)
    return dataset


def _trial_label(name: str, dataset: xr.Dataset, label: str) -> xr.DataArray:
    known = sorted(str(key) for key, coord in dataset.coords.items() if coord.dims == ("trial",))
    if label not in known:
        raise SchemaError(f"animal {name}", found=f"no trial label {label!r}", next_step=did_you_mean(label, known))
    return dataset[label]


def _canonical(values: np.ndarray) -> np.ndarray:
    """Write True, 1 and 1.0 alike, so that a filter means what it says whatever type the file stored."""

    def one(value: object) -> str:
        if isinstance(value, bool | np.bool_):
            return str(int(value))
        if isinstance(value, float | np.floating) and float(value).is_integer():
            return str(int(value))
        return str(value)

    return np.array([one(value) for value in values])


def _join_labels(name: str, dataset: xr.Dataset, windows: Windows, labels: list[str]) -> np.ndarray:
    """Return the class name of every sample ``(trial, window)``."""
    parts = []
    for label in labels:
        if label == "window":
            values = np.array([f"{centre:g}" for centre in windows.centres])[None, :]
        else:
            values = _canonical(_trial_label(name, dataset, label).to_numpy())[:, None]
        parts.append(np.broadcast_to(values, (dataset.sizes["trial"], len(windows.centres))))
    joined = [", ".join(row) for trial in zip(*parts, strict=True) for row in zip(*trial, strict=True)]
    return np.array(joined, dtype=str).reshape(dataset.sizes["trial"], len(windows.centres))


def _classes(names: Iterable[np.ndarray]) -> list[str]:
    return sorted({str(name) for array in names for name in array.ravel()})
