"""How much better an animal is read by its own decoder than by those of the others: what is lost between animals.

The null is not that of permuted labels, under which nothing is read at all, but that an animal's own decoder is one of all: the
matrix of accuracies keeps its rows (some decoders are better) and columns (some animals are easier to read), and decoders are
given to other animals.
"""

from itertools import islice, permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.statistics.hierarchy import between_animals
from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored

EXACT_UP_TO = 7  # animals: 5040 ways to give each the decoder of one


def gap(accuracy: Floats) -> Floats:
    """Return the accuracy of an animal's own decoder minus the mean of the others', mean over targets that have both.

    Parameters
    ----------
    accuracy
        ``(..., source, target)``; NaN where there is no decoder.

    Examples
    --------
    >>> gap(np.array([[0.9, 0.5, 0.4], [0.4, 0.8, 0.4], [0.4, 0.5, 0.7]])).round(3).item()
    0.367
    """
    own = np.diagonal(accuracy, axis1=-2, axis2=-1)
    others = mean_of_scored(between_animals(accuracy), axis=-2)
    return mean_of_scored(own - others, axis=-1)


def exchanged(accuracy: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Return the gaps where every animal is given the decoder of one: all other ways, or ``draws`` of them, ``(draw,)``.

    Exact where what is left beside a mean of each source and of each target is exchangeable between pairs.

    References
    ----------
    Hubert & Schultz (1976). Quadratic assignment as a general data analysis strategy. *Br. J. Math. Stat. Psychol.* 29, 190-241.

    Examples
    --------
    >>> len(exchanged(np.eye(4), 1000, np.random.default_rng(0)))
    23
    """
    animals = len(accuracy)
    if animals <= EXACT_UP_TO:
        orders: NDArray[np.intp] = np.array(list(islice(permutations(range(animals)), 1, None)), dtype=np.intp)
    else:
        orders = rng.permuted(np.broadcast_to(np.arange(animals), (draws, animals)), axis=1)
    return gap(accuracy[orders.reshape(-1, animals)])


def exchanges(animals: int, draws: int) -> tuple[int, str]:
    """Return how often :func:`exchanged` exchanges decoders, and in words what it does."""
    ways = factorial(animals)
    exact = animals <= EXACT_UP_TO
    count = f"all {ways} ways" if exact else f"{draws} of {ways} ways, drawn at random,"
    return (
        ways - 1 if exact else draws,
        f"{count} to give each animal the decoder of one, nothing refitted: its own is one of all",
    )
