"""Simulated local field potential, a theta rhythm in noise of power 1 / frequency, and the random processes of simulations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

LFP_RATE = 250.0  # [Hz] sampling rate, thirty times theta
VOLT = 1e-6  # [V] of a step of the stored integers
THETA = 8.0  # [Hz] mean frequency
FREQUENCY_SPREAD, FREQUENCY_TIMESCALE = 0.4, 1.0  # [Hz], [s] of its drift
AMPLITUDE = 200.0  # [uV] mean of the rhythm
AMPLITUDE_SPREAD, AMPLITUDE_TIMESCALE = 0.2, 0.5  # [log], [s] of its drift
NOISE = 150.0  # [uV] standard deviation of the noise
NOISE_ABOVE = 0.5  # [Hz] lower cutoff of the amplifier
CLOCK = 0.01  # [s] between the knots of the phase, which is interpolated linearly


@dataclass(frozen=True)
class SimulatedTheta:
    """Field potential ``lfp (sample,)`` [steps of ``VOLT``], ``LFP_RATE`` samples a second from the start of the session.

    ``phase`` [rad, unwrapped] at the times ``knots`` [s] is 0 at a peak of the rhythm and pi at a trough.
    """

    lfp: NDArray[np.int16]
    knots: NDArray[np.float64]
    phase: NDArray[np.float64]

    def phase_at(self, times: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the true phase at times of the session [s], from -pi to pi [rad]."""
        return np.asarray(np.angle(np.exp(1j * np.interp(times, self.knots, self.phase))))


def simulate_theta(duration: float, random: np.random.Generator, noise: float = NOISE) -> SimulatedTheta:
    """Draw the field potential of a session of ``duration`` [s] with noise of standard deviation ``noise`` [uV]."""
    knots = np.arange(round(duration / CLOCK) + 2, dtype=np.float64) * CLOCK
    frequency = THETA + FREQUENCY_SPREAD * ornstein_uhlenbeck(len(knots), CLOCK, FREQUENCY_TIMESCALE, random)
    cycles = np.concatenate([[0], np.cumsum(frequency[:-1] * CLOCK)])
    phase = np.asarray(random.uniform(0, 2 * np.pi) + 2 * np.pi * cycles, dtype=np.float64)
    size = AMPLITUDE * np.exp(AMPLITUDE_SPREAD * ornstein_uhlenbeck(len(knots), CLOCK, AMPLITUDE_TIMESCALE, random))
    times = np.arange(round(duration * LFP_RATE)) / LFP_RATE
    rhythm = np.interp(times, knots, size) * np.cos(np.interp(times, knots, phase))
    microvolts = rhythm + noise * pink_noise(len(times), LFP_RATE, NOISE_ABOVE, random)
    return SimulatedTheta(np.rint(microvolts).clip(-32_768, 32_767).astype(np.int16), knots, phase)


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
    """Draw a Poisson process, spike times [s], from the rates [Hz] of steps ``(step,)`` of duration ``step`` [s].

    Spikes are uniform in the cumulative rate, and rounded to samples; several spikes in one sample count as one.
    """
    expected = np.concatenate([[0], np.cumsum(rate * step)])
    total = random.poisson(expected[-1])
    times = np.interp(random.uniform(0, expected[-1], total), expected, np.arange(len(expected)) * step)
    return np.asarray(np.unique(np.rint(times * sampling_rate)) / sampling_rate)  # `unique` also sorts
