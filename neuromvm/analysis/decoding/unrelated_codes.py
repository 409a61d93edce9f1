"""Whether decoders of one animal read another better than they would if each animal had a code of its own.

Refits and permuted labels both say what decoders give where activity tells nothing of the label. A model that carries the labels
of every animal, but not alike, gives more than that: systematic answers, which with few animals and classes are often right by
luck. Here the classes of every animal are renamed (:mod:`neuromvm.analysis.statistics.renamed_classes`) and nothing is fitted
again.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.analysis.statistics.renamed_classes import Renaming, recall

KIND = "{} draws in which the classes of each animal are renamed, all trials of a class alike: codes that differ between animals"


def cross_if_unrelated(predictions: xr.DataTree, samples: xr.DataTree, renaming: Renaming) -> Floats:
    """Return the score *cross* with the classes of every animal renamed ``(draw,)``.

    Parameters
    ----------
    predictions
        What :func:`neuromvm.analysis.readouts.decoders.decode` returns.
    samples
        True labels.
    renaming
        Names of the classes of every animal. One animal alone is read by nobody: NaN.
    """
    animals, each = list(samples.children), []
    if len(animals) < 2:
        return np.full(renaming.draws, np.nan)
    for read in animals:
        dataset, labels = predictions[read].to_dataset(), samples[read]["label"].to_numpy()
        split = dataset["split"].to_numpy()
        of_read = []
        for decoder in (name for name in animals if name != read):
            one = dataset.sel(decoder=decoder)
            common: NDArray[np.bool_] = np.asarray(one["common"].any("replica"))
            shares = np.where(common[:, None], recall(one["predicted"].to_numpy(), labels, len(common)), np.nan)
            per_split = np.stack([over_trials.mean_of_scored(shares[split == number], axis=0) for number in np.unique(split)])
            of_read.append(renaming.accuracy(per_split, common, read, decoder))  # (draw, split)
        each.append(over_trials.mean_of_scored(over_trials.mean_of_scored(np.stack(of_read), axis=0), axis=1))
    return over_trials.mean_of_scored(np.stack(each), axis=0)
