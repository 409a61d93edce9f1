"""Spike times of many units as the ragged columns of a ``Units`` table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.errors import DataFormatError


def ragged(name: str, pieces: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a ragged column: all values, one row after another, and where each row ends."""
    values = np.concatenate([np.empty((0, *pieces[0].shape[1:])), *pieces]) if len(pieces) else np.empty(0)
    return {name: values, f"{name}_index": np.cumsum([len(piece) for piece in pieces], dtype=np.int64)}


def trains_of_units(
    where: str, times: NDArray[Any], units: NDArray[Any], ids: NDArray[Any] | None = None
) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Return the units and the column ``spike_times`` of spikes with a time and a unit each.

    ``ids`` are the units in the order wanted, also silent ones; without them, those that fire, sorted. DataFormatError is raised
    for a spike without a unit or of an unknown one.
    """
    if times.shape != units.shape or times.ndim != 1:
        raise DataFormatError(
            where, found=f"{times.shape} times and {units.shape} units of spikes", expected="a unit for each time"
        )
    if units.dtype.kind == "f" and np.isfinite(units).all() and (units == np.round(units)).all():
        units = units.astype(np.int64)
    if (units.dtype.kind == "U" and (units == "").any()) or units.dtype.kind not in "Uiu":
        raise DataFormatError(
            where, found=f"units of type {units.dtype}, or empty", expected="a name or number of a unit for every spike"
        )
    if ids is None:
        ids = np.unique(units)
    elif (ids.dtype.kind == "U") != (units.dtype.kind == "U"):
        ids, units = ids.astype(str), units.astype(str)
    order = np.argsort(ids, kind="stable")
    row = order[np.minimum(np.searchsorted(ids, units, sorter=order), max(len(ids) - 1, 0))] if len(ids) else np.empty(0, int)
    unknown = ids[row] != units if len(ids) else np.ones(len(units), dtype=bool)
    if unknown.any():
        problem = f"{int(unknown.sum())} spikes of units that are not in the table of units, first {units[unknown][0]!s}"
        raise DataFormatError(where, found=problem, expected="a row for every unit", next_step="Add the units to the table")
    ends = np.cumsum(np.bincount(row, minlength=len(ids)), dtype=np.int64)
    return ids, {"spike_times": times[np.argsort(row, kind="stable")], "spike_times_index": ends}


def units_table(ids: NDArray[Any], columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a Units table ``units/...``; names of units become the column ``unit_name``, and their ids are numbered from 0."""
    if ids.dtype.kind == "U":
        columns = {"unit_name": ids, **columns}
        ids = np.arange(len(ids))
    return {"units/id": ids, **{f"units/{name}": values for name, values in columns.items()}}
