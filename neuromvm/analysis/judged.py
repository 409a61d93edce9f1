"""Saved scores with named dims, and the parts of a summary line that are read from them.

A dataset of scores holds, with whatever dims an analysis needs in place of ``...``:

``score (..., unit_of_inference, statistic)``
    ``statistic`` is ``value``, ``low``, ``high``: the score and its 95 % interval. ``unit_of_inference`` says what is resampled
    for the interval: ``trials`` or ``animals``.
``difference (reference, ..., unit_of_inference, statistic)``
    The score minus that of the representation ``reference``, paired by draw.
``null (null, ..., null_statistic)``
    ``null_statistic`` is ``mean``, ``low``, ``high``, ``p``: the score under each null hypothesis, named by ``null``.
``null_kind, null_draws, null_absent (null, representation)``
    How labels were broken, in words; how often; and why there is no such null, or ''.
``chance (...)``
    What guessing gives.

A dim ``target`` has the animals that are read and, first, ``ALL_ANIMALS``: the mean over them.
"""

import numpy as np
import xarray as xr

from neuromvm.analysis.scores import Absent, Difference, Interval, Null

STATISTICS = ("value", "low", "high")
NULL_STATISTICS = ("mean", "low", "high", "p")
TRIALS, ANIMALS = "trials", "animals"
UNITS = (TRIALS, ANIMALS)
ALL_ANIMALS = "all animals"


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
    mean, low, high, p = (float(selected["null"].sel(null_statistic=name)) for name in NULL_STATISTICS)
    return Null(str(selected["null_kind"].item()), int(selected["null_draws"]), mean, low, high, p)


def difference_of(scores: xr.Dataset, reference: str, reason: str = "the reference has no such score") -> Difference | Absent:
    """Return the difference to a reference, of scores in which all dims but ``reference`` and those of a score are selected."""
    difference = scores["difference"].sel(reference=reference)
    interval = interval_of(difference)
    if isinstance(interval, Absent):
        return Absent(reason)
    return Difference(reference, value_of(difference), interval, interval_of(difference, ANIMALS))
