"""Classes read from latents by logistic regression."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression

from neuromvm.analysis.latents.classification import latent_accuracy
from neuromvm.errors import SplitError
from neuromvm.schema import Part

TRIALS = 120


def trees(signal, part=None):
    random = np.random.default_rng(0)
    label = np.resize([0, 1, 2], TRIALS)
    mean = random.normal(size=(2, TRIALS, 1, 4)) + signal * np.eye(4)[label][None, :, None]
    dims = ("replica", "trial", "window", "latent")
    node = xr.Dataset(
        {"latent_mean": (dims, mean), "label": (("trial", "window"), label[:, None])},
        coords={"split": ("replica", [0, 0]), "trial": np.arange(TRIALS)},
    )
    sides = np.where(np.arange(TRIALS) < 80, Part.TRAIN, Part.TEST) if part is None else part
    split = xr.Dataset({"part": (("split", "trial"), sides[None])}, {"split": [0], "trial": np.arange(TRIALS)})
    return xr.DataTree.from_dict({"photo": node}), xr.DataTree.from_dict({"photo": split})


def test_accuracy_is_that_of_scikit_learn_on_test_trials():
    latents, splits = trees(2.0)
    means, label = latents["photo"]["latent_mean"].values[1, :, 0], latents["photo"]["label"].values[:, 0]
    scaled = (means - means[:80].mean(0)) / means[:80].std(0)
    expected = LogisticRegression(max_iter=10_000).fit(scaled[:80], label[:80]).score(scaled[80:], label[80:])
    found = latent_accuracy(latents, splits)
    assert float(found.sel(modality="photo")[1]) == pytest.approx(expected)
    assert 0.5 < expected < 1


def test_latents_without_signal_are_at_chance():
    found = latent_accuracy(*trees(0.0))
    assert abs(found - 1 / 3).max() < 0.25


def test_fewer_training_trials_are_drawn_if_wanted():
    latents, splits = trees(2.0)
    assert float((latent_accuracy(latents, splits, most=9) - latent_accuracy(latents, splits)).max()) != 0


def test_a_modality_without_test_trials_is_refused():
    with pytest.raises(SplitError, match="modality photo"):
        latent_accuracy(*trees(1.0, np.full(TRIALS, Part.TRAIN)))
