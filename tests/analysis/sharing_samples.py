"""Samples of simulated animals, and splits in which they lack conditions."""

import numpy as np
import xarray as xr

from neuromvm.data.simulate import simulate_codes
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import SampleSpec, SplitSpec


def codes(animals: int = 3, conditions: int = 6, *, share: float = 1.0, seed: int = 0, **settings) -> xr.DataTree:
    """Return samples of animals with the same, or partly the same, codes of conditions."""
    recordings = simulate_codes(animals, conditions, trials=6, units=12, share=share, seed=seed, signal=0.6)
    return make_samples(recordings, SampleSpec(label=["condition"], **settings))


def lacking(samples: xr.DataTree, regime: str, held_out: int = 2, **settings) -> xr.DataTree:
    """Return splits in which every animal, or one animal after the other, lacks conditions."""
    return make_splits(samples, SplitSpec(kind="conditions", held_out=held_out, lacking=regime, **settings))


def with_codes(samples: xr.DataTree, name: str, renamed: np.ndarray) -> xr.DataTree:
    """Return samples with other codes of the conditions of an animal's trials ``(trial,)``."""
    nodes = {animal: node.to_dataset() for animal, node in samples.children.items()}
    dataset = nodes[name]
    values = renamed[:, None].astype(dataset["match"].dtype)
    changed = {key: (dataset[key].dims, values, dataset[key].attrs) for key in ("match", "label")}
    nodes[name] = dataset.assign(changed)
    return xr.DataTree.from_dict({"/": samples.to_dataset(), **nodes})
