"""What NWB files hold, wherever it is: tables with their columns, and series; and how files differ."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.labels import as_text, shown
from neuromvm.data.loaders.nwb_file import NwbFile, open_nwb
from neuromvm.data.loaders.tables import column_names, is_flat, is_long_text
from neuromvm.data.numeric_labels import looks_continuous
from neuromvm.errors import DataFormatError

TableKind = Literal["units", "intervals", "cells", "electrodes", "table"]
MOST_VALUES = 12  # listed one by one
MOST_CLASSES = 30  # different values of a column above which files are not compared value by value
LEFT_OUT = {"specifications", "file_create_date"}
WIDTH = 80


@dataclass(frozen=True)
class Column:
    """A column of a table; ``values (row,)`` of one value a row, else None."""

    name: str
    kind: str  # text, number, bool, ragged, group, other
    rows: int
    description: str = ""
    values: NDArray[Any] | None = None

    @property
    def counts(self) -> Counter[str]:
        """Numbers of rows of each value as text."""
        return Counter() if self.values is None else Counter(as_text(self.values).tolist())


@dataclass(frozen=True)
class TableOutline:
    """A table: its path, what it is, its number of rows and its columns by name."""

    path: str
    kind: TableKind
    rows: int
    columns: dict[str, Column]


@dataclass(frozen=True)
class SeriesOutline:
    """A time series: its path, type, shape, unit and sampling period [s] (NaN: not regular or not known)."""

    path: str
    kind: str
    shape: tuple[int, ...]
    unit: str
    period: float
    description: str = ""


@dataclass(frozen=True)
class Outline:
    """What a file holds; ``unreadable``: paths with the reason."""

    path: Path
    subject: str
    session: str
    tables: dict[str, TableOutline] = field(default_factory=dict)
    series: dict[str, SeriesOutline] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def of_kind(self, kind: TableKind) -> list[TableOutline]:
        """Return the tables of a kind, those with most rows first."""
        return sorted((table for table in self.tables.values() if table.kind == kind), key=lambda table: -table.rows)


def read_outline(path: str | Path) -> Outline:
    """Return what an NWB file holds, or raise DataFormatError if it is missing, damaged or not NWB 2.

    Objects that cannot be read, such as links to other files, are listed with the reason.
    """
    with open_nwb(Path(path)) as file:
        outline = Outline(Path(path), file.text("general/subject/subject_id"), file.text("general/session_id"))
        for group in _groups(file, outline.unreadable):
            try:
                if f"{group}/id" in file or file.attribute(group, "colnames") is not None:
                    outline.tables[group] = _table(file, group)
                elif f"{group}/data" in file or f"{group}/timestamps" in file:
                    outline.series[group] = _series(file, group)
            except DataFormatError as error:
                outline.unreadable[group] = str(error)
    return outline


def _groups(file: NwbFile, unreadable: dict[str, str]) -> Iterator[str]:
    """Yield the paths of all groups, the content of tables and series left out; each object once, whatever links lead to it."""
    names = sorted(set(file.children("")) - LEFT_OUT, key=lambda name: (name not in ("units", "intervals"), name))
    waiting = names[::-1]
    seen = {file.address("")}
    while waiting:
        path = waiting.pop()
        try:
            address = file.address(path)
            if address in seen or not file.is_group(path):
                continue
            seen.add(address)
            children = file.children(path)
        except DataFormatError as error:
            unreadable[path] = str(error)
            continue
        yield path
        if not {"id", "data"} & set(children):
            waiting += [f"{path}/{name}" for name in reversed(children)]


def _table(file: NwbFile, path: str) -> TableOutline:
    names = column_names(file, path)
    columns = {name: _column(file, path, name) for name in names}
    rows = file.shape(f"{path}/id")[0] if f"{path}/id" in file else max((column.rows for column in columns.values()), default=0)
    kind: TableKind = "table"
    if "spike_times" in names:
        kind = "units"
    elif "start_time" in names:
        kind = "intervals"
    elif {"pixel_mask", "image_mask", "voxel_mask"} & set(names):
        kind = "cells"
    elif path.endswith("extracellular_ephys/electrodes"):
        kind = "electrodes"
    return TableOutline(path, kind, rows, columns)


def _column(file: NwbFile, table: str, name: str) -> Column:
    path = f"{table}/{name}"
    try:
        description = str(file.attribute(path, "description") or "")
        if file.is_group(path):
            return Column(name, "group", 0, description)
        if is_long_text(file, path):
            length = f"texts of up to {file.longest_text(path)} bytes"
            return Column(name, "text", file.shape(path)[0], f"{length}: {description}" if description else length)
        if is_flat(file, table, name):
            values = file.array(path).reshape(-1)
            return Column(name, file.kind(path), len(values), description, values)
        ragged = f"{path}_index" in file
        shape = file.shape(f"{path}_index" if ragged else path)
        return Column(name, "ragged" if ragged else file.kind(path), shape[0] if shape else 0, description)
    except DataFormatError as error:
        return Column(name, "unreadable", 0, str(error))


def _series(file: NwbFile, path: str) -> SeriesOutline:
    data = f"{path}/data" if f"{path}/data" in file else f"{path}/timestamps"
    kind = str(file.attribute(path, "neurodata_type") or "series")
    unit = str(file.attribute(data, "unit") or "?")
    return SeriesOutline(path, kind, file.shape(data), unit, _period(file, path), str(file.attribute(path, "description") or ""))


def _period(file: NwbFile, path: str) -> float:
    rate = file.attribute(f"{path}/starting_time", "rate") if f"{path}/starting_time" in file else None
    if rate is not None and np.size(rate) == 1 and float(rate) > 0:
        return 1 / float(rate)
    if f"{path}/timestamps" in file and f"{path}/data" in file and file.shape(f"{path}/timestamps")[0] > 1:
        steps = np.diff(file.numbers(f"{path}/timestamps").reshape(-1))
        return float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else np.nan
    return np.nan


def values_in_words(columns: Sequence[Column]) -> str:
    """Return a line on the values of the columns of one name in several files: a few values with counts, or a range."""
    counts = sum((column.counts for column in columns), Counter[str]())
    missing = counts.pop("", 0)
    lacking = f"; {missing} missing" if missing else ""
    if not counts:
        return "no values" + lacking
    arrays = [column.values for column in columns if column.values is not None]
    are_numbers = all(values.dtype.kind in "iuf" for values in arrays)
    if are_numbers and len(counts) > MOST_VALUES:
        numbers = np.concatenate(arrays).astype(np.float64)
        words = f"{np.nanmin(numbers):.6g} .. {np.nanmax(numbers):.6g}, {len(counts)} different"
        rises = all(bool((np.diff(values[np.isfinite(values)]) >= 0).all()) for values in arrays)
        look = ", rising" if rises else ", looks continuous" if looks_continuous(numbers) else ""
        return words + look + lacking
    names = sorted(counts, key=lambda name: (float(name), name) if are_numbers else (0.0, name))
    numbers_of_rows = set(counts.values())
    if len(names) > MOST_VALUES:
        return f"{len(names)} values: {', '.join(names[:3])}, ..." + lacking
    if len(numbers_of_rows) == 1:
        return f"{', '.join(names)} ({'each ' if len(names) > 1 else ''}{numbers_of_rows.pop()} rows)" + lacking
    return ", ".join(f"{name} ({counts[name]})" for name in names) + lacking


def outline_text(outlines: Sequence[Outline], width: int = WIDTH) -> str:
    """Return what files hold as text of a width: tables with columns and values over all files, series, and differences."""
    lines = [*_head(outlines, width)]
    names = list(dict.fromkeys(path for outline in outlines for path in outline.tables))
    for path in sorted(names, key=lambda path: (not path.startswith(("units", "intervals")), path)):
        tables = [outline.tables[path] for outline in outlines if path in outline.tables]
        lines += ["", *_table_lines(tables, len(outlines), width)]
    series = list(dict.fromkeys(path for outline in outlines for path in outline.series))
    if series:
        lines += ["", "series"]
    for path in series:
        lines += _series_lines([outline.series[path] for outline in outlines if path in outline.series], width)
    unreadable = {f"{outline.path.name}: {path}": reason for outline in outlines for path, reason in outline.unreadable.items()}
    for where, reason in unreadable.items():
        lines += ["", *_wrapped(f"unreadable: {where}: {reason}", "", width)]
    problems = differences(outlines)
    if len(outlines) > 1:
        lines += ["", "differences between files" if problems else "no differences between files"]
        lines += [line for words in problems for line in _wrapped(words, "  ", width, "    ")]
    return "\n".join(lines)


def _head(outlines: Sequence[Outline], width: int) -> list[str]:
    if len(outlines) == 1:
        (outline,) = outlines
        return _wrapped(f"{outline.path} (subject {outline.subject or '?'}, session {outline.session or '?'})", "", width)
    subjects = [outline.subject or "?" for outline in outlines]
    return [
        *_wrapped(f"{len(outlines)} files: {_some([outline.path.name for outline in outlines])}", "", width),
        *_wrapped(f"{len(set(subjects))} subjects: {_some(sorted(set(subjects)))}", "", width),
    ]


def _table_lines(tables: Sequence[TableOutline], files: int, width: int) -> list[str]:
    rows = [table.rows for table in tables]
    size = f"{min(rows)} rows" if min(rows) == max(rows) else f"{min(rows)} to {max(rows)} rows"
    of_files = "" if files == 1 else f" in {len(tables)} of {files} files"
    lines = _wrapped(f"{tables[0].path} ({tables[0].kind}, {size}{of_files})", "", width)
    for name in dict.fromkeys(name for table in tables for name in table.columns):
        columns = [table.columns[name] for table in tables if name in table.columns]
        kind = "/".join(dict.fromkeys(column.kind for column in columns))
        flat = [column for column in columns if column.values is not None]
        words = values_in_words(flat) if flat else ""
        lines += _wrapped(f"{name:<18} {kind:<7} {words}".rstrip(), "  ", width, " " * 29)
        description = next((column.description for column in columns if column.description not in ("", name)), "")
        if description:
            lines += _wrapped(description, " " * 6, width)
    return lines


def _series_lines(series: Sequence[SeriesOutline], width: int) -> list[str]:
    entry = series[0]
    shapes = list(dict.fromkeys(entry.shape for entry in series))
    shape = f"{shapes[0]}" if len(shapes) == 1 else f"{min(shapes)} to {max(shapes)}"
    periods = {entry.period for entry in series if np.isfinite(entry.period)}
    rate = f", {1 / min(periods):.4g} Hz" if periods else ""
    lines = [f"  {entry.path}", *_wrapped(f"{entry.kind}, shape {shape} [{entry.unit}]{rate}", "      ", width)]
    return lines + (_wrapped(entry.description, "      ", width) if entry.description else [])


def differences(outlines: Sequence[Outline]) -> list[str]:
    """Return a sentence for each table, column, series or class that some files lack, and for types and rates that differ."""
    if len(outlines) < 2:
        return []
    lines = _lacking("", outlines, lambda outline: outline.tables) + _lacking("", outlines, lambda outline: outline.series)
    for path in dict.fromkeys(path for outline in outlines for path in outline.tables):
        lines += _table_differences(path, [outline for outline in outlines if path in outline.tables])
    for path in dict.fromkeys(path for outline in outlines for path in outline.series):
        entries = [outline.series[path] for outline in outlines if path in outline.series]
        looks = [f"{entry.kind} in {entry.unit}, {1 / entry.period:.4g} Hz" for entry in entries]
        if len(set(looks)) > 1:
            lines.append(f"{path}: {shown(set(looks))}")
    twice = [name for name, number in Counter(outline.subject for outline in outlines).items() if number > 1 and name]
    if twice:
        lines.append(f"several files of one subject: {_some(twice)}")
    return lines


def _table_differences(path: str, outlines: Sequence[Outline]) -> list[str]:
    """Return a sentence for each way in which a table differs between files that have it."""
    lines, rows = [], {outline.path.name: outline.tables[path].rows for outline in outlines}
    low, high = min(rows, key=rows.__getitem__), max(rows, key=rows.__getitem__)
    if rows[low] < rows[high]:
        lines.append(f"{path}: {rows[low]} rows in {low} to {rows[high]} in {high}")
    lines += _lacking(f"{path}: column ", outlines, lambda outline: outline.tables[path].columns)
    for name in dict.fromkeys(name for outline in outlines for name in outline.tables[path].columns):
        holders = {o.path.name: o.tables[path].columns[name] for o in outlines if name in o.tables[path].columns}
        lines += _column_differences(f"{path}: {name}", holders)
    return lines


def _lacking(prefix: str, outlines: Sequence[Outline], names_of: Callable[[Outline], dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for outline in outlines for name in names_of(outline))
    absent = {name: [outline.path.name for outline in outlines if name not in names_of(outline)] for name in names}
    return [f"{prefix}{name} is missing in {_some(files)}" for name, files in absent.items() if files]


def _column_differences(where: str, columns: dict[str, Column]) -> list[str]:
    by_kind: dict[str, list[str]] = {}
    for file, column in columns.items():
        by_kind.setdefault(column.kind, []).append(file)
    if len(by_kind) > 1:
        return [f"{where} is " + "; ".join(f"{kind} in {_some(files)}" for kind, files in by_kind.items())]
    counts = {file: column.counts for file, column in columns.items()}
    classes = sorted({name for present in counts.values() for name in present} - {""})
    if len(classes) > MOST_CLASSES or next(iter(columns.values())).values is None:
        return []
    absent = {name: [file for file, present in counts.items() if name not in present] for name in classes}
    return [f"{where}: no {name!r} in {_some(files)}" for name, files in absent.items() if files]


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _wrapped(text: str, indent: str, width: int, further: str | None = None) -> list[str]:
    """Return lines of a width; ``indent`` begins the first, ``further`` (default: the same) all others."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    column_text = indent + printable if "  " in printable else None  # columns stay in line
    if column_text is not None and len(column_text) <= width:
        return [column_text]
    subsequent = indent if further is None else further
    return textwrap.wrap(
        printable, width, initial_indent=indent, subsequent_indent=subsequent, drop_whitespace=True, break_on_hyphens=False
    ) or [indent]
