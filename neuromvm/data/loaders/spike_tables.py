"""Spike times in a text table, or in a ``.npy`` file a unit, beside a table of trials."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import MemoryTree
from neuromvm.data.loaders.foreign_file import column_of, in_natural_order, load_npy, read_text_table
from neuromvm.data.loaders.labels import shown
from neuromvm.data.loaders.spike_trains import ragged, trains_of_units, units_table
from neuromvm.data.loaders.trial_file import in_seconds, read_trial_file, trial_file
from neuromvm.errors import DataFormatError, MissingTableError
from neuromvm.specs.data import DataSpec
from neuromvm.specs.sources import SpikeTableSource


def spike_table_files(path: Path, spec: DataSpec) -> list[Path]:
    """Return the files of a session: spikes, units if they have a table, and trials."""
    source = _source(spec)
    names = in_natural_order([file.name for file in path.parent.glob(source.spikes) if file.is_file()])
    tables = [path.parent / source.units] if source.units is not None else []
    return [*(path.parent / name for name in names), *tables, trial_file(path, source)]


def read_spike_tables(path: Path, spec: DataSpec) -> MemoryTree:
    """Return the units and trials of the session at the path of its table of trials."""
    source = _source(spec)
    names = in_natural_order([file.name for file in path.parent.glob(source.spikes) if file.is_file()])
    if not names:
        raise MissingTableError(
            str(path),
            found=f"no {source.spikes} beside it",
            expected="a table of spike times, or .npy files",
            next_step=f"The folder has: {shown([file.name for file in path.parent.iterdir()])}. Set source.spikes",
        )
    ids, columns = _unit_rows(path, source)
    if names[0].endswith(".npy"):
        trains = _trains_of_files(path, names, source, ids)
        if ids is None:
            ids = _names_of_units(names)
    else:
        if len(names) > 1:
            raise DataFormatError(str(path), found=f"{shown(names)} beside it", expected="one table of spikes")
        file = path.parent / names[0]
        table = read_text_table(file, source.separator)
        times, units = (
            column_of(file, table, getattr(source, setting), f"source.{setting}") for setting in ("time_column", "unit_column")
        )
        ids, trains = trains_of_units(str(file), in_seconds(times, source.clock), units, ids)
    arrays = units_table(ids, {**columns, **trains}) | read_trial_file(path, spec)
    return MemoryTree(path, arrays, files={"units": path.parent / names[0], "intervals": trial_file(path, source)})


def _unit_rows(path: Path, source: SpikeTableSource) -> tuple[NDArray[Any] | None, dict[str, NDArray[Any]]]:
    """Return the ids and the other columns of the table of units, if there is one."""
    if source.units is None:
        return None, {}
    file = path.parent / source.units
    columns = read_text_table(file, source.separator)
    ids = column_of(file, columns, "id", "source.units")
    if len(np.unique(ids)) < len(ids) or ids.dtype.kind not in "iuU":
        raise DataFormatError(
            str(file), found=f"ids of type {ids.dtype} that repeat or are missing", expected="an id for every unit"
        )
    return ids, {name: values for name, values in columns.items() if name != "id"}


def _trains_of_files(path: Path, names: list[str], source: SpikeTableSource, ids: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
    """Return the times of a file a unit, in the order of their table if there is one."""
    if ids is not None:
        units = _names_of_units(names)
        if sorted(map(str, units)) != sorted(map(str, ids)):
            problem, expected = f"files of units {shown(units.tolist())}", f"a file for each of {shown(ids.tolist())}"
            raise DataFormatError(
                str(path), found=problem, expected=expected, next_step="Correct source.spikes or the table of units"
            )
        by_unit = dict(zip(map(str, units), names, strict=True))
        names = [by_unit[str(unit)] for unit in ids]
    return ragged("spike_times", [in_seconds(load_npy(path.parent / name, 1), source.clock) for name in names])


def _names_of_units(names: list[str]) -> NDArray[Any]:
    """Return the numbers at the ends of the names of files, or the names if these are no different numbers."""
    stems = [Path(name).stem for name in names]
    numbers = [match.group() for stem in stems if (match := re.search(r"\d+$", stem))]
    unique = len({int(number) for number in numbers}) == len(stems)
    return np.array([int(number) for number in numbers] if unique else stems)


def _source(spec: DataSpec) -> SpikeTableSource:
    assert isinstance(spec.source, SpikeTableSource)
    return spec.source
