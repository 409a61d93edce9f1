"""NWB files of a simulated experiment, with spikes and one channel of field potential, and a file with its true latents."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import xarray as xr
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ecephys import LFP
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units

from neuromvm.data.simulate.experiment import (
    ODORS,
    REGION,
    SAMPLING_RATE,
    SimulatedAnimal,
    Simulation,
    SimulationConfig,
    simulate,
)
from neuromvm.data.simulate.lfp import LFP_RATE, VOLT
from neuromvm.errors import RunFolderError
from neuromvm.files import read_tree

TRUTH = "truth.nc"
FIRST_SESSION = datetime(2020, 1, 6, 9, 0, tzinfo=UTC)  # animals are one day apart
UNITS_PER_TETRODE = 5
WIRES = 4

TRIAL_COLUMNS = {
    "start_time": "Start of the trial, 2 s before the poke [s].",
    "stop_time": "End of the trial, 1 s after the withdrawal [s].",
    "poke_in_time": "The rat pokes its nose into the port, which delivers the odor [s].",
    "poke_out_time": "The rat withdraws its nose from the port [s].",
    "odor": "Odor delivered, a letter; A is the first of the sequence.",
    "position": "Position of the trial in its run through the sequence, from 1.",
    "in_sequence": "Whether the odor is the one due at this position.",
    "correct": "Whether the rat held for 1.2 s in sequence, or withdrew before that out of sequence.",
}


def write_experiment(
    directory: str | Path, config: SimulationConfig | None = None, seed: int = 0, overwrite: bool = False
) -> list[Path]:
    """Simulate an experiment, write it, and return the paths: an NWB file per animal, and ``truth.nc`` with all latents.

    Files are written to a temporary folder first, so that an interrupted run leaves no incomplete experiment.

    Parameters
    ----------
    directory
        Created if it does not exist. Files are ``sub-<animal>/sub-<animal>_ses-<session>_behavior+ecephys.nwb``.
    config, seed
        As of :func:`neuromvm.data.simulate.experiment.simulate`; they determine spikes and identifiers.
    overwrite
        Replace a simulated experiment in the directory.

    Raises
    ------
    RunFolderError
        If the directory has an experiment and ``overwrite`` is not set, or files that were not simulated.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> config = SimulationConfig(animals={"one": {"units": 5, "trials": 20}})
    >>> [path.name for path in write_experiment(mkdtemp(), config)]
    ['sub-one_ses-one01_behavior+ecephys.nwb', 'truth.nc']
    """
    directory = Path(directory)
    patterns = ("sub-*", "sub-*/**/*", TRUTH)
    replaced = replaceable_files(directory, patterns, lambda name: [directory / _file_name(name)], overwrite)
    simulation = simulate(config, seed)
    directory.mkdir(parents=True, exist_ok=True)
    # within the directory, so that files are renamed on one file system
    with TemporaryDirectory(prefix=".writing-", dir=directory) as writing:
        names = [_write_animal(Path(writing), simulation, name) for name in simulation.animals]
        truth = simulation.truth
        compressed = {f"/{name}": {str(key): {"zlib": True} for key in node.data_vars} for name, node in truth.children.items()}
        truth.to_netcdf(Path(writing) / TRUTH, engine="h5netcdf", encoding=compressed)
        for path in replaced:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        for name in (*names, TRUTH):
            (directory / name).parent.mkdir(exist_ok=True)
            (Path(writing) / name).replace(directory / name)
    return [directory / name for name in (*names, TRUTH)]


def read_truth(directory: str | Path) -> xr.DataTree:
    """Return the ``truth`` of a simulated experiment, or raise RunFolderError if the directory has none."""
    path = Path(directory) / TRUTH
    if not path.is_file():
        raise RunFolderError(str(directory), found=f"no {TRUTH}", expected="a folder made by 'neuromvm simulate'")
    try:
        return read_tree(path)
    except RunFolderError as error:
        next_step = "Simulate it again: neuromvm simulate FOLDER"
        expected = "the truth of a simulation"
        raise RunFolderError(str(path), found="not a readable file", expected=expected, next_step=next_step) from error


def replaceable_files(
    folder: Path, patterns: Iterable[str], files_of: Callable[[str], Iterable[Path]], overwrite: bool
) -> list[Path]:
    """Return the files of animals in a folder that a new simulation replaces; the folder may not exist.

    Files that match ``patterns`` count as an experiment, and ``files_of`` returns the files of an animal. RunFolderError is
    raised if there are files and ``overwrite`` is not set, or files that were not written by a simulation.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(str(folder), found="a file", expected="a folder, or nothing")
    present = sorted({path for pattern in patterns for path in folder.glob(pattern) if not path.is_dir()})
    if not present:
        return []
    if not overwrite:
        raise RunFolderError(
            str(folder),
            found=f"{present[0].relative_to(folder)} is there",
            expected="an empty folder",
            next_step="Choose another folder, or replace a simulation: --force on the command line, overwrite=True in Python",
        )
    written = {folder / TRUTH, *(path for name in read_truth(folder).children for path in files_of(str(name)))}
    unfinished = {path for path in present if path.name.startswith(".") and path.suffix == ".tmp"}
    foreign = [str(path.relative_to(folder)) for path in present if path not in written | unfinished]
    if foreign:
        raise RunFolderError(
            str(folder),
            found=f"{', '.join(foreign[:5])}: not written by this simulation",
            expected=f"only the animals of {TRUTH}",
            next_step="Choose another folder; recordings are never removed",
        )
    return [path for path in present if path != folder / TRUTH]


def _session(name: str) -> str:
    return f"{name}01"  # differs between animals: some tools treat equal ids as one session


def _file_name(name: str) -> str:
    return f"sub-{name}/sub-{name}_ses-{_session(name)}_behavior+ecephys.nwb"


def _write_animal(folder: Path, simulation: Simulation, name: str) -> str:
    """Write one animal and return the path of its file relative to the folder."""
    start = FIRST_SESSION + timedelta(days=list(simulation.animals).index(name))
    identity = f"neuromvm/{name}/{simulation.seed}/{simulation.config.model_dump_json()}"
    file = NWBFile(
        identifier=str(uuid5(NAMESPACE_URL, identity)),
        session_description=f"Simulated session of an odor-sequence task, seed {simulation.seed}.",
        session_start_time=start,
        file_create_date=start,
        session_id=_session(name),
        experimenter=["Doe, Jane"],
        lab="Simulated Lab",
        institution="Simulated Institution",
        experiment_description=(
            f"Odors A to {ODORS[simulation.config.odors - 1]} are delivered one after another at one port; the rat holds its "
            "nose in the port if the odor is in sequence and withdraws it if not. Behavior, latents and spikes are "
            "simulated, with known truth."
        ),
        keywords=["simulation", "hippocampus", "odor", "sequence", "single units"],
    )
    rat = {"species": "Rattus norvegicus", "sex": "M", "age": "P180D", "description": "Simulated rat."}
    file.subject = Subject(subject_id=name, **rat)
    file.trials = _trials(simulation.animals[name])
    _add_units(file, simulation.animals[name])
    _add_lfp(file, simulation.animals[name])
    path = _file_name(name)
    (folder / path).parent.mkdir()
    with NWBHDF5IO(folder / path, "w") as io:
        io.write(file)
    return path


def _trials(animal: SimulatedAnimal) -> TimeIntervals:
    data = {name: animal.trials[name].to_numpy() for name in TRIAL_COLUMNS} | {"odor": animal.trials["odor"].to_list()}
    columns = [VectorData(name=name, description=text, data=data[name]) for name, text in TRIAL_COLUMNS.items()]
    trials = animal.trials.index.to_list()
    return TimeIntervals(name="trials", description="One odor each.", columns=columns, colnames=list(TRIAL_COLUMNS), id=trials)


def _add_units(file: NWBFile, animal: SimulatedAnimal) -> None:
    """Add tetrodes and their units, by columns, which pynwb writes a hundred times faster than rows."""
    units = len(animal.spike_times)
    tetrodes = -(-units // UNITS_PER_TETRODE)
    device = file.create_device(name="hyperdrive", description="Simulated drive of tetrodes.")
    for tetrode in range(tetrodes):
        group = file.create_electrode_group(
            name=f"tetrode{tetrode:02d}", description="Simulated tetrode.", location=REGION, device=device
        )
        for _ in range(WIRES):
            file.add_electrode(location=REGION, group=group)
    first_wire = WIRES * (np.arange(units) // UNITS_PER_TETRODE)
    wires = (first_wire[:, None] + np.arange(WIRES)).ravel()
    columns = [
        *_ragged("spike_times", "Times of spikes [s].", np.concatenate(animal.spike_times), list(map(len, animal.spike_times))),
        *_ragged("obs_intervals", "Recorded throughout [s].", np.tile([[0.0, animal.duration]], (units, 1)), [1] * units),
        *_ragged("electrodes", "Wires of the unit's tetrode.", wires, [WIRES] * units, file.electrodes),
    ]
    file.units = Units(
        name="units",
        description="Simulated single units.",
        columns=columns,
        colnames=["spike_times", "obs_intervals", "electrodes"],
        id=list(range(units)),
        resolution=1 / SAMPLING_RATE,
    )


def _add_lfp(file: NWBFile, animal: SimulatedAnimal) -> None:
    """Add the field potential, with the first electrode of :func:`_add_units` as its channel."""
    container = LFP(name="LFP")
    file.create_processing_module(name="ecephys", description="Field potential.").add(container)
    container.create_electrical_series(
        name="ElectricalSeries",
        description="Simulated field potential with a theta rhythm.",
        data=H5DataIO(animal.lfp[:, None], compression="gzip", shuffle=True),
        conversion=VOLT,
        rate=LFP_RATE,
        starting_time=0.0,
        electrodes=file.create_electrode_table_region(region=[0], description="The first wire."),
    )


def _ragged(
    name: str, description: str, values: NDArray[Any], lengths: list[int], table: DynamicTable | None = None
) -> list[VectorData]:
    """Return a ragged column and its index; with ``table``, values are rows of this table."""
    data = H5DataIO(values, compression="gzip", shuffle=True)
    if table is None:
        column = VectorData(name=name, description=description, data=data)
    else:
        column = DynamicTableRegion(name=name, description=description, data=data, table=table)
    return [column, VectorIndex(name=f"{name}_index", target=column, data=np.cumsum(lengths))]
