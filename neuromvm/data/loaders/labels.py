"""Values of table columns as text and as labels, and filters of these values."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm.schema import ACTIVITY_NAMES, GRID_DIMS, Dropped
from neuromvm.specs.data import Scalar

LARGEST_EXACT = 2.0**53


def as_text(values: NDArray[Any]) -> NDArray[np.str_]:
    """Return values as text: whole numbers without decimals, NaN and None as ''."""
    values = np.asarray(values)
    if values.dtype.kind == "O":
        whole = (int(value) if isinstance(value, float) and _is_whole(value) else value for value in values)
        return np.array(["" if pd.isna(value) else str(value) for value in whole], dtype=str)
    if values.dtype.kind != "f":
        return values.astype(str)
    return np.array(["" if np.isnan(v) else str(int(v)) if _is_whole(v) else str(v) for v in values], dtype=str)


def as_label(values: NDArray[Any]) -> NDArray[Any]:
    """Return a column as a label: text and bool unchanged, whole numbers as int64, or as text with '' for NaN if there is one.

    Numbers of less precision than float64 become those of their shortest text, .1 for a float32 of .1.
    """
    if values.dtype.kind in "iu":
        largest = int(values.max(initial=0)) if values.size else 0
        return values.astype(np.int64) if largest <= np.iinfo(np.int64).max else values.astype(str)
    if values.dtype.kind != "f":
        return values
    if values.dtype.itemsize < 8:
        values = np.array([float(str(value)) for value in values], dtype=np.float64)
    known = values[~np.isnan(values)]
    if not all(_is_whole(value) for value in known):
        return values.astype(np.float64)
    return values.astype(np.int64) if len(known) == len(values) else as_text(values)


def spellings(value: Scalar) -> set[str]:
    """Return the texts that a value of a filter matches in a column; flags may be bools, 0 and 1, or text such as "true"."""
    if not isinstance(value, str) and value in (0, 1):
        flag = str(bool(value))
        return {flag, str(int(value)), *((flag.lower(), flag.upper()) if isinstance(value, bool) else ())}
    return set(as_text(np.array([value])).tolist())


def is_one_of(values: NDArray[Any], allowed: Sequence[Scalar]) -> NDArray[np.bool_]:
    """Return for each value of a column whether it is allowed."""
    texts = set().union(*(spellings(value) for value in allowed))
    return np.isin(as_text(values), sorted(texts))


def exclude(
    rows: NDArray[np.bool_], row_name: str, reasons: Iterable[tuple[str, NDArray[np.bool_]]]
) -> tuple[NDArray[np.bool_], list[Dropped]]:
    """Return the remaining rows ``(row,)``, and how many rows (``row_name``: trials, units) each reason excludes first."""
    dropped = []
    for reason, excluded in reasons:
        dropped.append(Dropped(row_name, reason, int((excluded & rows).sum())))
        rows = rows & ~excluded
    return rows, dropped


def shown(values: Sequence[Any] | set[str], most: int = 12) -> str:
    """Return a short list of values for messages and accounts."""
    texts = sorted(map(str, values))
    return ", ".join(texts[:most]) + (f", ... ({len(texts)} in all)" if len(texts) > most else "")


def joint_coords(trials: xr.Dataset, units: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """Return the coordinates of trials and units; a unit column with the name of another coordinate gets the prefix ``unit_``."""
    taken = {*map(str, trials.coords), *GRID_DIMS, *ACTIVITY_NAMES, "session", "trial_id"}
    named = {name: f"unit_{name}" if name in taken else name for name in map(str, units.coords)}
    return {
        **trials.coords,
        **{named[str(name)]: values.drop_vars(set(values.coords) - {"unit"}) for name, values in units.coords.items()},
    }


def _is_whole(value: Any) -> bool:
    return bool(np.isfinite(value) and abs(value) < LARGEST_EXACT and float(value).is_integer())
