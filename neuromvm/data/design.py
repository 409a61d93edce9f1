"""Designs in which time can pass for the label: trials sorted by class, few runs of a class, activity that drifts."""

import zlib
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.splits import sorted_by_label, trial_strata
from neuromvm.schema import Part

SORTED, FEW_RUNS, DRIFT = "sorted", "few runs per class", "drift"
RUNS = 3  # of a class, on average, that are few
DRIFT_LEVEL = 0.01
PERMUTATIONS = 999
FEWEST = 8  # trials below which drift is not tested


class DesignFlag(NamedTuple):
    """What makes trials hard to exchange: ``sorted``, ``few runs per class`` or ``drift``, and its measure in words."""

    animal: str
    flag: str
    words: str


class Drift(NamedTuple):
    """Correlation of the activity of consecutive trials beyond their class, and its p."""

    correlation: float
    p: float


def design_flags(samples: xr.DataTree, splits: xr.DataTree, order: str = "onset") -> list[DesignFlag]:
    """Return what makes trials of animals hard to exchange, from labels in time, splits and activity.

    Permuted trials are a valid null if trials are exchangeable. They are where labels were drawn at random, drift or not. They
    are not where a class fills few runs of trials and activity drifts: trials of a class then are alike since they are
    neighbours.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`. Trials that no split uses, and those without a label, are left out.
    order
        Trial label by which trials are ordered; the order of the file where an animal lacks it.

    Returns
    -------
    ``sorted``: every class is one run of trials. ``few runs per class``: a class fills three runs or fewer on average, of two
    trials or more. ``drift``: activity of consecutive trials is alike beyond their class, see :func:`drift`, p <= .01.
    """
    flags = []
    for name, node in schema.animals(samples):
        used = (splits[name]["part"].to_numpy() != Part.UNUSED).any(axis=0)
        in_time = schema.time_order(node, order)
        strata = trial_strata(node)
        trials = in_time[(used & (strata >= 0))[in_time]]
        flags += [DesignFlag(name, *flag) for flag in _label_flags(strata[trials], splits[name]["part"].to_numpy()[:, trials])]
        if len(trials) >= FEWEST:
            measured = drift(_trial_activity(node)[trials], strata[trials], np.random.default_rng(zlib.crc32(name.encode())))
            if measured.p <= DRIFT_LEVEL:
                words = (
                    f"activity of consecutive trials is alike beyond their class: correlation {measured.correlation:.3f}, "
                    f"p = {measured.p:.2g} of {PERMUTATIONS} permutations within class"
                )
                flags.append(DesignFlag(name, DRIFT, words))
    return flags


def drift(activity: NDArray[np.floating], strata: NDArray[np.intp], rng: np.random.Generator) -> Drift:
    """Measure whether consecutive trials are alike beyond their class.

    The correlation is that of a trial with the next, over all units, of activity ``(trial, unit)`` without the mean of its class
    and with unit variance: the multivariate ratio of von Neumann (1941, *Ann. Math. Stat.* 12, 367-395). Its null permutes trials
    within class ``strata (trial,)``, so that class means stay; p = (b + 1) / (n + 1) is exact for exchangeable trials.

    Examples
    --------
    >>> rng, strata = np.random.default_rng(0), np.arange(60) % 3
    >>> noise = rng.standard_normal((60, 20))
    >>> drift(noise, strata, rng).p > 0.05, drift(noise + np.linspace(0, 3, 60)[:, None], strata, rng).p
    (True, 0.001)
    """
    member = (strata == np.unique(strata)[:, None]).astype(np.float64)  # (class, trial)
    residual = activity - member.T @ ((member @ activity) / member.sum(axis=1, keepdims=True))
    spread = residual.std(axis=0)
    residual = residual[:, spread > 0] / spread[spread > 0]
    products = residual @ residual.T
    total = np.trace(products)
    if total == 0:
        return Drift(0.0, 1.0)
    trials = np.arange(len(strata))
    orders = np.tile(trials, (1 + PERMUTATIONS, 1))
    for members in (np.flatnonzero(strata == stratum) for stratum in np.unique(strata)):
        orders[1:, members] = rng.permuted(orders[1:, members], axis=1)
    correlation = products[orders[:, :-1], orders[:, 1:]].sum(axis=1) / total
    reached = int((correlation[1:] >= correlation[0] - 1e-12).sum())
    return Drift(float(correlation[0]), (reached + 1) / (PERMUTATIONS + 1))


def _label_flags(strata: NDArray[np.intp], parts: NDArray[np.int8]) -> list[tuple[str, str]]:
    """Return the flags of labels in time and sides of the same trials ``(split, trial)``, with words."""
    number = len(np.unique(strata))
    if number < 2:
        return []
    run = np.concatenate([[0], np.cumsum(np.diff(strata) != 0)])
    runs = int(run[-1]) + 1
    if sorted_by_label(strata):
        return [(SORTED, f"every class is one unbroken run of trials; {_sides(run, parts)}")]
    if runs > RUNS * number or 2 * runs > len(strata):
        return []
    return [(FEW_RUNS, f"{runs / number:.1f} runs of trials a class on average; {_sides(run, parts)}")]


def _sides(run: NDArray[np.intp], parts: NDArray[np.int8]) -> str:
    """Say how many of the runs that are scored were also trained on, over splits."""
    scored = [set(run[schema.is_scored(part)].tolist()) for part in parts]
    fitted = [set(run[schema.is_fitted(part)].tolist()) for part in parts]
    total = sum(map(len, scored))
    overlap = sum(len(tested & trained) for tested, trained in zip(scored, fitted, strict=True))
    return f"{overlap / total:.0%} of the scored runs also train" if total else "no run is scored"


def _trial_activity(dataset: xr.Dataset) -> NDArray[np.floating]:
    """Return the mean activity of each unit over windows and bins ``(trial, unit)``."""
    return np.asarray(dataset["activity"].mean(["window", "bin"]).transpose("trial", "unit").to_numpy(), dtype=np.float64)
