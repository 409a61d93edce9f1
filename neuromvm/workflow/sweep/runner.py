"""Run a sweep: from its spec to a folder with plan, data, cells and table."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from neuromvm.analysis.pipeline import check_analyses
from neuromvm.errors import RunFolderError
from neuromvm.files import is_empty, locked_in_turn, remove_temporaries, write_atomically, write_json, write_tree
from neuromvm.folders.sweep import FAILED, PLAN, SweepFolder, cell_name, fingerprint
from neuromvm.progress import Progress as WorkProgress
from neuromvm.specs import to_yaml
from neuromvm.specs.sweep import SweepSpec
from neuromvm.workflow.experiment import load_experiment_recordings
from neuromvm.workflow.sweep.batches import Batch, CellTask, Outcome, remaining_batches
from neuromvm.workflow.sweep.cells import run_batch
from neuromvm.workflow.sweep.engines import Engine, Lost, Serial, shard
from neuromvm.workflow.sweep.grid import Variation, variations
from neuromvm.workflow.sweep.table import write_sweep
from neuromvm.workflow.sweep.trainings import STACKS

SPEC = "sweep.yaml"


class Progress(NamedTuple):
    """Numbers of cells of a sweep that are done, have failed, or are waiting."""

    done: int
    failed: int
    waiting: int


def run_sweep(
    spec: SweepSpec,
    out: str | Path,
    engine: Engine | None = None,
    *,
    part: str | None = None,
    pack: int | None = None,
    progress: bool = True,
) -> SweepFolder:
    """Compute every cell of a sweep that is not done, then write its table.

    Parameters
    ----------
    spec
        The experiment and what is varied.
    out
        Folder of the sweep; an existing sweep is continued, and takes more cells.
    engine
        Where cells are computed; default: in this process.
    part
        ``"i/n"``: compute only every n-th cell. The table is written by the call that finds all cells finished.
    pack
        Cells for each call of the engine. Default: cells that differ in betas and seeds alone, whose models are then trained as
        a stack, as many as a stack holds and few enough for all jobs; one where the number of jobs is unknown (slurm and Dask).
    progress
        Show a bar with time left, if standard error is a terminal.

    Raises
    ------
    SpecError
        If any cell has a wrong setting or analysis; no cell is computed then.
    RunFolderError
        If the folder holds other files than a sweep.
    """
    cells = variations(spec)
    for cell in cells:
        check_analyses(cell.experiment)
    out = Path(out).resolve()
    if not is_empty(out) and not (out / SPEC).is_file():
        raise RunFolderError(str(out), found="files but no sweep", next_step="Choose another --out")
    with _shared_files(out):
        write_atomically(out / SPEC, to_yaml(spec).encode())
    tasks = _tasks(spec, cells, out)
    named = [{"cell": task.cell, "settings": cell.settings} for task, cell in zip(tasks, cells, strict=True)]
    plan = {"name": spec.name, "fields": spec.fields, "cells": named, "select": tasks[0].select}
    with _shared_files(out):
        write_json(out / PLAN, plan)
    sweep = SweepFolder(out)
    _run(tasks if part is None else shard(tasks, part), sweep, engine or Serial(), pack, progress)
    if part is None or count_cells(sweep).waiting == 0:
        with _shared_files(out):
            write_sweep(sweep)
    return sweep


@contextmanager
def _shared_files(out: Path) -> Iterator[None]:
    """Wait until no other process writes the files that cells share, and remove what killed processes have left of them."""
    with locked_in_turn(out):
        remove_temporaries(path for folder in (out, out / "data", out / "figures") for path in folder.glob(".*.tmp"))
        yield


def count_cells(sweep: SweepFolder) -> Progress:
    """Count the cells of a sweep by their state."""
    states = [sweep.state(cell.name) for cell in sweep.cells]
    return Progress(*(states.count(state) for state in ("done", "failed", "waiting")))


def _tasks(spec: SweepSpec, cells: Sequence[Variation], out: Path) -> list[CellTask]:
    """Load and write the recordings that cells need, each once, and name the cells."""
    fingerprints: dict[str, str] = {}
    select = None if spec.select is None else spec.select.model_dump(mode="json")
    tasks = []
    for cell in cells:
        source = cell.experiment.data.model_dump_json()
        if source not in fingerprints:
            recordings = load_experiment_recordings(cell.experiment)
            fingerprints[source] = fingerprint(recordings)
            file = out / "data" / f"{fingerprints[source]}.nc"
            with _shared_files(out):
                if not file.is_file():
                    write_tree(file, recordings)
        data, experiment = fingerprints[source], cell.experiment.model_dump(mode="json")
        tasks.append(CellTask(str(out), cell_name(cell.experiment, data), experiment, data, select))
    return tasks


def _run(tasks: Sequence[CellTask], sweep: SweepFolder, engine: Engine, size: int | None, progress: bool) -> None:
    batches = remaining_batches(tasks, size, engine.jobs)
    failed, done = 0, len(tasks) - sum(map(len, batches))
    with WorkProgress(len(tasks), sweep.name, "cell", done=done, shown=progress) as bar:
        for result in engine.map(run_batch, batches):
            outcomes = _outcomes_of_lost(batches[result.number], result.reason) if isinstance(result, Lost) else result
            failed += outcomes.count("failed")
            bar.advance(len(outcomes), note=f"failed={failed}" if failed else "")
    if all(task.done for task in tasks):
        shutil.rmtree(sweep.path / STACKS, ignore_errors=True)  # of interrupted stacks whose cells were divided differently later


def _outcomes_of_lost(batch: Batch, reason: str) -> list[Outcome]:
    """Write to the unfinished cells of a call whose process ended why they failed."""
    outcomes: list[Outcome] = ["done" if task.done else "failed" for task in batch]
    for task, outcome in zip(batch, outcomes, strict=True):
        if outcome == "failed":
            write_atomically(task.folder / FAILED, reason.encode())
    return outcomes
