"""Classifiers of real activity applied to generated activity, and balanced accuracies with intervals and floors over trials."""

import json
import warnings
import zlib
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.activity import recorded
from neuromvm.analysis.readouts.classifiers import Classifier, Codes, Logistic
from neuromvm.analysis.readouts.representations import Floats, held_out, training_side
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows, Tally
from neuromvm.analysis.statistics.renamed_classes import Renaming, recall

PIECE = 250  # permutations in memory together


class Classified(NamedTuple):
    """What classifiers say of samples: ``codes (split, classifier, trial, window)``, -1 where they say nothing.

    ``common (classifier, class)``: the classes they choose among; ``labels (trial, window)``: the true ones.
    """

    codes: NDArray[np.int16]
    common: NDArray[np.bool_]
    labels: NDArray[np.int16]


class Draws(NamedTuple):
    """Balanced accuracies, means over splits."""

    observed: Floats  # (classifier,)
    bootstrap: Floats  # (draw, classifier)
    null: Floats  # (draw, classifier), labels permuted among trials
    chance: Floats  # (classifier,)


class Perceptron:
    """A multilayer perceptron, as the published coherence is classified.

    Parameters
    ----------
    hidden
        Sizes of hidden layers.
    seed
        Of its weights.
    """

    def __init__(self, hidden: Sequence[int], seed: int) -> None:
        self._model = MLPClassifier(tuple(hidden), random_state=seed, max_iter=500)

    @property
    def classes_(self) -> Codes:
        """Class codes it knows, ascending."""
        return np.asarray(self._model.classes_)

    def fit(self, features: Floats, labels: Codes) -> Self:
        """Fit to ``(sample, feature)`` and ``(sample,)``."""
        with warnings.catch_warnings():
            # Every sample is classified long before the loss stops to fall.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(features, labels)
        return self

    def class_scores(self, features: Floats) -> Floats:
        """Return probabilities ``(sample, class)``."""
        return np.asarray(self._model.predict_proba(features))


class Scaled:
    """A classifier that sees features in standard deviations of its training-side samples."""

    def __init__(self, classifier: Classifier, features: Floats, labels: Codes) -> None:
        self._center, spread = features.mean(axis=0), features.std(axis=0)
        self._spread = np.where(spread > 1e-9, spread, 1.0)
        self._model = classifier.fit((features - self._center) / self._spread, labels)

    @property
    def classes_(self) -> Codes:
        """Class codes it knows, ascending."""
        return self._model.classes_

    def class_scores(self, features: Floats) -> Floats:
        """Return ``(sample, class)``: of two classes that with the larger score is the more probable one."""
        return self._model.class_scores((features - self._center) / self._spread)


class Classifiers:
    """One classifier an animal, kind of activity and split, fitted when first asked for.

    Parameters
    ----------
    samples, splits
        Real activity.
    kind, inverse_penalty, hidden, seed
        See :class:`neuromvm.analysis.generated.coherence.Options`.
    """

    def __init__(
        self, samples: xr.DataTree, splits: xr.DataTree, kind: str, inverse_penalty: float, hidden: Sequence[int], seed: int
    ) -> None:
        self._samples, self._splits = samples, splits
        self._kind, self._inverse_penalty, self._hidden, self._seed = kind, inverse_penalty, hidden, seed
        self._classes = len(json.loads(samples.attrs["classes"]))
        self._fitted: dict[tuple[str, str, int, bool], Scaled] = {}

    def of(self, animal: str, kind: str, split: int, *, published: bool = False) -> Scaled:
        """Return the classifier of an animal, fitted on its training side; as published, on its test trials too."""
        key = animal, kind, split, published
        if key not in self._fitted:
            side = training_side(self._splits, split, animal)
            if published:
                side = side | held_out(self._splits, split, animal)
            labels = self._samples[animal]["label"].to_numpy()[side]
            values = recorded(self._samples, animal, kind)[side][labels >= 0]
            made: Classifier = Perceptron(self._hidden, self._seed) if self._kind == "mlp" else Logistic(self._inverse_penalty)
            self._fitted[key] = Scaled(made, values, labels[labels >= 0])
        return self._fitted[key]

    def exists(self, animal: str, split: int) -> bool:
        """Say whether the animal has a training side."""
        return bool(training_side(self._splits, split, animal).any())

    def shared(self, animal: str, labels: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the classes that an animal and some labels share."""
        return np.setdiff1d(np.intersect1d(self._samples[animal]["label"].to_numpy(), labels), [-1]).astype(np.int16)

    def empty(self, splits: int, classifiers: int, labels: NDArray[np.int16]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Return room for the codes and common classes of :class:`Classified`."""
        codes = np.full((splits, classifiers, *labels.shape), -1, dtype=np.int16)
        return codes, np.zeros((classifiers, self._classes), dtype=bool)


def classify(classifier: Scaled, activity: Floats, among: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the most probable of some classes ``(row, window)`` for activity ``(row, window, feature)``."""
    among = np.intersect1d(among, classifier.classes_).astype(np.int16)
    scores = classifier.class_scores(activity.reshape(-1, activity.shape[-1]))[:, np.isin(classifier.classes_, among)]
    return np.asarray(among[scores.argmax(axis=1)].reshape(activity.shape[:-1]))


def draw(classified: Classified, resampling: Resampling, name: str) -> Draws:
    """Score what classifiers say of an animal's samples.

    Balanced accuracy, mean over splits; bootstrap draws of trials within rows of labels; and labels permuted among the scored
    trials, which is what latents that carry no class would give. Draws depend on the name: scores of an animal are paired.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[0], [1], [0], [1]], np.int16)
    >>> said = Classified(labels[None, None], np.ones((1, 2), bool), labels)
    >>> draw(said, Resampling(100, 500), "mitt").observed.tolist()
    [1.0]
    """
    codes, common, labels = classified
    used = (codes >= 0).any(axis=(0, 1, 3))
    codes, rows = codes[:, :, used], LabelRows.of(labels[used])
    splits, classifiers = codes.shape[:2]
    flat = codes.reshape(-1, *codes.shape[2:])
    votes = (flat[..., None] == np.arange(common.shape[1])).astype(np.float32)
    tally = Tally.of(votes, np.asarray((flat >= 0).any(axis=-1)), np.tile(common, (splits, 1)), rows)
    random = np.random.default_rng([resampling.seed, zlib.crc32(name.encode())])

    def scores(assignments: Floats) -> Floats:
        each = tally.balanced_accuracy(assignments).reshape(len(assignments), splits, classifiers)
        return over_trials.mean_of_scored(each, axis=1)

    bootstrap = scores(over_trials.bootstrap(rows, resampling.bootstraps, random))
    pieces = [
        scores(over_trials.permutations(rows, min(PIECE, resampling.permutations - begin), random))
        for begin in range(0, resampling.permutations, PIECE)
    ]
    null = np.concatenate(pieces) if pieces else np.zeros((0, classifiers))
    chance = np.where(common.any(axis=1), 1 / np.maximum(common.sum(axis=1), 1), np.nan)
    return Draws(scores(over_trials.as_they_are(rows))[0], bootstrap, null, chance)


def renamed(classified: Classified, read: str, decoders: Sequence[str | None], renaming: Renaming) -> Floats:
    """Return balanced accuracies with the classes of animals renamed ``(draw, classifier)``, mean over splits.

    It is what latents would give that carry the classes, but not as the classifier's animal does.

    Parameters
    ----------
    classified
        What classifiers say of the samples.
    read
        Whose samples they are.
    decoders
        The animal of each classifier, None where its classes keep their names.
    renaming
        Names of classes.
    """
    codes, common, labels = classified
    shares = np.where(
        common[:, :, None], recall(codes, labels, common.shape[1]), np.nan
    )  # (split, classifier, class, class said)
    each = [
        over_trials.mean_of_scored(renaming.accuracy(shares[:, place], common[place], read, decoder), axis=1)
        for place, decoder in enumerate(decoders)
    ]
    return np.stack(each, axis=1)


def share_right(classified: Classified, resampling: Resampling, name: str) -> tuple[Floats, Floats]:
    """Return the share of samples that are named rightly, mean over splits, ``(classifier,)``, and draws ``(draw, classifier)``.

    Trials are drawn again within rows of labels.
    """
    codes, _, labels = classified
    used = (codes >= 0).any(axis=(0, 1, 3))
    codes, rows = codes[:, :, used], LabelRows.of(labels[used])
    tested = (codes >= 0).any(axis=-1)
    right = tested * (codes == labels[used]).mean(axis=-1)

    def shares(assignments: Floats) -> Floats:
        weight = assignments.sum(axis=2)  # (draw, trial)
        named, total = (np.tensordot(weight, one.astype(np.float64), axes=(1, 2)) for one in (right, tested))
        return over_trials.mean_of_scored(np.where(total > 0, named / np.where(total > 0, total, 1), np.nan), axis=1)

    random = np.random.default_rng([resampling.seed, 2, zlib.crc32(name.encode())])
    return shares(over_trials.as_they_are(rows))[0], shares(over_trials.bootstrap(rows, resampling.bootstraps, random))
