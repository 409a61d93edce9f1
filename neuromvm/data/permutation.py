"""Null data: activity permuted across the trials of each animal, and noise; labels, splits and pairs stay unchanged.

This is equivalent to permuting the labels and stratifying new splits by them, but what depends on labels and splits alone is
computed once. If activity is independent of the label, the original order is one of the permutations.
"""

import zlib
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema


class Permutation(NamedTuple):
    """Sources of the activity of an animal: source ``trial (trial,)`` and circular ``shift (trial,)`` in windows."""

    trial: NDArray[np.int64]
    shift: NDArray[np.int64]
    windows: int

    def samples(self) -> NDArray[np.int64]:
        """Return the number, trial * windows + window, of the source of each sample ``(trial * window,)``."""
        window = (np.arange(self.windows) + self.shift[:, None]) % self.windows
        return np.asarray((self.trial[:, None] * self.windows + window).reshape(-1))


def draw_permutation(name: str, dataset: xr.Dataset, number: int, *, within: str | None = None) -> Permutation:
    """Return a permutation of the trials of an animal, which depends on its ``number`` (0: the identity), name and trials.

    Trials without a label keep their activity. The others are permuted, within blocks of equal values of the trial label
    ``within`` if it is given; an unknown label raises SchemaError. If the windows of a trial differ in label (positions on a
    track), activity is also shifted circularly among them, which keeps neighbouring windows next to each other.
    """
    trials, windows = dataset.sizes["trial"], dataset.sizes["window"]
    order, shift = np.arange(trials), np.zeros(trials, dtype=np.int64)
    if number == 0:
        return Permutation(order, shift, windows)
    random = np.random.default_rng([number, zlib.crc32(name.encode())])
    labels = dataset["label"].to_numpy()
    labelled = (labels >= 0).all(axis=1)
    blocks = np.zeros(trials) if within is None else schema.trial_label(name, dataset, within).to_numpy().astype(str)
    for block in np.unique(blocks):
        members = np.flatnonzero(labelled & (blocks == block))
        order[members] = random.permutation(members)
    if (labels != labels[:, :1]).any():
        shift[labelled] = random.integers(windows, size=int(labelled.sum()))
    return Permutation(order, shift, windows)


def permuted(samples: xr.DataTree, permutation: int, *, within: str | None = None) -> xr.DataTree:
    """Return null samples: the activity of each animal permuted across its trials, see :func:`draw_permutation`."""
    children = {}
    for name, dataset in schema.animals(samples):
        activity = dataset["activity"].transpose("trial", "window", ...)
        values = activity.to_numpy()
        source = draw_permutation(name, dataset, permutation, within=within).samples()
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
        if values.dtype.kind == "u":
            drawn = random.poisson(values.mean(axis=(0, 1), dtype=np.float64), size=values.shape)
            noise = np.minimum(drawn, np.iinfo(values.dtype).max).astype(values.dtype)
        else:
            pooled = values.reshape(-1, values.shape[-1])
            noise = np.take_along_axis(pooled, random.integers(len(pooled), size=pooled.shape), axis=0).reshape(values.shape)
        children[name] = dataset.assign({str(activity.name): (activity.dims, noise, activity.attrs)})
    return xr.DataTree.from_dict({"/": recordings.to_dataset(), **children})
