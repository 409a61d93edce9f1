"""Where a new animal's encoder and decoder start: a closed form from its trials and the latents of the others.

Its matched partners are trials of the others in the same condition, drawn again and again. Over endless draws the encoder that
comes nearest to the partners' latents is the regression of their condition means on the features, and the decoder that best
reconstructs features from the partners' latents is a regression on their first two moments. Nothing needs drawing.

The encoder's ridge is the mean eigenvalue of the features' covariance, each weighted by itself,

    ridge = tr(S^2) / tr(S),    S the covariance of the new animal's training features,

which is large where few trials make a few directions look strong, and does not depend on the unit of the features. A
penalised regression shrinks, and decoders of the others are not fitted again: so each principal axis of the condition means is
scaled back to the spread that it has in the others.

References
----------
Hoerl, A. E. & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems. *Technometrics* 12, 55-67.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.features import SMALLEST_NOISE
from neuromvm.errors import SplitError

Array = NDArray[np.float64]
NEGLIGIBLE = 1e-9  # share of the largest spread below which an axis says nothing


class Known(NamedTuple):
    """Training-side samples of an animal that has an encoder.

    ``code (sample, latent)``: what the affine map in its encoder gives, which for a free code is the posterior mean; ``mean`` and
    ``log_scale (sample, latent)``: of the posterior; ``match (sample,)``.
    """

    code: Array
    mean: Array
    log_scale: Array
    match: NDArray[np.integer]


class Start(NamedTuple):
    """Affine encoder and decoder of a new animal.

    ``encoder_weight (latent, feature)``, ``encoder_bias (latent,)``, ``log_scale (latent,)``: mean and scale of its posterior;
    ``decoder_weight (feature, latent)``, ``decoder_bias (feature,)``; ``noise (feature,)``: standard deviation that they leave.
    """

    encoder_weight: Array
    encoder_bias: Array
    log_scale: Array
    decoder_weight: Array
    decoder_bias: Array
    noise: Array


def join(features: NDArray[np.floating], match: NDArray[np.integer], others: Sequence[Known]) -> Start:
    """Fit the encoder and decoder of a new animal to the latents of the others in the same conditions.

    Parameters
    ----------
    features
        Of the new animal's training samples ``(sample, feature)``, scaled.
    match
        Condition of each ``(sample,)``; samples with a negative one, or of a condition that no other animal has, are left out.
    others
        The animals with encoders; each weighs the same in the conditions that it has.

    Raises
    ------
    SplitError
        If no sample of the new animal is of a condition that others have.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> match = np.repeat([0, 1, 2], 50)
    >>> latent = np.array([[0.0, 2.0], [1.0, 0.0], [-1.0, 0.0]])[match]
    >>> other = Known(latent, latent, np.zeros((150, 2)), match)
    >>> features = latent @ random.normal(size=(2, 8)) + 0.1 * random.normal(size=(150, 8))
    >>> start = join(features, match, [other])
    >>> reached = features @ start.encoder_weight.T + start.encoder_bias
    >>> distance = np.linalg.norm(reached[:, None] - latent[[0, 50, 100]], axis=2)
    >>> bool((distance.argmin(axis=1) == match).all())
    True
    """
    known = np.isin(match, np.concatenate([one.match[one.match >= 0] for one in others]))
    if not known.any():
        raise SplitError(
            "start='others'",
            found="a new animal without training trials of a condition that others have",
            expected="common conditions",
            next_step="Set start='random'",
        )
    values: Array = features[known].astype(np.float64)
    conditions, row = np.unique(match[known], return_inverse=True)
    code, mean, second = (np.stack([moment(others, one) for one in conditions])[row] for moment in (_code, _mean, _second))
    weight, bias = _encoder(values, code)
    return Start(
        weight,
        bias,
        np.mean([one.log_scale.mean(axis=0) for one in others], axis=0),
        *_decoder(values, mean, second.mean(axis=0)),
    )


def ridge_of(features: Array) -> float:
    """Return tr(S^2) / tr(S) for the covariance S of ``(sample, feature)``.

    Examples
    --------
    >>> ridge_of(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    0.5
    """
    centred = features - features.mean(axis=0)
    # The smaller of the two products: its eigenvalues other than 0 are those of the covariance.
    product = (centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred) / len(centred)
    trace = float(np.trace(product))
    return float(np.square(product).sum()) / trace if trace > 0 else 1.0


def _encoder(features: Array, wanted: Array) -> tuple[Array, Array]:
    """Regress what is wanted on features, and scale its principal axes back to their spread: weight and bias."""
    x, target = features - features.mean(axis=0), wanted - wanted.mean(axis=0)
    strength, axes = np.linalg.svd(target, full_matrices=False)[1:]
    axes = axes[strength > NEGLIGIBLE * max(strength.max(), NEGLIGIBLE)]
    target = target @ axes.T
    ridge = len(x) * ridge_of(features)
    if len(x) < x.shape[1]:
        weight = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), target)
    else:
        weight = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ target)
    reached = np.linalg.norm(x @ weight, axis=0)
    weight = (weight * np.linalg.norm(target, axis=0) / np.where(reached > 0, reached, 1)) @ axes
    return weight.T, wanted.mean(axis=0) - features.mean(axis=0) @ weight


def _decoder(features: Array, mean: Array, second: Array) -> tuple[Array, Array, Array]:
    """Return weight, bias and noise of the regression of features on drawn latents, given their moments in each sample."""
    centre, x = mean.mean(axis=0), features - features.mean(axis=0)
    covariance = second - np.outer(centre, centre)
    across = mean.T @ x / len(x)
    weight = np.linalg.lstsq(covariance, across, rcond=None)[0]
    left = np.square(x).mean(axis=0) - (across * weight).sum(axis=0)
    return weight.T, features.mean(axis=0) - centre @ weight, np.sqrt(np.maximum(left, SMALLEST_NOISE**2))


def _code(others: Sequence[Known], condition: int) -> Array:
    return _over_others([one.code[one.match == condition].mean(axis=0) for one in others if condition in one.match])


def _mean(others: Sequence[Known], condition: int) -> Array:
    return _over_others([one.mean[one.match == condition].mean(axis=0) for one in others if condition in one.match])


def _second(others: Sequence[Known], condition: int) -> Array:
    """Return the mean of the outer product of a latent drawn from a posterior with itself."""
    found = []
    for one in others:
        here = one.match == condition
        if here.any():
            mean = one.mean[here]
            found.append(mean.T @ mean / len(mean) + np.diag(np.exp(2 * one.log_scale[here]).mean(axis=0)))
    return _over_others(found)


def _over_others(each: list[Array]) -> Array:
    mean: Array = np.mean(each, axis=0)
    return mean
