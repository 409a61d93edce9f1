"""Null data: activity carried to other trials of the same animal, everything else where it was.

Labels, splits, pairs and the number of trials of each class stay in place; only which activity a trial has is drawn again. This
is the same as permuting labels and making stratified splits of them anew, but whatever depends on labels and splits alone is
made once. Under the null that activity says nothing of the label, the original order is one of these draws.
"""

import zlib

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.errors import SchemaError, did_you_mean


class Carried:
    """From where each sample of an animal takes its activity, ``trial (trial,)`` and ``shift (trial,)`` in windows."""

    def __init__(self, trial: NDArray[np.int64], shift: NDArray[np.int64], windows: int) -> None:
        self.trial, self.shift, self.windows = trial, shift, windows

    def samples(self) -> NDArray[np.int64]:
        """Return the number, trial * windows + window, of the sample whose activity each sample takes ``(trial * window,)``."""
        window = (np.arange(self.windows) + self.shift[:, None]) % self.windows
        return np.asarray((self.trial[:, None] * self.windows + window).reshape(-1))


def carry(name: str, dataset: xr.Dataset, permutation: int, *, within: str | None = None) -> Carried:
    """Draw from where each trial of an animal takes its activity.

    Parameters
    ----------
    name
        The animal: a draw depends on its name and its trials, not on the other animals.
    dataset
        Its samples.
    permutation
        Number of the draw; 0 leaves everything in place.
    within
        Trial label (block, session) within which trials are exchangeable. By default all trials of an animal are.

    Returns
    -------
    Trials without a label keep their own activity. Where windows of a trial differ in label (places on a track), activity is also
    shifted circularly among the windows of the trial, so that neighbouring windows stay neighbours.

    Raises
    ------
    SchemaError
        If there is no such trial label.
    """
    trials, windows = dataset.sizes["trial"], dataset.sizes["window"]
    order, shift = np.arange(trials), np.zeros(trials, dtype=np.int64)
    if permutation == 0:
        return Carried(order, shift, windows)
    random = np.random.default_rng([permutation, zlib.crc32(name.encode())])
    labels = dataset["label"].to_numpy()
    used = (labels >= 0).all(axis=1)
    for block in np.unique(blocks := _blocks(name, dataset, within)):
        members = np.flatnonzero(used & (blocks == block))
        order[members] = random.permutation(members)
    if (labels != labels[:, :1]).any():
        shift[used] = random.integers(windows, size=int(used.sum()))
    return Carried(order, shift, windows)


def permuted(samples: xr.DataTree, permutation: int, *, within: str | None = None) -> xr.DataTree:
    """Return null samples: the activity of each animal's trials permuted, see :func:`carry`.

    Parameters
    ----------
    samples
        Of :func:`neuromvm.data.windows.make_samples`.
    permutation, within
        As of :func:`carry`.

    Examples
    --------
    >>> null = permuted(samples, 1)  # doctest: +SKIP
    >>> null["mitt"]["label"].identical(samples["mitt"]["label"])  # doctest: +SKIP
    True
    """
    children = {}
    for name, dataset in schema.animals(samples):
        activity = dataset["activity"].transpose("trial", "window", ...)
        values = activity.to_numpy()
        source = carry(name, dataset, permutation, within=within).samples()
        moved = values.reshape(-1, *values.shape[2:])[source].reshape(values.shape)
        children[name] = xr.DataTree(dataset.assign(activity=activity.copy(data=moved)))
    return xr.DataTree(dataset=samples.to_dataset(), children=children)


def _blocks(name: str, dataset: xr.Dataset, within: str | None) -> NDArray[np.intp]:
    if within is None:
        return np.zeros(dataset.sizes["trial"], dtype=np.intp)
    known = sorted(str(key) for key, coord in dataset.coords.items() if coord.dims == ("trial",))
    if within not in known:
        raise SchemaError(f"animal {name}", found=f"no trial label {within!r}", next_step=did_you_mean(within, known))
    return np.unique(dataset[within].to_numpy().astype(str), return_inverse=True)[1]
