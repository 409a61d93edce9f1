"""From the spec of a sweep to its folder: plan, data, cells, table."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from neuromvm.analysis.pipeline import check_analyses
from neuromvm.errors import RunFolderError
from neuromvm.files import write_atomically, write_json, write_tree
from neuromvm.folders.sweep import PLAN, SweepFolder
from neuromvm.folders.sweep_hashes import cell_name, fingerprint
from neuromvm.specs import to_yaml
from neuromvm.specs.sweep import SweepSpec
from neuromvm.workflow.experiment import load_experiment_recordings
from neuromvm.workflow.sweep.cells import run_pack, write_failure
from neuromvm.workflow.sweep.engines import Engine, Lost, Serial, shard
from neuromvm.workflow.sweep.grid import Variation, variations
from neuromvm.workflow.sweep.stacks import STACKS
from neuromvm.workflow.sweep.table import write_sweep
from neuromvm.workflow.sweep.tasks import Outcome, Pack, Task, is_done, packs_ahead

SPEC = "sweep.yaml"


class Progress(NamedTuple):
    """How many cells of a sweep are done, have failed, or are still to be done."""

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
    """Do every cell of a sweep that is not done, then write its table.

    Parameters
    ----------
    spec
        The experiment and what is varied.
    out
        Folder of the sweep; one that is there is gone on with, and takes more cells.
    engine
        Where cells are computed; by default in this process.
    part
        ``"i/n"``: do only every n-th cell. The table is then written by the call that finds all cells finished.
    pack
        Cells done by one call of the engine. By default those that differ in betas and seeds alone, whose models are then trained
        together, as many as a stack holds and no more than leave work for all jobs; one where the jobs are not counted (slurm
        and Dask).
    progress
        Show a bar with time left, if standard error is a terminal.

    Raises
    ------
    SpecError
        If any cell has a wrong setting or analysis; nothing has run then.
    RunFolderError
        If the folder holds something else than a sweep.

    Examples
    --------
    >>> sweep = run_sweep(load_sweep_spec("rates.yaml"), "runs/rates", Processes(4))  # doctest: +SKIP
    >>> count_cells(sweep)  # doctest: +SKIP
    Progress(done=24, failed=0, waiting=0)
    """
    cells = variations(spec)
    for one in cells:
        check_analyses(one.experiment)
    out = Path(out).resolve()
    _check_folder(out)
    write_atomically(out / SPEC, to_yaml(spec).encode())
    tasks = _tasks(spec, cells, out)
    write_json(
        out / PLAN,
        {
            "name": spec.name,
            "fields": spec.fields,
            "cells": [{"cell": task.cell, "settings": one.settings} for task, one in zip(tasks, cells, strict=True)],
            "select": None if spec.select is None else spec.select.model_dump(mode="json"),
        },
    )
    sweep = SweepFolder(out)
    _run(tasks if part is None else shard(tasks, part), sweep, engine or Serial(), pack, progress)
    if part is None or count_cells(sweep).waiting == 0:
        write_sweep(sweep)
    return sweep


def count_cells(sweep: SweepFolder) -> Progress:
    """Count the cells of a sweep by what has become of them."""
    states = [sweep.state(cell.name) for cell in sweep.cells]
    return Progress(*(states.count(state) for state in ("done", "failed", "waiting")))


def _tasks(spec: SweepSpec, cells: Sequence[Variation], out: Path) -> list[Task]:
    """Load what recordings the cells need, once each, and name the cells."""
    prints: dict[str, str] = {}
    tasks = []
    for one in cells:
        source = one.experiment.data.model_dump_json()
        if source not in prints:
            recordings = load_experiment_recordings(one.experiment)
            prints[source] = fingerprint(recordings)
            file = out / "data" / f"{prints[source]}.nc"
            if not file.is_file():
                write_tree(file, recordings)
        select = None if spec.select is None else spec.select.model_dump(mode="json")
        experiment = one.experiment.model_dump(mode="json")
        tasks.append(Task(str(out), cell_name(one.experiment, prints[source]), experiment, prints[source], select))
    return tasks


def _run(tasks: Sequence[Task], sweep: SweepFolder, engine: Engine, size: int | None, progress: bool) -> None:
    ahead = packs_ahead(tasks, size, engine.jobs)
    ready = len(tasks) - sum(map(len, ahead))
    failed = 0
    with tqdm(total=len(tasks), initial=ready, desc=sweep.name, unit="cell", disable=None if progress else True) as bar:
        for result in engine.map(run_pack, ahead):
            outcomes = _outcomes_of_lost(result, ahead, sweep) if isinstance(result, Lost) else result
            failed += sum(outcome.state == "failed" for outcome in outcomes)
            bar.set_postfix({"failed": failed} if failed else {}, refresh=False)
            bar.update(len(outcomes))
    if all(map(is_done, tasks)):
        shutil.rmtree(sweep.path / STACKS, ignore_errors=True)  # of stacks that were cut off and then divided in another way


def _outcomes_of_lost(lost: Lost, ahead: Sequence[Pack], sweep: SweepFolder) -> list[Outcome]:
    """Write down why the cells of a call whose process died are not done, those that it had done excepted."""
    outcomes = []
    for task in ahead[lost.number]:
        folder = sweep.cell_folder(task.cell)
        if is_done(task):
            outcomes.append(Outcome(task.cell, "done", 0.0))
        else:
            write_failure(folder, lost.reason)
            outcomes.append(Outcome(task.cell, "failed", 0.0, lost.reason))
    return outcomes


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds anything but a sweep."""
    if out.exists() and not out.is_dir():
        raise RunFolderError(str(out), found="a file", expected="a folder to make", next_step="Choose another --out")
    if out.is_dir() and not (out / SPEC).is_file() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise RunFolderError(str(out), found="files but no sweep", next_step="Choose another --out")
