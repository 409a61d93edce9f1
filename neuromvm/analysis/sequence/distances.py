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
import xarray as xr

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.decoder import Inputs, trial_orders
from neuromvm.analysis.sequence.means import Draws, shuffled_within
from neuromvm.analysis.sequence.trials import Codes, Mask, SequenceTrials
from neuromvm.schema import is_scored


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
    """Return cross-validated squared distances ``(draw, odor, odor)`` [squared units of a feature], which can be negative.

    They are NaN where an odor has no two trials of different runs. ``products`` are those of trials with themselves, ``odor
    (trial,)`` is 0 .. odors - 1, and ``weights (draw, trial)`` say how often a trial counts, by default once.
    """
    weights = np.ones((1, len(odor))) if weights is None else weights
    members = weights[:, None, :] * (odor == np.arange(odors)[:, None])  # (draw, odor, trial)
    sums, pairs = (members @ matrix @ members.transpose(0, 2, 1) for matrix in products)
    mean = np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0)
    within = np.diagonal(mean, axis1=1, axis2=2)
    return np.asarray(within[:, :, None] + within[:, None, :] - 2 * mean)


def by_lag(distance: Floats) -> Floats:
    """Return the mean distance at lags 1, 2, ..., ``(..., lag)``, from ``(..., odor, odor)``."""
    odors = np.arange(distance.shape[-1])
    lags = np.abs(np.subtract.outer(odors, odors))
    return np.stack([distance[..., lags == lag].mean(axis=-1) for lag in odors[1:]], axis=-1)


def lag_slope(distance: Floats) -> Floats:
    """Return the least-squares slope of distance on lag over all pairs of odors, ``(...)``, from ``(..., odor, odor)``."""
    upper = np.triu_indices(distance.shape[-1], 1)
    lag = (upper[1] - upper[0]).astype(np.float64)
    centred = lag - lag.mean()
    return np.asarray(distance[..., upper[0], upper[1]] @ centred / (centred @ centred))


def nearness(products: Products, odor: Codes, odors: int, weights: Floats | None = None) -> Floats:
    """Return the mean product of out-of-sequence trials (rows) with the in-sequence trials (columns) of each odor.

    It is ``(draw, trial, odor)``. ``odor (column,)``; ``weights (draw, column)`` say how often columns count, by default once.
    """
    weights = np.ones((1, len(odor))) if weights is None else weights
    members = (weights[:, None, :] * (odor == np.arange(odors)[:, None])).transpose(0, 2, 1)
    sums, pairs = (matrix @ members for matrix in products)
    return np.asarray(np.divide(sums, pairs, out=np.zeros_like(sums), where=pairs > 0))


def parted_slopes(near: Floats, odor: Codes, position: Codes, weights: Floats | None = None) -> Floats:
    """Return slopes of distance on odor lag and position lag ``(2,)``, fitted jointly out of sequence; NaN if collinear.

    The distance is that of a trial to the in-sequence mean of an odor. Up to a term for the trial and a term for the odor, it is
    minus twice their product ``near (trial, odor)``; both terms are removed from distance and lags before the regression. Lag 0
    has predictors that absorb that a trial is nearest to its own odor or the one due at its position, so that slopes are over
    lags 1, 2, ..., as in sequence. Odors at equal distances have slope 0. ``weights (trial,)`` say how often a trial counts.
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


ATTEMPTS = 20  # draws of out-of-sequence trials until their odor lags and position lags differ


class ScoredTrials(NamedTuple):
    """Test trials of one animal; a trial has a row for each replica that tests it."""

    values: Floats  # (row, feature)
    trial: Codes  # (row,) number among the animal's trials
    replica: Codes  # (row,)

    @classmethod
    def of(cls, inputs: Inputs, trials: Mask) -> "ScoredTrials":
        """Return the scored trials of a selection ``(trial,)``."""
        replica, trial = np.nonzero(is_scored(inputs.parts) & trials)
        values = np.broadcast_to(inputs.values, (len(inputs.parts), *inputs.values.shape[-2:]))
        return cls(values[replica, trial], trial, replica)

    def times(self, columns: "ScoredTrials", run: Codes) -> Products:
        """Return products of trials of the same replica and of different runs; ``run (trial,)``."""
        counted = (self.replica[:, None] == columns.replica) & (run[self.trial][:, None] != run[columns.trial])
        return Products.of(self.values, columns.values, counted)


def runs_drawn(run: Codes, used: Mask, draws: int, random: np.random.Generator) -> Floats:
    """Draw n - 1 of the n runs with replacement; return how often each trial counts, ``(draw, trial)``."""
    runs = np.unique(run[used])
    times = random.multinomial(max(1, len(runs) - 1), np.full(len(runs), 1 / len(runs)), size=draws)
    weight = np.zeros((draws, len(run)))
    weight[:, used] = times[:, np.searchsorted(runs, run[used])]
    return weight


def relabelled_distances(
    products: Products, rows: ScoredTrials, odor: Codes, name: str, dataset: xr.Dataset, odors: int, permutations: int
) -> Floats:
    """Return distances ``(permutation, odor, odor)``, odors being permuted among trials; all rows of a trial have one odor."""
    used = np.unique(rows.trial)
    permuted = []
    for order in list(trial_orders(name, dataset.isel(trial=used), permutations))[1:]:
        relabelled = odor.copy()
        relabelled[used] = odor[used][order]
        permuted.append(distances(products, relabelled[rows.trial], odors)[0])
    return np.stack(permuted)


def parted_draws(
    reference: ScoredTrials,
    out: ScoredTrials,
    trials: SequenceTrials,
    weight: Floats,
    odors: int,
    permutations: int,
    random: np.random.Generator,
) -> Draws:
    """Return the slopes of out-of-sequence trials on odor lag and position lag, with draws.

    ``weight (draw, trial)`` says how often in-sequence trials (``reference``) count; out-of-sequence trials are resampled too. In
    null draws, odors are exchanged within position (odor lag) and positions within odor (position lag).
    """
    products = out.times(reference, trials.run)
    codes = trials.odor[reference.trial]
    near = nearness(products, codes, odors)[0]

    def slopes(odor: Codes, position: Codes, near: Floats = near, counts: Floats | None = None) -> Floats:
        return parted_slopes(near, odor[out.trial], position[out.trial], counts)

    members = np.unique(out.trial)
    resampled = []
    for near_drawn in nearness(products, codes, odors, weight[:, reference.trial]):
        for _ in range(ATTEMPTS):
            times = np.bincount(random.choice(members, len(members) - 1), minlength=len(trials.odor)).astype(np.float64)
            drawn = slopes(trials.odor, trials.position, near_drawn, times[out.trial])
            if np.isfinite(drawn).all():
                break
        resampled.append(drawn)
    null = np.empty((permutations, 2))
    for draw in range(permutations):
        for index in range(2):
            labels = [trials.odor.copy(), trials.position.copy()]
            held = labels[1 - index][members]
            labels[index][members] = labels[index][members][shuffled_within(held, random)]
            null[draw, index] = slopes(labels[0], labels[1])[index]
    return Draws(slopes(trials.odor, trials.position), np.array(resampled), null)
