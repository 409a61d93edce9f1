"""Is imputed activity nearer to an animal's trials than the mean response of their condition?"""

import zlib
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import xlogy

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.activity import EVENTS, flattened, recorded
from neuromvm.analysis.generated.rates import condition_means, shrunken_means
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows

LOWEST_RATE = 1e-3  # [counts a bin] below which an expected count is not taken at its word


class Carriers(NamedTuple):
    """The trial whose place a tuple takes: ``trial, window (replica, tuple)``, -1 for none; its labels ``(trial, window)``."""

    trial: NDArray[np.intp]
    window: NDArray[np.intp]
    labels: NDArray[np.int16]


def carriers(samples: xr.DataTree, imputed: xr.Dataset) -> Carriers:
    """Count each tuple as the trial of the first animal that is in it: so windows of a trial stay together.

    Parameters
    ----------
    samples
        All animals.
    imputed
        Of :func:`neuromvm.inference.imputation.impute`.
    """
    trial, window = (imputed[key].transpose("replica", "tuple", "animal").to_numpy() for key in ("trial", "window"))
    first = (trial >= 0).argmax(axis=-1)
    chosen = np.take_along_axis(trial, first[..., None], axis=-1)[..., 0]
    place = np.take_along_axis(window, first[..., None], axis=-1)[..., 0]
    labels, number, offset = [], np.full(chosen.shape, -1, dtype=np.intp), 0
    for column, name in enumerate(imputed["animal"].to_numpy().astype(str)):
        node = samples[name]
        names = node["trial"].to_numpy() if "trial" in node.coords else np.arange(node.sizes["trial"])
        own = (first == column) & (chosen >= 0)
        order = np.argsort(names)
        number[own] = offset + order[np.searchsorted(names, chosen[own], sorter=order)]
        labels.append(node["label"].to_numpy())
        offset += len(names)
    return Carriers(number, np.where(number >= 0, place, -1), np.concatenate(labels))


def skill(
    samples: xr.DataTree, splits: xr.DataTree, imputed: xr.Dataset, target: str, kind: str, resampling: Resampling
) -> tuple[float, Floats]:
    """Compare imputed activity with the condition mean of the target's training side, on its test trials.

    Parameters
    ----------
    samples, splits
        All animals.
    imputed
        Of the target, with ``mean (replica, tuple, bin, unit)``.
    target, kind
        The animal, and the kind of its generated activity.
    resampling
        Number of bootstrap draws, and their seed.

    Returns
    -------
    1 - E / B and its bootstrap draws over the target's test trials. E is the error of the imputed activity, summed over trials
    and splits, B that of the label's mean (:func:`neuromvm.analysis.generated.rates.shrunken_means`): for counts the Poisson
    deviance, else the squared error in variances of each feature on the training side. A trial has the mean error over all
    tuples matched with it: where trials are shared events that is its own, else it can at best be that of the condition mean.
    """
    node, real = samples[target], recorded(samples, target, kind)
    labels, match = node["label"].to_numpy(), node["match"].to_numpy()
    units, sums = node.sizes["unit"], np.zeros((2, len(labels)))
    for replica, split in enumerate(imputed["split"].to_numpy()):
        tested, training = held_out(splits, int(split), target), training_side(splits, int(split), target)
        mean = flattened(imputed["mean"].isel(replica=replica))
        codes = imputed["match"].to_numpy()[replica]
        variance = real[training].reshape(-1, real.shape[-1]).var(axis=0)
        variance = np.where(variance > 1e-9, variance, np.inf)
        means = _label_means(real[training], labels[training], labels[tested], units, variance, kind)
        for place, trial in enumerate(np.flatnonzero(tested)):
            for window, code in enumerate(match[trial]):
                matched = mean[codes == code]
                if code >= 0 and len(matched):
                    values = real[trial, window]
                    sums[0, trial] += _errors(values, matched, variance, kind).mean()
                    sums[1, trial] += _errors(values, means[place, window][None], variance, kind).mean()
    rows = LabelRows.of(labels)
    random = np.random.default_rng([resampling.seed, zlib.crc32(target.encode())])
    weight = over_trials.bootstrap(rows, resampling.bootstraps, random).sum(axis=-1)
    error, base = weight @ sums[0], weight @ sums[1]
    whole = sums.sum(axis=1)
    draws = np.where(base > 0, 1 - error / np.where(base > 0, base, 1), np.nan)
    return (float(1 - whole[0] / whole[1]) if whole[1] > 0 else np.nan), draws


def _label_means(
    training: Floats, known: NDArray[np.int16], wanted: NDArray[np.int16], units: int, variance: Floats, kind: str
) -> Floats:
    """Return the mean response of each wanted trial's labels ``(trial, window, feature)``."""
    rows = np.unique(np.concatenate([known, wanted]), axis=0, return_inverse=True)[1].reshape(-1)
    first, second = rows[: len(known)], rows[len(known) :]
    if kind in EVENTS:
        return condition_means(training, first, second, units)
    squared = partial(_squared_error, training, variance)
    return shrunken_means(training, first, second, training.mean(axis=0), squared)


def _squared_error(values: Floats, variance: Floats, expected: Floats) -> float:
    return float((np.square(values - expected) / variance).sum())


def _errors(values: Floats, expected: Floats, variance: Floats, kind: str) -> Floats:
    """Return the errors of expected activity ``(row, feature)``, summed over features ``(row,)``."""
    if kind not in EVENTS:
        return np.asarray((np.square(values - expected) / variance).sum(axis=1))
    expected = np.maximum(expected, LOWEST_RATE)
    return np.asarray(2 * (xlogy(values, values) - xlogy(values, expected) - values + expected).sum(axis=1))
