"""Inputs of decoders and distances: the activity of each animal, or a model's latents, and the trials that are fitted."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats, Latents
from neuromvm.analysis.sequence.decoder import folds_of, rarest_odor
from neuromvm.analysis.sequence.trials import Animals, Mask, SequenceTrials
from neuromvm.schema import is_scored
from neuromvm.specs import SplitSpec


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
    """Return the scores of all representations with the attributes ``left_out`` and ``floors`` (JSON).

    ``left_out`` gives the reason for each model that is left out; those of animals are in the attributes of ``scores``.
    """
    reasons = dict(left_out)
    for name, dataset in scores.items():
        reasons |= {f"{name}, {animal}": reason for animal, reason in json.loads(dataset.attrs["left_out"]).items()}
    dim, floors = xr.Variable("representation", list(scores)), {name: dataset.attrs["floor"] for name, dataset in scores.items()}
    joined = xr.concat(list(scores.values()), dim=dim, join="outer", combine_attrs="override")
    return joined.assign_attrs(left_out=json.dumps(reasons), floors=json.dumps(floors))
