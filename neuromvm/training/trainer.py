"""The training loop: a generator of records that always trains a stack of replicas.

Replicas are the same architecture on other splits or null data, with other seeds or another beta. Their parameters are stacked
along a first dim and one step runs them all; the sum of their losses gives each its own gradient, and Adam on stacked tensors is
Adam on each. A replica that has stopped early leaves the stack.
Parameters may be frozen: they take part in every step as constants and are not in the optimiser.
Randomness is a function of (seed, split, epoch), so a run continued from a checkpoint repeats the one that was cut off.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import stack_module_state

from neuromvm.build import build_model
from neuromvm.data.replicas import VALIDATION
from neuromvm.errors import TrainingError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.models import Batch, MultimodalVAE
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.sharing import MMVMSharing
from neuromvm.training.batches import StackBatches
from neuromvm.training.device import matrix_products
from neuromvm.training.freed_memory import freed_memory_kept
from neuromvm.training.objective import Members, StackedObjective
from neuromvm.training.stack_size import largest_stack
from neuromvm.training.step import StackStep


class EpochRecord(NamedTuple):
    """What one epoch gave, a number or row for each replica; ``validation_loss`` is None without validation trials.

    A replica that has stopped keeps the numbers of its last epoch.
    """

    epoch: int
    loss: list[float]
    log_likelihood: list[list[float]]  # (replica, modality), mean over rows in which the modality is present
    rate: list[list[float]]  # (replica, term), likewise [nats]
    validation_loss: list[float] | None
    stopped: list[bool]
    seconds: float


class StackState(NamedTuple):
    """All that a stack needs to continue: stacked tensors by name, and what early stopping has seen."""

    epoch: int
    tensors: dict[str, Tensor]
    best_loss: list[float]
    best_epoch: list[int]


class StackTrainer:
    """Trains a stack of replicas of one model.

    Parameters
    ----------
    model
        The architecture.
    training
        Epochs, optimiser, early stopping.
    batches
        Data of the stack.
    frozen
        Parameter or buffer -> ``(replica, ...)``: it keeps these values. What is not named is drawn anew and trained.
    start
        Parameter -> ``(replica, ...)`` to begin from, in place of what is drawn.

    Raises
    ------
    TrainingError
        If replicas are to stop early without validation samples, a frozen tensor does not fit the model, or nothing is left
        to train.

    Examples
    --------
    >>> trainer = StackTrainer(model_spec, training_spec, batches)  # doctest: +SKIP
    >>> for record in trainer.run():  # doctest: +SKIP
    ...     print(record.epoch, record.loss)
    """

    def __init__(
        self,
        model: ModelSpec,
        training: TrainingSpec,
        batches: StackBatches,
        frozen: Mapping[str, Tensor] | None = None,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.spec, self.training, self.batches = model, training, batches
        if training.patience is not None and not batches.validated.all():
            raise TrainingError(
                "training.patience",
                found="replicas without matched validation samples",
                expected="validation trials of every split, to stop on",
                next_step="Set split.validation above 0, or leave patience out",
            )
        moves = moving_share(model)
        if training.compile and moves is not None:
            raise TrainingError(
                "training.compile",
                found=f"a standard-normal share that moves ({moves})",
                expected="a constant one: a compiled step keeps the share that it was compiled with",
                next_step="Leave compile out, or set sharing.standard_normal.kind=constant",
            )
        self.epoch = 0
        replicas = len(batches.replicas)
        self._everyone, self._active = batches, np.arange(replicas)
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
        self.model: MultimodalVAE = members[0]
        parameters, self._buffers = stack_module_state(members)
        self._parameters: dict[str, Tensor] = {name: value.detach() for name, value in parameters.items()}
        self._constants: dict[str, Tensor] = {}
        self._freeze(frozen or {})
        for name, value in (start or {}).items():
            self._parameters[name].copy_(value)
        self._fixed = {**self._constants, **self._buffers}  # of every replica, also of those that have left
        self._best = {name: value.clone() for name, value in self._parameters.items()}
        self._best_loss = np.full(replicas, np.inf)
        self._best_epoch = np.zeros(replicas, dtype=int)
        self._beta = self._make_beta()
        architecture = (model.model_dump_json(), *batches.windows.items()) if training.compile else None
        self._objective = StackedObjective(self.model, name=architecture)
        together = replicas
        if batches.device.type == "cpu":
            features = sum(window.features for window in batches.windows.values())
            together = largest_stack(sum(one.numel() for one in self.model.parameters()), batches.batch_rows, features)
        self._take_step = StackStep(self._objective, self._parameters, training, together)
        terms, modalities = len(self.model.rate_terms), len(self.model.modalities)
        # loss, log-likelihoods, rates, validation loss of the last epoch that each replica took part in
        self._last = torch.full((replicas, 2 + modalities + terms), torch.nan)

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """Say which replicas have gone ``patience`` epochs without a better validation loss."""
        return self._stopped_by(self.epoch)

    def _stopped_by(self, epoch: int) -> NDArray[np.bool_]:
        if self.training.patience is None:
            return np.zeros(len(self._best_epoch), dtype=bool)
        return np.asarray(epoch - self._best_epoch >= self.training.patience)

    def run(self) -> Iterator[EpochRecord]:
        """Train until the last epoch, or until every replica has stopped; yields after each epoch.

        Raises
        ------
        TrainingError
            If a loss is not finite.
        """
        with freed_memory_kept():
            while self.epoch < self.training.epochs and not self.stopped.all():
                started = time.perf_counter()
                with matrix_products(self.training.precision):
                    trained = self._train_epoch()
                    self.epoch += 1
                    self._last[self._active] = torch.cat([*trained, self._validate()[:, None]], dim=1).cpu()
                record = self._record(round(time.perf_counter() - started, 4))
                self._leave()
                yield record

    def _record(self, seconds: float) -> EpochRecord:
        modalities = len(self.model.modalities)
        loss, likelihood, rate, validation = torch.split(self._last, [1, modalities, len(self.model.rate_terms), 1], dim=1)
        validated = self._everyone.validation_pairs is not None
        return EpochRecord(
            self.epoch,
            loss[:, 0].tolist(),
            likelihood.tolist(),
            rate.tolist(),
            validation[:, 0].tolist() if validated else None,
            self.stopped.tolist(),
            seconds,
        )

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and buffers ``(replica, ...)``: the best on validation if early stopping is on, else the last."""
        chosen = self._parameters if self.training.patience is None else self._best
        return {**chosen, **self._fixed}

    def fitted_stack(self) -> FittedStack:
        """Return the trained replicas with the scaling of their data."""
        data = self._everyone
        return FittedStack(
            self.spec, data.replicas, self.weights(), data.scalers, data.windows, data.sample_spec, data.conditions
        )

    def state(self) -> StackState:
        """Return everything that :meth:`restore` needs; frozen parameters never change and are not among it."""
        tensors = {f"parameter/{name}": value for name, value in self._parameters.items()}
        tensors |= {f"buffer/{name}": value for name, value in self._buffers.items()}
        tensors |= {f"best/{name}": value for name, value in self._best.items()}
        tensors |= {"last": self._last, "active": torch.from_numpy(self._active)}
        for name, memory in self._take_step.memory().items():
            tensors |= {f"adam/{key}/{name}": entry for key, entry in memory.items()}
        return StackState(self.epoch, tensors, self._best_loss.tolist(), self._best_epoch.tolist())

    def restore(self, state: StackState) -> None:
        """Continue from a state of the same stack, with the same parameters frozen."""
        groups: dict[str, dict[str, Tensor]] = {"parameter": {}, "buffer": {}, "best": {}, "adam": {}, "last": {}, "active": {}}
        for key, value in state.tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = value
        self.epoch = state.epoch
        self._best_loss, self._best_epoch = np.array(state.best_loss), np.array(state.best_epoch)
        self._last.copy_(groups["last"][""])
        self._keep(groups["active"][""].numpy())
        for name, parameter in self._parameters.items():
            parameter.copy_(groups["parameter"][name])
            self._best[name].copy_(groups["best"][name])
        memory = self._take_step.memory()
        self._take_step.remember({name: {key: groups["adam"][f"{key}/{name}"] for key in memory[name]} for name in memory})
        for name, value in groups["buffer"].items():
            self._buffers[name].copy_(value)

    def _make_beta(self) -> Tensor:
        betas = [self.spec.beta if replica.beta is None else replica.beta for replica in self.batches.replicas]
        return torch.tensor(betas, dtype=torch.float32, device=self.batches.device)

    def _leave(self) -> None:
        """Take replicas that have stopped out of the stack: what they keep is their best weights."""
        staying = self._active[~self.stopped[self._active]]
        if len(staying):
            self._keep(staying)

    def _keep(self, staying: NDArray[np.int64]) -> None:
        """Cut the stack to some of its replicas, given by their numbers among all."""
        if len(staying) == len(self._active):
            return
        members = torch.from_numpy(np.searchsorted(self._active, staying)).to(self.batches.device)
        self._active = staying
        self.batches = self._everyone.only(self._active.tolist())
        self._parameters = {name: value[members] for name, value in self._parameters.items()}
        self._buffers, self._constants = (
            {name: value[members] for name, value in held.items()} for held in (self._buffers, self._constants)
        )
        self._beta = self._make_beta()
        self._take_step.keep(members, self._parameters)

    def _freeze(self, frozen: Mapping[str, Tensor]) -> None:
        """Take frozen parameters out of those that are trained, and set frozen buffers."""
        for name, value in frozen.items():
            mine = self._parameters.get(name, self._buffers.get(name))
            if mine is None or mine.shape != value.shape:
                raise TrainingError(
                    f"frozen weight {name!r}",
                    found=f"{tuple(value.shape)}",
                    expected="no weight of this name" if mine is None else f"{tuple(mine.shape)}",
                    next_step="Freeze weights of a stack of the same spec, animals and replicas",
                )
            if name in self._buffers:
                self._buffers[name].copy_(value)
            else:
                del self._parameters[name]
                self._constants[name] = value.detach().to(self.batches.device, copy=True)
        if not self._parameters:
            raise TrainingError("frozen weights", found="every parameter of the model", expected="some left to train")

    def _train_epoch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean loss ``(replica, 1)``, log-likelihoods ``(replica, modality)`` and rates ``(replica, term)``."""
        generators = self.batches.generators(self.epoch)
        table = self.batches.epoch_pairs(self.epoch)
        steps = range(self.batches.steps)
        taken = [self._step(table[:, step], generators, self.epoch + step / self.batches.steps) for step in steps]
        losses, likelihoods, rates, rows, counts = zip(*taken, strict=True)
        tuples = torch.stack(counts)
        loss = (torch.stack(losses) * tuples).sum(0) / tuples.sum(0)
        if not torch.isfinite(loss).all():
            bad = self.batches.replicas[int((~torch.isfinite(loss)).nonzero()[0, 0])]
            raise TrainingError(
                f"epoch {self.epoch + 1}, split {bad.split}, seed {bad.seed}",
                found="a loss that is not finite",
                next_step="Lower training.learning_rate or set training.clip_norm",
            )
        count = torch.stack(rows).sum(0).clamp(min=1)
        likelihood, rate = torch.stack(likelihoods).sum(0) / count, torch.stack(rates).sum(0)
        # A term of one animal counts where that animal is present, a common one wherever anyone is.
        own = self.model.rate_terms == self.model.modalities
        rate = rate / (count if own else tuples[..., None].sum(0).clamp(min=1))
        return loss[:, None], likelihood, rate

    def _step(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator], epochs: float) -> tuple[Tensor, ...]:
        """Take one step; what it holds in memory goes with it, before the next begins.

        Returns
        -------
        Loss ``(replica,)``; sums over rows of log-likelihoods ``(replica, modality)`` and rates ``(replica, term)``; numbers of
        rows in which a modality is present ``(replica, modality)``, and in which any is ``(replica,)``.
        """
        batch = self.batches.batch(pairs, generators)
        noise = self.batches.noise(pairs, generators, self.model.noise_shape)
        progress = epochs / self.training.epochs
        rate_now = learning_rate(self.training, self.epoch)
        log_likelihood, rate, loss = self._take_step(self._members(batch, noise), progress, rate_now)
        available = batch.available
        return loss, log_likelihood.sum(2), rate.sum(2), available.sum(2), available.amax(1).sum(1)

    def _members(self, batch: Batch, noise: Tensor) -> Members:
        return Members(self._parameters, {**self._constants, **self._buffers}, batch, noise, self._beta)

    @torch.no_grad()
    def _validate(self) -> Tensor:
        """Return the validation loss ``(replica,)``, NaN without validation samples, and keep the best weights."""
        pairs = self.batches.validation_pairs
        if pairs is None:
            return torch.full((len(self._active),), torch.nan)
        # The same noise at every call, so that epochs differ by their weights alone.
        noise = self.batches.noise(pairs, self.batches.generators(0, VALIDATION), self.model.noise_shape)
        loss = self._take_step.objective(self._members(self.batches.batch(pairs, None), noise), progress=1.0).loss
        values = loss.cpu().numpy().astype(float)
        if not np.isfinite(values[self.batches.validated]).all():
            raise TrainingError(
                f"epoch {self.epoch}", found="a validation loss that is not finite", next_step="Lower training.learning_rate"
            )
        better = np.flatnonzero(values < self._best_loss[self._active])
        kept = self._active[better]
        self._best_loss[kept], self._best_epoch[kept] = values[better], self.epoch
        here, there = (torch.from_numpy(places).to(self.batches.device) for places in (better, kept))
        for name, value in self._parameters.items():
            self._best[name][there] = value[here]
        return loss


def moving_share(model: ModelSpec) -> str | None:
    """Return how the share of N(0, I) in a model's mixture moves while it is trained; None if it does not, or there is none.

    Examples
    --------
    >>> moving_share(ModelSpec(sharing={"kind": "mmvm", "standard_normal": {"kind": "linear"}}))
    'linear'
    """
    if isinstance(model.sharing, MMVMSharing) and model.sharing.standard_normal.kind != "constant":
        return model.sharing.standard_normal.kind
    return None


def learning_rate(training: TrainingSpec, epoch: int) -> float:
    """Return the learning rate of an epoch, the first being 0 (cosine: Loshchilov & Hutter 2017, without restarts).

    Examples
    --------
    >>> [learning_rate(TrainingSpec(epochs=4, learning_rate=1, schedule="cosine"), epoch) for epoch in (0, 2)]
    [1.0, 0.5]
    """
    if training.schedule == "constant":
        return training.learning_rate
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / training.epochs))
