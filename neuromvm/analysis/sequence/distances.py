"""Distances between odors that are 0 on average without signal, and their dependence on the lag in the sequence.

Noise biases the squared distance of two class means upwards. Products of *different* trials have no such bias: with ``K`` the
products of trials, averaged over features,

    distance(a, b) = mean K(i, j; i, j in a) + mean K(i, j; i, j in b) - 2 mean K(i in a, j in b)

over pairs of trials of different *runs* through the sequence. Pairs within a run are left out because neighbours in the sequence
are neighbours in time, so that slow drift would look like an effect of lag.

References
----------
Walther, A., et al. (2016). Reliability of dissimilarity measures for multi-voxel pattern analysis. *NeuroImage* 137, 188-200.
"""

from typing import NamedTuple

import numpy as np

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.trials import Codes, Mask


class Products(NamedTuple):
    """Products of trials, mean over features, and which pairs count."""

    values: Floats  # (trial, trial), 0 for pairs that do not count
    counted: Floats  # (trial, trial) 0 or 1

    @classmethod
    def of(cls, rows: Floats, columns: Floats, counted: Mask) -> "Products":
        """Multiply ``(trial, feature)`` with ``(trial, feature)``; ``counted (trial, trial)`` excludes a trial with itself."""
        weight = counted.astype(np.float64)
        return cls(rows.astype(np.float64) @ columns.astype(np.float64).T / rows.shape[1] * weight, weight)


def distances(products: Products, odor: Codes, odors: int, weights: Floats | None = None) -> Floats:
    """Return the cross-validated squared distance of every two odors.

    ``products`` are those of the trials with themselves, ``odor (trial,)`` is 0 .. odors - 1, and ``weights (draw, trial)``
    say how often a trial counts, by default once.

    Returns
    -------
    ``(draw, odor, odor)`` [squared units of a feature]; NaN where an odor has no two trials of different runs. Without signal it
    is 0 on average, so it can be negative.

    Examples
    --------
    >>> trials = np.array([[0.0], [0.0], [3.0], [3.0]])
    >>> distances(Products.of(trials, trials, ~np.eye(4, dtype=bool)), np.array([0, 0, 1, 1]), 2)[0].tolist()
    [[0.0, 9.0], [9.0, 0.0]]
    """
    weights = np.ones((1, len(odor))) if weights is None else weights
    members = weights[:, None, :] * (odor == np.arange(odors)[:, None])  # (draw, odor, trial)
    sums, pairs = (members @ matrix @ members.transpose(0, 2, 1) for matrix in products)
    mean = np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)
    within = np.diagonal(mean, axis1=1, axis2=2)
    return np.asarray(within[:, :, None] + within[:, None, :] - 2 * mean)


def lags(odors: int) -> Floats:
    """Return the lags between odors in the sequence, ``(odor, odor)``."""
    return np.abs(np.subtract.outer(np.arange(odors), np.arange(odors))).astype(np.float64)


def by_lag(distance: Floats) -> Floats:
    """Return the mean distance at lags 1, 2, ..., ``(..., lag)``, from ``(..., odor, odor)``."""
    odors = distance.shape[-1]
    return np.stack([distance[..., lags(odors) == lag].mean(axis=-1) for lag in range(1, odors)], axis=-1)


def lag_slope(distance: Floats) -> Floats:
    """Return the least-squares slope of distance on lag over all pairs of odors, ``(...)``, from ``(..., odor, odor)``."""
    odors = distance.shape[-1]
    upper = np.triu_indices(odors, 1)
    lag = lags(odors)[upper]
    centred = lag - lag.mean()
    return np.asarray(distance[..., upper[0], upper[1]] @ centred / (centred @ centred))


def nearness(products: Products, odor: Codes, odors: int, weights: Floats | None = None) -> Floats:
    """Return the mean product of trials with the in-sequence trials of each odor, ``(draw, trial, odor)``.

    ``products`` are those of out-of-sequence trials (rows) with in-sequence trials (columns), ``odor (column,)`` the odors of the
    latter, ``weights (draw, column)`` how often they count, by default once.
    """
    weights = np.ones((1, len(odor))) if weights is None else weights
    members = (weights[:, None, :] * (odor == np.arange(odors)[:, None])).transpose(0, 2, 1)
    sums, pairs = (matrix @ members for matrix in products)
    return np.asarray(np.divide(sums, pairs, out=np.zeros_like(sums), where=pairs > 0))


def parted_slopes(near: Floats, odor: Codes, position: Codes, weights: Floats | None = None) -> Floats:
    """Return the slopes of distance on odor lag and on position lag, fitted jointly to out-of-sequence trials.

    The distance is that of a trial to the in-sequence mean of an odor. Up to a term for the trial and a term for the odor, it is
    minus twice their product; both terms are removed from distance and lags before the regression. Predictors for lag 0 absorb
    that a trial is nearest to its own odor or the one due at its position, so that the slopes are over lags 1, 2, ..., as in
    sequence. Odors at equal distances have slope 0.

    ``near`` is ``(trial, odor)`` of :func:`nearness`; ``odor`` and ``position (trial,)`` are numbers in the sequence, and
    ``weights (trial,)`` say how often a trial counts, by default once.

    Returns
    -------
    ``(2,)``: squared units of a feature per step of odor lag and of position lag; NaN if the two are collinear.
    """
    weights = np.ones(len(odor)) if weights is None else weights
    odors = np.arange(near.shape[1])
    lag = [np.abs(label[:, None] - odors).astype(np.float64) for label in (odor, position)]
    zero_lag = [(matrix == 0).astype(np.float64) for matrix in lag]
    outcome, *predictors = (_double_centred(matrix, weights) for matrix in (-2 * near, *lag, *zero_lag))
    scale = np.sqrt(np.repeat(weights, len(odors)))
    design = np.stack([predictor.ravel() * scale for predictor in predictors], axis=1)
    if np.linalg.matrix_rank(design) < len(predictors):
        return np.full(2, np.nan)
    return np.asarray(np.linalg.lstsq(design, outcome.ravel() * scale, rcond=None)[0][:2])


def _double_centred(values: Floats, weights: Floats) -> Floats:
    """Subtract means over odors and weighted means over trials from ``(trial, odor)``."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred - weights @ centred / weights.sum())
