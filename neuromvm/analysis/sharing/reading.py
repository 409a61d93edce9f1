"""Read the target's trials in its own units, given the covariance of condition means, or condition means that were predicted."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sharing.problem import Codes, Labelled, Problem, spread_out

SHRINKAGE = 0.9  # share of the identity in the covariance within conditions
MEAN_VARIANCE = 10.0  # prior variance of the mean over conditions, in units of the signal variance
TEMPERATURES = np.geomspace(4, 1, 12)  # of responsibilities, a round each
BALANCE_ROUNDS = 10
SMALLEST_LOAD = 1e-9  # trials, so that a condition without any gets a finite weight
SMALLEST_SIGNAL = 1e-3  # variance of condition means in units of the noise of a trial, where none is found

Predict = Callable[[Floats, Floats], Floats]  # means (class, dimension) and trials (class,) -> predicted means of all classes


class Whitening(NamedTuple):
    """A linear map to coordinates in which the noise of the target's trials is about white."""

    center: Floats  # (feature,) mean of the target's condition means
    factor: Floats  # (feature, feature) lower Cholesky factor of the shrunk covariance within conditions

    @classmethod
    def fit(cls, seen: Labelled, shrinkage: float = SHRINKAGE) -> "Whitening":
        """Fit labelled trials; the covariance is shrunk towards a multiple of the identity."""
        covariance = seen.residuals.T @ seen.residuals / seen.freedom
        variance = float(np.trace(covariance)) / len(covariance)
        covariance *= 1 - shrinkage
        covariance[np.diag_indices_from(covariance)] += shrinkage * variance if variance > 0 else 1.0
        return cls(seen.means.mean(axis=0), cholesky(covariance, lower=True))

    def __call__(self, values: Floats) -> Floats:
        """Whiten ``(sample, feature)``."""
        return np.asarray(solve_triangular(self.factor, (values - self.center).T, lower=True).T)


class Space(NamedTuple):
    """The target in whitened coordinates."""

    means: Floats  # (class, dimension) of labelled trials; 0 without any
    trials: Floats  # (class,) labelled
    test: Floats  # (trial, dimension)
    held_out: Codes


def whitening(problem: Problem) -> Whitening:
    """Return the whitening of the target's labelled trials."""
    return problem.seen.recall("whitening", lambda: Whitening.fit(problem.seen))


def space_of(problem: Problem) -> Space:
    """Whiten the target's condition means and test trials."""
    seen, whiten = problem.seen, whitening(problem)
    means = seen.recall("whitened means", lambda: whiten(seen.means))
    _, test = seen.recall(("whitened test", id(problem.test)), lambda: (problem.test, whiten(problem.test)))
    trials = np.nan_to_num(spread_out(seen.counts, seen.classes, problem.classes))
    return Space(np.nan_to_num(spread_out(means, seen.classes, problem.classes)), trials, test, problem.held_out)


def prior(kernel: Floats, share: float) -> Floats:
    """Return the prior covariance of condition means, for a signal variance of 1: the kernel's share and independent means.

    Conditions that the kernel does not know are independent of all others.
    """
    size = len(kernel)
    known = np.isfinite(np.diagonal(kernel))
    independent = (np.eye(size) - 1 / size) * size / (size - 1)
    covariance = np.where(known[:, None] & known, share * np.nan_to_num(kernel) + (1 - share) * independent, independent)
    return np.asarray(covariance + MEAN_VARIANCE)


def signal_variance(covariance: Floats, means: Floats, trials: Floats) -> float:
    """Estimate the variance of true condition means in a prior ``covariance (class, class)``, from means of labelled trials.

    The variance of observed means, less that of the noise (1 for a trial), in units of what the prior expects for these
    conditions. A small positive number if that is not positive.
    """
    labelled = np.flatnonzero(trials)
    if len(labelled) < 2:
        return 1.0
    centre = np.eye(len(labelled)) - 1 / len(labelled)
    excess = np.square(centre @ means[labelled]).sum() / means.shape[1] - np.trace(centre / trials[labelled])
    expected = np.trace(centre @ covariance[np.ix_(labelled, labelled)])
    return float(max(excess / expected, SMALLEST_SIGNAL)) if expected > 0 else SMALLEST_SIGNAL


def krige(covariance: Floats, means: Floats, trials: Floats) -> Floats:
    """Return the expected true means of all conditions, given means of some trials of some conditions.

    Each dimension of the true means is Gaussian with mean 0 and ``covariance (class, class)``; a trial adds noise of variance 1.

    Parameters
    ----------
    covariance
        Prior, ``(class, class)``.
    means
        Of the trials of each condition, ``(class, dimension)``; ignored without trials.
    trials
        Their number, ``(class,)``; 0 for none, and not necessarily whole.
    """
    observed = np.flatnonzero(trials > 0)
    noisy = covariance[observed[:, None], observed]
    noisy[np.diag_indices_from(noisy)] += 1 / trials[observed]
    return np.asarray(np.linalg.solve(noisy, covariance[observed]).T @ means[observed])


def discriminate(trials: Floats, means: Floats) -> Floats:
    """Return log likelihoods ``(trial, class)`` for white noise about ``means``, up to a constant of the trial."""
    return np.asarray(trials @ means.T - 0.5 * np.square(means).sum(axis=1))


def read_kernel(problem: Problem, kernel: Floats, share: float, *, gain: float = 1.0, unlabelled: bool = False) -> Floats:
    """Predict condition means of the target by kriging with a kernel, and read its trials.

    Parameters
    ----------
    problem
        Of which only the target's trials are used.
    kernel
        ``(class, class)`` of :mod:`neuromvm.analysis.sharing.kernels`; NaN for unknown classes.
    share
        Of the kernel in the prior covariance, 0 to 1; the rest is independent means.
    gain
        Factor of the signal variance that is estimated.
    unlabelled
        Whether the test trials improve the predicted means, see :func:`with_unlabelled`.

    Returns
    -------
    Scores ``(trial, class)``; -inf for a class that the kernel does not know and the target has no labelled trial of.
    """
    space, covariance = space_of(problem), prior(kernel, share)
    covariance = covariance * gain * signal_variance(covariance, space.means, space.trials)

    def predict(means: Floats, trials: Floats) -> Floats:
        return krige(covariance, means, trials)

    readable = np.isfinite(np.diagonal(kernel)) | (space.trials > 0)
    return scores_of(space, predict, readable, unlabelled=unlabelled)


def scores_of(space: Space, predict: Predict, readable: NDArray[np.bool_], *, unlabelled: bool) -> Floats:
    """Read the test trials with predicted means, ``(trial, class)``; -inf for classes that are not ``readable (class,)``."""
    means = predict(space.means, space.trials)
    if unlabelled:
        means = with_unlabelled(space, predict, means, readable)
    return np.where(readable, discriminate(space.test, means), -np.inf)


def with_unlabelled(space: Space, predict: Predict, means: Floats, readable: NDArray[np.bool_]) -> Floats:
    """Improve predicted means with the unlabelled trials, by expectation and maximisation.

    A trial belongs to each readable held-out condition with a responsibility, at a temperature that falls from 4 to 1, balanced
    so that conditions have equally many trials. Responsibilities are added to the labelled trials as fractions of trials, and
    means are predicted anew, 12 times.
    """
    candidates = space.held_out[readable[space.held_out]]
    if len(candidates) < 2 or not len(space.test):
        return means
    labelled = space.means * space.trials[:, None]
    for temperature in TEMPERATURES:
        share = balanced(discriminate(space.test, means[candidates]) / temperature)
        trials, sums = space.trials.copy(), labelled.copy()
        trials[candidates] += share.sum(axis=0)
        sums[candidates] += share.T @ space.test
        means = predict(sums / np.where(trials > 0, trials, 1)[:, None], trials)
    return means


def balanced(scores: Floats) -> Floats:
    """Return responsibilities ``(trial, class)`` that sum to 1 over classes, and to about the same number for each class."""
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    weight = np.ones(scores.shape[1])
    for _ in range(BALANCE_ROUNDS):
        load = (1 / (share @ weight)) @ share
        weight = len(scores) / np.maximum(load * len(weight), SMALLEST_LOAD)
    weighted = share * weight
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def read_predicted(problem: Problem, means: Floats, *, error: float = 0.1, unlabelled: bool = False) -> Floats:
    """Read the target's trials, given condition means that were predicted in its own units.

    Predictions are shifted by the mean difference between observed and predicted means of the labelled conditions. Labelled
    conditions are read with their observed means.

    Parameters
    ----------
    problem
        Of which only the target's trials are used.
    means
        Predicted, ``(class, feature)``, scaled as the target's trials; NaN for conditions without a prediction.
    error
        Variance of true condition means about their predictions, in units of the signal variance of labelled conditions. It
        weighs a prediction against trials of the condition, few with a label or unlabelled ones.
    unlabelled
        Whether the test trials improve the predicted means, see :func:`with_unlabelled`.

    Returns
    -------
    Scores ``(trial, class)``; -inf for a class with neither a prediction nor a labelled trial.
    """
    space, seen = space_of(problem), problem.seen
    predicted = np.asarray(np.isfinite(means).all(axis=1))
    shown = predicted[seen.classes]
    if shown.any():
        means = means + (seen.means[shown] - means[seen.classes[shown]]).mean(axis=0)
    expected = np.zeros_like(space.means)
    expected[predicted] = whitening(problem)(means[predicted])
    uncertain = np.isin(np.arange(problem.classes), problem.held_out) | (space.trials == 0)
    signal = signal_variance(np.eye(problem.classes), space.means, space.trials)
    weight = np.where(predicted & uncertain, 1 / (error * signal), 0.0)

    def predict(observed: Floats, trials: Floats) -> Floats:
        total = weight + trials
        summed = weight[:, None] * expected + trials[:, None] * observed
        return np.asarray(summed / np.where(total > 0, total, 1)[:, None])

    return scores_of(space, predict, predicted | (space.trials > 0), unlabelled=unlabelled)
