"""The training loop: a generator of records that always trains a stack of replicas.

Replicas are the same architecture with other splits, null data, seeds or beta. Their parameters are stacked along a leading
dim, and a step updates all of them; the gradient of the summed losses is the gradient of each. Randomness is a function of
(seed, split, epoch), so a training that is continued from a checkpoint repeats the one that was interrupted.
"""

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import stack_module_state

from neuromvm.data.replicas import VALIDATION
from neuromvm.errors import TrainingError
from neuromvm.functional.schedules import Schedule
from neuromvm.models import Batch, MultimodalVAE
from neuromvm.training.batches import StackBatches
from neuromvm.training.device import freed_memory_kept, matrix_products
from neuromvm.training.objective import StackInputs, StackObjective
from neuromvm.training.stack_size import largest_stack, stack_parts
from neuromvm.training.step import StackStep, StepSettings


class TrainerSettings(NamedTuple):
    """How a stack is trained.

    ``learning_rate``: share of the training done, at the start of an epoch -> learning rate. ``patience``: epochs without a
    better validation loss after which a replica stops; None: it never does. ``precision``: ``float32`` or ``tf32``.
    ``compiled_as``: name under which the compiled step is kept for other trainings of the same architecture; None: not
    compiled.
    """

    epochs: int
    learning_rate: Schedule
    step: StepSettings = StepSettings()
    patience: int | None = None
    precision: str = "float32"
    compiled_as: Hashable | None = None


class EpochRecord(NamedTuple):
    """Losses of an epoch, a number or row for each replica; ``validation_loss`` is None without validation trials.

    A replica that has stopped keeps the numbers of its final epoch.
    """

    epoch: int
    loss: list[float]
    log_likelihood: list[list[float]]  # (replica, modality), mean over rows in which the modality is present
    rate: list[list[float]]  # (replica, term) [nats], mean over these rows; of a joint term, over rows with any modality
    validation_loss: list[float] | None
    stopped: list[bool]
    seconds: float


class StackState(NamedTuple):
    """Everything a stack needs to continue: stacked tensors by name, and the best validation loss and epoch of each replica."""

    epoch: int
    tensors: dict[str, Tensor]
    best_loss: list[float]
    best_epoch: list[int]


class StackTrainer:
    """Trains a stack of replicas of one model.

    ``members`` are the initialised models and ``betas`` the weights of the rate, one for each replica. ``frozen`` holds
    parameters or buffers ``(replica, ...)`` that are never trained, ``start`` initial values of others. Raises
    TrainingError if replicas are to stop early without validation samples, a model that changes with the progress of training
    is to be compiled, a frozen tensor does not fit the model, or no parameter is left to train.
    """

    def __init__(
        self,
        members: Sequence[MultimodalVAE],
        betas: Sequence[float],
        settings: TrainerSettings,
        batches: StackBatches,
        frozen: Mapping[str, Tensor] | None = None,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.settings, self.batches = settings, batches
        self.model = members[0]
        self._check()
        replicas = len(members)
        self.epoch = 0
        self.all_batches, self._active = batches, np.arange(replicas)
        parameters, self._buffers = stack_module_state(list(members))
        self._parameters: dict[str, Tensor] = {name: value.detach() for name, value in parameters.items()}
        self._constants: dict[str, Tensor] = {}
        self._freeze(frozen or {})
        for name, value in (start or {}).items():
            self._parameters[name].copy_(value)
        self._fixed = {**self._constants, **self._buffers}  # of all replicas, also of those that have stopped
        self._best = {name: value.clone() for name, value in self._parameters.items()}
        self._best_loss, self._best_epoch = np.full(replicas, np.inf), np.zeros(replicas, dtype=int)
        self._beta = torch.tensor(list(betas), dtype=torch.float32, device=batches.device)
        self._largest_part = replicas
        if batches.device.type == "cpu":
            features = sum(window.features for window in batches.windows.values())
            weights = sum(parameter.numel() for parameter in self.model.parameters())
            self._largest_part = largest_stack(weights, batches.batch_rows, features)
        parts = stack_parts(replicas, self._largest_part)
        objective = StackObjective(self.model)
        self._take_step = StackStep(objective, self._parameters, settings.step, parts, settings.compiled_as)
        # Loss, log-likelihoods, rates and validation loss of the final epoch of each replica.
        self._sizes = [1, len(self.model.modalities), len(self.model.rate_terms), 1]
        self._final_losses = torch.full((replicas, sum(self._sizes)), torch.nan)

    def _check(self) -> None:
        """Refuse settings that this data or model does not allow."""
        if self.settings.patience is not None and not self.batches.validated.all():
            raise TrainingError(
                "training.patience",
                found="replicas without matched validation samples",
                expected="validation trials of every split, to stop on",
                next_step="Set split.validation above 0, or leave patience out",
            )
        if self.settings.compiled_as is not None and self.model.changes_with_progress:
            raise TrainingError(
                "training.compile",
                found="a standard-normal share that moves",
                expected="a constant share: a compiled step keeps the share that it was compiled with",
                next_step="Leave compile out, or set sharing.standard_normal.kind=constant",
            )

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """Whether each replica has gone ``patience`` epochs without a better validation loss."""
        if self.settings.patience is None:
            return np.zeros(len(self._best_epoch), dtype=bool)
        return np.asarray(self.epoch - self._best_epoch >= self.settings.patience)

    def run(self) -> Iterator[EpochRecord]:
        """Train until the last epoch or until all replicas have stopped; yield a record of each epoch.

        Raises TrainingError if a loss is not finite.
        """
        with freed_memory_kept():
            while self.epoch < self.settings.epochs and not self.stopped.all():
                started = time.perf_counter()
                with matrix_products(self.settings.precision):
                    trained = self._train_epoch()
                    self.epoch += 1
                    self._final_losses[self._active] = torch.cat([*trained, self._validate()[:, None]], dim=1).cpu()
                record = self._record(round(time.perf_counter() - started, 4))
                staying = self._active[~self.stopped[self._active]]
                if len(staying):
                    self._keep(staying)
                yield record

    def _record(self, seconds: float) -> EpochRecord:
        loss, likelihood, rate, validation = torch.split(self._final_losses, self._sizes, dim=1)
        return EpochRecord(
            self.epoch,
            loss[:, 0].tolist(),
            likelihood.tolist(),
            rate.tolist(),
            validation[:, 0].tolist() if self.all_batches.validation_pairs is not None else None,
            self.stopped.tolist(),
            seconds,
        )

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and buffers ``(replica, ...)``: the best on validation if early stopping is on, else the last."""
        chosen = self._parameters if self.settings.patience is None else self._best
        return {**chosen, **self._fixed}

    def state(self) -> StackState:
        """Return everything that :meth:`restore` needs; frozen parameters never change and are left out."""
        tensors = {f"parameter/{name}": value for name, value in self._parameters.items()}
        tensors |= {f"buffer/{name}": value for name, value in self._buffers.items()}
        tensors |= {f"best/{name}": value for name, value in self._best.items()}
        tensors |= {"last": self._final_losses, "active": torch.from_numpy(self._active)}
        tensors |= {f"adam/{name}": value for name, value in self._take_step.state().items()}
        return StackState(self.epoch, tensors, self._best_loss.tolist(), self._best_epoch.tolist())

    def restore(self, state: StackState) -> None:
        """Continue from a state of the same stack, with the same parameters frozen."""
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in state.tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = value
        self.epoch = state.epoch
        self._best_loss, self._best_epoch = np.array(state.best_loss), np.array(state.best_epoch)
        self._final_losses.copy_(groups["last"][""])
        for name, best in self._best.items():
            best.copy_(groups["best"][name])
        self._keep(groups["active"][""].numpy())
        for name, parameter in self._parameters.items():
            parameter.copy_(groups["parameter"][name])
        for name, buffer in self._buffers.items():
            buffer.copy_(groups["buffer"][name])
        self._take_step.restore(groups["adam"])

    def _keep(self, staying: NDArray[np.int64]) -> None:
        """Reduce the stack to replicas given by their index in the original stack; the others keep their best weights."""
        if len(staying) == len(self._active):
            return
        members = torch.from_numpy(np.searchsorted(self._active, staying)).to(self.batches.device)
        self._active = staying
        self.batches = self.all_batches.only(staying.tolist())
        self._parameters, self._buffers, self._constants = (
            {name: value[members] for name, value in tensors.items()}
            for tensors in (self._parameters, self._buffers, self._constants)
        )
        self._beta = self._beta[members]
        self._take_step.keep(members, stack_parts(len(staying), self._largest_part))

    def _freeze(self, frozen: Mapping[str, Tensor]) -> None:
        """Move frozen parameters to the constants, and set frozen buffers."""
        for name, value in frozen.items():
            weight = self._parameters.get(name, self._buffers.get(name))
            if weight is None or weight.shape != value.shape:
                raise TrainingError(
                    f"frozen weight {name!r}",
                    found=f"a tensor {tuple(value.shape)}" + (" and no weight of this name" if weight is None else ""),
                    expected="a weight of the model" if weight is None else f"{tuple(weight.shape)}",
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
        pairs = self.batches.epoch_pairs(self.epoch)
        learning_rate = self.settings.learning_rate(self.epoch / self.settings.epochs)
        totals = []
        for step in range(self.batches.steps):
            batch = self.batches.batch(pairs[:, step], generators)
            noise = self.batches.noise(pairs[:, step], generators, self.model.noise_shape)
            progress = (self.epoch + step / self.batches.steps) / self.settings.epochs
            log_likelihood, rate, loss = self._take_step(self._inputs(batch, noise), progress, learning_rate)
            tuples = batch.available.amax(1).sum(1)  # rows in which any modality is present
            totals.append((loss * tuples, log_likelihood.sum(2), rate.sum(2), batch.available.sum(2), tuples))
        loss, log_likelihood, rate, rows, tuples = (torch.stack(values).sum(0) for values in zip(*totals, strict=True))
        loss = loss / tuples
        if not torch.isfinite(loss).all():
            failed = self.batches.replicas[int((~torch.isfinite(loss)).nonzero()[0, 0])]
            raise TrainingError(
                f"epoch {self.epoch + 1}, split {failed.split}, seed {failed.seed}",
                found="a loss that is not finite",
                next_step="Lower training.learning_rate or set training.clip_norm",
            )
        rows = rows.clamp(min=1)
        # A rate term of an animal is averaged over rows with that animal, a joint term over rows with any animal.
        rate_rows = rows if self.model.rate_terms == self.model.modalities else tuples[:, None].clamp(min=1)
        return loss[:, None], log_likelihood / rows, rate / rate_rows

    def _inputs(self, batch: Batch, noise: Tensor) -> StackInputs:
        return StackInputs(self._parameters, {**self._constants, **self._buffers}, batch, noise, self._beta)

    @torch.no_grad()
    def _validate(self) -> Tensor:
        """Return the validation loss ``(replica,)``, NaN without validation samples, and keep the best weights."""
        pairs = self.batches.validation_pairs
        if pairs is None:
            return torch.full((len(self._active),), torch.nan)
        # The same noise at every call, so that epochs differ by their weights alone.
        noise = self.batches.noise(pairs, self.batches.generators(0, VALIDATION), self.model.noise_shape)
        loss = self._take_step.objective(self._inputs(self.batches.batch(pairs, None), noise), progress=1.0).loss
        values = loss.cpu().numpy().astype(float)
        if not np.isfinite(values[self.batches.validated]).all():
            raise TrainingError(
                f"epoch {self.epoch}", found="a validation loss that is not finite", next_step="Lower training.learning_rate"
            )
        better = np.flatnonzero(values < self._best_loss[self._active])
        improved = self._active[better]
        self._best_loss[improved], self._best_epoch[improved] = values[better], self.epoch
        active_index, stack_index = (torch.from_numpy(index).to(self.batches.device) for index in (better, improved))
        for name, value in self._parameters.items():
            self._best[name][stack_index] = value[active_index]
        return loss
