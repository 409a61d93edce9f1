"""Windows that reach into the trials before or after their own, whose activity they then hold."""

import logging
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

LOG = logging.getLogger(__name__)
TOLERANCE = 1e-6  # [s] by which windows may touch


def warn_of_neighbours(recordings: Mapping[str, xr.Dataset], begin: float, end: float) -> None:
    """Warn of windows from ``begin`` to ``end`` [s, relative to onsets] that reach into neighbouring trials, in one message."""
    reaching = {animal: reaches_neighbours(dataset, begin, end) for animal, dataset in recordings.items()}
    lines = [f"{int(trials.sum())} of {len(trials)} trials of {animal}" for animal, trials in reaching.items() if trials.any()]
    if lines:
        LOG.warning(
            "samples from %g to %g s reach into the trial before or after: %s. They hold its activity, so that a test trial "
            "may share some with a training trial. Narrow samples.start and samples.stop, or split by time.",
            *(begin, end, ", ".join(lines)),
        )


def reaches_neighbours(dataset: xr.Dataset, begin: float, end: float) -> NDArray[np.bool_]:
    """Return whether the window of a trial ``(trial,)`` reaches into another trial of its session.

    A trial is from ``start_time`` to ``stop_time``, where these are known, and its own window. Without ``onset``, or on a
    position grid, nothing is known and no window reaches.

    Examples
    --------
    >>> onsets = xr.Dataset(coords={"onset": ("trial", [0.0, 5.0, 5.5])})
    >>> reaches_neighbours(onsets, 0, 1).tolist()
    [False, True, True]
    """
    trials = dataset.sizes["trial"]
    reaching = np.zeros(trials, dtype=bool)
    if "onset" not in dataset.coords or "position" in dataset.dims:
        return reaching
    onset = _seconds(dataset, "onset")
    known = np.isfinite(onset)
    sessions = dataset["session"].to_numpy().astype(str) if "session" in dataset.coords else np.zeros(trials)
    starts, stops = _seconds(dataset, "start_time"), _seconds(dataset, "stop_time")
    for session in np.unique(sessions[known]):
        rows = np.flatnonzero(known & (sessions == session))
        reaching[rows] = overlaps_another(onset[rows] + begin, onset[rows] + end, starts[rows], stops[rows])
    return reaching


def overlaps_another(
    begins: NDArray[np.floating], ends: NDArray[np.floating], starts: NDArray[np.floating], stops: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return whether the window ``(trial,)`` of a trial overlaps with the window, or with start to stop, of another trial.

    All are times [s]; starts and stops may be NaN.
    """
    begin, end = np.fmin(begins, starts), np.fmax(ends, stops)
    # a window overlaps with itself, and with each other trial that begins before it ends and ends after it begins
    before_end = np.searchsorted(np.sort(begin), ends - TOLERANCE)
    before_begin = np.searchsorted(np.sort(end), begins + TOLERANCE, side="right")
    return before_end - before_begin > 1


def _seconds(dataset: xr.Dataset, name: str) -> NDArray[np.float64]:
    """Return times of trials ``(trial,)`` [s], NaN where there are none."""
    if name not in dataset.coords or dataset[name].dims != ("trial",) or dataset[name].dtype.kind not in "iuf":
        return np.full(dataset.sizes["trial"], np.nan)
    return np.asarray(dataset[name].to_numpy(), dtype=np.float64)
