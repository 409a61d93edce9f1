"""MATLAB files: version 5 by scipy, version 7.3 (HDF5) by h5py. No function handle or object is run."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from neuromvm.data.loaders.foreign_file import foreign_file
from neuromvm.data.loaders.hdf5 import SIGNATURE, check_fits_memory, guard, open_hdf5
from neuromvm.data.loaders.mapped_arrays import Value
from neuromvm.data.loaders.mat_structure import LARGER, check_structure
from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean

EXPECTED = "a MATLAB file (save -v7 or -v7.3)"
SAVE_PLAIN = (
    "In MATLAB, save numbers, char, cells and structs: struct(object), cellstr(strings), table2struct(table, 'ToScalar', true)"
)


def read_mat(path: Path, names: list[str]) -> dict[str, Value]:
    """Return variables, or fields of structs (``data.units.times``), of a MATLAB file; cells and struct arrays are lists."""
    with foreign_file(path, EXPECTED):
        if _is_hdf5(path):
            with open_hdf5(path) as handle:
                file = NwbFile(path, handle)
                return {name: _read_hdf5(file, handle, name) for name in names}
        check_structure(path)
        roots = sorted({name.split(".")[0] for name in names})
        variables = scipy.io.loadmat(path, variable_names=roots, mat_dtype=True)
        return {name: _read_v5(path, variables, name) for name in names}


def variable_names(path: Path) -> list[str]:
    """Return the names of the variables of a MATLAB file; their values are not read."""
    with foreign_file(path, EXPECTED):
        if not _is_hdf5(path):
            check_structure(path)
            return [name for name, _, _ in scipy.io.whosmat(path)]
        with open_hdf5(path) as handle:
            return NwbFile(path, handle).children("")


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(512 + len(SIGNATURE))
    return head.startswith(SIGNATURE) or head[512:].startswith(SIGNATURE)


def _read_v5(path: Path, variables: dict[str, Any], name: str) -> Value:
    root, *fields = name.split(".")
    present = [key for key in variables if not key.startswith("__")]
    if root not in present:
        raise _absent(path, root, sorted(variable_names(path)))
    value = variables[root]
    for depth, field in enumerate(fields):
        known = list(getattr(getattr(value, "dtype", None), "names", None) or [])
        if field not in known:
            raise _absent(path, name, [".".join([root, *fields[:depth], child]) for child in known])
        items = value[field]
        value = items.ravel()[0] if items.size == 1 else items
    where = f"{path}: {name}"
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return [_leaf(where, item) for item in value.ravel(order="F")]
    return _leaf(where, value)


def _leaf(where: str, value: Any) -> NDArray[Any]:
    """Return an array of numbers or text; a cell within a cell may hold a single array."""
    while isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.size == 1:
        value = value.ravel()[0]
    if hasattr(value, "toarray"):
        check_fits_memory(where, int(np.prod(value.shape, dtype=object)) * 8, LARGER)
        value.check_format(full_check=True)  # indices outside the matrix would be written to
        value = value.toarray()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufbU":
        problem = f"a {type(value).__name__} of {getattr(value, 'dtype', 'unknown type')}"
        raise DataFormatError(where, found=problem, expected="numbers or text", next_step=SAVE_PLAIN)
    return np.char.rstrip(value) if value.dtype.kind == "U" else value


def _read_hdf5(file: NwbFile, handle: h5py.File, name: str) -> Value:
    path = name.replace(".", "/")
    if path not in file:
        known = [".".join([*name.split(".")[:-1], child]) for child in file.children(path.rpartition("/")[0])]
        raise _absent(file.path, name, [child for child in known if not child.startswith("#")])
    where = f"{file.path}: {name}"
    if file.is_group(path):
        raise DataFormatError(
            where, found="a struct", expected="an array", next_step=f"Name a field: {', '.join(file.children(path))}"
        )
    values = file.array(path)
    if not isinstance(values.ravel()[0] if values.size else None, h5py.Reference):
        return _leaf_hdf5(file, path, where, values)
    with guard(where):
        targets = [str(handle[reference].name).strip("/") for reference in values.T.ravel(order="F")]
    return [_leaf_hdf5(file, target, where, file.array(target)) for target in targets]


def _leaf_hdf5(file: NwbFile, path: str, where: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return an array with the type and the order of axes that it has in MATLAB."""
    kind = str(file.attribute(path, "MATLAB_class") or "")
    if file.attribute(path, "MATLAB_empty"):
        return np.empty(0, dtype=str if kind == "char" else float)
    if file.attribute(path, "MATLAB_object_decode") or values.dtype.kind not in "iufbU":
        raise DataFormatError(where, found=f"a MATLAB {kind or 'object'}", expected="numbers or text", next_step=SAVE_PLAIN)
    values = values.T
    if kind == "char":
        rows = np.atleast_2d(values)
        return np.array(["".join(map(chr, row)).rstrip() for row in rows.tolist()], dtype=str)
    return values.astype(bool) if kind == "logical" else values


def _absent(path: Path, name: str, known: list[str]) -> MissingTableError:
    next_step = f"{did_you_mean(name, known)}. Set source.arrays in the data spec"
    return MissingTableError(str(path), found=f"no variable {name!r}", next_step=next_step)
