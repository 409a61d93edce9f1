"""Classifiers fitted on training-side trials of some animals and applied to test trials of one."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.classifiers import Classifier, Logistic
from neuromvm.analysis.readouts.representations import Floats, Representation, held_out, training_side

OTHERS, POOLED = "others", "pooled"


def decode(
    representation: Representation, samples: xr.DataTree, splits: xr.DataTree, decoders: Sequence[str] | None = None
) -> xr.DataTree:
    """Predict the label of every test trial by every decoder.

    There is a decoder of each animal, fitted on its training side; of ``others`` (all animals but the target) and ``pooled``
    (all animals, the target's training side among them) where the representation is shared. None sees a test trial, unless
    the splits say that trials both train and test.

    Parameters
    ----------
    representation
        What decoders see, and which classifier they are.
    samples, splits
        One node an animal; see :mod:`neuromvm.schema`.
    decoders
        Animals, ``others`` and ``pooled``; by default all of them.

    Returns
    -------
    One node a target: ``predicted (replica, decoder, trial, window)``, class codes, -1 where the trial is not tested or the
    decoder does not exist; ``common (replica, decoder, class)``, the classes that decoder and target share, among which the
    decoder chooses and on which alone it is to be scored; coordinates ``decoder`` and ``split(replica)``. A decoder that shares
    fewer than two classes with a target is left out.
    """
    names = [*samples.children, OTHERS, POOLED] if decoders is None else list(decoders)
    classes = len(json.loads(samples.attrs["classes"]))
    predicted, common = {}, {}
    for target, node in samples.children.items():
        shape = (len(representation.replicas), len(names))
        predicted[target] = np.full((*shape, *node["label"].shape), -1, dtype=np.int16)
        common[target] = np.zeros((*shape, classes), dtype=bool)
    known = {name: np.setdiff1d(node["label"].to_numpy(), [-1]) for name, node in samples.children.items()}
    for replica in range(len(representation.replicas)):
        fitted = _Decoders(representation, replica, samples, splits)
        for sources, asked in fitted.questions(names).items():
            classifier = fitted.of(sources)
            asked = [one for one in asked if len(np.intersect1d(classifier.classes_, known[one.target])) > 1]
            for one, codes, shared in _answers(classifier, asked, known):
                predicted[one.target][replica, one.place, one.tested] = codes
                common[one.target][replica, one.place, shared] = True
    coords = {"decoder": names, "split": ("replica", representation.replicas)}
    return xr.DataTree.from_dict(
        {
            target: xr.Dataset(
                {
                    "predicted": (("replica", "decoder", "trial", "window"), codes),
                    "common": (("replica", "decoder", "class"), common[target]),
                },
                coords=coords,
            )
            for target, codes in predicted.items()
        }
    )


class _Question(NamedTuple):
    """Test trials of a target, as the decoder at some place sees them."""

    target: str
    place: int
    tested: NDArray[np.bool_]  # (trial,)
    view: Floats  # (tested trial, window, feature)


class _Decoders:
    """The decoders of one replica; one that serves several targets is fitted once."""

    def __init__(self, representation: Representation, replica: int, samples: xr.DataTree, splits: xr.DataTree) -> None:
        self._representation, self._replica = representation, replica
        self._own: dict[str, Floats] = {}
        self._tested: dict[str, NDArray[np.bool_]] = {}
        self._training: dict[str, tuple[Floats, NDArray[np.int16]]] = {}
        split = representation.replicas[replica]
        for animal, node in samples.children.items():
            side, tested = training_side(splits, split, animal), held_out(splits, split, animal)
            view = representation.seen(replica, animal, animal)
            if view is None:
                continue
            if tested.any():
                self._own[animal], self._tested[animal] = view[tested], tested
            if side.any():
                labels = node["label"].to_numpy()[side]
                self._training[animal] = view[side][labels >= 0], labels[labels >= 0]
        self._fitted: dict[tuple[str, ...], Classifier] = {}

    def questions(self, names: Sequence[str]) -> dict[tuple[str, ...], list[_Question]]:
        """Return what the decoder fitted on each set of animals is asked."""
        asked: dict[tuple[str, ...], list[_Question]] = {}
        for target, tested in self._tested.items():
            for place, name in enumerate(names):
                sources, view = self._sources(name, target), self._seen(name, target)
                if sources and view is not None:
                    asked.setdefault(sources, []).append(_Question(target, place, tested, view))
        return asked

    def of(self, sources: tuple[str, ...]) -> Classifier:
        """Return the classifier fitted on these animals."""
        if sources not in self._fitted:
            features, labels = zip(*(self._training[source] for source in sources), strict=True)
            self._fitted[sources] = self._unfitted(sources).fit(np.concatenate(features), np.concatenate(labels))
        return self._fitted[sources]

    def _unfitted(self, sources: tuple[str, ...]) -> Classifier:
        """Return a new classifier; those of all animals but one begin from that of all animals, which is near."""
        everyone = tuple(self._training)
        if 2 < len(sources) == len(everyone) - 1:
            start = self.of(everyone)
            if isinstance(start, Logistic):
                return start.beginning_here()
        return self._representation.classifier(self._replica)

    def _sources(self, name: str, target: str) -> tuple[str, ...]:
        if name in (OTHERS, POOLED):
            shared = self._representation.shared
            return tuple(one for one in self._training if shared and (name == POOLED or one != target))
        return (name,) if name in self._training else ()

    def _seen(self, name: str, target: str) -> Floats | None:
        """Return the test trials of a target; where all animals lie in one space, they look the same to every decoder."""
        if self._representation.shared or name == target:
            return self._own[target]
        view = self._representation.seen(self._replica, name, target) if name in self._training else None
        return None if view is None else view[self._tested[target]]


def _answers(
    classifier: Classifier, asked: Sequence[_Question], known: dict[str, NDArray[np.int16]]
) -> list[tuple[_Question, NDArray[np.int16], NDArray[np.integer]]]:
    """Answer all questions at once: the most probable of the classes shared with each target, ``(trial, window)``."""
    if not asked:
        return []
    views = [one.view for one in asked]
    scores = classifier.class_scores(np.concatenate([view.reshape(-1, view.shape[-1]) for view in views]))
    borders = np.cumsum([view.shape[0] * view.shape[1] for view in views])[:-1]
    found = []
    for one, part in zip(asked, np.split(scores, borders), strict=True):
        among = np.intersect1d(classifier.classes_, known[one.target])
        best = part[:, np.isin(classifier.classes_, among)].argmax(axis=1)
        found.append((one, among[best].reshape(one.view.shape[:2]).astype(np.int16), among))
    return found
