"""Tiny NWB files, written by pynwb, for the tests of the loaders."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion, VectorData, VectorIndex
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units
from pynwb.ophys import ImageSegmentation, OpticalChannel, RoiResponseSeries

from neuromvm.specs import DataSpec

ODORS = ["A", "B", "A", "B", "A", "B"]


def trial_columns(**changes: Sequence[Any]) -> dict[str, Any]:
    """Return six trials of 2 s, 3 s apart, with an event after 1 s."""
    start = 3.0 * np.arange(6)
    columns = {"start_time": start, "stop_time": start + 2, "cue_time": start + 1, "odor": ODORS}
    return {name: values for name, values in {**columns, **changes}.items() if values is not None}


def spike_trains() -> list[np.ndarray]:
    """Return three units that fire at whole milliseconds from 0 to 17 s: every 100, 130 and 70 ms."""
    return [np.arange(0, 17_001, step) / 1000 for step in (100, 130, 70)]


def write_spikes(
    path: Path,
    *,
    trains: Sequence[np.ndarray] | None = None,
    trials: Mapping[str, Any] | None = None,
    table: str = "trials",
    columns: Mapping[str, Any] | None = None,
    observed: Sequence[Any] | None = None,
    ids: Sequence[int] | None = None,
    regions: Sequence[str] | None = None,
    subject: str | None = "rat",
    session: str | None = None,
) -> Path:
    """Write a file with a Units table and an interval table; regions are those of one electrode a unit."""
    nwb = _empty(subject, session)
    trains = spike_trains() if trains is None else trains
    own = [_vector(name, values) for name, values in (columns or {}).items()]
    times = VectorData(name="spike_times", description="spike times", data=np.concatenate([np.empty(0), *trains]))
    own += [times, _index(times, trains)]
    if observed is not None:
        flat = np.concatenate([np.asarray(intervals, dtype=float).reshape(-1, 2) for intervals in observed])
        intervals = VectorData(name="obs_intervals", description="observed", data=flat)
        own += [intervals, _index(intervals, observed)]
    if regions is not None:
        group = nwb.create_electrode_group(
            name="shank", description="shank", location="brain", device=nwb.create_device(name="probe")
        )
        for region in regions:
            nwb.add_electrode(location=region, group=group)
        link = DynamicTableRegion(
            name="electrodes", description="electrodes", data=list(range(len(regions))), table=nwb.electrodes
        )
        own += [link, _index(link, [[0]] * len(regions))]
    row_ids = list(range(len(trains))) if ids is None else list(ids)
    nwb.units = Units(name="units", description="units", id=row_ids, columns=own)
    _add_intervals(nwb, table, trial_columns() if trials is None else trials)
    return _write(nwb, path)


def write_calcium(
    path: Path,
    *,
    activity: np.ndarray,
    position: np.ndarray,
    rate: float = 10.0,
    timestamps: np.ndarray | None = None,
    conversion: float = 1.0,
    position_rate: float | None = None,
    trials: Mapping[str, Any] | None = None,
    subject: str = "mouse",
) -> Path:
    """Write a file with a RoiResponseSeries ``(frame, cell)`` in region CA1 and a position on a track."""
    nwb = _empty(subject, None)
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="channel", description="GCaMP", emission_lambda=520.0),
        device=nwb.create_device(name="miniscope"),
        description="plane",
        excitation_lambda=470.0,
        indicator="GCaMP6f",
        location="CA1",
    )
    cells = activity.shape[1]
    segmentation = ImageSegmentation()
    table = segmentation.create_plane_segmentation(name="cells", description="cells", imaging_plane=plane)
    for cell in range(cells):
        table.add_roi(id=100 + cell, pixel_mask=[(cell, 0, 1.0)])
    ophys = nwb.create_processing_module(name="ophys", description="calcium")
    ophys.add(segmentation)
    clock = {"rate": rate, "starting_time": 0.0} if timestamps is None else {"timestamps": timestamps}
    rois = table.create_roi_table_region(description="all", region=list(range(cells)))
    ophys.add(RoiResponseSeries(name="events", data=activity, unit="a.u.", rois=rois, conversion=conversion, **clock))
    place = SpatialSeries(
        name="place", data=position, reference_frame="start", rate=position_rate or rate, starting_time=0.0, unit="cm"
    )
    nwb.create_processing_module(name="behavior", description="track").add(Position(name="Position", spatial_series=place))
    _add_intervals(nwb, "trials", trial_columns() if trials is None else trials)
    return _write(nwb, path)


def spike_spec(**changes: Any) -> DataSpec:
    """Return the spec of the files of write_spikes: 20 bins of 100 ms around the cue."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "files": ["*.nwb"],
        "grid": {"kind": "time", "align": "cue_time", "window": [-1, 1], "bin_width": 0.1},
        "trials": {"labels": {"odor": "odor"}},
    }
    if "activity" in changes:
        changes["activity"] = {"kind": "spikes", **changes["activity"]}
    return DataSpec.model_validate(settings | changes)


def calcium_spec(grid: dict[str, Any], **changes: Any) -> DataSpec:
    """Return the spec of the files of write_calcium."""
    activity = {"kind": "roi_response", "series": "processing/ophys/events"}
    settings: dict[str, Any] = {"name": "tiny", "files": ["*.nwb"], "activity": activity, "grid": grid}
    return DataSpec.model_validate(settings | changes)


def _empty(subject: str | None, session: str | None) -> NWBFile:
    nwb = NWBFile("tiny file", "tiny", datetime(2026, 1, 1, tzinfo=UTC), session_id=session)
    if subject is not None:
        nwb.subject = Subject(subject_id=subject, species="Rattus norvegicus", sex="U", age="P90D")
    nwb.add_acquisition(TimeSeries(name="lick", data=[0.0, 1.0], unit="V", rate=1.0))
    return nwb


def _add_intervals(nwb: NWBFile, name: str, columns: Mapping[str, Any]) -> None:
    if not columns:
        return
    own = [_vector(column, values) for column, values in columns.items()]
    rows = list(range(len(columns["start_time"])))
    intervals = TimeIntervals(name=name, description="intervals", id=rows, columns=own)
    if name == "trials":
        nwb.trials = intervals
    else:
        nwb.add_time_intervals(intervals)


def _vector(name: str, values: Any) -> VectorData:
    return VectorData(name=name, description=name, data=values)


def _index(target: VectorData, pieces: Sequence[Any]) -> VectorIndex:
    ends = np.cumsum([len(piece) for piece in pieces])
    return VectorIndex(name=f"{target.name}_index", data=ends, target=target)


def _write(nwb: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path
