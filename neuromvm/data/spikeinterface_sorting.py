"""Recordings from sortings of spikeinterface and back (extra ``spikeinterface``)."""

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
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError


def recordings_from_sortings(
    sortings: Mapping[str, Any],
    trials: Mapping[str, pd.DataFrame],
    *,
    window: tuple[float, float],
    bin_width: float,
    align: str = "start_time",
) -> xr.DataTree:
    """Return recordings of sortings of spikeinterface: spikes counted in bins around an event of each trial.

    Parameters
    ----------
    sortings
        Animal -> sorting (``BaseSorting``) of one segment; properties with one text, number or bool a unit become columns.
    trials
        Animal -> DataFrame with times [s], on the clock of ``get_unit_spike_train(return_times=True)``, and labels.
    window
        From, to [s] relative to the event; a whole number of bins.
    bin_width
        [s]
    align
        Column of the trials with the event [s].

    Returns
    -------
    One node an animal with ``spike_count (trial, time, unit)``, see :mod:`neuromvm.schema`. Trials without an event are dropped
    and counted. A sorting does not say how long was recorded: leave out trials beyond its end.

    Raises
    ------
    ArgumentError
        If spikeinterface is not installed or an argument has another type.
    SchemaError
        If a sorting has several segments, an animal lacks units, trials or the column, or a name cannot be used.
    AlignmentError
        If no trial is left, or the window is not a positive whole number of bins.
    """
    core = imported("spikeinterface.core", "spikeinterface")
    check_animals("sortings", sortings, trials)
    grid = grid_of_windows(align, window, bin_width)
    nodes = {}
    for animal, sorting in sortings.items():
        for name, argument, kind in (("sortings", sorting, core.BaseSorting), ("trials", trials[animal], pd.DataFrame)):
            if not isinstance(argument, kind):
                problem = f"a {type(argument).__name__}"
                raise ArgumentError(f"argument {name!r}, animal {animal}", found=problem, expected=f"a {kind.__name__}")
        if sorting.get_num_segments() != 1:
            problem, next_step = f"{sorting.get_num_segments()} segments", "Choose one: sorting.select_segments([0])"
            raise SchemaError(f"animal {animal}", found=problem, expected="one segment, which is a session", next_step=next_step)
        trains = {
            unit: sorting.get_unit_spike_train(unit, segment_index=0, return_times=True) for unit in sorting.unit_ids.tolist()
        }
        columns = plain_columns(sorting.get_property_keys(), sorting.get_property, len(trains))
        nodes[animal] = session_of_trains(animal, trains, columns, trials[animal], align, grid)
    return tree_of_sessions(nodes, grid, align)


def to_sorting(recordings: xr.DataTree, animal: str, sampling_frequency: float = 30_000.0) -> tuple[Any, pd.DataFrame]:
    """Return the spikes of an animal as ``NumpySorting`` of one segment, and its trials with their labels as DataFrame.

    Recordings hold counts: each spike is put at the centre of its bin, on the clock of the session, and spikes of one bin at the
    same sample. Columns of units become properties. Spikes between the windows of trials are not there.

    Raises
    ------
    ArgumentError
        If spikeinterface is not installed.
    SchemaError
        If there is no such animal, it has no spike counts, or its trials have no onset.
    AlignmentError
        If windows of trials overlap, begin before the session, or bins are shorter than two samples.
    """
    core = imported("spikeinterface.core", "spikeinterface")
    dataset, times, width = session_times(recordings, animal)
    if "spike_count" not in dataset:
        raise SchemaError(f"animal {animal}", found=f"no spike_count among {sorted(map(str, dataset.data_vars))}")
    if times.min() < 0 or width * sampling_frequency < 2:
        problem = f"bins from {times.min():.6g} s, {width * sampling_frequency:.3g} samples wide"
        raise AlignmentError(f"animal {animal}", found=problem, expected="times from 0 s on, and two samples or more")
    samples = np.round(times.ravel() * sampling_frequency).astype(np.int64)
    counts = dataset["spike_count"].to_numpy().reshape(samples.size, -1)
    units = dataset["unit"].to_numpy()
    order = np.argsort(samples)
    trains = {unit: np.repeat(samples[order], counts[order, row]) for row, unit in enumerate(units.tolist())}
    sorting = core.NumpySorting.from_unit_dict([trains], sampling_frequency)
    for name, coord in dataset.coords.items():
        if coord.dims == ("unit",) and name != "unit":
            sorting.set_property(str(name), coord.to_numpy(), ids=units)
    labels = {str(name): coord.to_numpy() for name, coord in dataset.coords.items() if coord.dims == ("trial",)}
    return sorting, pd.DataFrame(labels)
