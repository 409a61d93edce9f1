"""Random processes for simulations."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter


def ornstein_uhlenbeck(steps: int, step: float, timescale: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a process of mean 0, variance 1 and correlation 1 / e after ``timescale``, ``(step,)``; times are in s."""
    correlation = np.exp(-step / timescale)
    noise = random.standard_normal(steps) * np.sqrt(1 - correlation**2)
    noise[0] /= np.sqrt(1 - correlation**2)  # stationary from the first step
    return np.asarray(lfilter([1], [1, -correlation], noise))


def pink_noise(samples: int, rate: float, above: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw noise of variance 1 and power proportional to 1 / frequency, 0 below ``above`` [Hz], ``(sample,)``."""
    frequency = np.fft.rfftfreq(samples, 1 / rate)
    passed = frequency >= above
    weight = np.where(passed, 1 / np.sqrt(np.where(passed, frequency, 1)), 0)
    noise = np.fft.irfft(weight * np.fft.rfft(random.standard_normal(samples)), samples)
    return np.asarray(noise / noise.std())


def poisson_spikes(
    rate: NDArray[np.float64], step: float, sampling_rate: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Draw an inhomogeneous Poisson process, spike times [s], from the rates [Hz] of steps ``(step,)`` of duration ``step`` [s].

    Spikes are uniform in the cumulative rate, and rounded to samples; several spikes in one sample count as one.
    """
    expected = np.concatenate([[0], np.cumsum(rate * step)])
    total = random.poisson(expected[-1])
    times = np.interp(random.uniform(0, expected[-1], total), expected, np.arange(len(expected)) * step)
    return np.asarray(np.unique(np.rint(times * sampling_rate)) / sampling_rate)  # `unique` also sorts
