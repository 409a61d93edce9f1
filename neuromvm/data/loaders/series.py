"""Time series with a rate or with timestamps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.clocks import starts_again
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError, did_you_mean
from neuromvm.schema import Dropped


@dataclass(frozen=True)
class Series:
    """Values ``(sample, ...)`` in their unit, at sorted times [s]."""

    values: NDArray[np.floating]
    times: NDArray[np.float64]
    unit: str
    dropped: list[Dropped]


def read_series(file: ArrayTree, path: str, column: int | None = None) -> Series:
    """Return a TimeSeries, or a ``column`` of it, in its unit and sorted by time; samples without a time are dropped, counted.

    Values are those stored times ``conversion`` and the ``channel_conversion`` of their column, plus ``offset``.
    """
    data = f"{path}/data"
    if data not in file:
        raise MissingTableError(file.where(path), found="no such series", next_step=did_you_mean(path, series_paths(file)))
    values = file.numbers(data, column)
    if not values.size:
        raise DataFormatError(file.where(data), found="no values", expected="one or more samples")
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    values = _converted(file, path, values, column)
    times = _times(file, path, len(values))
    known = np.isfinite(times)
    order = np.flatnonzero(known)
    if starts_again(times[order]):
        raise AlignmentError(
            file.where(path),
            found="timestamps that rise, fall back and rise again",
            expected="seconds of one clock",
            next_step="Add to each part the time at which it began, or store the parts as separate files",
        )
    unsorted = bool((np.diff(times[order]) < 0).any())
    if unsorted:
        order = order[np.argsort(times[order], kind="stable")]
    if unsorted or not known.all():
        values, times = values[order], times[order]
    lines = [
        Dropped(f"samples of {path}", "timestamp is not finite", int((~known).sum())),
        Dropped(f"order of {path}", "timestamps were unsorted; sorted, no sample lost", int(unsorted)),
    ]
    return Series(values, times, str(file.attribute(data, "unit") or ""), lines)


def _converted(file: ArrayTree, path: str, values: NDArray[np.floating], column: int | None) -> NDArray[np.floating]:
    """Return stored values ``(sample, ...)`` in the unit of the series."""
    data, channels = f"{path}/data", f"{path}/channel_conversion"
    scale, offset = _number(file, data, "conversion", 1.0), _number(file, data, "offset", 0.0)
    if scale == 0:
        raise DataFormatError(f"{file.where(data)}@conversion", found="0, which makes all values 0", expected="a factor")
    if scale != 1:
        values = values * values.dtype.type(scale)
    if channels in file:
        factors = file.numbers(channels).reshape(-1)
        columns = file.shape(data)[1] if len(file.shape(data)) > 1 else 1
        if len(factors) != columns or not np.isfinite(factors).all():
            problem = (
                f"{len(factors)} factors for {columns} columns" if len(factors) != columns else "factors that are not finite"
            )
            raise DataFormatError(file.where(channels), found=problem, expected="a finite factor for each column of the data")
        factors = factors.astype(values.dtype) if column is None else factors[column].astype(values.dtype)
        factors = factors.reshape(-1, *(1,) * (values.ndim - 2)) if values.ndim > 2 else factors
        if (factors != 1).any():
            values = values * factors
    if offset:
        values = values + values.dtype.type(offset)
    return values


def _times(file: ArrayTree, path: str, samples: int) -> NDArray[np.float64]:
    where = file.where(path)
    if f"{path}/timestamps" in file:
        times = file.numbers(f"{path}/timestamps").reshape(-1).astype(np.float64)
        if len(times) != samples:
            raise DataFormatError(where, found=f"{len(times)} timestamps for {samples} samples", expected="data as (time, ...)")
        if not np.isfinite(times).any():
            raise DataFormatError(where, found="no finite timestamp", expected="seconds")
        return times
    rate = _number(file, f"{path}/starting_time", "rate", 0.0)
    start = file.numbers(f"{path}/starting_time").ravel() if rate > 0 else np.empty(0)
    if start.size != 1:
        raise DataFormatError(where, found="no timestamps and no rate", expected="timestamps, or starting_time with a rate")
    return float(start[0]) + np.arange(samples) / rate


def _number(file: ArrayTree, path: str, name: str, default: float) -> float:
    value = file.attribute(path, name)
    if value is None:
        return default
    if isinstance(value, np.ndarray) and value.size == 1:  # MATLAB has no scalars
        value = value.reshape(-1)[0]
    if not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise DataFormatError(f"{file.where(path)}@{name}", found=repr(value), expected="a finite number")
    return float(value)


def series_paths(file: ArrayTree) -> list[str]:
    """Return the paths of all series under acquisition and processing, also within containers; every object once."""
    paths = []
    seen: set[int] = set()
    groups = ["acquisition", *(f"processing/{module}" for module in file.children("processing"))]
    while groups:
        group = groups.pop()
        address = file.address(group)
        if address in seen:
            continue
        seen.add(address)
        if f"{group}/data" in file:
            paths.append(group)
        elif file.is_group(group):
            groups += [f"{group}/{name}" for name in file.children(group)]
    return sorted(paths)
