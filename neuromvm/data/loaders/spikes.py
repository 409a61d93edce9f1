"""Spike counts of one file on the time grid."""

import numpy as np
import xarray as xr

from neuromvm.data.bins import count_spikes
from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.labels import joint_coords
from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.data.loaders.observed import apply_observation, check_clock, inside_recording
from neuromvm.data.loaders.trials import FilterValues, Trials
from neuromvm.data.loaders.units import read_units
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import SpikeActivity, TimeGrid


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
    dataset = xr.Dataset(
        {"spike_count": (("trial", "time", "unit"), counts, {"long_name": "spikes in the bin"})},
        coords=joint_coords(coords, units.coords),
    )
    return with_dropped(dataset, [*lines, *unobserved]), units.filter_values
