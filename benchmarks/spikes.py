"""Spikes and trials of one animal for reading, binning and writing: as many as a large recording has."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuromvm.data.simulate.experiment import Simulation

UNITS, TRIALS = 200, 1500
START, BIN_WIDTH, BINS = -2.0, 0.1, 40
ONSET = "poke_in_time"
ANIMAL = "rat"
HALF_A_SAMPLE = 1 / 60_000  # [s] spikes lie on a grid of 30 kHz: no spike may lie on an edge, where rounding would decide


class Trains(NamedTuple):
    """Spike times of each unit and onsets of trials [s], no spike on the edge of a bin."""

    times: list[NDArray[np.float64]]
    onsets: NDArray[np.float64]


def trains(units: int = UNITS, trials: int = TRIALS, rate: float = 4.0) -> Trains:
    """Return Poisson spikes at 30 kHz and a trial every 6 s."""
    random = np.random.default_rng(0)
    samples = 30_000 * 6 * (trials + 1)
    count = int(rate * 6 * (trials + 1))
    times = [np.unique(random.integers(0, samples, count)) / 30_000 for _ in range(units)]
    return Trains(times, 3.0 + 6.0 * np.arange(trials) + HALF_A_SAMPLE)


def simulated(units: int = UNITS, trials: int = TRIALS) -> "Simulation":
    """Return a simulated experiment of one animal whose units all fire, with onsets between the samples of spikes."""
    from neuromvm.data.simulate.experiment import SimulationConfig, simulate

    config = SimulationConfig.model_validate({"animals": {ANIMAL: {"units": units, "trials": trials}}, "silent_share": 0.0})
    simulation = simulate(config)
    animal = simulation.animals[ANIMAL]
    shifted = animal.trials.assign(**{ONSET: animal.trials[ONSET] + HALF_A_SAMPLE})
    return replace(simulation, animals={ANIMAL: replace(animal, trials=shifted)})
