"""All pairs of animals compared in one representation: how alike they are, and how alike an animal is to itself."""

import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.consistency import similarity
from neuromvm.analysis.consistency.class_means import ClassMeans, Layout, class_means
from neuromvm.analysis.readouts.representations import Floats, Representation
from neuromvm.analysis.statistics import over_trials
from neuromvm.errors import SchemaError

Measure = Literal["linear map", "new conditions", "dissimilarities", "cka"]
TRIALS, CONDITIONS = "trials", "conditions"
# A map of as many directions as there are conditions fits any conditions to any others: it cannot tell which is which.
OWN_NULL = {"linear map": TRIALS, "new conditions": CONDITIONS, "dissimilarities": CONDITIONS, "cka": CONDITIONS}
OF_DISTANCES = "dissimilarities", "cka"
FEWEST_FOR_KERNELS = 6  # debiased kernels of n conditions have n (n - 3) / 2 dimensions: 2 of four, 9 of six


class Compared(NamedTuple):
    """All pairs of animals in one representation, mean over replicas; the first draw is as observed."""

    values: Floats  # (measure, null, draw, source, target)
    ceiling: Floats  # (measure, draw, source, target), of null trials
    reliability: Floats  # (measure, animal)
    in_sample_r2: Floats  # (source, target)
    distance: Floats  # (source, target)
    own_distance: Floats  # (animal,)
    points: dict[int, list[Floats]]  # split -> held-out class means of each animal (condition, feature), first replica


def left_out(measures: Sequence[Measure], layout: Layout) -> dict[str, str]:
    """Return the measures that so few conditions or trials cannot give, and why.

    Raises
    ------
    SchemaError
        If none is left.
    """
    few = f"{len(layout.groups)} conditions, {FEWEST_FOR_KERNELS} needed"
    reasons = {"cka": few} if len(layout.groups) < FEWEST_FOR_KERNELS else {}
    if not layout.repeated:
        reasons |= dict.fromkeys(OF_DISTANCES, "a label with one training or test trial in a split, two needed")
    lacking: dict[str, str] = {measure: reasons[measure] for measure in measures if measure in reasons}
    if len(lacking) == len(measures):
        raise SchemaError(
            "analyses.consistency.measures",
            found="; ".join(f"{measure}: {reason}" for measure, reason in lacking.items()),
            expected="a measure that these conditions and trials can give",
            next_step="Add a linear map to the measures, or leave more trials to each side of a split",
        )
    return lacking


def compare_pairs(
    representation: Representation,
    samples: xr.DataTree,
    splits: xr.DataTree,
    layout: Layout,
    measures: Sequence[Measure],
    *,
    ridge: float,
    draws: int,
    seed: int,
) -> Compared:
    """Compare the class means of all pairs of animals, as they are and under both nulls.

    Parameters
    ----------
    representation, samples, splits
        As of :func:`neuromvm.analysis.consistency.consistency.compare_animals`.
    layout
        Conditions.
    measures
        Without those of :func:`left_out`.
    ridge
        Of linear maps.
    draws, seed
        Number of draws of each null, and seed of those of conditions.
    """
    names = list(samples.children)
    generators = [np.random.default_rng([seed, zlib.crc32(name.encode())]) for name in names]
    orders = [layout.relabelled(draws, generator) for generator in generators]
    parts: list[tuple[Floats, ...]] = []
    points: dict[int, list[Floats]] = {}
    for replica, split in enumerate(representation.replicas):
        means = [class_means(representation, replica, name, samples, splits, layout, draws) for name in names]
        relabelled = [one.relabelled(order) for one, order in zip(means, orders, strict=True)]
        values = [[_each_pair(measure, some, layout, ridge) for some in (means, relabelled)] for measure in measures]
        reliability = np.stack([[_reliability(measure, one) for one in means] for measure in measures])
        ceiling = np.stack([_ceiling(*one) for one in zip(measures, reliability, strict=True)])
        fitted, held = ([one.points[side] for one in means] for side in (0, 1))
        distance = np.array([[similarity.shape_distance(one, other) for other in held] for one in held])
        linear = np.array([[similarity.in_sample_r2(one, other) for other in fitted] for one in fitted])
        own = np.array([similarity.shape_distance(*one.points) for one in means])
        parts.append((np.array(values), ceiling, reliability[..., 0], linear, distance, own))
        points.setdefault(split, held)
    fields = [over_trials.mean_of_scored(np.stack(one), axis=0) for one in zip(*parts, strict=True)]
    return Compared(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], points)


def _each_pair(measure: Measure, means: Sequence[ClassMeans], layout: Layout, ridge: float) -> Floats:
    """Return one measure of all pairs, ``(draw, source, target)``.

    All but ``linear map`` are of held-out trials alone. A model that has learnt its training trials by heart has made them alike
    in all animals, and would lend that to products of them with others.
    """
    match measure:
        case "linear map":
            return similarity.linear_map_r2([one.products for one in means], ridge)
        case "new conditions":
            return similarity.new_conditions_r2([one.products.held for one in means], ridge, layout.groups)
        case "dissimilarities" | "cka":
            return similarity.cosines([_geometry(measure, one.apart) for one in means])


def _geometry(measure: Measure, apart: Floats) -> Floats:
    """Return the vector ``(..., pair)`` whose cosine between animals is the measure."""
    if measure == "cka":
        return similarity.debiased(apart)
    found = similarity.dissimilarities(apart)
    return np.asarray(found - found.mean(-1, keepdims=True))


def _reliability(measure: Measure, means: ClassMeans) -> Floats:
    """Return how much an animal's held-out trials are like its fitted ones, ``(draw,)``; not below 0."""
    if measure in OF_DISTANCES:
        held = _geometry(measure, means.apart)
        fitted = np.broadcast_to(_geometry(measure, means.fitted_apart), held.shape)
        found = similarity.cosines([fitted, held])[..., 0, 1]
    else:
        found = similarity.pattern_reliability(means.products)
    return np.maximum(found, 0)


def _ceiling(measure: Measure, reliability: Floats) -> Floats:
    """Return what two animals that differ by noise alone would reach, ``(animal, draw)`` to ``(draw, source, target)``.

    Noise on both sides lowers a correlation by the square root of both reliabilities (Spearman 1904), and explained variance by
    their product.
    """
    product = reliability.T[:, :, None] * reliability.T[:, None, :]
    return np.sqrt(product) if measure in OF_DISTANCES else product


def distances_between(every: Sequence[Compared]) -> Floats:
    """Return the shape distance of each representation to each, mean over animals and splits."""
    return np.array(
        [
            [
                np.mean(
                    [
                        similarity.shape_distance(*pair)
                        for split in one.points
                        for pair in zip(one.points[split], other.points[split], strict=True)
                    ]
                )
                for other in every
            ]
            for one in every
        ]
    )
