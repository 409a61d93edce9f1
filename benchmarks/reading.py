"""From an NWB file to spike counts, against h5py, pynwb and pynapple.

With h5py and pynwb the counting is ours, so that reading is compared. Only ours checks clocks, observation intervals and labels,
and computes the hash of the file.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.pairs import Pair, Side, Work
from benchmarks.spikes import ANIMAL, BIN_WIDTH, BINS, ONSET, START, simulated

Read = Callable[[], NDArray[np.unsignedinteger]]


def pairs() -> list[Pair]:
    """Return a pair for each other way to read the same file."""
    readers = {"h5py": _h5py, "pynwb": _pynwb, "pynapple": _pynapple}
    return [
        Pair(
            f"reading_{name}",
            Side("load_recordings", partial(_work, _ours)),
            Side(name, partial(_work, reader)),
            "for a file of 200 units and 1,500 trials",
            agreement="all spike counts, exactly",
            needs=(name,),
            material=write_file,
        )
        for name, reader in readers.items()
    ]


def write_file(folder: Path) -> None:
    """Write the file that all sides read, spikes, trials and a field potential, with neuromvm's writer."""
    from neuromvm.data.simulate.write_nwb import _write_animal  # no public function writes a changed simulation

    _write_animal(folder, simulated(), ANIMAL)


def _file(folder: Path) -> Path:
    return next(folder.rglob("*.nwb"))


def _work(reader: Callable[[Path], Read], folder: Path) -> Work:
    read = reader(folder)

    def run() -> float:
        read()
        return 1

    return Work(run, lambda: {"counts": read().astype(np.uint16)})


def _ours(folder: Path) -> Read:
    from neuromvm.data.loaders import load_recordings
    from neuromvm.specs import DataSpec

    grid = {"kind": "time", "align": ONSET, "window": [START, START + BINS * BIN_WIDTH], "bin_width": BIN_WIDTH}
    spec = DataSpec.model_validate(
        {"name": "benchmark", "files": ["*/*.nwb"], "grid": grid, "trials": {"labels": {"odor": "odor"}}}
    )
    return lambda: load_recordings(spec, folder)[ANIMAL]["spike_count"].to_numpy()


def _h5py(folder: Path) -> Read:
    import h5py

    from neuromvm.data.bins import count_spikes

    def read() -> NDArray[np.unsignedinteger]:
        with h5py.File(_file(folder)) as file:
            times = np.split(file["units/spike_times"][:], file["units/spike_times_index"][:-1])
            onsets = file[f"intervals/trials/{ONSET}"][:]
        return count_spikes(times, onsets, START, BIN_WIDTH, BINS)

    return read


def _pynwb(folder: Path) -> Read:
    from pynwb import NWBHDF5IO

    from neuromvm.data.bins import count_spikes

    def read() -> NDArray[np.unsignedinteger]:
        with NWBHDF5IO(_file(folder), "r") as io:
            file = io.read()
            times = [file.units.get_unit_spike_times(unit) for unit in range(len(file.units))]
            onsets = file.trials[ONSET][:]
        return count_spikes(times, onsets, START, BIN_WIDTH, BINS)

    return read


def _pynapple(folder: Path) -> Read:
    import pynapple

    def read() -> NDArray[np.unsignedinteger]:
        data = pynapple.load_file(str(_file(folder)))
        onsets = np.asarray(data["trials"][ONSET])
        trials = pynapple.IntervalSet(start=onsets + START, end=onsets + START + BINS * BIN_WIDTH)
        tensor = pynapple.build_tensor(data["units"], trials, bin_size=BIN_WIDTH)
        return tensor.transpose(1, 2, 0).astype(np.uint16)

    return read
