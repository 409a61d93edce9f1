"""Linear warping of time between two events of a trial, so that both are at the same time in all trials."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuromvm.data.bins import TOLERANCE


def recorded_times(
    warped: ArrayLike, onsets: NDArray[np.floating], durations: NDArray[np.floating], duration: float
) -> NDArray[np.float64]:
    """Return when warped times happened in each trial, ``(trial, time)`` [s].

    Between the events, which are at 0 and at ``duration`` in warped time, recorded time is stretched linearly; before the first
    and after the second event time runs as recorded.

    Parameters
    ----------
    warped
        Times ``(time,)`` relative to the first event, in warped time [s].
    onsets, durations
        Time of the first event of each trial ``(trial,)``, and from there to the second [s].
    duration
        Warped time from the first to the second event [s].

    Examples
    --------
    >>> recorded_times([-1, 0, 1, 2, 3], np.array([10.0]), np.array([4.0]), 2.0).tolist()
    [[9.0, 10.0, 12.0, 14.0, 15.0]]
    """
    times = np.asarray(warped, dtype=np.float64)
    before, after = np.minimum(times, 0.0), np.maximum(times - duration, 0.0)
    between = np.clip(times, 0.0, duration) / duration
    return np.asarray(onsets[:, None] + before + durations[:, None] * between + after)


def count_warped_spikes(
    spike_times: Sequence[NDArray[np.floating]], edges: NDArray[np.float64], bin_width: float
) -> NDArray[np.unsignedinteger]:
    """Return spike counts ``(trial, bin, unit)`` between the ``edges (trial, edge)`` [s] of each trial, in recorded time.

    Bins are half-open. As in :func:`neuromvm.data.bins.times_in_windows`, a spike within a millionth of ``bin_width`` of an edge
    counts as on the edge. Counts are those of recorded spikes: a bin that covers more recorded time holds more of them.
    """
    largest = float(np.abs(edges).max(initial=0.0))
    slack = max(TOLERANCE * bin_width, 4 * float(np.spacing(largest)))
    counts = np.zeros((len(edges), edges.shape[1] - 1, len(spike_times)), dtype=np.int64)
    for unit, times in enumerate(spike_times):
        counts[..., unit] = np.diff(np.searchsorted(times, edges - slack), axis=1)
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
