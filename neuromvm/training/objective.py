"""The objective of all replicas of a stack and its gradients in one call, compiled if that is asked for."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from neuromvm.models import Batch, MultimodalVAE, Objective
from neuromvm.training.compiled import Function, compiled


class Members(NamedTuple):
    """What the objective of a stack depends on; every tensor has a leading dim ``replica``.

    ``weights`` are trained; ``constants`` are frozen weights and buffers.
    """

    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    batch: Batch
    noise: Tensor
    beta: Tensor  # (replica,)

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in an order that :meth:`holding` knows."""
        (inputs, targets, *of_rows), own = self.batch, (self.noise, self.beta)
        return [*self.weights.values(), *self.constants.values(), *inputs.values(), *targets.values(), *of_rows, *own]

    def holding(self, tensors: Sequence[Tensor]) -> "Members":
        """Return members of the same names with other tensors."""
        left = iter(tensors)

        def named(names: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: next(left) for name in names}

        weights, constants = named(self.weights), named(self.constants)
        batch = Batch(named(self.batch.inputs), named(self.batch.targets), next(left), next(left))
        return Members(weights, constants, batch, next(left), next(left))

    def some(self, replicas: slice) -> "Members":
        """Return some of the members, as views; a tensor that occurs twice, as inputs and targets do, is one view."""
        views = {id(value): value[replicas] for value in self.tensors()}
        return self.holding([views[id(value)] for value in self.tensors()])

    def only(self) -> "Members":
        """Return the one member of a stack of one, without the dim ``replica``."""
        return self.holding([value.squeeze(0) for value in self.tensors()])


class Gradients(NamedTuple):
    """The objective of each replica, and weight -> its gradient ``(replica, ...)``, 0 where nothing depends on the weight."""

    objective: Objective
    of: Mapping[str, Tensor]


class StackedObjective:
    """The objective of every replica of a stack, however many are left in it.

    Parameters
    ----------
    model
        The architecture; its own weights are not used.
    name
        Of the architecture: what gives gradients is compiled, once a process for all models of this name. None: it is not.
    """

    def __init__(self, model: MultimodalVAE, name: Hashable | None = None) -> None:
        held = [*_slots(model)]

        def one(member: Members, progress: float) -> Objective:
            with _bound(held, {**member.weights, **member.constants}):
                return model.objective(member.batch, member.noise, member.beta, progress)

        self._one: _Objective = one
        self._together: _Objective = torch.func.vmap(one, in_dims=(0, None))
        self.name = name
        self.planned: Collection[int] = ()  # numbers of replicas that are compiled in any case
        self._compiled: dict[int, Function] = {}  # by number of replicas

    def __call__(self, members: Members, progress: float) -> Objective:
        """Return the objective of each replica."""
        # A batched product of one matrix is slower than a product: its gradient comes out transposed and is copied.
        if len(members.beta) == 1:
            return Objective(*(value[None] for value in self._one(members.only(), progress)))
        return self._together(members, progress)

    def with_gradients(self, members: Members, progress: float) -> Gradients:
        """Return the objective of each replica and the gradients of its loss."""
        replicas = len(members.beta)
        # A stack that replicas leave is not compiled for every number of them; one that is resumed may compile at another number.
        lacking = replicas not in self._compiled and replicas in self.planned
        if self.name is not None and (lacking or replicas <= min(self._compiled, default=2 * replicas) / 2):
            name = self.name, tuple(members.weights), tuple(members.constants)

            def flat(tensors: Sequence[Tensor]) -> list[Tensor]:
                objective, gradients = self.values(members.holding(tensors), progress)
                return [*objective, *gradients.values()]

            self._compiled[replicas] = compiled(name, flat, members.tensors())
        if replicas not in self._compiled:
            return self.values(members, progress)
        log_likelihood, rate, loss, *gradients = self._compiled[replicas](members.tensors())
        return Gradients(Objective(log_likelihood, rate, loss), dict(zip(members.weights, gradients, strict=True)))

    def values(self, members: Members, progress: float) -> Gradients:
        """Return what :meth:`with_gradients` does, not compiled: a function of tensors that can be recorded."""
        alone = len(members.beta) == 1
        members = members.only() if alone else members
        leaves = {name: value.detach().requires_grad_() for name, value in members.weights.items()}
        objective = (self._one if alone else self._together)(members._replace(weights=leaves), progress)
        gradients = torch.autograd.grad(objective.loss.sum(), list(leaves.values()), materialize_grads=True)

        def whole(value: Tensor) -> Tensor:
            return (value[None] if alone else value).contiguous()  # Adam reads a gradient as it lies in memory

        return Gradients(
            Objective(*(whole(value.detach()) for value in objective)),
            {name: whole(value) for name, value in zip(leaves, gradients, strict=True)},
        )


_Objective = Callable[[Members, float], Objective]


class _Slot(NamedTuple):
    """Where a module keeps one of its tensors, and the name of the tensor in the model."""

    tensors: dict[str, Tensor | None]
    key: str
    name: str


def _slots(model: MultimodalVAE) -> Iterator[_Slot]:
    names: dict[int, str] = {}  # a tensor in two places has the name of the first
    for place, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    yield _Slot(tensors, key, names.setdefault(id(tensor), f"{place}.{key}" if place else key))


@contextmanager
def _bound(slots: Sequence[_Slot], tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a model use these tensors; ``functional_call`` does it too, and takes as long as the model itself."""
    own = [slot.tensors[slot.key] for slot in slots]
    try:
        for slot in slots:
            slot.tensors[slot.key] = tensors[slot.name]
        yield
    finally:
        for slot, tensor in zip(slots, own, strict=True):
            slot.tensors[slot.key] = tensor
