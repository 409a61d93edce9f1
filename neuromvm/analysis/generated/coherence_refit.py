"""Coherence of models that were fitted again with the names of conditions exchanged within each animal."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.coherence import Options, classifiers_of
from neuromvm.analysis.generated.coherence_scores import SETTINGS, score_model
from neuromvm.analysis.judged import ALL_ANIMALS, TRIALS

ONCE = Resampling(bootstraps=1, permutations=0)


def score_exchanged(
    samples: xr.DataTree, splits: xr.DataTree, transferred: xr.DataTree, imputed: xr.DataTree, number: int, options: Options
) -> xr.Dataset:
    """Score what a model generates that was fitted to null data ``number``, ``samples`` having its names of conditions.

    Return ``value (permutation, setting, target)``, the mean over animals first.
    """
    scored = score_model(classifiers_of(samples, splits, options), transferred, imputed, ONCE)["score"]
    values = scored.sel(unit_of_inference=TRIALS, statistic="value", drop=True).sel(setting=list(SETTINGS))
    animals = [str(target) for target in values["target"].values[1:]]
    return _dataset(values.transpose("setting", "target").to_numpy(), animals, number)


def without_scores(animals: Sequence[str], number: int) -> xr.Dataset:
    """Return NaN for a null data set that could not be fitted: it counts as reaching every score."""
    return _dataset(np.full((len(SETTINGS), len(animals) + 1), np.nan), animals, number)


def _dataset(values: np.ndarray, animals: Sequence[str], number: int) -> xr.Dataset:
    coords = {"permutation": [number], "setting": list(SETTINGS), "target": [ALL_ANIMALS, *animals]}
    return xr.Dataset({"value": (tuple(coords), values[None])}, coords)
