"""Access to NWB files as plain numpy arrays, text and numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.foreign import NWB_WANTED
from neuromvm.data.loaders.hdf5 import check_fits_memory, guard, open_hdf5, unforeseen
from neuromvm.data.loaders.text_length import longest_text
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean
from neuromvm.hdf5_files.structure import SUSPECT_BYTES, SUSPECT_RATIO

LONGEST_CHAIN_OF_LINKS = 16
LARGEST_TEXT = 2**28  # [bytes] of the texts of a column, each padded to the longest
LARGEST_ATTRIBUTE = 2**24  # [bytes]
COPY_OUT = "Copy the data into one file (pynwb: NWBHDF5IO.export); files that read other files are refused"


@contextmanager
def open_nwb(path: Path) -> Iterator["NwbFile"]:
    """Open an NWB 2 file for reading and close it at the end of the block; what fails in the block is a DataFormatError."""
    with unforeseen(str(path)), open_hdf5(path) as handle:
        file = NwbFile(path, handle)
        file.check_version()
        yield file


class NwbFile:
    """An open file. Paths are as in HDF5, without the leading slash, such as ``intervals/trials/odor``."""

    def __init__(self, path: Path, handle: h5py.File) -> None:
        self.path, self._handle = path, handle
        self._objects: dict[str, h5py.Group | h5py.Dataset | None] = {}  # by path, as far as they were asked for

    def check_version(self) -> None:
        """Raise DataFormatError unless the version of the file is NWB 2."""
        version = self.attribute("", "nwb_version")
        if str(version).removeprefix("NWB-").startswith("2"):
            return
        problem, next_step = f"NWB version {version}", "Convert it, or use a newer version of the data set"
        if version is None and "nwb_version" in self:
            problem, next_step = "NWB 1.x", "Write it as NWB 2 (pynwb or MatNWB), or get a newer version of the data set"
        elif version is None:
            problem, next_step = f"HDF5 without an NWB version; groups {self.children('')}", NWB_WANTED
            if "#refs#" in self or self.path.suffix.lower() == ".mat":
                problem = f"a .mat file of version 7.3; variables {self.children('')}"
        raise DataFormatError(str(self.path), found=problem, expected="an NWB 2 file", next_step=next_step)

    def where(self, path: str) -> str:
        """Return the file and a path inside it, for messages."""
        return f"{self.path}: /{path}"

    def __contains__(self, path: str) -> bool:
        with guard(self.where(path)):
            return self._find(path) is not None

    def children(self, path: str) -> list[str]:
        """Return the sorted names inside a group; empty if it is not a group."""
        with guard(self.where(path)):
            node = self._find(path)
            if not isinstance(node, h5py.Group):
                return []
            return sorted(_as_text(name, self.where(path)) for name in node)

    def is_group(self, path: str) -> bool:
        """Return whether a path is a group."""
        with guard(self.where(path)):
            return isinstance(self._find(path), h5py.Group)

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of a dataset."""
        with guard(self.where(path)):
            return tuple(self._dataset(path).shape or ())

    def kind(self, path: str) -> str:
        """Return the type of values of a dataset: ``text``, ``number``, ``bool`` or ``other`` (references, compounds, ragged)."""
        with guard(self.where(path)):
            dtype = self._dataset(path).dtype
        if h5py.check_string_dtype(dtype) is not None or h5py.check_enum_dtype(dtype) is not None:
            return "text"
        return {"b": "bool", "i": "number", "u": "number", "f": "number"}.get(dtype.kind, "other")

    def array(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return a dataset as numpy: numbers as stored, text as ``<U``; with ``column``, only one of ``(row, column)``."""
        where = self.where(path)
        with guard(where):
            dataset = self._dataset(path)
            self._check_storage(dataset, where, columns=1 if column is None else dataset.shape[1])
            self._check_text(dataset, where)
            index = () if column is None else (slice(None), column)
            values = np.asarray(dataset[index]) if dataset.shape is not None else np.empty(0)
        if (codes := h5py.check_enum_dtype(dataset.dtype)) is not None:
            names = {code: name for name, code in codes.items()}
            return np.array([names.get(code, str(code)) for code in values.ravel().tolist()], dtype=str).reshape(values.shape)
        if h5py.check_string_dtype(dataset.dtype) is None:
            return values
        text = [_as_text(value, where) for value in values.ravel().tolist()]
        return np.array(text, dtype=str).reshape(values.shape)

    def longest_text(self, path: str) -> int:
        """Return the length of the longest text of a dataset of text [bytes], which is not read."""
        where = self.where(path)
        with guard(where):
            dataset = self._dataset(path)
            self._check_place(dataset, where)
            return longest_text(dataset, self.path, LARGEST_TEXT)

    def address(self, path: str) -> int:
        """Return where an object is in the file; paths that lead to one object have one address. -1 if there is none."""
        with guard(self.where(path)):
            node = self._find(path)
            return -1 if node is None else int(h5py.h5o.get_info(node.id).addr)

    def numbers(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return a dataset of numbers, or raise DataFormatError; otherwise as :meth:`array`."""
        values = self.array(path, column)
        if values.dtype.kind not in "iufb":
            raise DataFormatError(self.where(path), found=f"values of type {values.dtype}", expected="numbers")
        return values

    def text(self, path: str) -> str:
        """Return a scalar text, or '' if there is none."""
        if path not in self:
            return ""
        return str(self.array(path).ravel()[0]) if self.shape(path) in {(), (1,)} else ""

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute as text, number or array of text; None if it is absent. References come as paths."""
        where = f"{self.where(path)}@{name}"
        with guard(where):
            node = self._find(path)
            if node is None or name not in node.attrs:
                return None
            stored = node.attrs.get_id(name)
            size = int(np.prod(stored.shape or (), dtype=float)) * stored.dtype.itemsize
            if size > LARGEST_ATTRIBUTE:
                raise DataFormatError(where, found=f"an attribute of {size} bytes", expected=f"at most {LARGEST_ATTRIBUTE}")
            value = node.attrs[name]
            if isinstance(value, h5py.Reference):
                return str(self._handle[value].name).strip("/") if value else None
        if isinstance(value, str | bytes):
            return _as_text(value, where)
        if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
            return np.array([_as_text(item, where) for item in value.ravel().tolist()], dtype=str)
        return value

    def _find(self, path: str) -> h5py.Group | h5py.Dataset | None:
        """Return a group or dataset, or None; each path is followed once."""
        if path not in self._objects:
            self._objects[path] = self._follow(path)
        return self._objects[path]

    def _follow(self, path: str, followed: int = 0) -> h5py.Group | h5py.Dataset | None:
        """Return a group or dataset, following links within the file only; h5py alone would follow links into other files."""
        node: Any = self._handle
        parts = [part for part in path.split("/") if part]
        for depth, part in enumerate(parts):
            name = part.encode("utf-8")
            if not isinstance(node, h5py.Group) or not node.id.links.exists(name):
                return None
            kind = node.id.links.get_info(name).type
            if kind == h5py.h5l.TYPE_EXTERNAL:
                problem, expected = "a link to another file", "data inside the file"
                raise DataFormatError(self.where(path), found=problem, expected=expected, next_step=COPY_OUT)
            if kind == h5py.h5l.TYPE_SOFT:
                if followed > LONGEST_CHAIN_OF_LINKS:
                    raise DataFormatError(self.where(path), found="soft links in a circle", next_step="Remove the links")
                target = _as_text(node.id.links.get_val(name), self.where(path))
                base = "" if target.startswith("/") else "/".join(parts[:depth])
                return self._follow("/".join([base, target, *parts[depth + 1 :]]), followed + 1)
            node = node[part]
        return node if isinstance(node, h5py.Group | h5py.Dataset) else None

    def _dataset(self, path: str) -> h5py.Dataset:
        node = self._find(path)
        if isinstance(node, h5py.Dataset):
            return node
        parent, _, name = path.rpartition("/")
        siblings = self.children(parent)
        if node is not None:
            problem, next_step = "a group", "Give the path of a dataset"
        elif name in siblings:
            problem, next_step = "a link without a target", "Write the file again with the data inside it"
        else:
            problem, next_step = "not there", did_you_mean(name, siblings)
        raise MissingTableError(self.where(path), found=problem, next_step=next_step)

    def _check_storage(self, dataset: h5py.Dataset, where: str, columns: int = 1) -> None:
        """Refuse data in other files, and small files with large arrays; one of ``columns`` is read."""
        self._check_place(dataset, where)
        stored = dataset.id.get_storage_size()
        if not dataset.is_virtual and dataset.nbytes > SUSPECT_BYTES and dataset.nbytes > SUSPECT_RATIO * stored:
            raise DataFormatError(
                where,
                found=f"{stored} stored bytes that decompress to {dataset.nbytes / 1e9:.3g} GB",
                expected=f"a ratio below {SUSPECT_RATIO}",
                next_step="The file is damaged or was made to exhaust memory; get it again from its source",
            )
        check_fits_memory(where, dataset.nbytes // columns, "Use a machine with more memory, or cut the file")

    def _check_place(self, dataset: h5py.Dataset, where: str, above: tuple[int, ...] = ()) -> None:
        """Refuse data in other files, and virtual datasets of nothing or of themselves; those ``above`` refer to this one."""
        if dataset.external:
            raise DataFormatError(where, found="data stored in another file", expected="data inside the file", next_step=COPY_OUT)
        if not dataset.is_virtual:
            return
        address = int(h5py.h5o.get_info(dataset.id).addr)
        if address in above or len(above) > LONGEST_CHAIN_OF_LINKS:
            problem = "a virtual dataset that refers to itself" if address in above else "a long chain of virtual datasets"
            raise DataFormatError(where, found=problem, expected="values", next_step=COPY_OUT)
        for source in dict.fromkeys((source.file_name, source.dset_name) for source in dataset.virtual_sources()):
            if source[0] != ".":
                problem = "data stored in another file"
                raise DataFormatError(where, found=problem, expected="data inside the file", next_step=COPY_OUT)
            node = self._find(source[1]) if "%" not in source[1] else None
            if not isinstance(node, h5py.Dataset):
                problem = f"a virtual dataset without its source {source[1]!r}"
                raise DataFormatError(where, found=problem, expected="values", next_step=COPY_OUT)
            self._check_place(node, where, (*above, address))

    def _check_text(self, dataset: h5py.Dataset, where: str) -> None:
        """Refuse text whose longest cell would make the column exceed ``LARGEST_TEXT`` or the memory."""
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is None or not dataset.size:
            return
        character = np.dtype("<U1").itemsize
        if kind.length is None and self.path.stat().st_size * dataset.size * character <= LARGEST_TEXT:
            return  # no cell is longer than the file
        longest = longest_text(dataset, self.path, LARGEST_TEXT)
        if longest * dataset.size * character > LARGEST_TEXT:
            raise DataFormatError(
                where,
                found=f"text of up to {longest} bytes in one of {dataset.size} cells",
                expected=f"labels that take at most {LARGEST_TEXT} bytes in memory",
                next_step="Leave the column out of the data spec, or shorten its text",
            )


def _as_text(value: Any, where: str) -> str:
    try:
        # h5py returns undecodable bytes as surrogates, which cannot be encoded
        return value.decode("utf-8") if isinstance(value, bytes) else str(value).encode("utf-8").decode("utf-8")
    except UnicodeError as error:
        problem, next_step = f"text that is not UTF-8: {value[:80]!r}", "Write the file again with UTF-8 text"
        raise DataFormatError(where, found=problem, expected="UTF-8", next_step=next_step) from error
