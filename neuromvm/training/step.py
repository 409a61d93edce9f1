"""A training step: gradients of the objective of each replica, clipped on request, and Adam (Kingma & Ba 2015, algorithm 1)."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam

from neuromvm.models import Objective
from neuromvm.training.compiled import Function, compiled
from neuromvm.training.objective import StackInputs, StackObjective

ADAM_DECAYS, EPSILON = (0.9, 0.999), 1e-8
STEP, MEAN, SQUARE = "step", "exp_avg", "exp_avg_sq"  # the state of Adam under torch's names
SMALLEST_NORM = 1e-12
Tensors = Mapping[str, Tensor]


class StepSettings(NamedTuple):
    """Weight decay, and the norm at which the gradient of each replica is clipped (None: it is not)."""

    weight_decay: float = 0.0
    clip_norm: float | None = None


class StackStep:
    """Takes steps of a stack, changing its weights ``(replica, ...)`` in place.

    Replicas of a slice in ``parts`` are computed together. ``compiled_as`` names the architecture: compiled gradients
    are kept under this name for later models of the process; None: gradients are not compiled.
    """

    def __init__(
        self,
        objective: StackObjective,
        weights: Tensors,
        settings: StepSettings,
        parts: Sequence[slice],
        compiled_as: Hashable | None = None,
    ) -> None:
        self._objective, self._settings, self._parts, self._compiled_as = objective, settings, parts, compiled_as
        self._compiled: dict[int, Function] = {}  # number of replicas -> gradients
        self._planned = {part.stop - part.start for part in parts}
        self._taken = 0
        self._mean = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self._square = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def __call__(self, inputs: StackInputs, progress: float, learning_rate: float) -> Objective:
        """Take a step; return the objective before it."""
        self._taken += 1
        objectives = []
        for replicas in self._parts:
            part = inputs.part(replicas)
            objective, gradients = self._gradients(part, progress)
            if self._settings.clip_norm is not None:
                gradients = clipped(gradients, self._settings.clip_norm)
            self._descend(part.weights, gradients, replicas, learning_rate)
            objectives.append(objective)
        return _joined(objectives)

    def objective(self, inputs: StackInputs, progress: float) -> Objective:
        """Return the objective of each replica, without a step."""
        return _joined([self._objective(inputs.part(replicas), progress) for replicas in self._parts])

    def _gradients(self, inputs: StackInputs, progress: float) -> tuple[Objective, Tensors]:
        """Return the objective and the gradients of the loss of each replica, compiled if asked for."""
        if self._compiled_as is not None and self._worth_compiling(inputs.replicas):

            def flat(tensors: Sequence[Tensor]) -> list[Tensor]:
                objective, gradients = stack_gradients(self._objective, inputs.with_tensors(tensors), progress)
                return [*objective, *gradients.values()]

            name = self._compiled_as, tuple(inputs.weights), tuple(inputs.constants)
            self._compiled[inputs.replicas] = compiled(name, flat, inputs.tensors())
        if inputs.replicas not in self._compiled:
            return stack_gradients(self._objective, inputs, progress)
        log_likelihood, rate, loss, *gradients = self._compiled[inputs.replicas](inputs.tensors())
        return Objective(log_likelihood, rate, loss), dict(zip(inputs.weights, gradients, strict=True))

    def _worth_compiling(self, replicas: int) -> bool:
        """Return whether to compile: the planned sizes, and again where a stack is half the smallest compiled size."""
        if replicas in self._compiled:
            return False
        return replicas in self._planned or replicas <= min(self._compiled, default=2 * replicas) / 2

    def _descend(self, weights: Tensors, gradients: Tensors, replicas: slice, learning_rate: float) -> None:
        """Move weights by Adam: against the running mean of gradients over the root of their running mean square."""
        for decays in (True, False):
            names = [name for name in weights if may_decay(name) == decays]
            if not names:
                continue
            device = weights[names[0]].device
            fused = device.type in ("cpu", "cuda")  # torch has Adam in a single kernel there
            taken = torch.full((len(names),), self._taken - 1.0, device=device if fused else "cpu")
            adam(
                [weights[name] for name in names],
                [gradients[name] for name in names],
                [self._mean[name][replicas] for name in names],
                [self._square[name][replicas] for name in names],
                [],  # maxima of squares, of the variant AMSGrad
                list(taken.unbind()),
                fused=fused,
                amsgrad=False,
                beta1=ADAM_DECAYS[0],
                beta2=ADAM_DECAYS[1],
                lr=learning_rate,
                weight_decay=self._settings.weight_decay if decays else 0.0,
                eps=EPSILON,
                maximize=False,
            )

    def state(self) -> dict[str, Tensor]:
        """Return the state of Adam as ``entry/weight`` -> tensor."""
        taken = {name: torch.tensor(float(self._taken)) for name in self._mean}
        entries = {STEP: taken, MEAN: self._mean, SQUARE: self._square}
        return {f"{entry}/{name}": value for entry, values in entries.items() for name, value in values.items()}

    def restore(self, state: Tensors) -> None:
        """Continue with a state of Adam."""
        for name, mean in self._mean.items():
            self._taken = int(state[f"{STEP}/{name}"])
            mean.copy_(state[f"{MEAN}/{name}"])
            self._square[name].copy_(state[f"{SQUARE}/{name}"])

    def keep(self, members: Tensor, parts: Sequence[slice]) -> None:
        """Continue with some replicas only, given by their numbers ``(kept,)``."""
        self._parts = parts
        self._mean = {name: value[members] for name, value in self._mean.items()}
        self._square = {name: value[members] for name, value in self._square.items()}


def stack_gradients(objective: StackObjective, inputs: StackInputs, progress: float) -> tuple[Objective, dict[str, Tensor]]:
    """Return the objective of each replica, and weight -> gradient of the loss of each replica ``(replica, ...)``.

    The gradient of the summed losses is the gradient of each; it is 0 for weights on which the loss does not depend.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in inputs.weights.items()}
    values = objective(inputs._replace(weights=leaves), progress)
    gradients = torch.autograd.grad(values.loss.sum(), list(leaves.values()), materialize_grads=True)
    named = {name: gradient.contiguous() for name, gradient in zip(leaves, gradients, strict=True)}
    return Objective(*(value.detach() for value in values)), named


def may_decay(name: str) -> bool:
    """Return whether a weight may decay: parameters of likelihoods and scales of latents may not."""
    return not (name.startswith(("likelihoods.", "auxiliary.")) or name.endswith("scale.log_scale"))


def clipped(gradients: Tensors, largest: float) -> dict[str, Tensor]:
    """Return gradients ``(replica, ...)`` scaled so that the norm of each replica is at most the largest."""
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients.values()])
    factor = (largest / torch.linalg.vector_norm(norms, dim=0).clamp(min=SMALLEST_NORM)).clamp(max=1)
    return {name: gradient * factor.view(-1, *[1] * (gradient.dim() - 1)) for name, gradient in gradients.items()}


def _joined(objectives: Sequence[Objective]) -> Objective:
    return Objective(*(torch.cat(values) for values in zip(*objectives, strict=True)))
