"""Classifiers of real activity, and the classes that they give to generated activity."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from neuromvm.analysis.generated.activity import flattened, recorded, scored_rows
from neuromvm.analysis.generated.imputation_skill import carriers
from neuromvm.analysis.readouts.classifiers import Classifier, Codes
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side


class Classified(NamedTuple):
    """Classes that classifiers give to samples."""

    codes: NDArray[np.int16]  # (split, classifier, trial, window), -1 where there is none
    common: NDArray[np.bool_]  # (classifier, class): classes that a classifier chooses among
    labels: NDArray[np.int16]  # (trial, window): the true classes


class Perceptron:
    """A multilayer perceptron with hidden layers of these sizes, the classifier of the published coherence."""

    def __init__(self, hidden: Sequence[int], seed: int) -> None:
        self._model = MLPClassifier(tuple(hidden), random_state=seed, max_iter=500)

    @property
    def classes_(self) -> Codes:
        """Class codes it knows, ascending."""
        return np.asarray(self._model.classes_)

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to ``(sample, feature)`` and ``(sample,)``."""
        with warnings.catch_warnings():
            # Samples are separated long before the loss converges.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(features, labels)
        return self

    def class_scores(self, features: Floats) -> Floats:
        """Return probabilities ``(sample, class)``."""
        return np.asarray(self._model.predict_proba(features))


class Scaled:
    """A fitted classifier of features in standard deviations over the samples that it was fitted to."""

    def __init__(self, classifier: Classifier, features: Floats, labels: Codes) -> None:
        self._center, spread = features.mean(axis=0), features.std(axis=0)
        self._spread = np.where(spread > 1e-9, spread, 1.0)
        self._model = classifier.fit((features - self._center) / self._spread, labels)

    @property
    def classes_(self) -> Codes:
        """Class codes it knows, ascending."""
        return self._model.classes_

    def class_scores(self, features: Floats) -> Floats:
        """Return ``(sample, class)``; the more probable class has the larger score."""
        return self._model.class_scores((features - self._center) / self._spread)


class Classifiers:
    """Classifiers of the real activity of each animal, one per kind of activity and split, fitted when they are needed.

    ``make`` returns a new classifier.
    """

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, make: Callable[[], Classifier]) -> None:
        self.samples, self.splits, self._make = samples, splits, make
        self._fitted: dict[tuple[str, str, int, bool], Scaled] = {}

    def of_generated(
        self, transferred: xr.DataTree, source: str, kinds: Mapping[str, str], *, published: bool = False
    ) -> Classified:
        """Classify what is generated for every animal from the test trials of the source, whose latents are decoded.

        ``transferred`` is of :func:`neuromvm.inference.transfer.transfer`; ``kinds`` are those of the activity of each animal. As
        published, classifiers are fitted to test trials too.
        """
        labels = self.samples[source]["label"].to_numpy()
        classified = self._unclassified(self.splits[source].sizes["split"], len(kinds), labels)
        for split in range(len(classified.codes)):
            rows = scored_rows(transferred, self.samples, self.splits, source, split)
            if rows is None:
                continue
            tested = held_out(self.splits, split, source)
            for column, (target, kind) in enumerate(kinds.items()):
                activity = flattened(transferred[source][target].to_dataset()["activity"].isel(row=rows))
                self._classify(classified, (split, column, tested), target, kind, split, activity, published)
        return classified

    def of_real(self, animal: str, kind: str) -> Classified:
        """Classify the real test trials of an animal."""
        labels, activity = self.samples[animal]["label"].to_numpy(), recorded(self.samples, animal, kind)
        classified = self._unclassified(self.splits[animal].sizes["split"], 1, labels)
        for split in range(len(classified.codes)):
            tested = held_out(self.splits, split, animal)
            if tested.any() and training_side(self.splits, split, animal).any():
                self._classify(classified, (split, 0, tested), animal, kind, split, activity[tested])
        return classified

    def of_imputed(self, imputed: xr.Dataset, target: str, kind: str) -> Classified:
        """Classify activity imputed for an animal; a tuple counts as the trial of the first animal in it."""
        trial, window, labels = carriers(self.samples, imputed)
        activity = flattened(imputed["mean"])
        classified = self._unclassified(imputed.sizes["replica"], 1, labels)
        for replica, split in enumerate(imputed["split"].to_numpy()):
            tuples = np.flatnonzero(trial[replica] >= 0)
            if len(tuples):
                index = replica, 0, trial[replica, tuples], window[replica, tuples]
                self._classify(classified, index, target, kind, int(split), activity[replica, tuples])
        return classified

    def _classify(
        self,
        classified: Classified,
        index: tuple[Any, ...],
        animal: str,
        kind: str,
        split: int,
        activity: Floats,
        published: bool = False,
    ) -> None:
        """Enter the classes of activity ``(..., feature)`` at an index of codes, unless animal and labels share too few."""
        shared = np.setdiff1d(np.intersect1d(self.samples[animal]["label"].to_numpy(), classified.labels), [-1])
        if len(shared) < 2:
            return
        classifier = self._classifier(animal, kind, split, published)
        classes = np.intersect1d(shared, classifier.classes_)
        scores = classifier.class_scores(activity.reshape(-1, activity.shape[-1]))[:, np.isin(classifier.classes_, classes)]
        classified.codes[index] = classes[scores.argmax(axis=1)].reshape(activity.shape[:-1])
        classified.common[index[1], shared] = True

    def _classifier(self, animal: str, kind: str, split: int, published: bool) -> Scaled:
        """Return the classifier fitted to the training side of an animal; as published, to its test trials too."""
        key = animal, kind, split, published
        if key not in self._fitted:
            side = training_side(self.splits, split, animal)
            if published:
                side = side | held_out(self.splits, split, animal)
            labels = self.samples[animal]["label"].to_numpy()[side]
            activity = recorded(self.samples, animal, kind)[side][labels >= 0]
            self._fitted[key] = Scaled(self._make(), activity, labels[labels >= 0])
        return self._fitted[key]

    def _unclassified(self, splits: int, classifiers: int, labels: NDArray[np.int16]) -> Classified:
        codes = np.full((splits, classifiers, *labels.shape), -1, dtype=np.int16)
        return Classified(codes, np.zeros((classifiers, len(json.loads(self.samples.attrs["classes"]))), dtype=bool), labels)
