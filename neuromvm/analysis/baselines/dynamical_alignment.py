"""Aligned mixture of latent dynamical systems: dynamics of each condition, shared by all animals, and a readout of each animal.

In a trial of condition s and animal a, the latent state z and the activity x of bin t are

    z_1 ~ N(b_s1, Q0_s),    z_t = A_s z_(t-1) + b_st + N(0, Q_s),    x_t = d_a + C_a z_t + N(0, R_a)

with Q0, Q and R diagonal. It is fitted by expectation and maximisation with a Kalman smoother, from a factor analysis of all
animals together, and a trial is decoded by the condition of highest likelihood. An animal may lack conditions: its readout
follows from those it has, so that trials of the others can be decoded. With one bin, this is a mixture of Gaussians with the
covariance of a factor analysis. The offset d is not in the publication; it lets the mean activity of an animal that lacks
conditions differ from that over all conditions.

Written from the equations in Herrero-Vidal, Rinberg & Savin (2021). Across-animal odor decoding by probabilistic manifold
alignment. *NeurIPS* 34.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.baselines.components import NEGLIGIBLE
from neuromvm.analysis.readouts.classifiers import Classifier, MostLikely
from neuromvm.analysis.readouts.decoders import POOLED
from neuromvm.analysis.readouts.representations import Floats, Inputs, Representation
from neuromvm.errors import ShapeError

TOLERANCE = 1e-5  # increase of the log-likelihood per training number [nats] at which iterations end
FACTOR_STEPS = 50  # of the factor analysis
SMALLEST_NOISE = 0.01  # variance of a unit that noise has at least, as a share of all its variance
SMALLEST_STATE_NOISE = 1e-4  # the same of a latent, as a share of the variance of the condition means


class Sequences(NamedTuple):
    """Labelled samples of an animal."""

    activity: Floats  # (sample, bin, unit)
    codes: NDArray[np.integer]  # (sample,) of the condition

    @classmethod
    def of(cls, features: Floats, codes: NDArray[np.integer], bins: int) -> "Sequences":
        """Divide features ``(sample, feature)``, flattened ``(bin, unit)``, into bins."""
        return cls(in_bins(features, bins), codes)


class Readout(NamedTuple):
    """How the units of an animal read the latent state."""

    loadings: Floats  # (unit, latent)
    offset: Floats  # (unit,)
    noise: Floats  # (unit,) variances


class Dynamics(NamedTuple):
    """Latent dynamics of every condition."""

    transition: Floats  # (condition, latent, latent)
    drive: Floats  # (condition, bin, latent); of the first bin the mean state
    start_noise: Floats  # (condition, latent) variances of the first bin
    noise: Floats  # (condition, latent) variances of a step


class AlignedDynamics(NamedTuple):
    """A fitted model."""

    codes: NDArray[np.integer]  # (condition,) ascending
    dynamics: Dynamics
    readouts: dict[str, Readout]  # of each animal
    log_likelihood: list[float]  # of the training samples before each step [nats]


def in_bins(features: Floats, bins: int) -> Floats:
    """Return features ``(..., feature)``, flattened ``(bin, unit)``, as ``(..., bin, unit)``."""
    return features.reshape(*features.shape[:-1], bins, -1).astype(np.float64)


def aligned_dynamics(training: Mapping[str, Sequences], dimensions: int, steps: int = 100) -> AlignedDynamics:
    """Fit the model to the labelled samples of one or several animals.

    Parameters
    ----------
    training
        Samples of each animal, with the same bins; conditions may differ.
    dimensions
        Of the latent state; fewer where the condition means of all animals together span fewer.
    steps
        Largest number of iterations. They raise the likelihood, but not always what is read of conditions that an animal lacks:
        the latent state may turn from what animals share to what units of one animal have in common in a trial.

    Raises
    ------
    ShapeError
        If there are no samples, numbers of bins differ, or all condition means are equal.
    """
    bins = {sequences.activity.shape[1] for sequences in training.values()}
    if len(bins) != 1 or not all(len(sequences.codes) for sequences in training.values()):
        raise ShapeError("aligned dynamics", found=f"animals with {sorted(bins)} bins", expected="samples with the same bins")
    codes = np.unique(np.concatenate([sequences.codes for sequences in training.values()]))
    animals = [_Animal(sequences, codes) for sequences in training.values()]
    readouts, paths = _factor_analysis(animals, dimensions)
    floor = SMALLEST_STATE_NOISE * np.maximum(paths.var(axis=(0, 1)).mean(), NEGLIGIBLE)
    dynamics = _first_dynamics(animals, readouts, paths, floor)
    likelihood: list[float] = []
    numbers = sum(animal.activity.size for animal in animals)
    for _ in range(steps):
        smoothed = [_smooth(animal, readout, dynamics) for animal, readout in zip(animals, readouts, strict=True)]
        likelihood.append(sum(float(states.log_likelihood.sum()) for states in smoothed))
        if len(likelihood) > 1 and likelihood[-1] - likelihood[-2] < TOLERANCE * numbers:
            break
        dynamics = _best_dynamics(animals, smoothed, floor)
        readouts = [_best_readout(animal, states) for animal, states in zip(animals, smoothed, strict=True)]
    return AlignedDynamics(codes, dynamics, dict(zip(training, readouts, strict=True)), likelihood)


def class_scores(model: AlignedDynamics, animal: str, activity: Floats, classes: int) -> Floats:
    """Return the log-likelihood of each sample ``(sample, bin, unit)`` under each class ``(sample, class)`` [nats].

    Also of classes of which this animal had no labelled sample; -inf of classes of which no animal had one.
    """
    readout = model.readouts[animal]
    evidence = _Evidence.of(readout, activity, np.square(activity))
    covariances = _covariances(readout, model.dynamics)
    scores = np.full((len(activity), classes), -np.inf)
    for condition, code in enumerate(model.codes):
        scores[:, code] = _filter(evidence, covariances, model.dynamics, condition)[2]
    return scores


class TrialLikelihoods(Representation):
    """Log-likelihoods of samples under the model of each class ``(trial, window, class)``, -inf for classes without a model.

    An animal's own decoder has the model fitted to the animal alone, the source ``pooled`` that fitted to all animals together.
    """

    pools = True

    def __init__(self, inputs: Inputs, *, dimensions: int, steps: int, splits: Sequence[int] | None = None) -> None:
        super().__init__(range(inputs.splits) if splits is None else splits, shared=False)
        self._seen = [_seen_in_split(inputs, split, dimensions, steps) for split in self.replicas]

    def classifier(self, replica: int) -> Classifier:
        """Return the choice of the class of highest likelihood."""
        return MostLikely()

    def seen(self, replica: int, source: str, target: str) -> Floats | None:
        """Return the log-likelihoods of the target, if the source is the target or ``pooled``."""
        return self._seen[replica].get((source, target))


def _seen_in_split(inputs: Inputs, split: int, dimensions: int, steps: int) -> dict[tuple[str, str], Floats]:
    """Return the log-likelihoods of each source and target of a split."""
    training = {name: inputs.training(split, name) for name in inputs.fitted(split)}
    labelled = {name: Sequences.of(side.features, side.match, inputs.bins) for name, side in training.items() if len(side.match)}
    classes = 1 + max((int(sequences.codes.max()) for sequences in labelled.values()), default=-1)
    models = {name: aligned_dynamics({name: sequences}, dimensions, steps) for name, sequences in labelled.items()}
    seen = {}
    for source, model in (models | ({POOLED: aligned_dynamics(labelled, dimensions, steps)} if labelled else {})).items():
        for target in model.readouts:
            activity = in_bins(inputs.scaled(split, target), inputs.bins)
            scores = class_scores(model, target, activity.reshape(-1, *activity.shape[2:]), classes)
            seen[source, target] = scores.reshape(*activity.shape[:2], classes)
    return seen


class _Animal:
    """Samples of an animal, with sums that do not change while the model is fitted."""

    def __init__(self, sequences: Sequences, codes: NDArray[np.integer]) -> None:
        self.activity = sequences.activity.astype(np.float64)
        self.index = np.searchsorted(codes, sequences.codes)  # (sample,) condition
        self.member = (self.index == np.arange(len(codes))[:, None]).astype(np.float64)  # (condition, sample)
        self.samples = self.member.sum(axis=1)  # (condition,)
        self.squared = np.square(self.activity)
        self.squares = self.squared.sum(axis=(0, 1))  # (unit,)
        self.floor = SMALLEST_NOISE * np.maximum(self.activity.var(axis=(0, 1)), NEGLIGIBLE)  # (unit,)
        sums = np.einsum("cs,stu->ctu", self.member, self.activity)
        self.means = sums / np.maximum(self.samples, 1)[:, None, None]  # (condition, bin, unit), 0 where it lacks the condition

    def summed(self, values: Floats) -> Floats:
        """Sum values ``(sample, ...)`` over the samples of each condition, ``(condition, ...)``."""
        return np.tensordot(self.member, values, axes=1)


class _Covariances(NamedTuple):
    """Covariances of states given the activity of an animal; they are the same for all samples of a condition."""

    predicted: Sequence[Floats]  # of each bin (condition, latent, latent), given earlier bins
    filtered: Sequence[Floats]  # the same given this bin, too
    log_determinant: Floats  # (bin, condition) of the activity given earlier bins, less that of the noise of units


class _Evidence(NamedTuple):
    """What samples say of the state, for a readout."""

    information: Floats  # (latent, latent) C' inv(R) C
    pull: Floats  # (sample, bin, latent) C' inv(R) (x - d)
    squares: Floats  # (sample, bin) (x - d)' inv(R) (x - d)
    constant: float  # log-determinant of 2 pi R

    @classmethod
    def of(cls, readout: Readout, activity: Floats, squares: Floats) -> "_Evidence":
        """Return it for activity ``(sample, bin, unit)`` and its squares."""
        weighted = np.column_stack([readout.loadings, readout.offset]) / readout.noise[:, None]
        products, offset = activity @ weighted, readout.offset @ weighted
        distance = squares @ (1 / readout.noise) - 2 * products[..., -1] + offset[-1]
        constant = float(np.log(2 * np.pi * readout.noise).sum())
        return cls(readout.loadings.T @ weighted[:, :-1], products[..., :-1] - offset[:-1], distance, constant)


class _States(NamedTuple):
    """Posterior of the states of an animal's samples."""

    means: Floats  # (sample, bin, latent)
    covariances: Floats  # (condition, bin, latent, latent)
    lagged: Floats  # (condition, bin - 1, latent, latent), of each bin with the one before
    log_likelihood: Floats  # (sample,) [nats]


def _covariances(readout: Readout, dynamics: Dynamics) -> _Covariances:
    """Run the recursion of the Kalman filter for covariances."""
    information = readout.loadings.T @ (readout.loadings / readout.noise[:, None])
    identity = np.eye(len(information))
    predicted: list[Floats] = []
    filtered: list[Floats] = []
    determinants: list[Floats] = []
    covariance: Floats = dynamics.start_noise[:, :, None] * identity
    for _ in range(dynamics.drive.shape[1]):
        if filtered:
            step = dynamics.transition @ filtered[-1] @ dynamics.transition.swapaxes(1, 2)
            covariance = step + dynamics.noise[:, :, None] * identity
        gain = identity + covariance @ information
        posterior = np.linalg.solve(gain, covariance)
        predicted.append(covariance)
        filtered.append((posterior + posterior.swapaxes(1, 2)) / 2)
        determinants.append(np.linalg.slogdet(gain)[1])
    return _Covariances(predicted, filtered, np.array(determinants))


def _filter(
    evidence: _Evidence, covariances: _Covariances, dynamics: Dynamics, condition: NDArray[np.integer] | int
) -> tuple[list[Floats], list[Floats], Floats]:
    """Return predicted and filtered means of each bin ``(sample, latent)`` and the log-likelihood ``(sample,)``.

    ``condition`` is that of each sample, or of all of them.
    """
    predicted: list[Floats] = []
    filtered: list[Floats] = []
    log_likelihood = np.zeros(len(evidence.pull))
    for number in range(evidence.pull.shape[1]):
        mean = dynamics.drive[condition, number]
        if filtered:
            mean = mean + _times(dynamics.transition[condition], filtered[-1])
        mean = np.broadcast_to(mean, evidence.pull[:, number].shape)
        pull, expected = evidence.pull[:, number], mean @ evidence.information
        surprise = pull - expected
        change = _times(covariances.filtered[number][condition], surprise)
        distance = evidence.squares[:, number] + ((expected - 2 * pull) * mean - surprise * change).sum(axis=1)
        log_likelihood -= 0.5 * (evidence.constant + covariances.log_determinant[number][condition] + distance)
        predicted.append(mean)
        filtered.append(mean + change)
    return predicted, filtered, log_likelihood


def _smooth(animal: _Animal, readout: Readout, dynamics: Dynamics) -> _States:
    """Return the posterior of states given whole samples (Rauch, Tung and Striebel)."""
    covariances = _covariances(readout, dynamics)
    evidence = _Evidence.of(readout, animal.activity, animal.squared)
    predicted, filtered, log_likelihood = _filter(evidence, covariances, dynamics, animal.index)
    means, smoothed, lagged = [filtered[-1]], [covariances.filtered[-1]], []
    for number in reversed(range(len(filtered) - 1)):
        ahead = covariances.predicted[number + 1]
        gain = np.linalg.solve(ahead, dynamics.transition @ covariances.filtered[number]).swapaxes(1, 2)
        lagged.append(smoothed[-1] @ gain.swapaxes(1, 2))
        smoothed.append(covariances.filtered[number] + gain @ (smoothed[-1] - ahead) @ gain.swapaxes(1, 2))
        means.append(filtered[number] + _times(gain[animal.index], means[-1] - predicted[number + 1]))
    no_lag = np.zeros((len(animal.samples), 0, *covariances.filtered[0].shape[1:]))
    return _States(
        np.stack(means[::-1], axis=1),
        np.stack(smoothed[::-1], axis=1),
        np.stack(lagged[::-1], axis=1) if lagged else no_lag,
        log_likelihood,
    )


def _times(matrices: Floats, vectors: Floats) -> Floats:
    """Multiply ``(sample, row, column)``, or one matrix for all, with ``(sample, column)``."""
    return (matrices @ vectors[..., None])[..., 0]


def _best_dynamics(animals: Sequence[_Animal], states: Sequence[_States], floor: float) -> Dynamics:
    """Maximise over the dynamics of each condition, from all samples of all animals."""
    pairs = list(zip(animals, states, strict=True))
    samples = np.asarray(sum(animal.samples for animal in animals))
    count = samples[:, None, None]
    means = np.asarray(sum(animal.summed(posterior.means) for animal, posterior in pairs)) / count
    latents = means.shape[-1]
    moments, lagged = np.zeros((*means.shape, latents)), np.zeros((len(means), means.shape[1] - 1, latents, latents))
    for animal, posterior in pairs:
        centred = posterior.means - means[animal.index]
        weight = animal.samples[:, None, None, None]
        moments += animal.summed(centred[..., :, None] * centred[..., None, :]) + weight * posterior.covariances
        lagged += animal.summed(centred[:, 1:, :, None] * centred[:, :-1, None, :]) + weight * posterior.lagged
    before, across, after = moments[:, :-1].sum(axis=1), lagged.sum(axis=1), moments[:, 1:].sum(axis=1)
    start_noise = np.diagonal(moments[:, 0], axis1=1, axis2=2) / samples[:, None]
    if not lagged.shape[1]:
        return Dynamics(np.zeros_like(across), means, np.maximum(start_noise, floor), np.maximum(start_noise, floor))
    transition = np.linalg.solve(before, across.swapaxes(1, 2)).swapaxes(1, 2)
    drive = means.copy()
    drive[:, 1:] -= np.einsum("ckl,ctl->ctk", transition, means[:, :-1])
    residual = np.diagonal(after, axis1=1, axis2=2) - np.einsum("ckl,ckl->ck", transition, across)
    noise = residual / (samples[:, None] * lagged.shape[1])
    return Dynamics(transition, drive, np.maximum(start_noise, floor), np.maximum(noise, floor))


def _best_readout(animal: _Animal, states: _States) -> Readout:
    """Maximise over the readout of an animal."""
    flat = states.means.reshape(-1, states.means.shape[-1])
    covariance = np.einsum("c,ctkl->kl", animal.samples, states.covariances)
    return _regression(animal, flat, animal.activity.reshape(len(flat), -1), np.ones(len(flat)), covariance)


def _regression(animal: _Animal, states: Floats, activity: Floats, weights: Floats, covariance: Floats) -> Readout:
    """Regress activity ``(row, unit)``, which counts as often as weights say, on states with a covariance summed over rows."""
    predictors = np.column_stack([states, np.ones(len(states))])
    weighted = weights[:, None] * predictors
    moment = weighted.T @ predictors
    moment[:-1, :-1] += covariance
    cross = weighted.T @ activity
    solution = np.linalg.solve(moment, cross)
    noise = (animal.squares - (solution * cross).sum(axis=0)) / weights.sum()
    return Readout(solution[:-1].T, solution[-1], np.maximum(noise, animal.floor))


def _factor_analysis(animals: Sequence[_Animal], dimensions: int) -> tuple[list[Readout], Floats]:
    """Return readouts, and the path of each condition ``(condition, bin, latent)``, that all samples of it share.

    The path is N(0, I) in every bin. An animal that lacks a condition says nothing of its path.
    """
    conditions, bins = animals[0].means.shape[:2]
    weights = [np.repeat(animal.samples, bins) for animal in animals]
    rows = [animal.means.reshape(conditions * bins, -1) for animal in animals]
    offsets = [weight @ means / weight.sum() for weight, means in zip(weights, rows, strict=True)]
    centred = [np.sqrt(weight)[:, None] * (means - offset) for weight, means, offset in zip(weights, rows, offsets, strict=True)]
    left, strength, axes = np.linalg.svd(np.concatenate(centred, axis=1), full_matrices=False)
    rank = min(dimensions, int((strength**2 > NEGLIGIBLE * max(strength[0] ** 2, NEGLIGIBLE)).sum()))
    if rank < 1:
        raise ShapeError("aligned dynamics", found="condition means that are all equal", expected="means that differ")
    scale = np.sqrt(np.mean(np.concatenate(weights)))
    loadings = np.split(axes[:rank].T * strength[:rank] / scale / np.sqrt(len(left)), np.cumsum([len(o) for o in offsets])[:-1])
    readouts = [
        Readout(loading, offset, np.maximum(animal.activity.var(axis=(0, 1)), animal.floor))
        for animal, loading, offset in zip(animals, loadings, offsets, strict=True)
    ]
    for _ in range(FACTOR_STEPS):
        precision, pull = np.tile(np.eye(rank), (conditions, 1, 1)), np.zeros((conditions, bins, rank))
        for animal, readout in zip(animals, readouts, strict=True):
            evidence = _Evidence.of(readout, animal.means, np.square(animal.means))
            precision += animal.samples[:, None, None] * evidence.information
            pull += animal.samples[:, None, None] * evidence.pull
        covariance = np.linalg.inv(precision)
        paths = np.einsum("ckl,ctl->ctk", covariance, pull)
        flat = paths.reshape(conditions * bins, rank)
        readouts = [
            _regression(animal, flat, means, weight, bins * np.einsum("c,ckl->kl", animal.samples, covariance))
            for animal, means, weight in zip(animals, rows, weights, strict=True)
        ]
    return readouts, paths


def _first_dynamics(animals: Sequence[_Animal], readouts: Sequence[Readout], paths: Floats, floor: float) -> Dynamics:
    """Return dynamics that follow the paths and forget half of a deviation in a bin; noise as states read bin by bin vary."""
    deviations = []
    for animal, readout in zip(animals, readouts, strict=True):
        evidence = _Evidence.of(readout, animal.activity, animal.squared)
        states = np.linalg.solve(evidence.information + np.eye(paths.shape[-1]), evidence.pull[..., None])[..., 0]
        deviations.append(np.square(states - paths[animal.index]).reshape(-1, paths.shape[-1]))
    noise = np.tile(np.maximum(np.concatenate(deviations).mean(axis=0), floor), (len(paths), 1))
    drive = paths.copy()
    drive[:, 1:] -= 0.5 * paths[:, :-1]
    return Dynamics(np.tile(0.5 * np.eye(paths.shape[-1]), (len(paths), 1, 1)), drive, noise, noise)
