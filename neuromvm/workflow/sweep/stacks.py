"""Cells that differ in betas and seeds alone: their models are trained as stacks before the cells are done one by one."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import xarray as xr
from threadpoolctl import threadpool_limits

from neuromvm.data.inner_splits import inner_splits
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.files import read_tree
from neuromvm.folders.sweep import SweepFolder, digest
from neuromvm.folders.sweep_hashes import training_name
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.sweep import Selection
from neuromvm.training.stack_size import stack_size
from neuromvm.workflow.sweep.tasks import Pack
from neuromvm.workflow.sweep.together import Part, fit_together
from neuromvm.workflow.sweep.trainings import CHECKPOINTS, SharedTrainings

log = logging.getLogger(__name__)
STACKS = "stacks"


class Wanted(NamedTuple):
    """A training that cells lack, and the name under which they look for it."""

    name: str
    model: ModelSpec
    training: TrainingSpec


def train_together(group: Pack) -> None:
    """Train what the cells of a group lack in stacks, and leave it where each cell looks for a finished training.

    What is one training alone, was begun alone, or cannot be trained in a stack is left to the cells.

    Parameters
    ----------
    group
        Cells that differ in betas and seeds alone, see :func:`neuromvm.workflow.sweep.tasks.alike`.
    """
    selection = group[0].selection
    experiment, selection, sweep = group[0].spec, group[0].selection, SweepFolder(group[0].sweep)
    on = [None] if selection is None else [None, selection]  # the splits, and their inner folds
    lacking = [(chosen, model, _lacking(group, model, chosen)) for chosen in on for model in experiment.models]
    lacking = [one for one in lacking if len(one[2]) > 1]
    if not lacking:
        return
    with threadpool_limits(experiment.training.threads):
        samples = make_samples(read_tree(sweep.path / "data" / f"{group[0].data}.nc"), experiment.samples)
        outer = make_splits(samples, experiment.split)
        for chosen, model, wanted in lacking:
            splits = outer
            if chosen is not None:
                splits = inner_splits(samples, outer, experiment.split, chosen.inner_folds, chosen.seed)
            for some in _stacks(wanted, samples, splits):
                where = "" if chosen is None else " on inner folds"
                log.info("training: %s%s, a stack of %d trainings that differ in beta or seeds", model, where, len(some))
                _train(some, samples, splits, sweep)


def _lacking(group: Pack, model: str, selection: Selection | None) -> list[Wanted]:
    """Return the trainings of a model that are neither finished nor begun by a cell alone."""
    sweep, found = SweepFolder(group[0].sweep), {}
    trainings = SharedTrainings.of(sweep)
    for task in group:
        experiment = task.spec
        name = training_name(experiment, model, task.data, selection)
        folder = sweep.cell_folder(task.cell) / ("models" if selection is None else "inner") / model
        inner = sweep.inner_file(task.cell, selection)
        if not (
            name in trainings
            or (folder / "fitted.json").is_file()
            or (folder / CHECKPOINTS).is_dir()
            or (inner is not None and inner.is_file())
        ):
            found[name] = Wanted(name, experiment.models[model], experiment.training_for(model))
    return list(found.values())


def _stacks(wanted: Sequence[Wanted], samples: xr.DataTree, splits: xr.DataTree) -> Iterator[Sequence[Wanted]]:
    """Divide trainings into stacks of a good size; one that is left alone is left to its cell."""
    count = next(iter(splits.children.values())).sizes["split"] * max(len(one.training.seeds) for one in wanted)
    most = max(1, stack_size(samples, wanted[0].model, wanted[0].training) // count)
    number = -(-len(wanted) // most)
    for place in range(number):
        some = wanted[len(wanted) * place // number : len(wanted) * (place + 1) // number]
        if len(some) > 1:
            yield some


def _train(wanted: Sequence[Wanted], samples: xr.DataTree, splits: xr.DataTree, sweep: SweepFolder) -> None:
    """Train a stack; one that fails is divided, so that the training at fault is found and fails alone, in its cell."""
    folder = sweep.path / STACKS / digest({"trainings": [one.name for one in wanted]})
    parts = [Part(one.model, one.training, folder / "parts" / one.name) for one in wanted]
    try:
        fit_together(samples, splits, parts, folder)
        for one, part in zip(wanted, parts, strict=True):
            SharedTrainings.of(sweep).give(one.name, part.folder)
    except Exception as error:  # whatever fails one training fails its stack: the halves say which it is
        log.warning("a stack of %d trainings has failed and is divided: %s: %s", len(wanted), type(error).__name__, error)
        middle = len(wanted) // 2
        for half in (wanted[:middle], wanted[middle:]):
            if len(half) > 1:
                _train(half, samples, splits, sweep)
    # Not after an interruption: a stack goes on from its checkpoint.
    shutil.rmtree(folder, ignore_errors=True)
