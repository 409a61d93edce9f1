"""Sessions in NWB files, and a session as a dataset."""

from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm.data.bins import count_spikes
from neuromvm.data.loaders.calcium import frames_dataset, position_extremes, read_frames
from neuromvm.data.loaders.hdf5 import check_fits_memory, sha256
from neuromvm.data.loaders.labels import joint_coords
from neuromvm.data.loaders.lfp import lfp_power_dataset, with_theta_phase
from neuromvm.data.loaders.nwb_file import NwbFile, open_nwb
from neuromvm.data.loaders.sessions import Session, find_files, name_sessions
from neuromvm.data.loaders.trials import FilterValues, Trials, read_trials
from neuromvm.data.loaders.units import apply_observation, check_clock, inside_recording, read_units
from neuromvm.errors import DataFormatError
from neuromvm.hdf5_files.structure import announce
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, SpikeActivity, TimeGrid


def find_sessions(spec: DataSpec, folder: Path) -> tuple[list[Session], list[Dropped]]:
    """Return the sessions below a folder, one per file, and an empty account: no file is left out."""
    files = find_files(spec, folder)
    announce(files)
    return name_sessions(spec, files, [_header(path) for path in files]), []


def read_session(session: Session, spec: DataSpec) -> tuple[xr.Dataset, FilterValues]:
    """Return one file as a dataset, and the values that the filters of the spec compared."""
    align = spec.grid.align if isinstance(spec.grid, TimeGrid) else "start_time"
    with open_nwb(session.path) as file:
        trials = read_trials(file, spec.trials, align, spec.shift.get(session.animal, 0.0))
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


def spike_dataset(file: NwbFile, activity: SpikeActivity, grid: TimeGrid, trials: Trials) -> tuple[xr.Dataset, FilterValues]:
    """Return spike counts ``(trial, time, unit)`` of a file with trial and unit coordinates and the account of drops."""
    units = read_units(file, activity)
    check_clock(file, units, trials)
    inside = inside_recording(file, units, trials.onsets, grid)
    coords = trials.coords.isel(trial=np.flatnonzero(inside))
    lines = [*trials.dropped, Dropped("trials", "window outside the recording", int((~inside).sum())), *units.dropped]
    units, coords, unobserved = apply_observation(units, coords, grid, activity.min_observed)
    onsets = np.asarray(coords["onset"].values)
    # counts and their transpose at one byte per count, and the 64-bit histogram of one unit
    size = len(onsets) * grid.bins * (2 * len(units.times) + 8)
    where = f"{file.path}: {len(onsets)} trials x {grid.bins} bins x {len(units.times)} units"
    check_fits_memory(where, size, "Choose wider bins")
    counts = count_spikes(units.times, onsets, grid.window[0], grid.bin_width, grid.bins)
    variables = {"spike_count": (("trial", "time", "unit"), counts, {"long_name": "spikes in the bin"})}
    dataset = xr.Dataset(variables, coords=joint_coords(coords, units.coords))
    return with_dropped(dataset, [*lines, *unobserved]), units.filter_values
