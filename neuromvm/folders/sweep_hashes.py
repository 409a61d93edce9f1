"""Hashes of the settings and data on which results depend: names of cells and of trainings that cells share."""

import hashlib
from typing import Any

import numpy as np
import xarray as xr

from neuromvm.folders.sweep import digest
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.sweep import Selection
from neuromvm.specs.training import NEUTRAL


def fingerprint(recordings: xr.DataTree) -> str:
    """Return a hash of all activity and labels, whatever the paths of the files."""
    content = hashlib.sha256()
    for node in recordings.subtree:
        dataset = node.to_dataset(inherit=False)
        content.update(node.path.encode())
        for name in sorted(map(str, dataset.variables)):
            values = np.ascontiguousarray(dataset[name].to_numpy())
            values = values.astype("U") if values.dtype.kind == "O" else values
            content.update(f"{name}{values.dtype}{values.shape}{dataset[name].dims}".encode())
            content.update(values.tobytes())
    return content.hexdigest()[:16]


def cell_name(experiment: ExperimentSpec, data: str) -> str:
    """Return the name of a cell: a hash of its resolved experiment and of the :func:`fingerprint` of its data.

    Name, description, data source and settings that do not change a training are left out.
    """
    content = experiment.model_dump(mode="json", exclude={"name", "description", "data"})
    content["training"] = _lasting(content["training"])
    content["training_of"] = {name: _lasting(training) for name, training in content["training_of"].items()}
    return digest({**content, "data": data})


def training_name(experiment: ExperimentSpec, model: str, data: str, selection: Selection | None = None) -> str:
    """Return the name of a model's training, equal in all cells with equal settings; ``selection``: on inner folds."""
    return digest(
        {
            "data": data,
            "samples": experiment.samples.model_dump(mode="json"),
            "split": experiment.split.model_dump(mode="json"),
            "model": experiment.models[model].model_dump(mode="json"),
            "training": _lasting(experiment.training_for(model).model_dump(mode="json")),
            "inner": None if selection is None else selection.model_dump(mode="json", exclude={"metric"}),
        }
    )


def stack_name(experiment: ExperimentSpec, data: str) -> str:
    """Return a hash that is equal for cells that differ in betas and seeds alone and can be trained as one stack."""
    content = experiment.model_dump(mode="json", exclude={"name", "description", "data", "analyses"})
    for model in content["models"].values():
        del model["beta"]
    for training in (content["training"], *content["training_of"].values()):
        training.pop("seeds", None)
    return digest({**content, "data": data})


def _lasting(training: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in training.items() if key not in NEUTRAL}
