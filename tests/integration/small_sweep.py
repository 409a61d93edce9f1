"""A sweep over two small rats: the experiment, its data, and the spec that varies it."""

from copy import deepcopy
from pathlib import Path

from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.specs.files import validated
from neuromvm.specs.sweep import SweepSpec

EXPERIMENT = {
    "name": "small",
    "data": {"spec": "simulated_rats", "root": "data"},
    "samples": {"start": 0.1, "stop": 0.35, "label": ["odor"], "keep": {"odor": ["A", "B", "C"]}},
    "split": {"kind": "halves", "repeats": 2},
}


def spec_of(base, grid, **settings) -> SweepSpec:
    """Return the sweep of an experiment over a grid; settings of the sweep may change the experiment."""
    experiment = {**deepcopy(base), **settings.pop("experiment", {})}
    return validated({"name": "rates", "experiment": experiment, "grid": grid, **settings}, "rates.yaml", SweepSpec)


def write_rats(folder: Path) -> Path:
    """Write NWB files of two rats into ``data`` of a folder."""
    sizes = {"mitt": {"units": 10, "trials": 90}, "stella": {"units": 8, "trials": 80}}
    write_experiment(folder / "data", SimulationConfig(animals=sizes), seed=2)
    return folder
