"""A simulated experiment in the layout of the published rat recordings: ``.npy`` arrays, a folder an animal.

The published files cannot always be had; these have the same names, shapes and units, and a known truth. The spikes are those
of :func:`neuromvm.data.simulate.experiment.simulate`, the field potentials its one channel, larger on some tetrodes than on
others.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.bins import count_spikes
from neuromvm.data.simulate.experiment import ODORS, SimulatedAnimal, SimulationConfig, simulate
from neuromvm.data.simulate.lfp import LFP_RATE, VOLT
from neuromvm.data.simulate.write_nwb import TRUTH, read_truth, refuse_foreign
from neuromvm.errors import RunFolderError
from neuromvm.files import write_atomically, write_tree

WINDOW = (-2.0, 2.0)  # [s] around the event
SAMPLE, SAMPLES_PER_BIN = 0.001, 10  # [s] of a sample that holds a spike or none, and samples in a bin
BINS = 400
CAPITALISED = {"superchris": "SuperChris"}  # the published folders are not all in lower case
TETRODES = 21
MILLIVOLT, FIELD_NOISE = 1e-3, 0.05  # [V]; [mV] of each tetrode's own noise
FIELD = 1  # number of its stream of randomness: drawing it leaves the spikes as they are


def write_published_layout(
    folder: str | Path, config: SimulationConfig | None = None, seed: int = 0, overwrite: bool = False
) -> list[Path]:
    """Simulate an experiment and write it as the published recordings are, with ``truth.nc`` beside them.

    For each rat, in a folder of its name: ``<rat>_trial_info.npy (trial, 4)`` with correct, in sequence, position 1-5 and odor
    1-5; ``<rat>_spike_data_binned.npy (trial, unit, 400)``, from 2 s before to 2 s after port entry in bins of 10 ms, each the
    mean of ten samples of 1 ms that hold 0 or 1 (two spikes within 1 ms are one); ``<Rat>_PokeOut_spike_data_binned.npy``, the
    same around the withdrawal; and ``<rat>_lfp_data_sampled.npy (trial, 400, tetrode)``, the field potential [mV] in the
    middle of each bin.

    Parameters
    ----------
    folder
        Made if it does not exist. Load it with the data spec ``published_rats``.
    config, seed
        As for :func:`neuromvm.data.simulate.experiment.simulate`: the spikes are those of the NWB files of the same config and
        seed.
    overwrite
        Replace a simulated experiment in this layout that is there.

    Returns
    -------
    list of Path
        The arrays of each animal in turn, then the truth.

    Raises
    ------
    RunFolderError
        If the folder holds anything, and either ``overwrite`` is not set or it was not simulated.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> config = SimulationConfig(animals={"one": {"units": 5, "trials": 20}})
    >>> [path.name for path in write_published_layout(mkdtemp(), config)][:2]
    ['one_trial_info.npy', 'one_spike_data_binned.npy']
    """
    folder = Path(folder)
    for path in _replaced(folder, overwrite):
        path.unlink()
    simulation = simulate(config, seed)
    # first, so that what a stopped write leaves behind can be told from recordings
    write_tree(folder / TRUTH, simulation.truth)
    paths = []
    for name, animal in simulation.animals.items():
        random = np.random.default_rng([seed, *name.encode(), FIELD])
        entry, withdrawal = (animal.trials[event].to_numpy() for event in ("poke_in_time", "poke_out_time"))
        spikes = (_means(animal, entry), _means(animal, withdrawal))
        arrays: list[NDArray[Any]] = [_trial_info(animal), *spikes, _field_potential(animal, entry, random)]
        for path, array in zip(_paths(folder, name), arrays, strict=True):
            content = BytesIO()
            np.save(content, array, allow_pickle=False)
            write_atomically(path, content.getvalue())
            paths.append(path)
    return [*paths, folder / TRUTH]


def _paths(folder: Path, name: str) -> list[Path]:
    """Return the files of an animal: labels, spikes around port entry, spikes around withdrawal, field potentials."""
    own = folder / CAPITALISED.get(name, name)
    capitalised = CAPITALISED.get(name, name.capitalize())
    names = ("trial_info", "spike_data_binned", "PokeOut_spike_data_binned", "lfp_data_sampled")
    return [own / f"{capitalised if 'PokeOut' in each else name}_{each}.npy" for each in names]


def _trial_info(animal: SimulatedAnimal) -> NDArray[np.float64]:
    """Return correct, in sequence (0 or 1), position and odor (1 to 5), ``(trial, 4)``."""
    odor = [ODORS.index(odor) + 1 for odor in animal.trials["odor"]]
    columns = [animal.trials[name].to_numpy() for name in ("correct", "in_sequence", "position")]
    return np.stack([*columns, np.array(odor)], axis=1).astype(np.float64)


def _means(animal: SimulatedAnimal, events: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the mean over the samples of each bin around the events, ``(trial, unit, bin)``: 0, 0.1, ... 1."""
    means = np.empty((len(events), len(animal.spike_times), BINS), dtype=np.float32)
    for unit, times in enumerate(animal.spike_times):  # one at a time: samples are ten times as many as bins
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


def _replaced(folder: Path, overwrite: bool) -> list[Path]:
    """Return the files that give way, or raise RunFolderError."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(str(folder), found="a file", expected="a folder, or nothing")
    present = sorted(path for path in folder.rglob("*") if not path.is_dir()) if folder.exists() else []
    if not present:
        return []
    if not overwrite:
        raise RunFolderError(
            str(folder),
            found=f"{present[0].relative_to(folder)} is there",
            expected="an empty folder",
            next_step="Choose another folder, or replace a simulation: --force on the command line, overwrite=True in Python",
        )
    written = {folder / TRUTH, *(path for name in read_truth(folder).children for path in _paths(folder, str(name)))}
    unfinished = {path for path in present if path.name.startswith(".") and path.suffix == ".tmp"}
    refuse_foreign(folder, present, written | unfinished)
    return present
