"""Units: sorted spike times, columns and regions of a ``Units`` table."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.labels import as_label, as_text, exclude, is_one_of, shown
from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.data.loaders.tables import Table, column_names, linked_text, read_ragged, read_table
from neuromvm.data.loaders.trials import FilterValues
from neuromvm.errors import DataFormatError, MissingTableError
from neuromvm.schema import Dropped
from neuromvm.specs.data import SpikeActivity


@dataclass(frozen=True)
class Extent:
    """Times of the spikes of all units of a file [s], which show when the recording ran and in which unit times are."""

    start: float
    stop: float
    longest_silence: float
    median_count: float  # spikes of a unit that fires


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


def read_units(file: NwbFile, activity: SpikeActivity) -> Units:
    """Return the units of a file that pass the filters on columns and region.

    Spike times that are not finite are left out, unsorted ones sorted; both are counted.
    """
    path = activity.table
    if file.is_group(path) and not (f"{path}/spike_times" in file and f"{path}/spike_times_index" in file):
        raise MissingTableError(
            file.where(path),
            found="no spike_times with spike_times_index",
            expected="spike times of every unit",
            next_step=f"Columns: {shown(column_names(file, path))}. Name another table as activity.table",
        )
    table = read_table(file, path)
    if not len(table):
        raise DataFormatError(table.where, found="a table without rows", expected="one row a unit")
    region = _region(file, activity, table)
    selected, dropped, filter_values = _filter(activity, table, region)
    trains = read_ragged(file, path, "spike_times", len(table))
    rows = np.flatnonzero(selected)
    times, lines = _sorted_times([trains[row] for row in rows])
    observed = None
    if f"{path}/obs_intervals" in file:
        pieces = read_ragged(file, path, "obs_intervals", len(table))
        observed = [_merged(pieces[row], table.where) for row in rows] if any(map(len, pieces)) else None
    coords = xr.Dataset(coords={"unit": table.ids[selected]})
    coords = coords.assign_coords({name: ("unit", as_label(values)[selected]) for name, values in table.columns.items()})
    if region is not None:
        coords = coords.assign_coords(region=("unit", region[selected]))
    return Units(coords, times, observed, _extent(trains), [*dropped, *lines], filter_values)


def _region(file: NwbFile, activity: SpikeActivity, table: Table) -> NDArray[np.str_] | None:
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
    return *exclude(np.ones(len(table), dtype=bool), "units", reasons), filter_values


def _sorted_times(trains: list[NDArray[Any]]) -> tuple[list[NDArray[np.float64]], list[Dropped]]:
    times, not_finite, unsorted = [], 0, 0
    for train in trains:
        values = train.astype(np.float64)
        finite = np.isfinite(values)
        not_finite += int((~finite).sum())
        values = values[finite]
        if (np.diff(values) < 0).any():
            unsorted += 1
            values = np.sort(values)
        times.append(values)
    return times, [
        Dropped("spikes", "time is not finite", not_finite),
        Dropped("order of units' spikes", "times were unsorted; sorted, no spike lost", unsorted),
    ]


def _extent(trains: list[NDArray[Any]]) -> Extent | None:
    """Return the extent of all spikes of a file, or None if there are no spikes."""
    pooled = np.sort(np.concatenate(trains).astype(np.float64))
    pooled = pooled[np.isfinite(pooled)]
    if not pooled.size:
        return None
    counts = [len(train) for train in trains if len(train)]
    silence = float(np.diff(pooled).max(initial=0.0))
    return Extent(float(pooled[0]), float(pooled[-1]), silence, float(np.median(counts)))


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
