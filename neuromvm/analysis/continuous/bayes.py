"""Bayesian decoders of a continuous label: smoothed tuning curves, a likelihood, and a posterior over a grid of labels.

A state is a place on the grid, together with a condition that tuning depends on (the direction of running) if there is one. The
posterior is that of a single window (Zhang et al. 1998), or of all windows of a trial together, in a hidden Markov model whose
label moves by Gaussian steps and whose condition stays (forward-backward algorithm; Rabiner 1989).

References
----------
Zhang, Ginzburg, McNaughton & Sejnowski (1998). Interpreting neuronal population activity by reconstruction. *J. Neurophysiol.*
79, 1017-1044.
Rabiner (1989). A tutorial on hidden Markov models. *Proc. IEEE* 77, 257-286.
Wei, Zhou, Grosmark, Ajabi, Sparks, Zhou, Brandon, Losonczy & Paninski (2020). A zero-inflated gamma model for deconvolved calcium
imaging traces. *Neurons Behav. Data Anal. Theory* 3.
"""

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from neuromvm.analysis.continuous.labels import Scale
from neuromvm.analysis.statistics.over_trials import Floats

Likelihood = Literal["poisson", "gaussian", "hurdle_gamma"]
PRIOR_SAMPLES = 1.0  # samples that the mean over all labels counts for in a tuning curve
UNIFORM_SHARE = 0.1  # of the prior over states, so that a place without training samples is not excluded
SMALLEST = 1e-4  # of probabilities and of mean activity, so that their logarithms exist
SHAPES = (0.2, 50.0)  # smallest and largest shape of a gamma distribution


class Grid(NamedTuple):
    """Places of a label, and the standard deviation of the Gaussian that smooths tuning curves over them."""

    centres: Floats  # (place,)
    width: float
    scale: Scale

    @classmethod
    def over(cls, known: Floats, bins: int, width: float | None, scale: Scale) -> "Grid":
        """Return a grid over the known values of a label: these values if they are at most ``bins``, else equal steps.

        ``width`` is by default a twentieth of the range.
        """
        values = np.unique(known)
        low, high = float(values[0]), float(values[-1])
        extent = high - low if scale.period is None else scale.period
        if len(values) > bins:
            values = np.linspace(low, high, bins) if scale.period is None else np.arange(bins) * scale.period / bins
        return cls(values, extent / 20 if width is None else width, scale)

    def weights(self, labels: Floats) -> Floats:
        """Return how much samples with these labels count at each place, ``(place, sample)``: 1 at the place itself."""
        distance = self.scale.distance(self.centres[:, None], labels[None])
        return np.asarray(np.exp(-0.5 * np.square(distance / self.width)))

    def nearest(self, labels: Floats) -> NDArray[np.intp]:
        """Return the nearest place of each label."""
        return np.asarray(self.scale.distance(self.centres[:, None], labels[None]).argmin(axis=0))

    def steps(self, deviation: float) -> Floats:
        """Return the probability of each place after each other, ``(before, after)``, for Gaussian steps of that deviation."""
        distance = self.scale.distance(self.centres[:, None], self.centres[None])
        spacing = float(np.min(distance[distance > 0], initial=np.inf))
        chances = np.exp(-0.5 * np.square(distance / max(deviation, spacing / 2)))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))


class Tuning(Protocol):
    """What activity is expected in every state."""

    def log_likelihood(self, features: Floats) -> Floats:
        """Return ``(sample, state)`` of features ``(sample, feature)``, up to a number for each sample."""


class PoissonTuning(NamedTuple):
    """Independent Poisson counts."""

    rates: Floats  # (state, feature) [counts]

    @classmethod
    def fit(cls, features: Floats, weights: Floats) -> "PoissonTuning":
        """Fit to counts ``(sample, feature)`` with weights ``(state, sample)``."""
        return cls(np.maximum(_smoothed(features, weights), SMALLEST))

    def log_likelihood(self, features: Floats) -> Floats:
        """Return ``(sample, state)``."""
        return np.asarray(features @ np.log(self.rates).T - self.rates.sum(axis=1))


class GaussianTuning(NamedTuple):
    """Normal activity around the tuning curve, with one covariance, shrunk (Ledoit & Wolf 2004)."""

    means: Floats  # (state, feature)
    precision: Floats  # (feature, feature)

    @classmethod
    def fit(cls, features: Floats, weights: Floats, state: NDArray[np.integer]) -> "GaussianTuning":
        """Fit to features ``(sample, feature)`` that belong to ``state (sample,)``, with weights ``(state, sample)``."""
        means = _smoothed(features, weights)
        covariance, _ = ledoit_wolf(features - means[state], assume_centered=True)
        floor = max(1e-6 * float(np.trace(covariance)) / len(covariance), 1e-12)
        return cls(means, np.linalg.inv(covariance + floor * np.eye(len(covariance))))

    def log_likelihood(self, features: Floats) -> Floats:
        """Return ``(sample, state)``."""
        weighted = self.means @ self.precision
        return np.asarray(features @ weighted.T - 0.5 * (weighted * self.means).sum(axis=1))


class HurdleGammaTuning(NamedTuple):
    """Activity that is 0 or positive, as calcium events: its probability and its mean are tuned, its shape is not."""

    probability: Floats  # (state, feature) of activity above 0
    means: Floats  # (state, feature) of activity above 0
    shape: Floats  # (feature,)

    @classmethod
    def fit(cls, features: Floats, weights: Floats, state: NDArray[np.integer]) -> "HurdleGammaTuning":
        """Fit to features ``(sample, feature)`` that belong to ``state (sample,)``, with weights ``(state, sample)``."""
        active = (features > 0).astype(np.float64)
        probability = np.clip(_smoothed(active, weights), SMALLEST, 1 - SMALLEST)
        overall = np.where(active.any(axis=0), features.sum(axis=0) / np.maximum(active.sum(axis=0), 1), 1.0)
        share = active.mean(axis=0)
        counted = weights @ active + PRIOR_SAMPLES * share
        summed = weights @ features + PRIOR_SAMPLES * share * overall
        means = np.where(counted > 1e-9, summed / np.maximum(counted, 1e-9), overall)
        means = np.maximum(means, 1e-3 * overall)
        ratio = np.where(active > 0, features / means[state] - 1, 0)
        spread = np.square(ratio).sum(axis=0) / np.maximum(active.sum(axis=0), 1)  # squared coefficient of variation
        return cls(probability, means, np.clip(1 / np.maximum(spread, 1e-9), *SHAPES))

    def log_likelihood(self, features: Floats) -> Floats:
        """Return ``(sample, state)``."""
        active, silent = (features > 0).astype(np.float64), np.log1p(-self.probability)
        gain = np.log(self.probability) - self.shape * np.log(self.means) - silent
        return np.asarray(active @ gain.T - features @ (self.shape / self.means).T + silent.sum(axis=1))


def _smoothed(features: Floats, weights: Floats) -> Floats:
    """Return the weighted mean in every state, drawn towards the mean over all samples where samples are few."""
    total = weights.sum(axis=1, keepdims=True) + PRIOR_SAMPLES
    return np.asarray((weights @ features + PRIOR_SAMPLES * features.mean(axis=0)) / total)


class BayesDecoder(NamedTuple):
    """A decoder by tuning curves; ``path`` joins the windows of a trial, ``conditions`` is the number of conditions."""

    grid: Grid
    likelihood: Likelihood
    conditions: int = 1
    path: bool = False

    def posterior(self, features: Floats, labels: Floats, condition: NDArray[np.integer], step: float, tested: Floats) -> Floats:
        """Return the probability of each place ``(test trial, window, place)``, summed over conditions.

        Fitted on ``features (sample, feature)``, ``labels`` and ``condition (sample,)``; ``tested (test trial, window,
        feature)``. ``step`` is the root mean square of the change of the label from window to window, used if ``path``.
        """
        places = len(self.grid.centres)
        member = condition == np.arange(self.conditions)[:, None]
        weights = (member[:, None] * self.grid.weights(labels)).reshape(self.conditions * places, -1)
        state = condition * places + self.grid.nearest(labels)
        occupancy = weights.sum(axis=1)
        prior = (1 - UNIFORM_SHARE) * occupancy / occupancy.sum() + UNIFORM_SHARE / len(occupancy)
        trials, windows = tested.shape[:2]
        fitted = self._fit(features, weights, state)
        log_likelihood = fitted.log_likelihood(tested.reshape(trials * windows, -1)).reshape(trials, windows, -1)
        if self.path:
            steps = np.kron(np.eye(self.conditions), self.grid.steps(step))
            joint = path_posterior(log_likelihood, prior, steps)
        else:
            joint = window_posterior(log_likelihood, prior)
        return np.asarray(joint.reshape(trials, windows, self.conditions, places).sum(axis=2))

    def predict(
        self, features: Floats, labels: Floats, condition: NDArray[np.integer], following: NDArray[np.bool_], tested: Floats
    ) -> Floats:
        """Return the mean of the posterior ``(test trial, window, column)`` for labels ``(sample, column)``; see ``posterior``.

        ``following (sample,)``: whether a sample is the window after the sample before it, in the same trial.
        """
        coordinates = self.grid.scale.coordinates(self.grid.centres)
        predicted = np.empty((*tested.shape[:2], labels.shape[1]))
        for column in range(labels.shape[1]):
            change = self.grid.scale.distance(labels[1:, column], labels[:-1, column])[following[1:]]
            step = float(np.sqrt(np.square(change).mean())) if len(change) else self.grid.width
            posterior = self.posterior(features, labels[:, column], condition, step, tested)
            predicted[:, :, column] = self.grid.scale.values(posterior @ coordinates)
        return predicted

    def _fit(self, features: Floats, weights: Floats, state: NDArray[np.integer]) -> Tuning:
        match self.likelihood:
            case "poisson":
                return PoissonTuning.fit(features, weights)
            case "gaussian":
                return GaussianTuning.fit(features, weights, state)
            case "hurdle_gamma":
                return HurdleGammaTuning.fit(features, weights, state)


def window_posterior(log_likelihood: Floats, prior: Floats) -> Floats:
    """Return the probability of each state in every window alone, from ``(trial, window, state)`` and a prior ``(state,)``."""
    joint = log_likelihood + np.log(prior)
    weight = np.exp(joint - joint.max(axis=2, keepdims=True))
    return np.asarray(weight / weight.sum(axis=2, keepdims=True))


def path_posterior(log_likelihood: Floats, prior: Floats, steps: Floats) -> Floats:
    """Return the probability of each state in every window given all windows of the trial ``(trial, window, state)``.

    ``prior (state,)`` is that of the first window, ``steps (before, after)`` the probability of each change.
    """
    emission = np.exp(log_likelihood - log_likelihood.max(axis=2, keepdims=True))
    emission = np.maximum(emission, 1e-200)  # a trial cannot become impossible
    forward, backward = np.empty_like(emission), np.ones_like(emission)
    windows = emission.shape[1]
    for window in range(windows):
        expected = forward[:, window - 1] @ steps if window else prior
        reached = expected * emission[:, window]
        forward[:, window] = reached / reached.sum(axis=1, keepdims=True)
    for window in range(windows - 2, -1, -1):
        later = (backward[:, window + 1] * emission[:, window + 1]) @ steps.T
        backward[:, window] = later / later.sum(axis=1, keepdims=True)
    joint = forward * backward
    return np.asarray(joint / joint.sum(axis=2, keepdims=True))
