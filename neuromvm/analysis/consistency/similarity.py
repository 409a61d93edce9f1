"""How alike are two animals' representations of the same conditions? Measures that need inner products of class means only.

Inner products do not change when a representation is turned, and have the same size in 3 and 1000 dimensions. *Fitted* class
means are those of training-side trials, *held* those of held-out trials; noise in the two is independent.

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
        turned = np.swapaxes(fitted, -1, -2)
        return cls(fitted @ turned, held @ turned, held @ np.swapaxes(held, -1, -2))

    def centred(self, fitted: NDArray[np.bool_], held: NDArray[np.bool_]) -> "Products":
        """Keep some conditions on each side, and subtract from each side its own mean over the fitted conditions.

        An offset between the sides, as of latents of trials that a model was trained on and of others, is no code: subtracting
        the fitted means from both would leave it in every held-out mean of every animal, where it passes for something shared.
        """
        every, mean = np.eye(len(fitted)), fitted / fitted.sum()
        own, other = every[fitted] - mean, every[held] - mean
        return Products(own @ self.fitted @ own.T, other @ self.cross @ own.T, other @ self.held @ other.T)

    def taken(self, order: NDArray[np.intp]) -> "Products":
        """Return conditions in another order, ``(condition,)`` or one for each draw ``(draw, condition)``."""
        rows, columns = order[..., :, None], order[..., None, :]
        return Products(*(one[rows, columns] for one in self))


def linear_map_r2(animals: Sequence[Products], ridge: float) -> Floats:
    """Fit ridge regressions from fitted class means of one animal to those of another; explain held ones of the other.

    Parameters
    ----------
    animals
        Of the same conditions. Each side is centred on its own mean over conditions.
    ridge
        In units of the mean square of a fitted class mean, so that it means the same in 3 and 1000 dimensions.

    Returns
    -------
    1 - squared error / squared distance from the mean of the held class means, ``(..., source, target)``. 0: no better than that
    mean.
    """
    every = np.ones(animals[0].fitted.shape[-1], dtype=bool)
    return _explained([[one.centred(every, every) for one in animals]], ridge)


def new_conditions_r2(animals: Sequence[Floats], ridge: float, among: NDArray[np.integer]) -> Floats:
    """Fit ridge regressions on the class means of all conditions but some; explain these.

    Conditions that are left out have trials of their own, so that all trials may be of one side: nothing that a model made of its
    training trials then takes part.

    Parameters
    ----------
    animals
        ``Products.held`` of each, of the same conditions.
    ridge
        As of :func:`linear_map_r2`.
    among
        ``(condition,)``: conditions with the same number (windows of one odor) are left out together.

    Returns
    -------
    1 - squared error / squared distance from the mean of the class means that were fitted, ``(..., source, target)``.
    """
    folds = [(among != group, among == group) for group in np.unique(among)]
    return _explained([[Products(one, one, one).centred(*fold) for one in animals] for fold in folds], ridge)


def _explained(folds: Sequence[Sequence[Products]], ridge: float) -> Floats:
    """Return R2 over folds of what each animal explains of each other, ``(..., source, target)``."""
    animals = len(folds[0])
    shape = (*folds[0][0].cross.shape[:-2], animals, animals)
    error, total = np.zeros(shape), np.zeros(shape)
    for parts in folds:
        weights = [_ridge(one.fitted, one.cross, ridge) for one in parts]
        for column, target in enumerate(parts):
            whole = np.trace(target.held, axis1=-2, axis2=-1)
            total[..., column] += whole[..., None]
            for row, one in enumerate(weights):
                fit = np.einsum("...hf,...hf->...", one, target.cross)
                error[..., row, column] += whole - 2 * fit + np.einsum("...hf,...hf->...", one @ target.fitted, one)
    return 1 - error / np.where(total > 0, total, np.nan)


def in_sample_r2(source: Floats, target: Floats) -> float:
    """Return how much of fitted class means a least-squares map explains of those it was fitted on.

    That is how consistency is often reported. It rises with the number of dimensions and is 1 on pure noise once there are as
    many as conditions.

    Parameters
    ----------
    source, target
        ``(condition, feature)``.
    """
    first, second = (one - one.mean(axis=0) for one in (source, target))
    left = second - first @ np.linalg.lstsq(first, second, rcond=1e-9)[0]
    return float(1 - np.sum(left**2) / np.sum(second**2))


def dissimilarities(apart: Floats) -> Floats:
    """Return cross-validated squared distances of all pairs of conditions, ``(..., pair)``.

    Its expectation is the squared distance of the true means, whatever the noise and the number of trials, if noise in the
    factors of each product is independent; else rare conditions seem far from all (Walther et al. 2016).

    Parameters
    ----------
    apart
        ``(..., condition, condition)``: inner products of class means over pairs of *different* trials
        (:class:`neuromvm.analysis.consistency.class_means.ClassMeans`), or ``Products.cross``.

    Examples
    --------
    >>> means = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> dissimilarities(means @ means.T).tolist()
    [25.0]
    """
    own = np.diagonal(apart, axis1=-2, axis2=-1)
    squared = own[..., :, None] + own[..., None, :] - apart - np.swapaxes(apart, -1, -2)
    return np.asarray(squared[..., *np.triu_indices(apart.shape[-1], 1)])


def correlations(vectors: Sequence[Floats]) -> Floats:
    """Return Pearson's correlation over the last axis, ``(..., first, second)``; NaN where one does not vary."""
    return cosines([one - one.mean(-1, keepdims=True) for one in vectors])


def cosines(vectors: Sequence[Floats]) -> Floats:
    """Return the cosine of the angle of each with each, over the last axis, ``(..., first, second)``; NaN where one is zero.

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
    """Return what is left of inner products of n conditions, ``(..., pair)``, for :func:`cosines` to be the debiased linear CKA.

    Inner products of a condition with itself, which hold all the noise, are set aside, and the others are centred so that the
    cosine's numerator is the unbiased HSIC (Song et al. 2012, eq. 5; Murphy et al. 2024).

    Raises
    ------
    ShapeError
        If there are fewer than four conditions.
    """
    n = products.shape[-1]
    if n < FEWEST_CONDITIONS:
        raise ShapeError("debiased CKA", found=f"{n} conditions", expected=f"at least {FEWEST_CONDITIONS}")
    off = np.where(np.eye(n, dtype=bool), 0, products)
    rows = off.sum(-1)
    centred = off - (rows[..., None, :] + rows[..., :, None]) / (n - 2) + (rows.sum(-1) / ((n - 1) * (n - 2)))[..., None, None]
    return np.asarray(centred[..., *np.triu_indices(n, 1)])


def pattern_reliability(products: Products) -> Floats:
    """Return the correlation of fitted with held-out class means, over conditions and features, ``(...)``."""
    fitted, cross, held = (np.trace(one, axis1=-2, axis2=-1) - one.mean((-1, -2)) * one.shape[-1] for one in products)
    size = np.sqrt(fitted * held)
    return np.asarray(cross / np.where(size > 0, size, np.nan))


def shape_distance(first: Floats, second: Floats) -> float:
    """Return the angle between two shapes, after turning and mirroring one to bring them nearest [rad, 0 to pi / 2].

    A true metric: not below zero, zero only for the same shape, symmetric, and no longer by way of a third. Position and size do
    not count; numbers of features may differ (the smaller is filled up with zeros).

    Parameters
    ----------
    first, second
        ``(condition, feature)``, the same conditions in the same order.

    Raises
    ------
    ShapeError
        If the conditions are not the same, or all points of one coincide.

    References
    ----------
    Williams et al. 2021, eq. 4, without regularisation.

    Examples
    --------
    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> turned = 3 * square @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 5
    >>> round(shape_distance(square, turned), 6)
    0.0
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ShapeError(
            "shape distance", found=f"{first.shape} and {second.shape}", expected="(condition, feature), same conditions"
        )
    shapes = [one - one.mean(axis=0) for one in (first.astype(np.float64), second.astype(np.float64))]
    sizes = [np.linalg.norm(one) for one in shapes]
    if any(size <= 1e-12 * np.linalg.norm(one) for size, one in zip(sizes, (first, second), strict=True)):
        raise ShapeError("shape distance", found="conditions that all lie on one point", expected="conditions that differ")
    shapes = [one / size for one, size in zip(shapes, sizes, strict=True)]
    left, _, right = np.linalg.svd(shapes[0].T @ shapes[1], full_matrices=False)
    # The angle from its chord: arccos of a cosine near 1 would lose half the digits.
    chord = np.sum((shapes[0] @ left - shapes[1] @ right.T) ** 2) + _outside(shapes[0], left) + _outside(shapes[1], right.T)
    return float(2 * np.arcsin(min(1.0, np.sqrt(chord) / 2)))


def _outside(shape: Floats, axes: Floats) -> float:
    """Return the squared size of a shape outside orthonormal axes ``(feature, axis)``."""
    return float(np.sum((shape - shape @ axes @ axes.T) ** 2))


def _ridge(fitted: Floats, cross: Floats, ridge: float) -> Floats:
    """Return the weights ``(..., held condition, fitted condition)`` with which a regression sums the target's class means."""
    size = np.trace(fitted, axis1=-2, axis2=-1)[..., None, None] / fitted.shape[-1]
    penalty = np.where(size > 0, ridge * size, 1.0) * np.eye(fitted.shape[-1])
    return np.asarray(np.swapaxes(np.linalg.solve(fitted + penalty, np.swapaxes(cross, -1, -2)), -1, -2))
