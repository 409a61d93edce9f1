"""Ridge and kernel ridge regression of many labels at once, each with a penalty chosen on groups of training samples.

The null hypothesis is tested with labels that are shifted and decoders that are fitted again. Features stay as they are, so that
one decomposition of the features serves all shifted labels.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from neuromvm.analysis.statistics.over_trials import Floats

NEGLIGIBLE = 1e-10  # share of the largest eigenvalue below which a component is left out
WIDTH_SAMPLES = 300  # samples of which the median distance is taken


class Regression(NamedTuple):
    """How features are regressed.

    ``penalties``: of the sum of squared weights, in units of the mean squared length of a sample, which for ``kernel ridge`` (a
    Gaussian kernel) is 1. ``width``: standard deviation of the kernel in units of the median distance between samples.
    ``most``: samples that a kernel regression is fitted on, evenly spaced among all.
    """

    kind: Literal["ridge", "kernel ridge"]
    penalties: Sequence[float]
    folds: int = 4
    width: float = 1.0
    most: int = 1000

    def predict(self, features: Floats, labels: Floats, group: NDArray[np.integer], tested: Floats) -> Floats:
        """Predict labels ``(test sample, column, coordinate)`` of ``tested (test sample, feature)``.

        ``features (sample, feature)``, ``labels (sample, column, coordinate)``; ``group (sample,)``: samples of a group are on
        the same side of a fold. Every column has a penalty of its own, that with the smallest squared error over folds; with a
        single group it is the middle one.
        """
        if self.kind == "kernel ridge" and len(features) > self.most:
            chosen = np.linspace(0, len(features) - 1, self.most).round().astype(int)
            features, labels, group = features[chosen], labels[chosen], group[chosen]
        penalty = self._chosen(features, labels, group)
        spectrum = self._spectrum(features, tested)
        predicted = np.empty((len(tested), *labels.shape[1:]))
        for number in np.unique(penalty):
            columns = penalty == number
            predicted[:, columns] = spectrum.predictions(labels[:, columns], self.penalties[number])
        return predicted

    def _chosen(self, features: Floats, labels: Floats, group: NDArray[np.integer]) -> NDArray[np.intp]:
        """Return the number of the penalty of every column."""
        groups, number = np.unique(group, return_inverse=True)
        folds = min(self.folds, len(groups))
        middle = np.full(labels.shape[1], len(self.penalties) // 2)
        if folds < 2 or len(self.penalties) == 1:
            return middle
        error = np.zeros((len(self.penalties), labels.shape[1]))
        for fold in range(folds):
            left_out = number % folds == fold
            spectrum = self._spectrum(features[~left_out], features[left_out])
            for index, penalty in enumerate(self.penalties):
                residual = spectrum.predictions(labels[~left_out], penalty) - labels[left_out]
                error[index] += np.square(residual).sum(axis=(0, 2))
        return np.asarray(error.argmin(axis=0))

    def _spectrum(self, features: Floats, tested: Floats) -> "Spectrum":
        if self.kind == "ridge":
            return ridge_spectrum(features, tested)
        return kernel_spectrum(features, tested, self.width)


class Spectrum(NamedTuple):
    """Training and test samples in the eigenvectors of the training samples' products, which are divided by ``length``."""

    fitted: Floats  # (sample, component), orthonormal
    strength: Floats  # (component,) eigenvalues
    tested: Floats  # (test sample, component)
    length: float  # mean squared length of a training sample

    def predictions(self, labels: Floats, penalty: float) -> Floats:
        """Return ``(test sample, ...)`` of labels ``(sample, ...)``, whose mean is not penalised."""
        mean = labels.mean(axis=0)
        flat = (labels - mean).reshape(len(labels), -1)
        gain = self.strength / (self.strength + penalty * self.length)
        predicted = self.tested @ (gain[:, None] * (self.fitted.T @ flat))
        return np.asarray(predicted.reshape(len(self.tested), *labels.shape[1:]) + mean)


def ridge_spectrum(features: Floats, tested: Floats) -> Spectrum:
    """Return the spectrum of a linear regression; the mean of the features is not penalised."""
    center = features.mean(axis=0)
    left, size, right = np.linalg.svd(features - center, full_matrices=False)
    used = size**2 > NEGLIGIBLE * max(float(size[0]) ** 2, 1e-300)
    left, size, right = left[:, used], size[used], right[used]
    length = float(np.square(size).sum() / len(features)) or 1.0
    return Spectrum(left, size**2, (tested - center) @ right.T / size, length)


def kernel_spectrum(features: Floats, tested: Floats, width: float) -> Spectrum:
    """Return the spectrum of a regression with a Gaussian kernel."""
    some = features[:: max(1, len(features) // WIDTH_SAMPLES)]
    distances = cdist(some, some)
    positive = distances[distances > 0]
    deviation = width * (float(np.median(positive)) if len(positive) else 1.0)
    kernel = np.exp(-cdist(features, features, "sqeuclidean") / (2 * deviation**2))
    strength, vectors = np.linalg.eigh(kernel)
    used = strength > NEGLIGIBLE * strength[-1]
    strength, vectors = strength[used], vectors[:, used]
    between = np.exp(-cdist(tested, features, "sqeuclidean") / (2 * deviation**2))
    return Spectrum(vectors, strength, between @ vectors / strength, 1.0)
