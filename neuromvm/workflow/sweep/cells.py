"""Computation of the cells of a sweep: each fills a run folder, in the process that an engine chooses."""

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
from neuromvm.data.splits import inner_splits
from neuromvm.errors import RunFolderError
from neuromvm.files import kept_tree, locked, write_atomically, write_json, write_tree
from neuromvm.folders.study import Study, read_latents
from neuromvm.folders.sweep import DONE, FAILED, training_name
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.reconstruction import reconstruction_error
from neuromvm.specs import to_yaml
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.sweep.batches import Batch, CellTask, Outcome, stackable_groups
from neuromvm.workflow.sweep.selection import inner_scores
from neuromvm.workflow.sweep.trainings import SharedTrainings, share_file, train_stacks

log = logging.getLogger(__name__)


def run_batch(batch: Batch) -> list[Outcome]:
    """Compute a batch of cells, and return the outcome of each; errors of a cell do not affect the others.

    Models of cells that differ in betas and seeds alone are trained as stacks first. A cell of another process is ``busy``.
    """
    outcomes: list[Outcome] = []
    owned = []
    with ExitStack() as locks:
        for task in batch:
            try:
                locks.enter_context(locked(task.sweep_folder.path / "locks" / task.cell))
                owned.append(task)
            except RunFolderError:
                outcomes.append("busy")
        waiting = [task for task in owned if not task.done]
        for group in stackable_groups(waiting):
            outcomes += _run_group(group)
        outcomes += ["done"] * (len(owned) - len(waiting))
    return outcomes


def _run_group(group: Batch) -> list[Outcome]:
    started = time.perf_counter()
    if len(group) > 1:
        with ExitStack() as logs:
            for task in group:
                logs.enter_context(_logged(task.folder))
            try:
                train_stacks(group)
            except Exception as error:  # wrong data or settings: each cell meets the error again and writes it down
                log.warning("no stacks: %s: %s", type(error).__name__, error)
    share = (time.perf_counter() - started) / len(group)
    return [_finish(task, share) for task in group]


def _finish(task: CellTask, spent: float) -> Outcome:
    """Compute the missing parts of a cell, on which some seconds were spent before; an error is written to ``FAILED``."""
    started = time.perf_counter() - spent
    try:
        with _logged(task.folder), threadpool_limits(task.experiment["training"]["threads"]):
            _run(task)
    except Exception:  # an error of a cell, whatever its cause, is written down and does not end the sweep
        write_atomically(task.folder / FAILED, traceback.format_exc().encode())
        return "failed"
    write_json(task.folder / DONE, {"data": task.data, "seconds": round(time.perf_counter() - started, 2)})
    (task.folder / FAILED).unlink(missing_ok=True)
    return "done"


def _run(task: CellTask) -> None:
    experiment, folder, trainings = task.spec, task.folder, SharedTrainings(task.sweep_folder)
    # A cell begun on another device, or from data at another path, is the same experiment: use the new spec.
    write_atomically(folder / "spec.yaml", to_yaml(experiment).encode())
    share_file(task.recordings_file, folder / "recordings.nc")
    for model in experiment.models:
        trainings.take(training_name(experiment, model, task.data), folder / "models" / model)
    study = run_experiment(experiment, folder, resume=True, progress=False)
    for model in experiment.models:
        file = folder / "models" / model / "reconstruction.nc"
        if not file.is_file():
            write_tree(file, reconstruction_error(FittedStack.load(file.parent), study.samples, study.splits))
        trainings.give(training_name(experiment, model, task.data), file.parent)
    if not (folder / DONE).is_file():  # else only inner scores are missing
        for analysis in experiment.analyses:
            analyze(study, analysis)
    if task.inner_file is not None and not task.inner_file.is_file():
        write_json(task.inner_file, _inner_scores(task, study, trainings))


def _inner_scores(task: CellTask, study: Study, trainings: SharedTrainings) -> dict[str, list[float]]:
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
        latents[model] = kept_tree(folder / "latents.nc", partial(fitted.embed, study.samples), read_latents)
        trainings.give(name, folder)
    options = experiment.analyses.get("decoding", {})
    scores = inner_scores(study.samples, inner, latents, selection.metric, options)
    shutil.rmtree(study.path / "inner")
    return scores


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Send log messages to ``log.txt`` of a cell and not to the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    logger, handler = logging.getLogger("neuromvm"), logging.FileHandler(folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)
        logger.propagate = propagate
