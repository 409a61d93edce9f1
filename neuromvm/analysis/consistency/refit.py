"""Consistency of models that were fitted again with the names of conditions exchanged within each animal.

Latents of refits are not kept: animals are compared while they are at hand, and the values of all pairs are saved.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import xarray as xr

from neuromvm.analysis.consistency.between_animals import Measure, compare_pairs, measures_left_out
from neuromvm.analysis.consistency.class_means import layout_of
from neuromvm.analysis.readouts.representations import Latents
from neuromvm.errors import SchemaError, SplitError

MEASURES: tuple[Measure, ...] = get_args(Measure)


def compare_exchanged(samples: xr.DataTree, splits: xr.DataTree, latents: xr.DataTree, number: int, ridge: float) -> xr.Dataset:
    """Compare all pairs of animals in ``latents`` of null data ``number``, ``samples`` having its names of conditions.

    Return ``value (permutation, measure, source, target)``; NaN for measures that the samples do not allow.
    """
    try:
        layout = layout_of(samples, splits)
        left_out = measures_left_out(MEASURES, layout)
        measures = [measure for measure in MEASURES if measure not in left_out]
        representation = Latents(latents, splits, inverse_penalty=1.0)
        compared = compare_pairs(representation, samples, splits, layout, measures, ridge=ridge, draws=0, seed=0)
    except (SchemaError, SplitError):
        return without_values(list(samples.children), number)
    values = compared.arrays["values"][:, 0, 0]  # (measure, source, target)
    return _dataset(values[None], measures, list(samples.children), number).reindex(measure=list(MEASURES))


def without_values(animals: Sequence[str], number: int) -> xr.Dataset:
    """Return NaN for a null data set that could not be fitted or compared: it counts as reaching every value."""
    values = np.full((1, len(MEASURES), len(animals), len(animals)), np.nan)
    return _dataset(values, MEASURES, animals, number)


def _dataset(values: np.ndarray, measures: Sequence[str], animals: Sequence[str], number: int) -> xr.Dataset:
    coords = {"permutation": [number], "measure": list(measures), "source": list(animals), "target": list(animals)}
    return xr.Dataset({"value": (tuple(coords), values)}, coords)
