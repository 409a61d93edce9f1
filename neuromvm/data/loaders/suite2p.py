"""Folders of suite2p beside a table of trials; pickled files (``ops.npy``, ``stat.npy``) are never read."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import MemoryTree
from neuromvm.data.loaders.foreign_file import open_npy
from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.data.loaders.trial_file import read_trial_file, trial_file
from neuromvm.errors import DataFormatError
from neuromvm.specs.data import DataSpec
from neuromvm.specs.sources import Suite2pSource

SERIES, ROIS = "processing/ophys/suite2p", "processing/ophys/rois"
FILES = {"spks": ("spks.npy",), "corrected": ("F.npy", "Fneu.npy"), "F": ("F.npy",)}  # of a signal


def suite2p_files(path: Path, spec: DataSpec) -> list[Path]:
    """Return the files of a session that are read: signals, which regions are cells, and trials."""
    source = _source(spec)
    return [*(path.parent / name for name in (*FILES[source.signal], "iscell.npy")), trial_file(path, source)]


def read_suite2p(path: Path, spec: DataSpec) -> MemoryTree:
    """Return the signal of all regions as a series, with columns ``iscell`` and ``probability``, and the trials."""
    source = _source(spec)
    signals = [open_npy(path.parent / name, 2) for name in FILES[source.signal]]
    cells = open_npy(path.parent / "iscell.npy", 2)
    shapes = [signal.shape for signal in signals]
    if len(set(shapes)) > 1 or cells.shape != (shapes[0][0], 2):
        raise DataFormatError(
            str(path),
            found=f"{' and '.join(FILES[source.signal])} of shape {shapes}, iscell.npy of shape {cells.shape}",
            expected="(region, frame) for all signals, and (region, 2)",
            next_step="Copy the folder again from its source: the files are not of one run of suite2p",
        )
    data = signals[0].T
    if source.signal == "corrected":
        check_fits_memory(str(path), 3 * signals[0].nbytes, "Cut the recording, or use spks")
        data = np.asarray(signals[0].T - np.float32(source.neuropil) * signals[1].T)
    regions = np.arange(len(cells))
    arrays: dict[str, NDArray[Any]] = {
        f"{SERIES}/data": data,
        f"{SERIES}/starting_time": np.array(source.start),
        f"{SERIES}/rois": regions,
        f"{ROIS}/id": regions,
        f"{ROIS}/iscell": np.array(cells[:, 0]) != 0,
        f"{ROIS}/probability": np.array(cells[:, 1]),
    }
    attributes: dict[str, dict[str, Any]] = {
        SERIES: {"neurodata_type": "RoiResponseSeries", "description": f"suite2p, {source.signal}"},
        f"{SERIES}/data": {"unit": "a.u."},
        f"{SERIES}/starting_time": {"rate": source.rate},
        f"{SERIES}/rois": {"table": ROIS},
    }
    return MemoryTree(path, arrays | read_trial_file(path, spec), attributes, {"intervals": trial_file(path, source)})


def _source(spec: DataSpec) -> Suite2pSource:
    assert isinstance(spec.source, Suite2pSource)
    return spec.source
