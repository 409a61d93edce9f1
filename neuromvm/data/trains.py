"""Recordings of spike trains and a table of trials in memory, and the times of their bins on the clock of the session."""

from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.bins import bin_centres, count_spikes
from neuromvm.data.loaders.labels import as_label, exclude, joint_coords
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError, SpecError, did_you_mean
from neuromvm.schema import Dropped, activity, check_animal_name, validate_recordings, with_dropped
from neuromvm.specs.data import RESERVED_LABELS, TimeGrid

EDGE = 1e-6  # [s] slack at the ends of intervals


def imported(package: str, extra: str) -> ModuleType:
    """Return an optional package, or raise ArgumentError with the extra that installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        next_step = f"Install it: pip install 'neuromvm[{extra}]'"
        raise ArgumentError(f"package {package}", found="not installed", next_step=next_step) from error


def grid_of_windows(align: str, window: tuple[float, float], bin_width: float) -> TimeGrid:
    """Return a time grid, or raise AlignmentError unless the window is a positive whole number of bins."""
    try:
        return TimeGrid(align=align, window=window, bin_width=bin_width)
    except SpecError as error:
        problem = f"window {window!r} s, bins of {bin_width!r} s"
        raise AlignmentError("argument 'window'", found=problem, expected="a positive whole number of bins") from error


def check_animals(name: str, sessions: Mapping[str, Any], trials: Mapping[str, Any]) -> None:
    """Raise ArgumentError or SchemaError unless ``sessions``, the argument ``name``, and trials are dicts of the same animals."""
    for argument_name, argument in ((name, sessions), ("trials", trials)):
        if not isinstance(argument, Mapping) or not argument:
            problem = f"a {type(argument).__name__}" if argument else "no animals"
            raise ArgumentError(f"argument {argument_name!r}", found=problem, expected="a dict, animal -> object")
    if set(sessions) != set(trials):
        odd = ", ".join(sorted(map(str, set(sessions) ^ set(trials))))
        raise SchemaError("recordings", found=f"animals with units or with trials only: {odd}", expected="both of every animal")


def session_of_trains(
    animal: str,
    trains: Mapping[Hashable, NDArray[np.floating]],
    columns: Mapping[str, NDArray[Any]],
    trials: pd.DataFrame,
    align: str,
    grid: TimeGrid,
    observed: NDArray[np.float64] | None = None,
) -> xr.Dataset:
    """Return spike counts ``(trial, time, unit)`` of an animal.

    ``trains``: unit -> times [s]; ``columns`` of units; ``trials``: ``align`` and other times [s], and labels; ``observed
    (interval, 2)``: when the session was recorded [s], by default not known. Trials without an event or outside are dropped.
    """
    check_animal_name(animal)
    if align not in trials:
        next_step = did_you_mean(align, [str(name) for name in trials.columns])
        raise SchemaError(f"animal {animal}: trials", found=f"no column {align!r}", next_step=next_step)
    onsets = _seconds(animal, align, trials[align])
    start, stop = grid.window
    outside = np.zeros(len(onsets), dtype=bool)
    if observed is not None:
        begins, ends = onsets[:, None] + start >= observed[:, 0] - EDGE, onsets[:, None] + stop <= observed[:, 1] + EDGE
        outside = np.isfinite(onsets) & ~(begins & ends).any(axis=1)
    reasons = [(f"{align} is NaN", ~np.isfinite(onsets)), ("window outside the recording", outside)]
    kept, lines = exclude(np.ones(len(onsets), dtype=bool), "trials", reasons)
    if not kept.any():
        problem = "; ".join(f"{line.count} where {line.reason}" for line in lines if line.count) or "no trials"
        raise AlignmentError(f"animal {animal}", found=problem, expected="events in seconds on the clock of the spikes")
    times, odd = [], 0
    for train in trains.values():
        values = np.asarray(train, dtype=np.float64)
        odd += int((~np.isfinite(values)).sum())
        times.append(np.sort(values[np.isfinite(values)]))
    counts = count_spikes(times, onsets[kept], start, grid.bin_width, grid.bins)
    labels = {str(name): values.to_numpy()[kept] for name, values in trials.items()}
    coords = {"trial": np.arange(len(onsets))[kept], "onset": ("trial", onsets[kept], {"units": "s"})}
    coords |= {name: ("trial", _label(animal, name, values)) for name, values in labels.items() if name != "onset"}
    ids = [*trains]
    names = np.array(ids) if all(isinstance(unit, int | np.integer) for unit in ids) else np.array([str(unit) for unit in ids])
    units = xr.Dataset(coords={"unit": names, **{name: ("unit", as_label(values)) for name, values in columns.items()}})
    variables = {"spike_count": (("trial", "time", "unit"), counts, {"long_name": "spikes in the bin"})}
    dataset = xr.Dataset(variables, joint_coords(xr.Dataset(coords=coords), units))
    return with_dropped(dataset, [*lines, Dropped("spikes", "time is not finite", odd)])


def tree_of_sessions(nodes: Mapping[str, xr.Dataset], grid: TimeGrid, align: str) -> xr.DataTree:
    """Return the recordings of animals on a grid, checked."""
    attrs = {"units": "s", "long_name": f"time from {align}, bin centres", "bin_width": grid.bin_width}
    centres = np.round(bin_centres(grid.window[0], grid.bin_width, grid.bins), 12)
    root = xr.Dataset(coords={"time": xr.Variable("time", centres, attrs)})
    return validate_recordings(xr.DataTree.from_dict({"/": root, **nodes}))


def session_times(recordings: xr.DataTree, animal: str) -> tuple[xr.Dataset, NDArray[np.float64], float]:
    """Return an animal, the centres of its bins ``(trial, bin)`` on the clock of the session [s], and the bin width [s].

    Raises
    ------
    SchemaError
        If there is no such animal, or its trials have no onset on a time grid.
    AlignmentError
        If windows of trials overlap: their spikes would be there twice.
    """
    if animal not in recordings.children:
        next_step = did_you_mean(animal, list(recordings.children))
        raise SchemaError("recordings", found=f"no animal {animal!r}", next_step=next_step)
    dataset = recordings[animal].to_dataset()
    if "onset" not in dataset.coords or activity(dataset).dims[1] != "time":
        raise SchemaError(f"animal {animal}", found="no onset of trials on a time grid", expected="times in the session")
    width = float(dataset["time"].attrs["bin_width"])
    times = dataset["onset"].to_numpy()[:, None] + dataset["time"].to_numpy()
    order = np.argsort(times[:, 0])
    overlapping = int((times[order[1:], 0] - times[order[:-1], -1] < width - EDGE).sum())
    if overlapping:
        raise AlignmentError(
            f"animal {animal}",
            found=f"{overlapping} windows that overlap the next one",
            expected="windows apart, since spikes in two of them would be there twice",
            next_step="Narrow the window",
        )
    return dataset, times, width


def plain_columns(names: Sequence[Any], values_of: Any, rows: int) -> dict[str, NDArray[Any]]:
    """Return the columns of units with one text, number or bool for each of ``rows`` units."""
    columns = {}
    for name in names:
        values = np.asarray(values_of(name))
        if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):
            values = values.astype(str)
        if values.shape == (rows,) and values.dtype.kind in "biufU" and str(name).isidentifier():
            columns[str(name)] = values
    return columns


def _label(animal: str, name: str, values: NDArray[Any]) -> NDArray[Any]:
    if not name.isidentifier() or name in RESERVED_LABELS - {"start_time", "stop_time"}:
        raise SchemaError(
            f"animal {animal}: trials", found=f"the column {name!r}", expected="letters, digits and '_', not reserved"
        )
    if values.dtype.kind not in "biuf":
        missing = pd.isna(values)
        values = np.where(missing, "", values).astype(str)
    return as_label(values) if name not in {"start_time", "stop_time"} else values.astype(np.float64)


def _seconds(animal: str, name: str, values: pd.Series) -> NDArray[np.float64]:
    if values.dtype.kind not in "iuf":
        raise SchemaError(f"animal {animal}: trials", found=f"{name!r} of type {values.dtype}", expected="numbers of seconds")
    return values.to_numpy().astype(np.float64)
