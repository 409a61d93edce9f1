"""Rhythms in a local field potential: the phase of theta, 0 at its peaks and pi at its troughs, and the power of any band.

The phase depends on the depth of the electrode: theta reverses its polarity between the pyramidal layer and the hippocampal
fissure, so phases of animals with electrodes at different depths may differ by up to half a cycle.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, sosfiltfilt

from neuromvm.errors import DataFormatError

BAND = (6.0, 10.0)  # [Hz] theta of a behaving rat
ORDER = 2  # of the filter, which runs once in each direction
EDGE = 0.25  # [s] at the ends of a signal without a phase, because its error would exceed 0.1 rad
LEAST_CYCLES = 3  # of the lowest frequency between the edges: a shorter piece has no phase
JITTER = 0.1  # tolerated irregularity of sample times [sampling periods]
GAP = 1.5  # interval between samples that divides a signal into two pieces [sampling periods]


def band_phase(signal: NDArray[np.floating], rate: float, band: tuple[float, float] = BAND) -> NDArray[np.complex128]:
    """Return the phase of a rhythm at every sample as ``exp(i phase)``, and 0 where the filtered signal is 0 ``(..., sample)``.

    It is the angle of the analytic signal (Gabor 1946, *J. Inst. Electr. Eng.* 93, 429-457) after a Butterworth filter, which
    runs forward and backward to avoid a delay. ``signal (..., sample)`` is finite; ``rate`` [Hz]; ``band``: limits of the pass
    band [Hz]. DataFormatError is raised if the rate is at most twice the highest frequency, or the signal is too short to filter.
    """
    analytic = _analytic(signal, rate, band)
    amplitude = np.abs(analytic)
    return np.asarray(np.divide(analytic, amplitude, out=np.zeros_like(analytic), where=amplitude > 0))


def band_power(signal: NDArray[np.floating], rate: float, band: tuple[float, float]) -> NDArray[np.float64]:
    """Return the power of a band at every sample, half the squared amplitude of the analytic signal ``(..., sample)``.

    A sine of amplitude a in the band has the power a^2 / 2, its mean square. See :func:`band_phase` for parameters and errors.
    """
    return np.asarray(np.abs(_analytic(signal, rate, band)) ** 2 / 2)


def _analytic(signal: NDArray[np.floating], rate: float, band: tuple[float, float]) -> NDArray[np.complex128]:
    check_rate(rate, band, "signal")
    if signal.shape[-1] < shortest(band) * rate:
        raise DataFormatError("signal", found=f"{signal.shape[-1] / rate:.3g} s", expected=_at_least(band))
    filtered = sosfiltfilt(butter(ORDER, band, "bandpass", fs=rate, output="sos"), signal.astype(np.float64), axis=-1)
    return np.asarray(hilbert(filtered, axis=-1))


def phase_at(
    signal: NDArray[np.floating],
    times: NDArray[np.floating],
    at: NDArray[np.floating],
    band: tuple[float, float] = BAND,
    where: str = "signal",
) -> NDArray[np.float32]:
    """Return the phase of a rhythm at the times ``at`` [s, any shape], from -pi to pi [rad], NaN where it is unknown.

    ``signal`` and its sorted ``times`` [s] are ``(sample,)``; gaps divide them into pieces, which are filtered separately. The
    phase is unknown within ``EDGE`` of their ends and in pieces shorter than :func:`shortest`. DataFormatError names ``where`` if
    sampling is irregular or too slow for the ``band`` [Hz], or no piece is long enough.
    """
    signal, times, period, pieces = stretches(signal, times, band, where)
    phase = np.full(at.shape, np.nan, dtype=np.float32)
    for piece in pieces:
        piece_times = times[piece]
        known = (at >= piece_times[0] + EDGE) & (at <= piece_times[-1] - EDGE)
        circle = band_phase(signal[piece], 1 / period, band)
        angle = np.interp(at[known], piece_times, np.unwrap(np.angle(circle)))
        has_phase = np.interp(at[known], piece_times, np.abs(circle)) > 0.5
        phase[known] = np.where(has_phase, np.angle(np.exp(1j * angle)), np.nan)
    return phase


def stretches(
    signal: NDArray[np.floating], times: NDArray[np.floating], band: tuple[float, float], where: str
) -> tuple[NDArray[np.floating], NDArray[np.floating], float, list[NDArray[np.intp]]]:
    """Return the finite samples and their times, the sampling period [s], and the pieces without a gap, as sample numbers.

    Arguments and errors are those of :func:`phase_at`; pieces that are too short to filter are left out.
    """
    finite = np.isfinite(signal) & np.isfinite(times)
    signal, times = signal[finite], times[finite]
    if len(times) < 2:
        raise DataFormatError(where, found=f"{len(times)} finite samples", expected="a signal")
    steps = np.diff(times)
    period = float(np.median(steps))
    # allows for the rounding errors of large times
    tolerance = JITTER * period + 4 * float(np.spacing(np.abs(times).max()))
    uneven = (np.abs(steps - period) > tolerance) & (steps < GAP * period)
    if period <= 0 or uneven.any():
        raise DataFormatError(
            where,
            found=f"irregular timestamps: {int(uneven.sum())} of {len(steps)} intervals are not the usual {period:.4g} s",
            expected=f"intervals that differ by less than {JITTER:.0%}, or gaps",
            next_step="Resample the signal to a constant rate and store it with that rate",
        )
    check_rate(1 / period, band, where)
    pieces = np.split(np.arange(len(times)), np.flatnonzero(steps >= GAP * period) + 1)
    long_enough = [piece for piece in pieces if len(piece) * period >= shortest(band)]
    if not long_enough:
        longest = max(map(len, pieces)) * period
        raise DataFormatError(where, found=f"no stretch without a gap above {longest:.3g} s", expected=_at_least(band))
    return signal, times, period, long_enough


def _at_least(band: tuple[float, float]) -> str:
    return f"at least {shortest(band):.3g} s, {LEAST_CYCLES} cycles of {band[0]:g} Hz and two edges of {EDGE:g} s"


def shortest(band: tuple[float, float] = BAND) -> float:
    """Return the shortest duration of a signal with a phase [s]."""
    return LEAST_CYCLES / band[0] + 2 * EDGE


def check_rate(rate: float, band: tuple[float, float], where: str) -> None:
    """Raise DataFormatError unless the sampling rate exceeds twice the highest frequency of the band."""
    if rate <= 2 * band[1] * (1 + 1e-6):  # a rate from timestamps has rounding errors
        raise DataFormatError(
            where,
            found=f"{rate:.4g} samples a second",
            expected=f"more than {2 * band[1]:g}, twice the highest frequency of the band {band[0]:g} to {band[1]:g} Hz",
            next_step="Use a signal with a higher sampling rate, or lower lfp.band",
        )
