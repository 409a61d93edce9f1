"""Analysis ``consistency``: do animals represent the conditions alike, and does a model make them more alike than chance?

Class means of one animal (one for each label, and window where labels do not change within a trial) are compared with those of
another; :mod:`analysis.consistency.similarity` has the measures. What makes them comparable between a model of 3 latents, one
of 32 and the raw activity: nothing is scored on trials (or conditions) that were fitted; the same is done with labels permuted
(floor); and an animal is compared with itself on other trials (ceiling).
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from analysis.consistency import similarity
from analysis.consistency.class_means import ClassMeans, Layout, class_means, layout_of
from analysis.decoding import decoding
from analysis.decoding.scoring import NO_FLOOR
from analysis.readouts.representations import Floats, Inputs, Latents, Representation, held_out
from analysis.scores import Score
from analysis.statistics import over_trials
from analysis.statistics.hierarchy import mean_of_pairs, over_pairs
from neuromvm.errors import SchemaError, SpecError
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from analysis.figures.style import Figure
    from neuromvm.runs import Study

Measure = Literal["linear map", "new conditions", "dissimilarities", "cka"]
TRIALS, CONDITIONS = "trials", "conditions"
# A map of as many directions as there are conditions fits any conditions to any others: it cannot tell which is which.
OWN_NULL = {"linear map": TRIALS, "new conditions": CONDITIONS, "dissimilarities": CONDITIONS, "cka": CONDITIONS}
FEWEST_FOR_KERNELS = 6  # debiased kernels of n conditions have n (n - 3) / 2 dimensions: 2 of four, 9 of six
WORDS = {
    "linear map": "R2 of class means through a linear map",
    "new conditions": "R2 of class means the linear map was not fitted on",
    "dissimilarities": "correlation of cross-validated dissimilarities",
    "cka": "debiased linear CKA",
}


class Options(Spec):
    """Measures and resampling."""

    measures: tuple[Measure, ...] = Field(("linear map", "new conditions", "dissimilarities", "cka"), min_length=1)
    baselines: tuple[Literal["raw", "pca"], ...] = ("raw", "pca")
    ridge: float = Field(1.0, gt=0, description="Of linear maps, in units of the mean square of a class mean")
    permutations: int = Field(200, ge=99, description="Of trials, and of conditions")
    seed: int = Field(0, ge=0, description="Of the permutations of conditions")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Compare animals in every model of a run and in their own activity; :func:`compare_animals` says what is returned."""
    samples, splits = study.samples, study.splits
    representations: dict[str, Representation] = {
        name: Latents(study.latents(name), splits, inverse_penalty=1.0) for name in study.models
    }
    inputs = Inputs(samples, splits)
    for name in options.baselines:
        if name in representations:
            raise SpecError(f"models.{name}", found="a model with the name of a baseline", next_step="Rename the model")
        representations[name] = decoding.baseline(name, inputs, decoding.Options())
    return compare_animals(samples, splits, representations, options)


def compare_animals(
    samples: xr.DataTree, splits: xr.DataTree, representations: Mapping[str, Representation], options: Options | None = None
) -> xr.Dataset:
    """Compare the class means of all pairs of animals in several representations.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`. Labels that an animal lacks on either side of a split are left out for all.
    representations
        Name -> what is compared; numbers of features may differ between representations and animals.
    options
        Measures and resampling.

    Returns
    -------
    Mean over ordered pairs of animals, splits and seeds: ``value, low, high, ceiling (representation, measure)``; ``floor,
    floor_low, floor_high, p, reach, calibrated, calibrated_low, calibrated_high (representation, measure, null)``.

    - ``cka`` is left out where there are fewer than six conditions.
    - Calibrated is (value - floor) / (reach - floor). Reach is the ceiling, or 1 where permuted labels reach the ceiling, too.
    - Null ``trials``: activity permuted among the trials of every animal. Null ``conditions``: class means as they are, each
      animal's labels exchanged as wholes, which asks whether the *same* conditions are alike.
    - With prefix ``pair_`` the same for each pair, ``(..., source, target)``, without intervals.
    - ``reliability (representation, measure, source)``; ``in_sample_r2, distance (representation, source, target)``, the latter
      :func:`analysis.consistency.similarity.shape_distance` [rad] of held-out class means; ``own_distance (representation,
      source)``, of held-out class means to fitted ones; ``model_distance (representation, reference)``, mean over animals;
      ``trials (source)``; ``features (representation, source)``.

    Raises
    ------
    SpecError, SplitError, SchemaError
        If there are fewer than two animals, an animal without training or test trials in a split, or fewer than four conditions
        that all have.

    Examples
    --------
    >>> latents = Latents(fitted.embed(samples), splits, inverse_penalty=1.0)  # doctest: +SKIP
    >>> compare_animals(samples, splits, {"mmvm": latents})["calibrated"]  # doctest: +SKIP
    """
    options = options or Options()
    check_same_trials(samples, splits)
    animals = list(samples.children)
    if len(animals) < 2:
        raise SpecError("analysis consistency", found="one animal", expected="at least two", next_step="Leave it out")
    layout, seen = layout_of(samples, splits), in_sample(splits)
    options = options.model_copy(update={"measures": _possible(options.measures, layout)})
    draws = 0 if seen else options.permutations
    every = [_compare(one, samples, splits, layout, options, draws) for one in representations.values()]
    values, ceiling = np.stack([one.values for one in every]), np.stack([one.ceiling for one in every])
    measured, pair = ("representation", "measure"), ("source", "target")
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {}
    summary = _summary(mean_of_pairs(values), mean_of_pairs(ceiling))
    pairs = _summary(_between_animals(values), _between_animals(ceiling))
    for prefix, numbers, after in (("", summary, ()), ("pair_", pairs, pair)):
        for key, found in numbers.items():
            null = ("null",) if key not in ("value", "ceiling") else ()
            variables[prefix + key] = ((*measured, *null, *after), found)
    intervals = [[over_pairs(one) for one in row] for row in values[:, :, 0, 0]]
    for key in ("low", "high"):
        raw = np.array([[getattr(one, key) for one in row] for row in intervals])
        variables[key] = (measured, raw)
        scaled = _calibrated(raw[..., None], summary["floor"], summary["reach"])
        variables[f"calibrated_{key}"] = ((*measured, "null"), scaled)
    variables |= {
        "reliability": ((*measured, "source"), np.stack([one.reliability for one in every])),
        "in_sample_r2": (("representation", *pair), np.stack([one.in_sample_r2 for one in every])),
        "distance": (("representation", *pair), np.stack([one.distance for one in every])),
        "own_distance": (("representation", "source"), np.stack([one.own_distance for one in every])),
        "model_distance": (("representation", "reference"), _between_models(every)),
        "features": (("representation", "source"), np.array([[len(one.T) for one in each.points[0]] for each in every])),
        "trials": (("source",), np.array([_scored_trials(splits, name) for name in animals])),
    }
    coords = {"measure": list(options.measures), "null": [TRIALS, CONDITIONS], "source": animals, "target": animals}
    names = list(representations)
    return xr.Dataset(variables, coords={"representation": names, "reference": names, **coords}).assign_attrs(
        interval=intervals[0][0].words,
        conditions=len(layout.groups),
        labels=len(layout.labels),
        windows=layout.windows,
        splits=next(iter(splits.children.values())).sizes["split"],
        permutations=draws,
        in_sample=int(seen),
        **{f"null_{null}": NO_FLOOR if seen else words for null, words in _null_words(draws, layout).items()},
    )


def _possible(measures: Sequence[Measure], layout: Layout) -> tuple[Measure, ...]:
    """Leave out what so few conditions cannot tell."""
    kept = tuple(measure for measure in measures if measure != "cka" or len(layout.groups) >= FEWEST_FOR_KERNELS)
    if not kept:
        raise SchemaError(
            "analyses.consistency.measures",
            found=f"cka of {len(layout.groups)} conditions",
            expected=f"at least {FEWEST_FOR_KERNELS}",
            next_step="Choose dissimilarities, which ask the same of fewer conditions",
        )
    return kept


class Compared(NamedTuple):
    """All pairs of animals in one representation, mean over replicas; the first draw is as observed."""

    values: Floats  # (measure, null, draw, source, target)
    ceiling: Floats  # (measure, draw, source, target), of null trials
    reliability: Floats  # (measure, animal)
    in_sample_r2: Floats  # (source, target)
    distance: Floats  # (source, target)
    own_distance: Floats  # (animal,)
    points: dict[int, list[Floats]]  # split -> held-out class means of each animal (condition, feature), first replica


def _compare(
    representation: Representation, samples: xr.DataTree, splits: xr.DataTree, layout: Layout, options: Options, draws: int
) -> Compared:
    names = list(samples.children)
    generators = [np.random.default_rng([options.seed, zlib.crc32(name.encode())]) for name in names]
    orders = [layout.relabelled(draws, generator) for generator in generators]
    parts: list[tuple[Floats, ...]] = []
    points: dict[int, list[Floats]] = {}
    for replica, split in enumerate(representation.replicas):
        means = [class_means(representation, replica, name, samples, splits, layout, draws) for name in names]
        relabelled = [one.relabelled(order) for one, order in zip(means, orders, strict=True)]
        values = np.stack(
            [[_each_pair(measure, some, layout, options.ridge) for some in (means, relabelled)] for measure in options.measures]
        )
        reliability = np.stack([[_reliability(measure, one) for one in means] for measure in options.measures])
        ceiling = np.stack([_ceiling(*one) for one in zip(options.measures, reliability, strict=True)])
        fitted = [one.points[0] for one in means]
        held = [one.points[1] for one in means]
        distance = np.array([[similarity.shape_distance(one, other) for other in held] for one in held])
        linear = np.array([[similarity.in_sample_r2(one, other) for other in fitted] for one in fitted])
        own = np.array([similarity.shape_distance(*one.points) for one in means])
        parts.append((values, ceiling, reliability[..., 0], linear, distance, own))
        points.setdefault(split, held)
    fields = [over_trials.mean_of_scored(np.stack(one), axis=0) for one in zip(*parts, strict=True)]
    return Compared(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], points)


def _each_pair(measure: Measure, means: Sequence[ClassMeans], layout: Layout, ridge: float) -> Floats:
    """Return one measure of all pairs, ``(draw, source, target)``."""
    products = [one.whole for one in means]
    match measure:
        case "linear map":
            return similarity.linear_map_r2(products, ridge)
        case "new conditions":
            return similarity.linear_map_r2(products, ridge, layout.groups)
        case "dissimilarities":
            return similarity.correlations([similarity.dissimilarities(one.cross) for one in products])
        case "cka":
            return similarity.cosines([similarity.debiased(one.held) for one in products])


def _reliability(measure: Measure, means: ClassMeans) -> Floats:
    """Return how much an animal is like itself on other trials, ``(draw,)``; not below 0."""
    match measure:
        case "linear map" | "new conditions":
            found = similarity.pattern_reliability(means.whole)
        case "dissimilarities":
            halves = [similarity.dissimilarities(one) for one in (means.first, means.second)]
            half = np.maximum(similarity.correlations(halves)[..., 0, 1], 0)
            # Noise of a product of two noisy differences falls to a quarter when trials double, at most; Spearman-Brown for that.
            found = 4 * half / (1 + 3 * half)
        case "cka":
            found = similarity.cosines([similarity.debiased(one) for one in (means.whole.fitted, means.whole.held)])[..., 0, 1]
    return np.maximum(found, 0)


def _ceiling(measure: Measure, reliability: Floats) -> Floats:
    """Return what two animals that differ by noise alone would reach, ``(animal, draw)`` to ``(draw, source, target)``.

    Noise on both sides lowers a correlation by the square root of both reliabilities (Spearman 1904), and explained variance by
    their product.
    """
    product = reliability.T[:, :, None] * reliability.T[:, None, :]
    return product if measure in ("linear map", "new conditions") else np.sqrt(product)


def _between_animals(pairs: Floats) -> Floats:
    return np.where(np.eye(pairs.shape[-1], dtype=bool), np.nan, pairs)


def _summary(values: Floats, ceiling: Floats) -> dict[str, Floats]:
    """Summarise ``(representation, measure, null, draw, ...)`` and ceilings ``(representation, measure, draw, ...)``."""
    drawn, observed = np.moveaxis(values, 3, 0), np.moveaxis(ceiling, 2, 0)
    value, null, nothing = drawn[0], drawn[1:], np.full_like(drawn[0], np.nan)
    if not len(null):
        reach = np.ones_like(value)
        found = dict.fromkeys(("floor", "floor_low", "floor_high", "p", "calibrated"), nothing)
        return {"value": value[:, :, 0], "ceiling": observed[0], "reach": reach, **found}
    floor, (low, high) = over_trials.mean_of_scored(null, axis=0), over_trials.interval(null)
    noise = over_trials.interval(observed[1:])[1][:, :, None]
    reach = np.where(observed[0][:, :, None] > np.maximum(high, noise), observed[0][:, :, None], 1.0)
    return {
        "value": value[:, :, 0],
        "ceiling": observed[0],
        "floor": floor,
        "floor_low": low,
        "floor_high": high,
        "p": over_trials.p_value(value, null),
        "reach": reach,
        "calibrated": _calibrated(value, floor, reach),
    }


def _calibrated(value: Floats, floor: Floats, reach: Floats) -> Floats:
    room = reach - floor
    return np.asarray((value - floor) / np.where(room > 0, room, np.nan))


def _between_models(every: Sequence[Compared]) -> Floats:
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


def _scored_trials(splits: xr.DataTree, name: str) -> int:
    tested = [held_out(splits, split, name) for split in range(splits[name].sizes["split"])]
    return int(np.any(tested, axis=0).sum())


def _null_words(draws: int, layout: Layout) -> dict[str, str]:
    return {
        TRIALS: f"{draws} permutations of activity among the trials of each animal, maps between animals refitted, models and "
        "components not",
        CONDITIONS: f"{draws} exchanges of the {len(layout.labels)} labels as wholes in each animal, maps between animals "
        "refitted, models and components not",
    }


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return two lines for each representation and measure: as it is, and calibrated; each under the null that it can tell."""
    lines = []
    for representation in scores["representation"].values:
        for measure in scores["measure"].values:
            null = OWN_NULL[str(measure)]
            one = scores.sel(representation=representation, measure=measure, null=null)
            raw = Score(
                what=f"consistency: {WORDS[str(measure)]}",
                representation=str(representation),
                setting="between animals",
                value=float(one["value"]),
                low=float(one["low"]),
                high=float(one["high"]),
                interval=scores.attrs["interval"],
                null_kind=scores.attrs[f"null_{null}"],
                null_n=int(scores.attrs["permutations"]),
                floor=float(one["floor"]),
                floor_low=float(one["floor_low"]),
                floor_high=float(one["floor_high"]),
                p=float(one["p"]),
                n_animals=scores.sizes["source"],
                n_trials=int(scores["trials"].sum()),
                n_windows=int(scores.attrs["windows"]),
                n_splits=int(scores.attrs["splits"]),
                in_sample=bool(scores.attrs["in_sample"]),
            )
            lines.append(raw)
            if np.isfinite(raw.floor):
                lines.append(_on_scale(raw, float(one["reach"])))
    return lines


def _on_scale(raw: Score, reach: float) -> Score:
    """Return the line with its floor at 0 and the ceiling at 1."""
    room = reach - raw.floor
    return raw._replace(
        setting="between animals, 0 at the floor and 1 at the noise ceiling",
        value=(raw.value - raw.floor) / room,
        low=(raw.low - raw.floor) / room,
        high=(raw.high - raw.floor) / room,
        interval=f"{raw.interval}; floor and ceiling as if known",
        floor=0.0,
        floor_low=(raw.floor_low - raw.floor) / room,
        floor_high=(raw.floor_high - raw.floor) / room,
        chance=0.0,
    )


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw calibrated consistency beside what in-sample R2 would say, the pairs, and distances."""
    from analysis.figures import consistency as figures  # here, so that computing needs no plotting library

    return {"calibrated": figures.calibrated(scores), "pairs": figures.pairs(scores), "distances": figures.distances(scores)}
