"""Decoders of the odor: their inputs from activity or latents, folds of trials, and probabilities in other trials and windows."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats, Latents
from neuromvm.analysis.sequence.trials import Animals, Codes, Mask, SequenceTrials
from neuromvm.analysis.statistics import over_trials
from neuromvm.data.features import Scaler
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.splits import make_splits
from neuromvm.progress import steps
from neuromvm.schema import Part, is_fitted, is_scored
from neuromvm.specs import SplitSpec

REFITTED = "permutations of activity among the trials of each animal, scalers and decoders refitted"  # the null of decoders


def folds_of(name: str, dataset: xr.Dataset, codes: Codes, fitted: Mask, spec: SplitSpec) -> NDArray[np.int8]:
    """Divide a selection of an animal's trials into folds; return ``(split, trial)`` values of :class:`neuromvm.schema.Part`.

    Trials where ``fitted (trial,)`` are divided, stratified by ``codes (trial,)``; all others are tested in each fold. Draws
    depend on the name of the animal. A class with fewer trials than folds raises SplitError.
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
    for draw in steps(range(permutations + 1), f"permutations of {name}", "draw"):
        yield draw_permutation(name, dataset, draw, within=within).trial


def probabilities(
    window: Floats, decoded: Floats, codes: Codes, fitted: Mask, parts: NDArray[np.int8], inverse_penalty: float
) -> Floats:
    """Return probabilities ``(split, trial, window, class)`` of logistic regression in which classes have equal weight.

    Decoders are fitted in ``window ([split,] trial, feature)`` and applied to ``decoded ([split,] trial, window, feature)``. They
    are fitted where ``fitted (trial,)`` on the training side of ``parts (split, trial)``, which must have every class of ``codes
    (trial,)``, 0 .. n - 1. The result is NaN where a trial is not scored in a split.
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
    """Return the share of splits in which each trial is decoded as each class, ``(trial, class)``, NaN if never scored."""
    probability = probabilities(window, window[..., None, :], codes, fitted, parts, inverse_penalty)
    return over_trials.mean_of_scored(shares(probability), axis=0)[:, 0]


def share_correct(window: Floats, codes: Codes, fitted: Mask, parts: NDArray[np.int8], inverse_penalty: float) -> Floats:
    """Return the share of splits in which each trial is decoded as its own class, ``(trial,)``; see :func:`decoded_shares`."""
    return decoded_shares(window, codes, fitted, parts, inverse_penalty)[np.arange(len(codes)), codes]


class Inputs(NamedTuple):
    """What is known of one animal, and on which trials it may be fitted and scored."""

    values: Floats  # (trial, feature) or (split, trial, feature)
    trials: SequenceTrials
    parts: NDArray[np.int8]  # (split, trial)
    inverse_penalty: float

    @property
    def scored(self) -> Mask:
        """Trials that are scored in any split, ``(trial,)``."""
        return np.asarray(is_scored(self.parts).any(axis=0))


def inputs_of_activity(animals: Animals, spec: SplitSpec, inverse_penalty: float) -> dict[str, Inputs]:
    """Return the activity of each animal: folds of correct in-sequence trials, all others tested in every fold.

    Where an odor has fewer trials than there are folds, there is one split, with no trial to fit on.
    """
    inputs = {}
    for name, dataset in schema.animals(animals.samples):
        trials = animals.trials[name]
        parts = np.zeros((1, len(trials.odor)), dtype=np.int8)
        if rarest_odor(trials.odor[trials.reference], len(animals.sequence)) >= spec.folds:
            parts = folds_of(name, dataset, trials.odor, trials.reference, spec)
        inputs[name] = Inputs(animals.activity(name), trials, parts, inverse_penalty)
    return inputs


def inputs_of_latents(animals: Animals, latents: xr.DataTree, splits: xr.DataTree, inverse_penalty: float) -> dict[str, Inputs]:
    """Return a model's latents of each animal, mean over the windows of a trial, with the splits it was trained on."""
    representation = Latents(latents, splits, inverse_penalty=inverse_penalty)
    inputs = {}
    for name, known in animals.known.items():
        values = [representation.seen(replica, name, name) for replica in range(len(representation.replicas))]
        used = [(split, latent) for split, latent in zip(representation.replicas, values, strict=True) if latent is not None]
        if used:
            stacked = np.stack([latent.mean(axis=1)[known] for _, latent in used])
            parts = splits[name]["part"].to_numpy()[[split for split, _ in used]][:, known]
            inputs[name] = Inputs(stacked, animals.trials[name], parts, inverse_penalty)
    return inputs


def by_representation(scores: Mapping[str, xr.Dataset], left_out: Mapping[str, str]) -> xr.Dataset:
    """Return the scores of all representations; attributes (JSON): reasons for models and animals left out, and floors."""
    reasons = dict(left_out)
    for name, dataset in scores.items():
        reasons |= {f"{name}, {animal}": reason for animal, reason in json.loads(dataset.attrs["left_out"]).items()}
    dim, floors = xr.Variable("representation", list(scores)), {name: dataset.attrs["floor"] for name, dataset in scores.items()}
    joined = xr.concat(list(scores.values()), dim=dim, join="outer", combine_attrs="override")
    return joined.assign_attrs(left_out=json.dumps(reasons), floors=json.dumps(floors))
