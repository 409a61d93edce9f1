"""Lines of a summary from saved variables ``value, low, high, null_mean, null_low, null_high, p``."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from neuromvm.analysis.scores import NO_REASON, Absent, Interval, Null, Score


def interval_of(scores: xr.Dataset, prefix: str = "") -> Interval:
    """Return the interval ``low, high`` of scalars; ``prefix`` begins their names."""
    return Interval(float(scores[f"{prefix}low"]), float(scores[f"{prefix}high"]))


def score_of(
    scores: xr.Dataset,
    null_kind: str,
    null_draws: int,
    parts: Mapping[str, Any],
    *,
    prefix: str = "",
    null: str = "null",
    p: str = "p",
) -> Score:
    """Return the line of a score that is saved as scalars.

    Parameters
    ----------
    scores
        Scalars ``value, low, high, null_mean, null_low, null_high, p``.
    null_kind, null_draws
        How labels were broken, in words, and how often. Words that begin with "none: " say why there is no null.
    parts
        Other fields of :class:`neuromvm.analysis.scores.Score`.
    prefix
        Begins the names of all variables.
    null, p
        Names of another null and of its p-value.

    Examples
    --------
    >>> from neuromvm.analysis.scores import Counts
    >>> saved = {"value": 0.4, "low": 0.3, "high": 0.5, "null_mean": 0.25, "null_low": 0.2, "null_high": 0.3, "p": 0.01}
    >>> named = {"what": "balanced accuracy", "representation": "raw", "setting": "within", "n": Counts(5, 90, 1, 3)}
    >>> score_of(xr.Dataset(saved), "labels permuted", 99, named).null.mean
    0.25
    """
    absent = null_kind.startswith(NO_REASON)
    numbers = [float(scores[prefix + name]) for name in (f"{null}_mean", f"{null}_low", f"{null}_high", p)]
    return Score(
        value=float(scores[f"{prefix}value"]),
        interval=interval_of(scores, prefix),
        null=Absent(null_kind.removeprefix(NO_REASON)) if absent else Null(null_kind, int(null_draws), *numbers),
        **parts,
    )
