"""Layout of the folder of a sweep, read without torch.

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

from neuromvm.errors import RunFolderError
from neuromvm.files import read_json
from neuromvm.folders.study import Study
from neuromvm.specs.sweep import Selection

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
        content: dict[str, Any] = read_json(self.path / PLAN)
        return content

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
