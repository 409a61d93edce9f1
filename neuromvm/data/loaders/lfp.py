"""Local field potentials: the theta phase of every bin of every trial, and the power of frequency bands as activity."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.bins import bin_centres
from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.calcium import Frames, frames_dataset
from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.labels import shown
from neuromvm.data.loaders.series import Series, read_series, series_paths
from neuromvm.data.loaders.trials import Trials
from neuromvm.data.theta import EDGE, band_power, phase_at, stretches
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError
from neuromvm.schema import ACTIVITY_KIND, THETA_PHASE, Dropped, with_dropped
from neuromvm.specs.data import DataSpec, LfpPowerActivity, LfpSpec, TimeGrid

MICROVOLT = 1e-6  # [V]
COPIES = 8  # of the signal in memory during filtering


def with_theta_phase(file: ArrayTree, dataset: xr.Dataset, lfp: LfpSpec, grid: TimeGrid) -> xr.Dataset:
    """Return the dataset of a session with the coordinate ``theta_phase (trial, time)`` [rad], 0 at the peak of the LFP.

    It is that of bin centres, computed from the whole session; NaN, and counted, within 0.25 s of a gap or an end of the signal.
    """
    path = lfp.series or only_lfp(file, "lfp")
    signal = read_channel(file, path, lfp.channel)
    at = dataset["onset"].to_numpy()[:, None] + bin_centres(grid.window[0], grid.bin_width, grid.bins)
    phase = phase_at(signal.values, signal.times, at, lfp.band, file.where(path))
    if phase.size and np.isnan(phase).all():
        raise AlignmentError(
            file.where(path),
            found=f"samples from {signal.times[0]:.6g} to {signal.times[-1]:.6g} s, "
            f"trials from {at.min():.6g} to {at.max():.6g} s",
            expected="a field potential during the trials",
            next_step="Check that its times are seconds of the clock of the trials, or leave 'lfp' out of the data spec",
        )
    return with_phase(dataset, phase, lfp, signal.dropped)


def with_phase(dataset: xr.Dataset, phase: NDArray[np.float32], lfp: LfpSpec, lines: list[Dropped]) -> xr.Dataset:
    """Return the dataset with its phase ``(trial, time)`` [rad], and the number of bins without a phase in its account."""
    long_name = f"theta phase of the LFP, {lfp.band[0]:g} to {lfp.band[1]:g} Hz, 0 at its peak"
    attrs = {"units": "rad", "long_name": long_name, "channel": lfp.channel}
    unknown = Dropped("bins of theta phase", f"the LFP has a gap or an end within {EDGE:g} s", int(np.isnan(phase).sum()))
    return with_dropped(dataset.assign_coords({THETA_PHASE: (("trial", "time"), phase, attrs)}), [*lines, unknown])


def only_lfp(file: ArrayTree, setting: str) -> str:
    """Return the path of the only field potential, preferably in an LFP container; ``setting``: part of the spec for messages."""
    electrical = [path for path in series_paths(file) if str(file.attribute(path, "neurodata_type")) == "ElectricalSeries"]
    inside = [path for path in electrical if str(file.attribute(path.rpartition("/")[0], "neurodata_type")) == "LFP"]
    paths = inside or electrical
    if len(paths) != 1:
        raise MissingTableError(
            str(file.path),
            found=f"{len(paths) or 'no'} field potentials (ElectricalSeries){': ' if paths else ''}{shown(paths)}",
            expected="one",
            next_step=f"Name it as {setting}.series" if paths else f"Leave {setting!r} out of the data spec",
        )
    return paths[0]


def channels_of(file: ArrayTree, path: str) -> int:
    """Return the number of channels of a series."""
    data = f"{path}/data"
    if data not in file:
        read_series(file, path)  # raises MissingTableError
    shape = file.shape(data)
    if len(shape) not in (1, 2) or not shape[0]:
        raise DataFormatError(file.where(data), found=f"values of shape {shape}", expected="(sample, channel)")
    return 1 if len(shape) == 1 else int(shape[1])


def read_channel(file: ArrayTree, path: str, channel: int) -> Series:
    """Return one channel of a series; only this channel is read."""
    channels = channels_of(file, path)
    data = f"{path}/data"
    shape, where = file.shape(data), file.where(data)
    check_channel(where, channel, channels)
    check_fits_memory(where, shape[0] * 8 * COPIES, "Store the signal at a lower rate: 250 samples a second suffice for theta")
    return read_series(file, path, None if len(shape) == 1 else channel)


def check_channel(where: str, channel: int, channels: int) -> None:
    """Raise DataFormatError unless there are more than ``channel`` channels."""
    if channel >= channels:
        next_step = "Channels are numbered from 0"
        raise DataFormatError(where, found=f"{channels} channels", expected=f"more than {channel}", next_step=next_step)


def lfp_power_dataset(file: ArrayTree, spec: DataSpec, trials: Trials) -> xr.Dataset:
    """Return mean power ``event_amplitude (trial, time, unit)`` [uV^2] of a file with coordinates and the account of drops.

    It is the power of the analytic signal of each band, from the whole session without samples within 0.25 s of a gap or an end.
    A trial with a bin without samples is dropped and counted. Units have the coordinates ``channel`` and ``band`` ("4-12 Hz").
    """
    activity = spec.activity
    assert isinstance(activity, LfpPowerActivity)
    path = activity.series or only_lfp(file, "activity")
    channels = list(range(channels_of(file, path))) if activity.channels is None else activity.channels
    powers = []
    for channel in channels:
        signal = read_channel(file, path, channel)
        powers += [_power(signal, band, file.where(path)) for band in activity.bands]
    values = np.stack(powers, axis=1) / MICROVOLT**2
    usable = np.isfinite(values).all(axis=1)
    names = [f"{low:g}-{high:g} Hz" for low, high in activity.bands]
    columns = {"channel": ("unit", np.repeat(channels, len(names))), "band": ("unit", np.tile(names, len(channels)))}
    units = xr.Dataset(coords={"unit": np.arange(values.shape[1]), **columns})
    reason = f"the LFP has a gap or an end within {EDGE:g} s"
    lines = [*signal.dropped, Dropped("samples of LFP power", reason, int((~usable).sum()))]
    frames = Frames(values[usable].astype(np.float32), signal.times[usable], "uV^2", units, lines)
    dataset = frames_dataset(file, frames, spec, trials, f"mean power of {path} in the bin")
    dataset["event_amplitude"].attrs[ACTIVITY_KIND] = "power"
    return dataset


def _power(signal: Series, band: tuple[float, float], where: str) -> NDArray[np.float64]:
    """Return the power of a band at the times of a signal ``(sample,)``, NaN where it is unknown."""
    values, times, period, pieces = stretches(signal.values, signal.times, band, where)
    power = np.full(len(times), np.nan)
    for piece in pieces:
        inside = (times[piece] >= times[piece[0]] + EDGE) & (times[piece] <= times[piece[-1]] - EDGE)
        power[piece[inside]] = band_power(values[piece], 1 / period, band)[inside]
    return np.asarray(np.interp(signal.times, times, power, left=np.nan, right=np.nan))
