"""A recording as a tree of named arrays in the layout of NWB, which readers of tables and series take from any source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean


class ArrayTree(Protocol):
    """An open recording. Paths are as in NWB, without the leading slash, such as ``intervals/trials/odor``."""

    @property
    def path(self) -> Path:
        """The file, or the file that stands for a folder."""

    def where(self, path: str) -> str:
        """Return the file and a path inside it, for messages."""

    def __contains__(self, path: str) -> bool: ...

    def children(self, path: str) -> list[str]:
        """Return the sorted names inside a group; empty if it is not a group."""

    def is_group(self, path: str) -> bool:
        """Return whether a path is a group."""

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of an array."""

    def kind(self, path: str) -> str:
        """Return the type of values: ``text``, ``number``, ``bool`` or ``other``."""

    def array(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return an array: numbers as stored, text as ``<U``; with ``column``, only one of ``(row, column)``."""

    def numbers(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return an array of numbers, or raise DataFormatError; otherwise as :meth:`array`."""

    def longest_text(self, path: str) -> int:
        """Return the length of the longest text of an array of text [bytes]."""

    def address(self, path: str) -> int:
        """Return a number that is the same for paths to the same array or group; -1 if there is none."""

    def text(self, path: str) -> str:
        """Return a scalar text, or '' if there is none."""

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute as text, number or array of text; None if it is absent."""


class MemoryTree:
    """Arrays of a source other than NWB, with the checks and messages of an NWB file.

    Parameters
    ----------
    path
        The file that messages name.
    arrays
        Path -> array; arrays that are mapped into memory are read when they are asked for.
    attributes
        Path -> attributes of the array or group.
    files
        First part of a path -> the file that its arrays are from, for messages; others are from ``path``.
    """

    def __init__(
        self,
        path: Path,
        arrays: Mapping[str, ArrayLike],
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        self.path = path
        self._files = files or {}
        self._arrays = {name: np.asanyarray(values) for name, values in arrays.items()}
        self._attributes = attributes or {}
        self._groups: dict[str, set[str]] = {"": set()}
        for name in self._arrays:
            parts = name.split("/")
            for depth in range(len(parts)):
                self._groups.setdefault("/".join(parts[:depth]), set()).add(parts[depth])

    def where(self, path: str) -> str:
        """Return the file and a path inside it, for messages."""
        return f"{self._files.get(path.partition('/')[0], self.path)}: /{path}"

    def __contains__(self, path: str) -> bool:
        return path.strip("/") in self._arrays or self.is_group(path)

    def children(self, path: str) -> list[str]:
        """Return the sorted names inside a group; empty if it is not a group."""
        return sorted(self._groups.get(path.strip("/"), ()))

    def is_group(self, path: str) -> bool:
        """Return whether a path is a group."""
        return path.strip("/") in self._groups

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return self._find(path).shape

    def kind(self, path: str) -> str:
        """Return the type of values: ``text``, ``number``, ``bool`` or ``other`` (complex numbers, records)."""
        kinds = {"U": "text", "b": "bool", "i": "number", "u": "number", "f": "number"}
        return kinds.get(self._find(path).dtype.kind, "other")

    def array(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return an array; with ``column``, only one of ``(row, column)``."""
        values = self._find(path)
        selected = values if column is None else values[:, column]
        if isinstance(values, np.memmap):
            check_fits_memory(self.where(path), selected.nbytes, "Use a machine with more memory, or cut the file")
        return np.array(selected) if isinstance(values, np.memmap) else np.asarray(selected)

    def numbers(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return an array of numbers, or raise DataFormatError; otherwise as :meth:`array`."""
        values = self.array(path, column)
        if values.dtype.kind not in "iufb":
            raise DataFormatError(self.where(path), found=f"values of type {values.dtype}", expected="numbers")
        return values

    def longest_text(self, path: str) -> int:
        """Return the length of the longest text of an array of text [bytes]."""
        return max((len(text.encode()) for text in self._find(path).ravel().tolist()), default=0)

    def address(self, path: str) -> int:
        """Return a number that is the same for paths to the same array or group; -1 if there is none."""
        return hash(path.strip("/")) if path in self else -1

    def text(self, path: str) -> str:
        """Return a scalar text, or '' if there is none."""
        if path not in self or self.is_group(path):
            return ""
        return str(self.array(path).ravel()[0]) if self.shape(path) in {(), (1,)} else ""

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute, or None if it is absent."""
        return self._attributes.get(path.strip("/"), {}).get(name)

    def _find(self, path: str) -> NDArray[Any]:
        values = self._arrays.get(path.strip("/"))
        if values is not None:
            return values
        parent, _, name = path.rpartition("/")
        if self.is_group(path):
            problem, next_step = "a group", "Give the path of an array"
        else:
            problem, next_step = "not there", did_you_mean(name, self.children(parent))
        raise MissingTableError(self.where(path), found=problem, next_step=next_step)
