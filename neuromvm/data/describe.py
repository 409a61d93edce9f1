"""Tables that describe the content of NWB files and of loaded recordings."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.loaders.labels import as_text, shown
from neuromvm.data.loaders.nwb_file import NwbFile, open_nwb
from neuromvm.data.loaders.series import series_paths
from neuromvm.data.loaders.tables import column_names, is_flat, is_long_text
from neuromvm.data.numeric_labels import different_numbers, looks_continuous
from neuromvm.errors import expect
from neuromvm.schema import activity, animals, dropped, grid_dim

TRIAL_TIMES = {"onset", "start_time", "stop_time", "trial", "trial_id"}
MOST_VALUES = 12
MOST_TEXTS = 10_000  # different numbers that are written as text to tell which are equal


def describe(recordings: xr.DataTree) -> pd.DataFrame:
    """Return a table with one row per animal: units, trials, bins, mean activity, labels and what was dropped.

    ``recordings`` are those of :func:`neuromvm.data.loaders.load_recordings`. ``mean_activity`` is in spikes per second for
    counts on a time grid, else in the unit of the recording. ``labels`` gives the values of each label with numbers of trials,
    and the range of a label that looks continuous, which the analysis ``continuous`` predicts; other labels of many values are
    left out.

    Examples
    --------
    >>> counts = xr.DataArray(np.ones((4, 2, 3), np.uint8), dims=("trial", "time", "unit"))
    >>> time = xr.Variable("time", [0.25, 0.75], {"bin_width": 0.5})
    >>> rat = xr.Dataset({"spike_count": counts}, coords={"odor": ("trial", ["A", "A", "A", "B"])})
    >>> tree = xr.DataTree.from_dict({"/": xr.Dataset(coords={"time": time}), "rat": rat})
    >>> describe(tree)[["units", "trials", "mean_activity", "labels"]].values.tolist()
    [[3, 4, 2.0, 'odor: A 3, B 1']]
    """
    expect(recordings, xr.DataTree, "recordings", 'Make them: load_recordings(load_data_spec("my_lab.yaml"))')
    rows = []
    for animal, dataset in animals(recordings):
        values = activity(dataset)
        grid = dataset[grid_dim(dataset)]
        per_second = float(grid.attrs["bin_width"]) if values.name == "spike_count" and grid.name == "time" else 1.0
        labels = {name: dataset[name].to_numpy() for name in _labels(dataset)}
        rows.append(
            {
                "animal": animal,
                "units": values.sizes["unit"],
                "trials": values.sizes["trial"],
                "bins": grid.size,
                "mean_activity": float(values.mean()) / per_second if values.size else np.nan,
                "labels": "; ".join(filter(None, (_label_as_text(name, values) for name, values in labels.items()))),
                "dropped": "; ".join(f"{line.count} {line.what}: {line.reason}" for line in dropped(dataset)),
            }
        )
    return pd.DataFrame(rows).set_index("animal")


def label_counts(recordings: xr.DataTree) -> pd.DataFrame:
    """Return the number of trials of each value of each label: columns ``animal, label, value, trials``."""
    rows = []
    for animal, dataset in animals(recordings):
        for name in _labels(dataset):
            values, numbers = np.unique(as_text(dataset[name].values), return_counts=True)
            rows += [(animal, name, value, number) for value, number in zip(values.tolist(), numbers.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["animal", "label", "value", "trials"])


def inspect_file(path: str | Path) -> pd.DataFrame:
    """Return a table of the content of an NWB file that a data spec can name: one row per table column and per series.

    Columns: ``table`` (path of the table or series), ``column``, ``type``, ``rows``, ``values`` (up to 12 values, else
    the range) and ``description`` (which often explains numeric codes). DataFormatError is raised if the file is missing,
    damaged or not NWB 2.
    """
    rows: list[dict[str, Any]] = []
    with open_nwb(Path(path)) as file:
        tables = [f"intervals/{name}" for name in file.children("intervals")]
        tables += [name for name in ("units", "general/extracellular_ephys/electrodes") if file.is_group(name)]
        for table in tables:
            rows += [_column_row(file, table, name) for name in column_names(file, table)]
        for series in series_paths(file):
            rows.append(_series_row(file, series))
    return pd.DataFrame(rows, columns=["table", "column", "type", "rows", "values", "description"])


def _column_row(file: NwbFile, table: str, name: str) -> dict[str, Any]:
    column = f"{table}/{name}"
    row = {"table": table, "column": name, "type": "group", "rows": 0, "values": ""}
    row["description"] = str(file.attribute(column, "description") or "")
    if file.is_group(column):
        return row
    if is_long_text(file, column):
        return row | {"type": "text", "rows": file.shape(column)[0], "values": f"up to {file.longest_text(column)} bytes each"}
    if is_flat(file, table, name):
        values = file.array(column).reshape(-1)
        return row | {"type": file.kind(column), "rows": len(values), "values": _values_as_text(values)}
    ragged = f"{column}_index" in file
    shape = file.shape(f"{column}_index" if ragged else column)
    return row | {"type": "ragged" if ragged else file.kind(column), "rows": shape[0] if shape else 0}


def _series_row(file: NwbFile, path: str) -> dict[str, Any]:
    data = f"{path}/data"
    shape = file.shape(data)
    return {
        "table": path,
        "column": "",
        "type": str(file.attribute(path, "neurodata_type") or "series"),
        "rows": shape[0] if shape else 0,
        "values": f"shape {shape} [{file.attribute(data, 'unit') or '?'}]",
        "description": str(file.attribute(path, "description") or ""),
    }


def _labels(dataset: xr.Dataset) -> list[str]:
    """Return the names of the coordinates of trials that are labels, not times or numbers."""
    return [str(name) for name, values in dataset.coords.items() if values.dims == ("trial",) and name not in TRIAL_TIMES]


def _label_as_text(name: str, values: NDArray[Any]) -> str:
    """Describe a label; '' if it is text with too many values to list."""
    if len(np.unique(values)) <= MOST_VALUES:
        return f"{name}: {_counts_as_text(values)}"
    if not looks_continuous(values):
        return ""
    numbers = different_numbers(values)
    words = f"{name}: {len(numbers)} different numbers from {numbers[0]:g} to {numbers[-1]:g}"
    return f"{words}, looks continuous (analyses: {{continuous: {{label: {name}}}}})"


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
