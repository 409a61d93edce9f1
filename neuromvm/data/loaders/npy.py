"""Spikes already cut into trials and bins, as ``.npy`` arrays: a folder an animal, one file of spikes, one of labels.

Nothing in such files says when trials took place. They are numbered by row, there is no ``onset``, and whoever splits them
in time says what orders them (``split.order: trial``, if rows are in order of time).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.hdf5 import check_fits_memory, sha256
from neuromvm.data.loaders.labels import joint_coords, shown
from neuromvm.data.loaders.lfp import of_trials, with_phase
from neuromvm.data.loaders.npy_file import open_npy
from neuromvm.data.loaders.sessions import Session, check_inside, find_files, name_sessions
from neuromvm.data.loaders.tables import Table
from neuromvm.data.loaders.trials import Found, Trials, labelled_trials
from neuromvm.data.memory import Room, row_blocks
from neuromvm.errors import AlignmentError, DataFormatError
from neuromvm.schema import Dropped, with_dropped
from neuromvm.specs.data import BinnedSpikeActivity, DataSpec, LfpSpec, TimeGrid

SLACK = 1e-3  # [spikes] by which a stored mean may miss a whole number: float32 misses by 1e-7
MOST_SPIKES = 65_535  # in a bin of plain counts: more is another quantity


def find_sessions(spec: DataSpec, folder: Path) -> tuple[list[Session], list[Dropped]]:
    """Return a session for each ``<animal>/<animal><suffix>`` below a folder, and the account of other files that matched.

    Raises
    ------
    DataFormatError
        If there is none, or one lacks its file of labels.
    """
    activity = _binned(spec)
    matched = find_files(spec, folder)
    # capitals or not, so that the order of animals is the same on every copy
    files = sorted((path for path in matched if _is_named(path, activity.suffix)), key=lambda path: str(path).casefold())
    others = sorted(path.name for path in matched if path not in files)
    layout = f"<animal>/<animal>{activity.suffix}, in any case"
    if not files:
        raise DataFormatError(
            f"data spec {spec.name!r}",
            found=f"no file named like its folder among {shown(others)}",
            expected=layout,
            next_step="Name folders and files so, or change 'files' and activity.suffix",
        )
    beside = [_beside(path, spec) for path in files]
    check_inside(folder, [other for others_of in beside for other in others_of])
    sessions = name_sessions(spec, files, [_header([path, *own]) for path, own in zip(files, beside, strict=True)])
    return sessions, [Dropped(f"files {shown(others)}", f"not named {layout}", len(others))] if others else []


def read_session(session: Session, spec: DataSpec) -> tuple[xr.Dataset, Found]:
    """Return spike counts ``(trial, time, unit)`` of one animal with its labels, and the values that the filters met.

    Raises
    ------
    DataFormatError
        If an array is damaged, has other dims than it should, or holds what cannot be spikes.
    MissingTableError
        If the spec names a column that is not among ``activity.columns``.
    AlignmentError
        If the grid, shifted for this animal, leaves the recorded bins or falls between them.
    """
    activity = _binned(spec)
    assert isinstance(spec.grid, TimeGrid)  # the spec refuses spikes on a position grid
    array = open_npy(session.path, "(trial, unit, bin)")
    start, stop = activity.window
    bins = round((stop - start) / spec.grid.bin_width)
    if array.shape[2] != bins:
        raise DataFormatError(
            str(session.path),
            found=f"{array.shape[2]} bins in an array of shape {array.shape}",
            expected=f"(trial, unit, {bins}): {start:g} to {stop:g} s in bins of {spec.grid.bin_width:g} s",
            next_step="Set activity.window and grid.bin_width to those of the file",
        )
    first = _first_bin(session, activity, spec.grid, spec.shift.get(session.animal, 0.0))
    trials = _read_trials(_labels_of(session.path, activity), spec, len(array))
    units = array.shape[1]
    # counts, and once more where a later block needs a wider type
    size = len(array) * units * spec.grid.bins * 2
    check_fits_memory(f"{session.path}: {len(array)} trials x {spec.grid.bins} bins x {units} units", size, "Narrow grid.window")
    rows = np.asarray(trials.coords["trial"].values)
    grid = slice(first, first + spec.grid.bins)

    def blocks() -> Iterator[NDArray[np.unsignedinteger]]:
        for block in row_blocks(len(array), units * spec.grid.bins * 8):
            counts = _counts(session.path, array[block, :, grid], block.start, first, activity.samples_per_bin)
            yield counts[rows[(rows >= block.start) & (rows < block.stop)] - block.start].transpose(0, 2, 1)

    kept = Room(size).filled(len(rows), blocks())
    dataset = xr.Dataset(
        {"spike_count": (("trial", "time", "unit"), kept, {"long_name": "spikes in the bin"})},
        coords=joint_coords(trials.coords, xr.Dataset(coords={"unit": np.arange(units)})),
    )
    dataset = with_dropped(dataset, trials.dropped)
    if spec.lfp is not None:
        dataset = _with_theta_phase(session, dataset, spec.lfp, activity, spec.grid, first, len(array))
    return dataset, trials.found


def _with_theta_phase(
    session: Session,
    dataset: xr.Dataset,
    lfp: LfpSpec,
    activity: BinnedSpikeActivity,
    grid: TimeGrid,
    first: int,
    trials: int,
) -> xr.Dataset:
    """Return the dataset with the phase of its field potential, which is filtered over all recorded bins of a trial."""
    path = _file_beside(session.path, lfp.series or "", "lfp.series", "the field potentials of its trials")
    phase = of_trials(path, activity.window, grid.bin_width, lfp)
    if len(phase) != trials:
        raise DataFormatError(
            str(path),
            found=f"{len(phase)} trials",
            expected=f"{trials}, as many as in the array of spikes beside it",
            next_step="Copy both files again from their source: they are not of the same session",
        )
    return with_phase(dataset, phase[dataset["trial"].to_numpy(), first : first + grid.bins], lfp, [])


def _binned(spec: DataSpec) -> BinnedSpikeActivity:
    assert isinstance(spec.activity, BinnedSpikeActivity)
    return spec.activity


def _is_named(path: Path, suffix: str) -> bool:
    return path.name.casefold() == f"{path.absolute().parent.name}{suffix}".casefold()


def _beside(path: Path, spec: DataSpec) -> list[Path]:
    """Return what is read with a file of spikes: labels, and field potentials if they are asked for."""
    files = [_labels_of(path, _binned(spec))]
    if spec.lfp is not None:
        files.append(_file_beside(path, spec.lfp.series or "", "lfp.series", "the field potentials of its trials"))
    return files


def _labels_of(path: Path, activity: BinnedSpikeActivity) -> Path:
    return _file_beside(path, activity.trial_info, "activity.trial_info", "the labels of its trials")


def _file_beside(path: Path, suffix: str, setting: str, what: str) -> Path:
    """Return the file with another suffix beside a file of spikes."""
    beside = sorted(path.parent.iterdir())
    found = [other for other in beside if _is_named(other, suffix)]
    if len(found) != 1:
        name = f"{path.absolute().parent.name}{suffix}"
        raise DataFormatError(
            str(path),
            found=f"{'no' if not found else len(found)} {name}, in any case, beside it",
            expected=f"one file with {what}",
            next_step=f"The folder has: {shown([other.name for other in beside])}. Check {setting}",
        )
    return found[0]


def _header(files: list[Path]) -> dict[str, str]:
    return {"source_file": ", ".join(file.name for file in files), "sha256": ", ".join(sha256(file) for file in files)}


def _first_bin(session: Session, activity: BinnedSpikeActivity, grid: TimeGrid, shift: float) -> int:
    """Return the recorded bin at which the grid of an animal begins."""
    start, stop = activity.window
    begin, end = grid.window[0] + shift, grid.window[1] + shift
    moved = f", {shift:g} s of it from shift.{session.animal}" if shift else ""
    if begin < start - 1e-6 or end > stop + 1e-6:
        raise AlignmentError(
            str(session.path),
            found=f"a grid from {begin:g} to {end:g} s{moved}",
            expected=f"one inside the recorded {start:g} to {stop:g} s",
            next_step="Narrow grid.window so that it fits every animal after its shift",
        )
    first = (begin - start) / grid.bin_width
    if abs(first - round(first)) > 1e-6:
        raise AlignmentError(
            str(session.path),
            found=f"a grid that begins at {begin:g} s{moved}",
            expected=f"a whole number of bins of {grid.bin_width:g} s after {start:g} s",
            next_step="Change grid.window or shift: spikes that are binned cannot be binned anew",
        )
    return round(first)


def _read_trials(path: Path, spec: DataSpec, trials: int) -> Trials:
    """Return the rows of the file of labels; NaN is a label without a value."""
    columns = _binned(spec).columns
    array = open_npy(path, "(trial, column)")
    if len(array) != trials:
        raise DataFormatError(
            str(path),
            found=f"{len(array)} trials",
            expected=f"{trials}, as many as in the array of spikes beside it",
            next_step="Copy both files again from their source: they are not of the same session",
        )
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
    named = {name: values[:, number] for number, name in enumerate(columns)}
    return labelled_trials(Table(str(path), np.arange(trials), named, columns), spec.trials, {}, {})


def _counts(path: Path, stored: NDArray[Any], first_trial: int, first: int, samples_per_bin: int) -> NDArray[np.unsignedinteger]:
    """Return whole numbers of spikes from what a file stores, both ``(trial, unit, bin)``."""
    values = np.asarray(stored, dtype=np.float64)

    def refuse(bad: NDArray[np.bool_], found: str, expected: str, next_step: str = "") -> None:
        if not bad.any():
            return
        trial, unit, place = (int(number) for number in np.argwhere(bad)[0])
        where = (
            f"{found} in {int(bad.sum())} bins, first {values[trial, unit, place]:g} in trial {first_trial + trial}, unit {unit}"
        )
        raise DataFormatError(str(path), found=f"{where}, bin {first + place}", expected=expected, next_step=next_step)

    means = f"means over {samples_per_bin} samples of 0 or 1"
    most, expected = (MOST_SPIKES, "counts of spikes") if samples_per_bin == 1 else (1, means)
    refuse(~np.isfinite(values), "values that are not finite", expected, "Leave the animal out with exclude, or mend the file")
    refuse(values < -SLACK, "negative values", expected, "Raw spikes are needed, not z-scores or other features")
    refuse(values > most + SLACK, f"values above {most}", expected, "Set activity.samples_per_bin: 1 if the file holds counts")
    scaled = values * samples_per_bin
    counts = np.rint(scaled)
    off = np.abs(scaled - counts) > SLACK
    refuse(off, f"values that times {samples_per_bin} are no whole number", expected, "Set activity.samples_per_bin")
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
