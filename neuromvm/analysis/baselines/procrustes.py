"""Class-mean Procrustes: one animal's principal components turned into another's.

References
----------
Schönemann, P. H. (1966). A generalized solution of the orthogonal Procrustes problem. *Psychometrika* 31, 1-10.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.baselines.components import PrincipalAxes, PrincipalComponents
from neuromvm.analysis.readouts.representations import Floats, Inputs


class RigidMap(NamedTuple):
    """Rotation, with reflection, that carries one animal's class means onto another's."""

    origin: Floats  # (component of target,)
    rotation: Floats  # (component of target, component of source)
    destination: Floats  # (component of source,)

    def __call__(self, values: Floats) -> Floats:
        """Map ``(..., component of target)`` to ``(..., component of source)``."""
        return (values - self.origin) @ self.rotation + self.destination


def class_means(samples: Floats, classes: NDArray[np.integer], wanted: NDArray[np.integer]) -> Floats:
    """Return the mean of each wanted class, ``(class, feature)``."""
    return np.stack([samples[classes == one].mean(axis=0) for one in wanted])


def procrustes(target: Floats, source: Floats) -> RigidMap:
    """Find the rigid map that brings class means of the target nearest to those of the source.

    Parameters
    ----------
    target, source
        Means of the same classes in the same order, ``(class, component)``; the numbers of components may differ.
    """
    origin, destination = target.mean(axis=0), source.mean(axis=0)
    left, _, right = np.linalg.svd((target - origin).T @ (source - destination), full_matrices=False)
    return RigidMap(origin, left @ right, destination)


class ProcrustesAligned(PrincipalComponents):
    """Principal components, the target's turned into the source's by class-mean Procrustes on both training sides.

    There is a map for every pair and no space common to all animals, hence no decoder of several animals.
    """

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        super().__init__(inputs, components=components, inverse_penalty=inverse_penalty, splits=splits)
        self.maps = [_fit(inputs, split, axes) for split, axes in zip(self.replicas, self.axes, strict=True)]

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the target's principal components in the source's space."""
        own = super().seen(replica, target, target)
        if own is None or source == target:
            return own
        rigid = self.maps[replica].get((source, target))
        return None if rigid is None else rigid(own)


def _fit(inputs: Inputs, split: int, axes: dict[str, PrincipalAxes]) -> dict[tuple[str, str], RigidMap]:
    training = {name: inputs.training(split, name) for name in axes}
    scores = {name: axes[name](one.features) for name, one in training.items()}
    maps = {}
    for source in axes:
        for target in axes:
            common = np.intersect1d(training[source].match, training[target].match)
            if source != target and len(common) > 1:
                means = (class_means(scores[name], training[name].match, common) for name in (target, source))
                maps[source, target] = procrustes(*means)
    return maps
