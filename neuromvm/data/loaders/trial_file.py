"""Files of a session in a folder: the trial table beside them, and the animal that the folders name."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.foreign_file import column_of, read_text_table
from neuromvm.errors import DataFormatError, MissingTableError
from neuromvm.specs.data import DataSpec, TimeGrid
from neuromvm.specs.sources import Clock, FolderSource


def trial_file(path: Path, source: FolderSource) -> Path:
    """Return the table of trials of the session at a path: in its folder, or the nearest above it, up to the animal's."""
    folders = _folders(path, source)
    for folder in folders:
        if (folder / source.trials.file).is_file():
            return folder / source.trials.file
    raise MissingTableError(
        str(path),
        found=f"no {source.trials.file} in {' or '.join(map(str, folders))}",
        expected="a table with a row a trial",
        next_step="Write one (columns start_time, stop_time and labels), or name it as source.trials.file",
    )


def folder_header(path: Path, source: FolderSource) -> dict[str, str]:
    """Return the animal and session that folders name: ada and day2 for ``ada/day2/spike_times.npy``, animal one folder up."""
    names = [folder.name for folder in reversed(_folders(path, source))]
    return {"subject_id": names[0], "session_id": "_".join(names[1:]) or names[0]}


def read_trial_file(path: Path, spec: DataSpec) -> dict[str, NDArray[Any]]:
    """Return the table of trials of the session at a path as ``intervals/<table>/...``, with times in seconds."""
    assert isinstance(spec.source, FolderSource)
    settings = spec.source.trials
    file = trial_file(path, spec.source)
    columns = read_text_table(file, settings.separator)
    for name, original in settings.names.items():
        values = column_of(file, columns, original, f"source.trials.names.{name}")
        if name in columns and name != original:
            problem = f"columns {name!r} and {original!r}"
            raise DataFormatError(str(file), found=problem, expected="one of them", next_step="Change source.trials.names")
        columns = {**{key: column for key, column in columns.items() if key != original}, name: values}
    return trial_arrays(columns, spec, settings.clock)


def trial_arrays(columns: dict[str, NDArray[Any]], spec: DataSpec, clock: Clock) -> dict[str, NDArray[Any]]:
    """Return columns of trials as ``intervals/<table>/...``, times in seconds; rows are numbered unless they have ids."""
    rows = len(next(iter(columns.values()))) if columns else 0
    named = {"id": np.arange(rows), **columns}
    prefix = f"intervals/{spec.trials.table}"
    return {f"{prefix}/{name}": in_seconds(values, clock) if is_time(name, spec) else values for name, values in named.items()}


def is_time(name: str, spec: DataSpec) -> bool:
    """Return whether a column of trials holds times: the event of the grid, and names that end in ``_time``."""
    return name.endswith("_time") or (isinstance(spec.grid, TimeGrid) and name == spec.grid.align)


def in_seconds(times: NDArray[Any], clock: Clock) -> NDArray[Any]:
    """Return times in seconds; text stays as it is, for the error of the reader."""
    if times.dtype.kind not in "iuf" or clock.per_second == 1:
        return times
    return np.asarray(times, dtype=np.float64) / clock.per_second


def _folders(path: Path, source: FolderSource) -> list[Path]:
    """Return the folder of a session and those above it, up to the animal's."""
    folder = path.absolute().parent
    return [folder, *folder.parents][: source.animal_folder + 1]
