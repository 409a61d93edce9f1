"""The null of systematic answers: the classes of every animal are renamed once, all trials of a class alike.

A decoder of one animal may answer the classes of another systematically, and sometimes rightly by luck, although the animals
were never aligned. Permuting labels among trials destroys these answers; permuting the names of classes keeps them. Names are
exchanged after everything was fitted, so animals that were aligned by label pass this null whether they share a code or not.
Any code must be as probable as any other. Places along a track are not: neighbours are alike in every code, so this null is not
offered for them.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.scores import ABSENT_PREFIX
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import Floats

NEIGHBOURS_ALIKE = "windows of a trial have labels of their own, and neighbours are alike in any code"
PLACES = f"{ABSENT_PREFIX}{NEIGHBOURS_ALIKE}"


def exchangeable(samples: xr.DataTree) -> bool:
    """Return whether all windows of each trial have the same label."""
    return not any(bool((node["label"] != node["label"].isel(window=0)).any()) for node in samples.children.values())


def recall(codes: NDArray[np.int16], labels: NDArray[np.int16], classes: int) -> Floats:
    """Return the share of the samples of each true class predicted as each class ``(..., true class, predicted class)``.

    ``codes (..., trial, window)`` and ``labels (trial, window)`` are -1 where there is none. A window without prediction, in a
    trial with one, counts as wrong, as it does in scores. NaN where a class is not tested.

    Examples
    --------
    >>> recall(np.array([[0], [1], [-1]], np.int16), np.array([[0], [0], [1]], np.int16), 2).tolist()
    [[0.5, 0.5], [nan, nan]]
    """
    predicted = (codes[..., None] == np.arange(classes)).astype(np.float32)
    true = (labels[..., None] == np.arange(classes)).astype(np.float32)
    counts = np.einsum("...twc,twe->...ec", predicted, true, optimize=True).astype(np.float64)
    tested = (codes >= 0).any(axis=-1).astype(np.float32)
    total = np.einsum("...t,te->...e", tested, true.sum(axis=1))[..., None]
    return np.where(total > 0, counts / np.where(total > 0, total, 1), np.nan)


class Renaming:
    """Names of the classes of animals in draws of the null; the draws of an animal do not depend on the other animals.

    With k classes and two animals p-values are not much below 1 / k!.
    """

    def __init__(self, animals: Sequence[str], classes: int, draws: int, seed: int) -> None:
        self.classes, self.draws = classes, draws
        self._keys: Mapping[str, Floats] = {
            name: np.random.default_rng([seed, 4, zlib.crc32(name.encode())]).random((draws, classes)) for name in animals
        }

    def names(self, animal: str, among: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the names ``(draw, class)`` of the classes ``among`` (ascending) of an animal, which are permuted."""
        return np.asarray(among[self._keys[animal][:, among].argsort(axis=1)])

    def accuracy(self, recall: Floats, common: NDArray[np.bool_], read: str | None, decoder: str | None) -> Floats:
        """Return the balanced accuracies ``(draw, score)`` of decoders of one animal that read another, both renamed.

        ``recall (score, true class, predicted class)`` is NaN where a class has no sample; the decoder chooses among ``common
        (class,)``. Classes of the animal that is read, or of the decoder's, keep their names if it is None.
        """
        among = np.flatnonzero(common)
        if len(among) < 2:
            return np.full((self.draws, len(recall)), np.nan)
        true, predicted = self.pairs(read, decoder, among)
        return over_trials.mean_of_scored(recall[:, true, predicted], axis=2).T

    def pairs(self, read: str | None, decoder: str | None, among: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the classes of two animals that have the same name, ``(draw, pair)`` each."""
        true, predicted = (among[self._names(name, among).argsort(axis=1)] for name in (read, decoder))
        return true, predicted

    def _names(self, animal: str | None, among: NDArray[np.intp]) -> NDArray[np.integer]:
        return np.tile(among, (self.draws, 1)) if animal is None else self.names(animal, among)
