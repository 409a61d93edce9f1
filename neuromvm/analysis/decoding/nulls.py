"""Null hypotheses of decoding scores by name; nulls that refit have the name under which they were saved.

``labels``: activity does not tell the label. Labels are permuted among test trials, or everything is refitted on null data.
``scrambled correspondence``: what passes between animals does not depend on which condition of one animal is which of another.
Names of conditions are exchanged within each animal and everything is refitted; there is no such null without refits. The score
*cross* of rows that are aligned by label does not change under it, whether animals share a code or not.
``class names``, of *cross*: answers are systematic, and right by luck (:mod:`neuromvm.analysis.statistics.renamed_classes`); no
test of a shared code where labels were used to align animals. ``exchanged decoders``, of *within - cross*: an animal is read by
its own decoder as by any other; the matrix of accuracies keeps its rows and columns, and decoders are given to other animals.
"""

from collections.abc import Mapping, Sequence
from itertools import islice, permutations
from math import factorial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.judged import CLASS_NAMES, LABELS, NOT_OF_SETTING, NULL_STATISTICS
from neuromvm.analysis.statistics.hierarchy import between_animals
from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored, under_refits
from neuromvm.analysis.statistics.renamed_classes import Renaming, recall
from neuromvm.data.correspondence import CORRESPONDENCE

EXCHANGED_DECODERS = "exchanged decoders"
EXACT_UP_TO = 7  # animals: 5040 ways to give each the decoder of one
RENAMED_KIND = (
    "{} draws in which the classes of each animal are renamed, all trials of a class alike: codes that differ between animals"
)

Variables = dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]


class NullScores(NamedTuple):
    """Scores of one representation under a null hypothesis."""

    kind: str  # how labels were broken, in words
    draws: int
    statistics: Mapping[str, Floats]  # setting -> (target, null_statistic), the first target being the mean over all
    absent: str = ""  # why the null does not exist
    absent_settings: Mapping[str, str] = MappingProxyType({})  # setting -> why it does not exist there


def null_variables(
    nulls: Sequence[Mapping[str, NullScores]], settings: Sequence[str], samples: xr.DataTree
) -> tuple[list[str], Variables]:
    """Return the names of nulls, and ``null_score, null_kind, null_draws, null_absent`` (:mod:`neuromvm.analysis.judged`).

    ``nulls`` holds name -> scores for each representation; ``samples`` has a node for each target.
    """
    offered = [LABELS, CLASS_NAMES, EXCHANGED_DECODERS, CORRESPONDENCE]
    names = list(dict.fromkeys([*offered, *(name for scores in nulls for name in scores)]))
    shape = (len(names), len(nulls), len(settings))
    statistics = np.full((*shape, len(samples.children) + 1, len(NULL_STATISTICS)), np.nan)
    absent = np.full(shape, NOT_OF_SETTING, dtype=object)
    kinds, draws = np.full(shape[:2], "", dtype=object), np.zeros(shape[:2], dtype=np.intp)
    for representation, scores in enumerate(nulls):
        for name, null in scores.items():
            index = names.index(name), representation
            kinds[index], draws[index] = null.kind, null.draws
            for setting, numbers in null.statistics.items():
                statistics[*index, settings.index(setting)] = numbers
                absent[*index, settings.index(setting)] = null.absent
            for setting, reason in null.absent_settings.items():
                absent[*index, settings.index(setting)] = reason
    dims = ("null", "representation")
    return names, {
        "null_score": ((*dims, "setting", "target", "null_statistic"), statistics),
        "null_kind": (dims, kinds.astype(str)),
        "null_draws": (dims, draws),
        "null_absent": ((*dims, "setting"), absent.astype(str)),
    }


def own_minus_others(accuracy: Floats) -> Floats:
    """Return the accuracy of each animal's own decoder minus the mean of those of the others ``(..., target)``.

    ``accuracy (..., source, target)`` is NaN where there is no decoder.
    """
    diagonal = np.diagonal(accuracy, axis1=-2, axis2=-1)
    return np.asarray(diagonal - mean_of_scored(between_animals(accuracy), axis=-2))


def own_minus_others_at_most(value: Floats, null: Floats) -> Floats:
    """Return ``(..., null_statistic)`` of *within - cross*, p being how often refits ``(draw, ...)`` failed or lose as little.

    Animals that share a code lose less between them than the null, so small values are the unlikely ones.
    """
    mean, low, high, p = np.moveaxis(under_refits(-value, -null), -1, 0)
    return np.stack([-mean, -high, -low, p], axis=-1)


def exchanged(accuracy: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Return *within - cross* where every animal is given the decoder of one: all other ways, or ``draws`` of them, ``(draw,)``.

    Exact where the deviations from a mean of each source and of each target are exchangeable between pairs.
    Hubert & Schultz (1976). Quadratic assignment as a general data analysis strategy. *Br. J. Math. Stat. Psychol.* 29, 190-241.
    """
    animals = len(accuracy)
    if animals <= EXACT_UP_TO:
        orders: NDArray[np.intp] = np.array(list(islice(permutations(range(animals)), 1, None)), dtype=np.intp)
    else:
        orders = rng.permuted(np.broadcast_to(np.arange(animals), (draws, animals)), axis=1)
    return mean_of_scored(own_minus_others(accuracy[orders.reshape(-1, animals)]), axis=-1)


def exchanges(animals: int, draws: int) -> tuple[int, str]:
    """Return how often :func:`exchanged` exchanges decoders, and in words what it does."""
    ways, exact = factorial(animals), animals <= EXACT_UP_TO
    count = f"all {ways} ways" if exact else f"{draws} of {ways} ways, drawn at random,"
    words = f"{count} to give each animal the decoder of one, nothing refitted: its own is one of all"
    return ways - 1 if exact else draws, words


def cross_with_renamed_classes(predictions: xr.DataTree, samples: xr.DataTree, renaming: Renaming) -> Floats:
    """Return the score *cross* with the classes of every animal renamed ``(draw,)``; NaN if there is one animal."""
    animals, of_target = list(samples.children), []
    if len(animals) < 2:
        return np.full(renaming.draws, np.nan)
    for target in animals:
        dataset, labels = predictions[target].to_dataset(), samples[target]["label"].to_numpy()
        split = dataset["split"].to_numpy()
        of_source = []
        for source in schema.other_animals(samples, target):
            decoder = dataset.sel(decoder=source)
            common: NDArray[np.bool_] = np.asarray(decoder["common"].any("replica"))
            shares = np.where(common[:, None], recall(decoder["predicted"].to_numpy(), labels, len(common)), np.nan)
            by_split = np.stack([mean_of_scored(shares[split == number], axis=0) for number in np.unique(split)])
            of_source.append(renaming.accuracy(by_split, common, target, source))  # (draw, split)
        of_target.append(mean_of_scored(mean_of_scored(np.stack(of_source), axis=0), axis=1))
    return mean_of_scored(np.stack(of_target), axis=0)
