"""Memory budget of activity: arrays are in memory until the budget is used up, then in files that are mapped into memory.

A mapped array is used like any other: the system reads pages of its file when they are accessed and drops them when memory is
short. The file is in the folder for temporary files (``TMPDIR``), has no name, and is removed when the process ends.
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
from neuromvm.errors import DataFormatError, RunFolderError, SchemaError
from neuromvm.files import DELETE, read_netcdf, readable

LOG = logging.getLogger(__name__)
VARIABLE = "NEUROMVM_MEMORY"  # [GB] of environment: memory for the activity of recordings, and as much for that of samples
SHARE = 0.25  # of the available memory, by default
BLOCK = 2**22  # [bytes] of activity or features that are processed at a time


class MemoryBudget:
    """Memory for the activity of one tree, of ``size`` bytes, by default :func:`default_budget`."""

    def __init__(self, size: int | None = None) -> None:
        self._free = default_budget() if size is None else size

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        """Return an array of zeros, in memory or mapped; DataFormatError is raised if the disk has no space for it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self._free:
            return _mapped(shape, dtype, size)
        self._free -= size
        return np.zeros(shape, dtype)

    def concatenate(self, length: int, blocks: Iterable[NDArray[np.generic]]) -> NDArray[np.generic]:
        """Return blocks ``(row, ...)`` with ``length`` rows in total as one array, of the widest type among them."""
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

    def load(self, dataset: xr.Dataset) -> xr.Dataset:
        """Return the recording of an animal, read completely, with its activity in memory or mapped."""
        values = schema.activity(dataset)
        if values.nbytes <= self._free:
            self._free -= values.nbytes
            return dataset.load()
        blocks = (values[rows].to_numpy() for rows in row_blocks(len(values), values.nbytes // max(1, len(values))))
        activity = self.concatenate(len(values), blocks)
        return dataset.assign({str(values.name): (values.dims, activity, values.attrs)}).load()

    def load_tree(self, tree: xr.DataTree) -> xr.DataTree:
        """Return the recordings of all animals, each as :meth:`load` does."""
        nodes = {name: self.load(node.to_dataset(inherit=False)) for name, node in tree.children.items()}
        return xr.DataTree.from_dict({"/": tree.to_dataset().load(), **nodes})


def row_blocks(rows: int, row_size: int, block: int = BLOCK) -> Iterator[slice]:
    """Divide ``rows`` rows of ``row_size`` bytes into slices of about ``block`` bytes."""
    step = max(1, block // max(1, row_size))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def is_mapped(array: object) -> bool:
    """Return whether the values of an array are in a file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def default_budget() -> int:
    """Return the memory for the activity of one tree [bytes]: ``NEUROMVM_MEMORY``, or a quarter of the available memory."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return int(SHARE * available_memory())
    try:
        budget = float(text)
    except ValueError:
        budget = -1.0
    if not 0 <= budget < float("inf"):
        raise DataFormatError(VARIABLE, found=repr(text), expected="a number of GB", next_step="Unset it, or set it to 8")
    return int(budget * 1e9)


def available_memory() -> int:
    """Return the available memory [bytes]: of the machine, or less if a control group (of a cluster job) limits it."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 2**32  # on systems without /proc/meminfo
    for folder in _control_groups():
        try:
            limit, used = int((folder / "memory.max").read_text()), int((folder / "memory.current").read_text())
        except (OSError, ValueError):  # the file contains "max" if there is no limit
            continue
        available = min(available, limit - used)
    return max(available, 0)


def _control_groups() -> list[Path]:
    """Return the folders of the control groups of this process, innermost first."""
    try:
        name = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        return []
    root = Path("/sys/fs/cgroup")
    inner = root / name.lstrip("/")
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(root))]


def _mapped(shape: tuple[int, ...], dtype: DTypeLike, size: int) -> NDArray[np.generic]:
    folder = tempfile.gettempdir()
    LOG.info("%.3g GB of activity are kept in a file in %s", size / 1e9, folder)
    with tempfile.TemporaryFile(prefix="neuromvm-") as file:
        try:
            # Reserve the space now: if the disk were full later, the process would end without a message.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise DataFormatError(
                folder,
                found=f"no space for {size / 1e9:.3g} GB of activity ({error.strerror})",
                expected="a disk with space for activity that does not fit into the memory budget",
                next_step=f"Set TMPDIR to a folder on a larger disk, or {VARIABLE} to the GB of memory that may be used",
            ) from error
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def read_recordings(path: Path) -> xr.DataTree:
    """Return recordings from a file, which is closed; activity that exceeds the default memory budget is mapped."""
    tree: xr.DataTree = read_netcdf(path, xr.open_datatree, MemoryBudget().load_tree)
    with readable(path):
        try:
            return schema.validate_recordings(tree)
        except SchemaError as error:
            raise RunFolderError(str(path), found=str(error), next_step=DELETE) from error
