"""Tests of the points of a curve or matrix, corrected for the number of points.

Thresholds and means are those of the null draws and the observed values together. If these are exchangeable under the null, the
p-values of both tests hold for any number of draws.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuromvm.analysis.statistics.over_trials import Floats, p_value

ROUNDING = 1e-6  # scores are ratios of small integers: equal ones may differ in the last bits


class Clusters(NamedTuple):
    """Connected points above their threshold."""

    label: NDArray[np.intp]  # number of the cluster of each point, shape of the observed values; 0 outside clusters
    p: Floats  # (cluster,), for label 1, 2, ...
    threshold: Floats  # what a point must exceed, shape of the observed values

    @property
    def p_of_points(self) -> Floats:
        """The p-value of the cluster in which each point lies; 1 where it lies in none."""
        return np.concatenate([[1.0], self.p])[self.label]


def max_statistic(observed: Floats, null: Floats) -> Floats:
    """Return p-values of points, corrected for all points by the largest value of each null draw.

    ``observed`` has any shape, ``null`` is ``(draw, ...)``; large values speak against the null (one-sided). The p-value is
    (b + 1) / (n + 1), b being the number of draws whose largest value reaches that of the point. If the null holds everywhere,
    any point has p <= level with a probability of at most the level, so single points may be claimed.

    References
    ----------
    Nichols & Holmes (2002). Nonparametric permutation tests for functional neuroimaging. *Hum. Brain Mapp.* 15, 1-25.

    Examples
    --------
    >>> null = np.random.default_rng(0).standard_normal((199, 30))
    >>> float(max_statistic(np.where(np.arange(30) == 7, 9.0, 0.0), null)[7])
    0.005
    """
    largest = null.reshape(len(null), -1).max(axis=1)
    return p_value(observed, largest.reshape(-1, *[1] * observed.ndim))


def cluster_mass(observed: Floats, null: Floats, level: float = 0.05) -> Clusters:
    """Test clusters of neighbouring points.

    A point is in a cluster if it exceeds the ``1 - level`` quantile of its own draws; neighbours along any one axis belong to the
    same cluster. The mass of a cluster is the sum of its values over the mean of all draws at these points. Its p-value is
    (b + 1) / (n + 1), b being the number of draws whose heaviest cluster is at least as heavy. A small p is evidence for an
    effect among the points, not for where exactly a cluster begins and ends.

    Parameters
    ----------
    observed, null
        ``(window,)`` or any other shape, and ``(draw, ...)``; large values speak against the null (one-sided).
    level
        Of the threshold of single points. It affects sensitivity, not the rate of false positives.

    References
    ----------
    Maris & Oostenveld (2007). Nonparametric statistical testing of EEG- and MEG-data. *J. Neurosci. Methods* 164, 177-190.
    Sassenhagen & Draschkow (2019). Cluster-based permutation tests of MEG/EEG data do not establish significance of effect
    latency or location. *Psychophysiology* 56, e13335.

    Examples
    --------
    >>> null = np.random.default_rng(0).standard_normal((199, 30))
    >>> clusters = cluster_mass(np.where(abs(np.arange(30) - 10) < 3, 4.0, 0.0), null)
    >>> np.flatnonzero(clusters.label).tolist(), clusters.p.tolist()
    ([8, 9, 10, 11, 12], [0.005])
    """
    draws = np.concatenate([observed[None], null])
    threshold = np.quantile(draws, 1 - level, axis=0)
    label, mass = _clusters(draws, threshold, draws.mean(axis=0))
    heaviest = mass[label].reshape(len(draws), -1).max(axis=1)
    # Labels are numbered in the order of draws, so those of the observed values are 1, 2, ...
    observed_mass = mass[1 : int(label[0].max()) + 1]
    return Clusters(label[0], p_value(observed_mass, heaviest[1:, None]), threshold)


def cluster_p_of(curves: Floats, observed: Floats, null: Floats, level: float = 0.05) -> Floats:
    """Return p of the cluster of each point of further curves, each treated as the observed one; 1 outside clusters.

    ``curves (curve, ...)`` are bootstrap draws of the observed values; they do not affect thresholds and clusters of null draws.
    """
    draws = np.concatenate([observed[None], null])
    label, mass = _clusters(np.concatenate([null, curves]), np.quantile(draws, 1 - level, axis=0), draws.mean(axis=0))
    of_points = mass[label]
    heaviest = of_points[: len(null)].reshape(len(null), -1).max(axis=1)
    return np.where(label[len(null) :] > 0, p_value(of_points[len(null) :], heaviest.reshape(-1, *[1] * curves.ndim)), 1.0)


def _clusters(draws: Floats, threshold: Floats, mean: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return the number of the cluster of each point of each draw, 0 outside clusters, and the mass of each number."""
    # Neighbours within a draw only, so that one call labels the clusters of all draws.
    neighbours = np.zeros((3,) * draws.ndim, dtype=bool)
    neighbours[1] = ndimage.generate_binary_structure(draws.ndim - 1, 1)
    label, count = ndimage.label(draws > threshold + ROUNDING, structure=neighbours)
    mass = np.bincount(label.ravel(), weights=(draws - mean).ravel(), minlength=count + 1).astype(np.float64)
    mass[0] = 0  # no cluster
    return label.astype(np.intp), mass
