"""Each likelihood is normalised, agrees with scipy, and its mean is the mean of its samples."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from neuromvm.build import LIKELIHOODS
from neuromvm.likelihoods import Gaussian, Likelihood, Poisson, SquaredError


def made(kind: type[Likelihood], features: int) -> Likelihood:
    return kind() if kind is SquaredError else kind(features)


def test_poisson_is_that_of_scipy():
    likelihood = Poisson(3)
    likelihood.start_from(torch.tensor([[0.0, 2.0, 5.0], [1.0, 3.0, 0.0]]))
    raw = torch.tensor([[0.1, -0.5, 0.3]])
    rate = np.exp(raw.numpy()) * (np.array([1.0, 5.0, 5.0]) + 0.5) / 3
    target = np.array([[2.0, 0.0, 7.0]])
    expected = stats.poisson.logpmf(target, rate).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, torch.tensor(target)).numpy(), expected, rtol=1e-5)


def test_gaussian_is_that_of_scipy():
    likelihood = Gaussian(2)
    with torch.no_grad():
        likelihood.log_scale.copy_(torch.tensor([0.3, -0.7]))
    raw, target = torch.tensor([[0.1, -0.5]]), torch.tensor([[1.0, 0.2]])
    expected = stats.norm.logpdf(target, raw, np.exp([0.3, -0.7])).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, target).detach().numpy(), expected, rtol=1e-5)


def test_squared_error_is_a_gaussian_of_variance_one_half_without_its_constant():
    total, _ = integrate.quad(
        lambda x: math.exp(SquaredError().log_prob(torch.tensor([[0.3]]), torch.tensor([[x]])).item()), -9, 9
    )
    assert total == pytest.approx(math.sqrt(math.pi), rel=1e-5)


def test_poisson_sums_to_one():
    counts = torch.arange(200.0)[:, None]
    total = torch.exp(Poisson(1).log_prob(torch.full((200, 1), 2.0), counts)).sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_mean_is_the_mean_of_samples(name):
    likelihood = made(LIKELIHOODS[name], 3)
    raw = torch.tensor([[0.5, -1.0, 1.5]])
    drawn = likelihood.sample(raw.expand(40_000, 3), torch.Generator().manual_seed(0)).detach()
    standard_error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - likelihood.mean(raw)[0]).abs() < 5 * standard_error).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradients_are_finite_far_out(name):
    likelihood = made(LIKELIHOODS[name], 2)
    raw = torch.tensor([[40.0, -40.0]], requires_grad=True)
    likelihood.log_prob(raw, torch.tensor([[0.0, 3.0]])).sum().backward()
    assert torch.isfinite(raw.grad).all()
