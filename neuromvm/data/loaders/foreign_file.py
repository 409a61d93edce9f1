"""Typed errors for files that other libraries read: text tables, NumPy arrays and MATLAB files."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.labels import shown
from neuromvm.errors import DataFormatError, MissingTableError, NeuromvmError, did_you_mean

MISSING = ("", "nan", "NaN", "NAN")
MISSING_NUMBER = {"NA", "N/A", "<NA>", "null", "NULL", "None"}  # only in columns that are numbers otherwise
# Numbers as written; later versions of pandas read them so by themselves
EXACT: dict[str, Any] = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
COPIES = 20  # bytes in memory for a byte of text, while a table is parsed


@contextmanager
def foreign_file(path: Path, expected: str) -> Iterator[None]:
    """Replace any error of another library by DataFormatError, since a damaged file can raise anything."""
    if not path.is_file():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        problem = "a folder" if path.is_dir() else "no such file"
        raise MissingTableError(
            str(path), found=problem, expected=expected, next_step=f"The folder has: {shown(names) or 'nothing'}"
        )
    try:
        yield
    except NeuromvmError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataFormatError(
            str(path),
            found=f"unreadable ({type(error).__name__}: {reason})",
            expected=expected,
            next_step="Open it with the program that wrote it, or copy it again from its source",
        ) from error


def open_npy(path: Path, dims: int) -> NDArray[Any]:
    """Return an array of numbers with ``dims`` dims, mapped into memory; further dims of size 1 are removed.

    Pickled objects are refused, because reading them can run code.
    """
    expected = f"an array of numbers with {dims} dims, saved with numpy.save"
    with foreign_file(path, expected):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iufb":
        raise DataFormatError(str(path), found=f"values of type {getattr(array, 'dtype', type(array))}", expected=expected)
    if array.ndim > dims and array.size == np.prod(array.shape[:dims]):
        array = array.reshape(array.shape[:dims])
    if array.ndim != dims:
        raise DataFormatError(str(path), found=f"shape {array.shape}", expected=expected)
    return array


def load_npy(path: Path, dims: int) -> NDArray[Any]:
    """Return an array as :func:`open_npy` does, read into memory."""
    array = open_npy(path, dims)
    check_fits_memory(str(path), array.nbytes, "Use a machine with more memory, or cut the recording")
    return np.array(array)


def read_text_table(path: Path, separator: str | None = None) -> dict[str, NDArray[Any]]:
    """Return the columns of a text table with a header: numbers, bools or text, with '' or NaN for empty cells.

    Text such as ``NA`` is a missing number in a column of numbers, and text in a column of text. ``/`` in names becomes ``_``.
    """
    with foreign_file(path, "a text table with a header, in UTF-8"), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
        check_fits_memory(str(path), path.stat().st_size * COPIES, "Cut the table, or use a machine with more memory")
        table = pd.read_csv(
            path,
            sep=separator or ("\t" if path.suffix == ".tsv" else ","),
            keep_default_na=False,
            na_values=list(MISSING),
            skipinitialspace=True,
            encoding="utf-8-sig",
            low_memory=False,
            index_col=False,
            **EXACT,
        )
        columns = {str(name).strip().replace("/", "_"): _column(table[name]) for name in table}
    if len(columns) < len(table.columns):
        raise DataFormatError(str(path), found=f"columns {shown(list(map(str, table.columns)))}", expected="different names")
    return columns


def column_of(path: Path, columns: dict[str, NDArray[Any]], name: str, setting: str) -> NDArray[Any]:
    """Return a column of a text table, or raise MissingTableError with the setting that names it."""
    if name not in columns:
        next_step = f"{did_you_mean(name, list(columns))}. Set {setting} in the data spec"
        raise MissingTableError(str(path), found=f"no column {name!r}", next_step=next_step)
    return columns[name]


def whole_numbers(where: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return values as int64, or raise DataFormatError unless all are whole numbers."""
    if values.dtype.kind not in "iuf" or not bool(np.all(np.isfinite(values) & (values == np.round(values)))):
        raise DataFormatError(
            where, found=f"values of type {values.dtype} that are not all whole numbers", expected="whole numbers"
        )
    return values.astype(np.int64)


def in_natural_order(names: list[str]) -> list[str]:
    """Return sorted names, with numbers in numeric order: unit2 before unit10."""
    return sorted(
        names, key=lambda name: [(len(part), part) if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
    )


def _column(values: "pd.Series[Any]") -> NDArray[Any]:
    if values.dtype.kind in "iufb":
        return values.to_numpy()
    absent = values.isin(MISSING_NUMBER)
    numbers = pd.to_numeric(values.where(~absent), errors="coerce")
    are_numbers = bool((numbers.notna() | values.isna() | absent).all())
    if are_numbers and not any(isinstance(value, bool) for value in values):
        return numbers.to_numpy(dtype=np.float64)
    return np.array(["" if pd.isna(value) else str(value) for value in values], dtype=str)
