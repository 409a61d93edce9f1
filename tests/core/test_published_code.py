"""Rates and errors against what the published functions return on fixed posteriors."""

import numpy as np
import pytest
import torch

from neuromvm.functional.gaussian import Posteriors, kl_divergence, kl_to_standard_normal
from neuromvm.functional.mixture import mean_pairwise_kl
from neuromvm.functional.published import ADDED, published_rate
from neuromvm.likelihoods import SquaredError
from neuromvm.models.published import PUBLISHED_AGGREGATIONS
from tests.conftest import SHARED

FILE = SHARED / "reference" / "published_rat_code.npz"


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    if not FILE.is_file():
        pytest.skip("the published numbers (../shared/reference) are not on this machine")
    with np.load(FILE, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


@pytest.fixture(scope="module")
def posteriors(published) -> Posteriors:
    return Posteriors(published["mean"].movedim(1, 0), torch.exp(published["log_scale"]).movedim(1, 0) + ADDED)


def test_pairwise_kl(published, posteriors):
    mean, scale = posteriors
    pairs = kl_divergence(mean[:, None], scale[:, None], mean[None], scale[None])
    torch.testing.assert_close(pairs.movedim(2, 0), published["pairwise_kl"], atol=1e-6, rtol=0)


def test_standard_normal_kl(published, posteriors):
    prior = torch.full_like(posteriors.scale, 1 + ADDED)
    published_kl = published["standard_normal_kl"].T
    torch.testing.assert_close(kl_divergence(*posteriors, torch.zeros_like(prior), prior), published_kl, atol=1e-6, rtol=0)
    # Ours has the prior N(0, I) exactly, so it differs by what was added.
    torch.testing.assert_close(kl_to_standard_normal(posteriors), published_kl, atol=1e-4, rtol=0)


def test_pairwise_rate(published, posteriors):
    rate = mean_pairwise_kl(posteriors, torch.ones(5, 11, dtype=torch.float64)).sum(0)
    torch.testing.assert_close(rate, published["rate_alpha_0.000"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("alpha", "name"), [(1 / 6, "rate_alpha_0.167"), (1.0, "rate_alpha_1.000")])
def test_rate_with_a_standard_normal_share(published, posteriors, alpha, name):
    # Theirs has 1e-6 on the prior's scale too, which ours leaves at 1: the sum over five rats moves by parts in a million.
    mean, scale = posteriors
    prior = torch.full_like(scale, 1 + ADDED)
    ours = mean_pairwise_kl(posteriors, torch.ones(5, 11, dtype=torch.float64), alpha)
    added = kl_divergence(mean, scale, torch.zeros_like(prior), prior) - kl_to_standard_normal(posteriors)
    torch.testing.assert_close((ours + alpha * added).sum(0), published[name], atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.sum(0), published[name], atol=0, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "key"),
    [("average", "avg"), ("product_of_experts", "poe"), ("mixture_of_experts", "moe"), ("mixture_of_products", "mopoe")],
)
def test_aggregations_and_joint_rates(published, name, key):
    unpadded = Posteriors(published["mean"].movedim(1, 0), torch.exp(published["log_scale"]).movedim(1, 0))
    joint = PUBLISHED_AGGREGATIONS[name](unpadded, torch.ones(5, 11, dtype=torch.float64))
    torch.testing.assert_close(joint.mean, published[f"{key}_mean"], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.log(joint.scale), published[f"{key}_log_scale_as_published"], atol=1e-6, rtol=0)
    torch.testing.assert_close(published_rate(joint, 5), published[f"{key}_joint_rate_as_published"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rows", [30, 31, 32, 61, 62, 93, 100, 128])
@pytest.mark.parametrize("name", ["mixture_of_experts", "mixture_of_products"])
def test_a_batch_is_cut_into_slices_of_equal_length_and_a_remainder(name, rows):
    """The published numbers are of 11 rows, fewer than the 31 subsets of five rats."""
    random = np.random.default_rng(rows)
    mean, scale = random.normal(size=(5, rows, 3)), np.exp(random.normal(size=(5, rows, 3)))
    subsets = [[rat] for rat in range(5)]  # smaller subsets before larger ones, both in the order of rats
    if name == "mixture_of_products":
        combinations = [[rat for rat in range(5) if mask & 2**rat] for mask in range(1, 32)]
        subsets = sorted(combinations, key=lambda subset: (len(subset), subset))
    expected_mean, expected_scale = np.empty((rows, 3)), np.empty((rows, 3))
    length = int(np.floor(rows / len(subsets)))
    for number, subset in enumerate(subsets):
        start = number * length
        piece = slice(start, start + length if number + 1 < len(subsets) else rows)
        precision = 1 / scale[subset, piece]  # the head read as a log variance
        expected_scale[piece] = 1 / precision.sum(axis=0)
        expected_mean[piece] = (precision * mean[subset, piece]).sum(axis=0) * expected_scale[piece]
    unpadded = Posteriors(torch.from_numpy(mean), torch.from_numpy(scale))
    joint = PUBLISHED_AGGREGATIONS[name](unpadded, torch.ones(5, rows, dtype=torch.float64))
    np.testing.assert_allclose(joint.mean.numpy(), expected_mean, rtol=1e-9)
    np.testing.assert_allclose(joint.scale.numpy(), expected_scale, rtol=1e-9)


def test_summed_squared_error(published):
    errors = -sum(SquaredError(7 + rat).log_prob(published[f"x_hat{rat}"], published[f"x{rat}"]) for rat in range(5))
    torch.testing.assert_close(errors, published["reconstruction"], atol=1e-6, rtol=0)
