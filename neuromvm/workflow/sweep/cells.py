"""Cells of a sweep: run folders, filled in whatever process an engine calls."""

import logging
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from neuromvm.analysis.pipeline import analyze
from neuromvm.data.inner_splits import inner_splits
from neuromvm.errors import RunFolderError
from neuromvm.files import kept_tree, locked, write_atomically, write_json, write_tree
from neuromvm.folders.study import Study
from neuromvm.folders.sweep import DONE, FAILED, SweepFolder
from neuromvm.folders.sweep_hashes import training_name
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.reconstruction import reconstruction_error
from neuromvm.specs import to_yaml
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.sweep.selection import inner_scores
from neuromvm.workflow.sweep.stacks import train_together
from neuromvm.workflow.sweep.tasks import Outcome, Pack, Task, alike, is_done
from neuromvm.workflow.sweep.trainings import SharedTrainings, share_file

log = logging.getLogger(__name__)


def run_pack(pack: Pack) -> list[Outcome]:
    """Do the cells of a pack: those that differ in betas and seeds alone are trained together, then each is done.

    Returns
    -------
    How each ended. A cell that fails stops no other, and one at which another process works is left to it.
    """
    outcomes, held = [], []
    with ExitStack() as locks:
        for task in pack:
            try:
                locks.enter_context(locked(SweepFolder(task.sweep).path / "locks" / task.cell))
                held.append(task)
            except RunFolderError:
                outcomes.append(Outcome(task.cell, "busy", 0.0))
        for group in alike([task for task in held if not is_done(task)]):
            outcomes += _run_group(group)
        outcomes += [Outcome(task.cell, "done", 0.0) for task in held if task.cell not in {one.cell for one in outcomes}]
    return outcomes


def run_cell(task: Task) -> Outcome:
    """Train, embed and analyze one cell, or go on where it was interrupted; what is done is not done again.

    Returns
    -------
    How it ended. An error is not raised but kept in ``FAILED``, traceback and all.
    """
    return run_pack((task,))[0]


def _run_group(group: Pack) -> list[Outcome]:
    started = time.perf_counter()
    if len(group) > 1:
        with ExitStack() as logs:
            for task in group:
                logs.enter_context(_logged(SweepFolder(task.sweep).cell_folder(task.cell)))
            try:
                train_together(group)
            except Exception as error:  # whatever is wrong with data or settings, each cell finds and keeps it
                log.warning("no stacks: %s: %s", type(error).__name__, error)
    share = (time.perf_counter() - started) / len(group)
    return [_finish(task, share) for task in group]


def _finish(task: Task, spent: float) -> Outcome:
    """Do what is left of a cell, after seconds that were spent on it."""
    started = time.perf_counter() - spent
    sweep = SweepFolder(task.sweep)
    folder = sweep.cell_folder(task.cell)
    try:
        with _logged(folder), threadpool_limits(task.experiment["training"]["threads"]):
            _run(task, sweep)
    except Exception as error:  # one cell, whatever is wrong with it, does not end the sweep: it is written down
        write_failure(folder, traceback.format_exc())
        return Outcome(task.cell, "failed", time.perf_counter() - started, f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - started
    write_json(folder / DONE, {"data": task.data, "seconds": round(seconds, 2)})
    (folder / FAILED).unlink(missing_ok=True)
    return Outcome(task.cell, "done", seconds)


def write_failure(folder: Path, text: str) -> None:
    """Keep why a cell failed."""
    write_atomically(folder / FAILED, text.encode())


def _run(task: Task, sweep: SweepFolder) -> None:
    experiment, folder, trainings = task.spec, sweep.cell_folder(task.cell), SharedTrainings.of(sweep)
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
            analyze(study, analysis)
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
    scores = inner_scores(study.samples, inner, latents, selection.metric, options)
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
