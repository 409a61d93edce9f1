"""A simulated experiment as NWB files, spikes and one channel of field potential, with the truth beside them."""

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

from neuromvm.data.simulate.experiment import REGION, SAMPLING_RATE, SimulatedAnimal, Simulation, SimulationConfig, simulate
from neuromvm.data.simulate.lfp import LFP_RATE, VOLT
from neuromvm.errors import RunFolderError

TRUTH = "truth.nc"
FIRST_SESSION = datetime(2020, 1, 6, 9, 0, tzinfo=UTC)  # animals follow each other, a day each
UNITS_PER_TETRODE = 5
WIRES = 4

TRIAL_COLUMNS = {
    "start_time": "Start of the trial, 2 s before the poke [s].",
    "stop_time": "End of the trial, 1 s after the withdrawal [s].",
    "poke_in_time": "The rat pokes its nose into the port, which delivers the odor [s].",
    "poke_out_time": "The rat withdraws its nose from the port [s].",
    "odor": "Odor delivered, A to E; A is the first of the sequence.",
    "position": "Position of the trial in its run through the sequence, 1 to 5.",
    "in_sequence": "Whether the odor is the one due at this position.",
    "correct": "Whether the rat held for 1.2 s in sequence, or withdrew before that out of sequence.",
}


def write_experiment(
    directory: str | Path, config: SimulationConfig | None = None, seed: int = 0, overwrite: bool = False
) -> list[Path]:
    """Simulate an experiment and write it: an NWB file an animal, and ``truth.nc``, a DataTree with the truth.

    Everything is written to a temporary folder first, so that a run that is stopped leaves no half of an experiment.

    Parameters
    ----------
    directory
        Made if it does not exist. Files are ``sub-<animal>/sub-<animal>_ses-<session>_behavior+ecephys.nwb``.
    config, seed
        As for :func:`neuromvm.data.simulate.experiment.simulate`; the same give the same spikes and identifiers.
    overwrite
        Replace a simulated experiment that is there.

    Returns
    -------
    list of Path
        The NWB files in the order of the config, then the truth.

    Raises
    ------
    RunFolderError
        If the directory holds an experiment and ``overwrite`` is not set, or one that was not simulated.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> config = SimulationConfig(animals={"one": {"units": 5, "trials": 20}})
    >>> [path.name for path in write_experiment(mkdtemp(), config)]
    ['sub-one_ses-one01_behavior+ecephys.nwb', 'truth.nc']
    """
    directory = Path(directory)
    replaced = _replaced(directory, overwrite)
    simulation = simulate(config, seed)
    directory.mkdir(parents=True, exist_ok=True)
    # Inside the directory, so that renaming stays on one file system.
    with TemporaryDirectory(prefix=".writing-", dir=directory) as writing:
        names = [_write_animal(Path(writing), simulation, name) for name in simulation.animals]
        compressed = {
            f"/{name}": {str(variable): {"zlib": True} for variable in node.data_vars}
            for name, node in simulation.truth.children.items()
        }
        simulation.truth.to_netcdf(Path(writing) / TRUTH, engine="h5netcdf", encoding=compressed)
        for path in replaced:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        for name in (*names, TRUTH):
            (directory / name).parent.mkdir(exist_ok=True)
            (Path(writing) / name).replace(directory / name)
    return [directory / name for name in (*names, TRUTH)]


def read_truth(directory: str | Path) -> xr.DataTree:
    """Return the truth behind a simulated experiment, as in :attr:`neuromvm.data.simulate.experiment.Simulation.truth`.

    Raises
    ------
    RunFolderError
        If the directory holds no simulated experiment.
    """
    path = Path(directory) / TRUTH
    if not path.is_file():
        raise RunFolderError(str(directory), found=f"no {TRUTH}", expected="a folder made by 'neuromvm simulate'")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except OSError as error:
        raise RunFolderError(str(path), found=f"not a readable file ({error})", expected="the truth of a simulation") from error


def _replaced(directory: Path, overwrite: bool) -> list[Path]:
    """Return the files of animals that give way, or raise RunFolderError."""
    if directory.exists() and not directory.is_dir():
        raise RunFolderError(str(directory), found="a file", expected="a folder, or nothing")
    present = sorted(directory.glob("sub-*"))
    if not present and not (directory / TRUTH).exists():
        return []
    if not overwrite:
        raise RunFolderError(
            str(directory),
            found="an experiment is there",
            expected="an empty folder",
            next_step="Choose another folder, or replace it: --force on the command line, overwrite=True in Python",
        )
    files = [path for entry in present for path in [entry, *entry.rglob("*")] if not path.is_dir()]
    refuse_foreign(directory, files, {directory / _file_name(str(name)) for name in read_truth(directory).children})
    return files


def refuse_foreign(directory: Path, files: list[Path], written: set[Path]) -> None:
    """Raise RunFolderError if a file that is to give way was not written by the simulation."""
    foreign = [str(path.relative_to(directory)) for path in files if path not in written]
    if foreign:
        raise RunFolderError(
            str(directory),
            found=f"{', '.join(foreign[:5])}: not written by this simulation",
            expected=f"the animals of {TRUTH} and nothing else",
            next_step="Choose another folder; recordings are never removed",
        )


def _session(name: str) -> str:
    return f"{name}01"  # unlike those of other animals: some tools take equal ids for one session


def _file_name(name: str) -> str:
    return f"sub-{name}/sub-{name}_ses-{_session(name)}_behavior+ecephys.nwb"


def _write_animal(folder: Path, simulation: Simulation, name: str) -> str:
    """Write one animal and return the path of its file below the folder."""
    number = list(simulation.animals).index(name)
    start = FIRST_SESSION + timedelta(days=number)
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
            "Odors A to E are delivered one after another at one port; the rat holds its nose in the port if the odor "
            "is in sequence and withdraws it if not. Behavior, latents and spikes are simulated, with known truth."
        ),
        keywords=["simulation", "hippocampus", "odor", "sequence", "single units"],
    )
    file.subject = Subject(
        subject_id=name,
        species="Rattus norvegicus",
        sex="M",
        age="P180D",
        description="Simulated rat.",
    )
    animal = simulation.animals[name]
    file.trials = _trials(animal)
    _add_units(file, animal)
    _add_lfp(file, animal)
    path = _file_name(name)
    (folder / path).parent.mkdir()
    with NWBHDF5IO(folder / path, "w") as io:
        io.write(file)
    return path


def _trials(animal: SimulatedAnimal) -> TimeIntervals:
    columns = []
    for name, description in TRIAL_COLUMNS.items():
        values = animal.trials[name]
        data = values.to_list() if name == "odor" else values.to_numpy()
        columns.append(VectorData(name=name, description=description, data=data))
    return TimeIntervals(
        name="trials",
        description="One odor each.",
        columns=columns,
        colnames=list(TRIAL_COLUMNS),
        id=animal.trials.index.to_list(),
    )


def _add_units(file: NWBFile, animal: SimulatedAnimal) -> None:
    """Add tetrodes and the units on them, by columns: pynwb writes rows a hundred times slower."""
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
        *_ragged(
            "spike_times",
            "Times of spikes [s].",
            np.concatenate(animal.spike_times),
            list(map(len, animal.spike_times)),
        ),
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
    """Add the field potential, as if of the first wire; it needs the electrodes of :func:`_add_units`."""
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
    """Return a column with several values a row, and its index; with a table, values are rows of it."""
    data = H5DataIO(values, compression="gzip", shuffle=True)
    if table is None:
        column = VectorData(name=name, description=description, data=data)
    else:
        column = DynamicTableRegion(name=name, description=description, data=data, table=table)
    return [column, VectorIndex(name=f"{name}_index", target=column, data=np.cumsum(lengths))]
