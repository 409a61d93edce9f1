"""Generated activity with a known answer, as a model would have decoded it."""

import json

import numpy as np
import xarray as xr

from neuromvm.schema import is_scored


def transferred_of(study, generate, kind="count"):
    """Return the tree of ``transfer``; ``generate(source, target, split, trials)`` gives activity (trial, window, bin, unit)."""
    nodes = {}
    for source, node in study.samples.children.items():
        part = study.splits[source]["part"].to_numpy()
        tested = [np.flatnonzero(is_scored(one)) for one in part]
        split = np.repeat(np.arange(len(part)), [len(one) for one in tested])
        rows = np.concatenate(tested)
        label = (("row", "window"), node["label"].to_numpy()[rows])
        nodes[source] = xr.Dataset(
            {"label": label}, coords={"split": ("row", split), "trial": ("row", node["trial"].to_numpy()[rows])}
        )
        for target in study.samples.children:
            values = np.concatenate([generate(source, target, number, one) for number, one in enumerate(tested)])
            dims = ("row", "window", "bin", "unit")
            nodes[f"{source}/{target}"] = xr.Dataset({"activity": (dims, values.astype(np.float32))}, attrs={"kind": kind})
    return xr.DataTree.from_dict(nodes)


def label_means(study):
    """Return the mean counts of every class over all trials of every animal, ``(class, window, bin, unit)``."""
    count = len(json.loads(study.samples.attrs["classes"]))
    found = {}
    for name, node in study.samples.children.items():
        label, activity = node["label"].to_numpy()[:, 0], node["activity"].to_numpy().astype(float)
        found[name] = np.stack([activity[label == code].mean(axis=0) for code in range(count)]) + 0.05
    return found


def say(study, rename):
    """Generate the class means of the target, of the class that ``rename(source, target)`` makes of the source's class."""
    means = label_means(study)

    def generate(source, target, split, trials):
        label = study.samples[source]["label"].to_numpy()[trials, 0]
        return means[target][rename(source, target)[label]]

    return transferred_of(study, generate)
