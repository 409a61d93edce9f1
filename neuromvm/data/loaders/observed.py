"""Checks that spikes and trials share a clock, and selection of windows and units that were recorded."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.data.loaders.trials import Trials
from neuromvm.data.loaders.units import Units
from neuromvm.errors import AlignmentError
from neuromvm.schema import Dropped
from neuromvm.specs.data import TimeGrid

PLAUSIBLE_RATE = (0.01, 200.0)  # [Hz] median over units that fire
LARGEST_SPAN_RATIO = 500.0  # of activity and trials: 1000 if one is in ms; a recording is rarely so much longer
IN_SECONDS = "Times must be seconds since the start of the session: convert milliseconds, microseconds or samples"
EDGE = 1e-6  # [s] slack at the ends of intervals


def check_spans(file: NwbFile, times: str, start: float, stop: float, trials: Trials) -> None:
    """Raise AlignmentError if the duration of activity, ``start`` to ``stop``, shows that times of trials have another unit."""
    starts, stops = trials.coords["start_time"].values, trials.coords["stop_time"].values
    if not len(starts) or stop <= start:
        return
    if not 1 / LARGEST_SPAN_RATIO < (stop - start) / (stops.max() - starts.min()) < LARGEST_SPAN_RATIO:
        raise AlignmentError(
            str(file.path),
            found=f"{times} from {start:.6g} to {stop:.6g}, trials from {starts.min():.6g} to {stops.max():.6g}",
            expected="spans of the same order",
            next_step=IN_SECONDS,
        )


def check_clock(file: NwbFile, units: Units, trials: Trials) -> None:
    """Raise AlignmentError if durations and rates show that spikes or trials are not in seconds of one clock."""
    extent = units.extent
    if extent is None or not len(trials.onsets):
        return
    check_spans(file, "spikes", extent.start, extent.stop, trials)
    trial_span = float(trials.coords["stop_time"].max() - trials.coords["start_time"].min())
    rate = extent.median_count / max(extent.stop - extent.start, trial_span)
    low, high = PLAUSIBLE_RATE
    if not low <= rate <= high:
        raise AlignmentError(
            str(file.path),
            found=f"spikes from {extent.start:.6g} to {extent.stop:.6g}, a median of {rate:.3g} per unit of time",
            expected=f"{low} to {high} Hz",
            next_step=IN_SECONDS,
        )


def inside_recording(file: NwbFile, units: Units, onsets: NDArray[np.float64], grid: TimeGrid) -> NDArray[np.bool_]:
    """Return for each trial whether its window is inside the recording.

    The recording runs from the first to the last spike of any unit, or longer according to obs_intervals. It may have begun
    before the first spike and ended after the last: a window may exceed it by the longest silence within the recording, but by at
    most half of its width.
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
