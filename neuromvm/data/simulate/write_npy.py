"""Files of a simulated experiment in the layout of the published rat recordings: ``.npy`` arrays, a folder per animal.

They have the names, shapes and units of the published files, which are not always available. Spikes are those of
:func:`neuromvm.data.simulate.experiment.simulate`; the field potential has a different gain and noise on each tetrode.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.bins import count_spikes
from neuromvm.data.simulate.experiment import SimulatedAnimal, SimulationConfig, odor_numbers, simulate
from neuromvm.data.simulate.lfp import LFP_RATE, VOLT
from neuromvm.data.simulate.write_nwb import TRUTH, replaceable_files
from neuromvm.errors import SpecError
from neuromvm.files import write_atomically, write_tree

WINDOW = (-2.0, 2.0)  # [s] around the event
SAMPLE, SAMPLES_PER_BIN = 0.001, 10  # [s] duration of a sample, which has one spike or none, and samples in a bin
BINS = 400
CAPITALISED = {"superchris": "SuperChris"}  # published folder that is not in lower case
TETRODES = 21
ODORS_PUBLISHED = 5
MILLIVOLT, FIELD_NOISE = 1e-3, 0.05  # [V]; [mV] noise of each tetrode
FIELD = 1  # number of its random stream, independent of that of the spikes


def write_published_layout(
    folder: str | Path, config: SimulationConfig | None = None, seed: int = 0, overwrite: bool = False
) -> list[Path]:
    """Simulate an experiment, write it in the layout of the published recordings with ``truth.nc``, and return the paths.

    Each rat has a folder with ``<rat>_trial_info.npy (trial, 4)`` with correct, in sequence, position 1-5 and odor 1-5;
    ``<rat>_spike_data_binned.npy (trial, unit, 400)``, from 2 s before to 2 s after port entry in bins of 10 ms, each the mean of
    ten samples of 1 ms that are 0 or 1 (two spikes within 1 ms count as one); ``<Rat>_PokeOut_spike_data_binned.npy``, the same
    around the withdrawal; and ``<rat>_lfp_data_sampled.npy (trial, 400, tetrode)``, the field potential [mV] at bin centres.

    NWB files of the same ``config`` and ``seed`` have the same spikes. Load the folder with the data spec ``published_rats``.
    RunFolderError is raised if it is not empty and ``overwrite`` is not set, or it has files that were not simulated; SpecError
    unless there are five odors.
    """
    folder = Path(folder)
    if config is not None and config.odors != ODORS_PUBLISHED:
        raise SpecError(
            "config.odors",
            found=str(config.odors),
            expected=f"{ODORS_PUBLISHED}, as published",
            next_step="Write NWB files, or leave the number of odors",
        )
    for path in replaceable_files(folder, ("**/*",), lambda name: _paths(folder, name), overwrite):
        path.unlink()
    simulation = simulate(config, seed)
    # written first: it marks the files of an interrupted run as simulated
    write_tree(folder / TRUTH, simulation.truth)
    paths = []
    for name, animal in simulation.animals.items():
        random = np.random.default_rng([seed, *name.encode(), FIELD])
        entry, withdrawal = (animal.trials[event].to_numpy() for event in ("poke_in_time", "poke_out_time"))
        spikes = (_means(animal, entry), _means(animal, withdrawal))
        labels = [animal.trials[label].to_numpy() for label in ("correct", "in_sequence", "position")]
        trial_info = np.stack([*labels, odor_numbers(animal.trials)], axis=1).astype(np.float64)
        arrays: list[NDArray[Any]] = [trial_info, *spikes, _field_potential(animal, entry, random)]
        for path, array in zip(_paths(folder, name), arrays, strict=True):
            content = BytesIO()
            np.save(content, array, allow_pickle=False)
            write_atomically(path, content.getvalue())
            paths.append(path)
    return [*paths, folder / TRUTH]


def _paths(folder: Path, name: str) -> list[Path]:
    """Return the files of an animal: labels, spikes around port entry, spikes around withdrawal, field potentials."""
    folder = folder / CAPITALISED.get(name, name)
    capitalised = CAPITALISED.get(name, name.capitalize())
    names = ("trial_info", "spike_data_binned", "PokeOut_spike_data_binned", "lfp_data_sampled")
    return [folder / f"{capitalised if 'PokeOut' in content else name}_{content}.npy" for content in names]


def _means(animal: SimulatedAnimal, events: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the mean over the samples of each bin around the events, ``(trial, unit, bin)``: 0, 0.1, ... 1."""
    means = np.empty((len(events), len(animal.spike_times), BINS), dtype=np.float32)
    for unit, times in enumerate(animal.spike_times):  # one unit at a time, to save memory
        samples = count_spikes([times], events, WINDOW[0], SAMPLE, BINS * SAMPLES_PER_BIN) > 0
        means[:, unit] = samples.reshape(len(events), BINS, SAMPLES_PER_BIN).mean(axis=2)
    return means


def _field_potential(animal: SimulatedAnimal, events: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float32]:
    """Return the field potential around the events ``(trial, bin, tetrode)`` [mV]."""
    bin_width = SAMPLE * SAMPLES_PER_BIN
    times = events[:, None] + WINDOW[0] + bin_width * (np.arange(BINS) + 0.5)
    shared = np.interp(times, np.arange(len(animal.lfp)) / LFP_RATE, animal.lfp * (VOLT / MILLIVOLT))
    noise = random.normal(0, FIELD_NOISE, (*times.shape, TETRODES))
    return np.asarray(shared[:, :, None] * random.uniform(0.5, 1.5, TETRODES) + noise, dtype=np.float32)
