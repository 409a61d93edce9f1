"""Aggregations against a grid product and against brute force over subsets; laws that every aggregation keeps."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from neuromvm.functional import experts
from neuromvm.functional.gaussian import Posteriors
from tests.core.test_gaussian import posteriors

AGGREGATIONS = {
    "average": experts.average,
    "product_of_experts": experts.product_of_experts,
    "hellinger": experts.hellinger,
    "mixture_of_experts": experts.mixture_of_experts,
    "mixture_of_products": experts.mixture_of_products,
    "sampled_products": lambda some, available: experts.sampled_products(
        some, available, torch.randn(5, *available.shape[1:], len(available) + 1, dtype=torch.float64)
    ),
}
every_aggregation = pytest.mark.parametrize("name", AGGREGATIONS)


def everyone(some: Posteriors) -> torch.Tensor:
    return torch.ones(some.mean.shape[:2], dtype=torch.float64)


def density(joint: experts.Experts, values: np.ndarray) -> np.ndarray:
    """Return the joint density of values on a line, of the first row and latent."""
    (mean, scale), weight = joint
    return sum(
        w * norm.pdf(values, m, s)
        for w, m, s in zip(weight[:, 0].numpy(), mean[:, 0, 0].numpy(), scale[:, 0, 0].numpy(), strict=True)
    )


@given(modalities=st.integers(1, 5), seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_product_of_experts_is_the_product_of_densities_on_a_grid(modalities, seed):
    some = posteriors(modalities, 1, 1, seed)
    grid = np.linspace(-25, 25, 20_001)
    logs = sum(norm.logpdf(grid, m, s) for m, s in zip(some.mean[:, 0, 0].numpy(), some.scale[:, 0, 0].numpy(), strict=True))
    product = np.exp(logs - logs.max())
    product /= np.trapezoid(product, grid)
    np.testing.assert_allclose(density(experts.product_of_experts(some, everyone(some)), grid), product, atol=1e-6)


@given(modalities=st.integers(1, 4), seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_hellinger_has_the_moments_of_the_squared_mean_of_root_densities_on_a_grid(modalities, seed):
    some = posteriors(modalities, 1, 2, seed)
    line = np.linspace(-40, 40, 801)
    logs = [
        sum(norm.logpdf(axis, m, s) for axis, m, s in zip(np.meshgrid(line, line), mean.numpy(), scale.numpy(), strict=True))
        for mean, scale in zip(some.mean[:, 0], some.scale[:, 0], strict=True)
    ]
    pooled = np.square(np.mean([np.exp(log / 2) for log in logs], axis=0))
    pooled /= pooled.sum()
    joint = experts.hellinger(some, everyone(some)).posteriors
    for latent, axis in enumerate((0, 1)):
        marginal = pooled.sum(axis=axis)
        mean = (marginal * line).sum()
        assert joint.mean[0, 0, latent].item() == pytest.approx(mean, abs=2e-3)
        assert joint.scale[0, 0, latent].item() ** 2 == pytest.approx((marginal * (line - mean) ** 2).sum(), rel=5e-3)


def test_mixture_of_products_is_the_mixture_over_all_subsets_by_brute_force():
    some = posteriors(3, 1, 1, seed=2)
    grid = np.linspace(-8, 8, 50)
    expected = np.zeros_like(grid)
    for size in (1, 2, 3):
        for subset in itertools.combinations(range(3), size):
            part = Posteriors(some.mean[list(subset)], some.scale[list(subset)])
            expected += density(experts.product_of_experts(part, everyone(part)), grid) / 7
    np.testing.assert_allclose(density(experts.mixture_of_products(some, everyone(some)), grid), expected)


@every_aggregation
def test_a_single_expert_is_returned_as_it_is(name):
    some = posteriors(1, 4, 2, seed=1)
    joint, weight = AGGREGATIONS[name](some, everyone(some))
    torch.testing.assert_close(joint.mean, some.mean.expand_as(joint.mean))
    torch.testing.assert_close(joint.scale, some.scale.expand_as(joint.scale))
    torch.testing.assert_close(weight.sum(0), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in AGGREGATIONS if name != "sampled_products"])
def test_order_of_modalities_is_irrelevant_and_an_absent_one_changes_nothing(name):
    some = posteriors(4, 1, 1, seed=3)
    grid = np.linspace(-8, 8, 60)
    order = torch.tensor([2, 0, 3, 1])
    straight = density(AGGREGATIONS[name](some, everyone(some)), grid)
    shuffled = Posteriors(some.mean[order], some.scale[order])
    np.testing.assert_allclose(density(AGGREGATIONS[name](shuffled, everyone(some)), grid), straight)
    masked = everyone(some)
    masked[1] = 0
    kept = torch.tensor([0, 2, 3])
    without = Posteriors(some.mean[kept], some.scale[kept])
    np.testing.assert_allclose(
        density(AGGREGATIONS[name](some, masked), grid), density(AGGREGATIONS[name](without, everyone(without)), grid)
    )


@every_aggregation
def test_a_row_without_any_modality_is_finite(name):
    some = posteriors(3, 2, 2, seed=4)
    mean = some.mean.clone().requires_grad_()
    available = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    joint, weight = AGGREGATIONS[name](Posteriors(mean, some.scale), available)
    (joint.mean.sum() + joint.scale.log().sum() + weight.sum()).backward()
    assert torch.isfinite(joint.mean).all()
    assert torch.isfinite(mean.grad).all()


@pytest.mark.parametrize("present", [[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]])
def test_drawn_subsets_are_all_equally_frequent(present):
    draws = 40_000
    available = torch.tensor(present, dtype=torch.float64)[:, None]
    # Powers of ten as precisions: the joint precision spells the subset.
    precision = 10.0 ** torch.arange(4, dtype=torch.float64)
    some = Posteriors(torch.zeros(4, 1, 1, dtype=torch.float64), precision.rsqrt()[:, None, None])
    noise = torch.randn(draws, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    joint, weight = experts.sampled_products(some, available, noise)
    spelled = joint.scale.reciprocal().square().round().long().flatten()
    subsets, counts = torch.unique(spelled, return_counts=True)
    expected = 2 ** sum(present) - 1
    assert len(subsets) == expected
    standard_error = math.sqrt(draws * (1 / expected) * (1 - 1 / expected)) + 1e-9
    assert ((counts - draws / expected).abs() < 5 * standard_error).all()
    torch.testing.assert_close(weight.sum(0), torch.ones(1, dtype=torch.float64))
