"""Multiset canonical correlation: one linear map an animal to a space in which samples of the same class coincide.

Of the criteria of Kettenring this is MAXVAR, which generalised canonical correlation analysis (GCCA) usually means: the variates
are the leading eigenvectors of the sum of the animals' projections, here with a ridge. GCCA therefore is no row of its own.

References
----------
Kettenring, J. R. (1971). Canonical analysis of several sets of variables. *Biometrika* 58, 433-451.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from neuromvm.analysis.baselines.components import NEGLIGIBLE
from neuromvm.analysis.baselines.projections import LinearMap, Projections
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.errors import ShapeError, SpecError


def multiset_cca(training: Mapping[str, Training], components: int, ridge: float) -> dict[str, Floats]:
    """Fit one linear map an animal to a space in which samples of the same class coincide.

    Each animal is whitened with ``ridge`` added to its covariance; the animals are put side by side, row by row of matched
    samples, and the leading right singular vectors are kept. Rows would be tuples of samples with the same match code, drawn
    again and again; the covariance of endless draws is known in closed form (between animals, that of the class means), so
    nothing is drawn. A class weighs by its mean share over animals.

    Parameters
    ----------
    training
        Scaled features ``(sample, feature)`` and match codes of each animal's training side.
    components
        Number of shared dimensions.
    ridge
        In units of the variance of a scaled feature.

    Returns
    -------
    For each animal a map ``(feature, component)``.

    Raises
    ------
    ShapeError
        If more components are asked for than all animals have dimensions together.
    """
    size = 1 + max(int(one.match.max()) for one in training.values())
    counts = {name: np.bincount(one.match, minlength=size) for name, one in training.items()}
    weight = np.mean([count / count.sum() for count in counts.values()], axis=0)
    maps, variances, means = [], [], []
    for name, one in training.items():
        present = counts[name] > 0
        per_sample = np.where(present, weight / np.maximum(counts[name], 1), 0)
        whitener, variance = _whitening(one.features * np.sqrt(per_sample[one.match])[:, None], ridge)
        sums = np.zeros((size, one.features.shape[1]))
        np.add.at(sums, one.match, one.features)
        maps.append(whitener)
        variances.append(variance)
        means.append((sums * (per_sample / np.sqrt(np.maximum(weight, 1e-300)))[:, None]) @ whitener)
    directions = _leading_directions(variances, means, components)
    return {name: whitener @ block for name, whitener, block in zip(training, maps, directions, strict=True)}


def _whitening(samples: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Return the map ``(feature, direction)`` that whitens, ridge included, and the variance left in each direction."""
    if samples.shape[1] > samples.shape[0]:
        strength, axes = np.linalg.svd(samples, full_matrices=False)[1:]
        variance, axes = strength**2, axes.T
    else:
        variance, axes = np.linalg.eigh(samples.T @ samples)
    kept = variance > NEGLIGIBLE * variance.max()
    variance, axes = variance[kept], axes[:, kept]
    return axes / np.sqrt(variance + ridge), variance / (variance + ridge)


def _leading_directions(variances: list[Floats], means: list[Floats], components: int) -> list[Floats]:
    """Return the leading eigenvectors of the covariance of all animals, cut at the animals' borders.

    Within an animal the covariance is diagonal, between animals it is that of the (weighted) class means: a product with it
    needs no matrix of all features by all features.
    """
    diagonal, stacked = np.concatenate(variances), np.concatenate(means, axis=1)
    if not components < len(diagonal):
        raise ShapeError(
            "multiset CCA",
            found=f"{components} components of {len(diagonal)} dimensions",
            expected="fewer components than dimensions of all animals together",
        )
    borders = np.cumsum([len(one) for one in variances])[:-1]

    def product(vector: Floats) -> Floats:
        vector = vector.reshape(-1)
        own = [mean.T @ (mean @ part) for mean, part in zip(means, np.split(vector, borders), strict=True)]
        return diagonal * vector + stacked.T @ (stacked @ vector) - np.concatenate(own)

    operator = LinearOperator((len(diagonal), len(diagonal)), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(diagonal))
    values, vectors = eigsh(operator, k=components, which="LA", v0=start)
    return np.split(vectors[:, np.argsort(-values)], borders)


class CanonicalVariates(Projections):
    """Multiset canonical variates, divided by their standard deviation over all animals' training sides."""

    def __init__(
        self,
        inputs: Inputs,
        *,
        components: int,
        ridge: float,
        inverse_penalty: float,
        splits: Sequence[int] | None = None,
    ) -> None:
        if len(inputs.animals) < 2:
            raise SpecError("analysis decoding", found="mcca with one animal", next_step="Leave 'mcca' out of baselines")
        splits = range(inputs.splits) if splits is None else splits
        maps = [_fit(inputs, split, components, ridge) for split in splits]
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=True)


def _fit(inputs: Inputs, split: int, components: int, ridge: float) -> dict[str, LinearMap]:
    training = {name: inputs.training(split, name) for name in inputs.fitted(split)}
    maps = multiset_cca(training, components, ridge)
    spread = np.concatenate([one.features @ maps[name] for name, one in training.items()]).std(axis=0)
    return {name: LinearMap(one / spread) for name, one in maps.items()}
