"""Time series with a rate or with timestamps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean
from neuromvm.schema import Dropped


@dataclass(frozen=True)
class Series:
    """Values ``(sample, ...)`` in their unit, at sorted times [s]."""

    values: NDArray[np.floating]
    times: NDArray[np.float64]
    unit: str
    dropped: list[Dropped]


def read_series(file: NwbFile, path: str, column: int | None = None) -> Series:
    """Return a TimeSeries, or a ``column`` of it, in its unit and sorted by time; samples without a time are dropped, counted."""
    data = f"{path}/data"
    if data not in file:
        raise MissingTableError(file.where(path), found="no such series", next_step=did_you_mean(path, series_paths(file)))
    values = file.numbers(data, column)
    if not values.size:
        raise DataFormatError(file.where(data), found="no values", expected="one or more samples")
    values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    scale, offset = _number(file, data, "conversion", 1.0), _number(file, data, "offset", 0.0)
    if scale != 1:
        values = values * values.dtype.type(scale)
    if offset:
        values = values + values.dtype.type(offset)
    times = _times(file, path, len(values))
    known = np.isfinite(times)
    order = np.flatnonzero(known)
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


def _times(file: NwbFile, path: str, samples: int) -> NDArray[np.float64]:
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


def _number(file: NwbFile, path: str, name: str, default: float) -> float:
    value = file.attribute(path, name)
    if value is None:
        return default
    if not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise DataFormatError(f"{file.where(path)}@{name}", found=repr(value), expected="a finite number")
    return float(value)


def series_paths(file: NwbFile) -> list[str]:
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
