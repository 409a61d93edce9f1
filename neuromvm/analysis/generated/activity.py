"""Rows of generated activity, and the recorded activity that they are compared with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Floats, held_out
from neuromvm.data.features import features
from neuromvm.data.windows import sample_spec
from neuromvm.errors import RunFolderError, SchemaError

if TYPE_CHECKING:
    from neuromvm.folders.study import Study

EVENTS = ("count", "probability")  # kinds of generated activity that are an expected number of events


def chosen_models(study: "Study", names: Sequence[str] | None, analysis: str) -> list[str]:
    """Return the named models of a run, by default all."""
    for name in names or ():
        if name not in study.models:
            raise RunFolderError(f"analyses.{analysis}.models", found=f"no model {name!r}", expected=", ".join(study.models))
    return list(study.models if names is None else names)


def scored_rows(tree: xr.DataTree, samples: xr.DataTree, splits: xr.DataTree, source: str, split: int) -> NDArray[np.intp] | None:
    """Return which rows of :func:`neuromvm.inference.transfer.transfer` are the source's test trials of a split, in order.

    None where the model was not trained on that split.
    """
    rows = np.flatnonzero(tree[source]["split"].to_numpy() == split)
    if not len(rows):
        return None
    tested = held_out(splits, split, source)
    names = samples[source]["trial"].to_numpy() if "trial" in samples[source].coords else np.arange(len(tested))
    if not np.array_equal(tree[source]["trial"].to_numpy()[rows], names[tested]):
        raise SchemaError(
            f"transferred/{source}",
            found=f"other trials than split {split} tests",
            expected="activity generated from these splits",
        )
    return rows


def flattened(values: xr.DataArray) -> Floats:
    """Return ``(row, window, feature)`` of ``(row, window, bin, unit)``, bin-major."""
    array = values.to_numpy().astype(np.float64)
    return np.asarray(array.reshape(*array.shape[:-2], -1))


def recorded(samples: xr.DataTree, animal: str, kind: str) -> Floats:
    """Return an animal's activity ``(trial, window, feature)`` in the kind in which a model generates it."""
    activity = samples[animal].to_dataset()["activity"]
    if not kind.startswith("transformed"):
        return flattened(activity.transpose("trial", "window", "bin", "unit"))
    return features(activity, sample_spec(samples)).astype(np.float64)
