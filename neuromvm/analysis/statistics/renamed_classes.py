"""The null of what is carried from one animal to another: the classes of every animal renamed, all trials of a class alike.

A model that shares nothing may still carry the classes of each animal, in a code of its own. A decoder of one animal then answers
another's classes systematically: all trials of a class alike, and sometimes, by luck, rightly. Labels permuted among trials break
these answers up and make their luck look certain; names of classes permuted keep them. Every animal is renamed once, whoever
reads it: if one code happens to fit another, that fits the first as well, and is luck only once.

Classes must be exchangeable: any code must be as probable as any other. That of places along a track is not, whose neighbours are
alike in every code; there this null would make luck look rare, and none is offered.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.scores import NO_REASON
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats

NEIGHBOURS_ALIKE = "windows of a trial have labels of their own, and neighbours are alike in any code"
PLACES = f"{NO_REASON}{NEIGHBOURS_ALIKE}"


def exchangeable(samples: xr.DataTree) -> bool:
    """Say whether all windows of each trial have the same label."""
    return not any(bool((node["label"] != node["label"].isel(window=0)).any()) for node in samples.children.values())


def recall(codes: NDArray[np.int16], labels: NDArray[np.int16], classes: int) -> Floats:
    """Return the share of the samples of each true class that are said to be each class ``(..., class, class said)``.

    A window of which nothing is said, in a trial of which something is, counts as said wrongly, as it does in scores.

    Parameters
    ----------
    codes
        ``(..., trial, window)``, -1 where nothing is said.
    labels
        ``(trial, window)``, -1 where there is none.
    classes
        Number of classes.

    Returns
    -------
    NaN where a class is not tested.

    Examples
    --------
    >>> recall(np.array([[0], [1], [-1]], np.int16), np.array([[0], [0], [1]], np.int16), 2).tolist()
    [[0.5, 0.5], [nan, nan]]
    """
    said = (codes[..., None] == np.arange(classes)).astype(np.float32)
    true = (labels[..., None] == np.arange(classes)).astype(np.float32)
    counts = np.einsum("...twc,twe->...ec", said, true, optimize=True).astype(np.float64)
    tested = (codes >= 0).any(axis=-1).astype(np.float32)
    total = np.einsum("...t,te->...e", tested, true.sum(axis=1))[..., None]
    return np.where(total > 0, counts / np.where(total > 0, total, 1), np.nan)


def judged(value: Floats, null: Floats) -> dict[str, Floats]:
    """Return ``renamed_mean, renamed_low, renamed_high, renamed_p`` of a score against its draws; NaN without draws."""
    found = over_trials.judged(value, null[:0], null)
    return {f"renamed_{key.removeprefix('null_')}": found[key] for key in ("null_mean", "null_low", "null_high", "p")}


class Renaming:
    """Names that the classes of some animals bear in draws of the null.

    Parameters
    ----------
    animals
        Names of animals; each has draws of its own, whatever the others are.
    classes
        Number of classes.
    draws
        Number of draws. With k classes and two animals no p-value is much below 1 / k!, however many they are.
    seed
        Of the draws.
    """

    def __init__(self, animals: Sequence[str], classes: int, draws: int, seed: int) -> None:
        self.classes, self.draws = classes, draws
        self._keys: Mapping[str, Floats] = {
            name: np.random.default_rng([seed, 4, zlib.crc32(name.encode())]).random((draws, classes)) for name in animals
        }

    def names(self, animal: str, among: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the names ``(draw, class)`` that some classes of an animal bear, of these classes; ``among`` is ascending."""
        return np.asarray(among[self._keys[animal][:, among].argsort(axis=1)])

    def accuracy(self, recall: Floats, common: NDArray[np.bool_], read: str | None, decoder: str | None) -> Floats:
        """Return the balanced accuracies ``(draw, score)`` of decoders of one animal that read another, both renamed.

        Parameters
        ----------
        recall
            Share of the samples of each true class that are said to be each class ``(score, class, class said)``; NaN where a
            class has no sample.
        common
            Classes that are chosen among ``(class,)``.
        read, decoder
            Whose samples are read, and whose decoder says what they are; the classes of None keep their names.

        Examples
        --------
        >>> import numpy as np
        >>> renaming = Renaming(["mitt", "stella"], 3, 100, seed=0)
        >>> found = renaming.accuracy(np.eye(3)[None], np.ones(3, bool), "mitt", "stella")
        >>> sorted(set(found[:, 0].round(2).tolist()))
        [0.0, 0.33, 1.0]
        """
        among = np.flatnonzero(common)
        if len(among) < 2:
            return np.full((self.draws, len(recall)), np.nan)
        true, said = self.pairs(read, decoder, among)
        return over_trials.mean_of_scored(recall[:, true, said], axis=2).T

    def pairs(self, read: str | None, decoder: str | None, among: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the classes of one animal, and those of the other that bear the same names, ``(draw, pair)`` each."""
        # The first of one order bears the same name as the first of the other.
        true, said = (among[self._names(name, among).argsort(axis=1)] for name in (read, decoder))
        return true, said

    def _names(self, animal: str | None, among: NDArray[np.intp]) -> NDArray[np.integer]:
        return np.tile(among, (self.draws, 1)) if animal is None else self.names(animal, among)
