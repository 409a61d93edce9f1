"""Fit a model to samples: the training loop with a progress bar, checkpoints and a record of every epoch."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from neuromvm import schema
from neuromvm.build import build_model, check_likelihoods, likelihood_class
from neuromvm.data.replicas import Replica
from neuromvm.errors import expect
from neuromvm.files import claim, read_lines, readable, writable, write_atomically, write_tree
from neuromvm.folders.records import Epoch
from neuromvm.functional.schedules import constant, cosine
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.progress import Progress
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.training import NEUTRAL
from neuromvm.training.batches import BatchSettings, StackBatches
from neuromvm.training.checkpoints import (
    DELETE_FOLDER,
    load_latest_checkpoint,
    remove_other_checkpoints,
    save_checkpoint,
)
from neuromvm.training.device import choose_device
from neuromvm.training.misfits import misfits
from neuromvm.training.step import StepSettings
from neuromvm.training.trainer import EpochRecord, StackTrainer, TrainerSettings

log = logging.getLogger(__name__)
LONG = 300.0  # [s] of training on a CPU above which a compiled step pays: it takes a minute to compile and saves up to half
TIMED = 5  # epochs after which the remaining time can be estimated


def fit(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
) -> FittedStack:
    """Train one replica for every split and seed, all at once; test trials are never touched.

    Parameters
    ----------
    samples, splits
        Of :func:`neuromvm.data.windows.make_samples` and :func:`neuromvm.data.splits.make_splits`.
    model, training
        What to train and how.
    folder
        For ``metrics.jsonl``, checkpoints, pairs and the fitted model. An unfinished training of the same settings in it is
        continued, with the same result as without the interruption.
    progress
        Show a bar with loss and time left, if standard error is a terminal.

    Raises
    ------
    SplitError
        If an animal has no training trials or nothing can be paired.
    TrainingError
        If the device is absent or a loss is not finite.
    """
    training = training or TrainingSpec()
    schema.expect_samples_with_splits(samples, splits)
    expect(model, ModelSpec, "model", 'Make one: ModelSpec(sharing="mmvm")')
    expect(training, TrainingSpec, "training", "Make one: TrainingSpec(epochs=200)")
    numbers = next(iter(splits.children.values()))["split"].to_numpy()
    replicas = [Replica(int(split), seed) for split in numbers for seed in training.seeds]
    for sentence in misfits(model, samples, splits):
        log.warning("%s.", sentence)
    return train_stack(samples, splits, model, training, replicas, folder=folder, progress=progress)


def batch_settings(model: ModelSpec, training: TrainingSpec, animals: Iterable[str]) -> BatchSettings:
    """Return how batches are made for a model and a training, with samples of these animals."""
    return BatchSettings(
        batch_size=training.batch_size,
        pairing=training.pairing,
        recorded_targets=[animal for animal in animals if likelihood_class(model, animal).scores_recorded()],
        condition_means=model.targets == "condition_means",
        dropout=model.dropout,
        input_noise=model.input_noise,
        resample=model.resample,
        needs_all_animals=model.sharing.needs_all_animals,
    )


def train_stack(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    replicas: Sequence[Replica],
    *,
    frozen: FittedStack | None = None,
    start: Callable[[StackBatches], Mapping[str, Tensor]] | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
) -> FittedStack:
    """Train replicas: the common part of :func:`fit` and :func:`neuromvm.training.adapt.adapt`, whose arguments are checked.

    ``frozen`` is a stack of the same replicas with some of the animals, which keep its weights and scalers; ``start`` returns
    parameters ``(replica, ...)`` by name to begin from, in place of random ones.
    """
    torch.set_num_threads(training.threads)
    scalers, weights = (None, None) if frozen is None else (frozen.scalers, frozen.weights)
    check_likelihoods(model, samples)
    settings, device = batch_settings(model, training, samples.children), choose_device(training.device)
    batches = StackBatches(samples, splits, settings, replicas, device=device, scalers=scalers)
    trainer = make_trainer(model, training, batches, weights, None if start is None else start(batches))
    record = None
    if folder is not None:
        record = _Record(Path(folder), trainer, training)
        record.begin(model, samples, splits, frozen, has_start=start is not None)
    new = [name for name in samples.children if scalers is not None and name not in scalers]
    label = f"{model.sharing.kind}{' + ' if new else ''}{', '.join(new)} ({len(replicas)} replicas)"
    seconds: list[float] = []
    first: EpochRecord | None = None
    with Progress(training.epochs, label, "epoch", done=trainer.epoch, shown=progress) as bar:
        for epoch in trainer.run():
            first = first or epoch
            bar.advance(note=f"loss={np.mean(epoch.loss):.4g}")
            if record is not None:
                record.add(epoch)
            seconds.append(epoch.seconds)
            if len(seconds) == TIMED:
                _advise_on(trainer, float(np.median(seconds)), label)
    if first is not None:
        _warn_of_divergence(first, epoch, replicas, label)
    fitted = fitted_stack(model, trainer)
    if record is not None:
        fitted.save(record.folder)
    return fitted


def make_trainer(
    model: ModelSpec,
    training: TrainingSpec,
    batches: StackBatches,
    frozen: Mapping[str, Tensor] | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> StackTrainer:
    """Build the replicas of a stack and their trainer; arguments are those of :class:`StackTrainer`, settings as specs."""
    members = [
        build_model(
            model,
            batches.windows,
            replica.seed,
            partial(batches.training_targets, number),
            batches.trial_models(number, model.start_shrinkage) if model.start == "bayes" else None,
        ).to(batches.device)
        for number, replica in enumerate(batches.replicas)
    ]
    betas = [model.beta if replica.beta is None else replica.beta for replica in batches.replicas]
    rate = training.learning_rate
    settings = TrainerSettings(
        training.epochs,
        constant(rate) if training.schedule == "constant" else cosine(rate, 0.0),
        StepSettings(training.weight_decay, training.clip_norm),
        training.patience,
        training.precision,
        (model.model_dump_json(), *batches.windows.items()) if training.compile else None,
    )
    return StackTrainer(members, betas, settings, batches, frozen, start)


def fitted_stack(model: ModelSpec, trainer: StackTrainer) -> FittedStack:
    """Return the trained replicas with the scaling of their data."""
    data = trainer.all_batches
    return FittedStack(model, data.replicas, trainer.weights(), data.scalers, data.windows, data.sample_spec, data.conditions)


def _warn_of_divergence(first: EpochRecord, last: EpochRecord, replicas: Sequence[Replica], label: str) -> None:
    """Log a warning if the loss of a replica grew by more than its size in the first epoch."""
    growth = [(end - begin) / max(1.0, abs(begin)) for begin, end in zip(first.loss, last.loss, strict=True)]
    worst = int(np.argmax(growth))
    if growth[worst] > 1:
        diverged = sum(value > 1 for value in growth)
        log.warning(
            "%s: the training of %d of %d replicas diverged; the loss of split %d, seed %d went from %.3g to %.3g. Lower "
            "training.learning_rate or set training.clip_norm.",
            label,
            diverged,
            len(growth),
            replicas[worst].split,
            replicas[worst].seed,
            first.loss[worst],
            last.loss[worst],
        )


def _advise_on(trainer: StackTrainer, seconds: float, label: str) -> None:
    """Log how a long training on a CPU would be shorter."""
    remaining = seconds * (trainer.settings.epochs - trainer.epoch)
    on_cpu, compiled = trainer.batches.device.type == "cpu", trainer.settings.compiled_as is not None
    if remaining > LONG and on_cpu and not compiled and not trainer.model.changes_with_progress:
        log.info(
            "%s: about %.0f minutes to go. With training.compile=true a step may take half as long; compiling takes about a "
            "minute and needs a C++ compiler.",
            label,
            remaining / 60,
        )


class _Record:
    """The part of a run folder that one training fills."""

    def __init__(self, folder: Path, trainer: StackTrainer, training: TrainingSpec) -> None:
        self.folder, self.trainer, self.training = folder, trainer, training
        self.metrics, self.checkpoints = folder / "metrics.jsonl", folder / "checkpoints"

    def begin(
        self, model: ModelSpec, samples: xr.DataTree, splits: xr.DataTree, frozen: FittedStack | None, *, has_start: bool
    ) -> None:
        """Restore the newest checkpoint of the same training, and cut the record back to it."""
        settings = {
            "model": model.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json", exclude=NEUTRAL),
            "replicas": [replica.about() for replica in self.trainer.batches.replicas],
            "rate_terms": list(self.trainer.model.rate_terms),
            "data": _fingerprint(samples, splits),
            "kept": _fingerprint_of(frozen) if frozen is not None else None,
            **({"start": "given"} if has_start else {}),
        }
        claim(self.folder / "training.json", settings, "a training", "Choose another folder")
        remove_other_checkpoints(self.checkpoints)
        state = load_latest_checkpoint(self.checkpoints)
        if state is not None:
            with readable(self.checkpoints, DELETE_FOLDER):
                self.trainer.restore(state)
        epochs = read_lines(self.metrics, Epoch, "Delete the model's folder and resume the run") if self.metrics.is_file() else []
        past = [json.dumps(epoch) + "\n" for epoch in epochs if epoch["epoch"] <= self.trainer.epoch]
        write_atomically(self.metrics, "".join(past).encode())
        write_tree(self.folder / "pairs.nc", first_pairs(self.trainer.batches, samples, self.training.pairing))

    def add(self, epoch: EpochRecord) -> None:
        """Append an epoch, and save a checkpoint when one is due."""
        with writable(self.metrics), self.metrics.open("a") as file:
            file.write(json.dumps(epoch._asdict()) + "\n")
        if epoch.epoch % self.training.checkpoint_every == 0 or epoch.epoch == self.training.epochs:
            save_checkpoint(self.checkpoints, self.trainer.state())


def _fingerprint(samples: xr.DataTree, splits: xr.DataTree) -> str:
    """Return a hash of the samples and splits that a training depends on."""
    digest = hashlib.sha256(samples.attrs["sample_spec"].encode())
    for name, dataset in schema.animals(samples):
        digest.update(name.encode())
        for array in (dataset["activity"], dataset["match"], splits[name]["part"]):
            values = np.ascontiguousarray(array.to_numpy())
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(values.data)
    return digest.hexdigest()


def _fingerprint_of(fitted: FittedStack) -> str:
    """Return a hash of weights and scalers."""
    digest = hashlib.sha256()
    for name in sorted(fitted.weights):
        digest.update(name.encode() + np.ascontiguousarray(fitted.weights[name].numpy()).tobytes())
    for name in sorted(fitted.scalers):
        for scaler in fitted.scalers[name]:
            digest.update(name.encode() + scaler.center.tobytes() + scaler.spread.tobytes())
    return digest.hexdigest()


def first_pairs(batches: StackBatches, samples: xr.DataTree, pairing: str) -> xr.Dataset:
    """Return the tuples of the first epoch: ``trial`` and ``window`` ``(replica, tuple, animal)``, -1 where absent.

    With ``pairing="published"`` every epoch has these tuples; else later epochs draw new ones from the same seeds.
    """
    replicas = len(batches.replicas)
    table = batches.epoch_pairs(0).reshape(replicas, -1, len(batches.animals))
    trial, window = np.full_like(table, -1), np.full_like(table, -1)
    for column, name in enumerate(batches.animals):
        chosen, windows = table[:, :, column], samples[name].sizes["window"]
        numbers = samples[name]["trial"].to_numpy()[np.maximum(chosen, 0) // windows]
        trial[:, :, column] = np.where(chosen >= 0, numbers, -1)
        window[:, :, column] = np.where(chosen >= 0, chosen % windows, -1)
    dims = ("replica", "tuple", "animal")
    return xr.Dataset(
        {"trial": (dims, trial), "window": (dims, window)},
        coords={"animal": list(batches.animals), "split": ("replica", [replica.split for replica in batches.replicas])},
        attrs={"pairing": pairing},
    )
