"""Run the benchmark translated PolyMNIST: a cell for each method and beta, a table, and the panels of the paper's Fig. 2."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from neuromvm.analysis.figures.benchmark import panels
from neuromvm.analysis.figures.style import save
from neuromvm.errors import RunFolderError
from neuromvm.files import claim, is_empty, write_atomically
from neuromvm.progress import Progress
from neuromvm.workflow.benchmark.cells import FAILED, Cell, prepared, read_measures, run_cell
from neuromvm.workflow.benchmark.settings import PolyMnistSpec, check_methods
from neuromvm.workflow.benchmark.table import markdown, table_of
from neuromvm.workflow.sweep.engines import Lost, Processes, Serial

SETTINGS = "benchmark.json"


class Outcome(NamedTuple):
    """The table of all cells that are done, and why others are not."""

    table: pd.DataFrame
    failed: list[str]


def run_polymnist(
    spec: PolyMnistSpec, methods: Sequence[str], betas: Sequence[float], out: str | Path, *, jobs: int = 1, progress: bool = True
) -> Outcome:
    """Compute every cell that is not done, then write the table and the figure of all cells in the folder.

    Parameters
    ----------
    spec
        Images, networks and training, the same for all cells of a folder.
    methods, betas
        Every combination is a cell. A later call with others adds cells.
    out
        Folder of the benchmark: ``benchmark.json``, ``cells/METHOD-betaBETA/``, ``table.csv``, ``table.md``, ``tradeoff.png``,
        ``.pdf`` and ``.csv``. An interrupted training goes on from its last checkpoint.
    jobs
        Processes, with one thread each.
    progress
        Show a bar if standard error is a terminal.

    Raises
    ------
    SpecError
        If a method is unknown.
    RunFolderError
        If the folder holds other files, or a benchmark of other settings.
    """
    check_methods(list(methods))
    out = Path(out).resolve()
    if not is_empty(out) and not (out / SETTINGS).is_file():
        raise RunFolderError(str(out), found="files but no benchmark", next_step="Choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    claim(out / SETTINGS, spec.model_dump(mode="json", exclude={"device"}), "a benchmark", "Choose another --out")
    cells = [Cell(str(out), spec.model_dump_json(), method, float(beta)) for method in methods for beta in betas]
    waiting = [cell for cell in cells if not cell.measures.is_file()]
    if waiting:
        prepared(waiting[0].out, waiting[0].spec)  # classifiers are trained once, before processes read them
    engine = Serial() if jobs == 1 else Processes(jobs)
    failed = 0
    with Progress(len(cells), "polymnist", "cell", done=len(cells) - len(waiting), shown=progress) as bar:
        for result in engine.map(run_cell, waiting):
            if isinstance(result, Lost):
                waiting[result.number].folder.mkdir(parents=True, exist_ok=True)
                write_atomically(waiting[result.number].folder / FAILED, result.reason.encode())
            failed += result is not True
            bar.advance(note=f"failed={failed}" if failed else "")
    return write_results(out, cells)


def write_results(out: Path, cells: Sequence[Cell]) -> Outcome:
    """Write table and figure of the cells that are done, in their order, and say why others are not."""
    done = [read_measures(cell) for cell in cells if cell.measures.is_file()]
    reasons = {cell.folder.name: cell.folder / FAILED for cell in cells if not cell.measures.is_file()}
    failed = [f"{name}: {path.read_text('utf-8') if path.is_file() else 'not finished'}" for name, path in reasons.items()]
    table = table_of(done)
    if done:
        write_atomically(out / "table.csv", table.to_csv(index=False).encode())
        write_atomically(out / "table.md", markdown(table, done[0], failed).encode())
        save(panels(table, float(done[0]["ceiling"].mean())), table.to_xarray(), out / "tradeoff")
    return Outcome(table, failed)
