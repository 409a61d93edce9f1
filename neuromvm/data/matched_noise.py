"""Control recordings: noise with the mean activity of every unit and no information about trials."""

import zlib

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema


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
        noise = _poisson(values, random) if values.dtype.kind == "u" else _resampled(values, random)
        children[name] = dataset.assign({str(activity.name): (activity.dims, noise, activity.attrs)})
    return xr.DataTree.from_dict({"/": recordings.to_dataset(), **children})


def _poisson(counts: NDArray[np.unsignedinteger], random: np.random.Generator) -> NDArray[np.unsignedinteger]:
    mean = counts.mean(axis=(0, 1), dtype=np.float64)
    drawn = random.poisson(mean, size=counts.shape)
    return np.minimum(drawn, np.iinfo(counts.dtype).max).astype(counts.dtype)


def _resampled(values: NDArray[np.generic], random: np.random.Generator) -> NDArray[np.generic]:
    flat = values.reshape(-1, values.shape[-1])
    chosen = random.integers(len(flat), size=flat.shape)
    return np.take_along_axis(flat, chosen, axis=0).reshape(values.shape)
