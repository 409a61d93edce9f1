"""A decoder of the odor, fitted on in-sequence trials in one window, applied to other trials and other windows."""

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.trials import Codes, Mask
from neuromvm.analysis.statistics import over_trials
from neuromvm.data.features import Scaler
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.splits import make_splits
from neuromvm.schema import Part, is_fitted, is_scored
from neuromvm.specs import SplitSpec


def folds_of(name: str, dataset: xr.Dataset, codes: Codes, fitted: Mask, spec: SplitSpec) -> NDArray[np.int8]:
    """Divide a selection of an animal's trials into folds, and test all other trials in each fold.

    Trials where ``fitted (trial,)`` are divided, stratified by ``codes (trial,)``; the others are never fitted on. Draws depend
    on the name of the animal.

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
    selected = dataset.assign(label=(("trial", "window"), labels, attrs)).isel(trial=fitted)
    divided = make_splits(xr.DataTree.from_dict({name: selected}), spec)[name]["part"].to_numpy()
    parts = np.full((len(divided), len(fitted)), Part.TEST, dtype=np.int8)
    parts[:, fitted] = divided
    return parts


def rarest_odor(odor: Codes, odors: int) -> int:
    """Return the number of trials of the rarest odor of the sequence."""
    return int(np.bincount(odor, minlength=odors).min())


def trial_orders(name: str, dataset: xr.Dataset, permutations: int, within: str | None = None) -> Iterator[NDArray[np.int64]]:
    """Yield the trial whose activity each trial takes, ``(trial,)``: itself at first, then in each permutation.

    ``within`` is a trial label; activity is permuted among trials of the same value.
    """
    for draw in range(permutations + 1):
        yield draw_permutation(name, dataset, draw, within=within).trial


def probabilities(
    window: Floats, decoded: Floats, codes: Codes, fitted: Mask, parts: NDArray[np.int8], inverse_penalty: float
) -> Floats:
    """Decode every scored trial in every split, by logistic regression in which classes have equal weight.

    Parameters
    ----------
    window
        ``(trial, feature)`` or ``(split, trial, feature)``: the window in which decoders are fitted.
    decoded
        ``(trial, window, feature)`` or ``(split, trial, window, feature)``: the windows that are decoded.
    codes, fitted
        ``(trial,)`` classes 0 .. n - 1, and the trials that may be fitted on where they are on the training side. In each split
        every class must be among them.
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
    decoded = np.broadcast_to(decoded, (splits, *decoded.shape[-3:]))
    probability = np.full((*decoded.shape[:3], int(codes.max()) + 1), np.nan)
    for split, part in enumerate(parts):
        training, tested = window[split][is_fitted(part) & fitted], is_scored(part)
        scaler = Scaler.fit(training)
        model = LogisticRegression(C=inverse_penalty, max_iter=1000, class_weight="balanced")
        model.fit(scaler(training), codes[is_fitted(part) & fitted])
        values = decoded[split][tested]
        flat = model.predict_proba(scaler(values.reshape(-1, values.shape[-1])))
        probability[split, tested] = flat.reshape(*values.shape[:2], -1)
    return probability


def shares(probability: Floats) -> Floats:
    """Return 1 for the most probable class and 0 for the others, NaN where no trial is decoded, ``(..., class)``."""
    best = np.nan_to_num(probability, nan=-1).argmax(axis=-1)
    chosen = (best[..., None] == np.arange(probability.shape[-1])).astype(np.float64)
    return np.where(np.isnan(probability), np.nan, chosen)


def decoded_shares(window: Floats, codes: Codes, fitted: Mask, parts: NDArray[np.int8], inverse_penalty: float) -> Floats:
    """Return the share of splits in which each trial is decoded as each class, ``(trial, class)``, NaN if never scored.

    Parameters are those of :func:`probabilities`; the window in which decoders are fitted is decoded.
    """
    probability = probabilities(window, window[..., None, :], codes, fitted, parts, inverse_penalty)
    return over_trials.mean_of_scored(shares(probability), axis=0)[:, 0]


def share_correct(window: Floats, codes: Codes, fitted: Mask, parts: NDArray[np.int8], inverse_penalty: float) -> Floats:
    """Return the share of splits in which each trial is decoded as its own class, ``(trial,)``; see :func:`decoded_shares`."""
    return decoded_shares(window, codes, fitted, parts, inverse_penalty)[np.arange(len(codes)), codes]
