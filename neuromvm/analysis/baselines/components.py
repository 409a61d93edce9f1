"""Principal components of each animal's features."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from neuromvm.analysis.baselines.projections import LinearMap, Projections, fit_splits
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training

NEGLIGIBLE = 1e-10  # share of the largest eigenvalue below which a direction is numerically absent


def principal_axes(samples: Floats, components: int) -> LinearMap:
    """Fit principal components to ``(sample, feature)``; fewer than asked where the features have fewer dimensions."""
    center = samples.mean(axis=0)
    _, strength, axes = np.linalg.svd(samples - center, full_matrices=False)
    dimensions = int((strength**2 > NEGLIGIBLE * strength[0] ** 2).sum())
    return LinearMap(center, axes[: min(components, dimensions)].T)


def fit_axes(training: Mapping[str, Training], components: int) -> dict[str, LinearMap]:
    """Fit principal components on the training side of every animal."""
    return {name: principal_axes(side.features, components) for name, side in training.items()}


class PrincipalComponents(Projections):
    """Principal components of each animal, fitted on its training side; a decoder sees the animal it was fitted on only."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        maps = fit_splits(inputs, splits, partial(fit_axes, components=components))
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=False)
