"""Sessions in NWB files, and a session as a dataset."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.bins import count_spikes
from neuromvm.data.loaders.calcium import frames_dataset, position_extremes, read_frames
from neuromvm.data.loaders.hdf5 import check_fits_memory, sha256
from neuromvm.data.loaders.labels import joint_coords
from neuromvm.data.loaders.lfp import lfp_power_dataset, with_theta_phase
from neuromvm.data.loaders.nwb_file import NwbFile, open_nwb
from neuromvm.data.loaders.sessions import Session, find_files, name_sessions
from neuromvm.data.loaders.trials import FilterValues, Trials, read_trials
from neuromvm.data.loaders.units import apply_observation, check_clock, inside_recording, read_units
from neuromvm.data.time_warping import count_warped_spikes, recorded_times
from neuromvm.errors import DataFormatError
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, SpikeActivity, TimeGrid, Warp


def find_sessions(spec: DataSpec, folder: Path) -> tuple[list[Session], list[Dropped]]:
    """Return the sessions below a folder, one per file, and an empty account: no file is left out."""
    files = find_files(spec, folder)
    return name_sessions(spec, files, [_header(path) for path in files]), []


def read_session(session: Session, spec: DataSpec) -> tuple[xr.Dataset, FilterValues]:
    """Return one file as a dataset, and the values that the filters of the spec compared."""
    align = spec.grid.align if isinstance(spec.grid, TimeGrid) else "start_time"
    with open_nwb(session.path) as file:
        trials = read_trials(file, spec.trials, align, spec.shift.get(session.animal, 0.0), warp_event(spec.grid))
        filter_values = trials.filter_values
        if isinstance(spec.activity, RoiActivity):
            frames, long_name = read_frames(file, spec.activity), f"mean of {spec.activity.series} over the frames of the bin"
            dataset = frames_dataset(file, frames, spec.grid, trials, long_name)
        elif isinstance(spec.activity, LfpPowerActivity):
            assert isinstance(spec.grid, TimeGrid)  # the spec refuses it on a position grid, as it does spikes
            dataset = lfp_power_dataset(file, spec.activity, spec.grid, trials)
        else:
            assert isinstance(spec.activity, SpikeActivity)
            assert isinstance(spec.grid, TimeGrid)
            dataset, unit_values = spike_dataset(file, spec.activity, spec.grid, trials)
            filter_values = filter_values | unit_values
        if spec.lfp is not None:
            assert isinstance(spec.grid, TimeGrid)  # the spec refuses a field potential on a position grid
            dataset = with_theta_phase(file, dataset, spec.lfp, spec.grid)
        return dataset, filter_values


def _header(path: Path) -> dict[str, str]:
    with open_nwb(path) as file:
        fields = {name: file.text(f"general/subject/{name}") for name in ("subject_id", "species", "sex", "age", "genotype")}
        fields |= {"session_id": file.text("general/session_id"), "identifier": file.text("identifier")}
    fields |= {"source_file": path.name, "sha256": sha256(path)}
    return {name: text for name, text in fields.items() if text}


def with_range(grid: PositionGrid, sessions: list[Session]) -> PositionGrid:
    """Return the grid with the range of positions over all files, which all animals share."""
    extremes = []
    for session in sessions:
        with open_nwb(session.path) as file:
            extremes.append(position_extremes(file, grid))
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if high <= low:
        raise DataFormatError(str(sessions[0].path), found=f"positions that are all {low:g}", expected="movement along a track")
    return grid.model_copy(update={"range": (low, high)})


def warp_event(grid: TimeGrid | PositionGrid) -> str | None:
    """Return the column of the second event of a grid with warped time."""
    return grid.warp.to if isinstance(grid, TimeGrid) and grid.warp is not None else None


def with_duration(grid: TimeGrid, spec: DataSpec, sessions: list[Session]) -> TimeGrid:
    """Return a grid with the median time between the two events over the trials of all files, labels and activity unseen."""
    assert grid.warp is not None
    durations = []
    for session in sessions:
        with open_nwb(session.path) as file:
            trials = read_trials(file, spec.trials, grid.align, spec.shift.get(session.animal, 0.0), grid.warp.to)
        durations.append(trials.coords["warp_onset"].values - trials.onsets)
    if not sum(map(len, durations)):
        raise DataFormatError(f"data spec {spec.name!r}", found="no trial with both events", expected=f"times in {grid.warp.to}")
    duration = float(np.median(np.concatenate(durations)))
    return grid.model_copy(update={"warp": grid.warp.model_copy(update={"duration": duration})})


def _unstretched(trials: Trials, warp: Warp) -> Trials:
    """Return the trials that warping stretches or compresses by at most ``max_stretch``, with the factor as ``stretch``."""
    assert warp.duration is not None
    stretch = (trials.coords["warp_onset"].values - trials.onsets) / warp.duration
    moderate = (stretch <= warp.max_stretch) & (stretch >= 1 / warp.max_stretch)
    coords = trials.coords.assign_coords(
        stretch=("trial", stretch, {"long_name": "recorded over warped time between the events"})
    )
    reason = f"{warp.to} is more than {warp.max_stretch:g} times earlier or later than {warp.duration:.4g} s after the event"
    dropped = [*trials.dropped, Dropped("trials", reason, int((~moderate).sum()))]
    return Trials(coords.isel(trial=np.flatnonzero(moderate)), dropped, trials.filter_values)


def _bin_edges(grid: TimeGrid, coords: xr.Dataset) -> NDArray[np.float64] | None:
    """Return the edges of warped bins in recorded time ``(trial, edge)`` [s]; None without warping."""
    if grid.warp is None or grid.warp.duration is None:
        return None
    onsets = coords["onset"].values
    edges = grid.window[0] + grid.bin_width * np.arange(grid.bins + 1)
    return recorded_times(edges, onsets, coords["warp_onset"].values - onsets, grid.warp.duration)


def _recorded_grid(grid: TimeGrid, trials: Trials) -> TimeGrid:
    """Return a grid whose window in recorded time covers that of each trial."""
    edges = _bin_edges(grid, trials.coords)
    if edges is None or not len(edges):
        return grid
    relative = edges - trials.onsets[:, None]
    return grid.model_copy(update={"window": (float(relative[:, 0].min()), float(relative[:, -1].max()))})


def spike_dataset(file: NwbFile, activity: SpikeActivity, grid: TimeGrid, trials: Trials) -> tuple[xr.Dataset, FilterValues]:
    """Return spike counts ``(trial, time, unit)`` of a file with trial and unit coordinates and the account of drops."""
    units = read_units(file, activity)
    check_clock(file, units, trials)
    if grid.warp is not None:
        trials = _unstretched(trials, grid.warp)
    recorded = _recorded_grid(grid, trials)
    inside = inside_recording(file, units, trials.onsets, recorded)
    coords = trials.coords.isel(trial=np.flatnonzero(inside))
    lines = [*trials.dropped, Dropped("trials", "window outside the recording", int((~inside).sum())), *units.dropped]
    units, coords, unobserved = apply_observation(units, coords, recorded, activity.min_observed)
    onsets = np.asarray(coords["onset"].values)
    # counts and their transpose at one byte per count, and the 64-bit histogram of one unit
    size = len(onsets) * grid.bins * (2 * len(units.times) + 8)
    where = f"{file.path}: {len(onsets)} trials x {grid.bins} bins x {len(units.times)} units"
    check_fits_memory(where, size, "Choose wider bins")
    edges = _bin_edges(grid, coords)
    if edges is None:
        counts = count_spikes(units.times, onsets, grid.window[0], grid.bin_width, grid.bins)
    else:
        counts = count_warped_spikes(units.times, edges, grid.bin_width)
    variables = {"spike_count": (("trial", "time", "unit"), counts, {"long_name": "spikes in the bin"})}
    dataset = xr.Dataset(variables, coords=joint_coords(coords, units.coords))
    return with_dropped(dataset, [*lines, *unobserved]), units.filter_values
