"""Recordings in which information about the odor begins at the event, and what an analysis in time makes of them."""

import numpy as np
import xarray as xr

from neuromvm.analysis.time.time_resolved import Options, decode_in_time, window_spec
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import SampleSpec, SplitSpec

BINS, BIN = 12, 0.1  # -0.6 to 0.6 s
TIME = -0.6 + BIN * (np.arange(BINS) + 0.5)
OPTIONS = Options(width=BIN, step=BIN, permutations=40, bootstraps=100)
HALVES = SplitSpec(kind="halves", repeats=2)


def recorded(kind, seed=0, *, trials=(45, 54), units=12, strength=1.0, odors="ABC"):
    """Return Poisson counts; the odor sets the rates after 0: by one pattern (sustained), by one a bin (rotating), or not."""
    rng = np.random.default_rng(seed)
    nodes = {}
    for number, count in enumerate(trials):
        odor = rng.permutation(np.resize(list(odors), count))
        pattern = rng.standard_normal((len(odors), BINS if kind == "rotating" else 1, units))
        drive = np.broadcast_to(pattern, (len(odors), BINS, units)) * (TIME > 0)[:, None] * (kind != "noise") * strength
        rate = np.exp(0.5 + drive[[odors.index(one) for one in odor]])
        nodes[f"rat{number}"] = xr.Dataset(
            {"spike_count": (("trial", "time", "unit"), rng.poisson(rate).astype(np.uint8))},
            coords={
                "trial": 10 + np.arange(count),
                "unit": np.arange(units),
                "odor": ("trial", odor),
                "block": ("trial", np.arange(count) // 9),
                "onset": ("trial", np.arange(count) * 5.0),
            },
        )
    time = ("time", TIME, {"bin_width": BIN, "units": "s", "long_name": "time from poke_in_time, bin centres"})
    return xr.DataTree(
        dataset=xr.Dataset(coords={"time": time}), children={name: xr.DataTree(node) for name, node in nodes.items()}
    )


def decoded(recordings, options=OPTIONS, split=HALVES, paths=None, **spec):
    samples = make_samples(recordings, SampleSpec(label=["odor"], start=0, **spec))
    splits = make_splits(samples, split)
    return decode_in_time(recordings, samples, splits, paths and paths(samples, splits), options)


def latent_paths(samples, values):
    """Return paths of one replica from animal -> (trial, window, latent)."""
    window = ("window", TIME, {"width": BIN, "dim": "time"})
    dims = ("replica", "trial", "window", "latent")
    return xr.DataTree.from_dict(
        {
            name: xr.Dataset(
                {"latent_mean": (dims, values(node).astype(np.float32)[None])},
                coords={"split": ("replica", [0]), "window": window, "trial": node["trial"].to_numpy()},
            )
            for name, node in samples.children.items()
        }
    )


def ideal(samples, splits):
    """Return latents that hold the odor after 0, alike in all animals."""
    rng = np.random.default_rng(5)

    def values(node):
        label = node["label"].to_numpy()[:, 0]
        means = 3 * np.eye(label.max() + 1)[label][:, None] * (TIME > 0)[:, None]
        return means + rng.standard_normal(means.shape)

    return {"mmvm": latent_paths(samples, values)}


def windows_of(recordings, spec):
    return make_samples(recordings, window_spec(recordings, spec, OPTIONS))
