"""Recordings from pynapple objects and back (extra ``pynapple``)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neuromvm.data.trains import (
    check_animals,
    grid_of_windows,
    imported,
    plain_columns,
    session_of_trains,
    session_times,
    tree_of_sessions,
)
from neuromvm.errors import ArgumentError
from neuromvm.schema import activity


def recordings_from_pynapple(
    units: Mapping[str, Any],
    trials: Mapping[str, Any],
    *,
    window: tuple[float, float],
    bin_width: float,
    align: str = "start",
) -> xr.DataTree:
    """Return recordings of pynapple objects: spikes counted in bins around an event of each trial.

    Parameters
    ----------
    units
        Animal -> ``TsGroup``; its metadata with one text, number or bool a unit become columns of units.
    trials
        Animal -> ``IntervalSet``, whose metadata become labels of trials, or DataFrame with times and labels.
    window
        From, to [s] relative to the event; a whole number of bins.
    bin_width
        [s]
    align
        Column of the event of a trial [s]: ``start`` or ``end`` of an IntervalSet, a column of its metadata or of the DataFrame.

    Returns
    -------
    One node an animal with ``spike_count (trial, time, unit)``, see :mod:`neuromvm.schema`. Trials without an event, and those
    whose window leaves the time support of the units, are dropped and counted.

    Raises
    ------
    ArgumentError
        If pynapple is not installed or an argument has another type.
    SchemaError
        If an animal lacks units, trials or the column, or a name cannot be used.
    AlignmentError
        If no trial is left, or the window is not a positive whole number of bins.
    """
    nap = imported("pynapple", "pynapple")
    check_animals("units", units, trials)
    grid = grid_of_windows(align, window, bin_width)
    nodes = {}
    for animal, group in units.items():
        if not isinstance(group, nap.TsGroup):
            problem = f"a {type(group).__name__}"
            raise ArgumentError(f"argument 'units', animal {animal}", found=problem, expected="a pynapple.TsGroup")
        table = trials[animal]
        if isinstance(table, nap.IntervalSet):
            table = table.as_dataframe()
        if not isinstance(table, pd.DataFrame):
            problem = f"a {type(table).__name__}"
            raise ArgumentError(f"argument 'trials', animal {animal}", found=problem, expected="an IntervalSet or a DataFrame")
        table = table.rename(columns={"start": "start_time", "end": "stop_time"})
        event = {"start": "start_time", "end": "stop_time"}.get(align, align)
        trains = {unit: group[unit].t for unit in group}
        names = [name for name in group.metadata_columns if name != "rate"]  # which pynapple computes
        columns = plain_columns(names, group.get_info, len(trains))
        support = np.asarray(group.time_support.values, dtype=np.float64)
        nodes[animal] = session_of_trains(animal, trains, columns, table, event, grid, support)
    return tree_of_sessions(nodes, grid, align)


def to_pynapple(recordings: xr.DataTree, animal: str) -> tuple[Any, Any]:
    """Return the activity of an animal as ``TsdFrame (trials x bins, unit)`` and its trials as ``IntervalSet``.

    Times are the centres of bins on the clock of the session; columns of units and labels of trials are metadata. An interval is
    the window of a trial, and the time support of the TsdFrame.

    Raises
    ------
    ArgumentError
        If pynapple is not installed.
    SchemaError
        If there is no such animal, or its trials have no onset on a time grid.
    AlignmentError
        If windows of trials overlap.
    """
    nap = imported("pynapple", "pynapple")
    dataset, times, width = session_times(recordings, animal)
    order = np.argsort(times[:, 0])
    dataset, times = dataset.isel(trial=order), times[order]
    values = activity(dataset).to_numpy()
    labels = {str(name): coord.to_numpy() for name, coord in dataset.coords.items() if coord.dims == ("trial",)}
    columns = {
        str(name): coord.to_numpy() for name, coord in dataset.coords.items() if coord.dims == ("unit",) and name != "unit"
    }
    windows = nap.IntervalSet(start=times[:, 0] - width / 2, end=times[:, -1] + width / 2, metadata=labels)
    frame = nap.TsdFrame(
        t=times.ravel(),
        d=values.reshape(-1, values.shape[2]),
        columns=dataset["unit"].to_numpy(),
        time_support=windows,
        metadata=pd.DataFrame(columns, index=dataset["unit"].to_numpy()),
    )
    return frame, windows
