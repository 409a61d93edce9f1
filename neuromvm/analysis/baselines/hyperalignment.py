"""Hyperalignment: principal components of every animal rotated into a common space, by Procrustes to a template.

The template starts as the class means of the animal nearest to all animals, whatever their order. Animals are rotated to it and
it becomes their mean (for a class, of the animals that have it) until it no longer changes. The common space has the dimensions
that the template spans, classes - 1 at most: in others class means do not determine a rotation. Gower (1975), *Psychometrika* 40,
33-51; Haxby et al. (2011), *Neuron* 72, 404-416.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from neuromvm.analysis.baselines.components import fit_axes, principal_axes
from neuromvm.analysis.baselines.procrustes import RigidMap, class_means, procrustes
from neuromvm.analysis.baselines.projections import LinearMap, Map, Projections, fit_splits
from neuromvm.analysis.readouts.representations import Floats, Inputs, Training
from neuromvm.analysis.statistics.over_trials import mean_of_scored

TOLERANCE = 1e-5  # relative change of the template at which iterations end


def hyperalign(means: Mapping[str, Floats], rounds: int = 100) -> dict[str, RigidMap]:
    """Return the rigid map of each animal to a common space, from class means ``(class, component)``; NaN for absent classes.

    Each has at least two classes. There is no map for an animal that shares fewer than two classes with the template.
    """
    known = {name: np.asarray(np.isfinite(values).all(axis=1)) for name, values in means.items()}
    template = _nearest_to_all(means, known)
    maps: dict[str, RigidMap] = {}
    for _ in range(rounds):
        of_template = np.isfinite(template).all(axis=1)
        maps = {}
        for name, values in means.items():
            common = known[name] & of_template
            if common.sum() > 1:
                maps[name] = procrustes(values[common], template[common])
        updated = mean_of_scored(np.stack([rigid(means[name]) for name, rigid in maps.items()]), axis=0)
        settled = np.nansum(np.square(updated - template)) < TOLERANCE**2 * np.nansum(np.square(template))
        if settled and np.array_equal(of_template, np.isfinite(updated).all(axis=1)):
            break
        template = updated
    axes = principal_axes(template[np.isfinite(template).all(axis=1)], template.shape[1])
    return {name: RigidMap(rigid.origin, rigid.rotation @ axes.axes, axes(rigid.destination)) for name, rigid in maps.items()}


class Hyperaligned(Projections):
    """Principal components of each animal in the common space of all animals' class means."""

    def __init__(self, inputs: Inputs, *, components: int, inverse_penalty: float, splits: Sequence[int] | None = None) -> None:
        maps = fit_splits(inputs, splits, partial(_fit, components=components))
        super().__init__(inputs, maps, splits, inverse_penalty=inverse_penalty, shared=True)


def _fit(training: Mapping[str, Training], components: int) -> dict[str, Map]:
    """Fit the animals with two classes or more; no maps if there are fewer than two such animals."""
    training = {name: side for name, side in training.items() if len(np.unique(side.match)) > 1}
    if len(training) < 2:
        return {}
    axes = fit_axes(training, components)
    dimensions = min(fitted.axes.shape[1] for fitted in axes.values())
    axes = {name: LinearMap(fitted.center, fitted.axes[:, :dimensions]) for name, fitted in axes.items()}
    codes = np.unique(np.concatenate([side.match for side in training.values()]))
    means = {}
    for name, side in training.items():
        known = np.isin(codes, side.match)
        means[name] = np.full((len(codes), dimensions), np.nan)
        means[name][known] = class_means(axes[name](side.features), side.match, codes[known])
    rigid = hyperalign(means)
    return {name: lambda values, name=name: rigid[name](axes[name](values)) for name in rigid}


def _nearest_to_all(means: Mapping[str, Floats], known: Mapping[str, np.ndarray]) -> Floats:
    """Return the class means of the animal to which all animals can be brought nearest."""
    distance = {}
    for name, values in means.items():
        errors = []
        for source, source_values in means.items():
            common = known[name] & known[source]
            if source != name and common.sum() > 1:
                residual = procrustes(source_values[common], values[common])(source_values[common]) - values[common]
                errors.append(np.square(residual).sum() / common.sum())
        # Animals that share classes with most animals come before the rest.
        distance[name] = (-len(errors), np.mean(errors) if errors else np.inf)
    return means[min(distance, key=lambda name: distance[name])]
