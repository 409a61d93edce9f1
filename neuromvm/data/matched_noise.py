"""Recordings that hold nothing: every unit as active as it was, and no bin knows of any trial."""

import zlib

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema


def matched_noise(recordings: xr.DataTree, seed: int) -> xr.DataTree:
    """Replace activity by noise that matches each unit.

    Parameters
    ----------
    recordings
        One node an animal.
    seed
        Of the draw; an animal's depends on its name, not on the other animals.

    Returns
    -------
    Counts drawn from a Poisson distribution with the mean of the unit over trials and bins; amplitudes drawn with
    replacement from those of the unit. Labels, trials and units stay.

    Examples
    --------
    >>> counts = np.full((100, 10, 1), 4, np.uint8)
    >>> node = xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)})
    >>> noise = matched_noise(xr.DataTree.from_dict({"mitt": node}), seed=1)["mitt"]["spike_count"]
    >>> bool(abs(noise.mean() - 4) < 0.3), bool(3 < noise.var() < 5)
    (True, True)
    """
    children = {}
    for name, dataset in schema.animals(recordings):
        activity = schema.activity(dataset)
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        values = activity.to_numpy()
        noise = _poisson(values, random) if values.dtype.kind == "u" else _resampled(values, random)
        bare = dataset.drop_vars(dim for dim in recordings.dims if dim in dataset.coords)  # the grid stays at the root
        children[name] = xr.DataTree(bare.assign({str(activity.name): (activity.dims, noise, activity.attrs)}))
    return xr.DataTree(dataset=recordings.to_dataset(), children=children)


def _poisson(counts: NDArray[np.unsignedinteger], random: np.random.Generator) -> NDArray[np.unsignedinteger]:
    mean = counts.mean(axis=(0, 1), dtype=np.float64)
    drawn = random.poisson(mean, size=counts.shape)
    return np.minimum(drawn, np.iinfo(counts.dtype).max).astype(counts.dtype)


def _resampled(values: NDArray[np.generic], random: np.random.Generator) -> NDArray[np.generic]:
    flat = values.reshape(-1, values.shape[-1])
    chosen = random.integers(len(flat), size=flat.shape)
    return np.take_along_axis(flat, chosen, axis=0).reshape(values.shape)
