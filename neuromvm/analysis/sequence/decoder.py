"""A decoder of the odor, fitted on in-sequence trials in one window, applied to other trials and other windows."""

import json

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.trials import SequenceTrials
from neuromvm.analysis.statistics import over_trials
from neuromvm.data.features import Scaler
from neuromvm.data.splits import make_splits
from neuromvm.schema import Part, is_fitted, is_scored
from neuromvm.specs import SplitSpec


def folds_of(
    name: str, dataset: xr.Dataset, codes: NDArray[np.intp], fitted: NDArray[np.bool_], spec: SplitSpec
) -> NDArray[np.int8]:
    """Divide some trials of an animal into folds, and test all others in each fold.

    Parameters
    ----------
    name
        The animal; draws depend on its name.
    dataset
        Its samples.
    codes
        ``(trial,)`` what the folds are stratified by.
    fitted
        ``(trial,)`` trials that are divided. The others are never fitted on.
    spec
        Kind, folds and seed.

    Returns
    -------
    ``(split, trial)`` values of :class:`neuromvm.schema.Part`.

    Raises
    ------
    SplitError
        If a class has fewer trials than there are folds.
    """
    attrs = {"classes": json.dumps([str(code) for code in range(codes.max() + 1)])}
    labels = np.repeat(codes[:, None], dataset.sizes["window"], axis=1).astype(np.int16)
    chosen = dataset.assign(label=(("trial", "window"), labels, attrs)).isel(trial=fitted)
    divided = make_splits(xr.DataTree.from_dict({name: chosen}), spec)[name]["part"].to_numpy()
    parts = np.full((len(divided), len(fitted)), Part.TEST, dtype=np.int8)
    parts[:, fitted] = divided
    return parts


def fewest_per_odor(trials: SequenceTrials, fitted: NDArray[np.bool_], odors: int) -> int:
    """Return the number of trials of the rarest odor of the sequence among those that are fitted."""
    return int(np.bincount(trials.odor[fitted], minlength=odors).min())


def fitted_decoder(values: Floats, codes: NDArray[np.intp], inverse_penalty: float) -> tuple[Scaler, LogisticRegression]:
    """Fit scaler and multinomial logistic regression, all classes weighing alike, on ``(trial, feature)``."""
    scaler = Scaler.fit(values)
    model = LogisticRegression(C=inverse_penalty, max_iter=1000, class_weight="balanced")
    return scaler, model.fit(scaler(values), codes)


def probabilities(
    window: Floats,
    seen: Floats,
    codes: NDArray[np.intp],
    fitted: NDArray[np.bool_],
    parts: NDArray[np.int8],
    inverse_penalty: float,
) -> Floats:
    """Decode every scored trial in every split.

    Parameters
    ----------
    window
        ``(trial, feature)`` or ``(split, trial, feature)``: the window that is fitted on.
    seen
        ``(trial, window, feature)`` or ``(split, trial, window, feature)``: the windows that are decoded.
    codes
        ``(trial,)`` classes 0 .. n - 1, all of them among the fitted trials of each split.
    fitted
        ``(trial,)`` trials that may be fitted on where they are on the training side.
    parts
        ``(split, trial)`` values of :class:`neuromvm.schema.Part`.
    inverse_penalty
        ``C`` of the logistic regression.

    Returns
    -------
    ``(split, trial, window, class)``, NaN where a trial is not scored in a split.
    """
    splits = len(parts)
    window = np.broadcast_to(window, (splits, *window.shape[-2:]))
    seen = np.broadcast_to(seen, (splits, *seen.shape[-3:]))
    found = np.full((*seen.shape[:3], int(codes.max()) + 1), np.nan)
    for split, part in enumerate(parts):
        training, tested = is_fitted(part) & fitted, is_scored(part)
        scaler, model = fitted_decoder(window[split][training], codes[training], inverse_penalty)
        values = seen[split][tested]
        flat = model.predict_proba(scaler(values.reshape(-1, values.shape[-1])))
        found[split, tested] = flat.reshape(*values.shape[:2], -1)
    return found


def shares(probability: Floats) -> Floats:
    """Return 1 for the most probable class and 0 for the others, NaN where nothing was decoded; any leading dims."""
    best = np.nan_to_num(probability, nan=-1).argmax(axis=-1)
    chosen = (best[..., None] == np.arange(probability.shape[-1])).astype(np.float64)
    return np.where(np.isnan(probability), np.nan, chosen)


def read_rightly(
    window: Floats, codes: NDArray[np.intp], fitted: NDArray[np.bool_], parts: NDArray[np.int8], inverse_penalty: float
) -> Floats:
    """Return the share of splits in which each trial is decoded as its own class, ``(trial,)``, NaN where never scored.

    Parameters are those of :func:`probabilities`; the window that is fitted on is the one that is decoded.
    """
    found = shares(probabilities(window, window[..., None, :], codes, fitted, parts, inverse_penalty))
    right: Floats = over_trials.mean_of_scored(found, axis=0)[np.arange(len(codes)), 0, codes]
    return right
