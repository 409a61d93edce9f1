"""Closed-form initial networks of a new animal, from its training trials and the latents of encoded animals.

In the limit of infinitely many random matches of trials in the same condition, the encoder closest to the matched latents is a
regression of their condition means on the features, and the decoder that best reconstructs the features from matched latents is a
regression on the first two moments of these latents. Penalised regression shrinks its predictions, but the decoders of encoded
animals are not refitted: each principal axis of the condition means is rescaled to its spread in the encoded animals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.features import SMALLEST_NOISE
from neuromvm.errors import SplitError

Array = NDArray[np.float64]
NEGLIGIBLE = 1e-9  # an axis whose spread is a smaller share of the largest spread is left out


class EncodedAnimal(NamedTuple):
    """Training-side latents of an animal that has an encoder.

    ``code (sample, latent)``: output of the affine map of its encoder, for a free code the posterior mean; ``mean`` and
    ``log_scale (sample, latent)``: of the posterior; ``match (sample,)``: conditions.
    """

    code: Array
    mean: Array
    log_scale: Array
    match: NDArray[np.integer]


class ClosedFormStart(NamedTuple):
    """Affine encoder and decoder of a new animal.

    ``encoder_weight (latent, feature)``, ``encoder_bias (latent,)``, ``log_scale (latent,)``: mean and scale of the posterior;
    ``decoder_weight (feature, latent)``, ``decoder_bias (feature,)``; ``noise (feature,)``: standard deviation of the residuals.
    """

    encoder_weight: Array
    encoder_bias: Array
    log_scale: Array
    decoder_weight: Array
    decoder_bias: Array
    noise: Array


def fit_closed_form_start(
    features: NDArray[np.floating], match: NDArray[np.integer], encoded: Sequence[EncodedAnimal]
) -> ClosedFormStart:
    """Return the encoder and decoder of a new animal, fitted to latents of encoded animals, which have equal weights.

    ``features (sample, feature)``: scaled training samples; ``match (sample,)``: their conditions. Samples with a negative
    condition, or one that no encoded animal has, are ignored; SplitError is raised if none remain.
    """
    shared = np.isin(match, np.concatenate([animal.match[animal.match >= 0] for animal in encoded]))
    if not shared.any():
        raise SplitError(
            "start='others'",
            found="a new animal without training trials of a condition that others have",
            expected="common conditions",
            next_step="Set start='random'",
        )
    values: Array = features[shared].astype(np.float64)
    conditions, row = np.unique(match[shared], return_inverse=True)
    moments = [_condition_moments(encoded, condition) for condition in conditions]
    code, mean, second_moment = (np.stack(moment)[row] for moment in zip(*moments, strict=True))
    log_scale = np.mean([animal.log_scale.mean(axis=0) for animal in encoded], axis=0)
    return ClosedFormStart(*_encoder(values, code), log_scale, *_decoder(values, mean, second_moment.mean(axis=0)))


def ridge_of(features: Array) -> float:
    """Return tr(S^2) / tr(S), the mean eigenvalue of the covariance S of ``(sample, feature)`` weighted by the eigenvalues.

    As a ridge penalty (Hoerl & Kennard 1970, *Technometrics* 12, 55-67) it is large if, with few trials, few directions dominate.
    """
    centred = features - features.mean(axis=0)
    # The smaller of the two products: its eigenvalues other than 0 are those of the covariance.
    product = (centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred) / len(centred)
    trace = float(np.trace(product))
    return float(np.square(product).sum()) / trace if trace > 0 else 1.0


def _encoder(features: Array, code: Array) -> tuple[Array, Array]:
    """Return weight and bias of a ridge regression of codes on features, with principal axes rescaled to their spread."""
    x, target = features - features.mean(axis=0), code - code.mean(axis=0)
    strength, axes = np.linalg.svd(target, full_matrices=False)[1:]
    axes = axes[strength > NEGLIGIBLE * max(strength.max(), NEGLIGIBLE)]
    target = target @ axes.T
    ridge = len(x) * ridge_of(features)
    if len(x) < x.shape[1]:
        weight = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), target)
    else:
        weight = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ target)
    spread = np.linalg.norm(x @ weight, axis=0)
    weight = (weight * np.linalg.norm(target, axis=0) / np.where(spread > 0, spread, 1)) @ axes
    return weight.T, code.mean(axis=0) - features.mean(axis=0) @ weight


def _decoder(features: Array, mean: Array, second_moment: Array) -> tuple[Array, Array, Array]:
    """Return weight, bias and noise of the regression of features on random latents, from the moments of the latents."""
    centre, x = mean.mean(axis=0), features - features.mean(axis=0)
    covariance = second_moment - np.outer(centre, centre)
    across = mean.T @ x / len(x)
    weight = np.linalg.lstsq(covariance, across, rcond=None)[0]
    residual = np.square(x).mean(axis=0) - (across * weight).sum(axis=0)
    return weight.T, features.mean(axis=0) - centre @ weight, np.sqrt(np.maximum(residual, SMALLEST_NOISE**2))


def _condition_moments(encoded: Sequence[EncodedAnimal], condition: int) -> tuple[Array, Array, Array]:
    """Return mean code and mean ``(latent,)`` and second moment ``(latent, latent)`` of latents in a condition, over animals."""
    moments = []
    for animal in encoded:
        trials = animal.match == condition
        if trials.any():
            mean = animal.mean[trials]
            variance = np.exp(2 * animal.log_scale[trials]).mean(axis=0)
            second_moment = mean.T @ mean / len(mean) + np.diag(variance)
            moments.append((animal.code[trials].mean(axis=0), mean.mean(axis=0), second_moment))
    code, mean, second_moment = (np.mean(moment, axis=0) for moment in zip(*moments, strict=True))
    return code, mean, second_moment
