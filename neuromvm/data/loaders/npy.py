"""Spikes in trials and bins, as ``.npy`` arrays: a folder per animal with a file of spikes and a file of labels.

Such files have no times of trials: trials are numbered by row and have no ``onset``. A split in time needs ``split.order``, for
instance ``trial`` if rows are in order of time.
"""

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.bins import bin_centres
from neuromvm.data.loaders.hdf5 import check_fits_memory, sha256
from neuromvm.data.loaders.labels import joint_coords, shown
from neuromvm.data.loaders.lfp import check_channel, with_phase
from neuromvm.data.loaders.sessions import Session, check_inside, files_below, name_sessions
from neuromvm.data.loaders.tables import Table
from neuromvm.data.loaders.trials import FilterValues, Trials, labelled_trials
from neuromvm.data.memory import MemoryBudget, row_blocks
from neuromvm.data.theta import phase_at
from neuromvm.errors import AlignmentError, DataFormatError
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import BinnedSpikeActivity, DataSpec, LfpSpec, TimeGrid

SLACK = 1e-3  # [spikes] tolerated distance of a stored mean from a whole number: that of float32 is 1e-7
MOST_SPIKES = 65_535  # in a bin, if values are counts: larger values are not counts
MAGIC = b"\x93NUMPY"
NUMBERS = "fiub"
# Errors of numpy for damaged headers, which depend on the damaged byte
NUMPY_ERRORS = (OSError, ValueError, TypeError, SyntaxError, TokenError, EOFError, KeyError, OverflowError, MemoryError)


def find_sessions(spec: DataSpec, folder: Path) -> tuple[list[Session], list[Dropped]]:
    """Return a session for each ``<animal>/<animal><suffix>`` below a folder, and the account of other matching files."""
    suffix = _binned(spec).suffix
    matched = files_below(spec, folder, spec.files)
    # ignores case, for the same order of animals on all file systems
    files = sorted((path for path in matched if _is_named(path, suffix)), key=lambda path: str(path).casefold())
    ignored = sorted(path.name for path in matched if path not in files)
    layout = f"<animal>/<animal>{suffix}, in any case"
    if not files:
        raise DataFormatError(
            f"data spec {spec.name!r}",
            found=f"no file named like its folder among {shown(ignored)}",
            expected=layout,
            next_step="Rename folders and files, or change 'files' and activity.suffix",
        )
    parts = [[path, _labels_file(path, spec), *([_lfp_file(path, spec)] if spec.lfp is not None else [])] for path in files]
    check_inside(folder, [file for part in parts for file in part])
    headers = [
        {"source_file": ", ".join(file.name for file in paths), "sha256": ", ".join(map(sha256, paths))} for paths in parts
    ]
    lines = [Dropped(f"files {shown(ignored)}", f"not named {layout}", len(ignored))] if ignored else []
    return name_sessions(spec, files, headers), lines


def read_session(session: Session, spec: DataSpec) -> tuple[xr.Dataset, FilterValues]:
    """Return spike counts ``(trial, time, unit)`` of an animal with its labels, and the values that the filters compared."""
    activity, grid = _binned(spec), spec.grid
    assert isinstance(grid, TimeGrid)  # the spec refuses spikes on a position grid
    path = session.path
    assert isinstance(path, Path)  # the spec refuses arrays behind URLs
    array = _open_npy(path, "(trial, unit, bin)")
    start, stop = activity.window
    bins = round((stop - start) / grid.bin_width)
    if array.shape[2] != bins:
        raise DataFormatError(
            str(session.path),
            found=f"{array.shape[2]} bins in an array of shape {array.shape}",
            expected=f"(trial, unit, {bins}): {start:g} to {stop:g} s in bins of {grid.bin_width:g} s",
            next_step="Set activity.window and grid.bin_width to those of the file",
        )
    begin = _begin_of_grid(session, activity, grid, spec.shift.get(session.animal, 0.0))
    trials = _read_trials(_labels_file(path, spec), spec, len(array))
    units = array.shape[1]
    # counts, and a copy if a later block needs a wider type
    size = len(array) * units * grid.bins * 2
    check_fits_memory(f"{session.path}: {len(array)} trials x {grid.bins} bins x {units} units", size, "Narrow grid.window")
    rows = np.asarray(trials.coords["trial"].values)
    counts = MemoryBudget(size).concatenate(len(rows), _count_blocks(path, array, rows, begin, grid.bins, activity))
    variables = {"spike_count": (("trial", "time", "unit"), counts, {"long_name": "spikes in the bin"})}
    coords = joint_coords(trials.coords, xr.Dataset(coords={"unit": np.arange(units)}))
    dataset = with_dropped(xr.Dataset(variables, coords), trials.dropped)
    if spec.lfp is not None:
        path = _lfp_file(path, spec)
        phase = _phase_of_trials(path, activity.window, grid.bin_width, spec.lfp)
        _check_trials(path, len(phase), len(array))
        dataset = with_phase(dataset, phase[rows, begin : begin + grid.bins], spec.lfp, [])
    return dataset, trials.filter_values


def _binned(spec: DataSpec) -> BinnedSpikeActivity:
    assert isinstance(spec.activity, BinnedSpikeActivity)
    return spec.activity


def _is_named(path: Path, suffix: str) -> bool:
    return path.name.casefold() == f"{path.absolute().parent.name}{suffix}".casefold()


def _labels_file(path: Path, spec: DataSpec) -> Path:
    return _companion(path, _binned(spec).trial_info, "activity.trial_info", "labels")


def _lfp_file(path: Path, spec: DataSpec) -> Path:
    assert spec.lfp is not None
    return _companion(path, spec.lfp.series or "", "lfp.series", "field potentials")


def _companion(path: Path, suffix: str, setting: str, content: str) -> Path:
    """Return the file with another suffix in the folder of a file of spikes."""
    names = sorted(path.parent.iterdir())
    files = [file for file in names if _is_named(file, suffix)]
    if len(files) != 1:
        raise DataFormatError(
            str(path),
            found=f"{len(files) or 'no'} {path.absolute().parent.name}{suffix}, in any case, beside it",
            expected=f"one file with the {content} of its trials",
            next_step=f"The folder has: {shown([file.name for file in names])}. Check {setting}",
        )
    return files[0]


def _check_trials(path: Path, trials: int, expected: int) -> None:
    if trials != expected:
        raise DataFormatError(
            str(path),
            found=f"{trials} trials",
            expected=f"{expected}, as many as in the array of spikes beside it",
            next_step="Copy both files again from their source: they are not of the same session",
        )


def _begin_of_grid(session: Session, activity: BinnedSpikeActivity, grid: TimeGrid, shift: float) -> int:
    """Return the recorded bin at which the grid of an animal begins."""
    start, stop = activity.window
    begin, end = grid.window[0] + shift, grid.window[1] + shift
    shifted = f", {shift:g} s of it from shift.{session.animal}" if shift else ""
    if begin < start - 1e-6 or end > stop + 1e-6:
        raise AlignmentError(
            str(session.path),
            found=f"a grid from {begin:g} to {end:g} s{shifted}",
            expected=f"one inside the recorded {start:g} to {stop:g} s",
            next_step="Narrow grid.window so that it fits every animal after its shift",
        )
    index = (begin - start) / grid.bin_width
    if abs(index - round(index)) > 1e-6:
        raise AlignmentError(
            str(session.path),
            found=f"a grid that begins at {begin:g} s{shifted}",
            expected=f"a whole number of bins of {grid.bin_width:g} s after {start:g} s",
            next_step="Change grid.window or shift: binned spikes cannot be divided into other bins",
        )
    return round(index)


def _read_trials(path: Path, spec: DataSpec, trials: int) -> Trials:
    """Return the rows of the file of labels; NaN is a missing label."""
    columns = _binned(spec).columns
    array = _open_npy(path, "(trial, column)")
    _check_trials(path, len(array), trials)
    if array.shape[1] < len(columns):
        raise DataFormatError(
            str(path),
            found=f"{array.shape[1]} columns",
            expected=f"at least {len(columns)}: {', '.join(columns)}",
            next_step="Set activity.columns to those of the file",
        )
    values = np.array(array[:, : len(columns)])
    if np.isinf(values).any():
        column = columns[int(np.flatnonzero(np.isinf(values).any(axis=0))[0])]
        raise DataFormatError(str(path), found=f"infinite values in column {column!r}", expected="numbers, or NaN for none")
    table = Table(str(path), np.arange(trials), dict(zip(columns, values.T, strict=True)), columns)
    return labelled_trials(table, spec.trials, {}, {})


def _count_blocks(
    path: Path, array: NDArray[Any], rows: NDArray[np.integer], begin: int, bins: int, activity: BinnedSpikeActivity
) -> Iterator[NDArray[np.unsignedinteger]]:
    """Yield the counts ``(trial, bin, unit)`` of the sorted ``rows (trial,)`` of ``array (trial, unit, bin)``, in blocks."""
    for block in row_blocks(len(array), array.shape[1] * bins * 8):
        values = array[block, :, begin : begin + bins]
        counts = _counts(path, values, block.start, begin, activity.samples_per_bin)
        yield counts[rows[(rows >= block.start) & (rows < block.stop)] - block.start].transpose(0, 2, 1)


def _counts(
    path: Path, stored: NDArray[Any], trial_offset: int, bin_offset: int, samples_per_bin: int
) -> NDArray[np.unsignedinteger]:
    """Return spike counts for stored values, both ``(trial, unit, bin)``."""
    values = np.asarray(stored, dtype=np.float64)
    scaled = values * samples_per_bin
    counts = np.rint(scaled)
    with np.errstate(invalid="ignore"):  # infinity minus infinity, which is refused below
        fractional = np.abs(scaled - counts) > SLACK
    means = f"means over {samples_per_bin} samples of 0 or 1"
    most, expected = (MOST_SPIKES, "counts of spikes") if samples_per_bin == 1 else (1, means)
    for invalid, problem, next_step in (
        (~np.isfinite(values), "values that are not finite", "Leave the animal out with exclude, or correct the file"),
        (values < -SLACK, "negative values", "Raw spikes are needed, not z-scores or other features"),
        (values > most + SLACK, f"values above {most}", "Set activity.samples_per_bin: 1 if the file holds counts"),
        (fractional, f"values that times {samples_per_bin} are no whole number", "Set activity.samples_per_bin"),
    ):
        if invalid.any():
            trial, unit, position = (int(index) for index in np.argwhere(invalid)[0])
            raise DataFormatError(
                str(path),
                found=f"{problem} in {int(invalid.sum())} bins, first {values[trial, unit, position]:g} in "
                f"trial {trial_offset + trial}, unit {unit}, bin {bin_offset + position}",
                expected=expected,
                next_step=next_step,
            )
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def _open_npy(path: Path, dims: str) -> NDArray[Any]:
    """Return an array of numbers, mapped into memory: values are read when it is sliced, and no code is executed.

    ``dims`` are names such as ``"(trial, unit, bin)"``; the array must have as many dims, all of size 1 or more. DataFormatError
    is raised if the file is not a ``.npy`` file, is damaged, or has objects, text or other dims.
    """
    expected = f"an array of numbers {dims}, saved with numpy.save"
    try:
        with path.open("rb") as stream:
            head = stream.read(len(MAGIC))
        if head != MAGIC:
            raise ValueError(f"not a .npy file, begins with {head!r}")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except NUMPY_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        pointer = "Run 'git lfs pull' or 'datalad get' if it is a pointer, else copy it again from its source"
        raise DataFormatError(str(path), found=f"unreadable ({reason})", expected=expected, next_step=pointer) from error
    if array.dtype.kind not in NUMBERS:
        raise DataFormatError(str(path), found=f"values of type {array.dtype}", expected=expected)
    if array.ndim != dims.count(",") + 1 or not array.size:
        next_step = "Check that the data spec names the right files"
        raise DataFormatError(str(path), found=f"shape {array.shape}", expected=f"{dims}, none empty", next_step=next_step)
    return np.asarray(array)


def _phase_of_trials(path: Path, window: tuple[float, float], bin_width: float, lfp: LfpSpec) -> NDArray[np.float32]:
    """Return the phase ``(trial, bin)`` [rad] of an array ``(trial, bin, channel)`` of field potentials."""
    array = _open_npy(path, "(trial, bin, channel)")
    bins = round((window[1] - window[0]) / bin_width)
    if array.shape[1] != bins:
        raise DataFormatError(
            str(path),
            found=f"{array.shape[1]} bins in an array of shape {array.shape}",
            expected=f"(trial, {bins}, channel), as the spikes beside it",
            next_step="Check that lfp.series names the field potentials around the same event",
        )
    check_channel(str(path), lfp.channel, array.shape[2])
    times = bin_centres(window[0], bin_width, bins)
    signals = np.asarray(array[:, :, lfp.channel], dtype=np.float64)
    phase = np.full(signals.shape, np.nan, dtype=np.float32)
    for trial, signal in enumerate(signals):
        if np.isfinite(signal).any():
            phase[trial] = phase_at(signal, times, times, lfp.band, f"{path}, trial {trial}")
    return phase
