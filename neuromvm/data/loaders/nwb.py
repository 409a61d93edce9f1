"""Sessions in NWB files or another source in their layout, and a session as a dataset."""

from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.calcium import frames_dataset, position_extremes, read_frames
from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.labels import joint_coords
from neuromvm.data.loaders.lfp import lfp_power_dataset, with_theta_phase
from neuromvm.data.loaders.open_source import open_session, session_files, session_header
from neuromvm.data.loaders.remote import RemoteFile
from neuromvm.data.loaders.sessions import Session, check_inside, find_files, name_sessions
from neuromvm.data.loaders.trials import FilterValues, Trials, in_holes, read_trials
from neuromvm.data.loaders.units import apply_observation, check_clock, inside_recording, read_units
from neuromvm.data.loaders.warped import counts_on_grid, unstretched
from neuromvm.errors import DataFormatError
from neuromvm.hdf5_files.structure import announce
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, SpikeActivity, TimeGrid


def find_sessions(spec: DataSpec, folder: Path) -> tuple[list[Session], list[Dropped]]:
    """Return the sessions below a folder, one per file, and an empty account: no file is left out."""
    files = find_files(spec, folder)
    local = [path for path in files if not isinstance(path, RemoteFile)]
    check_inside(folder, [part for path in local for part in session_files(path, spec)])
    announce([path for path in local if not path.is_dir()])
    return name_sessions(spec, files, [session_header(path, spec) for path in files]), []


def read_session(session: Session, spec: DataSpec) -> tuple[xr.Dataset, FilterValues]:
    """Return one file as a dataset, and the values that the filters of the spec compared."""
    with open_session(session.path, spec) as file:
        trials = read_trials(file, spec.trials, spec.grid, spec.shift.get(session.animal, 0.0))
        filter_values = trials.filter_values
        if isinstance(spec.activity, RoiActivity):
            frames, long_name = read_frames(file, spec.activity), f"mean of {spec.activity.series} over the frames of the bin"
            dataset = frames_dataset(file, frames, spec, trials, long_name)
            filter_values = filter_values | frames.filter_values
        elif isinstance(spec.activity, LfpPowerActivity):
            dataset = lfp_power_dataset(file, spec, trials)
        else:
            dataset, unit_values = spike_dataset(file, spec, trials)
            filter_values = filter_values | unit_values
        if spec.lfp is not None:
            assert isinstance(spec.grid, TimeGrid)  # the spec refuses a field potential on a position grid
            dataset = with_theta_phase(file, dataset, spec.lfp, spec.grid)
        return dataset, filter_values


def with_range(spec: DataSpec, grid: PositionGrid, sessions: list[Session]) -> PositionGrid:
    """Return the grid with the range of positions over all files, which all animals share."""
    extremes = []
    for session in sessions:
        with open_session(session.path, spec) as file:
            extremes.append(position_extremes(file, grid))
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    if high <= low:
        raise DataFormatError(str(sessions[0].path), found=f"positions that are all {low:g}", expected="movement along a track")
    return grid.model_copy(update={"range": (low, high)})


def spike_dataset(file: ArrayTree, spec: DataSpec, trials: Trials) -> tuple[xr.Dataset, FilterValues]:
    """Return spike counts ``(trial, time, unit)`` of a file with trial and unit coordinates and the account of drops."""
    activity, grid = spec.activity, spec.grid
    assert isinstance(activity, SpikeActivity)
    assert isinstance(grid, TimeGrid)  # the spec refuses spikes on a position grid
    units = read_units(file, activity)
    if spec.clock == "check":
        check_clock(file, units, trials)
    trials, recorded = unstretched(trials, grid)
    inside = inside_recording(file, units, trials.onsets, recorded)
    coords = trials.coords.isel(trial=np.flatnonzero(inside))
    silent = np.zeros(coords.sizes["trial"], dtype=bool)
    if units.extent is not None and units.observed is None:  # obs_intervals say themselves when units were observed
        silent = in_holes(str(file.path), units.extent.silences, coords, recorded, spec.trials.silences)
    coords = coords.isel(trial=np.flatnonzero(~silent))
    outside = Dropped("trials", "window outside the recording", int((~inside).sum()))
    lines = [*trials.dropped, outside, Dropped("trials", "in a silence of all units", int(silent.sum())), *units.dropped]
    units, coords, unobserved = apply_observation(units, coords, recorded, activity.min_observed)
    onsets = np.asarray(coords["onset"].values)
    # counts and their transpose at one byte per count, and the 64-bit histogram of one unit
    size = len(onsets) * grid.bins * (2 * len(units.times) + 8)
    where = f"{file.path}: {len(onsets)} trials x {grid.bins} bins x {len(units.times)} units"
    check_fits_memory(where, size, "Choose wider bins")
    counts = counts_on_grid(units.times, coords, grid)
    variables = {"spike_count": (("trial", "time", "unit"), counts, {"long_name": "spikes in the bin"})}
    dataset = xr.Dataset(variables, coords=joint_coords(coords, units.coords))
    return with_dropped(dataset, [*lines, *unobserved]), units.filter_values
