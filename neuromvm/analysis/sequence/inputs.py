"""What decoders of the odor see of each animal: its activity, or a model's latents, and which trials they are fitted on."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats, Latents
from neuromvm.analysis.sequence.decoder import fewest_per_odor, folds_of
from neuromvm.analysis.sequence.trials import Animals, SequenceTrials
from neuromvm.data.features import features
from neuromvm.data.windows import sample_spec
from neuromvm.specs import SplitSpec


class View(NamedTuple):
    """What a decoder sees of one animal, and which trials it may be fitted and scored on."""

    values: Floats  # (trial, feature) or (split, trial, feature)
    trials: SequenceTrials
    parts: NDArray[np.int8]  # (split, trial)
    inverse_penalty: float


def views_of_activity(animals: Animals, spec: SplitSpec, inverse_penalty: float) -> dict[str, View]:
    """Return the activity of each animal: folds of correct in-sequence trials, all others tested in every fold."""
    views = {}
    for name, dataset in schema.animals(animals.samples):
        trials = animals.trials[name]
        fitted = trials.in_sequence & trials.correct
        if fewest_per_odor(trials, fitted, len(animals.sequence)) < spec.folds:
            parts = np.zeros((1, len(fitted)), dtype=np.int8)  # nothing can be fitted: tell_apart says so
        else:
            parts = folds_of(name, dataset, trials.odor, fitted, spec)
        values = features(dataset["activity"], sample_spec(animals.samples))[:, 0]
        views[name] = View(values, trials, parts, inverse_penalty)
    return views


def views_of_latents(animals: Animals, latents: xr.DataTree, splits: xr.DataTree, inverse_penalty: float) -> dict[str, View]:
    """Return a model's latents of each animal, mean over the windows of a trial, with the splits it was trained on."""
    seen = Latents(latents, splits, inverse_penalty=inverse_penalty)
    views = {}
    for name, kept in animals.kept.items():
        values = [(split, seen.seen(replica, name, name)) for replica, split in enumerate(seen.replicas)]
        there = [(split, one) for split, one in values if one is not None]
        if there:
            stacked = np.stack([one.mean(axis=1)[kept] for _, one in there])
            parts = splits[name]["part"].to_numpy()[[split for split, _ in there]][:, kept]
            views[name] = View(stacked, animals.trials[name], parts, inverse_penalty)
    return views
