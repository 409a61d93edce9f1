"""One small simulated study, written in the layout of every source; times are whole milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from pynwb import NWBHDF5IO

from tests.data.nwb_files import trial_columns, write_spikes

ANIMALS = ("ada", "bob")
TRIALS = 8
PERIOD, EVENT = 3000, 1000  # [ms] from trial to trial, and from its start to the odor
DURATION = TRIALS * PERIOD + 1000
IDS = np.array([3, 7, 11, 20])
GROUPS = ["good", "good", "noise", "good"]
SAMPLES_PER_MS = 30


@dataclass(frozen=True)
class Recording:
    """One animal: columns of trials, with times in ms, and spike times of its units [ms]."""

    trials: dict[str, np.ndarray]
    trains: list[np.ndarray]

    def seconds(self) -> dict[str, np.ndarray]:
        """Return the columns of trials with times in seconds."""
        return {name: values / 1000 if name.endswith("_time") else values for name, values in self.trials.items()}

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return time [ms] and unit of all spikes, in order of time."""
        times = np.concatenate(self.trains)
        units = np.repeat(IDS, [len(train) for train in self.trains])
        order = np.argsort(times, kind="stable")
        return times[order], units[order]


def recording(animal: str) -> Recording:
    """Return the recording of an animal."""
    rng = np.random.default_rng(ANIMALS.index(animal))
    start = PERIOD * np.arange(TRIALS)
    odor = rng.integers(1, 6, TRIALS)
    position = np.where(rng.random(TRIALS) < 0.7, odor, odor % 5 + 1)
    trials = {
        "start_time": start + 500,
        "stop_time": start + 2500,
        "odor_time": start + EVENT,
        "odor": odor,
        "position": position,
        "in_sequence": odor == position,
        "correct": rng.random(TRIALS) < 0.5,
        "scent": np.array([["mint", "rose", "lemon", "clove", "anise"][code - 1] for code in odor]),
    }
    trains = [np.sort(rng.choice(np.arange(1, DURATION), size=count, replace=False)) for count in (300, 120, 500, 80)]
    return Recording(trials, trains)


def write_nwb(folder: Path, columns: Mapping[str, Any], ids: np.ndarray = IDS) -> None:
    """Write an NWB file an animal, with columns of units."""
    for animal in ANIMALS:
        source = recording(animal)
        trains = [train / 1000 for train in source.trains]
        path = folder / f"{animal}.nwb"
        write_spikes(path, trains=trains, trials=source.seconds(), columns=columns, ids=ids.tolist(), subject=animal)


def write_zarr(folder: Path, columns: Mapping[str, Any]) -> None:
    """Write an NWB-Zarr folder an animal, or skip the test where hdmf-zarr is not installed."""
    hdmf_zarr = pytest.importorskip("hdmf_zarr")
    with TemporaryDirectory() as temporary:
        write_nwb(Path(temporary), columns)
        for animal in ANIMALS:
            with (
                NWBHDF5IO(str(Path(temporary) / f"{animal}.nwb"), "r") as source,
                hdmf_zarr.NWBZarrIO(str(folder / f"{animal}.nwb.zarr"), "w") as target,
            ):
                target.export(src_io=source, write_args={"link_data": False})


def write_npz(folder: Path) -> None:
    """Write an archive an animal with flat spike times [ms] and where each unit ends."""
    for animal in ANIMALS:
        source = recording(animal)
        ends = np.cumsum([len(train) for train in source.trains])
        arrays = {f"t_{name}": values for name, values in source.seconds().items()}
        np.savez(folder / f"{animal}.npz", st=np.concatenate(source.trains), ends=ends, ids=IDS, quality=GROUPS, **arrays)


def write_npz_units(folder: Path) -> None:
    """Write an archive an animal with the unit of every spike."""
    for animal in ANIMALS:
        source = recording(animal)
        times, units = source.spikes()
        arrays = {f"t_{name}": values for name, values in source.seconds().items()}
        np.savez_compressed(folder / f"{animal}.npz", st=times, su=units, ids=IDS, quality=GROUPS, **arrays)


def write_npz_pattern(folder: Path) -> None:
    """Write an archive an animal with an array a unit; names sort as numbers."""
    for animal in ANIMALS:
        source = recording(animal)
        trains = {f"unit_{unit}": train for unit, train in zip(IDS, source.trains, strict=True)}
        arrays = {f"t_{name}": values for name, values in source.seconds().items()}
        np.savez(folder / f"{animal}.npz", ids=IDS, quality=GROUPS, **arrays, **trains)


def write_mat5(folder: Path) -> None:
    """Write a MATLAB file of version 5 an animal: a struct with cells of spike times, and a struct array of units."""
    for animal in ANIMALS:
        source = recording(animal)
        cells = np.empty((1, len(IDS)), dtype=object)
        cells[0] = [train.astype(float).reshape(-1, 1) for train in source.trains]
        scents = np.array(source.trials["scent"].tolist(), dtype=object)
        trials = {**{name: values.reshape(-1, 1) for name, values in source.trials.items()}, "scent": scents}
        rows = list(zip(IDS.astype(float), GROUPS, strict=True))
        units = np.array(rows, dtype=[("id", object), ("group", object)])
        content = {"session": {"spikes": cells, "trials": trials}, "units": units, "subject": animal}
        scipy.io.savemat(folder / f"{animal}.mat", content, do_compression=True)


def write_mat73(folder: Path) -> None:
    """Write a MATLAB file of version 7.3 an animal with the variables of write_mat5."""
    for animal in ANIMALS:
        source = recording(animal)
        path = folder / f"{animal}.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            variables = MatlabFile(file)
            session, units = file.create_group("session"), file.create_group("units")
            variables.cell(session, "spikes", [train.astype(float) for train in source.trains])
            trials = session.create_group("trials")
            for name, values in source.trials.items():
                if values.dtype.kind == "U":
                    variables.cell(trials, name, values.tolist())
                else:
                    variables.write(trials, name, values)
            variables.cell(units, "id", [float(unit) for unit in IDS])
            variables.cell(units, "group", GROUPS)
            variables.write(file, "subject", animal)
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


class MatlabFile:
    """Writes values as MATLAB does: axes reversed, text as codes, cells as references."""

    def __init__(self, file: h5py.File) -> None:
        self.file, self.count = file, 0

    def write(self, group: h5py.Group, name: str, value: Any) -> h5py.Dataset:
        """Write a number, a column vector, a matrix or a text."""
        if isinstance(value, str):
            kind, stored = "char", np.array([[ord(letter)] for letter in value], dtype=np.uint16)
        else:
            array = np.asarray(value)
            stored = np.atleast_2d(array if array.ndim < 2 else array.T)
            kind = {"b": "logical", "f": "double", "i": "int64"}[array.dtype.kind]
            stored = stored.astype(np.uint8) if kind == "logical" else stored
        dataset = group.create_dataset(name, data=stored)
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        return dataset

    def cell(self, group: h5py.Group, name: str, values: list[Any]) -> None:
        """Write a cell, or a field of a struct array."""
        references = []
        for value in values:
            self.count += 1
            references.append(self.write(self.file.require_group("#refs#"), f"r{self.count}", value).ref)
        dataset = group.create_dataset(name, data=np.array([references], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
        dataset.attrs["MATLAB_class"] = np.bytes_("cell")


def write_csv(folder: Path) -> None:
    """Write a folder an animal with tables of spikes [ms], units and trials [ms]."""
    for animal in ANIMALS:
        source, session = recording(animal), folder / animal
        session.mkdir()
        times, units = source.spikes()
        lines = [f"{time},{unit}" for time, unit in zip(times, units, strict=True)]
        (session / "spikes.csv").write_text("\n".join(["time,unit", *lines]))
        rows = [f"{unit},{group}" for unit, group in zip(IDS, GROUPS, strict=True)]
        (session / "units.csv").write_text("\n".join(["id,group", *rows]))
        write_trials(session / "trials.csv", source.trials)


def write_trials(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write a table of trials as text."""
    rows = [",".join(map(str, row)) for row in zip(*(values.tolist() for values in columns.values()), strict=True)]
    path.write_text("\n".join([",".join(columns), *rows]), "utf-8")


def write_npy_units(folder: Path) -> None:
    """Write a folder an animal with a file a unit [samples], and tables of units and trials [s]."""
    for animal in ANIMALS:
        source, session = recording(animal), folder / animal
        session.mkdir()
        for unit, train in zip(IDS, source.trains, strict=True):
            np.save(session / f"unit_{unit}.npy", SAMPLES_PER_MS * train)
        rows = [f"{unit}\t{group}" for unit, group in zip(IDS, GROUPS, strict=True)]
        (session / "units.tsv").write_text("\n".join(["id\tgroup", *rows]))
        write_trials(session / "trials.csv", source.seconds())


def write_phy(folder: Path) -> None:
    """Write a folder of phy an animal, with a table of trials above it."""
    for animal in ANIMALS:
        source, session = recording(animal), folder / animal / "phy"
        session.mkdir(parents=True)
        times, units = source.spikes()
        np.save(session / "spike_times.npy", (SAMPLES_PER_MS * times).astype(np.uint64).reshape(-1, 1))
        np.save(session / "spike_clusters.npy", units.astype(np.int32))
        (session / "params.py").write_text("import os\nos.abort()\ndat_path = 'raw.bin'\nsample_rate = 30000.\n")
        rows = [f"{unit}\t{group}" for unit, group in zip(IDS, GROUPS, strict=True)]
        (session / "cluster_group.tsv").write_text("\n".join(["cluster_id\tgroup", *rows]))
        write_trials(session.parent / "trials.csv", source.seconds())


def write_stat_matrix(folder: Path) -> None:
    """Write the files of the Fortin laboratory: a behaviour matrix, and two tetrodes with two units each, 1 kHz."""
    for animal in ANIMALS:
        source, session = recording(animal), folder / animal
        session.mkdir()
        times = np.arange(DURATION) / 1000
        columns = {"TimeBin": times}
        for name in ("Odor", "Position"):
            for code in range(1, 6):
                columns[f"{name}{code}"] = np.zeros(DURATION)
        columns |= {
            name: np.zeros(DURATION) for name in ("InSeqLog", "PerformanceLog", "PokeEvents", "FrontReward", "BackReward")
        }
        for trial in range(TRIALS):
            row = source.trials["odor_time"][trial]
            columns[f"Odor{source.trials['odor'][trial]}"][row] = 1
            columns[f"Position{source.trials['position'][trial]}"][row] = 1
            columns["InSeqLog"][row] = 1 if source.trials["in_sequence"][trial] else -1
            columns["PerformanceLog"][row] = 1 if source.trials["correct"][trial] else -1
            columns["PokeEvents"][source.trials["start_time"][trial]] = 1
            columns["PokeEvents"][source.trials["stop_time"][trial]] = -1
        _write_matrix(session / f"{animal}_BehaviorMatrix.mat", "behavMatrix", columns)
        for tetrode in (2, 10):
            signal = np.random.default_rng(tetrode).normal(size=DURATION)
            columns = {"TimeBin": times, f"T{tetrode}_LFP_Raw": signal, f"T{tetrode}_LFP_Raw_HilbVals": signal}
            for unit in (1, 2):
                spikes = np.zeros(DURATION)
                spikes[source.trains[(0 if tetrode == 2 else 2) + unit - 1]] = 1
                columns[f"T{tetrode}-U{unit}"] = spikes
            _write_matrix(session / f"{animal}_T{tetrode}_SM.mat", "statMatrix", columns)
        np.save(session / "notes.npy", np.zeros(1))


def _write_matrix(path: Path, name: str, columns: Mapping[str, np.ndarray]) -> None:
    ids = np.array([list(columns)], dtype=object)
    scipy.io.savemat(path, {name: np.column_stack(list(columns.values())), f"{name}ColIDs": ids}, do_compression=True)


FRAME_RATE = 10.0


def fluorescence(animal: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inferred events ``(cell, frame)`` and ``iscell (cell, 2)`` of an animal, and its trials' starts [s]."""
    rng = np.random.default_rng(10 + ANIMALS.index(animal))
    events = rng.gamma(1.0, size=(5, 250)).astype(np.float32)
    cells = np.column_stack([[1, 0, 1, 1, 0], np.linspace(0.9, 0.1, 5)]).astype(np.float32)
    return events, cells, 3.0 * np.arange(TRIALS)


def write_suite2p(folder: Path) -> None:
    """Write a folder of suite2p an animal, with a table of trials above it and pickles that must not be opened."""
    for animal in ANIMALS:
        events, cells, starts = fluorescence(animal)
        plane = folder / animal / "suite2p" / "plane0"
        plane.mkdir(parents=True)
        neuropil = np.full_like(events, 2.0)
        arrays = {"spks": events, "F": events + np.float32(0.7) * neuropil, "Fneu": neuropil, "iscell": cells}
        for name, values in arrays.items():
            np.save(plane / f"{name}.npy", values)
        for name in ("ops", "stat"):
            (plane / f"{name}.npy").write_bytes(b"a pickle that must not be opened")
        write_trials(folder / animal / "trials.csv", calcium_trials(starts))


def calcium_trials(starts: np.ndarray) -> dict[str, np.ndarray]:
    """Return trials of 2 s with an odor after 1 s."""
    odor = np.array(["A", "B"] * (len(starts) // 2))
    columns = trial_columns(start_time=starts, stop_time=starts + 2, cue_time=starts + 1, odor=odor)
    return {name: np.asarray(values) for name, values in columns.items()}
