"""What linear baselines have in common: one map for each animal and split, fitted on training sides."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from neuromvm.analysis.readouts.classifiers import Classifier, Logistic
from neuromvm.analysis.readouts.representations import Floats, Inputs, Representation


class Map(Protocol):
    """What carries the features of one animal to components."""

    def __call__(self, values: Floats) -> Floats:
        """Map ``(..., feature)`` to ``(..., component)``."""


class LinearMap(NamedTuple):
    """Weights of one animal's features, ``(feature, component)``."""

    weights: Floats

    def __call__(self, values: Floats) -> Floats:
        """Project ``(..., feature)`` to ``(..., component)``."""
        return values @ self.weights


class Projections(Representation):
    """Each animal through a map of its own, read by logistic regression.

    Parameters
    ----------
    inputs
        Scaled features.
    maps
        Animal -> its map, for each of ``splits``; animals without one are not seen.
    splits
        Those that the maps were fitted on.
    inverse_penalty
        ``C`` of the logistic regressions.
    shared
        Whether the maps lead to one space.
    """

    def __init__(
        self, inputs: Inputs, maps: Sequence[Mapping[str, Map]], splits: Sequence[int], *, inverse_penalty: float, shared: bool
    ) -> None:
        super().__init__(splits, shared=shared)
        self._inverse_penalty = inverse_penalty
        self._views = [
            {name: one(inputs.scaled(split, name)) for name, one in fitted.items()}
            for split, fitted in zip(splits, maps, strict=True)
        ]

    def classifier(self, replica: int) -> Classifier:
        """Return a logistic regression."""
        return Logistic(self._inverse_penalty)

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the projected target, to every source if the space is shared, else to itself alone."""
        return self._views[replica].get(target) if self.shared or source == target else None
