"""Spikes of each trial by theta phase, and the time that the trial spent at each phase."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.statistics.circular import Floats

Codes = NDArray[np.int8]


class PhaseBins(NamedTuple):
    """Spikes and time of each trial at each phase."""

    counts: Floats  # (trial, phase, unit)
    occupancy: Floats  # (trial, phase) [s]

    def rates(self) -> Floats:
        """Return spikes a second ``(trial, phase, unit)``; 0 where no time was spent."""
        time = self.occupancy[:, :, None]
        return np.asarray(np.divide(self.counts, time, out=np.zeros_like(self.counts), where=time > 0))

    def turned(self, shift: NDArray[np.integer]) -> "PhaseBins":
        """Return the bins with the cycle of each trial shifted by a number of phases ``(trial,)``."""
        trials, phases = self.occupancy.shape
        source = (np.arange(phases) - shift[:, None]) % phases
        trial = np.arange(trials)[:, None]
        return PhaseBins(self.counts[trial, source], self.occupancy[trial, source])


def phase_centres(phases: int) -> Floats:
    """Return the centres of equal parts of the cycle, from 0 to 2 pi [rad]; 0 is the peak of the field potential.

    Examples
    --------
    >>> (phase_centres(4) / np.pi).tolist()
    [0.25, 0.75, 1.25, 1.75]
    """
    return np.asarray(2 * np.pi * (np.arange(phases) + 0.5) / phases)


def phase_codes(angles: Floats, phases: int) -> Codes:
    """Return the number of the part of the cycle in which each angle lies, -1 where it is NaN.

    Examples
    --------
    >>> phase_codes(np.array([0.1, -0.1, np.pi, np.nan]), 4).tolist()
    [0, 3, 2, -1]
    """
    known = np.isfinite(angles)
    part = np.floor(np.mod(np.where(known, angles, 0), 2 * np.pi) * (phases / (2 * np.pi)))
    return np.asarray(np.where(known, np.minimum(part, phases - 1), -1).astype(np.int8))  # rounding may give 2 pi


def bin_by_phase(counts: NDArray[np.number], codes: Codes, phases: int, bin_width: float) -> PhaseBins:
    """Sum spikes and time over the bins of each phase.

    ``counts`` is ``(trial, time, unit)``, ``codes (trial, time)`` those of :func:`phase_codes`; bins with code -1 are left out.
    ``bin_width`` is in seconds.

    Examples
    --------
    >>> counts = np.array([[[1], [0], [2], [5]]])
    >>> bins = bin_by_phase(counts, np.array([[0, 1, 0, -1]], np.int8), 2, 0.01)
    >>> bins.counts[0, :, 0].tolist(), bins.occupancy[0].tolist()
    ([3.0, 0.0], [0.02, 0.01])
    """
    members = (codes[:, None, :] == np.arange(phases)[:, None]).astype(np.float64)  # (trial, phase, time)
    return PhaseBins(members @ counts.astype(np.float64), members.sum(axis=2) * bin_width)
