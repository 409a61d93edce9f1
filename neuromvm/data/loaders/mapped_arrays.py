"""Named arrays of a file, placed at the paths of NWB that a spec gives them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import MemoryTree
from neuromvm.data.loaders.foreign_file import whole_numbers
from neuromvm.data.loaders.spike_trains import ragged, trains_of_units
from neuromvm.data.loaders.trial_file import in_seconds, is_time
from neuromvm.errors import DataFormatError
from neuromvm.specs.data import DataSpec
from neuromvm.specs.sources import MappedSource

Value = NDArray[Any] | list[NDArray[Any]]  # a list: one array a row, from a cell or from several arrays
RAGGED = ("spike_times", "obs_intervals")


def mapped_tree(path: Path, spec: DataSpec, values_of: Callable[[list[str]], Mapping[str, Value]], only: str = "") -> MemoryTree:
    """Return the arrays that the source of a spec names; ``values_of`` returns those with the names in a file.

    ``only``: read only paths that begin with this.
    """
    source = spec.source
    assert isinstance(source, MappedSource)
    names = {nwb_path: name for nwb_path, name in source.arrays.items() if nwb_path.startswith(only)}
    values = values_of(list(dict.fromkeys(names.values()))) if names else {}
    arrays: dict[str, NDArray[Any]] = {}
    for nwb_path, name in names.items():
        where = f"{path}: {name}"
        arrays |= _placed(where, nwb_path, values[name], nwb_path in source.transpose)
    arrays = _with_units(path, arrays)
    arrays = {nwb_path: _converted(nwb_path, array, spec, source) for nwb_path, array in arrays.items()}
    arrays = _with_whole_ids(path, arrays)
    arrays |= {f"{table}/id": np.arange(rows) for table, rows in _rows(arrays).items() if f"{table}/id" not in arrays}
    starts = {f"{series}/starting_time": rate for series, rate in source.rates.items() if f"{series}/data" in arrays}
    return MemoryTree(
        path, arrays | dict.fromkeys(starts, np.zeros(())), {start: {"rate": rate} for start, rate in starts.items()}
    )


def _placed(where: str, nwb_path: str, value: Value, transpose: bool) -> dict[str, NDArray[Any]]:
    """Return an array, or the two arrays of a ragged column, in the form that NWB has."""
    table, _, name = nwb_path.rpartition("/")
    if isinstance(value, list):
        if name in RAGGED:
            pieces = [_numbers(where, piece) for piece in value]
            pieces = [piece.reshape(-1, 2) if name == "obs_intervals" else _flat(piece) for piece in pieces]
            return {f"{table}/{key}": array for key, array in ragged(name, pieces).items()}
        value = _joined(where, value)
    if value.dtype.kind == "S":
        value = np.char.decode(value, "utf-8")
    if value.dtype.kind not in "iufbU":
        raise DataFormatError(where, found=f"values of type {value.dtype}", expected="numbers or text")
    if transpose:
        value = value.T
    is_vector = name in {"timestamps", "data"} or (_is_table(table) and name != "obs_intervals")
    return {nwb_path: _flat(value) if is_vector else value}


def _joined(where: str, pieces: list[NDArray[Any]]) -> NDArray[Any]:
    """Return a column from cells with one value each; an empty cell is empty text or NaN."""
    if any(piece.size > 1 for piece in pieces):
        sizes = sorted({piece.size for piece in pieces})
        raise DataFormatError(where, found=f"cells with {sizes[0]} to {sizes[-1]} values", expected="one value in every cell")
    if any(piece.dtype.kind == "U" for piece in pieces):
        return np.array([str(piece.ravel()[0]) if piece.size else "" for piece in pieces], dtype=str)
    return np.concatenate([piece.ravel() if piece.size else np.array([np.nan]) for piece in pieces]) if pieces else np.empty(0)


def _with_units(path: Path, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Replace ``spike_unit``, the unit of every spike, by the index of a ragged column."""
    for marker in [name for name in arrays if name.endswith("/spike_unit")]:
        table = marker.rpartition("/")[0]
        where = f"{path}: /{table}/spike_times"
        if f"{table}/spike_times" not in arrays:
            raise DataFormatError(where, found="no times", expected="a time for every value of spike_unit")
        times, units, ids = arrays[f"{table}/spike_times"], arrays[marker], arrays.get(f"{table}/id")
        ids, columns = trains_of_units(where, times, units, ids)
        arrays |= {f"{table}/id": ids, **{f"{table}/{name}": values for name, values in columns.items()}}
        arrays = {name: values for name, values in arrays.items() if name != marker}
    return arrays


def _with_whole_ids(path: Path, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return ids as whole numbers, which MATLAB stores as doubles; text becomes the column ``unit_name`` or ``name``."""
    for name in [name for name in arrays if name.endswith("/id")]:
        table, ids = name.rpartition("/")[0], arrays[name]
        if ids.dtype.kind == "U":
            arrays |= {f"{table}/{'unit_name' if table == 'units' else 'name'}": ids, name: np.arange(len(ids))}
        else:
            arrays[name] = whole_numbers(f"{path}: /{name}", ids)
    return arrays


def _converted(nwb_path: str, values: NDArray[Any], spec: DataSpec, source: MappedSource) -> NDArray[Any]:
    table, _, name = nwb_path.rpartition("/")
    if name in RAGGED:
        return in_seconds(values, source.spike_clock)
    if table.startswith("intervals/") and is_time(name, spec):
        return in_seconds(values, source.trial_clock)
    return values


def _rows(arrays: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Return the tables and their numbers of rows."""
    rows: dict[str, int] = {}
    for nwb_path, values in arrays.items():
        table, _, name = nwb_path.rpartition("/")
        if _is_table(table) and (name.endswith("_index") or f"{nwb_path}_index" not in arrays):
            rows.setdefault(table, len(values) if values.ndim else 1)
    return rows


def _is_table(path: str) -> bool:
    return path == "units" or path.startswith("intervals/")


def _numbers(where: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "iufb":
        raise DataFormatError(where, found=f"values of type {values.dtype}", expected="numbers")
    return values


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """Return a row, a column or a scalar of MATLAB as a vector; other arrays stay as they are."""
    return values.reshape(-1) if values.size == max((*values.shape, 1)) or not values.size else values
