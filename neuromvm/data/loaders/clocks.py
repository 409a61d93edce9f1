"""Clocks of recordings: whether times start again, silences in which nothing can have been recorded, and overlaps of windows."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EDGE = 1e-6  # [s] slack at the ends of intervals
FEWEST_TIMES = 6  # that show an order
LARGEST_SHARE_OF_FALLS = 0.05  # of steps between times of a clock that starts again; times in disorder fall at about half
SILENCE_RATIO = 5.0  # of the shortest hole and the longest ordinary silence
CHANCE = 1e-6  # of a hole in a whole recording, if spikes came independently at the rate outside of holes
MOST_SILENCES = 1000  # longest ones that are compared
MOST_HOLES = 10  # silences that recur more often may belong to the activity, such as rests between laps


class Silences(NamedTuple):
    """Silences of all units: ``holes (hole, 2)`` [s], longer than ``ordinary`` [s] by far; ``recurring``: too many to be gaps."""

    holes: NDArray[np.float64]
    ordinary: float
    recurring: bool


def starts_again(times: NDArray[np.float64]) -> bool:
    """Return whether times in their stored order rise, fall to the first half of what they covered, and rise again.

    Times in disorder fall often, and swapped neighbours fall little; neither is a clock that starts again.
    """
    if len(times) < FEWEST_TIMES:
        return False
    falls = np.flatnonzero(times[1:] < times[:-1])
    if not len(falls) or len(falls) > max(1.0, LARGEST_SHARE_OF_FALLS * len(times)):
        return False
    begins = times[np.r_[0, falls[:-1] + 1]]
    return bool((times[falls + 1] <= (begins + times[falls]) / 2).any())


def silences(spikes: NDArray[np.float64]) -> Silences:
    """Return the holes between sorted ``spikes (spike,)`` [s] of all units together.

    A hole is a silence at least five times as long as the longest shorter one (more than half of all are shorter), and so long
    that, at the rate outside of holes, one such silence in the whole recording has a chance below 1e-6. More than ten of them are
    ``recurring``.
    """
    gaps = np.diff(spikes)
    largest = max(0, len(gaps) - MOST_SILENCES)
    lengths = np.sort(np.partition(gaps, largest)[largest:]) if len(gaps) else gaps
    if len(lengths) < 2:
        return Silences(np.empty((0, 2)), float(lengths.max(initial=0.0)), recurring=False)
    longer = np.cumsum(lengths[::-1])[::-1][1:]  # total of the silences longer than each
    mean = (spikes[-1] - spikes[0] - longer) / (largest + np.arange(1, len(lengths)))
    shortest_hole = np.maximum(SILENCE_RATIO * lengths[:-1], mean * np.log(len(gaps) / CHANCE))
    most = largest + np.arange(1, len(lengths)) >= len(gaps) / 2  # ordinary silences are more than half of all
    apart = (lengths[1:] >= shortest_hole) & (lengths[:-1] > 0) & most
    if not apart.any():
        return Silences(np.empty((0, 2)), float(lengths[-1]), recurring=False)
    ordinary = float(lengths[np.argmax(apart)])
    rows = np.flatnonzero(gaps > ordinary)
    return Silences(np.column_stack([spikes[rows], spikes[rows + 1]]), ordinary, recurring=len(rows) > MOST_HOLES)


def overlap(
    starts: NDArray[np.float64], stops: NDArray[np.float64], intervals: NDArray[np.float64], longest: float = 0.0
) -> NDArray[np.bool_]:
    """Return for each ``starts, stops (window,)`` whether more than ``longest`` of it is in one of ``intervals (interval, 2)``.

    With ``longest`` 0 an interval without length, inside the window, overlaps with it.
    """
    overlapping = np.zeros(len(starts), dtype=bool)
    for begin, end in intervals:
        if longest > 0:
            overlapping |= np.minimum(stops, end) - np.maximum(starts, begin) > longest + EDGE
        else:
            overlapping |= (begin < stops - EDGE) & (end > starts + EDGE)
    return overlapping
