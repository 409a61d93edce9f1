"""Model of trials of an animal: condition means plus correlated noise, fitted to training-side samples.

With few trials per condition, an encoder overfits the recorded trials. An encoder trained on simulated trials

    x ~ N(m_k, C),   m_k shrunk condition means,   C shrunk covariance within conditions,

approximates the posterior of this model instead (amortised inference). Both shrinkages are empirical Bayes: the condition means
of a unit that differ no more than expected by chance are shrunk to its overall mean.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.features import SMALLEST_NOISE, Floats

POOLED = 0.5  # share of a unit's prior variance that is estimated from all units: estimates from single units are noisy
SIGNAL_OF_SINGLE_TRIALS = 0.5  # share of the variance assumed to be signal if no condition has more than one trial
SMALLEST_SIGNAL = 1e-3  # [scaled feature]^2 least variance between conditions; pure noise is then shrunk to a point


class TrialModel(NamedTuple):
    """Distribution of the trials of one animal.

    ``mean (condition, feature)``, indexed by match code; ``deviations (sample, feature)``: standard-normal numbers ``(sample,)``
    times these have the sample part of the covariance; ``white``: standard deviation of the white part.
    """

    mean: Floats
    deviations: Floats
    white: float

    @classmethod
    def fit(
        cls, training: Floats, codes: NDArray[np.integer], units: int, conditions: int, covariance_shrinkage: float
    ) -> "TrialModel":
        """Fit to scaled training samples ``(sample, feature)``, bin-major, with match codes ``(sample,)``, negative ones ignored.

        Of ``conditions`` codes, those without samples get the overall mean; ``covariance_shrinkage`` is the share that is white.
        """
        matched = codes >= 0
        training, codes = training[matched].astype(np.float64), codes[matched]
        counts = np.bincount(codes, minlength=conditions)
        sums = np.zeros((conditions, training.shape[1]))
        np.add.at(sums, codes, training)
        present = counts > 0
        overall = training.mean(axis=0)
        mean = np.where(present[:, None], sums / np.maximum(counts, 1)[:, None], overall)
        free = len(training) - int(present.sum())
        deviations = training - mean[codes]
        if free < 1:  # single trials: variance within and between conditions cannot be separated
            deviations, free = np.sqrt(1 - SIGNAL_OF_SINGLE_TRIALS) * (training - overall), max(len(training) - 1, 1)
        within = np.square(deviations).sum(axis=0) / free
        mean = overall + _shrinkage(mean[present], within, counts[present], units) * (mean - overall)
        white = max(np.sqrt(covariance_shrinkage * within.mean()), SMALLEST_NOISE)
        scale = np.sqrt((1 - covariance_shrinkage) / free)
        return cls(mean.astype(np.float32), (scale * deviations).astype(np.float32), float(white))


def _shrinkage(means: Floats, within: Floats, counts: NDArray[np.integer], units: int) -> Floats:
    """Return the shrinkage factor of each feature, signal / (signal + error), with the signal pooled over the bins of a unit."""
    if len(means) < 2:
        return np.ones(means.shape[1], dtype=means.dtype)
    trials = len(counts) / (1 / counts).sum()
    between = means.var(axis=0, ddof=1) - within / trials
    bins = means.shape[1] // units
    common = max(between.mean(), SMALLEST_SIGNAL)
    signal = (1 - POOLED) * np.maximum(between.reshape(bins, units).mean(axis=0), 0) + POOLED * common
    factor: Floats = signal / (signal + within.mean() / trials)
    return np.tile(factor, bins)
