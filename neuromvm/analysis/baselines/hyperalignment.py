"""Hyperalignment: principal components of every animal turned into one common space, by Procrustes to a template.

The template begins as the class means of the animal that is nearest to all others, so that the order of animals does not count;
then animals are turned into it and it becomes their mean, again and again. Where an animal lacks a class, the template of that
class is the mean of those that have it. Of the common space the dimensions are kept that the template spans, classes - 1 at most:
along all others class means say nothing of how to turn an animal.

References
----------
Gower (1975). Generalized Procrustes analysis. *Psychometrika* 40, 33-51.
Haxby, Guntupalli, Connolly, Halchenko, Conroy, Gobbini, Hanke & Ramadge (2011). A common, high-dimensional model of the
representational space in human ventral temporal cortex. *Neuron* 72, 404-416.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.baselines.components import PrincipalAxes, fit_axes, principal_axes
from neuromvm.analysis.baselines.procrustes import RigidMap, class_means, procrustes
from neuromvm.analysis.baselines.projections import Projections
from neuromvm.analysis.readouts.representations import Floats, Inputs

TOLERANCE = 1e-5  # share of the template's size by which it may still move
ROUNDS = 100


class ToTemplate(NamedTuple):
    """Principal components of one animal, turned into the common space."""

    axes: PrincipalAxes
    rigid: RigidMap

    def __call__(self, values: Floats) -> Floats:
        """Map ``(..., feature)`` to ``(..., component)``."""
        return self.rigid(self.axes(values))


def hyperalign(means: Mapping[str, Floats], rounds: int = ROUNDS) -> dict[str, RigidMap]:
    """Turn class means of several animals into a common space.

    Parameters
    ----------
    means
        For each animal ``(class, component)``, all of the same classes and numbers of components; NaN where it lacks a class.
        Each has two classes at least.
    rounds
        At most so many.

    Returns
    -------
    For each animal the rigid map into the common space; none for an animal that shares fewer than two classes with the template.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> one, turn = rng.normal(size=(5, 3)), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    >>> maps = hyperalign({"mitt": one, "stella": one @ turn + 2})
    >>> bool(np.allclose(maps["mitt"](one), maps["stella"](one @ turn + 2)))
    True
    """
    known = {name: np.asarray(np.isfinite(one).all(axis=1)) for name, one in means.items()}
    template = _nearest_to_all(means, known)
    maps: dict[str, RigidMap] = {}
    for _ in range(rounds):
        there = np.isfinite(template).all(axis=1)
        maps = {}
        for name, one in means.items():
            both = known[name] & there
            if both.sum() > 1:
                maps[name] = procrustes(one[both], template[both])
        moved = _mean([rigid(means[name]) for name, rigid in maps.items()])
        settled = np.nansum(np.square(moved - template)) < TOLERANCE**2 * np.nansum(np.square(template))
        if settled and np.array_equal(there, np.isfinite(moved).all(axis=1)):
            break
        template = moved
    axes = principal_axes(template[np.isfinite(template).all(axis=1)], template.shape[1])
    return {name: RigidMap(rigid.origin, rigid.rotation @ axes.axes, axes(rigid.destination)) for name, rigid in maps.items()}


class Hyperaligned(Projections):
    """Principal components of each animal in the common space of all animals' class means."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        splits = range(inputs.splits) if splits is None else splits
        maps = [_fit(inputs, split, components) for split in splits]
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=True)


def _fit(inputs: Inputs, split: int, components: int) -> dict[str, ToTemplate]:
    """Fit on the training sides; animals with fewer than two classes are left out, and nothing is aligned with one animal."""
    training = {name: inputs.training(split, name) for name in inputs.fitted(split)}
    training = {name: one for name, one in training.items() if len(np.unique(one.match)) > 1}
    if len(training) < 2:
        return {}
    axes = fit_axes(inputs, split, components)
    kept = min(axes[name].axes.shape[1] for name in training)
    axes = {name: PrincipalAxes(axes[name].center, axes[name].axes[:, :kept]) for name in training}
    codes = np.unique(np.concatenate([one.match for one in training.values()]))
    means = {}
    for name, one in training.items():
        own = np.isin(codes, one.match)
        means[name] = np.full((len(codes), kept), np.nan)
        means[name][own] = class_means(axes[name](one.features), one.match, codes[own])
    return {name: ToTemplate(axes[name], rigid) for name, rigid in hyperalign(means).items()}


def _nearest_to_all(means: Mapping[str, Floats], known: Mapping[str, np.ndarray]) -> Floats:
    """Return the class means of the animal to which all others can be brought nearest."""
    distance = {}
    for name, one in means.items():
        left = []
        for other, values in means.items():
            both = known[name] & known[other]
            if other != name and both.sum() > 1:
                rest = procrustes(values[both], one[both])(values[both]) - one[both]
                left.append(np.square(rest).sum() / both.sum())
        # First the animals that share classes with most others.
        distance[name] = (-len(left), np.mean(left) if left else np.inf)
    return means[min(distance, key=lambda name: distance[name])]


def _mean(turned: Sequence[Floats]) -> Floats:
    """Return the mean over animals, NaN for classes that none has."""
    values = np.stack(turned)
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
