"""Principal components of each animal's features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.baselines.projections import Projections
from neuromvm.analysis.readouts.representations import Floats, Inputs

NEGLIGIBLE = 1e-10  # share of the largest eigenvalue below which a direction is numerically absent


class PrincipalAxes(NamedTuple):
    """Centre and leading orthonormal directions of one animal's features."""

    center: Floats  # (feature,)
    axes: Floats  # (feature, component)

    def __call__(self, values: Floats) -> Floats:
        """Project ``(..., feature)`` to ``(..., component)``."""
        return (values - self.center) @ self.axes


def principal_axes(samples: Floats, components: int) -> PrincipalAxes:
    """Fit principal components to ``(sample, feature)``; fewer than asked where the features have fewer dimensions."""
    center = samples.mean(axis=0)
    _, strength, axes = np.linalg.svd(samples - center, full_matrices=False)
    kept = int((strength**2 > NEGLIGIBLE * strength[0] ** 2).sum())
    return PrincipalAxes(center, axes[: min(components, kept)].T)


def fit_axes(inputs: Inputs, split: int, components: int) -> dict[str, PrincipalAxes]:
    """Fit principal components on the training side of every animal."""
    return {name: principal_axes(inputs.training(split, name).features, components) for name in inputs.fitted(split)}


class PrincipalComponents(Projections):
    """Each animal's own principal components, fitted on its training side; an animal's decoder sees that animal only."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        splits = range(inputs.splits) if splits is None else splits
        self.axes = [fit_axes(inputs, split, components) for split in splits]
        super().__init__(inputs, self.axes, splits, inverse_penalty=inverse_penalty, shared=False)
