"""Fit a model to samples: the training loop with a progress bar, checkpoints and a record of every epoch."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from neuromvm import schema
from neuromvm.build import build_model
from neuromvm.data.replicas import Replica
from neuromvm.errors import expect
from neuromvm.files import claim, write_atomically, write_tree
from neuromvm.functional.schedules import constant, cosine
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.training import NEUTRAL
from neuromvm.training.batches import StackBatches
from neuromvm.training.checkpoints import load_latest_checkpoint, save_checkpoint
from neuromvm.training.device import choose_device
from neuromvm.training.step import StepSettings
from neuromvm.training.trainer import EpochRecord, StackTrainer, TrainerSettings

log = logging.getLogger(__name__)
LONG = 300.0  # [s] of training on a CPU, from which it pays to compile its step: that takes a minute and saves up to half
TIMED = 5  # epochs, after which the time of the rest can be told


def fit(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
) -> FittedStack:
    """Train one replica for every split and seed, all at once.

    Parameters
    ----------
    samples
        Of :func:`neuromvm.data.windows.make_samples`.
    splits
        Of :func:`neuromvm.data.splits.make_splits`; test trials are never touched.
    model, training
        What to train and how.
    folder
        Where to keep ``metrics.jsonl``, checkpoints, pairs and the fitted model. If it holds an unfinished training of
        the same settings, that is continued, with the same result as if it had never stopped.
    progress
        Show a bar with loss and time left, if standard error is a terminal.

    Returns
    -------
    The fitted stack, which embeds samples.

    Raises
    ------
    SplitError
        If an animal has no training trials or nothing can be paired.
    TrainingError
        If the device is absent or a loss is not finite.

    Examples
    --------
    >>> fitted = fit(samples, splits, ModelSpec(sharing="mmvm", latent=8))  # doctest: +SKIP
    >>> latents = fitted.embed(samples)  # doctest: +SKIP
    """
    training = training or TrainingSpec()
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    expect(model, ModelSpec, "model", 'Make one: ModelSpec(sharing="mmvm")')
    expect(training, TrainingSpec, "training", "Make one: TrainingSpec(epochs=200)")
    schema.check_same_trials(samples, splits)
    replicas = [Replica(int(split), seed) for split in _split_numbers(splits) for seed in training.seeds]
    return train_stack(samples, splits, model, training, replicas, folder=folder, progress=progress)


def train_stack(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    replicas: Sequence[Replica],
    *,
    kept: FittedStack | None = None,
    start: Callable[[StackBatches], Mapping[str, Tensor]] | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
) -> FittedStack:
    """Train these replicas, see :func:`fit`; the training under :func:`fit` and :func:`neuromvm.training.adapt.adapt`.

    Parameters
    ----------
    samples, splits, model, training, folder, progress
        As in :func:`fit`, checked.
    replicas
        Split and seed of each.
    kept
        A stack of the same replicas with some of the animals, which keep its weights and scalers: only those of the other
        animals are trained.
    start
        Gives parameters to begin from, in place of what is drawn: name -> ``(replica, ...)``.
    """
    torch.set_num_threads(training.threads)
    batches = StackBatches(
        samples,
        splits,
        model,
        training,
        replicas,
        device=choose_device(training.device),
        scalers=kept.scalers if kept is not None else None,
    )
    trainer = make_trainer(
        model,
        training,
        batches,
        frozen=kept.weights if kept is not None else None,
        start=start(batches) if start is not None else None,
    )
    record = _Record(Path(folder)) if folder is not None else None
    if record is not None:
        record.begin(trainer, model, training, samples, splits, kept, given_start=start is not None)
    new = [name for name in samples.children if kept is not None and name not in kept.scalers]
    label = f"{model.sharing.kind}{' + ' if new else ''}{', '.join(new)} ({len(replicas)} replicas)"
    seconds: list[float] = []
    with tqdm(total=training.epochs, initial=trainer.epoch, desc=label, unit="epoch", disable=None if progress else True) as bar:
        for epoch in trainer.run():
            bar.set_postfix(loss=f"{np.mean(epoch.loss):.4g}", refresh=False)
            bar.update()
            if record is not None:
                record.add(epoch, trainer, training)
            seconds.append(epoch.seconds)
            if len(seconds) == TIMED:
                _advise_on(trainer, float(np.median(seconds)), label)
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


def _advise_on(trainer: StackTrainer, seconds: float, label: str) -> None:
    """Say how a long training on a CPU would be shorter."""
    left = seconds * (trainer.settings.epochs - trainer.epoch)
    on_cpu, compiled = trainer.batches.device.type == "cpu", trainer.settings.compiled_as is not None
    if left > LONG and on_cpu and not compiled and not trainer.model.changes_with_progress:
        log.info(
            "%s: about %.0f minutes to go. With training.compile=true a step takes as little as half as long, once compiled: "
            "that takes about a minute, and a C++ compiler.",
            label,
            left / 60,
        )


class _Record:
    """The part of a run folder that one training fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = folder / "metrics.jsonl"
        self.checkpoints = folder / "checkpoints"

    def begin(
        self,
        trainer: StackTrainer,
        model: ModelSpec,
        training: TrainingSpec,
        samples: xr.DataTree,
        splits: xr.DataTree,
        kept: FittedStack | None,
        *,
        given_start: bool,
    ) -> None:
        """Restore the newest checkpoint of the same training, and cut the record back to it."""
        about = {
            "model": model.model_dump(mode="json"),
            "training": training.model_dump(mode="json", exclude=NEUTRAL),
            "replicas": [replica.about() for replica in trainer.batches.replicas],
            "rate_terms": list(trainer.model.rate_terms),
            "data": _fingerprint(samples, splits),
            "kept": _fingerprint_of(kept) if kept is not None else None,
            **({"start": "given"} if given_start else {}),
        }
        claim(self.folder / "training.json", about, "a training", "Choose another folder")
        state = load_latest_checkpoint(self.checkpoints)
        if state is not None:
            trainer.restore(state)
        lines = self.metrics.read_text().splitlines(keepends=True) if self.metrics.is_file() else []
        past = [line for line in lines if line.endswith("\n") and json.loads(line)["epoch"] <= trainer.epoch]
        write_atomically(self.metrics, "".join(past).encode())
        write_tree(self.folder / "pairs.nc", first_pairs(trainer.batches, samples, training.pairing))

    def add(self, epoch: EpochRecord, trainer: StackTrainer, training: TrainingSpec) -> None:
        """Append an epoch, and save a checkpoint when one is due."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(epoch._asdict()) + "\n")
        if epoch.epoch % training.checkpoint_every == 0 or epoch.epoch == training.epochs:
            save_checkpoint(self.checkpoints, trainer.state())


def _fingerprint(samples: xr.DataTree, splits: xr.DataTree) -> str:
    """Return a hash of everything of the data that a training depends on."""
    digest = hashlib.sha256(samples.attrs["sample_spec"].encode())
    for name, dataset in schema.animals(samples):
        digest.update(name.encode())
        for array in (dataset["activity"], dataset["match"], splits[name]["part"]):
            values = np.ascontiguousarray(array.to_numpy())
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(values.data)
    return digest.hexdigest()


def _fingerprint_of(kept: FittedStack) -> str:
    """Return a hash of weights and scalers."""
    digest = hashlib.sha256()
    for name in sorted(kept.weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(kept.weights[name].numpy()).tobytes())
    for name in sorted(kept.scalers):
        for scaler in kept.scalers[name]:
            digest.update(name.encode() + scaler.center.tobytes() + scaler.spread.tobytes())
    return digest.hexdigest()


def first_pairs(batches: StackBatches, samples: xr.DataTree, pairing: str) -> xr.Dataset:
    """Return the tuples of the first epoch: ``trial`` and ``window`` ``(replica, tuple, animal)``, -1 where absent.

    With ``pairing="published"`` they are those of every epoch; else later epochs draw others from the same seeds.
    """
    replicas = len(batches.replicas)
    table = batches.epoch_pairs(0).reshape(replicas, -1, len(batches.animals))
    trial, window = np.full_like(table, -1), np.full_like(table, -1)
    for column, name in enumerate(batches.animals):
        windows = samples[name].sizes["window"]
        chosen = table[:, :, column]
        numbers = samples[name]["trial"].to_numpy()[np.maximum(chosen, 0) // windows]
        trial[:, :, column] = np.where(chosen >= 0, numbers, -1)
        window[:, :, column] = np.where(chosen >= 0, chosen % windows, -1)
    dims = ("replica", "tuple", "animal")
    return xr.Dataset(
        {"trial": (dims, trial), "window": (dims, window)},
        coords={"animal": list(batches.animals), "split": ("replica", [replica.split for replica in batches.replicas])},
        attrs={"pairing": pairing},
    )


def _split_numbers(splits: xr.DataTree) -> np.ndarray:
    first = next(iter(splits.children.values()))
    return first["split"].to_numpy()
