"""NWB files that are stored as Zarr folders, as hdmf-zarr writes them, read with the package ``zarr`` (2 or 3)."""

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.foreign import kind_of_folder
from neuromvm.data.loaders.hdf5 import COPY_AGAIN, check_fits_memory
from neuromvm.data.loaders.nwb_file import LONGEST_CHAIN_OF_LINKS, NwbFile
from neuromvm.errors import DataFormatError, MissingTableError, NeuromvmError, did_you_mean
from neuromvm.hdf5_files.structure import SUSPECT_BYTES, SUSPECT_RATIO

LOG = logging.getLogger(__name__)
MARKERS = (".zgroup", "zarr.json")  # a group of format 2, of format 3
COPY_IN = "Export it with hdmf-zarr into one folder (NWBZarrIO.export); data outside the folder are refused"
LARGEST_TEXT = 2**28  # [bytes] of the texts of a column, each padded to the longest
AS_HDF5 = "Export it to HDF5 with hdmf-zarr and pynwb (NWBHDF5IO.export)"


@contextmanager
def open_zarr(path: Path) -> Iterator["ZarrTree"]:
    """Open an NWB-Zarr folder for reading; DataFormatError if it is none, links leave it, or ``zarr`` is not installed."""
    if not any((path / marker).is_file() for marker in MARKERS):
        kind, next_step = kind_of_folder(path)
        raise DataFormatError(str(path), found=kind, expected="an NWB file", next_step=next_step)
    try:
        zarr = import_module("zarr")
    except ImportError as error:
        next_step = "Install it: pip install 'neuromvm[zarr]'. Or: " + AS_HDF5
        raise DataFormatError(str(path), found="a Zarr folder, and no package zarr to read it", next_step=next_step) from error
    _refuse_links(path)
    with _guard(str(path)):
        group = zarr.open_group(str(path), mode="r")
    tree = ZarrTree(path, group)
    tree.check_version()
    yield tree


def folder_sha256(path: Path) -> str:
    """Return a SHA-256 of the names and contents of all files of a folder, as hexadecimal text."""
    digest = hashlib.sha256()
    with _guard(str(path)):
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class ZarrTree(NwbFile):
    """An open NWB-Zarr folder with the methods of an NWB file.

    Links and references are those of hdmf-zarr: a list ``zarr_link`` among the attributes of a group, and an attribute with
    ``zarr_dtype: object``. Arrays of pickled objects are never read, since unpickling runs code.
    """

    def __init__(self, path: Path, group: Any) -> None:
        self.path, self._group = path, group

    def __contains__(self, path: str) -> bool:
        with _guard(self.where(path)):
            return self._node(path) is not None

    def children(self, path: str) -> list[str]:
        """Return the sorted names inside a group, links included; empty if it is not a group."""
        with _guard(self.where(path)):
            node = self._node(path)
            if not _is_group(node):
                return []
            return sorted({*node.group_keys(), *node.array_keys(), *_links(node)})

    def is_group(self, path: str) -> bool:
        """Return whether a path is a group."""
        with _guard(self.where(path)):
            return _is_group(self._node(path))

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of an array; hdmf-zarr stores a scalar as an array of one value that is marked as scalar."""
        with _guard(self.where(path)):
            node = self._array(path)
            return () if node.attrs.get("zarr_dtype") == "scalar" else tuple(node.shape)

    def kind(self, path: str) -> str:
        """Return the type of values of an array: ``text``, ``number``, ``bool`` or ``other`` (references, compounds)."""
        with _guard(self.where(path)):
            return _kind(self._array(path))

    def array(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return an array as numpy: numbers as stored, text as ``<U``; with ``column``, only one of ``(row, column)``."""
        where = self.where(path)
        with _guard(where):
            node = self._array(path)
            kind = _kind(node)
            self._check_readable(node, path, kind, columns=1 if column is None else node.shape[1])
            values = np.asarray(node[...] if column is None else node[:, column]).reshape(
                self.shape(path) if column is None else (node.shape[0],)
            )
        if kind != "text":
            return values
        text = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values.ravel().tolist()]
        longest = max(map(len, text), default=0)
        if longest * len(text) * np.dtype("<U1").itemsize > LARGEST_TEXT:
            problem, expected = (
                f"text of {longest} characters in one of {len(text)} cells",
                f"labels that take at most {LARGEST_TEXT} bytes",
            )
            raise DataFormatError(where, found=problem, expected=expected, next_step="Leave the column out of the data spec")
        return np.array(text, dtype=str).reshape(values.shape)

    def longest_text(self, path: str) -> int:
        """Return the length of the longest text of an array of text [bytes]."""
        return max((len(text.encode()) for text in self.array(path).ravel().tolist()), default=0)

    def address(self, path: str) -> int:
        """Return a number of the object at a path, which is the same for all paths that lead to it; -1 if there is none."""
        with _guard(self.where(path)):
            node = self._node(path)
            return -1 if node is None else abs(hash(str(node.path)))

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute as text, number or array; None if it is absent. References come as paths."""
        with _guard(f"{self.where(path)}@{name}"):
            node = self._node(path)
            value = None if node is None else node.attrs.get(name)
            if isinstance(value, dict) and "zarr_dtype" in value:
                return self._target(value["value"], path)
        return np.array(value) if isinstance(value, list) else value

    def _node(self, path: str, followed: int = 0) -> Any:
        """Return a group, an array or None, following the links of hdmf-zarr within the folder."""
        node, parts = self._group, [part for part in path.split("/") if part]
        if ".." in parts or "." in parts:
            return None
        for depth, part in enumerate(parts):
            if not _is_group(node):
                return None
            links = _links(node)
            if part in links:
                if followed > LONGEST_CHAIN_OF_LINKS:
                    raise DataFormatError(self.where(path), found="links in a circle", next_step="Remove the links")
                target = self._target(links[part], path)
                return self._node("/".join([target, *parts[depth + 1 :]]), followed + 1)
            if part not in node:
                return None
            node = node[part]
        return node

    def _target(self, reference: dict[str, Any], path: str) -> str:
        """Return the path that a link or reference points to, or raise DataFormatError if it is in another file."""
        if reference.get("source", ".") != ".":
            problem = f"a link to another file, {str(reference['source'])[:100]!r}"
            raise DataFormatError(self.where(path), found=problem, expected="data inside the folder", next_step=COPY_IN)
        return str(reference["path"]).strip("/")

    def _array(self, path: str) -> Any:
        node = self._node(path)
        if node is not None and not _is_group(node):
            return node
        parent, _, name = path.rpartition("/")
        if node is not None:
            raise MissingTableError(self.where(path), found="a group", next_step="Give the path of a dataset")
        raise MissingTableError(self.where(path), found="not there", next_step=did_you_mean(name, self.children(parent)))

    def _check_readable(self, node: Any, path: str, kind: str, columns: int) -> None:
        """Refuse pickled objects and arrays that are much larger than what is stored; one of ``columns`` is read."""
        where = self.where(path)
        if kind == "other" or "pickle" in _codecs(node):
            problem = "pickled objects" if "pickle" in _codecs(node) else f"values of type {node.dtype}"
            raise DataFormatError(where, found=problem, expected="numbers or text (unpickling runs code)", next_step=AS_HDF5)
        folder = self.path.joinpath(*str(node.path).split("/"))
        stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        size = max(math.prod(node.shape), math.prod(node.chunks)) * max(int(node.dtype.itemsize), 1)
        if size > SUSPECT_BYTES and size > SUSPECT_RATIO * stored:
            raise DataFormatError(
                where,
                found=f"{stored} stored bytes that decompress to {size / 1e9:.3g} GB",
                expected=f"a ratio below {SUSPECT_RATIO}",
                next_step="The folder is damaged or was made to exhaust memory; get it again from its source",
            )
        self._check_complete(node, where, folder)
        check_fits_memory(where, size // columns, "Use a machine with more memory, or cut the file")

    @staticmethod
    def _check_complete(node: Any, where: str, folder: Path) -> None:
        """Refuse arrays of format 2 that lack chunks, and warn of those of format 3, which may leave out empty chunks."""
        absent = int(node.nchunks - node.nchunks_initialized) if math.prod(node.shape) else 0
        if not absent:
            return
        problem = f"{absent} of {node.nchunks} chunks are not there and would be read as {node.fill_value}"
        if not (folder / ".zarray").is_file():
            LOG.warning("%s: %s. Check that the folder was copied completely", where, problem)
            return
        next_step = "Copy the folder again. If empty chunks were left out on purpose, write it with write_empty_chunks=True"
        raise DataFormatError(where, found=problem, expected="all chunks, as hdmf-zarr writes them", next_step=next_step)


@contextmanager
def _guard(where: str) -> Iterator[None]:
    """Replace errors of zarr, its codecs and the file system, which depend on what is damaged, by DataFormatError."""
    try:
        yield
    except NeuromvmError:
        raise
    except Exception as error:
        raise DataFormatError(
            where,
            found=f"unreadable ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
            expected="an intact NWB-Zarr folder",
            next_step=COPY_AGAIN,
        ) from error


def _refuse_links(path: Path) -> None:
    """Raise DataFormatError if a file of the folder is a link, through which data outside it would be read."""
    with _guard(str(path)):
        links = [item for item in path.rglob("*") if item.is_symlink()]
    if links:
        raise DataFormatError(str(links[0]), found="a symbolic link", expected="data inside the folder", next_step=COPY_IN)


def _is_group(node: Any) -> bool:
    return hasattr(node, "array_keys")


def _links(group: Any) -> dict[str, dict[str, Any]]:
    """Return the links of a group, by name."""
    return {str(link["name"]): link for link in group.attrs.get("zarr_link", [])}


def _codecs(node: Any) -> list[str]:
    """Return the names of the filters of an array."""
    return [str(getattr(codec, "codec_id", "")) for codec in node.filters or ()]


def _kind(node: Any) -> str:
    """Return ``text``, ``number``, ``bool`` or ``other``."""
    kind = np.dtype(node.dtype).kind
    if kind == "O":
        marked = node.attrs.get("zarr_dtype")
        is_text = (
            {"vlen-utf8", "vlen-bytes"} & set(_codecs(node))
            or marked == "str"
            or (marked == "scalar" and "json2" in _codecs(node))
        )
        return "text" if is_text else "other"
    return {"b": "bool", "i": "number", "u": "number", "f": "number", "U": "text", "S": "text", "T": "text"}.get(kind, "other")
