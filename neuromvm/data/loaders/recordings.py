"""Recordings of all animals of a data spec, from files of any format."""

import logging
from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm.data.bins import bin_centres
from neuromvm.data.loaders import npy, nwb
from neuromvm.data.loaders.labels import shown, spellings
from neuromvm.data.loaders.open_source import with_filters_of_source
from neuromvm.data.loaders.sessions import Session, join_sessions
from neuromvm.data.loaders.trials import FilterValues, warn_of_overlaps
from neuromvm.data.loaders.warped import with_duration
from neuromvm.data.memory import MemoryBudget
from neuromvm.errors import DataFormatError, SpecError, did_you_mean, expect
from neuromvm.progress import steps
from neuromvm.schema import VERSION, Dropped, activity, grid_dim, validate_recordings, with_dropped
from neuromvm.schema import dropped as account_of
from neuromvm.specs.data import BinnedSpikeActivity, DataSpec, LfpPowerActivity, PositionGrid, RoiActivity, TimeGrid

LOG = logging.getLogger(__name__)


def load_recordings(spec: DataSpec, root: str | Path | None = None) -> xr.DataTree:
    """Return the recordings that a data spec describes, read completely; all files are closed.

    Each animal is a node with ``spike_count`` (unsigned) or ``event_amplitude`` (float32), dims
    ``(trial, time | position, unit)``; coordinates ``onset, start_time, stop_time`` [s] and labels of trials, columns of
    the table and ``region`` of units. Arrays of binned spikes have no times of trials and no columns of units: their
    trials have labels and a row number. The root has the grid, bin centres with ``attrs["bin_width"]``. Everything that is
    left out is counted with its reason: :func:`neuromvm.schema.dropped` of a node, and of the root for animals and files.
    Animals that exceed the memory budget are kept in mapped files, see :mod:`neuromvm.data.memory`.

    Parameters
    ----------
    spec
        Files, animals, activity, grid and trials.
    root
        Folder of the files, in place of ``spec.root``.

    Raises
    ------
    DataFormatError
        If a file is missing, damaged or incomplete (then MissingTableError), or no animal is left.
    AlignmentError
        If activity and trials of a file do not share a clock in seconds.
    SpecError
        If no file has a value of a filter, or an animal of a setting.
    SchemaError
        If two recordings have the same animal name.

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
    spec = with_filters_of_source(spec)
    file_format = npy if isinstance(spec.activity, BinnedSpikeActivity) else nwb
    sessions, dropped = file_format.find_sessions(spec, folder)
    if isinstance(spec.grid, PositionGrid) and spec.grid.range is None and sessions:
        spec = spec.model_copy(update={"grid": nwb.with_range(spec, spec.grid, sessions)})
    elif isinstance(spec.grid, TimeGrid) and spec.grid.warp is not None and spec.grid.warp.duration is None and sessions:
        spec = spec.model_copy(update={"grid": with_duration(spec.grid, spec, sessions)})
    nodes: dict[str, xr.Dataset] = {}
    memory = MemoryBudget()
    filter_values: FilterValues = {}
    names = list(dict.fromkeys(session.animal for session in sessions))
    for animal in steps(names, f"loading {spec.name}", "animal"):
        dataset = _read_animal([session for session in sessions if session.animal == animal], spec, filter_values)
        if lacking := _lacking(spec, animal, dataset):
            dropped.append(Dropped(f"animal {animal}", lacking, 1))
        else:
            nodes[animal] = memory.load(dataset)
    _check_filters(spec, filter_values)
    if not nodes:
        reasons = "; ".join(f"{line.what}: {line.reason}" for line in dropped) or "all are excluded"
        raise DataFormatError(
            f"data spec {spec.name!r}",
            found=f"no animal is left ({reasons})",
            expected="at least one",
            next_step="Loosen keep, regions, min_rate, min_active, min_units, min_trials or exclude",
        )
    if isinstance(spec.grid, TimeGrid):
        warn_of_overlaps(nodes, spec.grid)
    texts = spec.model_dump(include={"description", "licence", "citation", "doi"})
    texts = {"schema_version": VERSION, "spec": spec.name, **texts}
    attrs = {name: text for name, text in texts.items() if text}
    root_dataset = with_dropped(xr.Dataset(coords=_grid(spec), attrs=attrs), dropped)
    return validate_recordings(xr.DataTree.from_dict({"/": root_dataset, **nodes}))


def _lacking(spec: DataSpec, animal: str, dataset: xr.Dataset) -> str:
    """Say what an animal has too little of, and log that it is left out; '' if it has enough."""
    minimum = {"unit": spec.min_units, "trial": spec.min_trials}
    small = [f"{dataset.sizes[dim]} {dim}s, fewer than {n}" for dim, n in minimum.items() if dataset.sizes[dim] < n]
    words = " and ".join(small)
    if small:
        account = "; ".join(f"{line.count} {line.what}: {line.reason}" for line in account_of(dataset)) or "nothing"
        LOG.warning("Animal %s is left out: %s (min_units, min_trials). Left out in it before: %s", animal, words, account)
    return words


def _read_animal(sessions: list[Session], spec: DataSpec, filter_values: FilterValues) -> xr.Dataset:
    """Return the joined sessions of an animal; the values that filters compared are added to ``filter_values``."""
    datasets = []
    file_format = npy if isinstance(spec.activity, BinnedSpikeActivity) else nwb
    for session in sessions:
        dataset, values_of_session = file_format.read_session(session, spec)
        datasets.append(dataset)
        for key, values in values_of_session.items():
            filter_values.setdefault(key, set()).update(values)
    # the units of a field potential are its channels, which have the same numbers in all files
    match_units = "id" if isinstance(spec.activity, LfpPowerActivity) else spec.match_units
    dataset = _select_active(join_sessions(sessions, datasets, match_units), spec)
    animal = sessions[0].animal
    return dataset.assign_attrs(shift=spec.shift[animal]) if animal in spec.shift else dataset


def _select_active(dataset: xr.Dataset, spec: DataSpec) -> xr.Dataset:
    """Leave out units below min_rate, or cells below min_active."""
    values = activity(dataset)
    if not values.size or isinstance(spec.activity, LfpPowerActivity):
        return dataset
    if isinstance(spec.activity, RoiActivity):
        active = (values != 0).any(grid_dim(dataset)).mean("trial") >= spec.activity.min_active
        reason = f"non-zero in less than {spec.activity.min_active:g} of the trials"
    else:
        assert isinstance(spec.grid, TimeGrid)
        active = values.mean(("trial", grid_dim(dataset))) / spec.grid.bin_width >= spec.activity.min_rate
        reason = f"mean rate in the windows below {spec.activity.min_rate:g} Hz"
    # A selection copies the activity, which may be as large as memory allows.
    selected = dataset if active.all() else dataset.isel(unit=np.flatnonzero(active.values))
    return with_dropped(selected, [Dropped("units", reason, int((~active).sum()))])


def _check_filters(spec: DataSpec, filter_values: FilterValues) -> None:
    """Raise SpecError if no file has a value that a filter or a map names, which may be a typo."""
    named = {("activity.keep", name): values for name, values in getattr(spec.activity, "keep", {}).items()}
    named |= {("trials.keep", name): values for name, values in spec.trials.keep.items()}
    named |= {("trials.map", name): list(names) for name, names in spec.trials.map.items()}
    named["activity.regions", "region"] = list(getattr(spec.activity, "regions", None) or [])
    for (setting, name), values in named.items():
        present = filter_values.get((setting, name), set())
        for value in values:
            if not spellings(value) & present:
                raise SpecError(
                    f"data spec {spec.name!r}",
                    found=f"{setting}.{name}: no file has the value {value!r}",
                    expected=f"one of: {shown(present) or 'none'}",
                    next_step=did_you_mean(str(value), sorted(present)[:20]),
                )


def _grid(spec: DataSpec) -> dict[str, xr.Variable]:
    grid = spec.grid
    if isinstance(grid, TimeGrid):
        shifts = ", ".join(f"{animal} {shift:+g} s" for animal, shift in spec.shift.items())
        start, width, dim = grid.window[0], grid.bin_width, "time"
        long_name = f"time from {grid.align}{f' ({shifts})' if shifts else ''}, bin centres"
        attrs: dict[str, str | float] = {"units": "s", "long_name": long_name, "bin_width": width}
        if grid.warp is not None and grid.warp.duration is not None:
            attrs["warp"] = f"time is stretched linearly so that {grid.warp.to} is at {grid.warp.duration:.6g} s in all trials"
    else:
        assert grid.range is not None
        start, width, dim = grid.range[0], (grid.range[1] - grid.range[0]) / grid.bins, "position"
        attrs = {"long_name": "position along the track, bin centres", "bin_width": width}
    return {dim: xr.Variable(dim, np.round(bin_centres(start, width, grid.bins), 12), attrs)}
