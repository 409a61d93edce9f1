"""Units of a ``Units`` table: sorted spike times, columns and regions, and in which windows they were recorded."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.clocks import EDGE, FEWEST_TIMES, Silences, silences, starts_again
from neuromvm.data.loaders.conditions import unmet
from neuromvm.data.loaders.labels import as_label, as_text, exclude, is_one_of, shown
from neuromvm.data.loaders.tables import LONGEST_LABEL, Table, column_names, is_long_text, linked_text, read_ragged, read_table
from neuromvm.data.loaders.trials import FilterValues, Trials
from neuromvm.data.loaders.unit_quality import judge_units
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError
from neuromvm.schema import Dropped
from neuromvm.specs.data import QualityFilter, SpikeActivity, TimeGrid

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extent:
    """Times of the spikes of all units of a file [s], which show when the recording ran and in which unit times are."""

    start: float
    stop: float
    longest_silence: float
    median_count: float  # spikes of a unit that fires
    silences: Silences


@dataclass(frozen=True)
class Units:
    """Units that pass the filters; ``observed``: intervals ``(interval, 2)`` [s] of each unit, or None if unknown."""

    coords: xr.Dataset
    times: list[NDArray[np.float64]]
    observed: list[NDArray[np.float64]] | None
    extent: Extent | None
    dropped: list[Dropped]
    filter_values: FilterValues

    def select(self, rows: NDArray[np.intp]) -> "Units":
        """Return the units at positions ``rows``."""
        return replace(
            self,
            coords=self.coords.isel(unit=rows),
            times=[self.times[row] for row in rows],
            observed=None if self.observed is None else [self.observed[row] for row in rows],
        )


def read_units(file: ArrayTree, activity: SpikeActivity) -> Units:
    """Return the units that pass the filters; spike times that are not finite are dropped, unsorted ones sorted, and counted."""
    path = activity.table
    if file.is_group(path) and not (f"{path}/spike_times" in file and f"{path}/spike_times_index" in file):
        raise MissingTableError(
            file.where(path),
            found="no spike_times with spike_times_index",
            expected="spike times of every unit",
            next_step=f"Columns: {shown(column_names(file, path))}. Name another table as activity.table",
        )
    named = {*activity.keep, activity.region_column}
    long_texts = [name for name in column_names(file, path) if name not in named and is_long_text(file, f"{path}/{name}")]
    table = read_table(file, path, left_out=long_texts)
    if not len(table):
        raise DataFormatError(table.where, found="a table without rows", expected="one row a unit")
    region = _region(file, activity, table)
    selected, dropped, filter_values = _filter(activity, table, region)
    trains = read_ragged(file, path, "spike_times", len(table))
    _check_order(file, path, trains)
    rows = np.flatnonzero(selected)
    times, lines = _sorted_times([trains[row] for row in rows])
    observed = None
    if f"{path}/obs_intervals" in file:
        pieces = read_ragged(file, path, "obs_intervals", len(table), width=2)
        observed = [_merged(pieces[row], table.where) for row in rows] if any(map(len, pieces)) else None
    coords = xr.Dataset(coords={"unit": table.ids[selected]})
    coords = coords.assign_coords({name: ("unit", as_label(values)[selected]) for name, values in table.columns.items()})
    if region is not None:
        coords = coords.assign_coords(region=("unit", region[selected]))
    lines.append(Dropped("columns of units", f"text of more than {LONGEST_LABEL} bytes in a cell", len(long_texts)))
    units = Units(coords, times, observed, _extent(trains), [*dropped, *lines], filter_values)
    return units if activity.quality is None else _of_quality(units, activity.quality)


def _of_quality(units: Units, quality: QualityFilter) -> Units:
    """Return the units that pass the filters of quality, with their metrics as columns that the file does not have."""
    if units.extent is None:
        return units
    whole = np.array([[units.extent.start, units.extent.stop]])
    recorded = units.observed or [whole] * len(units.times)
    columns, selected, dropped = judge_units(units.times, recorded, units.coords["unit"].values, quality)
    coords = units.coords.assign_coords({name: ("unit", values) for name, values in columns.items() if name not in units.coords})
    judged = replace(units, coords=coords, dropped=[*units.dropped, *dropped])
    return judged.select(np.flatnonzero(selected))


def _region(file: ArrayTree, activity: SpikeActivity, table: Table) -> NDArray[np.str_] | None:
    if activity.region_column is not None:
        return as_text(table.column(activity.region_column, "activity.region_column"))
    region = linked_text(file, activity.table, "electrodes", "location", len(table))
    if region is None and activity.regions is not None:
        raise MissingTableError(
            table.where,
            found="no region: units do not refer to electrodes with a location",
            next_step=f"Set activity.region_column to one of: {shown(list(table.columns))}",
        )
    return region


def _filter(
    activity: SpikeActivity, table: Table, region: NDArray[np.str_] | None
) -> tuple[NDArray[np.bool_], list[Dropped], FilterValues]:
    filters: list[tuple[str, str, NDArray[Any], Any]] = [
        ("activity.keep", name, table.column(name, f"activity.keep.{name}"), allowed) for name, allowed in activity.keep.items()
    ]
    if activity.regions is not None and region is not None:
        filters.append(("activity.regions", "region", region, activity.regions))
    filter_values = {(setting, name): set(as_text(values).tolist()) for setting, name, values, _ in filters}
    reasons = [(f"{name} is none of {shown(allowed)}", ~is_one_of(values, allowed)) for _, name, values, allowed in filters]
    reasons += unmet(activity.where, table.column, "activity.where", table.where)
    return *exclude(np.ones(len(table), dtype=bool), "units", reasons), filter_values


def _sorted_times(trains: list[NDArray[Any]]) -> tuple[list[NDArray[np.float64]], list[Dropped]]:
    finite = [times[np.isfinite(times)] for times in (train.astype(np.float64) for train in trains)]
    unsorted = [bool((np.diff(times) < 0).any()) for times in finite]
    return [np.sort(times) if disorder else times for times, disorder in zip(finite, unsorted, strict=True)], [
        Dropped("spikes", "time is not finite", sum(train.size for train in trains) - sum(map(len, finite))),
        Dropped("order of units' spikes", "times were unsorted; sorted, no spike lost", sum(unsorted)),
    ]


def _extent(trains: list[NDArray[Any]]) -> Extent | None:
    """Return the extent of all spikes of a file, or None if there are no spikes."""
    pooled = np.sort(np.concatenate(trains).astype(np.float64))
    pooled = pooled[np.isfinite(pooled)]
    if not pooled.size:
        return None
    counts = [len(train) for train in trains if len(train)]
    silence = float(np.diff(pooled).max(initial=0.0))
    return Extent(float(pooled[0]), float(pooled[-1]), silence, float(np.median(counts)), silences(pooled))


def _check_order(file: ArrayTree, path: str, trains: list[NDArray[Any]]) -> None:
    """Raise AlignmentError if spike times of most units start again, and warn if those of any do."""
    disordered = [times for times in trains if len(times) > 1 and not (times[1:] >= times[:-1]).all()]
    if not disordered:
        return
    long = sum(len(times) >= FEWEST_TIMES for times in trains)
    again = sum(starts_again(times[np.isfinite(times)]) for times in disordered)
    if again > long / 2:
        raise AlignmentError(
            file.where(f"{path}/spike_times"),
            found=f"times that rise, fall back and rise again, in {again} of {long} units",
            expected="seconds of one clock",
            next_step="Add to each part of the recording the time at which it began, or store the parts as separate files",
        )
    if again:
        LOG.warning("%s: spike times of %d units rise, fall back and rise again: they are sorted", file.where(path), again)


def _merged(intervals: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Return sorted intervals ``(interval, 2)``, merged where they touch or overlap."""
    if not len(intervals):
        return np.empty((0, 2))
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise DataFormatError(where, found=f"obs_intervals of shape {intervals.shape}", expected="(interval, 2)")
    intervals = intervals.astype(np.float64)
    intervals = intervals[np.isfinite(intervals).all(axis=1)]
    intervals = intervals[np.argsort(intervals[:, 0])]
    reach = np.maximum.accumulate(intervals[:, 1])
    begins = np.flatnonzero(np.r_[True, intervals[1:, 0] > reach[:-1] + 1e-6])
    return np.column_stack([intervals[begins, 0], np.maximum.reduceat(intervals[:, 1], begins)])


PLAUSIBLE_RATE = (0.01, 200.0)  # [Hz] median over units that fire
LARGEST_SPAN_RATIO = 500.0  # of activity and trials: 1000 if one is in ms; a recording is rarely so much longer
IN_SECONDS = (
    "Times must be seconds since the start of the session: convert milliseconds, microseconds or samples. "
    "If they are seconds, set 'clock: trust' in the data spec"
)


def span(trials: Trials) -> tuple[float, float]:
    """Return the first and the last known time of trials [s]."""
    times = np.concatenate([trials.coords[name].to_numpy() for name in ("start_time", "stop_time", "onset")])
    return float(np.nanmin(times)), float(np.nanmax(times))


def check_spans(file: ArrayTree, times: str, start: float, stop: float, trials: Trials) -> None:
    """Raise AlignmentError if the duration of activity, ``start`` to ``stop``, shows that times of trials have another unit."""
    if not len(trials.onsets) or stop <= start:
        return
    begin, end = span(trials)
    if end > begin and not 1 / LARGEST_SPAN_RATIO < (stop - start) / (end - begin) < LARGEST_SPAN_RATIO:
        raise AlignmentError(
            str(file.path),
            found=f"{times} from {start:.6g} to {stop:.6g}, trials from {begin:.6g} to {end:.6g}",
            expected="spans of the same order",
            next_step=IN_SECONDS,
        )


def check_clock(file: ArrayTree, units: Units, trials: Trials) -> None:
    """Raise AlignmentError if durations and rates show that spikes or trials are not in seconds of one clock."""
    extent = units.extent
    if extent is None or not len(trials.onsets):
        return
    check_spans(file, "spikes", extent.start, extent.stop, trials)
    begin, end = span(trials)
    duration = max(extent.stop - extent.start, end - begin)
    rate = extent.median_count / duration if duration > 0 else np.inf
    low, high = PLAUSIBLE_RATE
    if not low <= rate <= high:
        raise AlignmentError(
            str(file.path),
            found=f"spikes from {extent.start:.6g} to {extent.stop:.6g}, trials from {begin:.6g} to {end:.6g}: "
            f"a unit fires {extent.median_count:g} times (median) in {duration:.6g} s, at {rate:.3g} Hz",
            expected=f"{low} to {high} Hz",
            next_step=IN_SECONDS,
        )


def inside_recording(file: ArrayTree, units: Units, onsets: NDArray[np.float64], grid: TimeGrid) -> NDArray[np.bool_]:
    """Return for each trial whether its window is inside the recording: first to last spike, or longer by obs_intervals.

    As the recording may be longer, a window may exceed it by the longest silence within it, but by at most half of its width.
    """
    extent = units.extent
    if extent is None or not onsets.size:
        return np.zeros(onsets.shape, dtype=bool)
    marks = [intervals.ravel() for intervals in units.observed or [] if len(intervals)]
    begin, end = min([extent.start, *(mark.min() for mark in marks)]), max([extent.stop, *(mark.max() for mark in marks)])
    start, stop = grid.window
    margin = min(extent.longest_silence, (stop - start) / 2) + EDGE
    inside = np.asarray((onsets + start >= begin - margin) & (onsets + stop <= end + margin))
    if not inside.any():
        raise AlignmentError(
            str(file.path),
            found=f"recording from {begin:.6g} to {end:.6g} s, "
            f"windows from {onsets.min() + start:.6g} to {onsets.max() + stop:.6g} s",
            expected="windows inside the recording",
            next_step="Check grid.align and grid.window of the data spec, and that all times are in seconds",
        )
    return inside


def apply_observation(
    units: Units, coords: xr.Dataset, grid: TimeGrid, min_observed: float
) -> tuple[Units, xr.Dataset, list[Dropped]]:
    """Leave out units that were observed in too few windows, then trials in which a remaining unit was not observed."""
    onsets = np.asarray(coords["onset"].values)
    if units.observed is None or not onsets.size:
        return units, coords, []
    observed = np.array([_covers(intervals, onsets, grid.window) for intervals in units.observed]).reshape(-1, onsets.size)
    enough = observed.mean(axis=1) >= min_observed
    complete = observed[enough].all(axis=0)
    lines = [
        Dropped("units", f"obs_intervals cover less than {min_observed:g} of the windows", int((~enough).sum())),
        Dropped("trials", "a unit was not observed (obs_intervals) in the whole window", int((~complete).sum())),
    ]
    return units.select(np.flatnonzero(enough)), coords.isel(trial=np.flatnonzero(complete)), lines


def _covers(intervals: NDArray[np.float64], onsets: NDArray[np.float64], window: tuple[float, float]) -> NDArray[np.bool_]:
    """Return for each onset whether one of the sorted, disjoint intervals includes the whole window."""
    row = np.searchsorted(intervals[:, 0], onsets + window[0] + EDGE, side="right") - 1
    ends = np.r_[intervals[:, 1], -np.inf]  # row -1: the window begins before all intervals
    return np.asarray(ends[row] >= onsets + window[1] - EDGE)
