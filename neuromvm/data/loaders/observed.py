"""Do spikes and trials share a clock, and was the recording running in every window?"""

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
LARGEST_SPAN_RATIO = 500.0  # ms against s is 1000, and recordings are rarely this much longer than their trials
IN_SECONDS = "Times must be seconds since the start of the session: convert milliseconds, microseconds or samples"
EDGE = 1e-6  # [s] slack at the ends of intervals


def check_spans(file: NwbFile, what: str, first: float, last: float, trials: Trials) -> None:
    """Raise AlignmentError if activity from ``first`` to ``last`` and the trials are evidently in different units."""
    starts, stops = trials.coords["start_time"].values, trials.coords["stop_time"].values
    if not len(starts) or last <= first:
        return
    if not 1 / LARGEST_SPAN_RATIO < (last - first) / (stops.max() - starts.min()) < LARGEST_SPAN_RATIO:
        raise AlignmentError(
            str(file.path),
            found=f"{what} from {first:.6g} to {last:.6g}, trials from {starts.min():.6g} to {stops.max():.6g}",
            expected="spans of the same order",
            next_step=IN_SECONDS,
        )


def check_clock(file: NwbFile, units: Units, trials: Trials) -> None:
    """Raise AlignmentError if spikes or trials are evidently not in seconds of one clock."""
    extent = units.extent
    if extent is None or not len(trials.onsets):
        return
    first, last = extent.first, extent.last
    check_spans(file, "spikes", first, last, trials)
    trial_span = float(trials.coords["stop_time"].max() - trials.coords["start_time"].min())
    rate = extent.median_count / max(last - first, trial_span)
    low, high = PLAUSIBLE_RATE
    if not low <= rate <= high:
        raise AlignmentError(
            str(file.path),
            found=f"spikes from {first:.6g} to {last:.6g}, a median of {rate:.3g} per unit of time",
            expected=f"{low} to {high} Hz",
            next_step=IN_SECONDS,
        )


def inside_recording(file: NwbFile, units: Units, onsets: NDArray[np.float64], grid: TimeGrid) -> NDArray[np.bool_]:
    """Return for each trial whether its window lies in the recording.

    The recording runs from the first to the last spike of any unit, or further if obs_intervals say so. Since nobody
    fires at the very first moment, a window may reach past an end by the longest silence seen within the recording,
    but never by more than half of itself.

    Raises
    ------
    AlignmentError
        If no window lies in the recording.
    """
    extent = units.extent
    if extent is None or not onsets.size:
        return np.zeros(onsets.shape, dtype=bool)
    marks = [intervals.ravel() for intervals in units.observed or [] if len(intervals)]
    first, last = min([extent.first, *(mark.min() for mark in marks)]), max([extent.last, *(mark.max() for mark in marks)])
    start, stop = grid.window
    margin = min(extent.longest_silence, (stop - start) / 2) + EDGE
    inside = np.asarray((onsets + start >= first - margin) & (onsets + stop <= last + margin))
    if not inside.any():
        raise AlignmentError(
            str(file.path),
            found=f"recording from {first:.6g} to {last:.6g} s, "
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
    seen = np.array([_covers(intervals, onsets, grid.window) for intervals in units.observed]).reshape(-1, onsets.size)
    enough = seen.mean(axis=1) >= min_observed
    complete = seen[enough].all(axis=0)
    lines = [
        Dropped("units", f"obs_intervals cover less than {min_observed:g} of the windows", int((~enough).sum())),
        Dropped("trials", "a unit was not observed (obs_intervals) in the whole window", int((~complete).sum())),
    ]
    return units.select(np.flatnonzero(enough)), coords.isel(trial=np.flatnonzero(complete)), lines


def _covers(intervals: NDArray[np.float64], onsets: NDArray[np.float64], window: tuple[float, float]) -> NDArray[np.bool_]:
    """Return for each onset whether one of the sorted, disjoint intervals holds the whole window."""
    row = np.searchsorted(intervals[:, 0], onsets + window[0] + EDGE, side="right") - 1
    ends = np.r_[intervals[:, 1], -np.inf]  # row -1: the window begins before every interval
    return np.asarray(ends[row] >= onsets + window[1] - EDGE)
