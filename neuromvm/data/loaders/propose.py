"""A first data spec proposed from the content of NWB files: every choice has a comment that names the alternatives."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.inspect import Column, Outline, SeriesOutline, TableOutline, values_in_words
from neuromvm.data.loaders.sessions import safe_names
from neuromvm.data.numeric_labels import MOST_CLASSES
from neuromvm.errors import DataFormatError
from neuromvm.files import write_atomically
from neuromvm.specs.data import RESERVED_LABELS
from neuromvm.specs.files import check_new, spec_name
from neuromvm.specs.yaml_text import comment, scalar, short

WIDTH = 80
NICE = (1.0, 2.0, 5.0)
MOST_BINS, LONGEST_WINDOW = 100, 20.0  # of a proposed grid; [s]
INSIDE = 0.95  # share of trials within which a proposed event and window must lie
EVENT_NAMES = re.compile(r"onset|stim|odou?r|cue|event|poke_in|go|reward|respon|choice|image|target|move", re.IGNORECASE)
LABEL_NAMES = re.compile(
    r"odou?r|stim|condition|image|orient|direction|class|category|cue|choice|target|type|name|kind", re.IGNORECASE
)
NO_TRIALS = re.compile(r"invalid|epochs?$|block", re.IGNORECASE)
FRAME_NAMES = re.compile(r"event|deconv|spike|dff|df_|fluor", re.IGNORECASE)
BINS_OF_TRACK = 10
_comment = partial(comment, width=WIDTH, hanging="  ")


@dataclass(frozen=True)
class Grid:
    """A proposed time grid: event, window [s], bin width [s], and comments on it."""

    align: str
    window: tuple[float, float]
    bin_width: float
    comments: list[str]


def propose_spec(outlines: Sequence[Outline], name: str) -> str:
    """Return a data spec for files as commented YAML, or raise DataFormatError if they have no trials or no activity.

    The first choice of each setting is active; what else there was is in the comment above it, with numbers of values and trials.
    """
    tables = _trial_tables(outlines)
    trials = tables[0]
    columns = _shared_columns(outlines, trials)
    activity, frame_period = _activity_lines(outlines)
    grid = _grid(outlines, trials, columns, frame_period)
    lines = [
        *_comment(
            f"Proposed by `neuromvm data inspect` (files: {len(outlines)}). Each choice is a guess: the comment above it says "
            "what else the files have. Read every one, then run `neuromvm data describe` on this file."
        ),
        f"name: {scalar(spec_name(name, 'my_lab'))}",
        *_file_lines(outlines),
        "activity:",
        *activity,
        *_grid_lines(grid, outlines),
        "trials:",
        *_table_lines(tables),
        *_label_lines(columns, len(outlines)),
        *_comment("filters, e.g. `where: rt < 1.5 and correct`, or `keep: {column: [values]}`", 2),
        "# min_units: 9  # animals with fewer units are left out; default 2",
    ]
    return "\n".join(lines) + "\n"


def write_proposal(outlines: Sequence[Outline], path: Path) -> None:
    """Write the proposed spec of files to a new YAML file, whose name it has; SpecError if there is such a file."""
    check_new(path, "no spec")
    write_atomically(path, propose_spec(outlines, path.stem).encode())


def _trial_tables(outlines: Sequence[Outline]) -> list[TableOutline]:
    """Return the interval tables that all files have, the likely table of trials first; rows are those of the first file."""
    shared = [
        table
        for table in outlines[0].of_kind("intervals")
        if table.rows and all(_has_starts(outline.tables.get(table.path)) for outline in outlines)
    ]
    if not shared:
        present = sorted({path for outline in outlines for path in outline.tables})
        raise DataFormatError(
            str(outlines[0].path),
            found="no interval table with rows and a start_time of numbers that all files have",
            expected="trials with start_time, in the same table of every file",
            next_step=f"Tables: {', '.join(present) or 'none'}. Inspect the files one by one",
        )
    return sorted(shared, key=lambda table: (table.path != "intervals/trials", bool(NO_TRIALS.search(table.path)), -table.rows))


def _has_starts(table: TableOutline | None) -> bool:
    start = None if table is None else table.columns.get("start_time")
    return start is not None and start.values is not None and start.kind == "number"


def _shared_columns(outlines: Sequence[Outline], trials: TableOutline) -> dict[str, list[Column]]:
    """Return the columns of one value a row that the table of trials has in all files."""
    of_files = {name: [outline.tables[trials.path].columns.get(name) for outline in outlines] for name in trials.columns}
    return {
        name: [column for column in columns if column is not None]
        for name, columns in of_files.items()
        if all(column is not None and column.values is not None for column in columns)
    }


def _file_lines(outlines: Sequence[Outline]) -> list[str]:
    paths = [Path(os.path.normpath(outline.path.absolute())) for outline in outlines]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    patterns = _patterns(root, [path.relative_to(root) for path in paths])
    subjects = [outline.subject for outline in outlines]
    sessions = list(zip(subjects, [outline.session for outline in outlines], strict=True))
    lines = [f"root: {scalar(str(root))}", f"files: [{', '.join(map(scalar, patterns))}]"]
    stems = [path.stem for path in paths]
    if all(subjects) and len(set(sessions)) == len(sessions):
        animal, names = "subject_id", subjects
        words = f"animal: {len(set(subjects))} subject_ids in {len(paths)} files; also: session_id, file, folder"
        if len(set(subjects)) < len(subjects):
            names = [f"{subject}_{session}" if subjects.count(subject) > 1 else subject for subject, session in sessions]
            words += ". Files of one subject become a node each; `sessions: concatenate` joins them over equal unit ids"
    else:
        animal, names = "file", stems
        words = "animal: named by file, because " + (
            "subject and session ids repeat" if all(subjects) else "files lack a subject_id"
        )
    lines += [*_comment(words), f"animal: {animal}"]
    renamed = {old: new for old, new in safe_names(names).items() if old != new}
    if renamed:
        lines += [*_comment("these names cannot be names of nodes and files"), "rename:"]
        lines += [f"  {scalar(old)}: {scalar(new)}" for old, new in renamed.items()]
    return lines


def _patterns(root: Path, files: Sequence[Path]) -> list[str]:
    """Return one glob pattern that matches these files and no others, or their names."""
    parts = [path.parts for path in files]
    if len({len(names) for names in parts}) == 1 and len(files) > 1:
        for is_wide in (True, False):
            pattern = "/".join(_common_pattern(names, is_wide) for names in zip(*parts, strict=True))
            if {path.relative_to(root) for path in root.glob(pattern)} == set(files):
                return [pattern]
    return [glob.escape(path.as_posix()) for path in files]


def _common_pattern(names: Sequence[str], is_wide: bool) -> str:
    """Return a pattern of names from their common beginning and end, cut to whole words if it ``is_wide``."""
    if len(set(names)) == 1:
        return glob.escape(names[0])
    begin = _beginning(names)
    end = _beginning([name[len(begin) :][::-1] for name in names])[::-1]
    if is_wide:
        begin, end = re.sub(r"[A-Za-z0-9]+$", "", begin), re.sub(r"^[A-Za-z0-9]+", "", end)
    return f"{glob.escape(begin)}*{glob.escape(end)}"


def _beginning(names: Sequence[str]) -> str:
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    return "".join(letter for letter, _ in pairs)


def _activity_lines(outlines: Sequence[Outline]) -> tuple[list[str], float]:
    """Return the settings of activity, and the sampling period of its frames [s]; NaN for spikes."""
    units = [table for table in outlines[0].of_kind("units") if all(table.path in outline.tables for outline in outlines)]
    rois = _shared_series(outlines, "RoiResponseSeries")
    potentials = _shared_series(outlines, "ElectricalSeries")
    alternatives = [f"{entry.path} ({entry.kind}, shape {entry.shape})" for entry in (*rois, *potentials)]
    if units:
        return _unit_lines(outlines, [table.path for table in units], alternatives), np.nan
    if rois:
        chosen = rois[0]
        lines = _comment(f"kind: no table of units; other series: {_listed(alternatives[1:])}", 2)
        return [*lines, "  kind: roi_response", f"  series: {scalar(chosen.path)}"], chosen.period
    if potentials:
        lines = _comment(f"kind: no units and no ROIs; {len(potentials)} field potentials: {_listed(alternatives)}", 2)
        lines += ["  kind: lfp_power", f"  series: {scalar(potentials[0].path)}"]
        return lines, potentials[0].period
    present = sorted({path for outline in outlines for path in (*outline.tables, *outline.series)})
    raise DataFormatError(
        str(outlines[0].path),
        found="no table with spike_times, no RoiResponseSeries and no ElectricalSeries that all files have",
        expected="activity",
        next_step=f"The files have: {_listed(present)}",
    )


def _shared_series(outlines: Sequence[Outline], kind: str) -> list[SeriesOutline]:
    shared = [
        entry
        for entry in outlines[0].series.values()
        if entry.kind == kind and all(entry.path in outline.series for outline in outlines)
    ]
    return sorted(shared, key=lambda entry: not FRAME_NAMES.search(entry.path))


def _unit_lines(outlines: Sequence[Outline], paths: Sequence[str], alternatives: Sequence[str]) -> list[str]:
    tables = [outline.tables[paths[0]] for outline in outlines]
    rows = [table.rows for table in tables]
    count = f"{min(rows)} to {max(rows)} units a file" if min(rows) < max(rows) else f"{rows[0]} units a file"
    words = f"table: {count}; other tables of units: {_listed(paths[1:])}; other activity: {_listed(alternatives)}"
    lines = ["  kind: spikes", *_comment(words, 2), f"  table: {scalar(paths[0])}"]
    filters = []
    for name in tables[0].columns:
        columns = [table.columns[name] for table in tables if name in table.columns]
        if len(columns) == len(tables) and all(column.values is not None for column in columns):
            filters.append(f"{name}: {values_in_words(columns)}")
    if filters:
        lines += _comment("no filter of units; columns for `keep: {column: [values]}` or `where: column > 1`:", 2)
        lines += [line for words in filters for line in _comment(f"  {words}", 2)]
    return [*lines, *_comment("quality: {min_presence: 0.9, max_isi_violations: 0.5, twins: remove}  # from spike times", 2)]


def _grid(outlines: Sequence[Outline], trials: TableOutline, columns: dict[str, list[Column]], frame_period: float) -> Grid:
    tables = [outline.tables[trials.path].columns for outline in outlines]
    starts = [_times(columns["start_time"][number]) for number in range(len(tables))]
    stops = [_stops(columns, number, starts[number]) for number in range(len(tables))]
    lengths = np.concatenate([stop - start for start, stop in zip(starts, stops, strict=True)])
    inside = _events_inside(columns, starts, lengths)
    ranked = sorted(inside, key=lambda name: (not EVENT_NAMES.search(name), float(np.nanmedian(inside[name]))))
    align = ranked[0] if ranked else "start_time"
    offset = inside[align] if ranked else np.zeros(len(lengths))
    known = np.isfinite(offset) & np.isfinite(lengths)
    if not known.any():
        raise DataFormatError(f"{outlines[0].path}: /{trials.path}", found="no finite times of trials", expected="seconds")
    before, after = float(np.quantile(-offset[known], INSIDE)), float(np.quantile((lengths - offset)[known], 1 - INSIDE))
    alternatives = [
        f"{name} (median {np.nanmedian(inside[name]):.3g} s after start_time{_nan_count(inside[name])})" for name in ranked[1:]
    ]
    if ranked:
        alternatives.append("start_time")
    comments = [
        f"align: the event at time 0, here a median of {np.median(offset[known]):.3g} s after start_time"
        f"{_nan_count(offset)}; also: {_listed(alternatives)}",
        f"window: within it lie {INSIDE:.0%} of the trials, {before:.3g} to {after:.3g} s from the event; "
        f"trials last {np.nanmin(lengths):.3g} to {np.nanmax(lengths):.3g} s",
    ]
    if after - before > LONGEST_WINDOW:
        before, after = max(before, -LONGEST_WINDOW / 4), min(after, LONGEST_WINDOW)
        comments[1] += f", cut to {before:.3g} to {after:.3g} s: choose"
    if after <= before:
        before, after = 0.0, float(np.median(lengths[known]))
    window, width = _whole_bins(before, after, frame_period)
    comments.append(f"bin_width: gives {round((window[1] - window[0]) / width)} bins; finer bins take memory, coarser lose time")
    return Grid(align, window, width, comments)


def _events_inside(
    columns: dict[str, list[Column]], starts: Sequence[NDArray[np.float64]], lengths: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the times after the start of their trials [s] of columns that hold events within most trials."""
    inside = {}
    for name, of_files in columns.items():
        if name in ("start_time", "stop_time") or not all(_is_seconds(column) for column in of_files):
            continue
        values = np.concatenate([_times(column) - start for column, start in zip(of_files, starts, strict=True)])
        known = np.isfinite(values) & np.isfinite(lengths)
        within = (values[known] >= 0) & (values[known] <= lengths[known])
        if known.any() and within.mean() >= INSIDE and known.mean() > 0.5 and np.ptp(values[known]) + values[known].max() > 0:
            inside[name] = values
    return inside


def _stops(columns: dict[str, list[Column]], number: int, starts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return when trials stop; without a stop_time, when the next begins."""
    if "stop_time" in columns and np.isfinite(stops := _times(columns["stop_time"][number])).any():
        return stops
    steps = np.diff(np.sort(starts[np.isfinite(starts)]))
    return starts + (np.median(steps[steps > 0]) if (steps > 0).any() else 1.0)


def _whole_bins(before: float, after: float, frame_period: float) -> tuple[tuple[float, float], float]:
    """Return a window inside ``before`` to ``after`` [s] of whole bins, and their width."""
    least = (after - before) / MOST_BINS
    if np.isfinite(frame_period):
        least = max(least, 2 * frame_period)
    exponent = np.floor(np.log10(max(least, 1e-6)))
    width = next(nice * 10**exponent for nice in (*NICE, 10.0) if nice * 10**exponent >= least * (1 - 1e-9))
    begin, end = np.ceil(before / width - 1e-6), np.floor(after / width + 1e-6)
    if end <= begin:
        end = begin + 1
    return (short(begin * width), short(end * width)), short(width)


def _grid_lines(grid: Grid, outlines: Sequence[Outline]) -> list[str]:
    lines = ["grid:", "  kind: time"]
    tracks = [
        entry.path for entry in _shared_series(outlines, "SpatialSeries") if len(entry.shape) == 1 or entry.shape[1:] == (1,)
    ]
    if tracks:
        words = f"kind: for places on a track, with roi_response: {{kind: position, series: {tracks[0]}, bins: {BINS_OF_TRACK}}}"
        lines[1:1] = _comment(f"{words}; series of one position: {_listed(tracks)}", 2)
    values = {
        "align": scalar(grid.align),
        "window": f"[{grid.window[0]:g}, {grid.window[1]:g}]",
        "bin_width": f"{grid.bin_width:g}",
    }
    for words, (name, value) in zip(grid.comments, values.items(), strict=True):
        lines += [*_comment(words, 2), f"  {name}: {value}"]
    return lines


def _table_lines(tables: Sequence[TableOutline]) -> list[str]:
    alternatives = [f"{table.path.removeprefix('intervals/')} ({table.rows} rows)" for table in tables[1:]]
    words = f"table: {tables[0].rows} rows in the first file; other interval tables of all files: {_listed(alternatives)}"
    return [*_comment(words, 2), f"  table: {scalar(tables[0].path.removeprefix('intervals/'))}"]


def _label_lines(columns: dict[str, list[Column]], files: int) -> list[str]:
    """Return the likely label as a setting and all other columns that could be labels as comments."""
    candidates = {name: of_files for name, of_files in columns.items() if _could_be_label(of_files)}
    ranked = sorted(candidates, key=lambda name: _rank(name, candidates[name]))
    suited = [name for name in ranked if _rank(name, candidates[name])[0] == 0]
    if not suited:
        lines = _comment("labels: no column has 2 to 30 values that repeat; others:", 2)
        lines += [line for name in ranked for line in _comment(f"  {_label_words(name, candidates[name], files)}", 2)]
        return [*lines, "  labels: {}"]
    chosen, *alternatives = suited
    lines = _comment(f"labels: {_label_words(chosen, candidates[chosen], files)}", 2)
    alternatives += [name for name in ranked if name not in suited]
    if alternatives:
        lines += _comment("other columns that could be labels; add them to the list to have them:", 2)
        lines += [line for name in alternatives for line in _comment(f"  {_label_words(name, candidates[name], files)}", 2)]
    return [*lines, f"  labels: {{{scalar(_label_name(chosen))}: {scalar(chosen)}}}"]


def _could_be_label(columns: Sequence[Column]) -> bool:
    """Return whether a column has several values, and is not a time of events."""
    counts = _total(columns)
    return len(counts) > 1 and not all(_is_seconds(column) for column in columns)


def _rank(name: str, columns: Sequence[Column]) -> tuple[int, int, int, int]:
    """Return the order of a column among labels, the best lowest; the first entry is 0 for few values that repeat."""
    counts = _total(columns)
    repeats = np.median(list(counts.values())) >= 2 * len(columns)
    is_class = 2 <= len(counts) <= 30 and repeats
    kinds = {"text": 0, "number": 1, "bool": 2}
    return int(not is_class), int(not LABEL_NAMES.search(name)), kinds.get(columns[0].kind, 3), len(counts)


def _label_words(name: str, columns: Sequence[Column], files: int) -> str:
    counts = _total(columns)
    numbers = sorted(counts.values())
    trials = f"{numbers[0]}" if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"
    present = [set(column.counts) - {""} for column in columns]
    missing = len(set().union(*present)) - len(set.intersection(*present))
    absent = f", {missing} of them not in all files" if missing and files > 1 else ""
    look = ""
    if columns[0].kind == "number" and len(counts) > MOST_CLASSES:
        look = ", looks continuous"
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:3]
    examples = f": {', '.join(frequent)}{', ...' if len(counts) > 3 else ''}"
    return f"{name} ({columns[0].kind}, {len(counts)} values{absent}{look}, {trials} trials each{examples})"


def _total(columns: Sequence[Column]) -> Counter[str]:
    counts = sum((column.counts for column in columns), Counter[str]())
    counts.pop("", None)
    return counts


def _is_seconds(column: Column) -> bool:
    """Return whether a column holds times of the session: numbers that rise from row to row, or are named a time."""
    values = column.values
    if values is None or values.dtype.kind != "f":
        return False
    known = values[np.isfinite(values)]
    rises = len(known) > 2 and bool((np.diff(known) > 0).mean() > INSIDE)
    return rises or (column.name.endswith(("_time", "_times")) and len(known) > 0)


def _times(column: Column) -> NDArray[np.float64]:
    assert column.values is not None
    if column.values.dtype.kind not in "iuf":
        return np.full(column.rows, np.nan)
    return column.values.astype(np.float64)


def _nan_count(values: NDArray[np.float64]) -> str:
    missing = int((~np.isfinite(values)).sum())
    return f", NaN in {missing} of {len(values)} trials" if missing else ""


def _label_name(column: str) -> str:
    name = re.sub(r"\W+", "_", column).strip("_")
    if not name.isidentifier():
        name = "label_" + re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return f"{name}_label" if name in RESERVED_LABELS else name


def _listed(names: Iterable[Any], most: int = 6) -> str:
    texts = [str(name) for name in names]
    return (", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")) or "none"
