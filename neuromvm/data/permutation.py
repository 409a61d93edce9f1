"""Null data: activity exchanged between the trials of each animal, and noise; labels, splits and pairs stay unchanged.

``permute``: this is equivalent to permuting the labels and stratifying new splits by them, but what depends on labels and splits
alone is computed once. If trials are exchangeable, the original order is one of the permutations.

``shift``: activity moves along the session as a whole, in order of onset, the last trials to the front, so that all labels and
sides of splits move against activity. What neighbouring trials have in common stays, and so do runs of a class and the distance
in time between training and test trials. The original order is one of the shifts if activity is independent of the label and
stationary along the session. If it drifts it is not quite stationary, since a shift joins the last trials to the first.
Harris (2020). Nonsense correlations in neuroscience. *bioRxiv* 2020.11.29.402719.
"""

import zlib
from math import prod
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema

Rearrangement = Literal["permute", "shift"]


class Permutation(NamedTuple):
    """Sources of the activity of an animal: source ``trial (trial,)`` and circular ``shift (trial,)`` in windows."""

    trial: NDArray[np.int64]
    shift: NDArray[np.int64]
    windows: int

    def samples(self) -> NDArray[np.int64]:
        """Return the number, trial * windows + window, of the source of each sample ``(trial * window,)``."""
        window = (np.arange(self.windows) + self.shift[:, None]) % self.windows
        return np.asarray((self.trial[:, None] * self.windows + window).reshape(-1))


def draw_permutation(
    name: str, dataset: xr.Dataset, number: int, *, within: str | None = None, rearrangement: Rearrangement = "permute"
) -> Permutation:
    """Return a permutation of the trials of an animal, which depends on its ``number`` (0: the identity), name and trials.

    Trials without a label keep their activity. The others are permuted, or shifted circularly in order of onset, within blocks of
    equal values of the trial label ``within`` if it is given; an unknown label raises SchemaError. Shifts of one block come in a
    random order, each of :func:`distinct_shifts` once before any comes again; those of several blocks are drawn. If the windows
    of a trial differ in label (positions on a track), activity is also shifted circularly among them, which keeps neighbouring
    windows next to each other.
    """
    trials, windows = dataset.sizes["trial"], dataset.sizes["window"]
    order, shift = np.arange(trials), np.zeros(trials, dtype=np.int64)
    if number == 0:
        return Permutation(order, shift, windows)
    random = np.random.default_rng([number, zlib.crc32(name.encode())])
    labels = dataset["label"].to_numpy()
    labelled = (labels >= 0).all(axis=1)
    blocks = _blocks(name, dataset, within)
    for members in blocks:
        if rearrangement == "permute":
            order[np.sort(members)] = random.permutation(np.sort(members))
        elif len(blocks) > 1:
            order[members] = np.roll(members, -int(random.integers(len(members))))
        elif len(members) > 1:
            order[members] = np.roll(members, -_shift_number(name, len(members) - 1, number))
    if (labels != labels[:, :1]).any():
        shift[labelled] = random.integers(windows, size=int(labelled.sum()))
    return Permutation(order, shift, windows)


def _shift_number(name: str, shifts: int, number: int) -> int:
    """Return one of 1 to ``shifts``: for consecutive numbers, beginning with 1, each once before any comes again."""
    cycle, index = divmod(number - 1, shifts)
    random = np.random.default_rng([cycle, 7, zlib.crc32(name.encode())])
    return int(random.permutation(shifts)[index]) + 1


def distinct_shifts(name: str, dataset: xr.Dataset, within: str | None = None) -> int:
    """Return how many shifts of the labelled trials of an animal along its session differ from the data."""
    return prod(len(members) for members in _blocks(name, dataset, within)) - 1


def _blocks(name: str, dataset: xr.Dataset, within: str | None) -> list[NDArray[np.intp]]:
    """Return the labelled trials of each block in order of onset, or of the file if there are no onsets."""
    in_time = schema.time_order(dataset)
    labels = dataset["label"].to_numpy()[in_time]
    labelled = in_time[(labels >= 0).all(axis=1)]
    if within is None:
        return [labelled]
    values = schema.trial_label(name, dataset, within).to_numpy().astype(str)[labelled]
    return [labelled[values == value] for value in np.unique(values)]


def permuted(
    samples: xr.DataTree, permutation: int, *, within: str | None = None, rearrangement: Rearrangement = "permute"
) -> xr.DataTree:
    """Return null samples: the activity of each animal exchanged between its trials, see :func:`draw_permutation`."""
    children = {}
    for name, dataset in schema.animals(samples):
        activity = dataset["activity"].transpose("trial", "window", ...)
        values = activity.to_numpy()
        source = draw_permutation(name, dataset, permutation, within=within, rearrangement=rearrangement).samples()
        null_values = values.reshape(-1, *values.shape[2:])[source].reshape(values.shape)
        children[name] = dataset.assign(activity=activity.copy(data=null_values))
    return xr.DataTree.from_dict({"/": samples.to_dataset(), **children})


def matched_noise(recordings: xr.DataTree, seed: int) -> xr.DataTree:
    """Return recordings in which activity is replaced by noise that matches each unit; labels, trials and units stay.

    Counts are drawn from a Poisson distribution with the unit's mean over trials and bins; amplitudes are drawn with replacement
    from those of the unit. The draws of an animal depend on ``seed`` and its name, not on other animals.
    """
    children = {}
    for name, dataset in schema.animals(recordings):
        activity = schema.activity(dataset)
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        values = activity.to_numpy()
        if activity.name == "spike_count":
            drawn = random.poisson(values.mean(axis=(0, 1), dtype=np.float64), size=values.shape)
            whole = values.dtype.kind in "iu"
            noise = (np.minimum(drawn, np.iinfo(values.dtype).max) if whole else drawn).astype(values.dtype)
        else:
            pooled = values.reshape(-1, values.shape[-1])
            noise = np.take_along_axis(pooled, random.integers(len(pooled), size=pooled.shape), axis=0).reshape(values.shape)
        children[name] = dataset.assign({str(activity.name): (activity.dims, noise, activity.attrs)})
    return xr.DataTree.from_dict({"/": recordings.to_dataset(), **children})
