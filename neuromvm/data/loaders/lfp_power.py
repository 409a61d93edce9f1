"""Power of a local field potential in frequency bands, as activity: a unit for each channel and band."""

import numpy as np
import xarray as xr

from neuromvm.data.loaders.calcium import Frames, frames_dataset
from neuromvm.data.loaders.lfp import channels_of, only_lfp, read_channel
from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.data.loaders.trials import Trials
from neuromvm.data.theta import EDGE, band_power, stretches
from neuromvm.schema import Dropped
from neuromvm.specs.data import LfpPowerActivity, TimeGrid

MICROVOLT = 1e-6


def lfp_power_dataset(file: NwbFile, activity: LfpPowerActivity, grid: TimeGrid, trials: Trials) -> xr.Dataset:
    """Return mean power ``event_amplitude (trial, time, unit)`` [uV^2] of a file with coordinates and the account of drops.

    Power is that of the analytic signal of each band, from the whole signal of the session. Samples within 0.25 s of a gap or an
    end are not used; a trial with a bin without samples is dropped and counted. Units have the coordinates ``channel`` and
    ``band``, such as "4-12 Hz".

    Raises
    ------
    NeuromvmError
        As :func:`neuromvm.data.loaders.lfp.with_theta_phase`; of trials that the signal does not cover, as calcium.
    """
    path = activity.series or only_lfp(file, "activity")
    channels = list(range(channels_of(file, path))) if activity.channels is None else activity.channels
    powers, lines = [], []
    known: np.ndarray = np.empty(0)
    for channel in channels:
        signal = read_channel(file, path, channel)
        lines = signal.dropped
        each = []
        for band in activity.bands:
            values, times, period, pieces = stretches(signal.values, signal.times, band, file.where(path))
            power = np.full(len(times), np.nan)
            for piece in pieces:
                inside = (times[piece] >= times[piece[0]] + EDGE) & (times[piece] <= times[piece[-1]] - EDGE)
                power[piece[inside]] = band_power(values[piece], 1 / period, band)[inside]
            each.append(np.interp(signal.times, times, power, left=np.nan, right=np.nan))
        powers.append(np.stack(each, axis=1))
        known = signal.times
    values = np.concatenate(powers, axis=1) / MICROVOLT**2
    usable = np.isfinite(values).all(axis=1)
    names = [f"{low:g}-{high:g} Hz" for low, high in activity.bands]
    units = xr.Dataset(
        coords={
            "unit": np.arange(values.shape[1]),
            "channel": ("unit", np.repeat(channels, len(names))),
            "band": ("unit", np.tile(names, len(channels))),
        }
    )
    lines = [*lines, Dropped("samples of LFP power", f"the LFP has a gap or an end within {EDGE:g} s", int((~usable).sum()))]
    frames = Frames(values[usable].astype(np.float32), known[usable], "uV^2", units, lines)
    return frames_dataset(file, frames, grid, trials, f"mean power of {path} in the bin")
