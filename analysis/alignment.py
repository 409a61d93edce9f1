"""Linear baselines: principal components, class-mean Procrustes and multiset canonical correlation.

References
----------
Kettenring, J. R. (1971). Canonical analysis of several sets of variables. *Biometrika* 58, 433-451.
Schönemann, P. H. (1966). A generalized solution of the orthogonal Procrustes problem. *Psychometrika* 31, 1-10.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

from analysis.representations import Floats, Inputs, Representation, Training
from neuromvm.errors import ShapeError, SpecError

NEGLIGIBLE = 1e-10  # share of the largest eigenvalue below which a direction is numerically absent


class PrincipalAxes(NamedTuple):
    """Centre and leading orthonormal directions of one animal's features."""

    center: Floats  # (feature,)
    axes: Floats  # (feature, component)

    def __call__(self, values: Floats) -> Floats:
        """Project ``(..., feature)`` to ``(..., component)``."""
        return (values - self.center) @ self.axes


class RigidMap(NamedTuple):
    """Rotation, with reflection, that carries one animal's class means onto another's."""

    origin: Floats  # (component of target,)
    rotation: Floats  # (component of target, component of source)
    destination: Floats  # (component of source,)

    def __call__(self, values: Floats) -> Floats:
        """Map ``(..., component of target)`` to ``(..., component of source)``."""
        return (values - self.origin) @ self.rotation + self.destination


def principal_axes(samples: Floats, components: int) -> PrincipalAxes:
    """Fit principal components to ``(sample, feature)``; fewer than asked where the features have fewer dimensions."""
    center = samples.mean(axis=0)
    _, strength, axes = np.linalg.svd(samples - center, full_matrices=False)
    kept = int((strength**2 > NEGLIGIBLE * strength[0] ** 2).sum())
    return PrincipalAxes(center, axes[: min(components, kept)].T)


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


class PrincipalComponents(Representation):
    """Each animal's own principal components, fitted on its training side; an animal's decoder sees that animal only."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float) -> None:
        super().__init__(range(inputs.splits), inverse_penalty=inverse_penalty, shared=False)
        self._inputs = inputs
        self.axes = [
            {name: principal_axes(inputs.training(split, name).features, components) for name in inputs.fitted(split)}
            for split in self.replicas
        ]

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the principal components of the animal."""
        if source != target or target not in self.axes[replica]:
            return None
        return self.axes[replica][target](self._inputs.scaled(self.replicas[replica], target))


class ProcrustesAligned(PrincipalComponents):
    """Principal components, the target's turned into the source's by class-mean Procrustes on both training sides.

    There is a map for every pair and no space common to all animals, hence no decoder of several animals.
    """

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float) -> None:
        super().__init__(inputs, components=components, inverse_penalty=inverse_penalty)
        self.maps = [self._fit(split, axes) for split, axes in zip(self.replicas, self.axes, strict=True)]

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the target's principal components in the source's space."""
        own = super().seen(replica, target, target)
        if own is None or source == target:
            return own
        rigid = self.maps[replica].get((source, target))
        return None if rigid is None else rigid(own)

    def _fit(self, split: int, axes: dict[str, PrincipalAxes]) -> dict[tuple[str, str], RigidMap]:
        training = {name: self._inputs.training(split, name) for name in axes}
        scores = {name: axes[name](one.features) for name, one in training.items()}
        maps = {}
        for source in axes:
            for target in axes:
                common = np.intersect1d(training[source].match, training[target].match)
                if source != target and len(common) > 1:
                    means = (class_means(scores[name], training[name].match, common) for name in (target, source))
                    maps[source, target] = procrustes(*means)
        return maps


class CanonicalVariates(Representation):
    """Multiset canonical variates, divided by their standard deviation over all animals' training sides."""

    def __init__(self, inputs: Inputs, *, components: int, ridge: float, inverse_penalty: float) -> None:
        super().__init__(range(inputs.splits), inverse_penalty=inverse_penalty, shared=True)
        if len(inputs.animals) < 2:
            raise SpecError("analysis decoding", found="mcca with one animal", next_step="Leave 'mcca' out of baselines")
        self._inputs = inputs
        self.maps = []
        for split in self.replicas:
            training = {name: inputs.training(split, name) for name in inputs.fitted(split)}
            maps = multiset_cca(training, components, ridge)
            spread = np.concatenate([one.features @ maps[name] for name, one in training.items()]).std(axis=0)
            self.maps.append({name: one / spread for name, one in maps.items()})

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the target's canonical variates, whatever the source."""
        if target not in self.maps[replica]:
            return None
        variates: Floats = self._inputs.scaled(self.replicas[replica], target) @ self.maps[replica][target]
        return variates
