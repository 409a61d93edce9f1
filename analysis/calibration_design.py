"""How often permuted and shifted labels call drift a signal, in designs with few runs of a class: simulated single animals.

python -m analysis.calibration_design [--data-sets N] [--seed N]
"""

import json

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

import neuromvm as nm
from analysis.tables import print_measured
from neuromvm.analysis.readouts.discriminant import fit_discriminants
from neuromvm.data.permutation import Rearrangement, distinct_shifts, draw_permutation
from neuromvm.schema import is_fitted, is_scored

CLASSES, TRIALS, UNITS, LEVEL = 4, 64, 10, 0.05
PERMUTATIONS = 39
RUNS = {"sorted": 1, "two runs": 2, "four runs": 4, "random": 0}
DRIFTS = ("none", "linear", "wandering")


def session(runs: int, drift: str, signal: float, seed: int) -> xr.DataTree:
    """Return samples of one animal whose classes come in a number of runs, in random order (0 runs: trials in random order).

    Noise has unit variance. A linear drift goes from -1 to 1 standard deviation or from 1 to -1 in every unit, a wandering one is
    a random walk with as much variance on average. ``signal`` is the standard deviation of class means.
    """
    random = np.random.default_rng(seed)
    if runs:
        rounds = [random.permutation(CLASSES) for _ in range(runs)]
        code = np.repeat(np.concatenate(rounds), TRIALS // (CLASSES * runs))
    else:
        code = random.permutation(np.resize(np.arange(CLASSES), TRIALS))
    activity = random.standard_normal((TRIALS, UNITS)) + signal * random.standard_normal((CLASSES, UNITS))[code]
    if drift == "linear":
        activity += np.linspace(-1, 1, TRIALS)[:, None] * random.choice([-1, 1], UNITS)
    elif drift == "wandering":
        steps = random.standard_normal((TRIALS, UNITS))
        activity += np.cumsum(steps, axis=0) * np.sqrt(2 / TRIALS)
    names = json.dumps([str(number) for number in range(CLASSES)])
    label = xr.DataArray(code[:, None].astype(np.int16), dims=("trial", "window"), attrs={"classes": names})
    node = xr.Dataset(
        {"activity": (("trial", "window", "bin", "unit"), activity[:, None, None], {"kind": "event_amplitude"})},
        coords={"trial": np.arange(TRIALS), "onset": ("trial", 5.0 * np.arange(TRIALS)), "window": [0.0]},
    ).assign(label=label, match=label)
    samples = xr.DataTree.from_dict({"rat": node})
    samples.attrs = {"classes": names, "label": "odor"}
    return samples


def accuracy(activity: NDArray[np.floating], label: NDArray[np.int16], part: NDArray[np.int8]) -> float:
    """Return the balanced accuracy of a shrunk linear discriminant on the test trials of one split.

    ``activity`` is ``(trial, window, unit)``, with one window.
    """
    fitted, scored = is_fitted(part), is_scored(part)
    predicted = fit_discriminants(activity[fitted], label[fitted]).predict(activity[scored])[:, 0, 0]
    correct = predicted == label[scored]
    return float(np.mean([correct[label[scored] == code].mean() for code in range(CLASSES)]))


def p_of(samples: xr.DataTree, seed: int, rearrangement: Rearrangement) -> float:
    """Return p of the accuracy, everything refitted with labels exchanged; all shifts, or some permutations, are drawn."""
    splits = nm.make_splits(samples, nm.SplitSpec(kind="halves", repeats=1, seed=seed))
    part, dataset = splits["rat"]["part"].to_numpy()[0], samples["rat"].to_dataset()
    draws = PERMUTATIONS if rearrangement == "permute" else distinct_shifts("rat", dataset)
    activity, label = dataset["activity"].to_numpy()[:, :, 0], dataset["label"].to_numpy()[:, 0]
    orders = (draw_permutation("rat", dataset, number, rearrangement=rearrangement).trial for number in range(1, draws + 1))
    null = [accuracy(activity[order], label, part) for order in orders]
    return float((1 + np.sum(np.array(null) >= accuracy(activity, label, part) - 1e-9)) / (1 + draws))


def blocked_designs(data_sets: int, seed: int) -> pd.DataFrame:
    """Return the share of simulated data sets with p <= .05 of permuted and of shifted labels, with 95 % intervals.

    Rows with ``signal`` 0 are null: shares should be at most .05. Intervals are those of Clopper & Pearson (1934).
    """
    rows = []
    for (design, runs), drift, signal in ((d, k, s) for d in RUNS.items() for k in DRIFTS for s in (0.0, 0.8)):
        row: dict[str, object] = {"design": design, "drift": drift, "signal": signal, "data sets": data_sets}
        for rearrangement in ("permute", "shift"):
            p = [p_of(session(runs, drift, signal, seed + index), seed + index, rearrangement) for index in range(data_sets)]
            count = int(np.sum(np.array(p) <= LEVEL + 1e-9))
            interval = stats.binomtest(count, data_sets).proportion_ci()
            row |= {
                rearrangement: count / data_sets,
                f"{rearrangement} low": interval.low,
                f"{rearrangement} high": interval.high,
            }
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print_measured(__doc__, blocked_designs)
