"""Tables that describe the content of NWB files and of loaded recordings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.inspect import read_outline
from neuromvm.data.loaders.labels import as_text, shown
from neuromvm.data.numeric_labels import different_numbers, looks_continuous
from neuromvm.errors import SpecError, did_you_mean
from neuromvm.schema import activity, animals, check_structure, dropped, grid_dim

TRIAL_TIMES = {"onset", "start_time", "stop_time", "trial", "trial_id", "warp_onset", "stretch"}
MOST_VALUES = 12
MOST_TEXTS = 10_000  # different numbers that are written as text to tell which are equal


def describe(recordings: xr.DataTree) -> pd.DataFrame:
    """Return a table with one row per animal: units, trials, bins, mean activity, labels and what was dropped.

    ``recordings`` are those of :func:`neuromvm.data.loaders.load_recordings`. ``mean_activity`` is in spikes per second for
    counts on a time grid, else in the unit of the recording. ``labels`` gives the values of each label with numbers of trials,
    and the first of more than 12; a label of numbers that looks continuous is for the analysis ``continuous``. Recordings whose
    names, dims, labels or grid are wrong raise SchemaError; missing or impossible values of activity do not.

    Examples
    --------
    >>> counts = xr.DataArray(np.ones((4, 2, 3), np.uint8), dims=("trial", "time", "unit"))
    >>> time = xr.Variable("time", [0.25, 0.75], {"bin_width": 0.5})
    >>> odor = ("trial", ["A", "A", "A", "B"])
    >>> rat = xr.Dataset({"spike_count": counts}, coords={"trial": range(4), "unit": range(3), "odor": odor})
    >>> tree = xr.DataTree.from_dict({"/": xr.Dataset(coords={"time": time}), "rat": rat})
    >>> describe(tree)[["units", "trials", "mean_activity", "labels"]].values.tolist()
    [[3, 4, 2.0, 'odor: A 3, B 1']]
    """
    check_structure(recordings)
    rows = []
    for animal, dataset in animals(recordings):
        values = activity(dataset)
        grid = dataset[grid_dim(dataset)]
        per_second = float(grid.attrs["bin_width"]) if values.name == "spike_count" and grid.name == "time" else 1.0
        labels = {name: dataset[name].to_numpy() for name in label_names(dataset)}
        rows.append(
            {
                "animal": animal,
                "units": values.sizes["unit"],
                "trials": values.sizes["trial"],
                "bins": grid.size,
                "mean_activity": float(values.mean()) / per_second if values.size else np.nan,
                "labels": "; ".join(_label_as_text(name, values) for name, values in labels.items()),
                "dropped": "; ".join(f"{line.count} {line.what}: {line.reason}" for line in dropped(dataset)),
            }
        )
    return pd.DataFrame(rows).set_index("animal")


def label_counts(recordings: xr.DataTree) -> pd.DataFrame:
    """Return the number of trials of each value of each label: columns ``animal, label, value, trials``."""
    rows = []
    for animal, dataset in animals(recordings):
        for name in label_names(dataset):
            values, numbers = np.unique(as_text(dataset[name].values), return_counts=True)
            rows += [(animal, name, value, number) for value, number in zip(values.tolist(), numbers.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["animal", "label", "value", "trials"])


def inspect_file(path: str | Path) -> pd.DataFrame:
    """Return a table of the content of an NWB file that a data spec can name: one row per table column and per series.

    Columns: ``table`` (path of the table or series), ``column``, ``type``, ``rows``, ``values`` (up to 12 values, else
    the range) and ``description`` (which often explains numeric codes). DataFormatError is raised if the file is missing,
    damaged or not NWB 2.
    """
    outline = read_outline(path)
    rows: list[dict[str, Any]] = []
    for table in outline.tables.values():
        for column in table.columns.values():
            values = "" if column.values is None else _values_as_text(column.values)
            entry = {"table": table.path, "column": column.name, "type": column.kind, "rows": column.rows, "values": values}
            rows.append(entry | {"description": column.description})
    for series in outline.series.values():
        entry = {"table": series.path, "column": "", "type": series.kind, "rows": series.shape[0] if series.shape else 0}
        rows.append(entry | {"values": f"shape {series.shape} [{series.unit}]", "description": series.description})
    return pd.DataFrame(rows, columns=["table", "column", "type", "rows", "values", "description"])


def known_label(datasets: Iterable[xr.Dataset], label: str | None) -> str | None:
    """Return the label, or by default the first label of trials, None if there is none; SpecError if no animal has it."""
    known = list(dict.fromkeys(name for dataset in datasets for name in label_names(dataset)))
    if label is not None and label not in known:
        raise SpecError(f"label {label!r}", found="no such label of trials", next_step=did_you_mean(label, known))
    return label or next(iter(known), None)


def label_names(dataset: xr.Dataset) -> list[str]:
    """Return the names of the coordinates of trials that are labels, not times or numbers."""
    return [str(name) for name, values in dataset.coords.items() if values.dims == ("trial",) and name not in TRIAL_TIMES]


def _label_as_text(name: str, values: NDArray[Any]) -> str:
    """Describe a label: its values with numbers of trials, or how many values it has, some of them, and how it looks."""
    if len(np.unique(as_text(values) if values.dtype.kind == "O" else values)) <= MOST_VALUES:
        return f"{name}: {_counts_as_text(values)}"
    names, trials = np.unique(as_text(values), return_counts=True)
    numbers = [f"{number:g}" for number in different_numbers(values).tolist()]
    if looks_continuous(values):
        shortened = f"{', '.join(numbers[:2])}, ..., {numbers[-1]}"
        return f"{name}: {len(numbers)} values: {shortened}, looks continuous (analyses: {{continuous: {{label: {name}}}}})"
    examples = (numbers if len(numbers) == len(names) else names.tolist())[:3]
    trial_numbers = "to".join(f" {number} " for number in dict.fromkeys((trials.min(), trials.max()))).strip()
    return f"{name}: {len(names)} values: {', '.join(examples)}, ... (trials of each: {trial_numbers})"


def _counts_as_text(values: NDArray[Any]) -> str:
    names, numbers = np.unique(as_text(values), return_counts=True)
    return ", ".join(f"{name or '(none)'} {number}" for name, number in zip(names, numbers, strict=True))


def _values_as_text(values: NDArray[Any]) -> str:
    values = np.unique(values)
    if len(values) > MOST_TEXTS and values.dtype.kind in "iuf":
        return f"{np.nanmin(values):.6g} .. {np.nanmax(values):.6g} ({len(values)} different)"
    different = set(as_text(values).tolist())
    if len(different) <= MOST_VALUES or values.dtype.kind not in "iuf":
        return shown(different, MOST_VALUES)
    return f"{np.nanmin(values):.6g} .. {np.nanmax(values):.6g} ({len(different)} different)"
