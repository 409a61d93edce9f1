"""NumPy archives, ``.npz``; pickled objects are refused."""

import fnmatch
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from neuromvm.data.loaders.foreign_file import foreign_file, in_natural_order
from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.mapped_arrays import Value
from neuromvm.errors import DataFormatError, MissingTableError, did_you_mean

EXPECTED = "an archive of arrays, saved with numpy.savez"


def read_npz(path: Path, names: list[str]) -> dict[str, Value]:
    """Return arrays of an archive; a name with ``*`` or ``?`` stands for all arrays that match, sorted by name, one a row."""
    with foreign_file(path, EXPECTED), zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        values: dict[str, Value] = {}
        for name in names:
            if name in members:
                values[name] = _read(path, archive, name)
                continue
            matched = in_natural_order(fnmatch.filter(members, name))
            if not matched:
                next_step = f"{did_you_mean(name, sorted(members))}. Set source.arrays in the data spec"
                raise MissingTableError(str(path), found=f"no array {name!r}", next_step=next_step)
            values[name] = [_read(path, archive, member) for member in matched]
        return values


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return an array after its size was counted."""
    where = f"{path}: {name}"
    with archive.open(f"{name}.npy") as stream:
        version = npy_format.read_magic(stream)
        reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = reader(stream)
    if dtype.hasobject:
        problem, next_step = "pickled objects", "Save arrays of numbers and text: reading pickled objects can run code"
        raise DataFormatError(where, found=problem, expected="numbers or text", next_step=next_step)
    check_fits_memory(
        where, int(np.prod(shape, dtype=object)) * dtype.itemsize, "Use a machine with more memory, or cut the file"
    )
    with archive.open(f"{name}.npy") as stream:
        array: NDArray[Any] = npy_format.read_array(stream, allow_pickle=False)
    return array
