"""MMVAE+ tells shared from private dimensions where the simulation has both."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit

TRIALS, ODORS = 240, "ABCDEF"
UNITS = {"mitt": 30, "stella": 24, "barat": 26}
TRAINING = TrainingSpec(epochs=200, learning_rate=0.01, schedule="cosine")


def simulated(seed: int) -> tuple[xr.DataTree, np.ndarray, dict[str, np.ndarray]]:
    """Return recordings, the odor circle that animals share ``(trial, 2)``, and each animal's own two latents."""
    random = np.random.default_rng(seed)
    odor = np.tile(np.arange(len(ODORS)), TRIALS // len(ODORS))
    angle = 2 * np.pi * odor / len(ODORS)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    children, private = {}, {}
    for name, units in UNITS.items():
        private[name] = random.normal(size=(TRIALS, 2))
        drive = 0.5 * circle @ random.normal(size=(2, units)) + 0.35 * private[name] @ random.normal(size=(2, units))
        counts = random.poisson(np.exp(1.2 + drive)[:, None]).astype(np.uint8)
        coords = {
            "trial": np.arange(TRIALS),
            "unit": np.arange(units),
            "odor": ("trial", np.array(list(ODORS))[odor]),
            "onset": ("trial", 5.0 * np.arange(TRIALS)),
        }
        children[name] = xr.DataTree(xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords=coords))
    time = ("time", np.array([0.05]), {"bin_width": 0.1, "units": "s"})
    return xr.DataTree(dataset=xr.Dataset(coords={"time": time}), children=children), circle, private


@pytest.mark.parametrize("samples", [1, 4])
def test_shared_latents_hold_the_odor_and_private_ones_what_is_the_animals_own(samples):
    recordings, circle, private = simulated(seed=0)
    windows = make_samples(recordings, SampleSpec(label="odor"))
    splits = make_splits(windows, SplitSpec())
    sharing = {"kind": "mmvae_plus", "private": 2, "samples": samples}
    model = ModelSpec(sharing=sharing, latent=2, networks="linear", likelihood="gaussian")
    latents = fit(windows, splits, model, TRAINING, progress=False).embed(windows)
    explained = []
    for name in UNITS:
        means = latents[name]["latent_mean"].isel(replica=0, window=0)
        training = splits[name]["part"].values[0] == Part.TRAIN
        for shared in (True, False):
            inferred = means.values[:, means["shared"].values == shared]
            for truth in (circle, private[name]):
                fitted = LinearRegression().fit(inferred[training], truth[training])
                explained.append(fitted.score(inferred[~training], truth[~training]))
    odor_in_shared, own_in_shared, odor_in_private, own_in_private = np.reshape(explained, (3, 4)).mean(axis=0)
    assert odor_in_shared > 0.8
    assert own_in_private > 0.7
    assert own_in_shared < 0.1
    assert odor_in_private < 0.1
