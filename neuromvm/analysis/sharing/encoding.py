"""A common space of several animals, from trials with labels, and the target's place in it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from neuromvm.analysis.baselines.mcca import multiset_cca
from neuromvm.analysis.readouts.representations import Floats, Training
from neuromvm.analysis.sharing.problem import Codes, Labelled, Problem, spread_out
from neuromvm.analysis.sharing.reading import space_of, whitening
from neuromvm.analysis.statistics.over_trials import mean_of_scored

SHRINKAGE = 0.1  # share of the identity in the covariance of latents within conditions


class Template(NamedTuple):
    """Latents of several animals in a common space."""

    latents: Floats  # (trial, component) of all animals
    codes: Codes  # (trial,)
    means: Floats  # (class, component), mean over animals; NaN for classes that no animal has

    @classmethod
    def of(cls, latents: Mapping[str, Floats], animals: Mapping[str, Labelled], classes: int) -> "Template":
        """Average condition means of the animals' latents ``(trial, component)``."""
        means = []
        for name, values in latents.items():
            projected = Labelled(values, animals[name].codes)
            means.append(spread_out(projected.means, projected.classes, classes))
        codes = np.concatenate([animals[name].codes for name in latents])
        return cls(np.concatenate(list(latents.values())), codes, mean_of_scored(np.stack(means), axis=0))

    def truncated(self, components: int) -> "Template":
        """Return the leading components."""
        return Template(self.latents[:, :components], self.codes, self.means[:, :components])

    @property
    def known(self) -> Codes:
        """Return the classes that an animal has."""
        return np.flatnonzero(np.isfinite(self.means).all(axis=1))

    def read(self, values: Floats) -> Floats:
        """Read ``(trial, component)`` by a linear discriminant of the animals' latents, ``(trial, class)``; -inf if unknown.

        Scores are log likelihoods up to a constant of the animals.
        """
        return discriminate_latents(values, self.means, self.latents - self.means[self.codes])


def discriminate_latents(values: Floats, means: Floats, residuals: Floats) -> Floats:
    """Return minus half the squared Mahalanobis distance to ``means (class, component)``, ``(trial, class)``; -inf for NaN."""
    covariance = residuals.T @ residuals / len(residuals)
    variance = np.trace(covariance) / len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + (SHRINKAGE * variance if variance > 0 else 1.0) * np.eye(len(covariance))
    factor = cholesky(covariance, lower=True)
    known = np.isfinite(means).all(axis=1)
    white, centers = (solve_triangular(factor, rows.T, lower=True).T for rows in (values, means[known]))
    scores = np.full((len(values), len(means)), -np.inf)
    scores[:, known] = white @ centers.T - 0.5 * (np.square(centers).sum(axis=1) + np.square(white).sum(axis=1)[:, None])
    return scores


def canonical_template(animals: Mapping[str, Labelled], classes: int, components: int, ridge: float) -> Template:
    """Return canonical variates of the animals (:func:`neuromvm.analysis.baselines.mcca.multiset_cca`), scaled to 1 sd."""
    reduced = {name: Training(rotated(animal), animal.codes.astype(np.int16)) for name, animal in animals.items()}
    maps = multiset_cca(reduced, components, ridge)
    latents = {name: reduced[name].features @ maps[name] for name in animals}
    spread = np.concatenate(list(latents.values())).std(axis=0)
    return Template.of({name: values / spread for name, values in latents.items()}, animals, classes)


def rotated(animal: Labelled) -> Floats:
    """Return all principal components of an animal's trials, about the mean of its conditions, ``(trial, component)``."""

    def compute() -> Floats:
        centred = animal.features - animal.means.mean(axis=0)
        axes, strength, _ = np.linalg.svd(centred, full_matrices=False)
        return np.asarray((axes * strength)[:, strength > 1e-8 * strength[0]])

    return animal.recall("rotated", compute)


class Regression(NamedTuple):
    """Singular vectors of the target's labelled trials, whitened, each condition with the same total weight."""

    responses: Floats  # (trial, direction)
    strength: Floats  # (direction,)
    axes: Floats  # (dimension, direction)
    weight: Floats  # (trial,) square root

    @classmethod
    def fit(cls, problem: Problem) -> "Regression":
        """Decompose the labelled trials."""
        seen = problem.seen
        trials = whitening(problem)(seen.features)
        per_class = len(seen.codes) / (len(seen.classes) * seen.counts)
        weight = np.sqrt(per_class[np.searchsorted(seen.classes, seen.codes)])
        responses, strength, axes = np.linalg.svd(trials * weight[:, None], full_matrices=False)
        return cls(responses, strength, axes.T, weight)


def mapped(problem: Problem, template: Template, penalty: float) -> Floats:
    """Map the target's test trials to the space of a template, ``(trial, component)``.

    A ridge regression of the template's means on the target's labelled trials. ``penalty`` is in units of the mean square
    singular value. Predictions shrink towards the mean, so each component is stretched until labelled trials vary as much as
    trials of the template.
    """
    seen = problem.seen
    svd = seen.recall("regression", lambda: Regression.fit(problem))
    common = np.asarray(np.isfinite(template.means[seen.classes]).all(axis=1))
    response = template.means[seen.classes]
    center = response[common].mean(axis=0)
    targets = np.where(common[:, None], response - center, 0)[np.searchsorted(seen.classes, seen.codes)]
    square = np.square(svd.strength)
    gain = svd.strength / (square + penalty * square.mean())
    weights = (svd.axes * gain) @ (svd.responses.T @ (targets * svd.weight[:, None]))
    spread = ((svd.responses * svd.strength) @ (svd.axes.T @ weights)).std(axis=0)
    stretch = np.divide(template.latents.std(axis=0), spread, out=np.ones_like(spread), where=spread > 0)
    return np.asarray((space_of(problem).test @ weights) * stretch + center)
