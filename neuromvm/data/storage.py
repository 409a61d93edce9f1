"""Recordings in one netCDF file that opens lazily: an index of all animals, and values of all animals one after another.

Variables of the file: ``index``, bytes of JSON, names the nodes, their attributes and variables, and holds labels that are text;
``labels_TYPE`` and ``data_TYPE`` are the values of all coordinates and of all data of a type, flattened, each from the place
``start`` of its index. A group for every animal, as xarray writes trees, takes a second or more to open for every few animals.
"""

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from xarray.core import indexing

from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.errors import DataFormatError, NeuromvmError, SchemaError, expect
from neuromvm.files import temporary_path
from neuromvm.schema import validate_recordings

FORMAT = "neuromvm recordings 1"
CHUNK = 2**16  # values that are compressed together
BLOCK = 2**20  # values that are written at once, or more
# kind of numpy -> type in the file; other numbers are stored as they are
STORED_AS = {"b": "uint8", "M": "int64", "m": "int64"}


class StoredVariable(BaseModel):
    """Dims, type and place of a variable; ``text``: its values, flattened, if it is text."""

    model_config = ConfigDict(extra="forbid")
    dims: list[str]
    shape: list[int]
    dtype: str
    coordinate: bool
    attrs: dict[str, Any] = {}
    start: int = 0
    text: list[str] | None = None


class StoredNode(BaseModel):
    """Attributes and variables of a node."""

    model_config = ConfigDict(extra="forbid")
    attrs: dict[str, Any]
    variables: dict[str, StoredVariable]


class StoredIndex(BaseModel):
    """All nodes, by path."""

    model_config = ConfigDict(extra="forbid")
    format: str
    nodes: dict[str, StoredNode]


def save_recordings(tree: xr.DataTree, path: str | Path) -> Path:
    """Write recordings as one netCDF file, completely or not at all, and return its path.

    Parameters
    ----------
    tree
        Recordings, of files or of your own.
    path
        File to write, by custom ``*.nc``; an older file is replaced.

    Raises
    ------
    SchemaError
        If the tree is no valid set of recordings, or holds values that cannot be stored.

    Examples
    --------
    >>> tree = xr.DataTree.from_dict({"/": xr.Dataset(coords={"time": [0.5]}), "ada": xr.Dataset()})
    >>> save_recordings(tree, "recordings.nc")
    Traceback (most recent call last):
    neuromvm.errors.SchemaError: recordings: activity variables [] among []. ...
    """
    expect(tree, xr.DataTree, "tree", "Load recordings: load_recordings(spec, root)")
    validate_recordings(tree)
    pools: dict[str, list[NDArray[Any]]] = defaultdict(list)
    lengths: dict[str, int] = defaultdict(int)
    nodes = {}
    for node_path, node in tree.subtree_with_keys:
        dataset = node.to_dataset(inherit=False)
        variables = {}
        for name, variable in dataset.variables.items():
            where = f"recordings/{node_path}: {name}"
            stored, values = _stored(where, variable, name in dataset.coords)
            if values is not None:
                pool = _pool(stored)
                stored.start = lengths[pool]
                lengths[pool] += values.size
                pools[pool].append(values)
            variables[_text(name, where)] = stored
        nodes[node_path] = StoredNode(attrs=_encoded(f"recordings/{node_path}", dataset.attrs)["mapping"], variables=variables)
    index = StoredIndex(format=FORMAT, nodes=nodes).model_dump(exclude_defaults=True)
    try:
        content = json.dumps(index, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise SchemaError("recordings", found=f"text that is not Unicode: {error.object[error.start :][:20]!r}") from error
    _write(Path(path), content, pools)
    return Path(path)


def open_recordings(path: str | Path) -> xr.DataTree:
    """Return recordings of a file of :func:`save_recordings`; activity is read when it is used, and the file is not kept open.

    Raises
    ------
    DataFormatError
        If the file is missing or damaged, or, when activity is read, if it is another file by then.
    SchemaError
        If it holds no valid set of recordings.

    Examples
    --------
    >>> open_recordings("no/such/file.nc")
    Traceback (most recent call last):
    neuromvm.errors.DataFormatError: no/such/file.nc: no such file. ...
    """
    file = Path(path)
    if not file.is_file():
        raise DataFormatError(str(file), found="no such file", next_step="Write it: save_recordings(recordings, path)")
    with _guard(file), h5py.File(file, "r") as handle:
        if "index" not in handle:
            problem = f"a file with {', '.join(list(handle)[:10]) or 'nothing'}"
            raise DataFormatError(str(file), found=problem, expected="a file of save_recordings")
        index = StoredIndex.model_validate_json(_read(file, handle["index"]).tobytes())
        if index.format != FORMAT:
            raise DataFormatError(str(file), found=f"format {index.format[:60]!r}", expected=repr(FORMAT))
        labels = {name: _read(file, handle[name]) for name in handle if name.startswith("labels_")}
        lengths = {name: handle[name].size for name in handle if name.startswith("data_")}
        identity = _identity(file)
        datasets = {node_path: _dataset(file, identity, node, labels, lengths) for node_path, node in index.nodes.items()}
        tree = xr.DataTree.from_dict(datasets)
    return validate_recordings(tree)


class StoredArray(xr.backends.BackendArray):
    """Values of a variable in a file, which are read for the trials that are asked for."""

    def __init__(self, file: Path, identity: tuple[int, int], pool: str, stored: StoredVariable) -> None:
        self._file, self._identity, self._pool, self._start = file, identity, pool, stored.start
        self.shape, self.dtype = tuple(stored.shape), np.dtype(stored.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return the selected values."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._values)

    def _values(self, key: tuple[int | slice, ...]) -> Any:
        first, *others = key or (slice(None),)
        length, *rest = self.shape or (1,)
        rows = range(length)[first]
        low, high = (rows, rows + 1) if isinstance(rows, int) else (min(rows, default=0), max(rows, default=-1) + 1)
        row = math.prod(rest)
        check_fits_memory(str(self._file), (high - low) * row * self.dtype.itemsize, "Select fewer trials, or wider bins")
        with _guard(self._file), h5py.File(self._file, "r") as handle:
            if _identity(self._file) != self._identity:
                next_step = "Open it again: open_recordings(path)"
                raise DataFormatError(str(self._file), found="a file that changed since it was opened", next_step=next_step)
            values = handle[self._pool][self._start + low * row : self._start + high * row]
        values = _restored(values, self.dtype).reshape(high - low, *rest)
        if not self.shape:
            return values.reshape(())
        selected = low - low if isinstance(first, int | np.integer) else slice(None)
        if isinstance(rows, range):
            values = values[[number - low for number in rows]] if rows.step != 1 else values
        return values[(selected, *others)]


def _dataset(
    file: Path, identity: tuple[int, int], node: StoredNode, labels: dict[str, NDArray[Any]], lengths: dict[str, int]
) -> xr.Dataset:
    """Return a node with its labels, and data that are read later."""
    variables = {}
    for name, stored in node.variables.items():
        variables[name] = xr.Variable(
            stored.dims, _array(file, identity, name, stored, labels, lengths), _decoded({"mapping": stored.attrs})
        )
    coords = {name: variables.pop(name) for name, stored in node.variables.items() if stored.coordinate}
    return xr.Dataset(variables, coords, _decoded({"mapping": node.attrs}))


def _array(
    file: Path,
    identity: tuple[int, int],
    name: str,
    stored: StoredVariable,
    labels: dict[str, NDArray[Any]],
    lengths: dict[str, int],
) -> Any:
    """Return the labels of a variable, or its data as an array that is read later; DataFormatError if the file lacks them."""
    if stored.text is not None:
        return np.array(stored.text, dtype=object if stored.dtype == "object" else stored.dtype).reshape(stored.shape)
    pool, size = _pool(stored), math.prod(stored.shape)
    length = len(labels.get(pool, ())) if stored.coordinate else lengths.get(pool, 0)
    if min(stored.start, *stored.shape, 0) < 0 or stored.start + size > length:
        problem = f"{name}: values {stored.start} to {stored.start + size} of {length}"
        raise DataFormatError(str(file), found=problem, expected="values inside the file", next_step="Write it again")
    if stored.coordinate:
        values = labels[pool][stored.start : stored.start + size]
        return _restored(values, np.dtype(stored.dtype)).reshape(stored.shape)
    lazy: Any = indexing.LazilyIndexedArray(StoredArray(file, identity, pool, stored))
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))  # type: ignore[no-untyped-call]


def _stored(where: str, variable: xr.Variable, coordinate: bool) -> tuple[StoredVariable, NDArray[Any] | None]:
    """Return the description of a variable, and its values flattened unless the description holds them."""
    values = np.asarray(variable.values)
    stored = StoredVariable(
        dims=[_text(dim, where) for dim in variable.dims],
        shape=list(values.shape),
        dtype=values.dtype.str if values.dtype.kind != "O" else "object",
        coordinate=coordinate,
        attrs=_encoded(where, variable.attrs)["mapping"],
    )
    if values.dtype.kind == "U" or (values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat)):
        stored.text = values.ravel().tolist()
        return stored, None
    if values.dtype.kind not in "biufMm" or values.dtype.itemsize > 8 or values.dtype == np.float16:
        raise SchemaError(where, found=f"values of type {values.dtype}", expected="numbers, bools, text or times")
    flat = values.ravel()
    if values.dtype.kind in "Mm":
        return stored, flat.view(np.int64) if flat.dtype.isnative else flat.astype(flat.dtype.newbyteorder("=")).view(np.int64)
    return stored, flat.astype(STORED_AS.get(values.dtype.kind, values.dtype.newbyteorder("=")), copy=False)


def _restored(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return stored values in the type that they had."""
    if dtype.kind in "Mm":
        return values.view(dtype.newbyteorder("=")).astype(dtype, copy=False)
    return values.astype(dtype, copy=False)


def _pool(stored: StoredVariable) -> str:
    """Return the name of the variable of the file with the values of a variable."""
    dtype = np.dtype(stored.dtype)
    return f"{'labels' if stored.coordinate else 'data'}_{STORED_AS.get(dtype.kind, dtype.newbyteorder('=').name)}"


def _write(path: Path, index: bytes, pools: Mapping[str, Sequence[NDArray[Any]]]) -> None:
    """Write the index, and each pool of flat arrays as one variable, under a temporary name that is then replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        with h5netcdf.File(temporary, "w") as file:
            for name, arrays in {"index": [np.frombuffer(index, np.uint8)], **pools}.items():
                size = sum(map(len, arrays))
                file.dimensions[f"{name}_place"] = size
                options = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "chunks": (min(CHUNK, size),)}
                variable = file.create_variable(name, (f"{name}_place",), dtype=arrays[0].dtype, **(options if size else {}))
                start = 0
                for block in _blocks(arrays):
                    variable[start : start + len(block)] = block
                    start += len(block)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _blocks(arrays: Sequence[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Join arrays to blocks of about ``BLOCK`` values, so that many short ones are written at once and long ones not copied."""
    waiting: list[NDArray[Any]] = []
    size = 0
    for array in arrays:
        waiting.append(array)
        size += len(array)
        if size >= BLOCK:
            yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            waiting, size = [], 0
    if size:
        yield np.concatenate(waiting)


def _read(file: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    """Return all values of a variable of the file."""
    check_fits_memory(f"{file}: {dataset.name}", dataset.nbytes, "Use a machine with more memory")
    return np.asarray(dataset[...])


def _identity(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _text(name: Any, where: str) -> str:
    if not isinstance(name, str):
        raise SchemaError(where, found=f"the name {name!r}", expected="names that are text", next_step="Rename it")
    return name


def _encoded(where: str, value: Any) -> Any:
    """Return an attribute as JSON: arrays and mappings are marked, numpy scalars become numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_encoded(where, item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return {"array": value.ravel().tolist(), "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, dict):
        return {"mapping": {_text(name, where): _encoded(where, item) for name, item in value.items()}}
    raise SchemaError(where, found=f"an attribute of type {type(value).__name__}", expected="text, numbers, bools or arrays")


def _decoded(value: Any) -> Any:
    """Return an attribute, or all attributes, from JSON."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "mapping" in value and len(value) == 1 and isinstance(value["mapping"], dict):
        return {name: _decoded(item) for name, item in value["mapping"].items()}
    return np.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])


@contextmanager
def _guard(file: Path) -> Iterator[None]:
    """Replace errors of h5py, of the index and of arrays, which depend on what is damaged, by DataFormatError."""
    try:
        yield
    except NeuromvmError:
        raise
    except Exception as error:
        problem = f"unreadable ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        next_step = "Write it again: save_recordings(recordings, path)"
        raise DataFormatError(str(file), found=problem, expected="a file of save_recordings", next_step=next_step) from error
