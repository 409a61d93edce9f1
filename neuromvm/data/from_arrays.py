"""Recordings from arrays in memory: of activity that is cut into trials and bins, or of spike times and trials."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from neuromvm import schema
from neuromvm.data.bins import bin_centres, count_spikes
from neuromvm.data.memory import available_memory
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError, expect_choice
from neuromvm.specs.data import RESERVED_LABELS

ALLOWED = {"trial", "session", "trial_id", *schema.TRIAL_TIMES}  # reserved labels that trials may have
ACTIVITY = "activity"  # key of the activity in the dict of an animal
LARGEST_BINS = 2.0**53  # numbers of bins that are exact
Labels = Mapping[str, Any] | pd.DataFrame


def recordings_from_arrays(
    activity: Mapping[str, Any],
    labels: Mapping[str, Labels] | None = None,
    *,
    bin_width: float | None = None,
    start: float | None = None,
    kind: str = "counts",
    grid: str = "time",
    units: Mapping[str, Labels] | None = None,
    missing: schema.Missing = "refuse",
) -> xr.DataTree:
    """Return recordings of activity that is already cut into trials and bins.

    They pass the checks of recordings from files and are used like these: :func:`neuromvm.make_samples`.

    Parameters
    ----------
    activity
        Animal -> activity ``(trial, time, unit)``: a numpy array, or what numpy makes one of; an xarray DataArray with these
        dims in any order, whose coordinates of trials and units are kept; a Dataset with such a ``spike_count`` or
        ``event_amplitude``; a pandas DataFrame with a row for each trial and bin (a MultiIndex; bins are taken in order) and a
        column for each unit; or a dict with the key ``activity`` that holds one of these, and labels of trials under their names.
    labels
        Animal -> labels of its trials: a dict of ``(trial,)`` or a DataFrame with a row for each trial. Names are letters, digits
        and ``_``. ``onset, start_time, stop_time`` are times of trials [s]; with ``onset``, trials can be split and checked by
        time. Missing text is '', missing numbers NaN.
    bin_width
        Width of the bins [s, or unit of position]; default: ``attrs["bin_width"]`` of the grid coordinate of DataArrays.
    start
        Where the first bin begins, relative to the event to which trials are aligned [s, or position]; default: where the grid
        coordinate of DataArrays says, else 0.
    kind
        Kind of activity, which decides how bins are merged and which transforms and likelihoods fit: ``counts`` (of spikes),
        ``rates``, ``fluorescence`` (whatever can be negative), ``amplitudes`` or ``power``; :mod:`neuromvm.data.activity_kinds`.
    grid
        ``time`` or ``position``.
    units
        Animal -> columns of its units, as labels of trials are given, such as ``region``.
    missing
        What becomes of NaN and infinity in activity, see :func:`neuromvm.schema.validate_recordings`.

    Returns
    -------
    One node an animal, see :mod:`neuromvm.schema`: ``spike_count (trial, time, unit)`` of the narrowest unsigned type, or
    ``event_amplitude`` in single precision.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong type, or ``kind`` or ``grid`` is unknown.
    SchemaError
        If arrays, labels or units differ in length, a name cannot be used, the width of bins is not known, or numbers are
        impossible for the kind of activity, such as counts with a fraction.

    See Also
    --------
    recordings_from_spike_times : the same from spike times.
    neuromvm.load_recordings : the same from files.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> activity = {rat: random.poisson(2.0, (40, 10, 6)) for rat in ("ada", "bob")}
    >>> labels = {rat: {"odor": np.resize(["A", "B"], 40), "onset": 5.0 * np.arange(40)} for rat in activity}
    >>> recordings = recordings_from_arrays(activity, labels, bin_width=0.1, start=-0.5)
    >>> dict(recordings["ada"]["spike_count"].sizes)
    {'trial': 40, 'time': 10, 'unit': 6}
    >>> from neuromvm import SampleSpec, make_samples
    >>> samples = make_samples(recordings, SampleSpec(label="odor", start=0, stop=0.5))
    >>> bool((samples["bob"]["activity"][:, 0, 0] == activity["bob"][:, 5:].sum(axis=1)).all())
    True
    """
    expect_choice(kind, schema.ACTIVITY_KINDS, "kind")
    expect_choice(grid, schema.GRID_DIMS, "grid")
    animals = _by_animal("activity", activity)
    labels_of, units_of = (_by_animal(name, of, set(animals)) for name, of in (("labels", labels), ("units", units)))
    arrays, nodes = {}, {}
    for animal, given in animals.items():
        several = isinstance(given, Mapping) and not isinstance(given, xr.Dataset)
        inside = dict(given) if several else {ACTIVITY: given}
        if ACTIVITY not in inside:
            problem = f"a dict with {', '.join(map(str, inside)) or 'nothing'}"
            raise SchemaError(f"animal {animal}", found=problem, expected=f"the key {ACTIVITY!r}, and labels of trials")
        arrays[animal] = values = _array(animal, inside.pop(ACTIVITY), grid)
        coords = checked_columns(animal, "trial", values, {**inside, **_table("labels", animal, labels_of)})
        coords |= checked_columns(animal, "unit", values, _table("units", animal, units_of))
        variable = schema.ACTIVITY_KINDS[kind].variable
        data = _counts(values.to_numpy()) if variable == "spike_count" else _floats(values.to_numpy())
        nodes[animal] = xr.Dataset({variable: (values.dims, data, {schema.ACTIVITY_KIND: kind})}, coords)
    return schema.validate_recordings(_tree(nodes, _grid(arrays, bin_width, start, grid)), missing)


def recordings_from_spike_times(
    spike_times: Mapping[str, Any],
    onsets: Mapping[str, ArrayLike],
    labels: Mapping[str, Labels] | None = None,
    *,
    window: tuple[float, float],
    bin_width: float,
    units: Mapping[str, Labels] | None = None,
) -> xr.DataTree:
    """Return recordings of spike times, counted in bins around an event of each trial.

    Parameters
    ----------
    spike_times
        Animal -> spike times [s] of each of its units: a list of arrays ``(spike,)``, or a dict unit -> array.
    onsets
        Animal -> time of the event of each trial ``(trial,)`` [s], on the clock of the spikes.
    labels, units
        As in :func:`recordings_from_arrays`.
    window
        From, to [s] relative to the event; a whole number of bins.
    bin_width
        [s]

    Returns
    -------
    One node an animal with ``spike_count (trial, time, unit)``, see :mod:`neuromvm.schema`. Bins are half-open.

    Raises
    ------
    AlignmentError
        If the window is not a positive whole number of bins, more than memory holds, or no spike of an animal lies in a window
        of its trials.
    ArgumentError
        If an argument is of the wrong type.
    SchemaError
        If times are not finite numbers, or as in :func:`recordings_from_arrays`.

    Examples
    --------
    >>> spikes = {"ada": [[0.1, 0.2, 1.7], [1.1]], "bob": [[0.3], [1.2, 1.3]]}
    >>> onsets = {"ada": [0.0, 1.0], "bob": [0.0, 1.0]}
    >>> labels = {rat: {"odor": ["A", "B"]} for rat in spikes}
    >>> recordings = recordings_from_spike_times(spikes, onsets, labels, window=(0, 1), bin_width=0.5)
    >>> recordings["ada"]["spike_count"].values.tolist()
    [[[2, 0], [0, 0]], [[0, 1], [1, 0]]]
    """
    begin, bin_width, bins = _bins(window, bin_width)
    animals = _by_animal("spike_times", spike_times)
    trials = _by_animal("onsets", onsets, set(animals))
    labels_of, units_of = (_by_animal(name, of, set(animals)) for name, of in (("labels", labels), ("units", units)))
    activity, with_onsets, with_units = {}, {}, {}
    for animal, given in animals.items():
        if animal not in trials:
            raise SchemaError(f"animal {animal}", found="no onsets", expected="the time of the event of each trial [s]")
        if isinstance(given, str) or not isinstance(given, Iterable):
            expected = "a list of the spike times of each unit, or a dict unit -> spike times"
            raise ArgumentError(f"argument 'spike_times', animal {animal}", found=f"a {type(given).__name__}", expected=expected)
        named = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
        times = [np.sort(_times(f"animal {animal}, unit {unit}", values)) for unit, values in named.items()]
        onset = _times(f"animal {animal}, onsets", trials[animal])
        _check_room(animal, len(onset), bins, len(times))
        counts = count_spikes(times, onset, begin, bin_width, bins)
        if not counts.any():
            extents = [f"{array[0]:g} to {array[-1]:g} s" for array in times if array.size]
            raise AlignmentError(
                f"animal {animal}",
                found=f"no spike in the windows of {len(onset)} trials; spikes of the first unit: {(extents or ['none'])[0]}",
                expected="spike times and onsets in seconds of one clock",
            )
        unit_labels = np.array(list(named)) if all(isinstance(unit, int) for unit in named) else np.array([*map(str, named)])
        activity[animal] = counts
        with_onsets[animal] = {**_table("labels", animal, labels_of), "onset": onset}
        with_units[animal] = {**_table("units", animal, units_of), "unit": unit_labels}
    return recordings_from_arrays(activity, with_onsets, bin_width=bin_width, start=begin, units=with_units)


def _by_animal(name: str, argument: Any, known: set[str] | None = None) -> dict[str, Any]:
    """Return an argument with a text as name of each animal; the names, or that they are ``known``, are checked."""
    if argument is None:
        return {}
    if not isinstance(argument, Mapping):
        problem = f"a {type(argument).__name__}"
        raise ArgumentError(f"argument {name!r}", found=problem, expected="a dict, animal -> values")
    animals = {str(animal): values for animal, values in argument.items()}
    if known is None:
        schema.check_animal_names(animals)
    elif set(animals) - known:
        problem = f"animals {', '.join(sorted(set(animals) - known))}, which have no activity"
        raise SchemaError(f"argument {name!r}", found=problem, expected=f"some of {', '.join(sorted(known))}")
    return animals


def _table(name: str, animal: str, tables: Mapping[str, Any]) -> dict[Any, Any]:
    """Return the labels of the trials, or columns of the units, of an animal by their names: none if none are given."""
    table = tables.get(animal, {})
    if not isinstance(table, Mapping | pd.DataFrame):
        problem, expected = f"a {type(table).__name__}", "a dict, label -> values, or a DataFrame"
        raise ArgumentError(f"argument {name!r}, animal {animal}", found=problem, expected=expected)
    return dict(table)


def _number(name: str, value: object) -> float:
    """Return an argument that is a finite number, or raise ArgumentError."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise ArgumentError(f"argument {name!r}", found=repr(value), expected="a finite number")
    return float(value)


def _bins(window: object, bin_width: object) -> tuple[float, float, int]:
    """Return where a window begins, the width of its bins, and their number, or raise the errors of wrong arguments."""
    if not isinstance(window, Sequence | np.ndarray) or isinstance(window, str) or len(window) != 2:
        raise ArgumentError("argument 'window'", found=repr(window), expected="two numbers: from, to [s]")
    (begin, stop), width = (_number("window", end) for end in window), _number("bin_width", bin_width)
    bins = (stop - begin) / width if width > 0 else 0.0
    if not 0 < bins < LARGEST_BINS or abs(bins - round(bins)) > 1e-6:
        raise AlignmentError(
            "argument 'window'",
            found=f"{begin:g}..{stop:g} s, bins of {width:g} s",
            expected="a positive whole number of bins",
        )
    return begin, width, round(bins)


def _check_room(animal: str, trials: int, bins: int, units: int) -> None:
    """Raise AlignmentError if the memory that is available does not hold the counts of an animal."""
    size, most = trials * bins * (units + np.dtype(np.intp).itemsize), available_memory()
    if size > most:
        raise AlignmentError(
            f"animal {animal}",
            found=f"{trials} trials of {bins} bins and {units} units, which take {size / 1e9:.3g} GB",
            expected=f"at most the available memory, {most / 1e9:.3g} GB",
            next_step="Pass a narrower window or wider bins",
        )


def _array(animal: str, given: Any, grid: str) -> xr.DataArray:
    """Return activity as an array with the dims of recordings, and its coordinates, if it has some."""
    dims = ("trial", grid, "unit")
    array = schema.activity(given) if isinstance(given, xr.Dataset) else given
    if isinstance(array, pd.DataFrame):
        array = _from_table(animal, array, grid)
    if isinstance(array, xr.DataArray):
        if set(array.dims) != set(dims):
            raise SchemaError(f"animal {animal}", found=f"dims {array.dims}", expected=f"{dims}, in any order")
        array = array.transpose(*dims)
    try:
        values = array.to_numpy() if isinstance(array, xr.DataArray) else np.asarray(array)
    except ValueError:
        values = np.empty(0, dtype=object)
    if values.dtype.kind not in "biuf" or values.ndim != 3:
        problem = "trials or units of different lengths" if values.dtype == object else f"{values.dtype} of shape {values.shape}"
        step = "One bin a trial: activity[:, numpy.newaxis]" if values.ndim == 2 else "Cut all trials with one window"
        raise SchemaError(f"animal {animal}", found=problem, expected=f"numbers {dims}", next_step=step)
    return array if isinstance(array, xr.DataArray) else xr.DataArray(values, dims=dims)


def _from_table(animal: str, table: pd.DataFrame, grid: str) -> xr.DataArray:
    """Return the activity of a table with a row for each trial and bin, and a column for each unit."""
    if table.index.nlevels != 2:
        problem = f"a DataFrame with {table.index.nlevels} level of rows"
        raise SchemaError(f"animal {animal}", found=problem, expected=f"rows with a MultiIndex (trial, {grid}), units as columns")
    trials = table.index.get_level_values(0).unique()
    try:
        bins = table.index.get_level_values(1).sort_values().unique()
    except TypeError as error:
        raise SchemaError(f"animal {animal}", found=f"bins of mixed types ({error})", expected="numbers of bins") from error
    if len(table) != len(trials) * len(bins) or table.index.has_duplicates:
        problem = f"{len(table)} rows of {len(trials)} trials and {len(bins)} bins"
        raise SchemaError(f"animal {animal}", found=problem, expected="one row for each trial and bin")
    rows = table.reindex(pd.MultiIndex.from_product([trials, bins]))
    values = rows.to_numpy().reshape(len(trials), len(bins), table.shape[1])
    coords = {"trial": trials.to_numpy(), "unit": [str(unit) for unit in table.columns]}
    return xr.DataArray(values, dims=("trial", grid, "unit"), coords=coords)


def checked_columns(animal: str, dim: str, values: xr.DataArray, given: Labels) -> dict[str, tuple[str, NDArray[np.generic]]]:
    """Return the coordinates along trials or units of an animal: given ones, those of its DataArray, and numbers."""
    columns = {str(name): coord.to_numpy() for name, coord in values.coords.items() if coord.dims == (dim,)}
    columns |= {str(name): column for name, column in given.items()}
    columns.setdefault(dim, np.arange(values.sizes[dim]))
    checked = {}
    for name, column in columns.items():
        where = f"animal {animal}, {dim} label {name!r}"
        if not name.isidentifier() or name in RESERVED_LABELS - (ALLOWED if dim == "trial" else {"unit"}):
            raise SchemaError(where, found="a name that cannot be used", expected="letters, digits and '_', and no reserved name")
        array = _label(where, column)
        if array.shape != (values.sizes[dim],):
            raise SchemaError(where, found=f"shape {array.shape}", expected=f"one value for each of {values.sizes[dim]} {dim}s")
        if name in schema.TRIAL_TIMES and array.dtype.kind not in "iuf":
            raise SchemaError(where, found=f"type {array.dtype}", expected="seconds")
        checked[name] = (dim, array.astype(np.float64) if name in schema.TRIAL_TIMES else array)
    if len(np.unique(checked[dim][1])) < values.sizes[dim]:
        raise SchemaError(
            f"animal {animal}", found=f"{dim} labels that occur twice", expected=f"a different label for each {dim}"
        )
    return checked


def _label(where: str, column: Any) -> NDArray[np.generic]:
    """Return a label as numbers, true and false, or text; missing text is '' and missing numbers are NaN."""
    try:
        series = pd.Series(np.asarray(column) if isinstance(column, xr.DataArray) else column).reset_index(drop=True)
    except ValueError as error:
        raise SchemaError(where, found=str(error), expected="one value for each") from error
    if any(pd.api.types.is_list_like(value) for value in series):
        raise SchemaError(where, found="lists", expected="one value for each")
    missing = series.isna().to_numpy()
    if pd.api.types.is_bool_dtype(series.dtype) and not missing.any():
        return np.asarray(series.to_numpy(dtype=bool))
    if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype):
        if missing.any():
            return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(series.to_numpy(dtype=str(series.dtype).lower()))  # Int64 of pandas is int64
    return np.array(["" if absent else str(value) for value, absent in zip(series, missing, strict=True)], dtype=str)


def _counts(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return counts as the narrowest unsigned integers; unchanged if they are none, which the check of recordings tells."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return values
    whole = values.dtype.kind in "bui" or bool((values == np.floor(values)).all())
    if not whole or not values.size or values.min() < 0 or values.max() > schema.LARGEST_COUNT:
        return values
    return values.astype(np.min_scalar_type(int(values.max())))


def _floats(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return numbers in single precision; those that exceed it become infinite, which the check of recordings tells."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _times(where: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return times ``(time,)`` [s], or raise SchemaError unless they are finite numbers."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf") or not np.isfinite(array.astype(np.float64)).all():
        raise SchemaError(where, found=f"{array.dtype} of shape {array.shape}", expected="a list of finite times [s]")
    return array.astype(np.float64)


def _grid(arrays: Mapping[str, xr.DataArray], bin_width: float | None, start: float | None, grid: str) -> xr.Variable:
    """Return the bin centres of all animals, whose width and start are given or those of the grid of DataArrays."""
    sizes = {animal: array.sizes[grid] for animal, array in arrays.items()}
    if len(set(sizes.values())) != 1:
        listed = ", ".join(f"{animal} {size}" for animal, size in sizes.items()) or "no animals"
        raise SchemaError("recordings", found=f"numbers of bins: {listed}", expected="the same window in all animals")
    known = {animal: array[grid] for animal, array in arrays.items() if grid in array.coords}
    given = {animal: centres.attrs["bin_width"] for animal, centres in known.items() if "bin_width" in centres.attrs}
    if bin_width is None:
        widths = {schema.checked_width(f"animal {animal}, {grid}", width) for animal, width in given.items()}
    else:
        widths = {schema.checked_width("argument 'bin_width'", bin_width)}
    if len(widths) != 1:
        problem = f"different widths of bins: {sorted(widths)}" if widths else "no width of bins"
        raise SchemaError("recordings", found=problem, expected="the width of bins", next_step="Pass bin_width=0.1, for example")
    width = widths.pop()
    for animal, centres in known.items():
        schema.check_bins(f"animal {animal}, {grid}", centres.assign_attrs(bin_width=width))
    starts = {round(float(centres[0]) - width / 2, 9) for centres in known.values()}
    if start is None and len(starts) > 1:
        raise SchemaError("recordings", found=f"grids that begin at {sorted(starts)}", expected="the same window in all animals")
    begin = (starts.pop() if starts else 0.0) if start is None else _number("start", start)
    attrs = {"bin_width": width, **({"units": "s"} if grid == "time" else {})}
    return xr.Variable(grid, np.round(bin_centres(begin, width, next(iter(sizes.values()))), 12), attrs)


def _tree(nodes: Mapping[str, xr.Dataset], grid: xr.Variable) -> xr.DataTree:
    """Return the nodes of animals below a root with their grid."""
    root = xr.Dataset(coords={str(grid.dims[0]): grid}, attrs={"schema_version": schema.VERSION})
    return xr.DataTree.from_dict({"/": root, **nodes})
