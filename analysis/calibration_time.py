"""How often temporal generalization is found where there is none, and where there is: simulated data sets with known truth.

    python -m analysis.calibration_time [--data-sets N] [--seed N]

Cells are those of a training window before and a test window after the event, of two different windows after it, or all but the
diagonal. Where windows share nothing, whatever is found is false and the share of data sets should be at most the level, .05.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage, stats

import neuromvm as nm
from analysis.tables import print_measured
from neuromvm.analysis.time.time_resolved import Options, decode_in_time

ANIMALS, TRIALS, UNITS, LATENTS = ("ann", "bob", "cat"), 48, 8, 4
ODORS = tuple("ABCD")
WINDOWS, WIDTH = 10, 0.2  # -1 to 1 s, next to each other
CENTRES = -1 + WIDTH * (np.arange(WINDOWS) + 0.5)
LEVEL = 0.05


class Truth(NamedTuple):
    """Cells of the matrix that share a code or not, in one setting of one representation."""

    representation: str
    setting: str
    cells: str
    shared: bool


CELLS: Mapping[str, NDArray[np.bool_]] = {
    "train before, test after": (CENTRES < 0)[:, None] & (CENTRES > 0),
    "different windows after": (CENTRES > 0)[:, None] & (CENTRES > 0) & ~np.eye(WINDOWS, dtype=bool),
    "all different windows": ~np.eye(WINDOWS, dtype=bool),
}
BEFORE_AFTER, AFTER, ANY = CELLS
TRUTHS = {
    "code that stays": [
        Truth("raw", "within", BEFORE_AFTER, False),
        Truth("raw", "within", AFTER, True),
        Truth("latents", "within", BEFORE_AFTER, False),
        Truth("latents", "within", AFTER, True),
        Truth("latents", "others", ANY, False),
    ],
    "code of its own in every window": [Truth("raw", "within", ANY, False), Truth("latents", "within", ANY, False)],
    "no code": [Truth("raw", "within", ANY, False), Truth("latents", "others", ANY, False)],
}


def simulated(code: str, seed: int, strength: float = 0.6) -> tuple[xr.DataTree, dict[str, NDArray[np.floating]]]:
    """Return recordings and the latents ``(trial, window, latent)`` of each animal; after the event they tell the odor.

    Patterns of odors are drawn for each animal, so that no animal is like another. Latents have unit variance.
    """
    random = np.random.default_rng(seed)
    nodes, latents = {}, {}
    for animal in ANIMALS:
        odor = random.permutation(np.resize(np.arange(len(ODORS)), TRIALS))
        windows = WINDOWS if code == "code of its own in every window" else 1
        present = ((CENTRES > 0) & (code != "no code"))[:, None]
        pattern, means = (
            np.broadcast_to(random.standard_normal((len(ODORS), windows, size)), (len(ODORS), WINDOWS, size)) * present
            for size in (UNITS, LATENTS)
        )
        rate = np.exp(1 + strength * pattern[odor])
        latents[animal] = 1.5 * means[odor] + random.standard_normal((TRIALS, WINDOWS, LATENTS))
        coords = {
            "trial": np.arange(TRIALS),
            "unit": np.arange(UNITS),
            "odor": ("trial", np.array(ODORS)[odor]),
            "onset": ("trial", 5.0 * np.arange(TRIALS)),
        }
        counts = random.poisson(rate).astype("u2")
        nodes[animal] = xr.DataTree(xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords=coords))
    time = ("time", CENTRES, {"bin_width": WIDTH, "units": "s"})
    return xr.DataTree(dataset=xr.Dataset(coords={"time": time}), children=nodes), latents


def scores_of(code: str, seed: int) -> xr.Dataset:
    """Decode a simulated data set in time, activity and latents."""
    recordings, latents = simulated(code, seed)
    samples = nm.make_samples(recordings, nm.SampleSpec(start=0.0, label=["odor"]))
    splits = nm.make_splits(samples, nm.SplitSpec(kind="halves", repeats=1, seed=seed))
    window = ("window", CENTRES, {"width": WIDTH, "dim": "time"})
    paths = {
        animal: xr.Dataset(
            {"latent_mean": (("replica", "trial", "window", "latent"), values[None].astype(np.float32))},
            coords={"split": ("replica", [0]), "window": window, "trial": samples[animal]["trial"].to_numpy()},
        )
        for animal, values in latents.items()
    }
    options = Options(width=WIDTH, step=WIDTH, permutations=39, bootstraps=100, level=LEVEL, seed=seed)
    return decode_in_time(recordings, samples, splits, {"latents": xr.DataTree.from_dict(paths)}, options)


def found(scores: xr.Dataset, truth: Truth) -> tuple[bool, bool]:
    """Return whether there is a significant cluster wholly among the cells, if these share nothing, or one that reaches them.

    The second value says whether a cell is significant by itself. A false cluster that a true one joins has no error rate.
    """
    selected = scores.sel(representation=truth.representation, setting=truth.setting)
    cells = CELLS[truth.cells]
    significant = (selected["generalization_cluster_p"].to_numpy() <= LEVEL) & CELLS[ANY]
    clusters, number = ndimage.label(significant)
    reached = [(clusters == cluster) & cells for cluster in range(1, number + 1)]
    whole = [part for cluster, part in enumerate(reached, 1) if truth.shared or part.sum() == (clusters == cluster).sum()]
    alone = (selected["generalization_p_max"].to_numpy() <= LEVEL) & cells
    return any(part.any() for part in whole), bool(alone.any())


def false_generalization(data_sets: int, seed: int) -> pd.DataFrame:
    """Return the share of simulated data sets in which a cluster, and a single cell, is found, with 95 % intervals.

    Rows say what is simulated, what is decoded, and whether the cells share a code: if not, shares should be at most .05.
    Intervals are those of Clopper & Pearson (1934).
    """
    rows = []
    for code, truths in TRUTHS.items():
        of_truths = np.array([[found(scores, truth) for truth in truths] for scores in _data_sets(code, data_sets, seed)])
        for truth, counts in zip(truths, of_truths.sum(axis=0).tolist(), strict=True):
            intervals = [stats.binomtest(count, data_sets).proportion_ci() for count in counts]
            rows.append(
                {
                    "simulated": code,
                    **truth._asdict(),
                    "data sets": data_sets,
                    **{
                        f"{what}{suffix}": value
                        for what, count, interval in zip(("cluster", "cell"), counts, intervals, strict=True)
                        for suffix, value in (("", count / data_sets), (" low", interval.low), (" high", interval.high))
                    },
                }
            )
    return pd.DataFrame(rows)


def _data_sets(code: str, number: int, seed: int) -> Iterator[xr.Dataset]:
    return (scores_of(code, seed + index) for index in range(number))


if __name__ == "__main__":
    print_measured(__doc__, false_generalization)
