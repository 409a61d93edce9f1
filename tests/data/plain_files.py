"""Small NWB files written by h5py alone, so that a test can store what pynwb would refuse or rearrange."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuromvm.specs import DataSpec

TRIALS = 20
STARTS = np.arange(TRIALS) * 9.0 + 5
STIMULI = ["A", "B"] * (TRIALS // 2)


def poisson_trains(units: int = 6, rate: float = 8.0, seconds: float = 200.0, seed: int = 0) -> list[np.ndarray]:
    """Return sorted spike times [s] of units that fire independently."""
    random = np.random.default_rng(seed)
    return [np.sort(random.uniform(0, seconds, random.poisson(rate * seconds))) for _ in range(units)]


def write_plain(
    path: Path,
    change: Callable[[h5py.File], Any] = lambda file: None,
    trains: list[np.ndarray] | None = None,
    subject: str = "m1",
) -> Path:
    """Write units and 20 trials of two stimuli, 9 s apart; ``change`` then edits the open file."""
    trains = poisson_trains() if trains is None else trains
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["general/subject/subject_id"] = subject
        file["identifier"] = path.stem
        units = file.create_group("units")
        units["id"] = np.arange(len(trains))
        units["spike_times"] = np.concatenate(trains)
        units["spike_times_index"] = np.cumsum([len(train) for train in trains])
        trials = file.create_group("intervals/trials")
        trials["id"] = np.arange(TRIALS)
        trials["start_time"] = STARTS
        trials["stop_time"] = STARTS + 4
        trials.create_dataset("stim", data=STIMULI, dtype=h5py.string_dtype())
        change(file)
    return path


def replace(group: h5py.Group, name: str, values: Any) -> h5py.Dataset:
    """Store other values under a name."""
    if name in group:
        del group[name]
    return group.create_dataset(name, data=values)


def plain_spec(**changes: Any) -> DataSpec:
    """Return the spec of these files: four bins of 0.5 s from the start of a trial."""
    settings: dict[str, Any] = {
        "name": "plain",
        "files": ["*.nwb"],
        "grid": {"kind": "time", "window": [0, 2], "bin_width": 0.5},
        "trials": {"labels": {"stim": "stim"}},
    }
    return DataSpec.model_validate(settings | changes)
