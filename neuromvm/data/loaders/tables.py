"""NWB tables (``DynamicTable``): one array per column, ragged columns split by row, codes of ``EnumData`` as their names."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean

DEEPEST_TABLE = 4  # groups below processing or acquisition
MOST_GROUPS = 2000  # that are searched for tables
LONGEST_LABEL = 1000  # [bytes]


@dataclass(frozen=True)
class Table:
    """Columns with one value per row; ``ids``: row ids of the table; ``names``: all columns, ragged ones included.

    ``problems``: what the columns hold that are neither text, numbers nor bools, one a row.
    """

    where: str
    ids: NDArray[Any]
    columns: dict[str, NDArray[Any]]
    names: list[str]
    problems: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str, setting: str) -> NDArray[Any]:
        """Return a column, or raise MissingTableError with the setting that names it."""
        if name in self.problems or name not in self.columns:
            choices = did_you_mean(name, [column for column in self.names if column != name and column not in self.problems])
            problem = f"{self.problems[name]}, so " if name in self.problems else ""
            raise MissingTableError(
                self.where,
                found=f"{problem}no column {name!r}" + (" with one value a row" if name in self.names else ""),
                next_step=f"{choices}. Set {setting} in the data spec",
            )
        return self.columns[name]


def column_names(file: ArrayTree, path: str) -> list[str]:
    """Return the columns of a table, ragged ones included, without ``id``, the ``_index`` columns and names of codes."""
    names = file.children(path)
    parts = {f"{name}{suffix}" for name in names for suffix in ("_index", "_elements")}
    return [name for name in names if name != "id" and name not in parts]


def is_flat(file: ArrayTree, path: str, name: str) -> bool:
    """Return whether a column has one text, number or bool per row; ragged columns, references and matrices do not."""
    return _layout_problem(file, path, name) is None


def is_long_text(file: ArrayTree, column: str) -> bool:
    """Return whether a column has a text too long for a label, such as settings in JSON; it is read only if a spec names it."""
    return not file.is_group(column) and file.kind(column) == "text" and file.longest_text(column) > LONGEST_LABEL


def read_table(file: ArrayTree, path: str, columns: Collection[str] | None = None, left_out: Collection[str] = ()) -> Table:
    """Return a table with those of ``columns`` (default: all but ``left_out``) that have one value per row."""
    where = file.where(path)
    if not file.is_group(path):
        paths = table_paths(file)
        tables = [f"{table} ({_rows(file, table) or 0} rows)" for table in paths]
        present = f"The file has: {', '.join(tables)}" if tables else "The file has neither interval tables nor units"
        raise MissingTableError(where, found="no such table", next_step=f"{present}. Name one of them in the data spec")
    names = column_names(file, path)
    arrays: dict[str, NDArray[Any]] = {}
    problems: dict[str, str] = {}
    for name in names:
        column = f"{path}/{name}"
        if name in left_out if columns is None else name not in columns:
            continue
        if (problem := _layout_problem(file, path, name)) is None:
            arrays[name] = _named_codes(file, column, file.array(column).reshape(-1))
            problem = _problem_of_numbers(file, column, arrays[name])
        elif columns is not None and (values := _one_each(file, path, name)) is not None:
            arrays[name], problem = values, None
        if problem is not None:
            problems[name] = problem
    if f"{path}/id" in file:
        ids = file.array(f"{path}/id").reshape(-1)
    else:
        ids = np.arange(len(next(iter(arrays.values()))) if arrays else 0)
    for name, values in arrays.items():
        if len(values) != len(ids):
            raise DataFormatError(where, found=f"column {name!r} with {len(values)} rows", expected=f"{len(ids)}, as many as ids")
    if len(np.unique(ids)) != len(ids):
        raise DataFormatError(where, found="ids that repeat", expected="a unique id for every row", next_step="Write new ids")
    return Table(where, ids, arrays, names, problems)


def table_paths(file: ArrayTree) -> list[str]:
    """Return the paths of interval tables, of tables with times below processing and acquisition, and of the units."""
    paths = [f"intervals/{name}" for name in file.children("intervals")]
    groups = [f"{top}/{name}" for top in ("processing", "acquisition") for name in file.children(top)]
    visited = 0
    while groups and visited < MOST_GROUPS:
        group = groups.pop(0)
        visited += 1
        if not file.is_group(group):
            continue
        if f"{group}/id" in file or f"{group}/start_time" in file:
            paths.append(group)
        elif group.count("/") < DEEPEST_TABLE and f"{group}/data" not in file:
            groups += [f"{group}/{name}" for name in file.children(group)]
    return paths + (["units"] if file.is_group("units") else [])


def trial_table_path(file: ArrayTree, name: str) -> str:
    """Return the path of the table that ``name`` means: one of /intervals, a path, or the only table of that name elsewhere."""
    if file.is_group(f"intervals/{name}"):
        return f"intervals/{name}"
    if "/" in name:
        return name.strip("/")
    paths = [path for path in table_paths(file) if path.rpartition("/")[2] == name]
    return paths[0] if len(paths) == 1 else f"intervals/{name}"


def _rows(file: ArrayTree, path: str) -> int | None:
    """Return the number of rows of a table by its ids, or None if it has no ids."""
    if f"{path}/id" not in file or file.is_group(f"{path}/id"):
        return None
    return int(np.prod(file.shape(f"{path}/id"), dtype=np.int64))


def _layout_problem(file: ArrayTree, path: str, name: str) -> str | None:
    """Return what a column holds if it is not one text, number or bool a row, else None."""
    column = f"{path}/{name}"
    if file.is_group(column):
        return f"{name!r} is a group"
    if f"{column}_index" in file:
        return f"{name!r} is ragged, with none or several values a row"
    if file.kind(column) == "other":
        return f"{name!r} holds references or compound values"
    shape = file.shape(column)
    # MATLAB writes columns of shape (row, 1) and (1, row); (1, n) in a table of one row is a vector
    if len(shape) == 1 or (len(shape) == 2 and (shape[1] == 1 or (shape[0] == 1 and shape[1] == _rows(file, path)))):
        return None
    return f"{name!r} has the shape {shape}"


def _problem_of_numbers(file: ArrayTree, column: str, values: NDArray[Any]) -> str | None:
    """Return what whole numbers in a column are if they are rows of another table, else None."""
    if values.dtype.kind not in "iu" or str(file.attribute(column, "neurodata_type")) != "DynamicTableRegion":
        return None
    name, table = column.rpartition("/")[2], file.attribute(column, "table")
    return f"{name!r} holds rows of the table {table}, whose numbers mean nothing in another file"


def _named_codes(file: ArrayTree, column: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return the names of the codes of an ``EnumData`` column; values of other columns unchanged."""
    if values.dtype.kind not in "iu" or str(file.attribute(column, "neurodata_type")) != "EnumData":
        return values
    target = file.attribute(column, "elements")
    source = target if isinstance(target, str) and target in file else f"{column}_elements"
    elements = file.array(source).reshape(-1)
    if values.size and (values.min() < 0 or values.max() >= len(elements)):
        raise DataFormatError(file.where(column), found="codes without a name", expected=f"whole numbers below {len(elements)}")
    return np.asarray(elements[values])


def _one_each(file: ArrayTree, path: str, name: str) -> NDArray[Any] | None:
    """Return the values of a ragged column in which no row has more than one, '' or NaN where a row has none, else None."""
    column = f"{path}/{name}"
    if f"{column}_index" not in file or f"{column}_index_index" in file:
        return None
    if file.is_group(column) or file.kind(column) == "other" or len(file.shape(column)) != 1:
        return None
    values = _named_codes(file, column, file.array(column))
    ends = file.numbers(f"{column}_index").reshape(-1).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    if len(ends) != _rows(file, path) or (counts < 0).any() or (counts > 1).any() or counts.sum() != len(values):
        return None
    if (counts == 1).all():
        return values
    whole = np.full(
        len(counts), "" if values.dtype.kind == "U" else np.nan, dtype=values.dtype if values.dtype.kind in "Uf" else float
    )
    whole[counts == 1] = values
    return whole


def read_ragged(file: ArrayTree, path: str, name: str, rows: int, width: int = 1) -> list[NDArray[Any]]:
    """Return the array of each row of a ragged column of numbers, such as spike times; each value has ``width`` numbers."""
    values = file.numbers(f"{path}/{name}")
    if width == 1 and (values.ndim == 1 or (values.ndim == 2 and 1 in values.shape)):
        values = values.reshape(-1)
    elif values.shape[1:] != (width,) and values.size:
        expected = f"(value, {width})" if width > 1 else "(value,)"
        raise DataFormatError(
            file.where(f"{path}/{name}"),
            found=f"values of shape {values.shape}",
            expected=expected,
            next_step="Write the values of all rows one after another, in one column",
        )
    ends = file.numbers(f"{path}/{name}_index").reshape(-1)
    where = file.where(f"{path}/{name}_index")
    if f"{path}/{name}_index_index" in file:
        raise DataFormatError(where, found="an index of an index", expected="one list of values a row")
    if ends.dtype.kind == "f" and not (np.isfinite(ends).all() and (ends == np.round(ends)).all()):
        raise DataFormatError(where, found="ends that are no whole numbers", expected="the end of every row")
    ends = ends.astype(np.int64)
    if len(ends) != rows:
        raise DataFormatError(where, found=f"{len(ends)} entries", expected=f"{rows}, one a row")
    if rows and ((np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(values)):
        problem = "ends that fall or do not reach the end of the values"
        raise DataFormatError(where, found=problem, expected=f"rising to {len(values)}")
    return np.split(values, ends[:-1]) if rows else []


def linked_text(file: ArrayTree, path: str, name: str, column: str, rows: int) -> NDArray[np.str_] | None:
    """Return, for each row of a table, the text in ``column`` of the table that the column ``name`` refers to.

    Different texts of several referenced rows are joined by ``+``. The result is None if there is no such reference or column.
    """
    source = f"{path}/{name}"
    table = file.attribute(source, "table") if source in file else None
    if table is None or f"{table}/{column}" not in file:
        return None
    texts = file.array(f"{table}/{column}").reshape(-1).astype(str)
    if f"{source}_index" in file:
        pieces = read_ragged(file, path, name, rows)
    else:
        references = file.numbers(source)
        if len(references) != rows:
            raise DataFormatError(file.where(source), found=f"{len(references)} rows", expected=f"{rows}")
        pieces = list(references.reshape(rows, -1))
    if any(piece.size and (piece.min() < 0 or piece.max() >= len(texts)) for piece in pieces):
        problem = "rows beyond the end of the table it refers to"
        raise DataFormatError(file.where(source), found=problem, expected=f"0..{len(texts) - 1}")
    return np.array(["+".join(dict.fromkeys(texts[piece.astype(np.int64)])) for piece in pieces], dtype=str)
