"""The objective of all replicas of a stack in one call, compiled if that is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from neuromvm.models import Batch, MultimodalVAE, Objective


class Members(NamedTuple):
    """What the objective of a stack depends on; every tensor has a leading dim ``replica``."""

    weights: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    batch: Batch
    noise: Tensor
    beta: Tensor  # (replica,)

    def only(self) -> "Members":
        """Return the one member of a stack of one, without the dim ``replica``."""
        batch = self.batch
        return Members(
            _squeezed(self.weights),
            _squeezed(self.buffers),
            Batch(_squeezed(batch.inputs), _squeezed(batch.targets), batch.available.squeeze(0), batch.condition.squeeze(0)),
            self.noise.squeeze(0),
            self.beta.squeeze(0),
        )


class StackedObjective:
    """The objective of every replica of a stack, however many are left in it.

    Parameters
    ----------
    model
        The architecture; its own weights are not used.
    compiled
        Compile it; the first call then takes up to a minute.
    """

    def __init__(self, model: MultimodalVAE, *, compiled: bool) -> None:
        held = [*_slots(model)]

        def one(member: Members, progress: float) -> Objective:
            with _bound(held, {**member.weights, **member.buffers}):
                return model.objective(member.batch, member.noise, member.beta, progress)

        def traceable(member: Members, progress: float) -> Objective:
            values: Objective = functional_call(
                model, (dict(member.weights), dict(member.buffers)), (member.batch, member.noise, member.beta, progress)
            )
            return values

        call = traceable if compiled else one

        def alone(members: Members, progress: float) -> Objective:
            return Objective(*(value[None] for value in call(members.only(), progress)))

        # Nothing is compiled before it is called.
        wrap: Callable[[_Stacked], _Stacked] = torch.compile if compiled else lambda function: function
        self._alone, self._together = wrap(alone), wrap(torch.func.vmap(call, in_dims=(0, None)))

    def __call__(self, members: Members, progress: float) -> Objective:
        """Return the objective of each replica."""
        # A batched product of one matrix is slower than a product: its gradient comes out transposed and is copied.
        return (self._alone if len(members.beta) == 1 else self._together)(members, progress)


_Stacked = Callable[[Members, float], Objective]


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


def _squeezed(stacked: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.squeeze(0) for name, value in stacked.items()}
