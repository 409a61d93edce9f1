"""Raw files of the Fortin laboratory: a behaviour matrix and a ``statMatrix`` a tetrode, with a row a millisecond.

Layout as written by the laboratory's CreateStatMatrix: ``TimeBin`` [s] is the upper end of the bin of a row. Trials are the rows
with an odor; the poke-in is the last one before the odor, the poke-out the first one after it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import MemoryTree
from neuromvm.data.loaders.foreign_file import in_natural_order
from neuromvm.data.loaders.labels import shown
from neuromvm.data.loaders.mat import read_mat, variable_names
from neuromvm.data.loaders.spike_trains import ragged, units_table
from neuromvm.errors import DataFormatError, MissingTableError
from neuromvm.specs.data import DataSpec, LfpPowerActivity
from neuromvm.specs.sources import StatMatrixSource

BEHAVIOUR = "behavMatrix"
NEURAL = ("statMatrix", "ensembleMatrix")
UNIT = re.compile(r"^(?P<tetrode>.+)-U\d+$")
ODOR, POSITION = re.compile(r"^Odor\s?(\d+)$"), re.compile(r"^Position\s?(\d+)$")
SERIES = "acquisition/lfp"
MILLIVOLT = 1e-3  # Plexon returns mV
# Columns of files without behavMatrixColIDs
COLUMNS = [
    *("TimeBin", *(f"Odor{odor}" for odor in range(1, 6)), *(f"Position{position}" for position in range(1, 6))),
    *("InSeqLog", "PerformanceLog", "PokeEvents", "FrontReward", "BackReward", "XvalRatMazePosition", "YvalRatMazePosition"),
]
Columns = dict[str, NDArray[Any]]


def stat_matrix_files(path: Path, spec: DataSpec) -> list[Path]:
    """Return the files of a session: behaviour and the matrices of tetrodes in the same folder."""
    return [path, *_neural_files(path, spec)]


def read_stat_matrix(path: Path, spec: DataSpec) -> MemoryTree:
    """Return units, trials and, if the spec needs it, the field potential of the session at the path of its behaviour matrix."""
    source = _source(spec)
    files = _neural_files(path, spec)
    if not files:
        raise MissingTableError(
            str(path),
            found=f"no file {source.spikes} with {' or '.join(NEURAL)} in its folder",
            expected="a file a tetrode",
            next_step="Put them beside it, or set source.spikes",
        )
    with_lfp = spec.lfp is not None or isinstance(spec.activity, LfpPowerActivity)
    trains: dict[str, NDArray[np.float64]] = {}
    signals: dict[str, NDArray[Any]] = {}
    clock = np.empty(0)
    for file in files:
        columns = _matrix(file, next(name for name in NEURAL if name in variable_names(file)))
        times = columns["TimeBin"]
        for name in filter(UNIT.match, columns):
            if name in trains:
                problem, next_step = f"unit {name} again", "Name either tetrodes or ensembles as source.spikes, e.g. '*_SM.mat'"
                raise DataFormatError(str(file), found=problem, expected="every unit once", next_step=next_step)
            trains[name] = _spike_times(file, name, columns[name], times)
        if with_lfp:
            signals |= {name: values.astype(np.float32) for name, values in columns.items() if name.endswith(source.lfp)}
            clock = _same_clock(file, clock, times)
    names = in_natural_order(list(trains))
    tetrodes = np.array([name.rpartition("-U")[0] for name in names], dtype=str)
    units = units_table(
        np.array(names, dtype=str), {"tetrode": tetrodes, **ragged("spike_times", [trains[name] for name in names])}
    )
    arrays = units | _trials(path, spec.trials.table)
    attributes: dict[str, dict[str, Any]] = {}
    if signals:
        ordered = in_natural_order(list(signals))
        arrays |= {f"{SERIES}/data": np.column_stack([signals[name] for name in ordered]), f"{SERIES}/timestamps": clock}
        attributes = {
            SERIES: {"neurodata_type": "ElectricalSeries", "description": ", ".join(ordered)},
            f"{SERIES}/data": {"unit": "volts", "conversion": MILLIVOLT},
        }
    return MemoryTree(path, arrays, attributes)


def _neural_files(path: Path, spec: DataSpec) -> list[Path]:
    files = sorted(file for file in path.parent.glob(_source(spec).spikes) if file.is_file() and file.name != path.name)
    return [file for file in files if file.suffix == ".mat" and set(NEURAL) & set(variable_names(file))]


def _matrix(path: Path, name: str) -> Columns:
    """Return the columns of a matrix, by the names in the variable ``<name>ColIDs``."""
    present = variable_names(path)
    read = read_mat(path, [variable for variable in (name, f"{name}ColIDs") if variable in present or variable == name])
    matrix, ids = read[name], read.get(f"{name}ColIDs", [np.array([column]) for column in COLUMNS] if name == BEHAVIOUR else [])
    where = f"{path}: {name}"
    if isinstance(matrix, list) or matrix.ndim != 2 or matrix.dtype.kind not in "iufb":
        raise DataFormatError(where, found="a cell or text", expected="a matrix of numbers")
    names = [str(piece.ravel()[0]).strip() if piece.size else "" for piece in ids]
    if len(names) != matrix.shape[1] or len(set(names)) < len(names) or "TimeBin" not in names:
        raise DataFormatError(
            where,
            found=f"{matrix.shape[1]} columns named {shown(names) or 'not at all'}",
            expected=f"different names in {name}ColIDs, with TimeBin",
            next_step="Write the files again with the statMatrix code of the laboratory",
        )
    return {column: matrix[:, number] for number, column in enumerate(names)}


def _spike_times(path: Path, name: str, counts: NDArray[Any], times: NDArray[Any]) -> NDArray[np.float64]:
    """Return the times of the rows with spikes, as often as there are spikes."""
    if not bool(np.all((counts >= 0) & (counts == np.round(counts)))):
        raise DataFormatError(f"{path}: {name}", found="values that are no counts of spikes", expected="0 or 1 in every row")
    return np.repeat(times.astype(np.float64), counts.astype(np.int64))


def _same_clock(path: Path, clock: NDArray[Any], times: NDArray[Any]) -> NDArray[Any]:
    if clock.size and not np.array_equal(clock, times):
        raise DataFormatError(str(path), found="other TimeBins than those of the tetrodes before it", expected="one clock")
    return times


def _trials(path: Path, table: str) -> dict[str, NDArray[Any]]:
    """Return the trials of a behaviour matrix as an interval table; a poke that is missing is NaN."""
    columns = _matrix(path, BEHAVIOUR)
    absent = [name for name in ("InSeqLog", "PerformanceLog", "PokeEvents") if name not in columns]
    odors, positions = _numbered(columns, ODOR), _numbered(columns, POSITION)
    if absent or not odors or not positions:
        problem = f"columns {shown(list(columns))}"
        raise MissingTableError(
            f"{path}: {BEHAVIOUR}", found=problem, expected="Odor1, Position1, InSeqLog, PerformanceLog, PokeEvents"
        )
    rows = np.flatnonzero(np.any([values == 1 for values in odors.values()], axis=0))
    entries, withdrawals = (np.flatnonzero(columns["PokeEvents"] == sign) for sign in (1, -1))
    previous, following = np.r_[-1, rows[:-1]], np.r_[rows[1:], len(columns["TimeBin"])]
    entry = _nearest(entries, np.searchsorted(entries, rows, side="right") - 1, previous, rows + 1)
    withdrawal = _nearest(withdrawals, np.searchsorted(withdrawals, rows, side="right"), rows, following)
    times = np.append(columns["TimeBin"].astype(np.float64), np.nan)
    trials = {
        "id": np.arange(len(rows)),
        "start_time": times[entry],
        "stop_time": times[withdrawal],
        "odor_time": times[rows],
        "poke_in_time": times[entry],
        "poke_out_time": times[withdrawal],
        "odor": _code(path, "odor", odors, rows),
        "position": _code(path, "position", positions, rows),
        "in_sequence": _flag(path, "InSeqLog", columns, rows),
        "correct": _flag(path, "PerformanceLog", columns, rows),
    }
    return {f"intervals/{table}/{name}": values for name, values in trials.items()}


def _nearest(
    events: NDArray[np.intp], index: NDArray[np.intp], after: NDArray[np.intp], before: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the rows of the events at ``index``, or -1 where none is between ``after`` and ``before``."""
    if not len(events):
        return np.full(len(index), -1)
    event: NDArray[np.intp] = events[np.clip(index, 0, len(events) - 1)]
    exists = (index >= 0) & (index < len(events)) & (event > after) & (event < before)
    event[~exists] = -1
    return event


def _numbered(columns: Columns, pattern: re.Pattern[str]) -> dict[int, NDArray[Any]]:
    return {int(match.group(1)): values for name, values in columns.items() if (match := pattern.match(name))}


def _code(path: Path, code_name: str, columns: dict[int, NDArray[Any]], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return which of the numbered columns is 1 in each row."""
    marks = np.column_stack([values[rows] == 1 for values in columns.values()])
    if not bool((marks.sum(axis=1) == 1).all()):
        trial = int(np.flatnonzero(marks.sum(axis=1) != 1)[0])
        problem = f"trial {trial} with {int(marks[trial].sum())} {code_name}s"
        raise DataFormatError(f"{path}: {BEHAVIOUR}", found=problem, expected=f"one {code_name} in the row of an odor")
    codes: NDArray[np.int64] = np.array(list(columns), dtype=np.int64)[marks.argmax(axis=1)]
    return codes


def _flag(path: Path, name: str, columns: Columns, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    values = columns[name][rows]
    if not np.isin(values, (1, -1)).all():
        raise DataFormatError(
            f"{path}: {name}", found=f"values {shown(np.unique(values).tolist())}", expected="1 or -1 for every trial"
        )
    return np.asarray(values == 1)


def _source(spec: DataSpec) -> StatMatrixSource:
    assert isinstance(spec.source, StatMatrixSource)
    return spec.source
