"""Simulated local field potential: a theta rhythm of drifting frequency and amplitude in noise of power 1 / frequency."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromvm.data.simulate.processes import ornstein_uhlenbeck, pink_noise

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
