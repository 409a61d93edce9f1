"""Similarity of two animals' representations of the same conditions: measures computed from inner products of class means.

Inner products do not change under rotation, and have the same size for 3 and for 1000 dimensions. *Fitted* class means are of
training-side trials, *held* class means of held-out trials; the noise in the two is independent.

References
----------
Kornblith, S. et al. (2019). Similarity of neural network representations revisited. *ICML*.
Murphy, A., Zylberberg, J. & Fyshe, A. (2024). Correcting biased centered kernel alignment measures in biological and artificial
neural networks. arXiv:2405.01012.
Song, L. et al. (2012). Feature selection via dependence maximization. *J. Mach. Learn. Res.* 13, 1393-1434.
Walther, A. et al. (2016). Reliability of dissimilarity measures for multi-voxel pattern analysis. *NeuroImage* 137, 188-200.
Williams, A. H. et al. (2021). Generalized shape metrics on neural representations. *NeurIPS*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.errors import ShapeError

FEWEST_CONDITIONS = 4  # debiased kernels divide by n (n - 3)


class Products(NamedTuple):
    """Inner products of the class means of one animal, each ``(..., condition, condition)``."""

    fitted: Floats  # fitted with fitted
    cross: Floats  # held with fitted
    held: Floats  # held with held

    @classmethod
    def of(cls, fitted: Floats, held: Floats) -> "Products":
        """Multiply class means ``(..., condition, feature)``."""
        transposed = np.swapaxes(fitted, -1, -2)
        return cls(fitted @ transposed, held @ transposed, held @ np.swapaxes(held, -1, -2))

    def centred(self, fitted: NDArray[np.bool_], held: NDArray[np.bool_]) -> "Products":
        """Select conditions on each side, and subtract from each side its mean over the fitted conditions.

        Latents of trials a model was trained on may be offset from those of new trials. Subtracting the fitted mean from both
        sides would leave that offset in every held-out class mean of every animal, as if animals shared it.
        """
        identity, mean = np.eye(len(fitted)), fitted / fitted.sum()
        centre_fitted, centre_held = identity[fitted] - mean, identity[held] - mean
        return Products(
            centre_fitted @ self.fitted @ centre_fitted.T,
            centre_held @ self.cross @ centre_fitted.T,
            centre_held @ self.held @ centre_held.T,
        )


def linear_map_r2(animals: Sequence[Products], ridge: float) -> Floats:
    """Fit ridge regressions from the fitted class means of a source to those of a target; explain the target's held ones.

    Each side is centred on its own mean over conditions. The penalty is in units of the mean square of a fitted class mean, so
    that it has the same effect in 3 and 1000 dimensions. Returns 1 - squared error / squared distance from the mean of the held
    class means, ``(..., source, target)``. 0: no better than that mean.
    """
    conditions = np.ones(animals[0].fitted.shape[-1], dtype=bool)
    return _explained([[animal.centred(conditions, conditions) for animal in animals]], ridge)


def new_conditions_r2(animals: Sequence[Floats], ridge: float, groups: NDArray[np.integer]) -> Floats:
    """Fit ridge regressions on the class means of all but one group of conditions; explain the class means of that group.

    The conditions left out have trials that are not fitted, so held-out trials (``Products.held`` of each animal) suffice for
    both sides, and what a model learned of its training trials cannot contribute. Conditions with the same number in ``groups
    (condition,)`` (windows of one odor) are left out together. Returns 1 - squared error / squared distance from the mean of the
    class means that were fitted, ``(..., source, target)``.
    """
    folds = [(groups != group, groups == group) for group in np.unique(groups)]
    return _explained([[Products(held, held, held).centred(*fold) for held in animals] for fold in folds], ridge)


def _explained(folds: Sequence[Sequence[Products]], ridge: float) -> Floats:
    """Return R2 over folds of the regression from each animal to each animal, ``(..., source, target)``."""
    animals = len(folds[0])
    shape = (*folds[0][0].cross.shape[:-2], animals, animals)
    error, total = np.zeros(shape), np.zeros(shape)
    for fold in folds:
        weights = [_ridge_weights(animal, ridge) for animal in fold]
        for column, target in enumerate(fold):
            square = np.trace(target.held, axis1=-2, axis2=-1)
            total[..., column] += square[..., None]
            for row, weight in enumerate(weights):
                overlap = np.einsum("...hf,...hf->...", weight, target.cross)
                error[..., row, column] += square - 2 * overlap + np.einsum("...hf,...hf->...", weight @ target.fitted, weight)
    return 1 - error / np.where(total > 0, total, np.nan)


def _ridge_weights(animal: Products, ridge: float) -> Floats:
    """Return the weights ``(..., held condition, fitted condition)`` with which a regression sums the target's class means."""
    size = np.trace(animal.fitted, axis1=-2, axis2=-1)[..., None, None] / animal.fitted.shape[-1]
    penalty = np.where(size > 0, ridge * size, 1.0) * np.eye(animal.fitted.shape[-1])
    return np.asarray(np.swapaxes(np.linalg.solve(animal.fitted + penalty, np.swapaxes(animal.cross, -1, -2)), -1, -2))


def in_sample_r2(source: Floats, target: Floats) -> float:
    """Return the variance of class means ``(condition, feature)`` explained by a least-squares map fitted on the same means.

    Consistency is often reported like this. It rises with the number of dimensions and is 1 on pure noise once there are as many
    dimensions as conditions.
    """
    predictors, response = source - source.mean(axis=0), target - target.mean(axis=0)
    residual = response - predictors @ np.linalg.lstsq(predictors, response, rcond=1e-9)[0]
    return float(1 - np.sum(residual**2) / np.sum(response**2))


def dissimilarities(products: Floats) -> Floats:
    """Return cross-validated squared distances of all pairs of conditions, ``(..., pair)``.

    ``products (..., condition, condition)`` are of class means over pairs of *different* trials, or ``Products.cross``. The
    expectation is the squared distance of the true means for any noise and any number of trials, if the noise in the factors of
    each product is independent; otherwise conditions with few trials seem far from all (Walther et al. 2016).

    Examples
    --------
    >>> means = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> dissimilarities(means @ means.T).tolist()
    [25.0]
    """
    square = np.diagonal(products, axis1=-2, axis2=-1)
    distance = square[..., :, None] + square[..., None, :] - products - np.swapaxes(products, -1, -2)
    return np.asarray(distance[..., *np.triu_indices(products.shape[-1], 1)])


def cosines(vectors: Sequence[Floats]) -> Floats:
    """Return the cosine of the angle between each two vectors, over the last axis, ``(..., row, column)``; NaN for zero vectors.

    Examples
    --------
    >>> cosines([np.array([1.0, 0.0]), np.array([3.0, 4.0])]).round(6).tolist()
    [[1.0, 0.6], [0.6, 1.0]]
    """
    stacked = np.stack(vectors, axis=-2)
    size = np.linalg.norm(stacked, axis=-1, keepdims=True)
    units = stacked / np.where(size > 0, size, np.nan)
    return np.asarray(units @ np.swapaxes(units, -1, -2))


def debiased(products: Floats) -> Floats:
    """Return vectors ``(..., pair)`` whose :func:`cosines` are the debiased linear CKA.

    Inner products of a condition with itself, which contain all the noise, are left out, and the remaining products are centred
    so that the numerator of the cosine is the unbiased HSIC (Song et al. 2012, eq. 5; Murphy et al. 2024).
    """
    n = products.shape[-1]
    if n < FEWEST_CONDITIONS:
        raise ShapeError("debiased CKA", found=f"{n} conditions", expected=f"at least {FEWEST_CONDITIONS}")
    off_diagonal = np.where(np.eye(n, dtype=bool), 0, products)
    sums = off_diagonal.sum(-1)
    grand_sum = (sums.sum(-1) / ((n - 1) * (n - 2)))[..., None, None]
    centred = off_diagonal - (sums[..., None, :] + sums[..., :, None]) / (n - 2) + grand_sum
    return np.asarray(centred[..., *np.triu_indices(n, 1)])


def pattern_reliability(products: Products) -> Floats:
    """Return the correlation of fitted with held-out class means, over conditions and features, ``(...)``."""
    fitted, cross, held = (
        np.trace(product, axis1=-2, axis2=-1) - product.mean((-1, -2)) * product.shape[-1] for product in products
    )
    size = np.sqrt(fitted * held)
    return np.asarray(cross / np.where(size > 0, size, np.nan))


def shape_distance(first_shape: Floats, second_shape: Floats) -> float:
    """Return the angle between two shapes ``(condition, feature)`` after the best rotation and reflection [rad, 0 to pi / 2].

    A metric (Williams et al. 2021, eq. 4, without regularisation): non-negative, zero only for equal shapes, symmetric, and it
    obeys the triangle inequality. Position and size do not count; numbers of features may differ (the smaller is padded with
    zeros).

    Examples
    --------
    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> turned = 3 * square @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 5
    >>> round(shape_distance(square, turned), 6)
    0.0
    """
    if first_shape.ndim != 2 or second_shape.ndim != 2 or len(first_shape) != len(second_shape):
        raise ShapeError(
            "shape distance",
            found=f"{first_shape.shape} and {second_shape.shape}",
            expected="(condition, feature), same conditions",
        )
    shapes = [_unit_shape(points.astype(np.float64)) for points in (first_shape, second_shape)]
    rotation, _, back = np.linalg.svd(shapes[0].T @ shapes[1], full_matrices=False)
    # The angle from its chord: arccos of a cosine near 1 would lose half the digits.
    chord = np.sum((shapes[0] @ rotation - shapes[1] @ back.T) ** 2) + _outside(shapes[0], rotation) + _outside(shapes[1], back.T)
    return float(2 * np.arcsin(min(1.0, np.sqrt(chord) / 2)))


def _unit_shape(points: Floats) -> Floats:
    """Centre ``(condition, feature)`` and divide by the norm."""
    centred = points - points.mean(axis=0)
    size = np.linalg.norm(centred)
    if size <= 1e-12 * np.linalg.norm(points):
        raise ShapeError("shape distance", found="conditions that all lie on one point", expected="conditions that differ")
    return np.asarray(centred / size)


def _outside(shape: Floats, axes: Floats) -> float:
    """Return the squared size of a shape outside orthonormal axes ``(feature, axis)``."""
    return float(np.sum((shape - shape @ axes @ axes.T) ** 2))
