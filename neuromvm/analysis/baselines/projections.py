"""Base class of linear baselines: a map for each animal and split, fitted on training sides."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from neuromvm.analysis.readouts.representations import Floats, Inputs, Penalised, Training


class Map(Protocol):
    """A function from the features of an animal to components."""

    def __call__(self, values: Floats) -> Floats:
        """Map ``(..., feature)`` to ``(..., component)``."""


FittedMap = TypeVar("FittedMap", bound=Map)


class LinearMap(NamedTuple):
    """Centre and axes of an animal's features."""

    center: Floats | float  # (feature,)
    axes: Floats  # (feature, component)

    def __call__(self, values: Floats) -> Floats:
        """Project ``(..., feature)`` to ``(..., component)``."""
        return (values - self.center) @ self.axes


def training_sides(inputs: Inputs, split: int) -> dict[str, Training]:
    """Return the training side of every animal that has one."""
    return {name: inputs.training(split, name) for name in inputs.fitted(split)}


def fit_splits(
    inputs: Inputs, splits: Sequence[int] | None, fit: Callable[[Mapping[str, Training]], Mapping[str, FittedMap]]
) -> list[Mapping[str, FittedMap]]:
    """Return the maps that ``fit`` gives for the training sides of each split."""
    return [fit(training_sides(inputs, split)) for split in (range(inputs.splits) if splits is None else splits)]


class Projections(Penalised):
    """Scaled features of each animal, projected by the map of the animal and split, and read by logistic regression.

    ``maps`` are animal -> map, for each of ``splits`` (by default all); animals without a map are not seen.
    """

    def __init__(
        self,
        inputs: Inputs,
        maps: Sequence[Mapping[str, Map]],
        splits: Sequence[int] | None,
        *,
        inverse_penalty: float,
        shared: bool,
    ) -> None:
        replicas = range(inputs.splits) if splits is None else splits
        super().__init__(replicas, inverse_penalty=inverse_penalty, shared=shared)
        self.maps = maps
        self._projected = [
            {name: project(inputs.scaled(split, name)) for name, project in of_split.items()}
            for split, of_split in zip(self.replicas, maps, strict=True)
        ]

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the projected target, to every source if the space is shared, else to the target alone."""
        return self._projected[replica].get(target) if self.shared or source == target else None
