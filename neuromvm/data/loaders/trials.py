"""Trials: rows of an interval table with an event and labels."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.clocks import Silences, overlap, starts_again
from neuromvm.data.loaders.conditions import columns_of, unmet
from neuromvm.data.loaders.events import EVENT_COLUMNS, as_intervals, first_events
from neuromvm.data.loaders.labels import as_label, as_text, exclude, is_one_of, shown
from neuromvm.data.loaders.tables import Table, read_table, trial_table_path
from neuromvm.data.neighbours import overlaps_another
from neuromvm.errors import DataFormatError
from neuromvm.schema import Dropped
from neuromvm.specs.data import PositionGrid, TimeGrid, TrialSpec

LOG = logging.getLogger(__name__)
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


def read_trials(file: ArrayTree, spec: TrialSpec, grid: TimeGrid | PositionGrid, shift: float = 0.0) -> Trials:
    """Return the trials of a file, in the order of its table; ``shift`` is added to the event of a time grid [s].

    The event of a time grid is a column of the table, or the first event in the trial of a table of events, given by its path. A
    second event to which time is warped is ``warp_onset`` [s].

    Rows without a finite event are dropped and counted; on a position grid also those without a finite start and stop, and those
    that do not stop after they start. A time grid does not need start and stop: they are NaN where they are unknown. Trials whose
    times are those of an earlier trial are dropped and counted, and if their labels differ, the earlier one too.
    """
    align = grid.align if isinstance(grid, TimeGrid) else "start_time"
    warp_to = grid.warp.to if isinstance(grid, TimeGrid) and grid.warp is not None else None
    columns = {"start_time", "stop_time", *EVENT_COLUMNS, align, *spec.labels.values(), *spec.keep, *columns_of(spec.where)}
    path = trial_table_path(file, spec.table)
    table = as_intervals(read_table(file, path, columns if warp_to is None else columns | {warp_to}))
    if not len(table):
        raise DataFormatError(table.where, found="a table without rows", expected="one row a trial")
    times: dict[str, NDArray[np.float64]] = {}
    for name in ("start_time", "stop_time"):
        needed = isinstance(grid, PositionGrid) or name == align or "/" in align or name in table.columns
        times[name] = _seconds(table, name, "trials.table") if needed else np.full(len(table), np.nan)
    if "/" in align:
        times["onset"] = first_events(file, align, times["start_time"], times["stop_time"]) + shift
    else:
        times["onset"] = _seconds(table, align, "grid.align") + shift
    unusable: dict[str, NDArray[np.bool_]] = {}
    if isinstance(grid, PositionGrid):
        known = np.isfinite(times["start_time"]) & np.isfinite(times["stop_time"])
        unusable["start_time or stop_time is NaN"] = ~known
        unusable["stop_time is not after start_time"] = known & ~(times["stop_time"] > times["start_time"])
    unusable[f"no event of {align} in the trial" if "/" in align else f"{align} is NaN"] = ~np.isfinite(times["onset"])
    if warp_to is not None:
        times["warp_onset"] = _seconds(table, warp_to, "grid.warp.to")
        unusable[f"{warp_to} is NaN"] = ~np.isfinite(times["warp_onset"])
        unusable[f"{warp_to} is not after {align}"] = ~(times["warp_onset"] > times["onset"])
    trials = labelled_trials(table, spec, times, unusable)
    _warn_of_order(table.where, trials, spec)
    trials = _without_repeats(table.where, trials, isinstance(grid, PositionGrid))
    return _without_invalid(file, trials, grid) if spec.invalid_times == "drop" else trials


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


def extents(coords: xr.Dataset, grid: TimeGrid | PositionGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return from when to when activity of a trial is used ``(trial,)`` [s]: its window, or on a position grid start to stop."""
    if isinstance(grid, PositionGrid):
        return coords["start_time"].to_numpy(), coords["stop_time"].to_numpy()
    onsets = coords["onset"].to_numpy()
    return onsets + grid.window[0], onsets + grid.window[1]


def _warn_of_order(where: str, trials: Trials, spec: TrialSpec) -> None:
    """Warn if times of trials start again in the order of the table, unless the table is sorted by a label."""
    if not starts_again(trials.onsets):
        return
    run = np.cumsum(np.r_[False, np.diff(trials.onsets) < 0])
    for name in spec.labels:
        texts = as_text(trials.coords[name].to_numpy())
        if all(len(np.unique(texts[run == number])) == 1 for number in range(run[-1] + 1)):
            return
    LOG.warning(
        "%s: times of trials rise, fall back and rise again. If the clock was set back, add to each part the time when it began",
        where,
    )


def warn_of_overlaps(nodes: Mapping[str, xr.Dataset], grid: TimeGrid) -> None:
    """Log one warning that names the animals in which windows of trials reach into other trials, and how many do."""
    counts = {}
    for animal, dataset in nodes.items():
        if "onset" in dataset.coords:
            sessions = dataset["session"].to_numpy() if "session" in dataset.coords else np.zeros(dataset.sizes["trial"])
            begins, ends = extents(dataset, grid)
            times = begins, ends, dataset["start_time"].to_numpy(), dataset["stop_time"].to_numpy()
            reaching = [overlaps_another(*(part[sessions == session] for part in times)) for session in np.unique(sessions)]
            counts[animal] = (sum(int(trials.sum()) for trials in reaching), dataset.sizes["trial"])
    pieces = [f"{animal} {number} of {trials}" for animal, (number, trials) in counts.items() if number]
    if pieces:
        LOG.warning(
            "Windows from %g to %g s reach into other trials (%s): what is decoded may be of a neighbour, and activity in two "
            "windows may be on both sides of a split. Narrow grid.window, or samples.start and stop",
            *(*grid.window, shown(pieces)),
        )


def in_holes(
    where: str, holes: Silences, coords: xr.Dataset, grid: TimeGrid | PositionGrid, policy: Literal["drop", "keep"]
) -> NDArray[np.bool_]:
    """Return for each trial whether it is to be dropped since it lies in a hole of all units, and warn if there are such.

    More of it is in the hole than the longest ordinary silence, or than half of it. Silences that recur may belong to the
    activity, and their trials are kept.
    """
    begins, ends = extents(coords, grid)
    if not len(holes.holes) or not len(begins):
        return np.zeros(len(begins), dtype=bool)
    silent = overlap(begins, ends, holes.holes, min(holes.ordinary, float(np.median(ends - begins)) / 2))
    if not silent.any():
        return silent
    longest = float(np.diff(holes.holes, axis=1).max())
    stays = holes.recurring or policy == "keep"
    LOG.warning(
        "%s: %d of %d trials lie in silences of all units (%d of up to %.3g s; the longest other one: %.3g s) and are %s. %s",
        *(
            where,
            int(silent.sum()),
            len(begins),
            len(holes.holes),
            longest,
            holes.ordinary,
            "kept" if stays else "left out",
        ),
        "If nothing was recorded then, store obs_intervals or invalid_times in the file"
        if stays
        else "If the units were silent, set 'trials.silences: keep' in the data spec",
    )
    return np.zeros(len(begins), dtype=bool) if stays else silent


def _without_repeats(where: str, trials: Trials, whole: bool) -> Trials:
    """Leave out trials with the times of an earlier trial, and all of them if their labels differ; ``whole``: start and stop."""
    coords = trials.coords
    keys = [coords[name].to_numpy() for name in (("start_time", "stop_time") if whole else ("onset",))]
    _, group, counts = np.unique(np.stack(keys), axis=1, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    if not (counts > 1).any():
        return trials
    labels = [
        as_text(coords[name].to_numpy()) for name in coords.coords if name not in ("trial", "start_time", "stop_time", "onset")
    ]
    first: dict[int, int] = {}
    repeated, contradicting = np.zeros(len(group), dtype=bool), set()
    for row, number in enumerate(group.tolist()):
        before = first.setdefault(number, row)
        repeated[row] = before != row
        if any(texts[row] != texts[before] for texts in labels):
            contradicting.add(number)
    contradicted = np.isin(group, sorted(contradicting))
    reasons = [
        ("other trials have the same time and other labels", contradicted),
        ("an earlier trial has the same time", repeated),
    ]
    remaining, lines = exclude(np.ones(len(group), dtype=bool), "trials", reasons)
    if not remaining.any():
        raise DataFormatError(
            where,
            found=f"{len(group)} trials in {len(counts)} different times, with other labels each",
            expected="a time of its own for every trial",
            next_step="Check grid.align and trials.table, or select one row of each trial with trials.keep",
        )
    LOG.warning("%d of %d trials have the time of another trial and are left out", int((~remaining).sum()), len(group))
    return Trials(coords.isel(trial=np.flatnonzero(remaining)), [*trials.dropped, *lines], trials.filter_values)


def _without_invalid(file: ArrayTree, trials: Trials, grid: TimeGrid | PositionGrid) -> Trials:
    """Leave out trials that overlap with an interval of /intervals/invalid_times; an unknown start or stop has no bound."""
    path = "intervals/invalid_times"
    if not file.is_group(path):
        return trials
    table = read_table(file, path, {"start_time", "stop_time"})
    if not len(table):
        return trials
    begins, ends = (_seconds(table, name, "trials.invalid_times") for name in ("start_time", "stop_time"))
    if (np.isnan(begins) & np.isnan(ends)).any() or (ends < begins).any():
        raise DataFormatError(
            table.where,
            found="an interval that ends before it begins, or has neither start nor stop",
            expected="start_time and stop_time in seconds",
            next_step="Correct it, or set trials.invalid_times: keep in the data spec",
        )
    intervals = np.column_stack([np.where(np.isnan(begins), -np.inf, begins), np.where(np.isnan(ends), np.inf, ends)])
    invalid = overlap(*extents(trials.coords, grid), intervals)
    tags = _tags(file, path)
    line = Dropped("trials", f"in intervals/invalid_times{f' ({shown(tags)})' if tags else ''}", int(invalid.sum()))
    return Trials(trials.coords.isel(trial=np.flatnonzero(~invalid)), [*trials.dropped, line], trials.filter_values)


def _tags(file: ArrayTree, path: str) -> set[str]:
    """Return the tags of invalid times, which say what is invalid."""
    tags = f"{path}/tags"
    if tags not in file or file.is_group(tags) or file.kind(tags) != "text":
        return set()
    return set(file.array(tags).reshape(-1).tolist()) - {""}


def _seconds(table: Table, column: str, setting: str) -> NDArray[np.float64]:
    values = table.column(column, setting)
    if values.dtype.kind not in "iuf":
        raise DataFormatError(table.where, found=f"column {column!r} holds {values.dtype}", expected="numbers of seconds")
    return values.astype(np.float64)
