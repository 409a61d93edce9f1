"""Folders of phy or Kilosort beside a table of trials; ``params.py`` is read as text and never run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.array_tree import MemoryTree
from neuromvm.data.loaders.foreign_file import column_of, foreign_file, load_npy, read_text_table, whole_numbers
from neuromvm.data.loaders.spike_trains import trains_of_units, units_table
from neuromvm.data.loaders.trial_file import read_trial_file, trial_file
from neuromvm.errors import DataFormatError
from neuromvm.specs.data import DataSpec
from neuromvm.specs.sources import PhySource

CLUSTERS, PARAMETERS = "spike_clusters.npy", "params.py"
SAMPLE_RATE = re.compile(r"^\s*sample_rate\s*=\s*([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*(?:#.*)?$", re.MULTILINE)
LARGEST_PARAMETERS = 100_000  # [bytes]


def phy_files(path: Path, spec: DataSpec) -> list[Path]:
    """Return the files of a session: spikes, clusters, sample rate and trials."""
    source = _source(spec)
    parameters = [path.parent / PARAMETERS] if source.rate is None else []
    return [path, path.parent / CLUSTERS, *parameters, *_cluster_tables(path), trial_file(path, source)]


def read_phy(path: Path, spec: DataSpec) -> MemoryTree:
    """Return the clusters that have spikes, with the columns of their tables, and the trials."""
    rate = _source(spec).rate or _sample_rate(path.parent / PARAMETERS)
    samples = whole_numbers(str(path), load_npy(path, 1))
    clusters = whole_numbers(str(path.parent / CLUSTERS), load_npy(path.parent / CLUSTERS, 1))
    ids, columns = trains_of_units(str(path), samples / rate, clusters)
    for file in _cluster_tables(path):
        columns |= {name: values for name, values in _rows_of(file, ids).items() if name not in columns}
    arrays = units_table(ids, columns) | read_trial_file(path, spec)
    return MemoryTree(path, arrays, files={"intervals": trial_file(path, _source(spec))})


def _cluster_tables(path: Path) -> list[Path]:
    """Return the tables of clusters; the one with all columns comes first and is preferred."""
    files = sorted(path.parent.glob("cluster_*.tsv"))
    return sorted(files, key=lambda file: file.name != "cluster_info.tsv")


def _rows_of(file: Path, ids: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a table of clusters for the clusters ``ids``: '' or NaN where it has no row."""
    table = read_text_table(file)
    key = "id" if "cluster_id" not in table and "id" in table else "cluster_id"
    clusters = whole_numbers(f"{file}: {key}", column_of(file, table, key, "source"))
    if len(np.unique(clusters)) < len(clusters):
        raise DataFormatError(str(file), found="clusters that repeat", expected="one row a cluster")
    row = {cluster: number for number, cluster in enumerate(clusters.tolist())}
    rows = np.array([row.get(unit, -1) for unit in ids.tolist()], dtype=int)
    return {name: _values_at(values, rows) for name, values in table.items() if name != key}


def _values_at(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return values at rows, '' or NaN at row -1."""
    if (rows >= 0).all():
        return values[rows]
    text = values.dtype.kind == "U"
    return np.append(values if text else values.astype(float), "" if text else np.nan)[rows]


def _sample_rate(path: Path) -> float:
    """Return the sample rate [Hz] in a file of settings, which is not run."""
    with foreign_file(path, "the settings of phy, with a line such as 'sample_rate = 30000.'"):
        with path.open("rb") as stream:
            text = stream.read(LARGEST_PARAMETERS).decode("utf-8")
        rates = {float(number) for number in SAMPLE_RATE.findall(text)}
    if len(rates) != 1 or not 0 < min(rates) < np.inf:
        raise DataFormatError(
            str(path),
            found=f"{len(rates) or 'no'} sample rates",
            expected="one line such as 'sample_rate = 30000.'",
            next_step="Give it as source.rate in the data spec",
        )
    return rates.pop()


def _source(spec: DataSpec) -> PhySource:
    assert isinstance(spec.source, PhySource)
    return spec.source
