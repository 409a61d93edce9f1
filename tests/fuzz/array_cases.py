"""Trees of recordings in memory, mutated: made into samples and splits."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neuromvm.data.describe import describe
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.schema import validate_recordings
from neuromvm.specs import SampleSpec, SplitSpec
from tests.conftest import tuned_recordings

NAMES = ["rat.1", "type", "", "a/b", "é", "x" * 300, "1", "keys", " "]


def mutated(tree: xr.DataTree, random: np.random.Generator) -> xr.DataTree:
    """Return a tree in which an animal, the grid or a variable is otherwise."""
    nodes = {name: node.to_dataset(inherit=False) for name, node in tree.children.items()}
    root = tree.to_dataset()
    name = list(nodes)[int(random.integers(len(nodes)))]
    node, way = nodes[name], int(random.integers(9))
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
        labels: list[Any] = [
            np.arange(node.sizes["trial"]) * 1.5,
            np.full(node.sizes["trial"], np.nan),
            np.array([None] * node.sizes["trial"], dtype=object),
        ]
        nodes[name] = node.assign_coords(odor=("trial", labels[int(random.integers(3))]))
    elif way == 6:
        root = root.drop_vars("time") if random.random() < 0.5 else root.assign_coords(time=("time", root["time"].to_numpy()))
    elif way == 7:
        root["time"].attrs["bin_width"] = [0.0, -1.0, np.nan, "x", None, 1e9][int(random.integers(6))]
    else:
        nodes[name] = node.transpose("unit", "time", "trial") if random.random() < 0.5 else node.isel(trial=[0, 0, 1, 1])
    return xr.DataTree(dataset=root, children={key: xr.DataTree(value) for key, value in nodes.items()})


def run(folder: Path, random: np.random.Generator, outside: Path) -> str:
    """Make the case and use it."""
    try:
        tree = mutated(tuned_recordings({"mitt": (3, 24), "stella": (2, 18)}, seed=int(random.integers(9))), random)
    except Exception:  # xarray itself refuses some of these trees
        return ""
    validate_recordings(tree)
    describe(tree)
    samples = make_samples(tree, SampleSpec(label="odor", start=0.0, stop=0.8, bin_width=0.4))
    make_splits(samples, SplitSpec())
    return ""
