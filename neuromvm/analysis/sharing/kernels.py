"""Kernels of conditions: which conditions evoke similar activity, from other animals or from an order of the label.

A kernel ``(class, class)`` is centred, positive semidefinite, and has the trace K (the number of classes that it knows);
rows of unknown classes are NaN.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sharing.problem import Labelled, recall_together, spread_out
from neuromvm.errors import ShapeError

FEWEST = 3  # classes of a kernel; two have only one distance
MOST_ROUNDS = 30  # of scaling animals with different conditions to each other
TOLERANCE = 1e-4  # change of a scale at which they end
SMALLEST_SIGNAL = 0.02  # mean distance in units of their root mean square: distances of noise alone are not enlarged further


def squared_distances(animal: Labelled, classes: int) -> Floats:
    """Return squared distances of the true condition means of an animal, ``(class, class)``; NaN for absent conditions.

    The expected squared distance of noise is subtracted: the sum over features of the variance within the condition, divided by
    its trials (pooled over conditions for one trial). So estimates are unbiased, and some are negative.
    """
    return animal.recall(("squared distances", classes), lambda: spread_pairs(*_distances(animal), classes=classes))


def _distances(animal: Labelled) -> tuple[Floats, NDArray[np.integer]]:
    square = np.square(animal.residuals).sum(axis=1)
    pooled = square.sum() / animal.freedom
    sums = np.bincount(np.searchsorted(animal.classes, animal.codes), weights=square)
    variance = np.where(animal.counts > 1, sums / np.maximum(animal.counts - 1, 1), pooled)
    noise = variance / animal.counts
    distances = cdist(animal.means, animal.means, "sqeuclidean") - noise[:, None] - noise
    np.fill_diagonal(distances, 0)
    return distances, animal.classes


def spread_pairs(values: Floats, indices: NDArray[np.integer], classes: int) -> Floats:
    """Return ``values (class, class)`` of some classes among those of all classes; NaN elsewhere."""
    return spread_out(spread_out(values, indices, classes).T, indices, classes).T


def class_kernel(animals: Mapping[str, Labelled], classes: int) -> Floats:
    """Return the mean kernel of the condition means of several animals, ``(class, class)``."""
    members = list(animals.values())
    return recall_together(
        members,
        ("class kernel", classes),
        lambda: kernel_of_distances([squared_distances(animal, classes) for animal in members]),
    )


def kernel_of_means(means: Sequence[Floats]) -> Floats:
    """Return the mean kernel of condition means of several animals, ``(class, latent)`` each; NaN for absent conditions."""
    return kernel_of_distances([cdist(values, values, "sqeuclidean") for values in means])


def order_kernel(coordinates: Floats, length: float) -> Floats:
    """Return a Gaussian kernel of ``coordinates (class, dimension)`` with a length scale in their unit."""
    return centred(np.exp(-cdist(coordinates, coordinates, "sqeuclidean") / (2 * length**2)))


def kernel_of_distances(distances: Sequence[Floats]) -> Floats:
    """Average squared distances ``(class, class)`` of several animals, NaN where absent, and convert the mean to a kernel.

    Distances of an animal are divided by their mean. An animal without some conditions is scaled to the mean of all animals on
    the pairs that it has; the mean of a pair is over the animals that have both conditions, and a pair that no animal has gets
    the mean distance. All NaN with fewer than three conditions.
    """
    if not distances:
        raise ShapeError("a kernel of conditions", found="no other animal", expected="one or more")
    stacked = np.stack(distances)
    between = np.isfinite(stacked) & ~np.eye(stacked.shape[1], dtype=bool)
    known = np.asarray(between.any(axis=(0, 2)))
    if known.sum() < FEWEST:
        return np.full(stacked.shape[1:], np.nan)
    values, pairs = np.where(between, stacked, 0), between.sum(axis=(1, 2))
    animals = pairs > 0
    values, between, pairs = values[animals], between[animals], pairs[animals]
    smallest = SMALLEST_SIGNAL * np.sqrt(np.square(values).sum(axis=(1, 2)) / pairs)
    size = np.maximum(values.sum(axis=(1, 2)) / pairs, np.where(smallest > 0, smallest, 1))
    level = np.ones_like(size)  # mean over the pairs of an animal, in the mean of animals
    for _ in range(MOST_ROUNDS):
        scaled = values * (level / size)[:, None, None]
        mean = np.where(between.any(axis=0), scaled.sum(axis=0) / np.maximum(between.sum(axis=0), 1), 1)
        mean /= max(mean[between.any(axis=0)].mean(), SMALLEST_SIGNAL)
        previous, level = level, np.maximum((between * mean).sum(axis=(1, 2)) / pairs, SMALLEST_SIGNAL)
        if np.abs(level - previous).max() < TOLERANCE:
            break
    np.fill_diagonal(mean, 0)
    return spread_pairs(centred(-0.5 * mean[np.ix_(known, known)]), np.flatnonzero(known), len(known))


def centred(kernel: Floats) -> Floats:
    """Centre a symmetric matrix on both sides, take its positive part, and scale its trace to the number of classes."""
    size = len(kernel)
    centre = np.eye(size) - 1 / size
    values, vectors = np.linalg.eigh(centre @ kernel @ centre)
    values = np.maximum(values, 0)
    total = values.sum()
    if total <= 0:
        return centre * size / (size - 1)
    return np.asarray((vectors * (values * size / total)) @ vectors.T)
