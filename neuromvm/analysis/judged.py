"""Saved scores with named dims, and the parts of a summary line that are read from them.

A dataset of scores holds, with the dims of an analysis in place of ``...``:

- ``score (..., unit_of_inference, statistic)``: the score and its 95 % interval, for which trials or animals are resampled;
- ``difference (reference, ..., unit_of_inference, statistic)``: the score minus that of a reference, paired by draw;
- ``null_score (null, ..., null_statistic)``: mean, 95 % range and p under each null hypothesis;
- ``null_kind, null_draws (null, representation)``: how labels were broken, in words, and how often;
- ``null_absent``: why a null does not exist, '' where it does;
- ``chance (...)``: what guessing gives.

The dim ``target`` has the animals that are read and, first, ``ALL_ANIMALS``: the mean over them. Its coordinate ``subject``
numbers the subjects, of which several targets may be sessions. Absent numbers are NaN.
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.scores import Absent, Difference, Interval, Null
from neuromvm.analysis.statistics.over_trials import Floats, interval, mean_of_scored
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import LABELS as LABELS

STATISTICS = ("value", "low", "high")
NULL_STATISTICS = ("mean", "low", "high", "p")
TRIALS, ANIMALS = "trials", "animals"
UNITS_OF_INFERENCE = (TRIALS, ANIMALS)
STATISTIC_COORDS: dict[str, Any] = {
    "unit_of_inference": list(UNITS_OF_INFERENCE),
    "statistic": list(STATISTICS),
    "null_statistic": list(NULL_STATISTICS),
}
ALL_ANIMALS = "all animals"
SUBJECT = "subject"
CLASS_NAMES = "class names"  # a null of several analyses, beside LABELS
NOT_OF_SETTING = "this null does not apply to this setting"


def values(scores: xr.Dataset) -> xr.DataArray:
    """Return the plain table of scores, usually ``(representation, setting)``: the mean over animals, without intervals.

    Examples
    --------
    >>> dims = ("representation", "target", "unit_of_inference", "statistic")
    >>> coords = {"representation": ["raw"], "target": [ALL_ANIMALS], "unit_of_inference": [TRIALS], "statistic": ["value"]}
    >>> values(xr.Dataset({"score": (dims, [[[[0.4]]]])}, coords)).to_series()
    representation
    raw    0.4
    Name: score, dtype: float64
    """
    selected = {"target": ALL_ANIMALS, "unit_of_inference": TRIALS, "statistic": "value"}
    score = scores["score"]
    return score.sel({dim: name for dim, name in selected.items() if dim in score.dims}, drop=True)


def animals_of(scores: xr.Dataset) -> list[str]:
    """Return the animals that are read, without the mean over them."""
    return [str(target) for target in scores["target"].values if target != ALL_ANIMALS]


def number_of_animals(targets: xr.DataArray) -> int:
    """Return how many animals have a finite score ``(target,)``; sessions of one subject count once."""
    scored = targets["target"].values[np.isfinite(targets.values)]
    names = [name for name in scored.tolist() if name != ALL_ANIMALS]
    if SUBJECT not in targets.coords:
        return len(names)
    return len(np.unique(targets[SUBJECT].sel(target=names)))


def subject_coord(numbers: NDArray[np.intp]) -> dict[str, Any]:
    """Return the coordinate of subjects, from the number of each animal's: -1 for the mean over them, which is the first."""
    return {SUBJECT: ("target", np.concatenate([[-1], numbers]))}


def is_difference(setting: str) -> bool:
    """Say whether a setting is the difference of two, such as ``within - cross``: its chance is 0."""
    return " - " in setting


def null_in_words(scores: xr.Dataset, null: str) -> str:
    """Say how the labels were broken for a null, or why there is no such null; representations may differ."""
    if null not in scores["null"].values:
        return ""
    selected = scores.sel(null=null)
    absent = [reason for reason in np.unique(selected["null_absent"]) if reason != NOT_OF_SETTING]
    reasons = [str(Absent(str(reason))) for reason in absent if reason]
    kinds = [str(kind) for kind in np.ravel(selected["null_kind"]) if kind] if "" in absent else []
    return "; ".join(dict.fromkeys([*kinds, *reasons]))


def is_judged(scores: xr.Dataset) -> bool:
    """Say whether scores have the dims described here; those that earlier versions saved have not."""
    variables = {"score": "statistic", "difference": "reference", "null_score": "null_statistic"}
    return all(name in scores and dim in scores[name].dims for name, dim in variables.items())


def check_judged(scores: xr.Dataset, analysis: str) -> None:
    """Raise RunFolderError if scores do not have the dims described here, because an earlier version saved them."""
    if not is_judged(scores):
        raise RunFolderError(
            f"scores/{analysis}.nc",
            found="scores saved by an earlier version of neuromvm",
            expected="scores with the dims unit_of_inference, statistic and null",
            next_step=f"Compute them again: neuromvm analyze {analysis} RUN",
        )


def value_of(score: xr.DataArray) -> float:
    """Return the score itself from ``score (unit_of_inference, statistic)``."""
    return float(score.sel(unit_of_inference=TRIALS, statistic="value"))


def interval_of(score: xr.DataArray, unit: str = TRIALS, reason: str = "too few to resample") -> Interval | Absent:
    """Return the interval of ``score (unit_of_inference, statistic)``; Absent, with the reason, where it is NaN."""
    low, high = (float(score.sel(unit_of_inference=unit, statistic=bound)) for bound in ("low", "high"))
    return Interval(low, high) if np.isfinite([low, high]).all() else Absent(reason)


def null_of(scores: xr.Dataset, null: str) -> Null | Absent:
    """Return a null of scores in which all dims but ``null`` and ``null_statistic`` are selected."""
    selected = scores.sel(null=null)
    reason = str(selected["null_absent"].item())
    if reason:
        return Absent(reason)
    mean, low, high, p = (float(selected["null_score"].sel(null_statistic=name)) for name in NULL_STATISTICS)
    return Null(str(selected["null_kind"].item()), int(selected["null_draws"]), mean, low, high, p)


def difference_of(scores: xr.Dataset, reference: str, reason: str = "the reference has no such score") -> Difference | Absent:
    """Return the difference to a reference, of scores in which all dims but ``reference`` and those of a score are selected."""
    difference = scores["difference"].sel(reference=reference)
    interval = interval_of(difference)
    if isinstance(interval, Absent):
        return Absent(reason)
    return Difference(reference, value_of(difference), interval, interval_of(difference, ANIMALS))


def over_trials_alone(value: Floats, bootstrap: Floats) -> Floats:
    """Return ``(..., unit_of_inference, statistic)`` of scores ``(...)`` and their draws over trials ``(draw, ...)``.

    The interval over animals is NaN.
    """
    bounds = interval(bootstrap), np.full((2, *np.shape(value)), np.nan)
    return np.stack([np.stack([value, *of_unit], axis=-1) for of_unit in bounds], axis=-2)


def with_mean(of_animals: Floats) -> Floats:
    """Return ``(..., target)`` of ``(..., animal)``: the mean over animals first, NaN being left out."""
    return np.concatenate([mean_of_scored(of_animals, axis=-1)[..., None], of_animals], axis=-1)
