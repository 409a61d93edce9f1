"""Animals with place cells of known tuning: on a track that every lap runs through, or walking at random."""

import numpy as np
import xarray as xr

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import SampleSpec, SplitSpec

PLACES = 12


def fields(units, rng, *, peak=4.0, width=0.12, circular=False):
    """Return rates ``(place) -> (..., unit)`` [counts] of units with one field each on 0 to 1."""
    centres = rng.uniform(0, 1, units)

    def rates(place):
        distance = np.abs(np.asarray(place)[..., None] - centres)
        distance = np.minimum(distance, 1 - distance) if circular else distance
        return 0.1 + peak * np.exp(-0.5 * (distance / width) ** 2)

    return rates


def tree_of(counts, along="time", extra=None):
    """Return recordings of counts ``{animal: (trial, grid, unit)}`` on a grid of bins of width 1."""
    grid = next(iter(counts.values())).shape[1]
    coordinate = xr.Variable(along, np.arange(grid) + 0.5, {"bin_width": 1.0})
    nodes = {}
    for name, values in counts.items():
        trials, _, units = values.shape
        node = xr.Dataset(
            {"spike_count": (("trial", along, "unit"), values.astype(np.uint8))},
            {"trial": np.arange(trials), "unit": np.arange(units), "onset": ("trial", np.arange(trials) * 10.0)},
        )
        nodes[name] = node.assign_coords(lap=("trial", np.arange(trials)), odd=("trial", np.arange(trials) % 2)).assign(
            (extra or {}).get(name, {})
        )
    return xr.DataTree.from_dict({"/": xr.Dataset(coords={along: coordinate}), **nodes})


def track(seed=0, *, animals=3, laps=16, units=30, shared=True, signal=True, peak=4.0):
    """Return recordings, samples and splits of laps along a track; fields of all animals, shared or not, tile it."""
    rng = np.random.default_rng(seed)
    counts = {}
    for number in range(animals):
        place = (np.arange(PLACES) + 0.5) / PLACES
        if not shared:
            place = rng.permutation(place)
        rates = fields(units, rng, peak=peak)(place if signal else np.full(PLACES, 0.5))
        counts[f"mouse{number}"] = rng.poisson(np.broadcast_to(rates, (laps, *rates.shape)))
    recordings = tree_of(counts, "position")
    samples = make_samples(recordings, SampleSpec(width=1, label=["window"]))
    return recordings, samples, make_splits(samples, SplitSpec(kind="halves"))


def walk(seed=0, *, trials=40, windows=10, units=40, circular=False, peak=4.0, step=0.06, label="window"):
    """Return recordings, samples, splits and rates of an animal that moves at random on 0 to 1; its ``place (trial, time)``."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 1, (trials, 1)) + np.cumsum(step * rng.standard_normal((trials, windows)), axis=1)
    place = np.mod(place, 1) if circular else np.abs(np.mod(place + 1, 2) - 1)  # reflected at both ends
    rates = fields(units, rng, circular=circular, peak=peak)
    counts = rng.poisson(rates(place))
    recordings = tree_of({"mouse": counts}, extra={"mouse": {"place": (("trial", "time"), place)}})
    samples = make_samples(recordings, SampleSpec(width=1, label=[label]))
    return recordings, samples, make_splits(samples, SplitSpec(kind="halves")), rates
