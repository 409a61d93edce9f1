"""Writing spikes as NWB: columns at once, as the simulation's writer does it, against pynwb's ``add_unit`` for each unit."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pairs import Pair, Side, Work
from benchmarks.spikes import Trains, trains

if TYPE_CHECKING:
    from pynwb import NWBFile

WIRES, UNITS_PER_TETRODE = 4, 5
TRIALS = 300  # half an hour of spikes: the time of rows depends on units, not on spikes


def pairs() -> list[Pair]:
    """Return the one pair: a file with the same units on the same tetrodes."""
    return [
        Pair(
            "writing_add_unit",
            Side("columns", partial(_write, _columns, "columns.nwb")),
            Side("pynwb's add_unit", partial(_write, _rows, "rows.nwb")),
            "for a file of 200 units",
            agreement="all spike times, observation intervals and wires that pynwb reads back, exactly",
        )
    ]


def _write(add: "Callable[[NWBFile, Trains], None]", name: str, folder: Path) -> Work:
    from pynwb import NWBHDF5IO, NWBFile

    spikes, path = trains(trials=TRIALS), folder / name

    def run() -> float:
        start = datetime(2020, 1, 6, tzinfo=UTC)
        file = NWBFile(identifier="benchmark", session_description="Spikes.", session_start_time=start)
        add(file, spikes)
        with NWBHDF5IO(path, "w") as io:
            io.write(file)
        return 1

    def answer() -> dict[str, np.ndarray]:
        with NWBHDF5IO(path, "r") as io:
            units = io.read().units
            columns = {"spike_times": units.spike_times, "obs_intervals": units.obs_intervals, "electrodes": units.electrodes}
            values = {key: np.asarray(column.data[:]) for key, column in columns.items()}
            ends = {f"{key}_index": np.asarray(units[key].data[:]).astype(np.int64) for key in columns}
        return {**values, **ends}

    return Work(run, answer)


def _columns(file: "NWBFile", spikes: Trains) -> None:
    """Add units with what ``neuromvm simulate`` writes them with."""
    import pandas as pd

    from neuromvm.data.simulate.experiment import SimulatedAnimal
    from neuromvm.data.simulate.write_nwb import _add_units  # the public writer simulates too

    _add_units(file, SimulatedAnimal(spikes.times, pd.DataFrame(), _duration(spikes), np.empty(0, dtype=np.int16)))


def _rows(file: "NWBFile", spikes: Trains) -> None:
    device = file.create_device(name="drive")
    for tetrode in range(-(-len(spikes.times) // UNITS_PER_TETRODE)):
        group = file.create_electrode_group(name=f"tetrode{tetrode:02d}", description="Tetrode.", location="CA1", device=device)
        for _ in range(WIRES):
            file.add_electrode(location="CA1", group=group)
    for number, times in enumerate(spikes.times):
        wire = WIRES * (number // UNITS_PER_TETRODE)
        wires = list(range(wire, wire + WIRES))
        file.add_unit(spike_times=times, obs_intervals=[[0.0, _duration(spikes)]], electrodes=wires)


def _duration(spikes: Trains) -> float:
    return float(spikes.onsets[-1]) + 6.0
