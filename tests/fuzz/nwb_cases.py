"""Small NWB files, mutated: loaded, described and inspected."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuromvm.data.describe import describe, inspect_file
from neuromvm.data.loaders import load_recordings
from neuromvm.specs import DataSpec
from tests.fuzz.values import damage_file

CANARY_TIME = 31.25  # [s] spikes of the file outside of the folder; those inside are at other times
NAME = "a.nwb"
MOST_ROWS = 10**6  # of values that replace others
SERIES = {"acquisition/lfp": "ElectricalSeries", "processing/ophys/rois": "RoiResponseSeries"}


def write_base(path: Path, random: np.random.Generator) -> None:
    """Write six units and 16 trials, a calcium series and a field potential; storage differs with the random numbers."""
    storage: dict[str, Any] = {}
    if random.random() < 0.5:
        storage = {"chunks": True, "maxshape": (None,)} | ({"compression": "gzip"} if random.random() < 0.5 else {})
    with h5py.File(path, "w", libver="latest" if random.random() < 0.3 else "earliest") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["general/subject/subject_id"] = "m1"
        file["general/session_id"], file["identifier"] = "s", "i"
        trains = [np.sort(random.uniform(0, 30, 60)) for _ in range(6)]
        units = _table(file, "units", 6)
        units.create_dataset("spike_times", data=np.concatenate(trains), **storage)
        units.create_dataset("spike_times_index", data=np.cumsum([60] * 6), **storage)
        units.create_dataset("quality", data=["good", "mua"] * 3, dtype=h5py.string_dtype(), **storage)
        units["electrodes"], units["electrodes_index"] = np.arange(6) % 2, np.arange(1, 7)
        electrodes = _table(file, "general/extracellular_ephys/electrodes", 2)
        electrodes.create_dataset("location", data=["CA1", "CA3"], dtype=h5py.string_dtype())
        units["electrodes"].attrs["table"] = electrodes.ref
        trials = _table(file, "intervals/trials", 16)
        trials.create_dataset("start_time", data=np.arange(16) * 1.8 + 1, **storage)
        trials.create_dataset("stop_time", data=np.arange(16) * 1.8 + 2, **storage)
        trials.create_dataset("odor", data=["A", "B"] * 8, dtype=h5py.string_dtype(), **storage)
        trials.create_dataset("correct", data=np.ones(16, bool))
        for number, (place, kind) in enumerate(
            (("acquisition/lfp", "ElectricalSeries"), ("processing/ophys/rois", "RoiResponseSeries"))
        ):
            series = file.create_group(place)
            series.attrs["neurodata_type"] = kind
            data = series.create_dataset("data", data=random.normal(size=(1500, 2 + number)).astype("f4"))
            data.attrs["unit"], data.attrs["conversion"] = "volts", 1.0
            if random.random() < 0.5:
                series.create_dataset("starting_time", data=0.0).attrs["rate"] = 50.0
            else:
                series["timestamps"] = np.arange(1500) / 50


def _table(file: h5py.File, path: str, rows: int) -> h5py.Group:
    group = file.create_group(path)
    group.attrs["neurodata_type"] = "DynamicTable"
    group["id"] = np.arange(rows)
    return group


def mutate(path: Path, random: np.random.Generator, outside: Path) -> None:
    """Damage bytes, or change the structure once or several times."""
    if random.random() < 0.45:
        damage_file(path, random)
        return
    with h5py.File(path, "a") as file:
        for _ in range(int(random.choice([1, 1, 1, 2, 4]))):
            names: list[str] = []
            file.visit(names.append)
            if names:
                with suppress(OSError, ValueError, KeyError, RuntimeError, TypeError):  # changes that HDF5 itself refuses
                    change(file, names[int(random.integers(len(names)))], random, outside)


def change(file: h5py.File, name: str, random: np.random.Generator, outside: Path) -> None:
    if name not in file:
        return
    node, way = file[name], int(random.integers(9))
    if way <= 3:
        values = _other_values(node, random)
        attributes = dict(node.attrs)
        del file[name]
        try:
            dataset = file.create_dataset(name, **values)
        except (TypeError, ValueError):
            return
        for key, value in attributes.items():
            dataset.attrs[key] = value
    elif way == 4:
        del file[name]
        links = [
            h5py.SoftLink("/nowhere"),
            h5py.SoftLink(f"/{name}"),
            h5py.ExternalLink(str(outside), f"/{name}"),
            h5py.SoftLink("/units"),
        ]
        if random.random() < 0.7:
            file[name] = links[int(random.integers(len(links)))]
    elif way == 5 and isinstance(node, h5py.Group):
        node["me"] = file if random.random() < 0.5 else node
    elif way == 6 and isinstance(node, h5py.Dataset) and node.ndim:
        _make_virtual(file, name, node, random, outside)
    elif way == 7:
        names = [*node.attrs, "conversion", "rate", "unit", "description", "table", "neurodata_type", "colnames"]
        others = [
            np.nan,
            -1.0,
            0,
            "x" * 70000,
            np.zeros(5),
            "é",
            b"\xff",
            h5py.Reference(),
            np.array(["a", "b"], dtype=object),
            np.inf,
        ]
        node.attrs[names[int(random.integers(len(names)))]] = others[int(random.integers(len(others)))]
    else:
        target = (
            f"{name}_index" if random.random() < 0.5 else f"intervals/{random.choice(['trials', 'other', 'invalid_times'])}/x"
        )
        if target not in file and not isinstance(file.get(target.rpartition("/")[0], file), h5py.Dataset):
            file[target] = random.integers(-3, 40, int(random.integers(20)))


def _other_values(node: h5py.Dataset | h5py.Group, random: np.random.Generator) -> dict[str, Any]:
    rows = min(len(node), MOST_ROWS) if isinstance(node, h5py.Dataset) and node.ndim else 5
    numbers = random.normal(size=rows) * 10.0 ** random.integers(-3, 12)
    text = h5py.string_dtype()
    choices: list[Callable[[], dict[str, Any]]] = [
        lambda: {"data": numbers},
        lambda: {"data": np.full(rows, np.nan)},
        lambda: {"data": np.full(rows, np.inf)},
        lambda: {"data": 1.0},
        lambda: {"data": "text"},
        lambda: {"data": numbers[:-1]},
        lambda: {"data": np.zeros((rows, 3))},
        lambda: {"data": np.zeros((1, rows))},
        lambda: {"data": np.zeros((rows, 0))},
        lambda: {"data": np.empty(0)},
        lambda: {"data": h5py.Empty("f8")},
        lambda: {"data": np.zeros(rows, [("a", "f4"), ("b", "i4")])},
        lambda: {"data": ["x"] * rows, "dtype": text},
        lambda: {"data": ["B" * 400_000] + ["A"] * rows, "dtype": text},
        lambda: {"data": np.array([b"\xff\xfe"] * rows)},
        lambda: {"data": np.full(rows, 2**62)},
        lambda: {"data": -np.arange(rows)},
        lambda: {"data": np.ones(rows, "u1")},
        lambda: {"data": np.zeros(rows, bool)},
        lambda: {"data": np.arange(rows) * 1e9},
        lambda: {"data": numbers.astype("f2")},
        lambda: {"data": numbers.astype("c8")},
        lambda: {"shape": (2**33,), "dtype": "f4", "chunks": (2**20,), "compression": "gzip"},
        lambda: {"shape": (2**40,), "dtype": "i1", "chunks": (2**16,)},
        lambda: {"shape": (rows,), "dtype": h5py.ref_dtype},
        lambda: {"shape": (rows,), "dtype": h5py.vlen_dtype(np.dtype("f8"))},
        lambda: {"data": np.zeros(rows, "i1"), "dtype": h5py.enum_dtype({"a": 0, "b": 1}, basetype="i1")},
        lambda: {"data": np.zeros(rows, "V5")},
        lambda: {"data": np.zeros((rows, 2, 2))},
        lambda: {"data": np.full(rows, "12", dtype="S2")},
        lambda: {"shape": (3 * 10**7,), "dtype": "f8"},
        lambda: {"shape": (rows,), "dtype": np.dtype(("f4", (1000,)))},
        lambda: {"data": random.permutation(rows)},
        lambda: {"shape": (5 * 10**6,), "dtype": text},
    ]
    return choices[int(random.integers(len(choices)))]()


def _make_virtual(file: h5py.File, name: str, node: h5py.Dataset, random: np.random.Generator, outside: Path) -> None:
    shape, values = node.shape, node.dtype
    other = f"{name}_source"
    sources = [(".", f"/{name}"), (".", f"/{other}"), (".", "/nowhere"), (str(outside), f"/{name}"), (".", f"/{other}")]
    source = sources[int(random.integers(len(sources)))]
    try:
        layout = h5py.VirtualLayout(shape=shape, dtype=values)
        layout[:] = h5py.VirtualSource(*source, shape=shape)
        file.move(name, f"{other}2" if random.random() < 0.5 else other)
        file.create_virtual_dataset(name, layout)
        if random.random() < 0.5 and other not in file:
            back = h5py.VirtualLayout(shape=shape, dtype=values)
            back[:] = h5py.VirtualSource(".", f"/{name}", shape=shape)
            file.create_virtual_dataset(other, back)
    except (TypeError, ValueError, OSError, RuntimeError):
        return


def spec(random: np.random.Generator) -> DataSpec:
    """Return a spec of spikes, regions of interest or power."""
    activities: list[dict[str, Any]] = [
        {"kind": "spikes"},
        {"kind": "spikes", "keep": {"quality": ["good", "mua"]}},
        {"kind": "spikes", "regions": ["CA1", "CA3"]},
        {"kind": "roi_response", "series": "processing/ophys/rois"},
        {"kind": "lfp_power", "series": "acquisition/lfp", "bands": [[4, 12]]},
    ]
    activity = activities[int(random.integers(len(activities)))]
    grid = {"kind": "time", "align": "start_time", "window": [0, 0.8], "bin_width": 0.4}
    return DataSpec.model_validate(
        {"name": "x", "files": ["*.nwb"], "activity": activity, "grid": grid, "trials": {"labels": {"odor": "odor"}}}
    )


def write_outside(path: Path) -> None:
    """Write a file that nothing may read: all its spikes are at one time."""
    with h5py.File(path, "w") as file:
        file["units/spike_times"], file["units/spike_times_index"] = np.full(360, CANARY_TIME), np.cumsum([60] * 6)
        file["intervals/trials/odor"] = ["CANARY"] * 16


def run(folder: Path, random: np.random.Generator, outside: Path) -> str:
    """Make the case in a folder and read it; return what was read that should not be, or ''."""
    write_base(folder / NAME, random)
    mutate(folder / NAME, random, outside)
    errors: list[Exception] = []
    read = ""
    actions: list[Callable[[], str]] = [
        lambda: str(inspect_file(folder / NAME).to_string()),
        lambda: _described(folder, random),
    ]
    for action in actions:
        try:
            read += action()
        except Exception as error:
            errors.append(error)
    if "CANARY" in read:
        return "outside"
    unforeseen = [error for error in errors if type(error).__module__ != "neuromvm.errors"]
    if errors:
        raise (unforeseen or errors)[0]
    return ""


def _described(folder: Path, random: np.random.Generator) -> str:
    recordings = load_recordings(spec(random), folder)
    return str(describe(recordings).to_string())
