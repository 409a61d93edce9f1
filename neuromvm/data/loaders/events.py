"""Tables of events (``EventsTable`` of NWB 2.11 and ndx-events) as trials, and times of events for the alignment of trials."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.tables import Table
from neuromvm.errors import DataFormatError, MissingTableError

EVENT_COLUMNS = ("timestamp", "duration")
# a column of EventsTable; a dataset of Events of ndx-events 0.2 and of TimeSeries
TIMES = ("timestamp", "timestamps")


def as_intervals(table: Table) -> Table:
    """Return a table of events as one of intervals, and other tables unchanged.

    An event starts at its ``timestamp`` and lasts its ``duration``; without one, until the next event of the table, and the last
    event as long as the one before it.
    """
    timestamp = table.columns.get("timestamp")
    if timestamp is None or "start_time" in table.names or timestamp.dtype.kind not in "iuf":
        return table
    start = timestamp.astype(np.float64)
    duration = table.columns.get("duration", np.full(len(start), np.nan)).astype(np.float64)
    stop = start + np.where(duration > 0, duration, _until_next(start))
    columns = {**table.columns, "start_time": start, "stop_time": stop}
    return replace(table, columns=columns, names=[*table.names, "start_time", "stop_time"])


def first_events(file: ArrayTree, path: str, starts: NDArray[np.float64], stops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the time of the first event at ``path`` in each trial, from start to before stop, NaN if there is none [s]."""
    names = [f"{path}/{name}" for name in TIMES if f"{path}/{name}" in file]
    if not names:
        tables = [f"events/{name}" for name in file.children("events")]
        tables += [f"acquisition/{name}" for name in file.children("acquisition") if f"acquisition/{name}/timestamps" in file]
        next_step = f"There are: {', '.join(tables) or 'none'}. Set grid.align to one of them, or to a column of the trials"
        raise MissingTableError(file.where(path), found="no timestamps of events", next_step=next_step)
    if len(file.shape(names[0])) != 1:
        raise DataFormatError(file.where(names[0]), found=f"timestamps of shape {file.shape(names[0])}", expected="(event,)")
    times = file.numbers(names[0]).astype(np.float64)
    times = np.r_[np.sort(times[np.isfinite(times)]), np.inf]
    earliest = times[np.searchsorted(times, starts, side="left").clip(max=len(times) - 1)]
    return np.where(earliest < stops, earliest, np.nan)


def _until_next(start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the time from each event to the next later one; the last event has that of the one before it."""
    times = np.unique(start[np.isfinite(start)])
    if len(times) < 2:
        return np.full(len(start), np.nan)
    gaps = np.diff(times)
    row = np.searchsorted(times, start).clip(max=len(gaps) - 1)
    return np.where(np.isfinite(start), gaps[row], np.nan)
