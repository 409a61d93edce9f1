"""One cell of a sweep: a run folder, filled in whatever process an engine calls."""

import logging
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from threadpoolctl import threadpool_limits

from neuromvm.data.inner_splits import inner_splits
from neuromvm.errors import RunFolderError
from neuromvm.experiment import run_experiment
from neuromvm.fitting import fit
from neuromvm.folders import kept_tree, locked, write_atomically, write_json, write_tree
from neuromvm.inference import FittedStack
from neuromvm.plugins import step
from neuromvm.reconstruction import reconstruction_error
from neuromvm.runs import Study
from neuromvm.specs import ExperimentSpec, to_yaml
from neuromvm.specs.sweep import Selection
from neuromvm.sweep.naming import stack_name, training_name
from neuromvm.sweep.trainings import SharedTrainings, share_file
from neuromvm.sweep_folder import DONE, FAILED, SweepFolder


class Task(NamedTuple):
    """A cell to be done, in plain text and numbers, so that it can go to another process or machine."""

    sweep: str  # folder of the sweep, seen from every worker
    cell: str
    experiment: dict[str, Any]
    data: str  # fingerprint of the recordings, which lie in the sweep's data/
    select: dict[str, Any] | None

    @property
    def selection(self) -> Selection | None:
        """How cells are selected, if they are."""
        return None if self.select is None else Selection.model_validate(self.select)


class Outcome(NamedTuple):
    """What became of a cell; ``busy``: another process is at work on it."""

    cell: str
    state: Literal["done", "failed", "busy"]
    seconds: float
    error: str = ""


Pack = tuple[Task, ...]


def packs(tasks: Sequence[Task], size: int) -> list[Pack]:
    """Join cells to packs of a size, each done by one call: cells that differ in betas and seeds alone come together."""
    stacks: dict[str, list[Task]] = {}
    for task in tasks:
        stacks.setdefault(stack_name(ExperimentSpec.model_validate(task.experiment), task.data), []).append(task)
    ordered = [task for stack in stacks.values() for task in stack]
    return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def run_pack(pack: Pack) -> list[Outcome]:
    """Do the cells of a pack, one after the other; a cell that fails stops no other."""
    return [run_cell(task) for task in pack]


def run_cell(task: Task) -> Outcome:
    """Train, embed and analyze one cell, or go on where it was interrupted; what is done is not done again.

    Returns
    -------
    How it ended. An error is not raised but kept in ``FAILED``, traceback and all.
    """
    sweep, started = SweepFolder(task.sweep), time.perf_counter()
    folder = sweep.cell_folder(task.cell)
    try:
        with locked(sweep.path / "locks" / task.cell):
            if is_done(task):
                return Outcome(task.cell, "done", 0.0)
            try:
                with _logged(folder), threadpool_limits(task.experiment["training"]["threads"]):
                    _run(task, sweep)
            except Exception as error:
                write_failure(folder, traceback.format_exc())
                return Outcome(task.cell, "failed", time.perf_counter() - started, f"{type(error).__name__}: {error}")
            seconds = time.perf_counter() - started
            write_json(folder / DONE, {"data": task.data, "seconds": round(seconds, 2)})
            (folder / FAILED).unlink(missing_ok=True)
            return Outcome(task.cell, "done", seconds)
    except RunFolderError:
        return Outcome(task.cell, "busy", time.perf_counter() - started)


def is_done(task: Task) -> bool:
    """Say whether a cell has been done, with the inner scores that are asked for."""
    sweep = SweepFolder(task.sweep)
    inner = sweep.inner_file(task.cell, task.selection)
    return (sweep.cell_folder(task.cell) / DONE).is_file() and (inner is None or inner.is_file())


def write_failure(folder: Path, text: str) -> None:
    """Keep why a cell failed."""
    write_atomically(folder / FAILED, text.encode())


def _run(task: Task, sweep: SweepFolder) -> None:
    experiment, folder = ExperimentSpec.model_validate(task.experiment), sweep.cell_folder(task.cell)
    trainings = SharedTrainings(sweep.path / "trainings")
    # The same cell may have been begun on another device or from data in another place: that is no other experiment.
    write_atomically(folder / "spec.yaml", to_yaml(experiment).encode())
    share_file(sweep.path / "data" / f"{task.data}.nc", folder / "recordings.nc")
    for model in experiment.models:
        trainings.take(training_name(experiment, model, task.data), folder / "models" / model)
    study = run_experiment(experiment, folder, resume=True, progress=False)
    for model in experiment.models:
        file = folder / "models" / model / "reconstruction.nc"
        if not file.is_file():
            fitted = FittedStack.load(file.parent)
            write_tree(file, reconstruction_error(fitted, study.samples, study.splits))
        trainings.give(training_name(experiment, model, task.data), file.parent)
    if not (folder / DONE).is_file():  # it is there if inner scores alone are missing
        for analysis in experiment.analyses:
            step("analyze")(study, analysis)
    file_of_inner = sweep.inner_file(task.cell, task.selection)
    if file_of_inner is not None and not file_of_inner.is_file():
        write_json(file_of_inner, _inner_scores(task, study, trainings))


def _inner_scores(task: Task, study: Study, trainings: SharedTrainings) -> dict[str, list[float]]:
    """Train on inner folds of the training side of every split; return model -> score for each (outer) split."""
    selection, experiment = task.selection, study.spec
    assert selection is not None
    inner = inner_splits(study.samples, study.splits, experiment.split, selection.inner_folds, selection.seed)
    latents = {}
    for model, spec in experiment.models.items():
        folder, name = study.path / "inner" / model, training_name(experiment, model, task.data, selection)
        trainings.take(name, folder)
        if (folder / "fitted.json").is_file():
            fitted = FittedStack.load(folder)
        else:
            fitted = fit(study.samples, inner, spec, experiment.training_for(model), folder=folder, progress=False)
        latents[model] = kept_tree(folder / "latents.nc", partial(fitted.embed, study.samples))
        trainings.give(name, folder)
    options = experiment.analyses.get("decoding", {})
    scores: dict[str, list[float]] = step("inner_scores")(study.samples, inner, latents, selection.metric, options)
    shutil.rmtree(study.path / "inner")
    return scores


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Send what a cell says to its ``log.txt``: from many cells at once it would be noise."""
    folder.mkdir(parents=True, exist_ok=True)
    log, handler = logging.getLogger("neuromvm"), logging.FileHandler(folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
        log.setLevel(level)
        log.propagate = propagate
