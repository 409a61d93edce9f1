"""Codes of conditions in latent space, and small recordings of animals of whose codes a known part is shared.

The code of an animal is a configuration of points, one point a condition, the sum of a common and a private one:

    code_a = sqrt(share) * common + sqrt(1 - share) * private_a

Both are Gaussian with the same variance, so an animal is read as well whatever the share. The codes of two animals have the
expected correlation ``share``; their geometries, the squared distances between conditions, have ``share ** 2``.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.errors import ArgumentError

AXES = 6  # squared distances of 5 to 8 conditions then vary about as much as those of the corners of a polygon
RUNS = 2  # of each condition, if trials come in runs
INTERVAL = 10.0  # [s] between onsets
BIN_WIDTH = 1.0  # [s]
LOG_COUNT = 1.0  # median log of the mean spike count of a trial


def draw_code(conditions: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw Gaussian points ``(condition, AXES)``, centred, of mean squared norm 1."""
    code = random.standard_normal((conditions, AXES))
    code -= code.mean(axis=0)
    return np.asarray(code / np.sqrt(np.square(code).sum(axis=1).mean()))


def simulate_codes(
    animals: int = 5,
    conditions: int = 12,
    trials: int | Sequence[int] = 10,
    units: int | Sequence[int] = 60,
    share: float = 1.0,
    seed: int = 0,
    *,
    signal: float = 0.4,
    noise: Literal["gaussian", "poisson"] = "gaussian",
    order: Literal["random", "sorted", "runs"] = "random",
    drift: float = 0.0,
    missing: int = 0,
) -> xr.DataTree:
    """Return recordings of animals that share a known part of how they code conditions, in one bin a trial.

    Parameters
    ----------
    animals, conditions
        How many; at least 1 and 2.
    trials
        Of each condition: one number, or one for each condition.
    units
        Of each animal: one number, or one for each animal.
    share
        Of the variance of codes that is common to all animals, 0 to 1. At 0 animals have nothing in common.
    seed
        The same arguments and seed give the same recordings.
    signal
        Standard deviation over conditions of the mean of a unit, in standard deviations of the noise; of its log, for spikes.
    noise
        ``gaussian``: floats ``event_amplitude`` of mean 0 and noise of standard deviation 1. ``poisson``: ``spike_count``.
    order
        Of the trials in a session. ``random``; ``sorted``: by condition, alike in all animals; ``runs``: each condition in two
        runs of consecutive trials, in an order drawn for each animal.
    drift
        Standard deviation, at the end of the session, of a random walk of each unit, which starts at 0; in units of ``signal``.
    missing
        Number of conditions without trials, drawn for each animal.

    Returns
    -------
    Recordings: a node an animal, ``animal0`` and so on, with activity ``(trial, time, unit)``, the trial labels ``condition``
    (``c00`` and so on) and ``onset`` [s], and the true ``code (item, axis)`` of all conditions.

    Raises
    ------
    ArgumentError
        For numbers that are out of range, or not as many as conditions or animals.

    Examples
    --------
    >>> recordings = simulate_codes(animals=2, conditions=3, trials=[4, 5, 6], units=8, share=0.5)
    >>> dict(recordings["animal1"]["event_amplitude"].sizes)
    {'trial': 15, 'time': 1, 'unit': 8}
    """
    repeats = _numbers("trials", trials, conditions)
    sizes = _numbers("units", units, animals)
    _check(animals, conditions, share, min(signal, drift), missing)
    names = np.array([f"c{number:02d}" for number in range(conditions)])
    common_random, *randoms = np.random.default_rng(seed).spawn(animals + 1)
    common = draw_code(conditions, common_random)
    nodes = {}
    for number, (size, random) in enumerate(zip(sizes, randoms, strict=True)):
        code = np.sqrt(share) * common + np.sqrt(1 - share) * draw_code(conditions, random)
        counts = repeats.copy()
        counts[random.permutation(conditions)[:missing]] = 0
        condition = _session(counts, order, random)
        change = signal * code[condition] @ random.standard_normal((AXES, size))
        change += drift * random.standard_normal(change.shape).cumsum(axis=0) / np.sqrt(len(condition))
        if noise == "gaussian":
            activity = {"event_amplitude": (("trial", "time", "unit"), (change + random.standard_normal(change.shape))[:, None])}
        elif noise == "poisson":
            spikes = random.poisson(np.exp(LOG_COUNT + change).clip(max=np.iinfo(np.uint16).max // 2))
            activity = {"spike_count": (("trial", "time", "unit"), spikes[:, None].astype(np.uint16))}
        else:
            raise ArgumentError("argument 'noise'", found=repr(noise), expected="'gaussian' or 'poisson'")
        nodes[f"animal{number}"] = xr.Dataset(
            {**activity, "code": (("item", "axis"), code)},
            coords={
                "trial": np.arange(len(condition)),
                "onset": ("trial", INTERVAL * np.arange(len(condition)), {"units": "s"}),
                "condition": ("trial", names[condition]),
                "unit": np.arange(size),
                "item": names,
            },
        )
    time = xr.Variable("time", [BIN_WIDTH / 2], {"units": "s", "bin_width": BIN_WIDTH})
    root = xr.Dataset(coords={"time": time}, attrs={"schema_version": schema.VERSION})
    return schema.validate_recordings(xr.DataTree.from_dict({"/": root, **nodes}))


def _session(counts: NDArray[np.integer], order: str, random: np.random.Generator) -> NDArray[np.integer]:
    """Return the condition of each trial of a session ``(trial,)`` with ``counts (condition,)``."""
    if order == "random":
        return random.permutation(np.repeat(np.arange(len(counts)), counts))
    if order == "sorted":
        return np.repeat(np.arange(len(counts)), counts)
    if order == "runs":
        runs = [(counts + RUNS - 1 - run) // RUNS for run in range(RUNS)]  # they add up to the counts
        orders = [random.permutation(len(counts)) for _ in runs]
        return np.concatenate([np.repeat(shown, run[shown]) for shown, run in zip(orders, runs, strict=True)])
    raise ArgumentError("argument 'order'", found=repr(order), expected="'random', 'sorted' or 'runs'")


def _numbers(name: str, value: int | Sequence[int], count: int) -> NDArray[np.integer]:
    """Return ``count`` positive whole numbers, from one that stands for all or from as many."""
    numbers = np.full(count, value) if np.ndim(value) == 0 else np.asarray(value)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu" or (numbers < 1).any():
        raise ArgumentError(f"argument {name!r}", found=repr(value), expected=f"a number of at least 1, or {count} of them")
    return numbers


def _check(animals: int, conditions: int, share: float, scale: float, missing: int) -> None:
    """Raise ArgumentError for a number that is out of range; ``scale`` is the smallest strength."""
    for name, fits, expected in (
        ("animals", animals >= 1, "at least 1"),
        ("conditions", conditions >= 2, "at least 2"),
        ("share", 0 <= share <= 1, "0 to 1"),
        ("signal or drift", scale >= 0, "at least 0"),
        ("missing", 0 <= missing < conditions, "fewer than conditions"),
    ):
        if not fits:
            raise ArgumentError(f"argument {name!r}", found="a number out of range", expected=expected)
