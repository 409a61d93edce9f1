"""Linear discriminants of many windows at once, quick enough to be refitted for every permutation."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.data.features import Scaler


class Discriminants(NamedTuple):
    """One decoder a window, for unscaled features."""

    weights: Floats  # (window, feature, class)
    offset: Floats  # (window, class)

    def predict(self, values: Floats) -> NDArray[np.intp]:
        """Return the index of the most probable class by every decoder ``(trial, test window, decoder's window)``."""
        windows, features, classes = self.weights.shape
        scores = values.reshape(-1, features) @ self.weights.transpose(1, 0, 2).reshape(features, -1)
        scores = scores.reshape(*values.shape[:2], windows, classes)
        scores += self.offset
        return np.asarray(scores.argmax(axis=-1))

    def among(self, indices: NDArray[np.integer]) -> "Discriminants":
        """Return decoders that choose among the classes with these indices."""
        return Discriminants(self.weights[:, :, indices], self.offset[:, indices])


def fit_discriminants(training: Floats, codes: NDArray[np.integer]) -> Discriminants:
    """Fit linear discriminant analysis in every window of ``training (sample, window, feature)``, for ``codes (sample,)``.

    There is one covariance for all classes, shrunk, and equal priors, since scores are balanced accuracies. Features are scaled
    to mean 0 and standard deviation 1 over these samples, window by window.
    """
    samples, windows, features = training.shape
    scaler = Scaler.fit(training.reshape(samples, -1))
    center, spread = (values.reshape(windows, features).astype(np.float64) for values in (scaler.center, scaler.spread))
    scaled = ((training - center) / spread).transpose(1, 0, 2)  # (window, sample, feature)
    member = (codes == np.unique(codes)[:, None]).astype(np.float64)  # (class, sample)
    means = (member / member.sum(axis=1, keepdims=True)) @ scaled  # (window, class, feature)
    weights = _solve(scaled - member.T @ means, means)
    unscaled = weights / spread[:, :, None]
    offset = -0.5 * np.einsum("wcf,wfc->wc", means, weights) - np.einsum("wf,wfc->wc", center, unscaled)
    return Discriminants(unscaled, offset)


def shrinkage(residuals: Floats) -> tuple[Floats, Floats, Floats]:
    """Estimate how far the covariance of ``residuals (window, sample, feature)`` is shrunk towards a multiple of the identity.

    Return the share of the identity (Ledoit & Wolf 2004) and mean variance, ``(window,)`` each, and the smaller of ``residuals.T
    @ residuals`` and ``residuals @ residuals.T``, which have the same eigenvalues.
    """
    _, samples, features = residuals.shape
    turned = residuals.transpose(0, 2, 1)
    products = turned @ residuals if features <= samples else residuals @ turned
    lengths = np.square(residuals).sum(axis=2)
    variance = lengths.sum(axis=1) / (samples * features)
    squared = np.square(products).sum(axis=(1, 2)) / samples**2  # of the entries of the covariance
    distance = squared - features * variance**2
    noise = (np.square(lengths).sum(axis=1) / samples - squared) / samples
    share = np.divide(np.clip(noise, 0, distance), distance, out=np.ones_like(distance), where=distance > 0)
    return np.clip(share, 1e-6, 1), variance, products  # not 0: a feature that never varies makes the covariance singular


def _solve(residuals: Floats, means: Floats) -> Floats:
    """Return the shrunk covariance's inverse times the means, ``(window, feature, class)``."""
    _, samples, features = residuals.shape
    share, variance, products = shrinkage(residuals)
    # Without any variance within classes, distance to the means decides.
    white = (share * np.where(variance > 0, variance, 1))[:, None, None]
    scale = ((1 - share) / samples)[:, None, None]
    damped = scale * products + white * np.eye(products.shape[1])
    if features <= samples:
        return np.asarray(np.linalg.solve(damped, means.transpose(0, 2, 1)))
    # Woodbury: with fewer samples than features, a system of the samples' size is solved.
    inner = np.linalg.solve(damped, residuals @ means.transpose(0, 2, 1))
    return np.asarray((means.transpose(0, 2, 1) - scale * (residuals.transpose(0, 2, 1) @ inner)) / white)
