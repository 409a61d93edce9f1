"""Trials and spike counts on a time grid, warped between two events if its spec says so."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.bins import count_spikes
from neuromvm.data.loaders.open_source import open_session
from neuromvm.data.loaders.sessions import Session
from neuromvm.data.loaders.trials import Trials, read_trials
from neuromvm.data.time_warping import count_warped_spikes, recorded_times
from neuromvm.errors import DataFormatError
from neuromvm.schema import Dropped
from neuromvm.specs.data import DataSpec, TimeGrid


def with_duration(grid: TimeGrid, spec: DataSpec, sessions: list[Session]) -> TimeGrid:
    """Return a grid with the median time between the two events over the trials of all files, labels and activity unseen."""
    assert grid.warp is not None
    durations = []
    for session in sessions:
        with open_session(session.path, spec) as file:
            trials = read_trials(file, spec.trials, grid, spec.shift.get(session.animal, 0.0))
        durations.append(trials.coords["warp_onset"].values - trials.onsets)
    if not sum(map(len, durations)):
        raise DataFormatError(f"data spec {spec.name!r}", found="no trial with both events", expected=f"times in {grid.warp.to}")
    duration = float(np.median(np.concatenate(durations)))
    return grid.model_copy(update={"warp": grid.warp.model_copy(update={"duration": duration})})


def unstretched(trials: Trials, grid: TimeGrid) -> tuple[Trials, TimeGrid]:
    """Return the trials that warping stretches or compresses by at most ``max_stretch``, and a grid that covers recorded windows.

    The factor is the coordinate ``stretch``. The window of the returned grid covers the window of each trial in recorded time.
    Without warping, trials and grid are returned as they are.
    """
    warp = grid.warp
    if warp is None or warp.duration is None:
        return trials, grid
    stretch = (trials.coords["warp_onset"].values - trials.onsets) / warp.duration
    moderate = (stretch <= warp.max_stretch) & (stretch >= 1 / warp.max_stretch)
    coords = trials.coords.assign_coords(
        stretch=("trial", stretch, {"long_name": "recorded over warped time between the events"})
    )
    reason = f"{warp.to} is more than {warp.max_stretch:g} times earlier or later than {warp.duration:.4g} s after the event"
    dropped = [*trials.dropped, Dropped("trials", reason, int((~moderate).sum()))]
    remaining = Trials(coords.isel(trial=np.flatnonzero(moderate)), dropped, trials.filter_values)
    if not moderate.any():
        return remaining, grid
    relative = _bin_edges(remaining.coords, grid, warp.duration) - remaining.onsets[:, None]
    return remaining, grid.model_copy(update={"window": (float(relative[:, 0].min()), float(relative[:, -1].max()))})


def counts_on_grid(times: Sequence[NDArray[np.float64]], coords: xr.Dataset, grid: TimeGrid) -> NDArray[np.unsignedinteger]:
    """Return spike counts ``(trial, bin, unit)`` of trials with ``onset`` and, if time is warped, ``warp_onset``."""
    if grid.warp is None or grid.warp.duration is None:
        return count_spikes(times, np.asarray(coords["onset"].values), grid.window[0], grid.bin_width, grid.bins)
    return count_warped_spikes(times, _bin_edges(coords, grid, grid.warp.duration), grid.bin_width)


def _bin_edges(coords: xr.Dataset, grid: TimeGrid, duration: float) -> NDArray[np.float64]:
    """Return the edges of warped bins in recorded time ``(trial, edge)`` [s]."""
    onsets = np.asarray(coords["onset"].values)
    edges = grid.window[0] + grid.bin_width * np.arange(grid.bins + 1)
    return recorded_times(edges, onsets, coords["warp_onset"].values - onsets, duration)
