"""Classifiers fitted on training-side trials of some animals and applied to test trials of one."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.readouts.classifiers import Classifier, Logistic
from neuromvm.analysis.readouts.representations import Floats, Representation, held_out, training_side

OTHERS, POOLED = "others", "pooled"


def decode(
    representation: Representation, samples: xr.DataTree, splits: xr.DataTree, decoders: Sequence[str] | None = None
) -> xr.DataTree:
    """Predict the label of every test trial by every decoder.

    There is a decoder of each animal, fitted on its training side; and if animals share a space, ``others`` (all animals but the
    target) and ``pooled`` (all animals, the training side of the target included). No decoder is fitted on a test trial, unless
    the splits say that trials both train and test. ``decoders`` limits them to some.

    Returns
    -------
    One node a target: ``predicted (replica, decoder, trial, window)``, class codes, -1 where the trial is not tested or the
    decoder does not exist; ``common (replica, decoder, class)``, the classes that decoder and target share, among which the
    decoder chooses and on which it is scored; coordinates ``decoder`` and ``split(replica)``. A decoder that shares fewer than
    two classes with a target is left out.
    """
    names = [*samples.children, OTHERS, POOLED] if decoders is None else list(decoders)
    classes = len(json.loads(samples.attrs["classes"]))
    shape = (len(representation.replicas), len(names))
    coords = {"decoder": names, "split": ("replica", representation.replicas)}
    decoded = {}
    for target, node in samples.children.items():
        unknown = np.full((*shape, *node["label"].shape), -1, dtype=np.int16)
        variables = {
            "predicted": (("replica", "decoder", "trial", "window"), unknown),
            "common": (("replica", "decoder", "class"), np.zeros((*shape, classes), dtype=bool)),
        }
        decoded[target] = xr.Dataset(variables, coords)
    known = {name: np.setdiff1d(node["label"].to_numpy(), [-1]) for name, node in samples.children.items()}
    for replica in range(len(representation.replicas)):
        fitted = _Decoders(representation, replica, samples, splits)
        for sources, test_sets in fitted.test_sets(names).items():
            classifier = fitted.fitted_on(sources)
            test_sets = [test for test in test_sets if len(np.intersect1d(classifier.classes_, known[test.target])) > 1]
            for test, codes, shared in _predictions(classifier, test_sets, known):
                decoded[test.target]["predicted"].values[replica, test.decoder, test.tested] = codes
                decoded[test.target]["common"].values[replica, test.decoder, shared] = True
    return xr.DataTree.from_dict(decoded)


class _TestSet(NamedTuple):
    """Test trials of a target, as a decoder sees them."""

    target: str
    decoder: int
    tested: NDArray[np.bool_]  # (trial,)
    values: Floats  # (tested trial, window, feature)


class _Decoders:
    """The decoders of one replica; a decoder of several targets is fitted once."""

    def __init__(self, representation: Representation, replica: int, samples: xr.DataTree, splits: xr.DataTree) -> None:
        self._representation, self._replica = representation, replica
        self._test_values: dict[str, Floats] = {}
        self._tested: dict[str, NDArray[np.bool_]] = {}
        self._training: dict[str, tuple[Floats, NDArray[np.int16]]] = {}
        split = representation.replicas[replica]
        for animal, node in samples.children.items():
            side, tested = training_side(splits, split, animal), held_out(splits, split, animal)
            values = representation.seen(replica, animal, animal)
            if values is None:
                continue
            if tested.any():
                self._test_values[animal], self._tested[animal] = values[tested], tested
            if side.any():
                labels = node["label"].to_numpy()[side]
                self._training[animal] = values[side][labels >= 0], labels[labels >= 0]
        self._fitted: dict[tuple[str, ...], Classifier] = {}
        self._others = {target: schema.other_animals(samples, target) for target in self._tested}

    def test_sets(self, names: Sequence[str]) -> dict[tuple[str, ...], list[_TestSet]]:
        """Return what the decoder fitted on each set of animals has to predict."""
        test_sets: dict[tuple[str, ...], list[_TestSet]] = {}
        for target, tested in self._tested.items():
            for decoder, name in enumerate(names):
                sources, values = self._sources(name, target), self._seen(name, target)
                if sources and values is not None:
                    test_sets.setdefault(sources, []).append(_TestSet(target, decoder, tested, values))
        return test_sets

    def fitted_on(self, sources: tuple[str, ...]) -> Classifier:
        """Return the classifier fitted on these animals."""
        if sources not in self._fitted:
            features, labels = zip(*(self._training[source] for source in sources), strict=True)
            self._fitted[sources] = self._unfitted(sources).fit(np.concatenate(features), np.concatenate(labels))
        return self._fitted[sources]

    def _unfitted(self, sources: tuple[str, ...]) -> Classifier:
        """Return a new classifier; those of all animals but one start from that of all animals, whose optimum is near."""
        animals = tuple(self._training)
        if 2 < len(sources) == len(animals) - 1:
            start = self.fitted_on(animals)
            if isinstance(start, Logistic):
                return start.as_start()
        return self._representation.classifier(self._replica)

    def _sources(self, name: str, target: str) -> tuple[str, ...]:
        if name in (OTHERS, POOLED):
            exists = self._representation.shared or (name == POOLED and self._representation.pools)
            return tuple(animal for animal in self._training if exists and (name == POOLED or animal in self._others[target]))
        return (name,) if name in self._training and name in (target, *self._others[target]) else ()

    def _seen(self, name: str, target: str) -> Floats | None:
        """Return the test trials of a target; in a space of all animals they are the same for every decoder."""
        if self._representation.shared or name == target:
            return self._test_values[target]
        sources = (*self._training, POOLED)
        values = self._representation.seen(self._replica, name, target) if name in sources else None
        return None if values is None else values[self._tested[target]]


def _predictions(
    classifier: Classifier, test_sets: Sequence[_TestSet], known: dict[str, NDArray[np.int16]]
) -> list[tuple[_TestSet, NDArray[np.int16], NDArray[np.integer]]]:
    """Predict all test sets at once: the most probable of the classes shared with each target, ``(trial, window)``."""
    if not test_sets:
        return []
    flat = [test.values.reshape(-1, test.values.shape[-1]) for test in test_sets]
    scores = np.split(classifier.class_scores(np.concatenate(flat)), np.cumsum([len(values) for values in flat])[:-1])
    predictions = []
    for test, test_scores in zip(test_sets, scores, strict=True):
        shared = np.intersect1d(classifier.classes_, known[test.target])
        best = test_scores[:, np.isin(classifier.classes_, shared)].argmax(axis=1)
        predictions.append((test, shared[best].reshape(test.values.shape[:2]).astype(np.int16), shared))
    return predictions
