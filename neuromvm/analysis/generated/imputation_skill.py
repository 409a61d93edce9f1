"""Is imputed activity nearer to an animal's trials than the mean response of their condition?"""

import zlib

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import xlogy

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.activity import EVENTS, flattened, recorded
from neuromvm.analysis.generated.rates import codes_of, condition_means, shrunken_means
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows

LOWEST_RATE = 1e-3  # [counts a bin] lower bound of expected counts


def carriers(samples: xr.DataTree, imputed: xr.Dataset) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int16]]:
    """Assign each tuple to the trial of its first animal, so that windows of a trial stay together.

    ``imputed`` is of :func:`neuromvm.inference.imputation.impute`. Returns the trial and the window that a tuple counts as
    ``(replica, tuple)``, -1 for none, and the labels of the trials of all animals ``(trial, window)``.
    """
    trial, window = (imputed[key].transpose("replica", "tuple", "animal").to_numpy() for key in ("trial", "window"))
    animal = (trial >= 0).argmax(axis=-1)  # (replica, tuple)
    trial, window = (np.take_along_axis(values, animal[..., None], axis=-1)[..., 0] for values in (trial, window))
    labels, number, offset = [], np.full(trial.shape, -1, dtype=np.intp), 0
    for index, name in enumerate(imputed["animal"].to_numpy().astype(str)):
        node = samples[name]
        names = node["trial"].to_numpy() if "trial" in node.coords else np.arange(node.sizes["trial"])
        of_animal = (animal == index) & (trial >= 0)
        order = np.argsort(names)
        number[of_animal] = offset + order[np.searchsorted(names, trial[of_animal], sorter=order)]
        labels.append(node["label"].to_numpy())
        offset += len(names)
    return number, np.where(number >= 0, window, -1), np.concatenate(labels)


def skill(
    samples: xr.DataTree, splits: xr.DataTree, imputed: xr.Dataset, target: str, kind: str, resampling: Resampling
) -> tuple[float, Floats]:
    """Compare imputed activity with the condition mean of the target's training side, on its test trials.

    Returns 1 - E / B, and its bootstrap draws over the target's test trials ``(draw,)``. E is the error of the imputed activity,
    summed over trials and splits, B that of the mean of the label (:func:`neuromvm.analysis.generated.rates.shrunken_means`): for
    counts the Poisson deviance, else the squared error in variances of each feature on the training side. The error of a trial is
    the mean over all tuples matched with it. Unless trials are shared events, it can at best be that of the condition mean.
    """
    activity = recorded(samples, target, kind)
    labels, match = samples[target]["label"].to_numpy(), samples[target]["match"].to_numpy()
    errors = np.zeros((2, len(labels)))  # of imputed activity, of condition means
    for replica, split in enumerate(imputed["split"].to_numpy()):
        tested, training = held_out(splits, int(split), target), training_side(splits, int(split), target)
        mean, codes = flattened(imputed["mean"].isel(replica=replica)), imputed["match"].to_numpy()[replica]
        variance = activity[training].reshape(-1, activity.shape[-1]).var(axis=0)
        variance = np.where(variance > 1e-9, variance, np.inf)
        labels_of_sides = labels[training], labels[tested]
        means = _label_means(activity[training], *labels_of_sides, samples[target].sizes["unit"], variance, kind)
        for row, trial in enumerate(np.flatnonzero(tested)):
            for window, code in enumerate(match[trial]):
                matched = mean[codes == code]
                if code >= 0 and len(matched):
                    for error, expected in zip(errors, (matched, means[row, window][None]), strict=True):
                        error[trial] += _errors(activity[trial, window], expected, variance, kind).mean()
    random = np.random.default_rng([resampling.seed, zlib.crc32(target.encode())])
    weight = over_trials.bootstrap(LabelRows.of(labels), resampling.bootstraps, random).sum(axis=-1)
    error, base = weight @ errors[0], weight @ errors[1]
    draws = np.where(base > 0, 1 - error / np.where(base > 0, base, 1), np.nan)
    total, base_total = errors.sum(axis=1)
    return (float(1 - total / base_total) if base_total > 0 else np.nan), draws


def _label_means(
    training: Floats, labels: NDArray[np.int16], test_labels: NDArray[np.int16], units: int, variance: Floats, kind: str
) -> Floats:
    """Return the mean response to the labels of each test trial ``(trial, window, feature)``."""
    conditions = codes_of(labels, test_labels)
    if kind in EVENTS:
        return condition_means(training, *conditions, units)
    return shrunken_means(
        training, *conditions, training.mean(axis=0), lambda means: float((np.square(training - means) / variance).sum())
    )


def _errors(values: Floats, expected: Floats, variance: Floats, kind: str) -> Floats:
    """Return the errors of expected activity ``(row, feature)``, summed over features ``(row,)``."""
    if kind not in EVENTS:
        return np.asarray((np.square(values - expected) / variance).sum(axis=1))
    expected = np.maximum(expected, LOWEST_RATE)
    return np.asarray(2 * (xlogy(values, values) - xlogy(values, expected) - values + expected).sum(axis=1))
