"""Statistics of angles and of curves over a cycle."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Complexes = NDArray[np.complexfloating]


def first_harmonic(curve: Floats, phases: Floats) -> Complexes:
    """Return the cosine that a curve ``(..., phase)`` follows best, as one complex number; phases [rad] are spread evenly.

    Its size is the height of that cosine above its mean, in units of the curve; its angle is the phase of the maximum.

    References
    ----------
    Mardia & Jupp (2000). *Directional Statistics*, ch. 1; section 6.3.1 for :func:`random_resultants`.

    Examples
    --------
    >>> phases = 2 * np.pi * (np.arange(6) + 0.5) / 6
    >>> harmonic = first_harmonic(0.5 + 0.1 * np.cos(phases - 2), phases)
    >>> float(np.abs(harmonic).round(6)), float(np.angle(harmonic).round(6))
    (0.1, 2.0)
    """
    return np.asarray(2 * np.mean(curve * np.exp(1j * phases), axis=-1))


def resultant(angles: Floats, axis: int = -1) -> Floats:
    """Return the length of the mean of angles as unit vectors: 1 if all agree, near 0 if they are spread evenly.

    Examples
    --------
    >>> bool(np.isclose(resultant(np.array([0.3, 0.3])), 1) and np.isclose(resultant(np.array([0.0, np.pi])), 0))
    True
    """
    return np.asarray(np.abs(np.mean(np.exp(1j * angles), axis=axis)))


def pairwise_consistency(angles: Floats) -> Floats:
    """Return the mean cosine of the difference of all pairs of angles [rad]: 0 for angles drawn at random, 1 if all agree.

    Pairs are those along the first axis of ``(angle, ...)``. Unlike the :func:`resultant`, it does not grow as angles become
    fewer. NaN is left out; fewer than two angles give NaN.

    References
    ----------
    Vinck, van Wingerden, Womelsdorf, Fries & Pennartz (2010). The pairwise phase consistency. *NeuroImage* 51, 112-122.

    Examples
    --------
    >>> float(pairwise_consistency(np.array([0.0, 0.0, np.pi])).round(6))
    -0.333333
    """
    known = np.isfinite(angles)
    count = known.sum(axis=0)
    length = np.square(np.abs(np.where(known, np.exp(1j * np.where(known, angles, 0)), 0).sum(axis=0)))
    pairs = count * (count - 1)
    return np.asarray(np.where(pairs > 0, (length - count) / np.maximum(pairs, 1), np.nan))


def random_resultants(angles: int, draws: int, rng: np.random.Generator) -> Floats:
    """Return the resultants of so many angles drawn evenly from the circle, ``(draw,)``: the null of the Rayleigh test.

    Drawn and not approximated, since animals are few.

    Examples
    --------
    >>> bool(0.3 < random_resultants(5, 2000, np.random.default_rng(0)).mean() < 0.5)
    True
    """
    return resultant(rng.uniform(0, 2 * np.pi, (draws, angles)))
