"""Where activity is kept: in memory as long as there is room, else in files that are mapped into memory.

A mapped array is used as any other; the system reads pages of its file when they are looked at and drops them when memory is
needed. The file lies in the folder for temporary files (``TMPDIR``), without a name: it goes with the process.
"""

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from neuromvm import schema
from neuromvm.errors import DataFormatError
from neuromvm.files import read_netcdf

LOG = logging.getLogger(__name__)
VARIABLE = "NEUROMVM_MEMORY"  # [GB] of environment: what the activity of recordings, and again that of samples, may take
SHARE = 0.25  # of the memory that is available, by default
BLOCK = 2**22  # [bytes] of activity that are read, or of features that are made, at a time


class Room:
    """Memory for the activity of one tree.

    Parameters
    ----------
    budget
        Bytes that may be taken of memory; by default those of ``NEUROMVM_MEMORY``, or a quarter of what is available.

    Examples
    --------
    >>> import numpy as np
    >>> small, large = Room(budget=100).array((10,), np.uint8), Room(budget=100).array((1000,), np.uint8)
    >>> is_mapped(small), is_mapped(large)
    (False, True)
    """

    def __init__(self, budget: int | None = None) -> None:
        self._left = memory_budget() if budget is None else budget

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        """Return an array to fill: zeros, in memory or mapped.

        Raises
        ------
        DataFormatError
            If neither memory nor the folder for temporary files has the room.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self._left:
            return _mapped(shape, dtype, size)
        self._left -= size
        return np.zeros(shape, dtype)

    def filled(self, length: int, blocks: Iterable[NDArray[np.generic]]) -> NDArray[np.generic]:
        """Join blocks of rows ``(row, ...)``, in order, of the widest of their types."""
        joined: NDArray[np.generic] | None = None
        row = 0
        for block in blocks:
            if joined is None:
                joined = self.array((length, *block.shape[1:]), block.dtype)
            elif np.promote_types(joined.dtype, block.dtype) != joined.dtype:
                narrow, joined = joined, self.array(joined.shape, np.promote_types(joined.dtype, block.dtype))
                for rows in row_blocks(row, narrow[:1].nbytes):
                    joined[rows] = narrow[rows]
            joined[row : row + len(block)] = block
            row += len(block)
        assert joined is not None
        assert row == length
        return joined

    def kept(self, dataset: xr.Dataset) -> xr.Dataset:
        """Return an animal's recording, read if it was not yet, with its activity where there is room for it."""
        values = schema.activity(dataset)
        if values.nbytes <= self._left:
            self._left -= values.nbytes
            return dataset.load()
        activity = self.filled(len(values), blocks_of(values))
        return dataset.assign({str(values.name): (values.dims, activity, values.attrs)}).load()

    def kept_tree(self, tree: xr.DataTree) -> xr.DataTree:
        """Return recordings of which the activity of every animal is where there is room for it; see :meth:`kept`."""
        children = {name: xr.DataTree(self.kept(node.to_dataset(inherit=False))) for name, node in tree.children.items()}
        return xr.DataTree(dataset=tree.to_dataset().load(), children=children)


def row_blocks(rows: int, row_size: int, block: int = BLOCK) -> Iterator[slice]:
    """Cut rows of so many bytes into slices of about ``block`` bytes.

    Examples
    --------
    >>> list(row_blocks(5, row_size=10, block=25))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, block // max(1, row_size))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))


def blocks_of(values: xr.DataArray) -> Iterator[NDArray[np.generic]]:
    """Read an array, wherever it is, a block of its first dim after the other: each is all that is in memory of it."""
    for rows in row_blocks(len(values), values.nbytes // max(1, len(values))):
        yield values.isel({values.dims[0]: rows}).to_numpy()


def is_mapped(array: object) -> bool:
    """Say whether a file stands behind an array."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def memory_budget() -> int:
    """Return the bytes that the activity of one tree may take of memory.

    Raises
    ------
    DataFormatError
        If ``NEUROMVM_MEMORY`` is no positive number.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return int(SHARE * available_memory())
    try:
        budget = float(given)
    except ValueError:
        budget = -1.0
    if not 0 <= budget < float("inf"):
        raise DataFormatError(VARIABLE, found=repr(given), expected="a number of GB", next_step="Unset it, or write 8")
    return int(budget * 1e9)


def available_memory() -> int:
    """Return the bytes of memory that can still be taken: of the machine, or of the group of processes that a job is put in."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 2**32  # where the system does not say
    for folder in _groups():
        try:
            most = int((folder / "memory.max").read_text())
            taken = int((folder / "memory.current").read_text())
        except (OSError, ValueError):  # no limit is the word max
            continue
        free = min(free, most - taken)
    return max(free, 0)


def _groups() -> list[Path]:
    """Return the control groups of this process, from the innermost."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        return []
    root = Path("/sys/fs/cgroup")
    inner = root / own.lstrip("/")
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(root))]


def _mapped(shape: tuple[int, ...], dtype: DTypeLike, size: int) -> NDArray[np.generic]:
    folder = tempfile.gettempdir()
    LOG.info("%.3g GB of activity are kept in a file in %s", size / 1e9, folder)
    with tempfile.TemporaryFile(prefix="neuromvm-") as file:
        try:
            # Reserved now: a disk that is full later would end the process without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise DataFormatError(
                folder,
                found=f"no room for {size / 1e9:.3g} GB of activity ({error.strerror})",
                expected="a disk that holds activity for which memory has no room",
                next_step=f"Set TMPDIR to a folder on a larger disk, or {VARIABLE} to the GB of memory that may be taken",
            ) from error
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def read_recordings(path: Path) -> xr.DataTree:
    """Read recordings and close their file; activity that does not fit into the memory budget is kept in mapped files.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged.
    """
    tree: xr.DataTree = read_netcdf(path, xr.open_datatree, Room().kept_tree)
    return tree
