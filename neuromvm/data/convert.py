"""Recordings of any source as NWB files: what a data spec reads of each session, and a spec that reads the files."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTableRegion, VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile
from pynwb.behavior import Position, SpatialSeries
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units
from pynwb.ophys import Fluorescence, OpticalChannel, PlaneSegmentation, RoiResponseSeries

from neuromvm.data.loaders.array_tree import ArrayTree
from neuromvm.data.loaders.events import as_intervals
from neuromvm.data.loaders.lfp import channels_of, only_lfp
from neuromvm.data.loaders.nwb import find_sessions
from neuromvm.data.loaders.open_source import open_session, with_filters_of_source
from neuromvm.data.loaders.sessions import Session
from neuromvm.data.loaders.tables import linked_text, read_ragged, read_table, trial_table_path
from neuromvm.errors import DataFormatError, RunFolderError, SpecError, expect
from neuromvm.files import is_empty
from neuromvm.specs import to_yaml
from neuromvm.specs.data import BinnedSpikeActivity, DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, SpikeActivity
from neuromvm.specs.sources import NwbSource

UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)
LINKS = {"electrodes", "electrode_group"}  # columns of units that refer to other tables
# Containers of series, and their methods that add one
ADD_TO = {Position: "add_spatial_series", LFP: "add_electrical_series", Fluorescence: "add_roi_response_series"}


def convert_recordings(spec: DataSpec, out: str | Path, root: str | Path | None = None) -> list[Path]:
    """Write the sessions of a data spec as NWB files, and return their paths and that of a spec that reads them.

    Units, trials and the series that the spec names are written with all their columns, before any filter: the new spec
    has the filters, and loads the same recordings. Animals have the names that the spec gives them. The start of a session
    is written as 1970-01-01, which its description says, because most sources do not know it.

    Parameters
    ----------
    spec
        Files, their source, and what is read of them.
    out
        A folder that does not exist or is empty.
    root
        Folder of the files, in place of ``spec.root``.

    Raises
    ------
    RunFolderError
        If ``out`` has files.
    SpecError
        For spikes that are already in bins, which have no times, and paths of series that NWB does not have.
    DataFormatError
        As of :func:`neuromvm.data.loaders.load_recordings`.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from neuromvm.data.simulate.experiment import SimulationConfig
    >>> from neuromvm.data.simulate.write_nwb import write_experiment
    >>> from neuromvm.specs import load_data_spec
    >>> folder = mkdtemp()
    >>> _ = write_experiment(folder, SimulationConfig(animals={"ada": {"units": 3, "trials": 12}}))
    >>> [path.name for path in convert_recordings(load_data_spec("simulated_rats"), f"{folder}/converted", folder)]
    ['sub-ada_ses-ada01.nwb', 'simulated_rats.yaml']
    """
    expect(spec, DataSpec, "spec", 'Make one: load_data_spec("my_lab.yaml")')
    if isinstance(spec.activity, BinnedSpikeActivity):
        problem, next_step = (
            "spikes in bins, without times",
            "Convert the recordings they were made from",
        )
        raise SpecError(f"data spec {spec.name!r}", found=problem, expected="spike times or a series", next_step=next_step)
    out = Path(out)
    if not is_empty(out):
        raise RunFolderError(str(out), found="files", expected="an empty folder", next_step="Choose another folder")
    sessions, _ = find_sessions(spec, Path(spec.root if root is None else root).expanduser())
    out.mkdir(parents=True, exist_ok=True)
    names = []
    with TemporaryDirectory(prefix=".writing-", dir=out) as writing:
        for number, session in enumerate(sessions):
            several = sum(session_of_animal.animal == session.animal for session_of_animal in sessions) > 1
            # numbered where sessions are joined, because files are read in the order of their names
            names.append(f"sub-{session.animal}_ses-{f'{number:04d}-' if several else ''}{session.name}.nwb".replace("/", "_"))
            with open_session(session.path, spec) as tree, NWBHDF5IO(Path(writing) / names[-1], "w") as io:
                io.write(nwb_of_session(tree, session, spec))
        for name in names:
            (Path(writing) / name).replace(out / name)
    (out / f"{spec.name}.yaml").write_text(to_yaml(spec_of_converted(spec)), "utf-8")
    return [out / name for name in (*names, f"{spec.name}.yaml")]


def spec_of_converted(spec: DataSpec) -> DataSpec:
    """Return the spec that reads the converted files of a spec, in the folder that they are in."""
    spec = with_filters_of_source(spec)
    trials = spec.trials.model_copy(update={"table": spec.trials.table.rpartition("/")[2]})
    changes: dict[str, Any] = {
        "trials": trials,
        "source": NwbSource(),
        "files": ["sub-*.nwb"],
        "root": ".",
        "animal": "subject_id",
    }
    if isinstance(spec.activity, SpikeActivity):
        changes["activity"] = spec.activity.model_copy(update={"table": "units"})
    return spec.model_copy(update=changes | {"rename": {}, "exclude": []})


def nwb_of_session(tree: ArrayTree, session: Session, spec: DataSpec) -> NWBFile:
    """Return an NWB file, in memory, with the units, trials and series of a session that a spec names."""
    nwb = NWBFile(
        session_description=f"{spec.description or spec.name} From {session.attrs['source_file']}. The start is unknown.",
        identifier=str(uuid5(NAMESPACE_URL, f"neuromvm/{session.animal}/{session.name}/{session.attrs['sha256']}")),
        session_start_time=UNKNOWN_START,
        session_id=session.name,
    )
    texts = {name: session.attrs[name] for name in ("species", "sex", "age", "genotype") if name in session.attrs}
    nwb.subject = Subject(subject_id=session.animal, description=f"{session.animal}, as named by the data spec", **texts)
    trials = trial_table_path(tree, spec.trials.table)
    for path in dict.fromkeys((trials, "intervals/invalid_times")):
        if path == trials or tree.is_group(path):
            _add_intervals(nwb, tree, path)
    if isinstance(spec.activity, SpikeActivity):
        _add_units(nwb, tree, spec.activity.table)
    elif isinstance(spec.activity, RoiActivity):
        _add_cells(nwb, tree, spec.activity.series)
    if isinstance(spec.grid, PositionGrid):
        position = SpatialSeries(reference_frame="unknown", **_series(tree, spec.grid.series))
        _place(nwb, spec.grid.series, position, Position)
    setting = spec.lfp if spec.lfp is not None else spec.activity
    if spec.lfp is not None or isinstance(spec.activity, LfpPowerActivity):
        _add_lfp(nwb, tree, getattr(setting, "series", None) or only_lfp(tree, "lfp" if spec.lfp is not None else "activity"))
    return nwb


def _add_intervals(nwb: NWBFile, tree: ArrayTree, path: str) -> None:
    """Add a table with all columns of text, numbers and bools, those with several values a row included."""
    table, name = as_intervals(read_table(tree, path)), path.rpartition("/")[2]
    missing = {time: np.full(len(table), np.nan) for time in ("start_time", "stop_time") if time not in table.columns}
    columns = [_vector(tree, f"{path}/{column}", values) for column, values in (table.columns | missing).items()]
    for column in table.names:
        source = f"{path}/{column}"
        ragged = f"{source}_index" in tree and f"{source}_index_index" not in tree
        if ragged and tree.kind(source) != "other" and tree.attribute(source, "table") is None:
            vector = _vector(tree, source, tree.array(source))
            columns += [vector, VectorIndex(name=f"{column}_index", target=vector, data=tree.numbers(f"{source}_index"))]
    intervals = TimeIntervals(name=name, description=name, id=table.ids.tolist(), columns=columns)
    if name == "trials":
        nwb.trials = intervals
    elif name == "invalid_times":
        nwb.invalid_times = intervals
    else:
        nwb.add_time_intervals(intervals)


def _add_units(nwb: NWBFile, tree: ArrayTree, path: str) -> None:
    table = read_table(tree, path)
    columns = [_vector(tree, f"{path}/{name}", values) for name, values in table.columns.items() if name not in LINKS]
    for name, width in (("spike_times", 1), ("obs_intervals", 2)):
        if f"{path}/{name}" in tree:
            pieces = read_ragged(tree, path, name, len(table), width)
            columns += _ragged_column(_vector(tree, f"{path}/{name}", tree.numbers(f"{path}/{name}")), pieces)
    region = linked_text(tree, path, "electrodes", "location", len(table))
    if region is not None:
        rows = _electrodes(nwb, region.tolist())
        link = DynamicTableRegion(name="electrodes", description="region of the unit", data=rows, table=nwb.electrodes)
        columns += _ragged_column(link, [[row] for row in rows])
    nwb.units = Units(name="units", description="sorted units", id=table.ids.tolist(), columns=columns)


def _add_cells(nwb: NWBFile, tree: ArrayTree, path: str) -> None:
    """Add a series of regions of interest and their table."""
    shape = tree.shape(f"{path}/data")
    table_path = tree.attribute(f"{path}/rois", "table") if f"{path}/rois" in tree else None
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="channel", description="unknown", emission_lambda=np.nan),
        device=nwb.create_device(name="microscope"),
        description="unknown",
        excitation_lambda=np.nan,
        indicator="unknown",
        location=tree.text(f"{table_path}/imaging_plane/location") if table_path else "",
    )
    cells = shape[1] if len(shape) > 1 else 1
    ids, rows, columns = np.arange(cells), np.arange(cells), list[VectorData]()
    if table_path is not None:
        table = read_table(tree, table_path)
        ids, rows = table.ids, tree.numbers(f"{path}/rois").reshape(-1)
        columns = [_vector(tree, f"{table_path}/{name}", values) for name, values in table.columns.items()]
    columns.append(VectorData(name="image_mask", description="not converted", data=np.zeros((len(ids), 1, 1))))
    segmentation = PlaneSegmentation(
        name="cells", description="regions of interest", imaging_plane=plane, id=ids.tolist(), columns=columns
    )
    module = nwb.create_processing_module(name=_module(path), description="calcium imaging")
    module.add(segmentation)
    rois = DynamicTableRegion(name="rois", description="cells of the series", data=rows.tolist(), table=segmentation)
    _place(nwb, path, RoiResponseSeries(rois=rois, **_series(tree, path)), Fluorescence)


def _add_lfp(nwb: NWBFile, tree: ArrayTree, path: str) -> None:
    rows = _electrodes(nwb, ["unknown"] * channels_of(tree, path))
    region = DynamicTableRegion(name="electrodes", description="channels", data=rows, table=nwb.electrodes)
    settings = _series(tree, path)
    settings.pop("unit")  # volts, by definition
    if f"{path}/channel_conversion" in tree:
        settings["channel_conversion"] = tree.numbers(f"{path}/channel_conversion")
    _place(nwb, path, ElectricalSeries(electrodes=region, **settings), LFP)


def _electrodes(nwb: NWBFile, locations: list[str]) -> list[int]:
    """Add an electrode for each location, and return their rows."""
    if "electrodes" not in nwb.electrode_groups:
        device = nwb.create_device(name="probe")
        nwb.create_electrode_group(name="electrodes", description="unknown", location="unknown", device=device)
    first_electrode = 0 if nwb.electrodes is None else len(nwb.electrodes)
    for location in locations:
        nwb.add_electrode(location=location, group=nwb.electrode_groups["electrodes"])
    return list(range(first_electrode, first_electrode + len(locations)))


def _series(tree: ArrayTree, path: str) -> dict[str, Any]:
    """Return the settings of a TimeSeries with the stored values, times, unit and conversion of a series."""
    data = f"{path}/data"
    settings = {
        "name": path.rpartition("/")[2],
        "data": H5DataIO(tree.numbers(data), compression="gzip"),
        "unit": str(tree.attribute(data, "unit") or ""),
        "description": str(tree.attribute(path, "description") or "no description"),
    }
    for name in ("conversion", "offset"):
        if (value := tree.attribute(data, name)) is not None:
            settings[name] = float(value)
    if f"{path}/timestamps" in tree:
        return settings | {"timestamps": tree.numbers(f"{path}/timestamps").reshape(-1).astype(np.float64)}
    rate = tree.attribute(f"{path}/starting_time", "rate")
    if rate is None:
        raise DataFormatError(tree.where(path), found="no timestamps and no rate", expected="timestamps, or a rate")
    start = tree.numbers(f"{path}/starting_time").ravel()
    return settings | {"rate": float(rate), "starting_time": float(start[0])}


def _place(nwb: NWBFile, path: str, series: Any, container: Any) -> None:
    """Add a series at its path, in a container if the path has one."""
    top, *parts = path.split("/")
    if top == "processing":
        parts = parts[1:]
    if top not in {"processing", "acquisition"} or len(parts) not in {1, 2}:
        raise SpecError(
            f"series {path!r}",
            found="a path that NWB has no place for",
            expected="processing/MODULE/SERIES, acquisition/SERIES, or with a container before SERIES",
            next_step="Name another path in source.arrays and where the data spec refers to it",
        )
    member = series if len(parts) == 1 else container(name=parts[0])
    if len(parts) == 2:
        getattr(member, ADD_TO[container])(series)
    if top == "acquisition":
        nwb.add_acquisition(member)
        return
    name = _module(path)
    module = nwb.processing.get(name) or nwb.create_processing_module(name=name, description=name)
    module.add(member)


def _module(path: str) -> str:
    """Return the processing module of a path; that of its name for a series in acquisition."""
    top, name, *_ = path.split("/")
    return name if top == "processing" else "ophys"


def _vector(tree: ArrayTree, path: str, values: NDArray[Any]) -> VectorData:
    name = path.rpartition("/")[2]
    data = values.tolist() if values.dtype.kind == "U" else values
    return VectorData(name=name, description=str(tree.attribute(path, "description") or name), data=data)


def _ragged_column(column: VectorData, pieces: list[Any]) -> list[VectorData]:
    return [column, VectorIndex(name=f"{column.name}_index", target=column, data=np.cumsum([len(piece) for piece in pieces]))]
