"""Class-mean Procrustes: the principal components of an animal rotated into those of another.

Schönemann (1966). A generalized solution of the orthogonal Procrustes problem. *Psychometrika* 31, 1-10.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.baselines.components import PrincipalComponents
from neuromvm.analysis.baselines.projections import Map, training_sides
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training


class RigidMap(NamedTuple):
    """Rotation, with reflection, of the class means of a target onto those of a source."""

    origin: Floats  # (component of target,)
    rotation: Floats  # (component of target, component of source)
    destination: Floats  # (component of source,)

    def __call__(self, values: Floats) -> Floats:
        """Map ``(..., component of target)`` to ``(..., component of source)``."""
        return (values - self.origin) @ self.rotation + self.destination


def class_means(samples: Floats, labels: NDArray[np.integer], classes: NDArray[np.integer]) -> Floats:
    """Return the mean of the samples of each of ``classes``, ``(class, feature)``."""
    return np.stack([samples[labels == label].mean(axis=0) for label in classes])


def procrustes(target: Floats, source: Floats) -> RigidMap:
    """Find the rigid map that brings class means ``(class, component)`` of the target nearest to those of the source."""
    origin, destination = target.mean(axis=0), source.mean(axis=0)
    left_axes, _, right_axes = np.linalg.svd((target - origin).T @ (source - destination), full_matrices=False)
    return RigidMap(origin, left_axes @ right_axes, destination)


class ProcrustesAligned(PrincipalComponents):
    """Principal components, those of the target rotated into the source's by class-mean Procrustes on both training sides.

    There is a map for every pair and no space common to all animals, hence no decoder of several animals.
    """

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        super().__init__(inputs, components=components, inverse_penalty=inverse_penalty, splits=splits)
        self._rotations = [
            _rotations(training_sides(inputs, split), axes) for split, axes in zip(self.replicas, self.maps, strict=True)
        ]

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the target's principal components in the source's space."""
        components = super().seen(replica, target, target)
        if components is None or source == target:
            return components
        rotation = self._rotations[replica].get((source, target))
        return None if rotation is None else rotation(components)


def _rotations(training: Mapping[str, Training], axes: Mapping[str, Map]) -> dict[tuple[str, str], RigidMap]:
    """Fit a map for each ``(source, target)`` with two common classes."""
    components = {name: axes[name](side.features) for name, side in training.items()}
    rotations = {}
    for source, target in permutations(axes, 2):
        common = np.intersect1d(training[source].match, training[target].match)
        if len(common) > 1:
            means = (class_means(components[name], training[name].match, common) for name in (target, source))
            rotations[source, target] = procrustes(*means)
    return rotations
