"""Confusion matrices: as which class samples of each class are read, in the settings of decoding."""

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding.decoder_groups import SETTINGS, decoders_of_settings
from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored


def confusion(predictions: Mapping[str, xr.DataTree], samples: xr.DataTree) -> xr.DataArray:
    """Return the share of samples of each true class that are read as each class.

    Parameters
    ----------
    predictions
        Representation -> what :func:`neuromvm.analysis.readouts.decoders.decode` returns.
    samples
        True labels.

    Returns
    -------
    ``(representation, setting, true, read_as)``: shares of the test samples of an animal, over all replicas and the decoders of
    the setting, then the mean over animals. Rows sum to 1; NaN where no sample of a class is tested. The mean of the diagonal is
    the balanced accuracy where each animal has every class and each decoder as many tested trials in every replica.

    Examples
    --------
    >>> label, predicted = np.array([[0], [0], [1]]), np.array([[[[0], [1], [1]]]])
    >>> read = xr.Dataset({"predicted": (("replica", "decoder", "trial", "window"), predicted)}, {"decoder": ["ann"]})
    >>> ann = xr.Dataset({"label": (("trial", "window"), label)})
    >>> samples = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"classes": '["A", "B"]'}), "/ann": ann})
    >>> confusion({"raw": xr.DataTree.from_dict({"/ann": read})}, samples).sel(setting="within").values.tolist()
    [[[0.5, 0.5], [0.0, 1.0]]]
    """
    classes = json.loads(samples.attrs["classes"])
    targets = [(str(name), node) for name, node in samples.children.items()]
    shares = np.full((len(predictions), len(SETTINGS), len(classes), len(classes)), np.nan)
    for number, tree in enumerate(predictions.values()):
        of_targets = [_of_target(tree[name].to_dataset(), node.to_dataset(), name, len(classes)) for name, node in targets]
        shares[number] = mean_of_scored(np.stack(of_targets), axis=0)
    dims = ("representation", "setting", "true", "read_as")
    coords = {"representation": list(predictions), "setting": list(SETTINGS), "true": classes, "read_as": classes}
    return xr.DataArray(shares, coords, dims)


def _of_target(predicted: xr.Dataset, samples: xr.Dataset, target: str, classes: int) -> Floats:
    """Return the shares of one animal that is read, ``(setting, true, read_as)``."""
    codes, labels = predicted["predicted"].to_numpy(), samples["label"].to_numpy()
    groups = decoders_of_settings(target, [str(name) for name in predicted["decoder"].values])
    return np.stack([_shares(codes[:, group], labels, classes) for group in groups])


def _shares(codes: NDArray[np.int16], true: NDArray[np.int16], classes: int) -> Floats:
    """Return the shares ``(true, read_as)`` of predicted codes ``(replica, decoder, trial, window)``; -1: not tested."""
    labels = np.broadcast_to(true, codes.shape)
    scored = (codes >= 0) & (labels >= 0)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[scored], codes[scored]), 1)
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)
