"""Spike counts and frame averages in bins around events, robust to rounding errors of times."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

TOLERANCE = 1e-6  # of a bin: puts 2.999999999 into bin 3, far below any sampling interval


def bin_centres(start: float, bin_width: float, bins: int) -> NDArray[np.float64]:
    """Return the centres ``(bin,)`` of bins of equal width from ``start``."""
    return np.asarray(start + bin_width * (np.arange(bins) + 0.5))


def times_in_windows(
    times: NDArray[np.floating], onsets: NDArray[np.floating], start: float, bin_width: float, bins: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return ``(trial, bin, index)`` of every time in the half-open windows of trials, which may overlap and be in any order.

    ``times (time,)``, sorted, ``onsets (trial,)`` and the ``start`` of windows relative to onsets are in s. A time within a
    millionth of a bin of an edge counts as on the edge, so that times in whole milliseconds are binned as in integer arithmetic.
    """
    times = np.asarray(times, dtype=np.float64)
    starts = np.asarray(onsets, dtype=np.float64) + start
    if not times.size or not starts.size:
        return (np.empty(0, dtype=np.intp),) * 3
    largest = max(abs(times[0]), abs(times[-1]), float(np.abs(starts).max()))
    # clocks that count from 1970 resolve only 0.2 us, which may be more than a millionth of a bin
    tolerance = max(TOLERANCE, 4 * float(np.spacing(largest)) / bin_width)
    # candidates; the floor below decides, with the same rule at both ends
    begin = np.searchsorted(times, starts - bin_width)
    lengths = np.searchsorted(times, starts + (bins + 1) * bin_width) - begin
    trial = np.repeat(np.arange(starts.size), lengths)
    index = np.arange(lengths.sum()) + np.repeat(begin - (np.cumsum(lengths) - lengths), lengths)
    position = np.floor((times[index] - starts[trial]) / bin_width + tolerance).astype(np.intp)
    inside = (position >= 0) & (position < bins)
    return trial[inside], position[inside], index[inside]


def count_spikes(
    spike_times: Sequence[NDArray[np.floating]], onsets: NDArray[np.floating], start: float, bin_width: float, bins: int
) -> NDArray[np.unsignedinteger]:
    """Return spike counts ``(trial, bin, unit)`` in half-open bins around events, as in :func:`times_in_windows`.

    ``spike_times`` are sorted [s], one array per unit. The type is uint8, or the narrowest unsigned type for the largest count.

    Examples
    --------
    >>> count_spikes([np.array([0.999, 1.0, 1.25])], np.array([1.0]), start=-0.5, bin_width=0.5, bins=2).ravel().tolist()
    [1, 2]
    """
    trials = len(onsets)
    counts: NDArray[np.unsignedinteger] = np.zeros((len(spike_times), trials, bins), dtype=np.uint8)
    for unit, times in enumerate(spike_times):
        trial, position, _ = times_in_windows(times, onsets, start, bin_width, bins)
        unit_counts = np.bincount(trial * bins + position, minlength=trials * bins)
        largest = int(unit_counts.max(initial=0))
        if largest > np.iinfo(counts.dtype).max:
            counts = counts.astype(np.min_scalar_type(largest))
        counts[unit] = unit_counts.reshape(trials, bins)
    return np.ascontiguousarray(counts.transpose(1, 2, 0))


def average_frames(
    frames: NDArray[np.floating],
    trial: NDArray[np.intp],
    position: NDArray[np.intp],
    index: NDArray[np.intp],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Return means ``(trial, bin, unit)`` of ``frames (frame, unit)`` placed by :func:`times_in_windows`, NaN in empty bins."""
    trials, bins = shape
    cell = trial * bins + position
    members = csr_matrix((np.ones(cell.size), (cell, index)), shape=(trials * bins, len(frames)))
    sizes = np.bincount(cell, minlength=trials * bins)
    sums = np.asarray(members @ frames, dtype=np.float64)
    sums[sizes == 0] = np.nan
    means = sums / np.maximum(sizes, 1)[:, None]
    return means.reshape(trials, bins, frames.shape[1]).astype(np.float32)
