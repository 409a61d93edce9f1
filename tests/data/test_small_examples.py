"""Small functions on inputs of a few values, with results worked out by hand."""

import numpy as np
import xarray as xr

from neuromvm.data.features import smoothing
from neuromvm.data.loaders.labels import as_text
from neuromvm.data.memory import row_blocks
from neuromvm.data.pairing import RedrawnPairing, in_order
from neuromvm.data.permutation import matched_noise
from neuromvm.data.simulate.experiment import SimulationConfig, shared_trajectory
from neuromvm.data.simulate.lfp import ornstein_uhlenbeck, poisson_spikes
from neuromvm.data.splits import sorted_by_label
from neuromvm.specs.files import parse_override, set_value


def test_pairs_in_order():
    codes = [np.array([0, 0, 1]), np.array([1, 0])]
    assert in_order(codes).tolist() == [[0, 1], [1, -1], [2, 0]]
    pairs = RedrawnPairing(codes).draw(np.random.default_rng(0))
    assert pairs.shape == (3, 2)
    assert [set(samples.tolist()) for samples in pairs.T] == [{0, 1, 2}, {0, 1}]


def test_labels_of_trials():
    assert [sorted_by_label(np.array(strata)) for strata in ([0, 0, 1, 1], [0, 1, 0, 1])] == [True, False]
    assert as_text(np.array([3.0, 0.5, np.nan])).tolist() == ["3", "0.5", ""]


def test_overrides():
    assert parse_override("training.learning_rate=1e-3") == ("training.learning_rate", 0.001)
    content = {"training": {"epochs": 200}}
    set_value(content, "training.epochs", 50, where="--set training.epochs=50")
    assert content == {"training": {"epochs": 50}}


def test_smoothing_is_the_root_of_a_gaussian_kernel():
    root = smoothing(4, 1.0)
    np.testing.assert_allclose((root @ root)[0], np.exp(-0.5 * np.arange(4) ** 2), atol=1e-6)


def test_row_blocks():
    assert list(row_blocks(5, row_size=10, block=25)) == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_matched_noise_has_the_mean_of_the_counts():
    node = xr.Dataset({"spike_count": (("trial", "time", "unit"), np.full((100, 10, 1), 4, np.uint8))})
    noise = matched_noise(xr.DataTree.from_dict({"mitt": node}), seed=1)["mitt"]["spike_count"]
    assert abs(noise.mean() - 4) < 0.3
    assert 3 < noise.var() < 5


def test_simulated_processes():
    random = np.random.default_rng(0)
    assert ornstein_uhlenbeck(5, 0.01, 0.3, random).shape == (5,)
    spikes = poisson_spikes(np.full(1000, 50.0), 0.01, 30_000, random)
    assert 400 < len(spikes) < 600
    assert (np.diff(spikes) > 0).all()
    latents = shared_trajectory(np.array([1, 2]), np.array([1, 2]), np.array([-1.0, 0.5]), SimulationConfig())
    assert latents.shape == (2, 2, 4)
    assert not latents[:, 0, :3].any()
