"""Random processes that simulations are made of; each draws from the generator it is given and from nothing else."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter


def ornstein_uhlenbeck(steps: int, step: float, timescale: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a stationary drift of mean 0 and variance 1, ``(step,)``.

    Parameters
    ----------
    steps
        How many.
    step, timescale
        Length of a step, and the time after which correlation has fallen to 1 / e, both [s].
    random
        Generator.

    Examples
    --------
    >>> ornstein_uhlenbeck(5, 0.01, 0.3, np.random.default_rng(0)).shape
    (5,)
    """
    keep = np.exp(-step / timescale)
    noise = random.standard_normal(steps) * np.sqrt(1 - keep**2)
    noise[0] /= np.sqrt(1 - keep**2)  # stationary from the first step on
    return np.asarray(lfilter([1], [1, -keep], noise))


def pink_noise(samples: int, rate: float, above: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw noise of variance 1 whose power falls as 1 / frequency, ``(sample,)``.

    Parameters
    ----------
    samples, rate
        How many, and how many a second [Hz].
    above
        Frequency below which there is no power [Hz].
    random
        Generator.

    Examples
    --------
    >>> float(np.round(pink_noise(1000, 250.0, 0.5, np.random.default_rng(0)).std(), 6))
    1.0
    """
    frequency = np.fft.rfftfreq(samples, 1 / rate)
    passed = frequency >= above
    weight = np.where(passed, 1 / np.sqrt(np.where(passed, frequency, 1)), 0)
    noise = np.fft.irfft(weight * np.fft.rfft(random.standard_normal(samples)), samples)
    return np.asarray(noise / noise.std())


def poisson_spikes(
    rate: NDArray[np.float64], step: float, sampling_rate: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Draw an inhomogeneous Poisson process [s] from rates [Hz] of steps: uniform in the cumulative rate.

    Two spikes in one sample of the amplifier cannot be told apart: they are one.

    Parameters
    ----------
    rate
        ``(step,)`` [Hz]
    step
        [s]
    sampling_rate
        Of spike times [Hz].
    random
        Generator.

    Examples
    --------
    >>> spikes = poisson_spikes(np.full(1000, 50.0), 0.01, 30_000, np.random.default_rng(0))
    >>> bool(400 < len(spikes) < 600 and (np.diff(spikes) > 0).all())
    True
    """
    expected = np.concatenate([[0], np.cumsum(rate * step)])
    total = random.poisson(expected[-1])
    times = np.interp(random.uniform(0, expected[-1], total), expected, np.arange(len(expected)) * step)
    return np.asarray(np.unique(np.rint(times * sampling_rate)) / sampling_rate)  # `unique` also sorts
