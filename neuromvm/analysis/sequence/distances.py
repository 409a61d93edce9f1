"""Distances between odors that are 0 on average without signal, and how they grow with the lag in the sequence.

The squared distance of two class means is too large by the noise of both. Products of *different* trials have no such part: with
``K`` the products of trials, averaged over features,

    distance(a, b) = mean K(i, j; i, j in a) + mean K(i, j; i, j in b) - 2 mean K(i in a, j in b)

over pairs of trials of different *runs* through the sequence: the cross-validated distance whose two parts are single trials,
averaged over all of them. Within a run, neighbours in the sequence are neighbours in time, and slow drift would pass for lag.

References
----------
Walther, A., et al. (2016). Reliability of dissimilarity measures for multi-voxel pattern analysis. *NeuroImage* 137, 188-200.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Floats

Codes = NDArray[np.intp]


class Products(NamedTuple):
    """Products of trials, mean over features, and which of them count."""

    values: Floats  # (trial, trial), 0 where they do not count
    counted: Floats  # (trial, trial) 0 or 1

    @classmethod
    def of(cls, first: Floats, second: Floats, counted: NDArray[np.bool_]) -> "Products":
        """Multiply ``(trial, feature)`` with ``(trial, feature)``; count ``(trial, trial)``, no trial with itself."""
        weight = counted.astype(np.float64)
        return cls(first.astype(np.float64) @ second.astype(np.float64).T / first.shape[1] * weight, weight)


def distances(products: Products, odor: Codes, odors: int, weights: Floats | None = None) -> Floats:
    """Return the cross-validated squared distance of every two odors.

    Parameters
    ----------
    products
        Of the trials with themselves.
    odor
        ``(trial,)`` 0 .. odors - 1.
    odors
        Number of odors.
    weights
        ``(draw, trial)``: how often each trial counts; default: once.

    Returns
    -------
    ``(draw, odor, odor)`` [squared units of a feature]; NaN where an odor has no two trials of different runs. Without signal it
    is 0 on average, so that single distances may be below 0.

    Examples
    --------
    >>> trials = np.array([[0.0], [0.0], [3.0], [3.0]])
    >>> distances(Products.of(trials, trials, ~np.eye(4, dtype=bool)), np.array([0, 0, 1, 1]), 2)[0].tolist()
    [[0.0, 9.0], [9.0, 0.0]]
    """
    weights = np.ones((1, len(odor))) if weights is None else weights
    carried = weights[:, None, :] * (odor == np.arange(odors)[:, None])  # (draw, odor, trial)
    sums, pairs = (carried @ one @ carried.transpose(0, 2, 1) for one in products)
    mean = np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)
    own = np.diagonal(mean, axis1=1, axis2=2)
    return np.asarray(own[:, :, None] + own[:, None, :] - 2 * mean)


def lags(odors: int) -> Floats:
    """Return how far apart odors are in the sequence, ``(odor, odor)``."""
    return np.abs(np.subtract.outer(np.arange(odors), np.arange(odors))).astype(np.float64)


def by_lag(distance: Floats) -> Floats:
    """Return the mean distance of odors 1, 2, ... apart, ``(..., lag)``, from ``(..., odor, odor)``."""
    lag = lags(distance.shape[-1])
    return np.stack([distance[..., lag == one].mean(axis=-1) for one in range(1, distance.shape[-1])], axis=-1)


def lag_slope(distance: Floats) -> Floats:
    """Return the least-squares slope of distance on lag over all pairs of odors, ``(...)``, from ``(..., odor, odor)``."""
    odors = distance.shape[-1]
    upper = np.triu_indices(odors, 1)
    lag = lags(odors)[upper]
    centred = lag - lag.mean()
    return np.asarray(distance[..., upper[0], upper[1]] @ centred / (centred @ centred))


def nearness(products: Products, odor: Codes, odors: int, weights: Floats | None = None) -> Floats:
    """Return the mean product of trials with the in-sequence trials of each odor, ``(draw, trial, odor)``.

    Parameters
    ----------
    products
        Of out-of-sequence trials (rows) with in-sequence trials (columns).
    odor
        ``(column,)`` odors of in-sequence trials.
    odors
        Number of odors.
    weights
        ``(draw, column)``, default 1.
    """
    weights = np.ones((1, len(odor))) if weights is None else weights
    carried = (weights[:, None, :] * (odor == np.arange(odors)[:, None])).transpose(0, 2, 1)
    sums, pairs = (one @ carried for one in products)
    return np.asarray(np.divide(sums, pairs, out=np.zeros_like(sums), where=pairs > 0))


def parted_slopes(near: Floats, odor: Codes, position: Codes, weights: Floats | None = None) -> Floats:
    """Return the slopes of the distance to each odor's in-sequence mean on odor lag and on position lag, each given the other.

    The distance of an out-of-sequence trial to the mean of an odor is, but for a part of the trial alone and a part of the odor
    alone, minus twice their product. Both parts, in distance and lags, are taken out before the regression. That a trial is
    nearer to its own odor (or the one due at its position) than to all others is taken out too: what is left is the slope over
    lags 1, 2, ..., as in sequence. Odors that are all equally far apart have no slope.

    Parameters
    ----------
    near
        ``(trial, odor)`` of :func:`nearness`.
    odor, position
        ``(trial,)`` places in the sequence.
    weights
        ``(trial,)``, default 1.

    Returns
    -------
    ``(2,)``: squared units of a feature for each step of odor lag, and of position lag; NaN if they cannot be told apart.
    """
    weights = np.ones(len(odor)) if weights is None else weights
    places = np.arange(near.shape[1])
    lag = [np.abs(label[:, None] - places).astype(np.float64) for label in (odor, position)]
    own = [(one == 0).astype(np.float64) for one in lag]
    outcome, *predictors = (_double_centred(one, weights) for one in (-2 * near, *lag, *own))
    scale = np.sqrt(np.repeat(weights, len(places)))
    design = np.stack([one.ravel() * scale for one in predictors], axis=1)
    if np.linalg.matrix_rank(design) < len(predictors):
        return np.full(2, np.nan)
    return np.asarray(np.linalg.lstsq(design, outcome.ravel() * scale, rcond=None)[0][:2])


def _double_centred(values: Floats, weights: Floats) -> Floats:
    """Take means over odors and weighted means over trials out of ``(trial, odor)``."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred - weights @ centred / weights.sum())
