"""The objective of all replicas of a stack."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.func import functional_call, vmap

from neuromvm.models import Batch, MultimodalVAE, Objective


class StackInputs(NamedTuple):
    """The arguments of the objective of a stack; every tensor has a leading dim ``replica``.

    ``weights`` are trained; ``constants`` are frozen weights and buffers.
    """

    weights: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    batch: Batch
    noise: Tensor
    beta: Tensor  # (replica,)

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return len(self.beta)

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in the order that :meth:`with_tensors` expects."""
        inputs, targets, available, condition = self.batch
        mappings = (self.weights, self.constants, inputs, targets)
        return [*(value for mapping in mappings for value in mapping.values()), available, condition, self.noise, self.beta]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "StackInputs":
        """Return inputs of the same names with other tensors."""
        remaining = iter(tensors)

        def renewed(mapping: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: next(remaining) for name in mapping}

        weights, constants = renewed(self.weights), renewed(self.constants)
        batch = Batch(renewed(self.batch.inputs), renewed(self.batch.targets), next(remaining), next(remaining))
        return StackInputs(weights, constants, batch, next(remaining), next(remaining))

    def part(self, replicas: slice) -> "StackInputs":
        """Return the inputs of some neighbouring replicas, as views;

        A tensor that occurs twice stays a single tensor, as compiled functions expect.
        .
        """
        views = {id(value): value[replicas] for value in self.tensors()}
        return self.with_tensors([views[id(value)] for value in self.tensors()])


class StackObjective:
    """The objective of every replica of a stack. The model gives the architecture; weights come from the inputs."""

    def __init__(self, model: MultimodalVAE) -> None:
        def of_replica(inputs: StackInputs, progress: float) -> Objective:
            arguments = (inputs.batch, inputs.noise, inputs.beta, progress)
            objective: Objective = functional_call(model, {**inputs.weights, **inputs.constants}, arguments)
            return objective

        self._of_replica: Callable[[StackInputs, float], Objective] = of_replica
        self._of_stack: Callable[[StackInputs, float], Objective] = vmap(of_replica, in_dims=(0, None))

    def __call__(self, inputs: StackInputs, progress: float) -> Objective:
        """Return the objective of each replica."""
        # A batched product of a single matrix is slower than a product of matrices, so a stack of 1 is not batched.
        if inputs.replicas == 1:
            single = inputs.with_tensors([value.squeeze(0) for value in inputs.tensors()])
            return Objective(*(value[None] for value in self._of_replica(single, progress)))
        return self._of_stack(inputs, progress)
