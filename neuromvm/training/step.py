"""A step of training: gradients of the objective of a stack, clipped if asked for, and Adam (Kingma & Ba 2015, algorithm 1).

A stack of one that is compiled takes the whole step as one function: a weight is updated while its gradient is in cache, and
nothing is called for each weight. For larger stacks this was slower than a pass of Adam's own.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from neuromvm.models import Objective
from neuromvm.specs import TrainingSpec
from neuromvm.training.compiled import Function, compiled
from neuromvm.training.objective import Members, StackedObjective

BETAS, EPSILON = (0.9, 0.999), 1e-8
STEP, MEAN, SQUARE = "step", "exp_avg", "exp_avg_sq"  # what Adam remembers of a weight: torch's names
SMALLEST_NORM = 1e-12


class StackStep:
    """Takes steps of a stack, changing its weights in place.

    Parameters
    ----------
    objective
        What is minimised.
    weights
        Name -> ``(replica, ...)``.
    training
        Decay of weights and the norm at which gradients are clipped, each replica's on its own.
    together
        How many replicas are computed together at most; a larger stack is computed in parts of about equal size.
    """

    def __init__(self, objective: StackedObjective, weights: Mapping[str, Tensor], training: TrainingSpec, together: int) -> None:
        self._objective, self._training, self._together = objective, training, together
        self._start(weights)
        objective.planned = {part.replicas.stop - part.replicas.start for part in self._parts}

    def __call__(self, members: Members, progress: float, learning_rate: float) -> Objective:
        """Take a step with the members' weights, which are those given; return the objective before it."""
        return self._of_parts(members, lambda part, some: part(some, progress, learning_rate))

    def objective(self, members: Members, progress: float) -> Objective:
        """Return the objective of each replica."""
        return self._of_parts(members, lambda part, some: self._objective(some, progress))

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """Return what Adam remembers, weight -> entry -> tensor; changed in place by the next step."""
        for one in self._memory.values():
            one[STEP].copy_(self._parts[0].taken)
        return self._memory

    def remember(self, memory: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue with what was remembered of each weight."""
        for name, held in self._memory.items():
            for key, value in memory[name].items():
                held[key].copy_(value)
            for part in self._parts:
                part.memory[name][STEP].copy_(memory[name][STEP])

    def keep(self, members: Tensor, weights: Mapping[str, Tensor]) -> None:
        """Go on with some replicas ``(kept,)`` only, whose weights are given."""
        memory = self.memory()
        self._start(weights)
        self.remember(
            {name: {key: value if key == STEP else value[members] for key, value in one.items()} for name, one in memory.items()}
        )

    def _start(self, weights: Mapping[str, Tensor]) -> None:
        replicas = len(next(iter(weights.values())))
        self._memory = {
            name: {STEP: _counter(weight), MEAN: torch.zeros_like(weight), SQUARE: torch.zeros_like(weight)}
            for name, weight in weights.items()
        }
        parts = -(-replicas // self._together)
        bounds = [replicas * part // parts for part in range(parts + 1)]
        self._parts = [_Part(self._objective, self._training, self._memory, slice(*ends)) for ends in itertools.pairwise(bounds)]

    def _of_parts(self, members: Members, function: "Callable[[_Part, Members], Objective]") -> Objective:
        """Return what a function of a part and its members gives, part after part, of all replicas."""
        if len(self._parts) == 1:
            return function(self._parts[0], members)
        found = [function(part, members.some(part.replicas)) for part in self._parts]
        return Objective(*(torch.cat(values) for values in zip(*found, strict=True)))


class _Part:
    """Takes steps of some neighbouring replicas of a stack; what it remembers of them are views."""

    def __init__(
        self,
        objective: StackedObjective,
        training: TrainingSpec,
        memory: Mapping[str, Mapping[str, Tensor]],
        replicas: slice,
    ) -> None:
        self._objective, self._training, self.replicas = objective, training, replicas
        self._whole: Function | None = None
        self.memory = {
            name: {STEP: one[STEP].clone(), MEAN: one[MEAN][replicas], SQUARE: one[SQUARE][replicas]}
            for name, one in memory.items()
        }
        self._decaying: dict[float, list[str]] = {}  # weight decay -> names of weights
        for name in memory:
            self._decaying.setdefault(self._decay_of(name), []).append(name)
        # Counters of all weights are the same: a step at once moves only this one, and the others when they are asked for.
        self.taken = next(iter(self.memory.values()))[STEP]
        self._rule = torch.tensor([training.weight_decay, training.clip_norm or 0.0], device=self.taken.device)
        self._moments = [one[key] for key in (MEAN, SQUARE) for one in self.memory.values()]

    def __call__(self, members: Members, progress: float, learning_rate: float) -> Objective:
        """Take a step."""
        if self._objective.name is not None and len(members.beta) == 1:
            return self._at_once(members, progress, learning_rate)
        objective, gradients = self._objective.with_gradients(members, progress)
        if self._training.clip_norm is not None:
            _clip(list(gradients.values()), self._training.clip_norm)
        self._descend(members.weights, gradients, learning_rate)
        return objective

    def _descend(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], learning_rate: float) -> None:
        """Change weights and what is remembered of them; the optimizer object would take a tenth of a small step to do so."""
        for decay, names in self._decaying.items():
            memory = [self.memory[name] for name in names]
            adam(
                [weights[name] for name in names],
                [gradients[name] for name in names],
                [one[MEAN] for one in memory],
                [one[SQUARE] for one in memory],
                [],  # largest squares so far, of another variant
                [one[STEP] for one in memory],
                fused=_fuses(weights[names[0]].device),
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=learning_rate,
                weight_decay=decay,
                eps=EPSILON,
                maximize=False,
            )

    def _decay_of(self, name: str) -> float:
        return self._training.weight_decay if _may_decay(name) else 0.0

    def _at_once(self, members: Members, progress: float, learning_rate: float) -> Objective:
        self.taken += 1
        taken = self.taken.double()
        # Adam's rate * mean / (sqrt(square / b) + epsilon) with both moments corrected, b = 1 - beta_2^t, multiplied by sqrt(b).
        root = torch.sqrt(1 - BETAS[1] ** taken)
        size, epsilon = learning_rate * root / (1 - BETAS[0] ** taken), EPSILON * root
        tensors = [*members.tensors(), *self._moments, size.float(), epsilon.float(), self._rule]
        if self._whole is None:
            name = self._objective.name, tuple(members.weights), tuple(members.constants), self._decays, self._clips
            self._whole = compiled(name, self._step_of(members, progress), tensors)
        return Objective(*self._whole(tensors))

    @property
    def _decays(self) -> bool:
        return self._training.weight_decay > 0

    @property
    def _clips(self) -> bool:
        return self._training.clip_norm is not None

    def _step_of(self, members: Members, progress: float) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """Return the step as a function of the members' tensors, Adam's means and squares, step size, epsilon, decay and norm."""
        decay = [self._decay_of(name) > 0 for name in members.weights]
        number, weights = len(members.tensors()), len(members.weights)

        def step(tensors: Sequence[Tensor]) -> list[Tensor]:
            means, squares = tensors[number : number + weights], tensors[number + weights : -3]
            size, epsilon, rule = tensors[-3:]
            objective, gradients = self._objective.values(members.holding(tensors[:number]), progress)
            factor = _factor(list(gradients.values()), rule[1]) if self._clips else None
            for weight, gradient, mean, square, shrinks in zip(
                tensors[:weights], gradients.values(), means, squares, decay, strict=True
            ):
                slope = gradient if factor is None else gradient * factor
                slope = slope + rule[0] * weight if shrinks else slope
                mean.copy_(mean + (1 - BETAS[0]) * (slope - mean))
                square.copy_(BETAS[1] * square + (1 - BETAS[1]) * slope * slope)
                weight.copy_(weight - size * mean / (square.sqrt() + epsilon))
            return list(objective)

        return step


def _fuses(device: torch.device) -> bool:
    """Say whether torch has Adam in one kernel there."""
    return device.type in ("cpu", "cuda")


def _counter(weight: Tensor) -> Tensor:
    """Return a counter of steps where Adam reads it."""
    return torch.zeros((), device=weight.device if _fuses(weight.device) else "cpu")


def _may_decay(name: str) -> bool:
    """Say whether a weight may decay: what says how noisy activity and latents are may not."""
    return not (name.startswith(("likelihoods.", "auxiliary.")) or name.endswith("scale.log_scale"))


def _factor(gradients: Sequence[Tensor], largest: float | Tensor) -> Tensor:
    """Return what to multiply the gradients of each replica ``(replica,)`` with, so that their norm is at most the largest."""
    each = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    norm: Tensor = torch.linalg.vector_norm(each, dim=0)
    return (largest / norm.clamp(min=SMALLEST_NORM)).clamp(max=1)


def _clip(gradients: Sequence[Tensor], largest: float) -> None:
    factor = _factor(gradients, largest)
    if factor.device.type == "cpu" and bool((factor == 1).all()):  # to ask a GPU would be to wait for it
        return
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
