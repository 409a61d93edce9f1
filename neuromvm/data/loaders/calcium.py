"""Activity of a ``RoiResponseSeries``, averaged in time or position bins of each trial."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.bins import average_frames, times_in_windows
from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.clocks import Silences, silences
from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.labels import as_label, as_text, exclude, is_one_of, joint_coords, shown
from neuromvm.data.loaders.series import Series, read_series
from neuromvm.data.loaders.tables import read_table
from neuromvm.data.loaders.trials import FilterValues, Trials, in_holes
from neuromvm.data.loaders.units import check_spans, span
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import DataSpec, PositionGrid, RoiActivity, TimeGrid

FrameBins = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]  # trial, bin and number of each frame


@dataclass(frozen=True)
class Frames:
    """Activity ``(frame, unit)`` at sorted frame times [s], with the coordinates of its cells."""

    values: NDArray[np.floating]
    times: NDArray[np.float64]
    unit: str
    coords: xr.Dataset
    dropped: list[Dropped]
    filter_values: FilterValues = field(default_factory=dict)


def frames_dataset(file: ArrayTree, frames: Frames, spec: DataSpec, trials: Trials, long_name: str) -> xr.Dataset:
    """Return mean activity ``(trial, time | position, unit)``; trials with a bin without frames are dropped and counted.

    So are trials in a stretch of frames in which no unit changes, a hole as in :func:`~neuromvm.data.loaders.clocks.silences`.
    """
    grid = spec.grid
    if spec.clock == "check":
        check_spans(file, "frames", float(frames.times[0]), float(frames.times[-1]), trials)
    silent = in_holes(str(file.path), _unchanging(frames), trials.coords, grid, spec.trials.silences)
    frozen = Dropped("trials", "in a silence of all units", int(silent.sum()))
    trials = Trials(trials.coords.isel(trial=np.flatnonzero(~silent)), [*trials.dropped, frozen], trials.filter_values)
    if isinstance(grid, TimeGrid):
        dim = "time"
        indices = times_in_windows(frames.times, trials.onsets, grid.window[0], grid.bin_width, grid.bins)
        empty = f"a bin of {grid.bin_width:g} s has no frame"
    else:
        dim = "position"
        indices = _frames_in_laps(file, frames, grid, trials)
        empty = "a position bin was not visited"
    shape = (len(trials.onsets), grid.bins)
    where = f"{file.path}: {shape[0]} trials x {shape[1]} bins x {frames.values.shape[1]} cells"
    check_fits_memory(where, shape[0] * shape[1] * frames.values.shape[1] * 20, "Choose wider bins")
    visited = np.zeros(shape, dtype=bool)
    visited[indices[0], indices[1]] = True
    complete = visited.all(axis=1)
    _check_some_complete(file, frames, trials, visited, empty)
    means = average_frames(frames.values, *indices, shape)[complete]
    variables = {"event_amplitude": (("trial", dim, "unit"), means, {"units": frames.unit, "long_name": long_name})}
    coords = joint_coords(trials.coords.isel(trial=np.flatnonzero(complete)), frames.coords)
    lines = [*trials.dropped, Dropped("trials", empty, int((~complete).sum())), *frames.dropped]
    return with_dropped(xr.Dataset(variables, coords), lines)


def read_frames(file: ArrayTree, activity: RoiActivity) -> Frames:
    """Return a RoiResponseSeries; cells and frames that are not finite are left out and counted."""
    series = read_series(file, activity.series)
    values = series.values[:, None] if series.values.ndim == 1 else series.values
    if values.ndim != 2:
        raise DataFormatError(file.where(activity.series), found=f"data of shape {values.shape}", expected="(frame, cell)")
    coords, selected, filtered, filter_values = _cells(file, activity, values.shape[1])
    if not selected.all():
        values = values[:, selected]
    with np.errstate(over="ignore"):  # values outside the range of float32 count as not finite
        values = values.astype(np.float32, copy=False)
    finite = np.isfinite(values)
    known = finite.any(axis=0)
    usable = finite[:, known].all(axis=1) if known.any() else np.full(len(values), not selected.any())
    if not usable.any():
        raise DataFormatError(file.where(activity.series), found="no frame in which all cells are finite", expected="numbers")
    lines = [
        *series.dropped,
        *filtered,
        Dropped("units", "activity is never finite", int((~known).sum())),
        Dropped("frames", "activity of a cell is not finite", int((~usable).sum())),
    ]
    coords = coords.isel(unit=np.flatnonzero(selected)[known])
    return Frames(values[usable][:, known], series.times[usable], series.unit, coords, lines, filter_values)


def position_extremes(file: ArrayTree, grid: PositionGrid) -> tuple[float, float]:
    """Return the smallest and largest finite position in a file."""
    values = _positions(file, grid).values
    values = values[np.isfinite(values)]
    if not values.size:
        raise DataFormatError(file.where(grid.series), found="no finite position", expected="numbers")
    return float(values.min()), float(values.max())


def _cells(
    file: ArrayTree, activity: RoiActivity, cells: int
) -> tuple[xr.Dataset, NDArray[np.bool_], list[Dropped], FilterValues]:
    """Return the coordinates of the cells of a series: ids, table columns and, if known, the imaged region; and its filters.

    The filters are the mask ``(cell,)`` of those that ``activity.keep`` selects, the account and the values that it compared.
    """
    rois = f"{activity.series}/rois"
    table_path = file.attribute(rois, "table") if rois in file else None
    if table_path is None:
        if activity.keep:
            problem = f"no column {', '.join(activity.keep)}: the series does not refer to a table of cells (rois)"
            raise MissingTableError(file.where(activity.series), found=problem, next_step="Leave activity.keep out")
        return xr.Dataset(coords={"unit": np.arange(cells)}), np.ones(cells, dtype=bool), [], {}
    rows = file.numbers(rois).reshape(-1).astype(np.int64)
    table = read_table(file, table_path)
    if len(rows) != cells or (rows.size and (rows.min() < 0 or rows.max() >= len(table))):
        raise DataFormatError(
            file.where(rois),
            found=f"{len(rows)} rows of a table of {len(table)} cells for data with {cells} columns",
            expected="one row for each column of (frame, cell) data",
        )
    coords = xr.Dataset(coords={"unit": table.ids[rows]})
    coords = coords.assign_coords({name: ("unit", as_label(values)[rows]) for name, values in table.columns.items()})
    columns = {name: as_label(table.column(name, f"activity.keep.{name}"))[rows] for name in activity.keep}
    reasons = [
        (f"{name} is none of {shown(activity.keep[name])}", ~is_one_of(column, activity.keep[name]))
        for name, column in columns.items()
    ]
    selected, lines = exclude(np.ones(cells, dtype=bool), "units", reasons)
    filter_values = {("activity.keep", name): set(as_text(column).tolist()) for name, column in columns.items()}
    region = file.text(f"{table_path}/imaging_plane/location")
    coords = coords.assign_coords(region=("unit", np.full(cells, region))) if region else coords
    return coords, selected, lines, filter_values


def _unchanging(frames: Frames) -> Silences:
    """Return the stretches of frames in which no unit changes, by their times."""
    changing = np.flatnonzero((frames.values[1:] != frames.values[:-1]).any(axis=1)) + 1
    still_frames = silences(np.r_[0, changing, len(frames.times) - 1].astype(np.float64))
    holes = frames.times[still_frames.holes.astype(np.intp)]
    return Silences(holes, still_frames.ordinary * _period(frames.times), still_frames.recurring)


def _frames_in_laps(file: ArrayTree, frames: Frames, grid: PositionGrid, trials: Trials) -> FrameBins:
    """Return trial, position bin and number of the frames from start (included) to stop (excluded) of each trial."""
    low, high = grid.range or position_extremes(file, grid)
    position = _position_of_frames(_positions(file, grid), frames.times)
    slack = 1e-3 * _period(frames.times)
    starts = np.searchsorted(frames.times, trials.coords["start_time"].values - slack)
    stops = np.searchsorted(frames.times, trials.coords["stop_time"].values - slack)
    trial = np.repeat(np.arange(len(starts)), stops - starts)
    index = np.concatenate([np.empty(0, dtype=np.intp), *map(np.arange, starts, stops)])
    share = (position[index] - low) / (high - low)
    on_track = (share >= 0) & (share <= 1)  # False for NaN
    trial, index, share = trial[on_track], index[on_track], share[on_track]
    return trial, np.minimum((share * grid.bins).astype(np.intp), grid.bins - 1), index


def _positions(file: ArrayTree, grid: PositionGrid) -> Series:
    series = read_series(file, grid.series)
    if series.values.ndim == 2 and series.values.shape[1] == 1:
        return Series(series.values[:, 0], series.times, series.unit, series.dropped)
    if series.values.ndim != 1:
        raise DataFormatError(
            file.where(grid.series),
            found=f"positions of shape {series.values.shape}",
            expected="one coordinate along the track",
            next_step="Store the linearised position as a separate SpatialSeries",
        )
    return series


def _position_of_frames(series: Series, times: NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the position of the sample nearest to each frame, NaN if it is more than one sampling period away."""
    after = np.clip(np.searchsorted(series.times, times), 1, max(len(series.times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(series.times) - 1)
    nearest = np.where(times - series.times[before] <= series.times[after] - times, before, after)
    distant = np.abs(series.times[nearest] - times) > 1.001 * _period(series.times)
    return np.where(distant, np.nan, series.values[nearest])


def _period(times: NDArray[np.float64]) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def _check_some_complete(file: ArrayTree, frames: Frames, trials: Trials, visited: NDArray[np.bool_], empty: str) -> None:
    if not len(visited) or visited.all(axis=1).any():
        return
    begin, end = span(trials)
    raise AlignmentError(
        str(file.path),
        found=f"in every trial {empty}; frames from {frames.times[0]:.6g} to {frames.times[-1]:.6g} s, one every "
        f"{_period(frames.times):.3g} s, trials from {begin:.6g} to {end:.6g} s",
        expected="a frame in every bin of a trial",
        next_step="Choose wider bins, check grid.range or grid.window, and that all times are seconds of one clock",
    )
