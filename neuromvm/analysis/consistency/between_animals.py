"""Comparison of all pairs of animals in one representation, and of each animal with itself on other trials."""

import zlib
from collections.abc import Sequence
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.consistency import similarity
from neuromvm.analysis.consistency.class_means import ClassMeans, Layout, class_means
from neuromvm.analysis.consistency.similarity import Products
from neuromvm.analysis.readouts.representations import Floats, Representation
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.hierarchy import between_animals
from neuromvm.errors import SchemaError
from neuromvm.schema import subjects

Measure = Literal["linear map", "new conditions", "dissimilarities", "cka"]
TRIALS, CONDITIONS = "trials", "conditions"
# The null under which a measure is reported. With as many directions as conditions, a linear map fits any assignment of
# conditions; only permuted trials tell its score from chance.
OWN_NULL = {"linear map": TRIALS, "new conditions": CONDITIONS, "dissimilarities": CONDITIONS, "cka": CONDITIONS}
OF_DISTANCES = "dissimilarities", "cka"
FEWEST_FOR_KERNELS = 6  # debiased kernels of n conditions have n (n - 3) / 2 dimensions: 2 of four, 9 of six


PAIRS = ("source", "target")
DIMS = {  # of what is computed for a representation; draw 0 is the observed score, draws of the ceiling are of null trials
    "values": ("measure", "null", "draw", *PAIRS),
    "ceiling": ("measure", "draw", *PAIRS),
    "reliability": ("measure", "source"),
    "in_sample_r2": PAIRS,
    "distance": PAIRS,
    "own_distance": ("source",),
    "features": ("source",),
}


class Compared(NamedTuple):
    """All pairs of animals in one representation."""

    arrays: dict[str, Floats]  # of DIMS, mean over replicas
    points: dict[int, list[Floats]]  # split -> held-out class means of each animal (condition, feature), replica 0 of the split


def measures_left_out(measures: Sequence[Measure], layout: Layout) -> dict[str, str]:
    """Return the measures for which there are too few conditions or trials, with the reason."""
    reasons = {}
    if len(layout.groups) < FEWEST_FOR_KERNELS:
        reasons["cka"] = f"{len(layout.groups)} conditions, {FEWEST_FOR_KERNELS} needed"
    if not layout.repeated:
        reasons |= dict.fromkeys(OF_DISTANCES, "a label with one training or test trial in a split, two needed")
    left_out: dict[str, str] = {measure: reasons[measure] for measure in measures if measure in reasons}
    if len(left_out) == len(measures):
        raise SchemaError(
            "analyses.consistency.measures",
            found="; ".join(f"{measure}: {reason}" for measure, reason in left_out.items()),
            expected="a measure that these conditions and trials can give",
            next_step="Add a linear map to the measures, or leave more trials to each side of a split",
        )
    return left_out


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
    """Compare the class means of all pairs of animals, as observed and under ``draws`` draws of both nulls.

    ``measures`` are without those of :func:`measures_left_out`; ``ridge`` is of linear maps, ``seed`` of exchanged conditions.
    """
    animals = list(samples.children)
    generators = [np.random.default_rng([seed, zlib.crc32(animal.encode())]) for animal in animals]
    orders = [layout.relabelled(draws, generator) for generator in generators]
    replicas: list[dict[str, Floats]] = []
    points: dict[int, list[Floats]] = {}
    for replica, split in enumerate(representation.replicas):
        means = [class_means(representation, replica, animal, samples, splits, layout, draws) for animal in animals]
        exchanged = [mean.relabelled(order) for mean, order in zip(means, orders, strict=True)]
        replicas.append(_scores_of_replica(means, exchanged, layout, measures, ridge))
        points.setdefault(split, [mean.points[1] for mean in means])
    arrays = {key: over_trials.mean_of_scored(np.stack([replica[key] for replica in replicas]), axis=0) for key in replicas[0]}
    arrays["values"] = between_animals(arrays["values"], subjects(samples))
    return Compared({**arrays, "features": np.array([means.shape[1] for means in points[0]])}, points)


def _scores_of_replica(
    means: Sequence[ClassMeans], exchanged: Sequence[ClassMeans], layout: Layout, measures: Sequence[Measure], ridge: float
) -> dict[str, Floats]:
    """Return the arrays of :data:`DIMS` but ``features``; ``exchanged`` are the class means with their labels exchanged."""
    values = [
        [
            scored_pairs(measure, [(animal.products, animal.apart) for animal in animals], layout, ridge)
            for animals in (means, exchanged)
        ]
        for measure in measures
    ]
    reliability = np.stack([[_reliability(measure, animal) for animal in means] for measure in measures])
    ceiling = np.stack([_ceiling(measure, of_animals) for measure, of_animals in zip(measures, reliability, strict=True)])
    fitted, held = zip(*(animal.points for animal in means), strict=True)
    return {
        "values": np.array(values),
        "ceiling": ceiling,
        "reliability": reliability[..., 0],
        "in_sample_r2": np.array([[similarity.in_sample_r2(source, target) for target in fitted] for source in fitted]),
        "distance": np.array([[similarity.shape_distance(source, target) for target in held] for source in held]),
        "own_distance": np.array([similarity.shape_distance(*animal.points) for animal in means]),
    }


def scored_pairs(measure: Measure, animals: Sequence[tuple[Products, Floats]], layout: Layout, ridge: float) -> Floats:
    """Return a measure of all pairs of animals, ``(draw, source, target)``.

    Of each animal it takes inner products of class means, and those of held-out trials over pairs of different trials.

    All measures but ``linear map`` use held-out trials alone: a model that has memorised its training trials has made them alike
    in all animals, and products with training trials would show that.
    """
    match measure:
        case "linear map":
            return similarity.linear_map_r2([products for products, _ in animals], ridge)
        case "new conditions":
            return similarity.new_conditions_r2([products.held for products, _ in animals], ridge, layout.groups)
        case "dissimilarities" | "cka":
            return similarity.cosines([_geometry(measure, apart) for _, apart in animals])


def _geometry(measure: Measure, apart: Floats) -> Floats:
    """Return the vector ``(..., pair)`` whose cosine between animals is the measure."""
    if measure == "cka":
        return similarity.debiased(apart)
    distances = similarity.dissimilarities(apart)
    return np.asarray(distances - distances.mean(-1, keepdims=True))


def _reliability(measure: Measure, means: ClassMeans) -> Floats:
    """Return the similarity of an animal's held-out and fitted trials, ``(draw,)``, at least 0."""
    if measure in OF_DISTANCES:
        held = _geometry(measure, means.apart)
        fitted = np.broadcast_to(_geometry(measure, means.fitted_apart), held.shape)
        return np.maximum(similarity.cosines([fitted, held])[..., 0, 1], 0)
    return np.maximum(similarity.pattern_reliability(means.products), 0)


def _ceiling(measure: Measure, reliability: Floats) -> Floats:
    """Return the score of two animals that differ by noise alone, ``(animal, draw)`` to ``(draw, source, target)``.

    Noise on both sides lowers a correlation by the square root of the product of reliabilities (Spearman 1904), and explained
    variance by the product.
    """
    explained = reliability.T[:, :, None] * reliability.T[:, None, :]
    return np.sqrt(explained) if measure in OF_DISTANCES else explained


def distances_between(representations: Sequence[Compared]) -> Floats:
    """Return the shape distances between representations, mean over animals and splits, ``(representation, reference)``."""
    shapes = [[points for split in sorted(compared.points) for points in compared.points[split]] for compared in representations]
    angles = [[similarity.shape_distance(*points) for points in zip(*pair, strict=True)] for pair in product(shapes, repeat=2)]
    return np.array([np.mean(of_pair) for of_pair in angles]).reshape(len(shapes), -1)
