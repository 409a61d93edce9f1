"""Trainings that cells share, and trainings that differ in betas and seeds alone as one stack.

A model with equal settings, data and splits is trained once; a training of a stack is kept as if trained alone.
"""

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from threadpoolctl import threadpool_limits

from neuromvm.data.memory import read_recordings
from neuromvm.data.replicas import Replica
from neuromvm.data.splits import inner_splits, make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError, TrainingError
from neuromvm.files import read_dataset, read_json, read_lines, temporary_path, write_atomically, write_json, write_tree
from neuromvm.folders.records import Epoch, TrainingRecord
from neuromvm.folders.sweep import SweepFolder, digest, training_name
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.sweep import Selection
from neuromvm.specs.training import NEUTRAL
from neuromvm.training.fit import train_stack
from neuromvm.training.stack_size import stack_size
from neuromvm.workflow.sweep.batches import Batch, divide_evenly

log = logging.getLogger(__name__)
STACKS = "stacks"


class SharedTrainings:
    """Finished model folders of a sweep by the hash of their settings and data.

    A cell takes finished trainings and gives its own. Cells do not wait for each other: if two train the same model at once,
    the results are equal and only one is kept.
    """

    def __init__(self, sweep: SweepFolder) -> None:
        self.path = sweep.path / "trainings"

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_dir()

    def take(self, name: str, folder: Path) -> None:
        """Fill a model folder with a finished training, if there is one; an unfinished training in it is replaced."""
        if (folder / "fitted.json").is_file() or name not in self:
            return
        shutil.rmtree(folder, ignore_errors=True)
        _share_files(self.path / name, folder)

    def give(self, name: str, folder: Path) -> None:
        """Keep a finished model folder, without its checkpoints, or files that a cell has added to one."""
        if name in self:
            _share_files(folder, self.path / name)
            return
        temporary = temporary_path(folder)  # in a folder that this process has locked, which is cleared if it is killed
        shutil.rmtree(temporary, ignore_errors=True)
        _share_files(folder, temporary)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            temporary.rename(self.path / name)
        except OSError:  # another cell has given the same training
            shutil.rmtree(temporary)


def _share_files(source: Path, target: Path) -> None:
    """Share the files of a folder; ``fitted.json`` marks a model folder as complete and comes last."""
    target.mkdir(parents=True, exist_ok=True)
    files = [file for file in source.iterdir() if file.is_file() and not file.name.startswith(".")]
    for file in sorted(files, key=lambda file: file.name == "fitted.json"):
        share_file(file, target / file.name)


def share_file(source: Path, target: Path) -> None:
    """Link a file to a second name, or copy it where the file system has no links; RunFolderError if it does not exist.

    Files of a run are replaced and never changed in place, so a replacement under one name leaves the other as it was.
    """
    if target.is_file():
        return
    if not source.is_file():
        raise RunFolderError(str(source), found="no such file", next_step="Run the sweep again: it writes the file")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        temporary = temporary_path(target)
        shutil.copyfile(source, temporary)
        temporary.replace(target)


class CellTraining(NamedTuple):
    """The training of one model of a cell, and the name under which cells share it."""

    name: str
    model: ModelSpec
    training: TrainingSpec

    @property
    def stacked_settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings of model and training that all trainings of a stack have in common."""
        return self.model.model_dump(exclude={"beta"}), self.training.model_dump(exclude={"seeds"})

    def replicas(self, splits: xr.DataTree) -> list[Replica]:
        """Return its replicas, in the order of a training alone, each with the beta of its model."""
        numbers = next(iter(splits.children.values()))["split"].to_numpy()
        return [Replica(int(split), seed, beta=self.model.beta) for split in numbers for seed in self.training.seeds]


def train_stacks(group: Batch) -> None:
    """Train the missing models of cells that differ in betas and seeds alone in stacks, and share them in the sweep.

    Single trainings, those that a cell has begun, and those that cannot be trained in a stack are left to the cells.
    """
    task = group[0]
    experiment = task.spec
    selections = [None] if task.selection is None else [None, task.selection]  # the splits, and their inner folds
    missing = [
        (model, selection, trainings)
        for selection in selections
        for model in experiment.models
        if len(trainings := _missing(group, model, selection)) > 1
    ]
    if not missing:
        return
    with threadpool_limits(experiment.training.threads):
        samples = make_samples(read_recordings(task.recordings_file), experiment.samples)
        outer = make_splits(samples, experiment.split)
        for model, selection, trainings in missing:
            splits, description = outer, model
            if selection is not None:
                splits = inner_splits(samples, outer, experiment.split, selection.inner_folds, selection.seed)
                description = f"{model} on inner folds"
            for stack in _stacks(trainings, samples, splits):
                log.info("training: %s, a stack of %d trainings that differ in beta or seeds", description, len(stack))
                _train(stack, samples, splits, task.sweep_folder)


def _missing(group: Batch, model: str, selection: Selection | None) -> list[CellTraining]:
    """Return the trainings of a model that are neither finished nor begun by a cell alone."""
    shared, missing = SharedTrainings(group[0].sweep_folder), {}
    for task in group:
        experiment = task.spec
        name = training_name(experiment, model, task.data, selection)
        folder = task.folder / ("models" if selection is None else "inner") / model
        scored = selection is not None and task.inner_file is not None and task.inner_file.is_file()
        begun = (folder / "fitted.json").is_file() or (folder / "checkpoints").is_dir()
        if not (name in shared or begun or scored):
            missing[name] = CellTraining(name, experiment.models[model], experiment.training_for(model))
    return list(missing.values())


def _stacks(trainings: Sequence[CellTraining], samples: xr.DataTree, splits: xr.DataTree) -> list[Sequence[CellTraining]]:
    """Divide trainings into stacks of a good size; a single training is left to its cell."""
    replicas = max(len(training.replicas(splits)) for training in trainings)
    most = max(1, stack_size(samples, trainings[0].model, trainings[0].training) // replicas)
    return [stack for stack in divide_evenly(trainings, most) if len(stack) > 1]


def _train(trainings: Sequence[CellTraining], samples: xr.DataTree, splits: xr.DataTree, sweep: SweepFolder) -> None:
    """Train a stack; one that fails is halved, so that the training at fault fails alone, in its cell."""
    folder = sweep.path / STACKS / digest({"trainings": [training.name for training in trainings]})
    try:
        fit_stacked(samples, splits, trainings, folder)
        for training in trainings:
            SharedTrainings(sweep).give(training.name, folder / "parts" / training.name)
    except Exception as error:  # whatever its cause: the cell of the training at fault writes it down
        log.warning("a stack of %d trainings has failed and is divided: %s: %s", len(trainings), type(error).__name__, error)
        middle = len(trainings) // 2
        for half in (trainings[:middle], trainings[middle:]):
            if len(half) > 1:
                _train(half, samples, splits, sweep)
    # Not reached on an interruption: a stack continues from its checkpoint.
    shutil.rmtree(folder, ignore_errors=True)


def fit_stacked(samples: xr.DataTree, splits: xr.DataTree, trainings: Sequence[CellTraining], folder: Path) -> None:
    """Train models that differ in beta and seeds alone as one stack, and write model folders ``parts/<name>``, no checkpoints.

    An unfinished training of the same stack is continued; seconds are shares. The random numbers of a replica depend on its seed
    and split alone, so results equal those of separate trainings up to rounding: stacked products may be summed in another order.
    Raises TrainingError if trainings differ in more than beta and seeds, or a loss is not finite.
    """
    model, settings = trainings[0].model, trainings[0].training
    if any(training.stacked_settings != trainings[0].stacked_settings for training in trainings):
        raise TrainingError(
            "trainings of a stack", found="other settings of model or training", expected="none but beta and seeds differ"
        )
    replicas = list(dict.fromkeys(replica for training in trainings for replica in training.replicas(splits)))
    stack = train_stack(samples, splits, model, settings, replicas, folder=folder, progress=False)
    description, pairs = read_json(folder / "training.json", TrainingRecord), read_dataset(folder / "pairs.nc")
    epochs = read_lines(folder / "metrics.jsonl", Epoch)
    for training in trainings:
        part = folder / "parts" / training.name
        members = [replicas.index(replica) for replica in training.replicas(splits)]
        fitted = stack.subset(members)
        fitted.spec, fitted.replicas = training.model, [replica._replace(beta=None) for replica in fitted.replicas]
        changes = {
            "model": training.model.model_dump(mode="json"),
            "training": training.training.model_dump(mode="json", exclude=NEUTRAL),
            "replicas": [replica.about() for replica in fitted.replicas],
        }
        write_json(part / "training.json", description | changes)
        lines = [json.dumps(epoch) + "\n" for epoch in _select_epochs(epochs, members)]
        write_atomically(part / "metrics.jsonl", "".join(lines).encode())
        write_tree(part / "pairs.nc", pairs.isel(replica=members))
        fitted.save(part)  # writes fitted.json, which marks the folder as complete


def _select_epochs(epochs: list[dict[str, Any]], members: list[int]) -> list[dict[str, Any]]:
    """Return the epochs of replicas of a stack until all of them have stopped; other replicas may continue."""
    selected = []
    for epoch in epochs:
        record = epoch | {key: [value[member] for member in members] for key, value in epoch.items() if isinstance(value, list)}
        selected.append(record | {"seconds": round(epoch["seconds"] * len(members) / len(epoch["loss"]), 4)})
        if all(record["stopped"]):
            break
    return selected
