"""Shared response model: orthonormal maps of every animal from one response to each condition.

Trial j of animal i with condition c is N(mu_i + W_i s_c, rho_i^2 I), the columns of W_i orthonormal and s_c ~ N(0, Sigma). All
trials of a condition share its response, so none need be matched with another, and conditions that an animal lacks do not count
for it. Fitted by expectation and maximisation from a start that is computed, not drawn.

References
----------
Chen, Chen, Yeshurun, Hasson, Haxby & Ramadge (2015). A reduced-dimension fMRI shared response model. *NeurIPS* 28.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.baselines.components import NEGLIGIBLE
from neuromvm.analysis.baselines.projections import Projections
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training

TOLERANCE = 1e-5  # nats for each training number, below which a step is the last
STEPS = 200


class OrthonormalMap(NamedTuple):
    """Centre and orthonormal directions of one animal's features."""

    center: Floats  # (feature,)
    basis: Floats  # (feature, component)

    def __call__(self, values: Floats) -> Floats:
        """Project ``(..., feature)`` to ``(..., component)``."""
        return (values - self.center) @ self.basis


class SharedResponse(NamedTuple):
    """A fitted model.

    Attributes
    ----------
    maps
        Of each animal.
    noise
        Variance of a feature about the response, of each animal.
    covariance
        Of responses, ``(component, component)``.
    response
        Expected response to each condition, ``(condition, component)``.
    log_likelihood
        Of the training trials after each step [nats].
    """

    maps: dict[str, OrthonormalMap]
    noise: dict[str, float]
    covariance: Floats
    response: Floats
    log_likelihood: list[float]


def shared_response(training: Mapping[str, Training], components: int, steps: int = STEPS) -> SharedResponse | None:
    """Fit the model to the training sides of several animals.

    Parameters
    ----------
    training
        Scaled features ``(sample, feature)`` and match codes of each animal.
    components
        Dimensions of the response; fewer than asked where the class means of an animal span fewer.
    steps
        At most so many.

    Returns
    -------
    The fitted model, None where there are fewer than two animals or the class means of one span nothing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> match = np.repeat([0, 1, 2], 5).astype(np.int16)
    >>> rats = {name: Training(rng.normal(size=(15, 8)), match) for name in ("mitt", "stella")}
    >>> shared_response(rats, 2).maps["mitt"].basis.shape
    (8, 2)
    """
    codes = np.unique(np.concatenate([one.match for one in training.values()])) if training else np.zeros(0)
    animals = {name: _Animal.of(one, codes) for name, one in training.items()}
    kept = min([components, *(one.span.shape[1] for one in animals.values())])
    if len(animals) < 2 or kept < 1:
        return None
    fit = _Fit(list(animals.values()), kept)
    likelihood: list[float] = []
    for _ in range(steps):
        likelihood.append(fit.step())
        if len(likelihood) > 1 and likelihood[-1] - likelihood[-2] < TOLERANCE * fit.numbers:
            break
    maps = {name: OrthonormalMap(*fit.map(place)) for place, name in enumerate(animals)}
    return SharedResponse(maps, dict(zip(animals, fit.noise.tolist(), strict=True)), fit.covariance, fit.response, likelihood)


class SharedResponses(Projections):
    """Trials projected by the orthonormal maps of a shared response model."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        splits = range(inputs.splits) if splits is None else splits
        fitted = [
            shared_response({name: inputs.training(split, name) for name in inputs.fitted(split)}, components) for split in splits
        ]
        maps = [{} if one is None else one.maps for one in fitted]
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=True)


class _Animal(NamedTuple):
    """What the model needs of an animal: maps lie in the span of its condition means, so these are kept in that span."""

    center: Floats  # (feature,) mean of its samples
    span: Floats  # (feature, direction), orthonormal
    means: Floats  # (condition, direction), of centred samples; 0 where it lacks the condition
    trials: Floats  # (condition,)
    square: float  # sum of all squares of centred samples
    numbers: int

    @classmethod
    def of(cls, training: Training, codes: Floats) -> "_Animal":
        """Take the statistics of the training side of one animal."""
        member = (training.match[:, None] == codes).astype(np.float64)
        count = member.sum(axis=0)
        center = training.features.mean(axis=0)
        centred = training.features - center
        means = (member.T @ centred) / np.maximum(count, 1)[:, None]
        _, strength, axes = np.linalg.svd(means, full_matrices=False)
        span = axes[strength**2 > NEGLIGIBLE * max(strength[0] ** 2, np.square(centred).mean())].T
        return cls(center, span, means @ span, count, float(np.square(centred).sum()), centred.size)


class _Fit:
    """Expectation and maximisation; everything of an animal is in the span of its condition means."""

    def __init__(self, animals: Sequence[_Animal], components: int) -> None:
        self._animals = animals
        self.numbers = sum(one.numbers for one in animals)
        weighted = [np.sqrt(one.trials)[:, None] * one.means for one in animals]
        left, strength, _ = np.linalg.svd(np.concatenate(weighted, axis=1), full_matrices=False)
        start = left[:, :components] * strength[:components]
        self._basis = [_orthonormal(part.T @ start) for part in weighted]  # (direction, component) of each
        self._shift = [np.zeros(one.span.shape[1]) for one in animals]  # of the mean, (direction,)
        self.noise = np.array([one.square / one.numbers for one in animals])
        total = np.maximum(sum(one.trials for one in animals), 1)
        first = sum(one.trials[:, None] * (one.means @ basis) for one, basis in zip(animals, self._basis, strict=True))
        self.response: Floats = first / total[:, None]
        self.covariance: Floats = self.response.T @ self.response / len(self.response) + 1e-9 * np.eye(components)

    def map(self, place: int) -> tuple[Floats, Floats]:
        """Return centre and basis of an animal, in its features."""
        one = self._animals[place]
        return one.center + one.span @ self._shift[place], one.span @ self._basis[place]

    def step(self) -> float:
        """Improve all parameters, and return the log-likelihood of those before [nats]."""
        precision, pull = np.zeros(len(self.response)), np.zeros_like(self.response)
        for one, basis, shift, noise in zip(self._animals, self._basis, self._shift, self.noise, strict=True):
            precision += one.trials / noise
            pull += one.trials[:, None] / noise * ((one.means - shift) @ basis)
        shrunk = np.eye(len(self.covariance)) + precision[:, None, None] * self.covariance
        spread = np.linalg.solve(shrunk.transpose(0, 2, 1), self.covariance[None]).transpose(0, 2, 1)
        self.response = np.einsum("ckl,cl->ck", spread, pull)
        likelihood = self._log_likelihood(shrunk, pull)
        self.covariance = (self.response.T @ self.response + spread.sum(axis=0)) / len(self.response)
        for place, one in enumerate(self._animals):
            self._improve(place, one, np.trace(spread, axis1=1, axis2=2))
        return likelihood

    def _improve(self, place: int, one: _Animal, uncertain: Floats) -> None:
        """Set the maximum of basis, then mean, then noise of one animal, given what is known of the response."""
        weight = one.trials[:, None]
        basis = _orthonormal((weight * (one.means - self._shift[place])).T @ self.response)
        seen = self.response @ basis.T
        self._basis[place] = basis
        shift = (weight * (one.means - seen)).sum(axis=0) / one.trials.sum()
        self._shift[place] = shift
        between = (weight * np.square(one.means - shift - seen)).sum() - (weight * np.square(one.means)).sum()
        self.noise[place] = (one.square + between + (one.trials * uncertain).sum()) / one.numbers

    def _log_likelihood(self, shrunk: Floats, pull: Floats) -> float:
        total = -np.linalg.slogdet(shrunk)[1].sum() + np.einsum("ck,ck->", pull, self.response)
        for one, shift, noise in zip(self._animals, self._shift, self.noise, strict=True):
            moved = (one.trials[:, None] * (np.square(one.means - shift) - np.square(one.means))).sum()
            total -= one.numbers * np.log(2 * np.pi * noise) + (one.square + moved) / noise
        return 0.5 * float(total)


def _orthonormal(matrix: Floats) -> Floats:
    """Return the matrix with orthonormal columns that is nearest in the sense of Procrustes."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(left @ right)
