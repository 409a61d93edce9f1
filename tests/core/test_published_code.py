"""Rates and errors against what the published functions return on fixed posteriors."""

import numpy as np
import pytest
import torch

from neuromvm.functional.gaussian import Posteriors, kl_divergence, kl_to_standard_normal
from neuromvm.functional.mixture import mean_pairwise_kl
from neuromvm.likelihoods import SquaredError
from tests.conftest import SHARED

ADDED = 1e-6  # the published code adds this to every standard deviation, the prior's too
FILE = SHARED / "reference" / "published_rat_code.npz"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the published numbers (../shared/reference) are not on this machine")


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
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


def test_summed_squared_error(published):
    errors = -sum(SquaredError().log_prob(published[f"x_hat{rat}"], published[f"x{rat}"]) for rat in range(5))
    torch.testing.assert_close(errors, published["reconstruction"], atol=1e-6, rtol=0)
