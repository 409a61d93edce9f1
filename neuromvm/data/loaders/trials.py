"""Trials: rows of an interval table with an event and labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.conditions import columns_of, unmet
from neuromvm.data.loaders.events import EVENT_COLUMNS, as_intervals, first_events
from neuromvm.data.loaders.labels import as_label, as_text, exclude, is_one_of, shown
from neuromvm.data.loaders.tables import Table, read_table
from neuromvm.errors import DataFormatError
from neuromvm.schema import Dropped
from neuromvm.specs.data import TrialSpec

FilterValues = dict[tuple[str, str], set[str]]  # (setting, column) -> values in the file


@dataclass(frozen=True)
class Trials:
    """Trials that pass the filters; ``filter_values`` has all values that the filters compared, for detecting typos."""

    coords: xr.Dataset
    dropped: list[Dropped]
    filter_values: FilterValues

    @property
    def onsets(self) -> NDArray[np.float64]:
        """Event times [s]."""
        return np.asarray(self.coords["onset"].values, dtype=np.float64)


def read_trials(file: ArrayTree, spec: TrialSpec, align: str, shift: float = 0.0, warp_to: str | None = None) -> Trials:
    """Return the trials of a file, in the order of its table; ``shift`` is added to the event ``align`` [s].

    ``align`` is a column of the table, or the path of a table of events, whose first event in each trial is taken.

    The column ``warp_to`` [s], if given, is a second event after the first: ``warp_onset``.

    Rows without a finite start, stop and event, and rows that do not stop after they start, are dropped and counted.
    """
    columns = {"start_time", "stop_time", *EVENT_COLUMNS, align, *spec.labels.values(), *spec.keep, *columns_of(spec.where)}
    table_path = spec.table if "/" in spec.table else f"intervals/{spec.table}"
    table = as_intervals(read_table(file, table_path, columns if warp_to is None else columns | {warp_to}))
    if not len(table):
        raise DataFormatError(table.where, found="a table without rows", expected="one row a trial")
    times = {name: _seconds(table, name, "trials.table") for name in ("start_time", "stop_time")}
    if "/" in align:
        times["onset"] = first_events(file, align, times["start_time"], times["stop_time"]) + shift
    else:
        times["onset"] = _seconds(table, align, "grid.align") + shift
    known = np.isfinite(times["start_time"]) & np.isfinite(times["stop_time"])
    unusable = {
        "start_time or stop_time is NaN": ~known,
        "stop_time is not after start_time": known & ~(times["stop_time"] > times["start_time"]),
        f"no event of {align} in the trial" if "/" in align else f"{align} is NaN": ~np.isfinite(times["onset"]),
    }
    if warp_to is not None:
        times["warp_onset"] = _seconds(table, warp_to, "grid.warp.to")
        unusable[f"{warp_to} is NaN"] = ~np.isfinite(times["warp_onset"])
        unusable[f"{warp_to} is not after {align}"] = ~(times["warp_onset"] > times["onset"])
    return labelled_trials(table, spec, times, unusable)


def labelled_trials(
    table: Table, spec: TrialSpec, times: Mapping[str, NDArray[np.float64]], unusable: Mapping[str, NDArray[np.bool_]]
) -> Trials:
    """Return the usable rows of a table that pass the filters of a spec, with their labels and ``times (row,)`` [s].

    Each reason excludes its rows in ``unusable (row,)``; a row is counted once, for the first of its reasons.
    """
    labels: dict[str, NDArray[Any]] = {}
    for label, column in spec.labels.items():
        values = table.column(column, f"trials.labels.{label}")
        labels[label] = as_label(values)
        if label in spec.map:
            labels[label] = np.array([spec.map[label].get(text, text) for text in as_text(values).tolist()], dtype=str)
    filter_values: FilterValues = {("trials.map", label): set(as_text(table.columns[spec.labels[label]])) for label in spec.map}
    usable, dropped = exclude(np.ones(len(table), dtype=bool), "trials", unusable.items())
    if not usable.any():
        reasons = "; ".join(f"{line.count} where {line.reason}" for line in dropped if line.count)
        problem = f"no usable row among {len(table)}: {reasons}"
        raise DataFormatError(table.where, found=problem, expected="finite times in seconds")
    filters = []
    for name, allowed in spec.keep.items():
        values = labels[name] if name in labels else table.column(name, f"trials.keep.{name}")
        filter_values["trials.keep", name] = set(as_text(values))
        filters.append((f"{name} is none of {shown(allowed)}", ~is_one_of(values, allowed)))

    def label_or_column(name: str, setting: str) -> NDArray[Any]:
        return labels[name] if name in labels else table.column(name, setting)

    filters += unmet(spec.where, label_or_column, "trials.where", table.where)
    selected, filtered = exclude(usable, "trials", filters)
    coords = xr.Dataset(
        coords={
            "trial": table.ids[selected],
            **{name: ("trial", values[selected], {"units": "s"}) for name, values in times.items()},
            **{name: ("trial", values[selected]) for name, values in labels.items()},
        }
    )
    return Trials(coords, [*dropped, *filtered], filter_values)


def _seconds(table: Table, column: str, setting: str) -> NDArray[np.float64]:
    values = table.column(column, setting)
    if values.dtype.kind not in "iuf":
        raise DataFormatError(table.where, found=f"column {column!r} holds {values.dtype}", expected="numbers of seconds")
    return values.astype(np.float64)
