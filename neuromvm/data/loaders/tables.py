"""NWB tables (``DynamicTable``): one array per column, ragged columns split by row."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean

LONGEST_LABEL = 1000  # [bytes]


@dataclass(frozen=True)
class Table:
    """Columns with one value per row; ``ids``: row ids of the table; ``names``: all columns, ragged ones included."""

    where: str
    ids: NDArray[Any]
    columns: dict[str, NDArray[Any]]
    names: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str, setting: str) -> NDArray[Any]:
        """Return a column, or raise MissingTableError with the setting that names it."""
        if name not in self.columns:
            choices = did_you_mean(name, [column for column in self.names if column != name])
            raise MissingTableError(
                self.where,
                found=f"no column {name!r}" + (" with one value a row" if name in self.names else ""),
                next_step=f"{choices}. Set {setting} in the data spec",
            )
        return self.columns[name]


def column_names(file: NwbFile, path: str) -> list[str]:
    """Return the columns of a table, ragged ones included, without ``id`` and the ``_index`` columns."""
    names = file.children(path)
    return [name for name in names if name != "id" and not (name.endswith("_index") and name.removesuffix("_index") in names)]


def is_flat(file: NwbFile, path: str, name: str) -> bool:
    """Return whether a column has one text, number or bool per row; ragged columns, references and matrices do not."""
    column = f"{path}/{name}"
    if file.is_group(column) or f"{column}_index" in file or file.kind(column) == "other":
        return False
    shape = file.shape(column)
    # MATLAB writes columns of shape (row, 1)
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def is_long_text(file: NwbFile, column: str) -> bool:
    """Return whether a column has a text too long for a label, such as settings in JSON; it is read only if a spec names it."""
    return not file.is_group(column) and file.kind(column) == "text" and file.longest_text(column) > LONGEST_LABEL


def read_table(file: NwbFile, path: str, columns: Collection[str] | None = None, left_out: Collection[str] = ()) -> Table:
    """Return a table with those of ``columns`` (default: all but ``left_out``) that have one value per row."""
    where = file.where(path)
    if not file.is_group(path):
        paths = [f"intervals/{name}" for name in file.children("intervals")] + (["units"] if file.is_group("units") else [])
        tables = [f"{table} ({file.shape(f'{table}/id')[0] if f'{table}/id' in file else 0} rows)" for table in paths]
        present = f"The file has: {', '.join(tables)}" if tables else "The file has neither interval tables nor units"
        raise MissingTableError(where, found="no such table", next_step=f"{present}. Name one of them in the data spec")
    names = column_names(file, path)
    selected = [name for name in names if (name not in left_out if columns is None else name in columns)]
    arrays = {name: file.array(f"{path}/{name}").reshape(-1) for name in selected if is_flat(file, path, name)}
    if f"{path}/id" in file:
        ids = file.array(f"{path}/id").reshape(-1)
    else:
        ids = np.arange(len(next(iter(arrays.values()))) if arrays else 0)
    for name, values in arrays.items():
        if len(values) != len(ids):
            raise DataFormatError(where, found=f"column {name!r} with {len(values)} rows", expected=f"{len(ids)}, as many as ids")
    if len(np.unique(ids)) != len(ids):
        raise DataFormatError(where, found="ids that repeat", expected="a unique id for every row", next_step="Write new ids")
    return Table(where, ids, arrays, names)


def read_ragged(file: NwbFile, path: str, name: str, rows: int) -> list[NDArray[Any]]:
    """Return the array of each row of a ragged column of numbers, such as spike times."""
    values = file.numbers(f"{path}/{name}")
    ends = file.numbers(f"{path}/{name}_index").reshape(-1).astype(np.int64)
    where = file.where(f"{path}/{name}_index")
    if len(ends) != rows:
        raise DataFormatError(where, found=f"{len(ends)} entries", expected=f"{rows}, one a row")
    if rows and ((np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(values)):
        problem = "ends that fall or do not reach the end of the values"
        raise DataFormatError(where, found=problem, expected=f"rising to {len(values)}")
    return np.split(values, ends[:-1]) if rows else []


def linked_text(file: NwbFile, path: str, name: str, column: str, rows: int) -> NDArray[np.str_] | None:
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
