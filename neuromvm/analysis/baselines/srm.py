"""Shared response model: orthonormal maps of every animal from a response to each condition.

Trial j of animal i with condition c is N(mu_i + W_i s_c, rho_i^2 I), the columns of W_i orthonormal and s_c ~ N(0, Sigma). All
trials of a condition share its response, so trials need not be matched, and an animal may lack conditions. The model is fitted
by expectation and maximisation from a deterministic start (Chen et al. 2015. A reduced-dimension fMRI shared response model.
*NeurIPS* 28).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.baselines.components import NEGLIGIBLE
from neuromvm.analysis.baselines.projections import LinearMap, Projections, fit_splits
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training

TOLERANCE = 1e-5  # increase of the log-likelihood per training number [nats] at which iterations end


class SharedResponse(NamedTuple):
    """A fitted model."""

    maps: dict[str, LinearMap]  # of each animal, with orthonormal axes
    noise: dict[str, float]  # variance of a feature about the response, of each animal
    covariance: Floats  # of responses, (component, component)
    response: Floats  # expected response to each condition, (condition, component)
    log_likelihood: list[float]  # of the training trials after each step [nats]


def shared_response(training: Mapping[str, Training], components: int, steps: int = 200) -> SharedResponse | None:
    """Fit the model to the training sides of several animals.

    The response has fewer ``components`` where the class means of an animal span fewer. Return None where there are fewer than
    two animals or the class means of an animal do not differ.
    """
    codes = np.unique(np.concatenate([side.match for side in training.values()])) if training else np.zeros(0)
    animals = {name: _Animal.of(side, codes) for name, side in training.items()}
    dimensions = min([components, *(animal.span.shape[1] for animal in animals.values())])
    if len(animals) < 2 or dimensions < 1:
        return None
    fit = _Fit(list(animals.values()), dimensions)
    likelihood: list[float] = []
    for _ in range(steps):
        likelihood.append(fit.step())
        if len(likelihood) > 1 and likelihood[-1] - likelihood[-2] < TOLERANCE * fit.numbers:
            break
    noise = dict(zip(animals, fit.noise.tolist(), strict=True))
    return SharedResponse(dict(zip(animals, fit.maps(), strict=True)), noise, fit.covariance, fit.response, likelihood)


class SharedResponses(Projections):
    """Trials projected by the orthonormal maps of a shared response model."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        def fit(training: Mapping[str, Training]) -> dict[str, LinearMap]:
            model = shared_response(training, components)
            return {} if model is None else model.maps

        super().__init__(inputs, fit_splits(inputs, splits, fit), splits, inverse_penalty=inverse_penalty, shared=True)


class _Animal(NamedTuple):
    """Sufficient statistics of an animal's training side."""

    center: Floats  # (feature,)
    span: Floats  # (feature, direction): orthonormal directions that the condition means span
    means: Floats  # (condition, direction), of centred samples; 0 where it lacks the condition
    trials: Floats  # (condition,)
    square: float  # sum of all squares of centred samples
    numbers: int

    @classmethod
    def of(cls, training: Training, codes: Floats) -> "_Animal":
        """Compute the statistics of a training side."""
        member = (training.match[:, None] == codes).astype(np.float64)
        count = member.sum(axis=0)
        center = training.features.mean(axis=0)
        centred = training.features - center
        means = (member.T @ centred) / np.maximum(count, 1)[:, None]
        _, strength, axes = np.linalg.svd(means, full_matrices=False)
        span = axes[strength**2 > NEGLIGIBLE * max(strength[0] ** 2, np.square(centred).mean())].T
        return cls(center, span, means @ span, count, float(np.square(centred).sum()), centred.size)


class _Fit:
    """Expectation and maximisation; all parameters of an animal are in the span of its condition means."""

    def __init__(self, animals: Sequence[_Animal], components: int) -> None:
        self._animals = animals
        self.numbers = sum(animal.numbers for animal in animals)
        weighted = [np.sqrt(animal.trials)[:, None] * animal.means for animal in animals]
        axes, strength, _ = np.linalg.svd(np.concatenate(weighted, axis=1), full_matrices=False)
        start = axes[:, :components] * strength[:components]
        self._basis = [_orthonormal(part.T @ start) for part in weighted]  # (direction, component) of each animal
        self._shift = [np.zeros(animal.span.shape[1]) for animal in animals]  # of the mean, (direction,)
        self.noise = np.array([animal.square / animal.numbers for animal in animals])
        total = np.maximum(sum(animal.trials for animal in animals), 1)
        projected = (animal.trials[:, None] * (animal.means @ basis) for animal, basis in zip(animals, self._basis, strict=True))
        self.response: Floats = sum(projected) / total[:, None]
        self.covariance: Floats = self.response.T @ self.response / len(self.response) + 1e-9 * np.eye(components)

    def maps(self) -> list[LinearMap]:
        """Return the map of each animal, in its features."""
        return [
            LinearMap(animal.center + animal.span @ shift, animal.span @ basis)
            for animal, shift, basis in zip(self._animals, self._shift, self._basis, strict=True)
        ]

    def step(self) -> float:
        """Improve all parameters, and return the log-likelihood of the parameters before the step [nats]."""
        precision, pull = np.zeros(len(self.response)), np.zeros_like(self.response)
        for animal, basis, shift, noise in zip(self._animals, self._basis, self._shift, self.noise, strict=True):
            precision += animal.trials / noise
            pull += animal.trials[:, None] / noise * ((animal.means - shift) @ basis)
        shrunk = np.eye(len(self.covariance)) + precision[:, None, None] * self.covariance
        posterior = np.linalg.solve(shrunk.transpose(0, 2, 1), self.covariance[None]).transpose(0, 2, 1)
        self.response = np.einsum("ckl,cl->ck", posterior, pull)
        likelihood = self._log_likelihood(shrunk, pull)
        self.covariance = (self.response.T @ self.response + posterior.sum(axis=0)) / len(self.response)
        for number in range(len(self._animals)):
            self._improve(number, np.trace(posterior, axis1=1, axis2=2))
        return likelihood

    def _improve(self, number: int, uncertainty: Floats) -> None:
        """Maximise over basis, then mean, then noise of an animal, given mean and variance ``(condition,)`` of the response."""
        animal = self._animals[number]
        weight = animal.trials[:, None]
        basis = _orthonormal((weight * (animal.means - self._shift[number])).T @ self.response)
        predicted = self.response @ basis.T
        shift = (weight * (animal.means - predicted)).sum(axis=0) / animal.trials.sum()
        self._basis[number], self._shift[number] = basis, shift
        between = (weight * np.square(animal.means - shift - predicted)).sum() - (weight * np.square(animal.means)).sum()
        self.noise[number] = (animal.square + between + (animal.trials * uncertainty).sum()) / animal.numbers

    def _log_likelihood(self, shrunk: Floats, pull: Floats) -> float:
        total = -np.linalg.slogdet(shrunk)[1].sum() + np.einsum("ck,ck->", pull, self.response)
        for animal, shift, noise in zip(self._animals, self._shift, self.noise, strict=True):
            shifted = (animal.trials[:, None] * (np.square(animal.means - shift) - np.square(animal.means))).sum()
            total -= animal.numbers * np.log(2 * np.pi * noise) + (animal.square + shifted) / noise
        return 0.5 * float(total)


def _orthonormal(matrix: Floats) -> Floats:
    """Return the nearest matrix with orthonormal columns (in the Frobenius norm)."""
    left_axes, _, right_axes = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(left_axes @ right_axes)
