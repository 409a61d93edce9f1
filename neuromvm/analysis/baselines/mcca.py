"""Multiset canonical correlation: a linear map for each animal to a space in which samples of the same class coincide.

The criterion is MAXVAR (Kettenring 1971, *Biometrika* 58, 433-451), which generalised canonical correlation analysis usually
means: the variates are the leading eigenvectors of the sum of the animals' projections, here with a ridge.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from neuromvm.analysis.baselines.components import NEGLIGIBLE
from neuromvm.analysis.baselines.projections import LinearMap, Projections, fit_splits
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.errors import ShapeError, SpecError


def multiset_cca(training: Mapping[str, Training], components: int, ridge: float) -> dict[str, Floats]:
    """Return for each animal a map ``(feature, component)`` to a space in which samples of the same class coincide.

    Each animal is whitened with ``ridge``, in units of the variance of a scaled feature, added to its covariance. The leading
    right singular vectors of the animals' features, side by side in rows of matched samples, are the maps. Rows would be tuples
    of samples with the same match code, drawn many times; the covariance of infinitely many draws is known in closed form
    (between animals, that of the class means), so nothing is drawn. The weight of a class is its mean share over animals.
    ShapeError if the dimensions of all animals together are not more than the components.
    """
    size = 1 + max(int(side.match.max()) for side in training.values())
    counts = {name: np.bincount(side.match, minlength=size) for name, side in training.items()}
    weight = np.mean([count / count.sum() for count in counts.values()], axis=0)
    whiteners, variances, means = [], [], []
    for name, side in training.items():
        per_sample = np.where(counts[name] > 0, weight / np.maximum(counts[name], 1), 0)
        whitener, variance = _whitening(side.features * np.sqrt(per_sample[side.match])[:, None], ridge)
        sums = np.zeros((size, side.features.shape[1]))
        np.add.at(sums, side.match, side.features)
        whiteners.append(whitener)
        variances.append(variance)
        means.append((sums * (per_sample / np.sqrt(np.maximum(weight, 1e-300)))[:, None]) @ whitener)
    directions = _leading_directions(variances, means, components)
    return {name: whitener @ block for name, whitener, block in zip(training, whiteners, directions, strict=True)}


def _whitening(samples: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Return the map ``(feature, direction)`` that whitens, with the ridge, and the remaining variance of each direction."""
    if samples.shape[1] > samples.shape[0]:
        strength, axes = np.linalg.svd(samples, full_matrices=False)[1:]
        variance, axes = strength**2, axes.T
    else:
        variance, axes = np.linalg.eigh(samples.T @ samples)
    present = variance > NEGLIGIBLE * variance.max()
    variance, axes = variance[present], axes[:, present]
    return axes / np.sqrt(variance + ridge), variance / (variance + ridge)


def _leading_directions(variances: list[Floats], means: list[Floats], components: int) -> list[Floats]:
    """Return the leading eigenvectors of the covariance of all animals, a block ``(direction, component)`` for each animal.

    Within an animal the covariance is diagonal, between animals that of the (weighted) class means: no large matrix is built.
    """
    diagonal, stacked = np.concatenate(variances), np.concatenate(means, axis=1)
    if not components < len(diagonal):
        raise ShapeError(
            "multiset CCA",
            found=f"{components} components of {len(diagonal)} dimensions",
            expected="fewer components than dimensions of all animals together",
        )
    borders = np.cumsum([len(variance) for variance in variances])[:-1]

    def product(vector: Floats) -> Floats:
        vector = vector.reshape(-1)
        within = [mean.T @ (mean @ part) for mean, part in zip(means, np.split(vector, borders), strict=True)]
        return diagonal * vector + stacked.T @ (stacked @ vector) - np.concatenate(within)

    operator = LinearOperator((len(diagonal), len(diagonal)), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(diagonal))
    values, vectors = eigsh(operator, k=components, which="LA", v0=start)
    return np.split(vectors[:, np.argsort(-values)], borders)


def scaled_maps(training: Mapping[str, Training], components: int, ridge: float) -> dict[str, LinearMap]:
    """Return the maps of :func:`multiset_cca`, divided by the standard deviation of the variates over all animals."""
    maps = multiset_cca(training, components, ridge)
    spread = np.concatenate([side.features @ maps[name] for name, side in training.items()]).std(axis=0)
    return {name: LinearMap(0.0, weights / spread) for name, weights in maps.items()}


class CanonicalVariates(Projections):
    """Multiset canonical variates, divided by their standard deviation over all animals' training sides."""

    def __init__(
        self, inputs: Inputs, *, components: int, ridge: float, inverse_penalty: float, splits: Sequence[int] | None = None
    ) -> None:
        if len(inputs.animals) < 2:
            raise SpecError("analysis decoding", found="mcca with one animal", next_step="Leave 'mcca' out of baselines")
        maps = fit_splits(inputs, splits, partial(scaled_maps, components=components, ridge=ridge))
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=True)
