"""Files of any format -> a tree of recordings, one node an animal."""

from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm.data.loaders import npy, nwb
from neuromvm.data.loaders.labels import shown, spellings
from neuromvm.data.loaders.sessions import join_sessions
from neuromvm.data.loaders.trials import Found
from neuromvm.data.memory import Room
from neuromvm.errors import DataFormatError, SpecError, did_you_mean, expect
from neuromvm.schema import VERSION, Dropped, activity, grid_dim, validate_recordings, with_dropped
from neuromvm.specs.data import BinnedSpikeActivity, DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, TimeGrid


def load_recordings(spec: DataSpec, root: str | Path | None = None) -> xr.DataTree:
    """Return the recordings that a data spec describes, read completely; none of their files stays open.

    Animals are read one after the other. Those for which memory has no room any more are kept in mapped files, see
    :mod:`neuromvm.data.memory`.

    Each animal is a node with ``spike_count`` (unsigned) or ``event_amplitude`` (float32), dims
    ``(trial, time | position, unit)``; coordinates ``onset, start_time, stop_time`` [s] and the labels on trials, the
    columns of the table and ``region`` on units. Arrays of binned spikes know neither times of trials nor anything of
    units: their trials have labels and their row number. The root has the grid, bin centres with ``attrs["bin_width"]``.
    What was left out is counted with its reason: :func:`neuromvm.schema.dropped` of a node, and
    ``attrs["dropped"]`` of the root for whole animals and files.

    Parameters
    ----------
    spec
        Files, animals, activity, grid and trials.
    root
        Folder of the files, in place of ``spec.root``.

    Raises
    ------
    DataFormatError
        If a file is missing, damaged or lacks something (then MissingTableError), or no animal is left.
    AlignmentError
        If activity and trials of a file do not share a clock in seconds.
    SpecError
        If a filter names values, or a setting names animals, that are nowhere in the files.
    SchemaError
        If two recordings would become the same node.

    Examples
    --------
    >>> from neuromvm.specs import DataSpec
    >>> spec = DataSpec(name="mine", files=["*.nwb"], grid={"kind": "time", "window": [0, 1]})
    >>> load_recordings(spec, "no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    neuromvm.errors.DataFormatError: data spec 'mine': no folder 'no/such/folder'. ...
    """
    expect(spec, DataSpec, "spec", 'Make one: load_data_spec("my_lab.yaml")')
    folder = Path(spec.root if root is None else root).expanduser()
    file_format = npy if isinstance(spec.activity, BinnedSpikeActivity) else nwb
    sessions, left_out = file_format.find_sessions(spec, folder)
    if isinstance(spec.grid, PositionGrid) and spec.grid.range is None and sessions:
        spec = spec.model_copy(update={"grid": nwb.with_range(spec.grid, sessions)})
    nodes: dict[str, xr.Dataset] = {}
    room = Room()
    found: Found = {}
    for animal in dict.fromkeys(session.animal for session in sessions):
        own = [session for session in sessions if session.animal == animal]
        datasets = []
        for session in own:
            dataset, met = file_format.read_session(session, spec)
            datasets.append(dataset)
            for key, values in met.items():
                found.setdefault(key, set()).update(values)
        dataset = _select_active(join_sessions(own, datasets), spec)
        if animal in spec.shift:
            dataset = dataset.assign_attrs(shift=spec.shift[animal])
        lacking = [
            f"{dataset.sizes[dim]} {dim}s, fewer than {least}"
            for dim, least in (("unit", spec.min_units), ("trial", spec.min_trials))
            if dataset.sizes[dim] < least
        ]
        if lacking:
            left_out.append(Dropped(f"animal {animal}", " and ".join(lacking), 1))
        else:
            nodes[animal] = room.kept(dataset)
    _check_filters(spec, found)
    if not nodes:
        reasons = "; ".join(f"{line.what}: {line.reason}" for line in left_out) or "all are excluded"
        raise DataFormatError(
            f"data spec {spec.name!r}",
            found=f"no animal is left ({reasons})",
            expected="at least one",
            next_step="Loosen keep, regions, min_rate, min_active, min_units, min_trials or exclude",
        )
    root_dataset = with_dropped(xr.Dataset(coords=_grid(spec), attrs=_root_attrs(spec)), left_out)
    return validate_recordings(xr.DataTree.from_dict({"/": root_dataset, **nodes}))


def _select_active(dataset: xr.Dataset, spec: DataSpec) -> xr.Dataset:
    """Leave out units below min_rate, or cells below min_active."""
    values = activity(dataset)
    if not values.size or isinstance(spec.activity, LfpPowerActivity):
        return dataset
    if isinstance(spec.activity, RoiActivity):
        enough = (values != 0).any(grid_dim(dataset)).mean("trial") >= spec.activity.min_active
        reason = f"non-zero in less than {spec.activity.min_active:g} of the trials"
    else:
        assert isinstance(spec.grid, TimeGrid)
        enough = values.mean(("trial", grid_dim(dataset))) / spec.grid.bin_width >= spec.activity.min_rate
        reason = f"mean rate in the windows below {spec.activity.min_rate:g} Hz"
    kept = dataset.isel(unit=np.flatnonzero(enough.values))
    return with_dropped(kept, [Dropped("units", reason, int((~enough).sum()))])


def _check_filters(spec: DataSpec, found: Found) -> None:
    """Raise SpecError for a value that a filter or a map names and no file has: a typo would pass for an absence."""
    wanted = {("activity.keep", name): values for name, values in getattr(spec.activity, "keep", {}).items()}
    wanted |= {("trials.keep", name): values for name, values in spec.trials.keep.items()}
    wanted |= {("trials.map", name): list(names) for name, names in spec.trials.map.items()}
    wanted["activity.regions", "region"] = list(getattr(spec.activity, "regions", None) or [])
    for (setting, name), values in wanted.items():
        met = found.get((setting, name), set())
        for value in values:
            if not spellings(value) & met:
                raise SpecError(
                    f"data spec {spec.name!r}",
                    found=f"{setting}.{name}: no file has the value {value!r}",
                    expected=f"one of: {shown(met) or 'none'}",
                    next_step=did_you_mean(str(value), sorted(met)[:20]),
                )


def _grid(spec: DataSpec) -> dict[str, xr.Variable]:
    grid = spec.grid
    if isinstance(grid, TimeGrid):
        shifts = ", ".join(f"{animal} {shift:+g} s" for animal, shift in spec.shift.items())
        start, width, dim = grid.window[0], grid.bin_width, "time"
        attrs: dict[str, str | float] = {
            "units": "s",
            "long_name": f"time from {grid.align}{f' ({shifts})' if shifts else ''}, bin centres",
            "bin_width": width,
        }
    else:
        assert grid.range is not None
        start, width, dim = grid.range[0], (grid.range[1] - grid.range[0]) / grid.bins, "position"
        attrs = {"long_name": "position along the track, bin centres", "bin_width": width}
    return {dim: xr.Variable(dim, np.round(start + width * (np.arange(grid.bins) + 0.5), 12), attrs)}


def _root_attrs(spec: DataSpec) -> dict[str, str]:
    attrs = {
        "schema_version": VERSION,
        "spec": spec.name,
        "description": spec.description,
        "licence": spec.licence,
        "citation": spec.citation,
        "doi": spec.doi,
    }
    return {name: text for name, text in attrs.items() if text}
