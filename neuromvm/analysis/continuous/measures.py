"""Errors and explained variance of predicted labels, with trials as the unit of resampling."""

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.continuous.labels import Scale
from neuromvm.analysis.statistics.over_trials import Floats

MEASURES = ("mean error", "median error", "R2")
ERRORS = MEASURES[:2]  # in the label's unit, better if smaller
LARGEST_PIECE = 5_000_000  # numbers in an array of resampled errors


def measures_of(predicted: Floats, true: Floats, scale: Scale, weight: Floats) -> Floats:
    """Return ``MEASURES`` of predictions, ``(draw, measure)``; NaN where nothing is predicted.

    ``predicted (replica, trial, window)``, NaN where not tested, ``true (trial, window)`` and ``weight (draw, trial)``, how often
    a trial counts. All replicas are pooled. Errors are absolute. R2 is 1 - SSE / SST, with SST around the mean of the tested
    labels; on a circle both are sums of 1 - cos of the difference, SST from the circular mean (Mardia & Jupp 2000, ch. 2), so
    that R2 is one minus a ratio of circular variances.
    """
    true = np.broadcast_to(true, predicted.shape)
    tested = np.isfinite(predicted) & np.isfinite(true)
    if not tested.any():
        return np.full((len(weight), len(MEASURES)), np.nan)
    predicted, true = np.where(tested, predicted, 0), np.where(tested, true, 0)
    error = scale.distance(predicted, true)

    def summed(values: Floats) -> Floats:
        return np.asarray(weight @ np.where(tested, values, 0).sum(axis=(0, 2)))

    count = np.maximum(summed(np.ones_like(error)), 1e-300)
    if scale.period is None:
        center = true[tested].mean()  # for rounding errors only
        squared = summed(np.square(error))
        total = summed(np.square(true - center)) - summed(true - center) ** 2 / count
    else:
        squared = summed(1 - np.cos(2 * np.pi * error / scale.period))
        cosine, sine = (summed(part) for part in np.moveaxis(scale.coordinates(true), -1, 0))
        total = count - np.hypot(cosine, sine)
    explained = 1 - squared / np.where(total > 1e-12 * count, total, np.nan)
    trial = np.nonzero(tested)[1]
    return np.stack([summed(error) / count, _weighted_median(error[tested], trial, weight), explained], axis=1)


def _weighted_median(errors: Floats, trial: NDArray[np.integer], weight: Floats) -> Floats:
    """Return the median of ``errors (sample,)`` for weights of trials, ``(draw,)``; the middle of two middle ones."""
    order = np.argsort(errors)
    errors, trial = errors[order], trial[order]
    piece = max(1, LARGEST_PIECE // len(errors))
    medians = []
    for begin in range(0, len(weight), piece):
        cumulated = np.cumsum(weight[begin : begin + piece, trial], axis=1, dtype=np.float64)
        half = cumulated[:, -1:] / 2
        tolerance = 1e-6 * half
        below = (cumulated >= half - tolerance).argmax(axis=1)
        above = (cumulated > half + tolerance).argmax(axis=1)
        medians.append((errors[below] + errors[above]) / 2)
    return np.concatenate(medians)
