"""Recordings in memory, mutated: checked, described, made into samples and splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neuromvm.data.describe import describe
from neuromvm.data.from_arrays import recordings_from_arrays, recordings_from_spike_times
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import NeuromvmError
from neuromvm.schema import validate_recordings
from neuromvm.specs import SampleSpec, SplitSpec
from tests.conftest import tuned_recordings
from tests.fuzz.values import SCALARS

NAMES = ["rat.1", "type", "", "a/b", "é", "x" * 300, "1", "keys", " "]
WIDTHS: list[Any] = [0.0, -1.0, np.nan, np.inf, "x", None, 1e9, 1e-320, [0.1], True, np.array([0.1, 0.2]), b"0.1"]


def mutated(tree: xr.DataTree, random: np.random.Generator) -> xr.DataTree:
    """Return a tree in which an animal, the grid or a variable is otherwise."""
    nodes = {name: node.to_dataset(inherit=False) for name, node in tree.children.items()}
    root = tree.to_dataset()
    name = list(nodes)[int(random.integers(len(nodes)))]
    node, way = nodes[name], int(random.integers(12))
    if way == 0:
        nodes[NAMES[int(random.integers(len(NAMES)))]] = nodes.pop(name)
    elif way == 1:
        kinds = ["i8", "f4", "f8", "?", "c8", "U3", "O", "M8[s]", "u8", "f2"]
        nodes[name] = node.assign(spike_count=node["spike_count"].astype(str(random.choice(kinds)).replace("M8", "datetime64")))
    elif way == 2:
        values = node["spike_count"].to_numpy().astype(float)
        values.flat[int(random.integers(values.size))] = random.choice([np.nan, np.inf, -1.0, 1e300, 0.5])
        nodes[name] = node.assign(spike_count=(node["spike_count"].dims, values))
    elif way == 3:
        dim = str(random.choice(["trial", "time", "unit"]))
        nodes[name] = node.isel({dim: slice(0, int(random.integers(3)))}) if dim != "time" else node.rename(unit="cell")
    elif way == 4:
        nodes[name] = node.drop_vars(str(random.choice(["spike_count", "trial", "unit", "odor", "onset"])))
    elif way == 5:
        label = str(random.choice(["odor", "onset", "session", "start_time", "trial"]))
        nodes[name] = node.assign_coords({label: ("trial", column(node.sizes["trial"], random))})
    elif way == 6:
        root = root.drop_vars("time") if random.random() < 0.5 else root.assign_coords(time=("time", root["time"].to_numpy()))
    elif way == 7:
        root["time"].attrs["bin_width"] = WIDTHS[int(random.integers(len(WIDTHS)))]
    elif way == 8:
        nodes[name] = node.assign_coords(unit=("unit", column(node.sizes["unit"], random)))
    elif way == 9:
        attributes = {"dropped": SCALARS[int(random.integers(len(SCALARS)))], "activity_kind": "x"}
        nodes[name] = node.assign_attrs(attributes) if random.random() < 0.5 else node.rename(spike_count="event_amplitude")
    elif way == 10:
        values = node["spike_count"].to_numpy().astype(object)
        values.flat[0] = SCALARS[int(random.integers(10))]
        nodes[name] = node.assign(spike_count=(node["spike_count"].dims, values))
    else:
        nodes[name] = node.transpose("unit", "time", "trial") if random.random() < 0.5 else node.isel(trial=[0, 0, 1, 1])
    return xr.DataTree(dataset=root, children={key: xr.DataTree(value) for key, value in nodes.items()})


def column(rows: int, random: np.random.Generator) -> Any:
    """Return a label of trials or units that is of an unusual type, or lacks values."""
    mixed = np.array([None, 1, "a", 2.5] * rows, dtype=object)[:rows]
    columns: list[Any] = [
        np.arange(rows) * 1.5,
        np.full(rows, np.nan),
        np.array([None] * rows, dtype=object),
        mixed,
        np.array(["A", "B"] * rows, dtype=object)[:rows],
        np.full(rows, "2001-01-01", dtype="datetime64[s]"),
        np.full(rows, "NaT", dtype="datetime64[s]"),
        np.arange(rows).astype("timedelta64[s]"),
        np.arange(rows) * 1j,
        np.full(rows, b"\xff"),
        np.zeros(rows, dtype=[("a", "f4")]),
        np.full(rows, np.inf),
        np.full(rows, 2**63, dtype=np.uint64),
        np.zeros(rows, dtype=bool),
        np.full(rows, "x" * 3000),
    ]
    return columns[int(random.integers(len(columns)))]


def arrays(random: np.random.Generator) -> xr.DataTree:
    """Return recordings of arrays of two animals, with an argument that is otherwise."""
    activity: dict[Any, Any] = {name: random.poisson(2.0, (24, 20, units)) for name, units in (("mitt", 3), ("stella", 2))}
    labels: dict[Any, Any] = {name: {"odor": np.resize(["A", "B"], 24), "onset": 5.0 * np.arange(24)} for name in activity}
    arguments: dict[str, Any] = {"bin_width": 0.1, "start": -1.0, "units": None}
    way, scalar = int(random.integers(9)), SCALARS[int(random.integers(len(SCALARS)))]
    if way == 0:
        arguments["bin_width"] = WIDTHS[int(random.integers(len(WIDTHS)))]
    elif way == 1:
        arguments[str(random.choice(["bin_width", "start", "kind", "grid", "units", "missing"]))] = scalar
    elif way == 2:
        labels["mitt"][str(random.choice(["odor", "onset", "session", "trial", "type", ""]))] = column(24, random)
    elif way == 3:
        labels["mitt"] = scalar
    elif way == 4:
        activity["mitt"] = scalar
    elif way == 5:
        kinds = ["f8", "O", "c8", "U3", "M8[s]", "?", "f2", "i8", "S2"]
        activity["mitt"] = activity["mitt"].astype(str(random.choice(kinds)))
    elif way == 6:
        time = ("time", np.arange(20) * 0.1, {"bin_width": WIDTHS[int(random.integers(len(WIDTHS)))]})
        activity = {
            name: xr.DataArray(values, dims=("trial", "time", "unit"), coords={"time": time}) for name, values in activity.items()
        }
        arguments = {}
    elif way == 7:
        rows = pd.MultiIndex.from_product([range(24), column(20, random)])
        activity["mitt"] = pd.DataFrame(activity["mitt"].reshape(480, 3), index=rows)
    else:
        activity[scalar if not isinstance(scalar, list | dict) else None] = activity.pop("mitt")
    return recordings_from_arrays(activity, labels, **arguments)


def trains(random: np.random.Generator) -> xr.DataTree:
    """Return recordings of spike times of two animals, with an argument that is otherwise."""
    times: dict[str, Any] = {name: [np.sort(random.uniform(0, 120, 300)) for _ in range(3)] for name in ("mitt", "stella")}
    onsets: dict[str, Any] = {name: 5.0 * np.arange(24) + 2 for name in times}
    labels: dict[str, Any] = {name: {"odor": np.resize(["A", "B"], 24)} for name in times}
    arguments: dict[str, Any] = {"window": (-1.0, 1.0), "bin_width": 0.1}
    way, scalar = int(random.integers(7)), SCALARS[int(random.integers(len(SCALARS)))]
    if way == 0:
        arguments["bin_width"] = WIDTHS[int(random.integers(len(WIDTHS)))]
    elif way == 1:
        arguments["window"] = [scalar, (0, scalar), (scalar, 1), (np.nan, np.nan), (0, 1e9), (0, 1, 2)][int(random.integers(6))]
    elif way == 2:
        onsets["mitt"] = [scalar, [scalar] * 24, column(24, random)][int(random.integers(3))]
    elif way == 3:
        times["mitt"] = [scalar, [scalar], {"a": scalar}][int(random.integers(3))]
    elif way == 4:
        times["mitt"][1] = column(300, random)
    elif way == 5:
        labels["mitt"] = [scalar, {"odor": scalar}, {"odor": column(24, random)}][int(random.integers(3))]
    else:
        (times, onsets, labels)[int(random.integers(3))].pop("mitt")
    return recordings_from_spike_times(times, onsets, labels, **arguments)


def run(folder: Path, random: np.random.Generator, outside: Path) -> str:
    """Make the case and use it, and raise the first error that is not foreseen, or the first."""
    way = random.random()
    try:
        if way < 0.5:
            tree = mutated(tuned_recordings({"mitt": (3, 24), "stella": (2, 18)}, seed=int(random.integers(9))), random)
    except Exception:  # xarray itself refuses some of these trees
        return ""
    if way >= 0.5:
        tree = arrays(random) if way < 0.75 else trains(random)
    spec = SampleSpec(label="odor", start=0.0, stop=0.8, bin_width=0.4)
    kind = str(random.choice(["halves", "chronological"]))
    actions: list[Callable[[], object]] = [
        lambda: validate_recordings(tree),
        lambda: describe(tree),
        lambda: make_splits(make_samples(tree, spec), SplitSpec.model_validate({"kind": kind})),
    ]
    errors = []
    for action in actions:
        try:
            action()
        except Exception as error:
            errors.append(error)
    if errors:
        raise min(errors, key=lambda error: isinstance(error, NeuromvmError))
    return ""
