"""Analysis ``consistency``: do animals represent the conditions alike, and does a model make them more alike than chance?

Class means of an animal (one for each label, and window where labels do not change within a trial) are compared with those of
another; :mod:`neuromvm.analysis.consistency.similarity` has the measures. Three things make a model of 3 latents, a model of 32
latents and the raw activity comparable: no score is of trials (or conditions) that were fitted; the same comparison is made with
labels permuted (floor); and every animal is compared with itself on other trials (ceiling).
"""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.consistency.between_animals import (
    CONDITIONS,
    DIMS,
    OWN_NULL,
    PAIRS,
    TRIALS,
    Measure,
    compare_pairs,
    distances_between,
    measures_left_out,
)
from neuromvm.analysis.consistency.class_means import Layout, layout_of
from neuromvm.analysis.consistency.left_out_units import falls
from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.scoring import NO_FLOOR, failures_in_words
from neuromvm.analysis.readouts.representations import Floats, Inputs, Latents, Representation, ever_held_out
from neuromvm.analysis.scores import (
    ABSENT_PREFIX,
    NULL_VARIABLES,
    Absent,
    Counts,
    Difference,
    Interval,
    Null,
    Score,
    saved_interval,
    saved_null,
)
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.hierarchy import between_animals, mean_of_pairs, over_pairs
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.errors import SpecError
from neuromvm.progress import steps
from neuromvm.schema import check_same_trials, in_sample, subjects
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

Variable = tuple[tuple[str, ...], Floats]  # dims and array

CONSISTENCY = "consistency"
REFERENCE = "raw"
SCORES = ("representation", "measure")
NULLS = (*SCORES, "null")
CORRESPONDENCE_STATISTICS = ("mean", "low", "high", "p")
WORDS = {
    "linear map": "R2 of class means through a linear map",
    "new conditions": "R2 of class means the linear map was not fitted on",
    "dissimilarities": "correlation of cross-validated dissimilarities",
    "cka": "debiased linear CKA",
}
SCRAMBLED = f"between animals, {CORRESPONDENCE}"
EXCHANGED = "the names of the conditions exchanged within each animal, independently of other animals; {}"
NOT_EXCHANGED = (
    f"{ABSENT_PREFIX}the model was not compared on refits with exchanged names and this ridge: "
    "neuromvm refit RUN --null correspondence"
)
UNLIKE = Absent("values of few and of many dimensions are compared between floor and ceiling only")


class Options(Spec):
    """Measures and resampling."""

    measures: tuple[Measure, ...] = Field(("linear map", "new conditions", "dissimilarities", "cka"), min_length=1)
    baselines: tuple[Literal["raw", "pca"], ...] = ("raw", "pca")
    ridge: float = Field(1.0, gt=0, description="Of linear maps, in units of the mean square of a class mean")
    permutations: int = Field(200, ge=99, description="Of test trials, and of conditions")
    leave_out_units: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Numbers of units, e.g. [1, 5, 10]: how far scores of raw activity fall without the most influential ones"
    )
    seed: int = Field(0, ge=0, description="Of the permutations of conditions, and of units drawn at random")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Compare animals in every model of a run and in their activity; :func:`compare_animals` says what is returned.

    With ``leave_out_units``, and trials that do not both train and test, also what
    :func:`neuromvm.analysis.consistency.left_out_units.falls` returns.
    """
    samples, splits = study.samples, study.splits
    representations: dict[str, Representation] = {
        name: Latents(study.latents(name), splits, inverse_penalty=1.0) for name in study.models
    }
    inputs = Inputs(samples, splits)
    for name in options.baselines:
        if name in representations:
            raise SpecError(f"models.{name}", found="a model with the name of a baseline", next_step="Rename the model")
        representations[name] = decoding.baseline(name, inputs, decoding.Options())
    refits = {name: study.exchanged_scores(name, CONSISTENCY, refit_settings(options)) for name in study.models}
    known = {name: refit for name, refit in refits.items() if refit is not None}
    scores = compare_animals(samples, splits, representations, options, known)
    if not options.leave_out_units or in_sample(splits):
        return scores
    without_units = falls(
        decoding.baseline(REFERENCE, inputs, decoding.Options()),
        samples,
        splits,
        layout_of(samples, splits),
        scores["measure"].to_numpy().tolist(),
        options.leave_out_units,
        ridge=options.ridge,
        draws=options.permutations,
        seed=options.seed,
    )
    return scores.merge(without_units, combine_attrs="no_conflicts")


def refit_settings(options: Options) -> str:
    """Return the options on which values of refits depend, as JSON."""
    return json.dumps(options.model_dump(mode="json", include={"ridge"}))


def compare_animals(
    samples: xr.DataTree,
    splits: xr.DataTree,
    representations: Mapping[str, Representation],
    options: Options | None = None,
    refits: Mapping[str, xr.Dataset] | None = None,
) -> xr.Dataset:
    """Compare the class means of all pairs of animals in several representations.

    Labels that an animal lacks on either side of a split are left out for all; numbers of features may differ between
    representations and animals. ``refits`` holds models that were fitted again with exchanged names of conditions, ``value
    (permutation, measure, source, target)``.

    Returns
    -------
    Mean over ordered pairs of animals, splits and seeds: ``value, low, high, ceiling (representation, measure)``; ``null_mean,
    null_low, null_high, p, reach, calibrated, calibrated_low, calibrated_high (representation, measure, null)``, and with
    ``raw`` among the representations ``difference, difference_low, difference_high`` of calibrated values to it.

    - ``cka`` needs six conditions, it and ``dissimilarities`` two trials of each label on both sides of all splits; measures
      without these are in the attribute ``left_out``.
    - Calibrated is (value - null mean) / (reach - null mean). Reach is the ceiling, or 1 where null draws reach the ceiling, too.
    - Null ``trials``: activity or latents are permuted among the test trials of every animal; what was fitted on training
      trials stays. Null ``conditions``: class means as observed, with the labels of each animal exchanged, which asks whether
      the *same* conditions are alike.
    - ``correspondence_mean, correspondence_low, correspondence_high, correspondence_p (representation, measure)``: the null of
      scrambled correspondence. Names of conditions are exchanged within each animal and all that was fitted with names is fitted
      again; for what is fitted to each animal alone this is the null ``conditions``. ``correspondence_draws,
      correspondence_kind (representation)`` say how often and how, or why not.
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
    """
    options = options or Options()
    check_same_trials(samples, splits)
    animals = list(samples.children)
    if len(animals) < 2:
        raise SpecError("analysis consistency", found="one animal", expected="at least two", next_step="Leave it out")
    layout, fitted = layout_of(samples, splits), in_sample(splits)
    left_out = measures_left_out(options.measures, layout)
    measures = [measure for measure in options.measures if measure not in left_out]
    draws = 0 if fitted else options.permutations
    compared = [
        compare_pairs(representation, samples, splits, layout, measures, ridge=options.ridge, draws=draws, seed=options.seed)
        for representation in steps(representations.values(), "consistency", "row")
    ]
    arrays = {key: np.stack([pairs.arrays[key] for pairs in compared]) for key in DIMS}
    names, numbers = list(representations), subjects(samples)
    reference = names.index(REFERENCE) if REFERENCE in names and not fitted else None
    variables = {
        **_correspondence(representations, arrays["values"], measures, refits or {}, draws),
        **_scores(arrays.pop("values"), arrays.pop("ceiling"), reference, numbers),
        **{key: (("representation", *DIMS[key]), array) for key, array in arrays.items()},
        "model_distance": (("representation", "reference"), distances_between(compared)),
        "trials": (("source",), np.array([ever_held_out(splits, animal).sum() for animal in animals])),
    }
    coords = {"measure": measures, "null": [TRIALS, CONDITIONS], "source": animals, "target": animals}
    return xr.Dataset(variables, coords={"representation": names, "reference": names, **coords}).assign_attrs(
        interval=over_pairs(compared[0].arrays["values"][0, 0, 0], numbers).words,
        conditions=len(layout.groups),
        labels=len(layout.labels),
        windows=samples[animals[0]].sizes["window"],
        splits=next(iter(splits.children.values())).sizes["split"],
        permutations=draws,
        in_sample=int(fitted),
        left_out=_in_words(left_out),
        **{f"null_{null}": NO_FLOOR if fitted else words for null, words in _null_words(draws, layout).items()},
    )


def _in_words(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{measure}: {reason}" for measure, reason in left_out.items())


def _scores(values: Floats, ceiling: Floats, reference: int | None, numbers: NDArray[np.intp]) -> dict[str, Variable]:
    """Return scores with nulls, intervals, and differences to the representation of number ``reference``.

    ``values`` are ``(representation, measure, null, draw, source, target)``, ``ceiling`` the same without ``null``; ``numbers``
    are those of the subjects of the animals.
    """
    variables: dict[str, Variable] = {}
    for prefix, reduced, pair in (("", mean_of_pairs, ()), ("pair_", between_animals, PAIRS)):
        for key, array in _summary(reduced(values), reduced(ceiling)).items():
            variables[prefix + key] = ((*(SCORES if key in ("value", "ceiling") else NULLS), *pair), array)
    calibrated = _calibrated(values[:, :, :, 0], *(variables[key][1][..., None, None] for key in ("null_mean", "reach")))
    for prefix, dims, pairs in (("", SCORES, values[:, :, 0, 0]), ("calibrated_", NULLS, calibrated)):
        _, low, high = _intervals(pairs, numbers)
        variables |= {f"{prefix}low": (dims, low), f"{prefix}high": (dims, high)}
    if reference is not None:
        differences = _intervals(calibrated - calibrated[reference], numbers)
        keys = "difference", "difference_low", "difference_high"
        variables |= {key: (NULLS, array) for key, array in zip(keys, differences, strict=True)}
    return variables


def _correspondence(
    representations: Mapping[str, Representation],
    values: Floats,
    measures: Sequence[str],
    refits: Mapping[str, xr.Dataset],
    draws: int,
) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """Return the null of scrambled correspondence of values ``(representation, measure, null, draw, source, target)``."""
    statistics, counts, kinds = [], [], []
    for (name, representation), of_representation in zip(representations.items(), values, strict=True):
        value = mean_of_pairs(of_representation[:, 0, 0])
        drawn: Floats = np.empty((0, len(measures)))
        kind = NOT_EXCHANGED if draws else NO_FLOOR
        if draws and not representation.shared:
            drawn = mean_of_pairs(np.moveaxis(of_representation[:, 1, 1:], 1, 0))
            kind = EXCHANGED.format("nothing else depends on names")
        elif draws and name in refits:
            pairs = refits[name]["value"].sel(measure=list(measures)).transpose("permutation", "measure", "source", "target")
            drawn = mean_of_pairs(pairs.to_numpy())
            failed = np.isnan(drawn) & ~np.isnan(value)
            kind = "refits: " + EXCHANGED.format("the model is fitted anew") + failures_in_words(failed)
        statistics.append(over_trials.under_refits(value, drawn))
        counts.append(len(drawn))
        kinds.append(kind)
    numbers = dict(zip(CORRESPONDENCE_STATISTICS, np.moveaxis(np.stack(statistics), -1, 0), strict=True))
    return {
        **{f"correspondence_{key}": (SCORES, array) for key, array in numbers.items()},
        "correspondence_draws": (("representation",), np.array(counts)),
        "correspondence_kind": (("representation",), np.array(kinds)),
    }


def _summary(values: Floats, ceiling: Floats) -> dict[str, Floats]:
    """Summarise ``(representation, measure, null, draw, ...)`` and ceilings ``(representation, measure, draw, ...)``."""
    draws, ceilings = np.moveaxis(values, 3, 0), np.moveaxis(ceiling, 2, 0)
    judged = over_trials.judged(draws[0], draws[:0], draws[1:])
    reach = np.ones_like(draws[0])
    if len(draws) > 1:
        null_ceiling = over_trials.interval(ceilings[1:])[1][:, :, None]
        observed = ceilings[0][:, :, None]
        reach = np.where(observed > np.maximum(judged["null_high"], null_ceiling), observed, 1.0)
    return {
        "value": draws[0][:, :, 0],
        "ceiling": ceilings[0],
        **{key: judged[key] for key in ("null_mean", "null_low", "null_high", "p")},
        "reach": reach,
        "calibrated": _calibrated(draws[0], judged["null_mean"], reach),
    }


def _calibrated(value: Floats, floor: Floats, reach: Floats) -> Floats:
    scale = reach - floor
    return np.asarray((value - floor) / np.where(scale > 0, scale, np.nan))


def _intervals(pairs: Floats, of_subject: NDArray[np.intp]) -> Floats:
    """Return value, low and high over animals, ``(3, ...)``, of pairs ``(..., source, target)``."""
    intervals = [over_pairs(matrix, of_subject) for matrix in pairs.reshape(-1, *pairs.shape[-2:])]
    numbers = np.array([[interval.value, interval.low, interval.high] for interval in intervals])
    return numbers.T.reshape(3, *pairs.shape[:-2])


def _null_words(draws: int, layout: Layout) -> dict[str, str]:
    return {
        TRIALS: f"{draws} permutations of activity or latents among the test trials of each animal, decode-only: what was fitted "
        "on training trials (models, components, maps between animals) is kept",
        CONDITIONS: f"{draws} exchanges of the {len(layout.labels)} labels as wholes in each animal, maps between animals "
        "refitted, models and components not",
    }


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return two lines for each representation and measure, under the null of the measure: as scored, and calibrated.

    A model that was fitted again with exchanged names has a third, under the null of scrambled correspondence.
    """
    lines = []
    for representation, measure in product(scores["representation"].values, scores["measure"].values):
        score = scores.sel(representation=representation, measure=measure, null=OWN_NULL[measure])
        line = _line(score, str(representation), str(measure))
        lines.append(line)
        if isinstance(line.null, Null):
            lines.append(_calibrated_line(line, line.null, score))
        if str(score.get("correspondence_kind", xr.DataArray("")).item()).startswith("refits"):
            mean, low, high, p = (float(score[f"correspondence_{key}"]) for key in CORRESPONDENCE_STATISTICS)
            kind, draws = str(score["correspondence_kind"].item()), int(score["correspondence_draws"])
            lines.append(line._replace(setting=SCRAMBLED, null=Null(kind, draws, mean, low, high, p)))
    if "fall" in scores:
        lines += [
            _fall_line(scores.sel(measure=measure, left_out=number), str(measure), int(number))
            for measure, number in product(scores["measure"].values, scores["left_out"].values)
        ]
    return lines


def _line(score: xr.Dataset, representation: str, measure: str) -> Score:
    """Return the line of a score that is not calibrated."""
    attrs, words = score.attrs, str(score.attrs[f"null_{OWN_NULL[measure]}"])
    is_known = bool(np.isfinite(score["null_mean"]))
    return Score(
        f"consistency: {WORDS[measure]}",
        representation,
        "between animals",
        float(score["value"]),
        Counts(score.sizes["source"], int(score["trials"].sum()), int(attrs["windows"]), int(attrs["splits"])),
        interval=_interval(score, "", attrs["interval"]),
        resampled=attrs["interval"],
        null=saved_null(score, words, attrs["permutations"]) if is_known else Absent(words.removeprefix(ABSENT_PREFIX)),
        chance=0.0,
        difference=UNLIKE,
        in_sample=bool(attrs["in_sample"]),
    )


def _calibrated_line(line: Score, null: Null, score: xr.Dataset) -> Score:
    """Return the line with the floor at 0 and the ceiling at 1."""
    scale, words = float(score["reach"]) - null.mean, f"{line.resampled}; floor and ceiling as if known"
    difference: Difference | Absent
    if REFERENCE not in score["reference"]:
        difference = Absent(f"{REFERENCE} was not compared")
    elif line.representation == REFERENCE:
        difference = Absent("others are compared with it")
    else:
        value, low, high = (float(score[key]) for key in ("difference", "difference_low", "difference_high"))
        baseline = REFERENCE if np.isfinite(low) else f"{REFERENCE}; interval {line.resampled}"
        difference = Difference(baseline, value, Interval(low, high))
    return line._replace(
        setting="between animals, 0 at the floor and 1 at the noise ceiling",
        value=float(score["calibrated"]),
        interval=_interval(score, "calibrated_", words),
        resampled=words,
        null=null._replace(mean=0.0, low=(null.low - null.mean) / scale, high=(null.high - null.mean) / scale),
        difference=difference,
    )


def _fall_line(score: xr.Dataset, measure: str, number: int) -> Score:
    """Return the line of what a score of raw activity loses without the most influential units."""
    attrs = score.attrs
    return Score(
        f"consistency: fall of the {WORDS[measure]} without the most influential units",
        REFERENCE,
        f"between animals, {number} of each animal left out",
        float(score["fall"]),
        Counts(score.sizes["source"], int(score["trials"].sum()), int(attrs["windows"]), int(attrs["splits"])),
        interval=_interval(score, "fall_", attrs["interval"]),
        resampled=attrs["interval"],
        null=saved_null(score, attrs["null_units"], attrs["null_units_draws"], [f"fall_{key}" for key in NULL_VARIABLES]),
        chance=Absent("the null is of units drawn at random"),
        difference=Absent("compared with units drawn at random"),
    )


def _interval(score: xr.Dataset, prefix: str, words: str) -> Interval | Absent:
    """Return the saved interval, or the reason in ``words`` why there is none."""
    if words.startswith(ABSENT_PREFIX):
        return Absent(words.removeprefix(ABSENT_PREFIX))
    return saved_interval(score, prefix)


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw calibrated consistency beside what in-sample R2 would say, the pairs, and distances."""
    from neuromvm.analysis.figures import consistency as figures  # here, so that computing needs no plotting library

    drawn = {"calibrated": figures.calibrated(scores), "pairs": figures.pairs(scores), "distances": figures.distances(scores)}
    return drawn | ({"units": figures.without_units(scores)} if scores.sizes.get("left_out") else {})
