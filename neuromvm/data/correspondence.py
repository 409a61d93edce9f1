"""Null data without correspondence: the names of the conditions exchanged within each animal, independently of other animals.

If animals do not share a code, the names of one animal's conditions say nothing about those of another: each animal can be read
as well as before, and only what is carried from one animal to another by the name of a condition is lost. The data as they are
correspond to one of the exchanges, so a p-value from refits is exact (Phipson & Smyth 2010).
"""

import zlib
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.splits import make_splits, split_spec
from neuromvm.errors import SchemaError

CORRESPONDENCE = "scrambled correspondence"  # the name of this null


def exchanged_names(name: str, present: NDArray[np.integer], number: int) -> NDArray[np.integer]:
    """Return the new code of each condition ``present (condition,)`` of an animal in null data ``number``; 0: no exchange."""
    if number == 0:
        return present
    return np.random.default_rng([number, zlib.crc32(name.encode()), 3]).permutation(present)


def exchanged(samples: xr.DataTree, number: int) -> xr.DataTree:
    """Return samples with the names of conditions exchanged within each animal; activity and trials stay.

    Conditions are what paired samples share (``match``). Labels that are the same in all trials of a condition follow its name.
    SchemaError if a condition has several of the labels that are decoded.
    """
    if number == 0:
        return samples
    nodes = {name: _exchanged(name, dataset, number) for name, dataset in schema.animals(samples)}
    return xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes})


def exchanged_splits(samples: xr.DataTree, splits: xr.DataTree) -> xr.DataTree:
    """Return splits of samples with exchanged names.

    Conditions are held out by their new names. Other kinds of split divide each condition, whatever its name, and stay.
    """
    return make_splits(samples, split_spec(splits)) if splits.attrs["kind"] == "conditions" else splits


def _exchanged(name: str, dataset: xr.Dataset, number: int) -> xr.Dataset:
    match = dataset["match"].to_numpy()
    present = np.unique(match[match >= 0])
    source = np.zeros(int(present.max(initial=-1)) + 1, dtype=np.intp)  # the condition that has had a name before
    source[exchanged_names(name, present, number)] = present
    new = np.full(len(source), -1, dtype=match.dtype)
    new[source[present]] = present
    renamed = np.where(match >= 0, new[match], match)
    label = dataset["label"].to_numpy()
    labels = _of_conditions(label, match, present)
    if labels is None:
        raise SchemaError(
            f"animal {name}",
            found="a condition with several labels",
            expected="one label for each condition, so that names of conditions can be exchanged",
            next_step="Make the label part of samples.match",
        )
    variables = {"match": renamed, "label": np.where(match >= 0, labels[renamed], label)}
    exchanged_variables = {key: (dataset[key].dims, values, dataset[key].attrs) for key, values in variables.items()}
    coords = {}
    for key, coord in dataset.coords.items():
        if coord.dims == ("trial",) and key != "trial" and match.shape[1] == 1:
            values = _of_conditions(coord.to_numpy(), match[:, 0], present)
            if values is not None:
                coords[key] = ("trial", np.where(match[:, 0] >= 0, values[renamed[:, 0]], coord.to_numpy()), coord.attrs)
    return dataset.assign(exchanged_variables).assign_coords(coords)


def _of_conditions(values: NDArray[np.generic], match: NDArray[np.integer], present: NDArray[np.integer]) -> NDArray[Any] | None:
    """Return the value of each condition by its code, None unless all samples of a condition have the same value."""
    of_condition = np.zeros(int(present.max(initial=-1)) + 1, dtype=values.dtype)
    for code in present:
        distinct = np.unique(values[match == code])
        if len(distinct) != 1:
            return None
        of_condition[code] = distinct[0]
    return of_condition
