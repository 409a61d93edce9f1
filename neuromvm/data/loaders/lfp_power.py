"""Power of a local field potential in frequency bands, as activity with one unit per channel and band."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.calcium import Frames, frames_dataset
from neuromvm.data.loaders.lfp import channels_of, only_lfp, read_channel
from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.data.loaders.series import Series
from neuromvm.data.loaders.trials import Trials
from neuromvm.data.theta import EDGE, band_power, stretches
from neuromvm.schema import Dropped
from neuromvm.specs.data import LfpPowerActivity, TimeGrid

MICROVOLT = 1e-6


def lfp_power_dataset(file: NwbFile, activity: LfpPowerActivity, grid: TimeGrid, trials: Trials) -> xr.Dataset:
    """Return mean power ``event_amplitude (trial, time, unit)`` [uV^2] of a file with coordinates and the account of drops.

    It is the power of the analytic signal of each band, computed from the whole session. Samples within 0.25 s of a gap or an end
    are not used; a trial with a bin without samples is dropped and counted. Units have the coordinates ``channel`` and ``band``,
    such as "4-12 Hz".
    """
    path = activity.series or only_lfp(file, "activity")
    channels = list(range(channels_of(file, path))) if activity.channels is None else activity.channels
    powers = []
    for channel in channels:
        signal = read_channel(file, path, channel)
        powers += [_power(signal, band, file.where(path)) for band in activity.bands]
    values = np.stack(powers, axis=1) / MICROVOLT**2
    usable = np.isfinite(values).all(axis=1)
    names = [f"{low:g}-{high:g} Hz" for low, high in activity.bands]
    units = xr.Dataset(
        coords={
            "unit": np.arange(values.shape[1]),
            "channel": ("unit", np.repeat(channels, len(names))),
            "band": ("unit", np.tile(names, len(channels))),
        }
    )
    reason = f"the LFP has a gap or an end within {EDGE:g} s"
    lines = [*signal.dropped, Dropped("samples of LFP power", reason, int((~usable).sum()))]
    frames = Frames(values[usable].astype(np.float32), signal.times[usable], "uV^2", units, lines)
    return frames_dataset(file, frames, grid, trials, f"mean power of {path} in the bin")


def _power(signal: Series, band: tuple[float, float], where: str) -> NDArray[np.float64]:
    """Return the power of a band at the times of a signal ``(sample,)``, NaN where it is unknown."""
    values, times, period, pieces = stretches(signal.values, signal.times, band, where)
    power = np.full(len(times), np.nan)
    for piece in pieces:
        inside = (times[piece] >= times[piece[0]] + EDGE) & (times[piece] <= times[piece[-1]] - EDGE)
        power[piece[inside]] = band_power(values[piece], 1 / period, band)[inside]
    return np.asarray(np.interp(signal.times, times, power, left=np.nan, right=np.nan))
