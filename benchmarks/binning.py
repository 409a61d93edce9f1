"""Counting spikes around events against pynapple."""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.pairs import Pair, Side, Work
from benchmarks.spikes import BIN_WIDTH, BINS, START, trains


def pairs() -> list[Pair]:
    """Return the one pair: the same spikes and trials, ready in memory, to counts."""
    return [
        Pair(
            "binning_pynapple",
            Side("count_spikes", _ours),
            Side("pynapple's build_tensor", _pynapple),
            "for 200 units, 1,500 trials, 40 bins",
            agreement="all counts, exactly",
            needs=("pynapple",),
        )
    ]


def _ours(folder: Path) -> Work:
    from neuromvm.data.bins import count_spikes

    spikes = trains()
    count = partial(count_spikes, spikes.times, spikes.onsets, START, BIN_WIDTH, BINS)

    def run() -> float:
        count()
        return 1

    return Work(run, lambda: {"counts": count().astype(np.uint16)})


def _pynapple(folder: Path) -> Work:
    import pynapple

    spikes = trains()
    group = pynapple.TsGroup({number: pynapple.Ts(t=times) for number, times in enumerate(spikes.times)})
    trials = pynapple.IntervalSet(start=spikes.onsets + START, end=spikes.onsets + START + BINS * BIN_WIDTH)

    def count() -> np.ndarray:
        return np.asarray(pynapple.build_tensor(group, trials, bin_size=BIN_WIDTH))

    def run() -> float:
        count()
        return 1

    return Work(run, lambda: {"counts": count().transpose(1, 2, 0).astype(np.uint16)})
