"""Layout of the folder of a sweep, read without torch, and hashes that name cells and the trainings that cells share.

``sweep.yaml``; ``plan.json``, the cells and their settings; ``cells/<hash>/``, a run folder each, with ``DONE`` or ``FAILED``,
``log.txt``, ``inner-<hash>.json`` where cells are selected and ``models/<name>/reconstruction.nc``; ``data/``, recordings that
cells share; ``trainings/``, trainings that cells share; ``table.csv``, ``sweep.nc``, ``figures/``.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from neuromvm.errors import RunFolderError
from neuromvm.files import read_json
from neuromvm.folders.records import Plan
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.sweep import Selection
from neuromvm.specs.training import NEUTRAL

DONE, FAILED, PLAN = "DONE", "FAILED", "plan.json"
State = Literal["done", "failed", "waiting"]


class Cell(NamedTuple):
    """One combination of settings: its hash, which names its folder, and the settings."""

    name: str
    settings: dict[str, Any]


class SweepFolder:
    """The folder of a sweep; RunFolderError when its plan is asked for and it has none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """Varied settings, cells, and how cells are selected."""
        if not (self.path / PLAN).is_file():
            raise RunFolderError(
                str(self.path),
                found=f"no {PLAN}",
                expected="the folder of a sweep",
                next_step="Make one: neuromvm sweep SWEEP.yaml --out DIR",
            )
        return dict(read_json(self.path / PLAN, Plan))

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return str(self.plan["name"])

    @property
    def fields(self) -> list[str]:
        """Paths of the settings that are varied."""
        return [str(field) for field in self.plan["fields"]]

    @property
    def cells(self) -> list[Cell]:
        """The cells, in the order of the spec."""
        return [Cell(cell["cell"], cell["settings"]) for cell in self.plan["cells"]]

    @property
    def selection(self) -> Selection | None:
        """How cells are selected; None if they are not."""
        return None if self.plan["select"] is None else Selection.model_validate(self.plan["select"])

    def cell_folder(self, cell: str) -> Path:
        """Return the run folder of a cell."""
        return self.path / "cells" / cell

    def study(self, cell: str) -> Study:
        """Return the run of a cell."""
        return Study(self.cell_folder(cell))

    def state(self, cell: str) -> State:
        """Return the state of a cell; a cell without inner scores is waiting if cells are selected."""
        folder = self.cell_folder(cell)
        inner = self.inner_file(cell, self.selection)
        if (folder / DONE).is_file() and (inner is None or inner.is_file()):
            return "done"
        return "failed" if (folder / FAILED).is_file() else "waiting"

    def error(self, cell: str) -> str:
        """Return the last line of the error of a cell that failed; its file ``FAILED`` has the traceback."""
        file = self.cell_folder(cell) / FAILED
        lines = file.read_text("utf-8").strip().splitlines() if file.is_file() else []
        return lines[-1] if lines else ""

    def inner_file(self, cell: str, selection: Selection | None) -> Path | None:
        """Return the file of a cell's inner scores; None if cells are not selected."""
        if selection is None:
            return None
        return self.cell_folder(cell) / f"inner-{digest(selection.model_dump(mode='json'))}.json"


def digest(content: Mapping[str, Any]) -> str:
    """Return a short hash of settings, whatever their order.

    >>> digest({"beta": 0.1, "latent": 2}) == digest({"latent": 2, "beta": 0.1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]


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
