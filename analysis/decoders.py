"""Logistic regressions fitted on training-side trials of some animals and applied to test trials of one."""

import json

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from analysis.representations import Floats, Representation, held_out, training_side

OTHERS, POOLED = "others", "pooled"


def decode(representation: Representation, samples: xr.DataTree, splits: xr.DataTree) -> xr.DataTree:
    """Predict the label of every test trial by every decoder.

    There is a decoder of each animal, fitted on its training side; of ``others`` (all animals but the target) and ``pooled``
    (all animals, the target's training side among them) where the representation is shared. None sees a test trial, unless
    the splits say that trials both train and test.

    Parameters
    ----------
    representation
        What decoders see.
    samples, splits
        One node an animal; see :mod:`neuromvm.schema`.

    Returns
    -------
    One node a target: ``predicted (replica, decoder, trial, window)``, class codes, -1 where the trial is not tested or the
    decoder does not exist; ``common (replica, decoder, class)``, the classes that decoder and target share, among which the
    decoder chooses and on which alone it is to be scored; coordinates ``decoder`` (animals, ``others``, ``pooled``) and
    ``split(replica)``. A decoder that shares fewer than two classes with a target is left out.
    """
    animals = list(samples.children)
    names = [*animals, OTHERS, POOLED]
    classes = len(json.loads(samples.attrs["classes"]))
    predicted, common = {}, {}
    for target, node in samples.children.items():
        shape = (len(representation.replicas), len(names))
        predicted[target] = np.full((*shape, *node["label"].shape), -1, dtype=np.int16)
        common[target] = np.zeros((*shape, classes), dtype=bool)
    for replica, split in enumerate(representation.replicas):
        fitted = _Decoders(representation, replica, samples, splits)
        for target in animals:
            tested = held_out(splits, split, target)
            if not tested.any():
                continue
            own = np.setdiff1d(samples[target]["label"].to_numpy(), [-1])
            for place, name in enumerate(names):
                decoder = fitted.of(name, target)
                view = representation.seen(replica, name if name in animals else target, target)
                if decoder is None or view is None:
                    continue
                shared = np.intersect1d(decoder.classes_, own)
                if len(shared) > 1:
                    predicted[target][replica, place, tested] = _predict(decoder, view[tested], shared)
                    common[target][replica, place, shared] = True
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


class _Decoders:
    """The decoders of one replica; one that serves several targets is fitted once."""

    def __init__(self, representation: Representation, replica: int, samples: xr.DataTree, splits: xr.DataTree) -> None:
        self._inverse_penalty, self._shared = representation.inverse_penalty, representation.shared
        self._training: dict[str, tuple[Floats, NDArray[np.int16]]] = {}
        for animal, node in samples.children.items():
            side = training_side(splits, representation.replicas[replica], animal)
            view = representation.seen(replica, animal, animal)
            if view is not None and side.any():
                labels = node["label"].to_numpy()[side]
                self._training[animal] = view[side][labels >= 0], labels[labels >= 0]
        self._fitted: dict[tuple[str, ...], LogisticRegression] = {}

    def of(self, name: str, target: str) -> LogisticRegression | None:
        """Return the decoder of that name, or None where there are no samples to fit it on."""
        if name in (OTHERS, POOLED):
            if not self._shared:
                return None
            sources = tuple(animal for animal in self._training if name == POOLED or animal != target)
        else:
            sources = (name,) if name in self._training else ()
        if sources and sources not in self._fitted:
            features, labels = zip(*(self._training[source] for source in sources), strict=True)
            model = LogisticRegression(C=self._inverse_penalty, max_iter=1000)
            self._fitted[sources] = model.fit(np.concatenate(features), np.concatenate(labels))
        return self._fitted.get(sources)


def _predict(decoder: LogisticRegression, view: Floats, among: NDArray[np.integer]) -> NDArray[np.int16]:
    """Return the most probable of some classes, ``(trial, window)``."""
    probability = decoder.predict_proba(view.reshape(-1, view.shape[-1]))[:, np.isin(decoder.classes_, among)]
    return np.asarray(among[probability.argmax(axis=1)].reshape(view.shape[:2]).astype(np.int16))
