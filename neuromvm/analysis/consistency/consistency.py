"""Analysis ``consistency``: do animals represent the conditions alike, and does a model make them more alike than chance?

Class means of one animal (one for each label, and window where labels do not change within a trial) are compared with those of
another; :mod:`neuromvm.analysis.consistency.similarity` has the measures. What makes them comparable between a model of 3
latents, one of 32 and the raw activity: nothing is scored on trials (or conditions) that were fitted; the same is done with
labels permuted (floor); and an animal is compared with itself on other trials (ceiling).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.consistency.between_animals import (
    CONDITIONS,
    OWN_NULL,
    TRIALS,
    Measure,
    compare_pairs,
    distances_between,
    left_out,
)
from neuromvm.analysis.consistency.class_means import Layout, layout_of
from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.flat_score import REASON, Score, difference, numbers
from neuromvm.analysis.readouts.representations import Floats, Inputs, Latents, Representation, ever_held_out
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.hierarchy import between_animals, mean_of_pairs, over_pairs
from neuromvm.errors import SpecError
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

REFERENCE = "raw"
WORDS = {
    "linear map": "R2 of class means through a linear map",
    "new conditions": "R2 of class means the linear map was not fitted on",
    "dissimilarities": "correlation of cross-validated dissimilarities",
    "cka": "debiased linear CKA",
}
UNLIKE = f"{REASON}values of few and of many dimensions are compared between floor and ceiling only"


class Options(Spec):
    """Measures and resampling."""

    measures: tuple[Measure, ...] = Field(("linear map", "new conditions", "dissimilarities", "cka"), min_length=1)
    baselines: tuple[Literal["raw", "pca"], ...] = ("raw", "pca")
    ridge: float = Field(1.0, gt=0, description="Of linear maps, in units of the mean square of a class mean")
    permutations: int = Field(200, ge=99, description="Of test trials, and of conditions")
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
    Mean over ordered pairs of animals, splits and seeds: ``value, low, high, ceiling (representation, measure)``; ``null_mean,
    null_low, null_high, p, reach, calibrated, calibrated_low, calibrated_high (representation, measure, null)``, and with
    ``raw`` among the representations ``difference, difference_low, difference_high`` of calibrated values to it.

    - ``cka`` needs six conditions, it and ``dissimilarities`` two trials of each label on both sides of all splits; what is
      left out for that is in the attribute ``left_out``.
    - Calibrated is (value - null mean) / (reach - null mean). Reach is the ceiling, or 1 where null draws reach the ceiling, too.
    - Null ``trials``: what test trials have is permuted among the test trials of every animal; what was fitted on training
      trials stays. Null ``conditions``: class means as they are, each animal's labels exchanged as wholes, which asks whether
      the *same* conditions are alike.
    - With prefix ``pair_`` the same for each pair, ``(..., source, target)``, without intervals and differences.
    - ``reliability (representation, measure, source)``; ``in_sample_r2, distance (representation, source, target)``, the latter
      :func:`neuromvm.analysis.consistency.similarity.shape_distance` [rad] of held-out class means; ``own_distance
      (representation, source)``, of held-out class means to fitted ones; ``model_distance (representation, reference)``, mean
      over animals; ``trials (source)``; ``features (representation, source)``.

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
    lacking = left_out(options.measures, layout)
    measures = [measure for measure in options.measures if measure not in lacking]
    draws = 0 if seen else options.permutations
    every = [
        compare_pairs(one, samples, splits, layout, measures, ridge=options.ridge, draws=draws, seed=options.seed)
        for one in representations.values()
    ]
    values, ceiling = np.stack([one.values for one in every]), np.stack([one.ceiling for one in every])
    names, measured, pair = list(representations), ("representation", "measure"), ("source", "target")
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {}
    summary = _summary(mean_of_pairs(values), mean_of_pairs(ceiling))
    pairs = _summary(between_animals(values), between_animals(ceiling))
    for prefix, found, after in (("", summary, ()), ("pair_", pairs, pair)):
        for key, each in found.items():
            null = ("null",) if key not in ("value", "ceiling") else ()
            variables[prefix + key] = ((*measured, *null, *after), each)
    scaled = _calibrated(values[:, :, :, 0], *(summary[key][..., None, None] for key in ("null_mean", "reach")))
    variables |= {key: (measured, each) for key, each in _intervals(values[:, :, 0, 0]).items() if key != "value"}
    variables |= {f"calibrated_{key}": ((*measured, "null"), each) for key, each in _intervals(scaled).items() if key != "value"}
    if REFERENCE in names and not seen:
        against = _intervals(scaled - scaled[names.index(REFERENCE)])
        named = {"value": "difference", "low": "difference_low", "high": "difference_high"}
        variables |= {named[key]: ((*measured, "null"), each) for key, each in against.items()}
    variables |= {
        "reliability": ((*measured, "source"), np.stack([one.reliability for one in every])),
        "in_sample_r2": (("representation", *pair), np.stack([one.in_sample_r2 for one in every])),
        "distance": (("representation", *pair), np.stack([one.distance for one in every])),
        "own_distance": (("representation", "source"), np.stack([one.own_distance for one in every])),
        "model_distance": (("representation", "reference"), distances_between(every)),
        "features": (("representation", "source"), np.array([[len(one.T) for one in each.points[0]] for each in every])),
        "trials": (("source",), np.array([ever_held_out(splits, name).sum() for name in animals])),
    }
    coords = {"measure": measures, "null": [TRIALS, CONDITIONS], "source": animals, "target": animals}
    return xr.Dataset(variables, coords={"representation": names, "reference": names, **coords}).assign_attrs(
        interval=over_pairs(values[0, 0, 0, 0]).words,
        conditions=len(layout.groups),
        labels=len(layout.labels),
        windows=samples[animals[0]].sizes["window"],
        splits=next(iter(splits.children.values())).sizes["split"],
        permutations=draws,
        in_sample=int(seen),
        left_out="; ".join(f"{measure}: {reason}" for measure, reason in lacking.items()),
        **{f"null_{null}": NO_FLOOR if seen else words for null, words in _null_words(draws, layout).items()},
    )


def _summary(values: Floats, ceiling: Floats) -> dict[str, Floats]:
    """Summarise ``(representation, measure, null, draw, ...)`` and ceilings ``(representation, measure, draw, ...)``."""
    drawn, observed = np.moveaxis(values, 3, 0), np.moveaxis(ceiling, 2, 0)
    found = over_trials.judged(drawn[0], drawn[:0], drawn[1:])
    reach = np.ones_like(drawn[0])
    if len(drawn) > 1:
        noise = over_trials.interval(observed[1:])[1][:, :, None]
        top = observed[0][:, :, None]
        reach = np.where(top > np.maximum(found["null_high"], noise), top, 1.0)
    return {
        "value": drawn[0][:, :, 0],
        "ceiling": observed[0],
        **{key: found[key] for key in ("null_mean", "null_low", "null_high", "p")},
        "reach": reach,
        "calibrated": _calibrated(drawn[0], found["null_mean"], reach),
    }


def _calibrated(value: Floats, floor: Floats, reach: Floats) -> Floats:
    room = reach - floor
    return np.asarray((value - floor) / np.where(room > 0, room, np.nan))


def _intervals(pairs: Floats) -> dict[str, Floats]:
    """Return ``value, low, high (...)`` over animals, of pairs ``(..., source, target)``."""
    found = [over_pairs(one) for one in pairs.reshape(-1, *pairs.shape[-2:])]
    return {key: np.array([getattr(one, key) for one in found]).reshape(pairs.shape[:-2]) for key in ("value", "low", "high")}


def _null_words(draws: int, layout: Layout) -> dict[str, str]:
    return {
        TRIALS: f"{draws} permutations of activity or latents among the test trials of each animal, decode-only: what was fitted "
        "on training trials (models, components, maps between animals) is kept",
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
                **numbers(one),
                interval=scores.attrs["interval"],
                null_kind=scores.attrs[f"null_{null}"],
                null_n=int(scores.attrs["permutations"]),
                chance=0.0,
                baseline=UNLIKE,
                n_animals=scores.sizes["source"],
                n_trials=int(scores["trials"].sum()),
                n_windows=int(scores.attrs["windows"]),
                n_splits=int(scores.attrs["splits"]),
                in_sample=bool(scores.attrs["in_sample"]),
            )
            lines.append(raw)
            if np.isfinite(raw.floor):
                lines.append(_on_scale(raw, one))
    return lines


def _on_scale(raw: Score, one: xr.Dataset) -> Score:
    """Return the line with its floor at 0 and the ceiling at 1."""
    room = float(one["reach"]) - raw.floor
    if REFERENCE not in one["reference"]:
        raw = raw._replace(baseline=f"{REASON}{REFERENCE} was not compared")
    elif raw.representation == REFERENCE:
        raw = raw._replace(baseline=f"{REASON}others are compared with it")
    else:
        found = difference(one)
        words = REFERENCE if np.isfinite(found["difference_low"]) else f"{REFERENCE}; interval {raw.interval}"
        raw = raw._replace(baseline=words, **found)
    return raw._replace(
        setting="between animals, 0 at the floor and 1 at the noise ceiling",
        value=float(one["calibrated"]),
        low=float(one["calibrated_low"]),
        high=float(one["calibrated_high"]),
        interval=f"{raw.interval}; floor and ceiling as if known",
        floor=0.0,
        floor_low=(raw.floor_low - raw.floor) / room,
        floor_high=(raw.floor_high - raw.floor) / room,
    )


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw calibrated consistency beside what in-sample R2 would say, the pairs, and distances."""
    from neuromvm.analysis.figures import consistency as figures  # here, so that computing needs no plotting library

    return {"calibrated": figures.calibrated(scores), "pairs": figures.pairs(scores), "distances": figures.distances(scores)}
