"""Divergences against quadrature and torch.distributions; the laws of the mixture rate."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.special import logsumexp
from scipy.stats import norm
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, log_density
from neuromvm.functional.gaussian import kl_divergence as our_kl
from neuromvm.functional.mixture import kl_to_mixture, kl_to_pooled_mixture, mean_pairwise_kl, pooled_pairwise_kl


def posteriors(modalities: int, batch: int, latent: int, seed: int, spread: float = 1.0) -> Posteriors:
    generator = torch.Generator().manual_seed(seed)
    mean = spread * torch.randn(modalities, batch, latent, generator=generator, dtype=torch.float64)
    scale = torch.exp(0.5 * torch.randn(modalities, batch, latent, generator=generator, dtype=torch.float64))
    return Posteriors(mean, scale)


def test_kl_divergence_is_that_of_torch():
    one, other = posteriors(1, 6, 3, seed=0), posteriors(1, 6, 3, seed=1)
    expected = kl_divergence(Independent(Normal(one.mean, one.scale), 1), Independent(Normal(other.mean, other.scale), 1))
    torch.testing.assert_close(our_kl(*one, *other), expected)


def test_kl_to_standard_normal_is_that_of_torch():
    one = posteriors(2, 6, 3, seed=0)
    standard = Normal(torch.zeros_like(one.mean), torch.ones_like(one.mean))
    torch.testing.assert_close(kl_to_standard_normal(one), kl_divergence(Normal(*one), standard).sum(-1))


def test_log_density_is_that_of_scipy():
    one = posteriors(1, 5, 2, seed=3)
    value = torch.linspace(-2, 2, 10, dtype=torch.float64).reshape(1, 5, 2)
    expected = norm.logpdf(value.numpy(), one.mean.numpy(), one.scale.numpy()).sum(-1)
    np.testing.assert_allclose(log_density(value, *one).numpy(), expected)


@pytest.mark.parametrize(("seed", "alpha"), [(0, 0), (1, 0), (2, 0), (3, 0.3), (4, 0.3), (5, 1)])
def test_kl_to_mixture_is_that_of_quadrature_in_one_dimension(seed, alpha):
    mean, scale = (values[:, 0, 0].numpy() for values in posteriors(3, 1, 1, seed, spread=2.0))

    def integrand(value: float, m: int) -> float:
        each = norm.logpdf(value, mean, scale)
        components = np.append(each, norm.logpdf(value))
        weights = [(1 - alpha) / 3] * 3 + [alpha]
        return float(np.exp(each[m]) * (each[m] - logsumexp(components, b=weights)))

    expected = [
        integrate.quad(integrand, mean[m] - 12 * scale[m], mean[m] + 12 * scale[m], args=(m,), limit=200)[0] for m in range(3)
    ]
    samples = 200_000
    many = Posteriors(
        torch.tensor(mean)[:, None, None].expand(3, samples, 1), torch.tensor(scale)[:, None, None].expand(3, samples, 1)
    )
    noise = torch.randn(3, samples, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = kl_to_mixture(many, many.mean + many.scale * noise, torch.ones(3, samples, dtype=torch.float64), alpha)
    standard_error = drawn.std(1).numpy() / math.sqrt(samples)
    assert (np.abs(drawn.mean(1).numpy() - expected) < 5 * standard_error + 1e-9).all()


@given(modalities=st.integers(2, 5), seed=st.integers(0, 10_000), spread=st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_mixture_rate_never_passes_log_m_and_the_pairwise_rate_bounds_it(modalities, seed, spread):
    samples = 400
    one = posteriors(modalities, 1, 2, seed, spread)
    many = Posteriors(one.mean.expand(-1, samples, -1), one.scale.expand(-1, samples, -1))
    noise = torch.randn(modalities, samples, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    everyone = torch.ones(modalities, samples, dtype=torch.float64)
    mixture = kl_to_mixture(many, many.mean + many.scale * noise, everyone)
    # log q_m - log mixture <= log M holds for every single sample, not only on average.
    assert (mixture <= math.log(modalities) + 1e-9).all()
    standard_error = mixture.std(1) / math.sqrt(samples)
    assert (mixture.mean(1) >= -5 * standard_error - 1e-9).all()
    pairwise = mean_pairwise_kl(many, everyone)[:, 0]
    assert (mixture.mean(1) <= pairwise + 5 * standard_error + 1e-9).all()


def test_the_mixture_rate_has_a_ceiling_and_the_pairwise_rate_has_none():
    mean = 8.0 * torch.arange(5, dtype=torch.float64)[:, None, None].expand(5, 4000, 1)
    far = Posteriors(mean, torch.ones_like(mean))
    noise = torch.randn(5, 4000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    everyone = torch.ones(5, 4000, dtype=torch.float64)
    assert kl_to_mixture(far, mean + noise, everyone).mean(1).sum().item() == pytest.approx(5 * math.log(5), abs=0.01)
    # Sum over ordered pairs of 32 d^2, over 5: 2 (4*1 + 3*4 + 2*9 + 1*16) * 32 / 5.
    assert mean_pairwise_kl(far, everyone)[:, 0].sum().item() == pytest.approx(640.0)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("modalities", [10, 11, 40])
def test_rates_to_a_mixture_of_many_components_are_those_of_torch(modalities, alpha):
    batch, latent = 4, 2
    mean, scale = posteriors(modalities, batch, latent, seed=13)
    latents = mean + scale * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    available = torch.ones(modalities, batch, dtype=torch.float64)
    prior = torch.zeros(1, batch, latent, dtype=torch.float64)
    components = Independent(Normal(torch.cat([mean, prior]).movedim(0, 1), torch.cat([scale, prior + 1]).movedim(0, 1)), 1)
    weight = torch.tensor([(1 - alpha) / modalities] * modalities + [alpha], dtype=torch.float64)
    mixture = MixtureSameFamily(Categorical(weight.expand(batch, -1)), components)
    expected = Independent(Normal(mean, scale), 1).log_prob(latents) - mixture.log_prob(latents)
    torch.testing.assert_close(kl_to_mixture(Posteriors(mean, scale), latents, available, alpha), expected)
    if alpha == 0:
        conditions = torch.arange(batch)
        torch.testing.assert_close(kl_to_pooled_mixture(Posteriors(mean, scale), latents, available, conditions), expected)


def test_equal_posteriors_have_no_rate():
    one = posteriors(1, 7, 3, seed=5)
    same = Posteriors(one.mean.expand(4, 7, 3), one.scale.expand(4, 7, 3))
    noise = torch.randn(4, 7, 3, dtype=torch.float64)
    everyone = torch.ones(4, 7, dtype=torch.float64)
    assert kl_to_mixture(same, same.mean + same.scale * noise, everyone).abs().max() < 1e-9
    assert mean_pairwise_kl(same, everyone).abs().max() < 1e-12


@pytest.mark.parametrize("rate", ["mixture", "pairwise"])
def test_an_absent_modality_changes_nothing(rate):
    one = posteriors(4, 6, 2, seed=7)
    noise = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    available = torch.ones(4, 6, dtype=torch.float64)
    available[2] = 0
    three = torch.tensor([0, 1, 3])

    def rates(some: Posteriors, noise: torch.Tensor, available: torch.Tensor) -> torch.Tensor:
        if rate == "pairwise":
            return mean_pairwise_kl(some, available)
        return kl_to_mixture(some, some.mean + some.scale * noise, available)

    masked = rates(one, noise, available)
    without = rates(Posteriors(one.mean[three], one.scale[three]), noise[three], available[three])
    torch.testing.assert_close(masked[three], without)
    assert (masked[2] == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_scales_of_one_row_are_the_scales_of_all(share):
    mean, scale = posteriors(4, 6, 2, seed=8)
    one, all_rows = Posteriors(mean, scale[:, :1]), Posteriors(mean, scale[:, :1].expand_as(mean).contiguous())
    latents = mean + scale[:, :1] * torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    available = torch.ones(4, 6, dtype=torch.float64)
    available[2, :3] = 0
    torch.testing.assert_close(mean_pairwise_kl(one, available, share), mean_pairwise_kl(all_rows, available, share))
    torch.testing.assert_close(kl_to_mixture(one, latents, available, share), kl_to_mixture(all_rows, latents, available, share))


def test_a_row_without_any_modality_is_finite_in_value_and_gradient():
    one = posteriors(3, 2, 2, seed=8)
    mean = one.mean.clone().requires_grad_()
    available = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    rate = kl_to_mixture(Posteriors(mean, one.scale), mean + one.scale, available)
    rate.sum().backward()
    assert torch.isfinite(rate).all()
    assert torch.isfinite(mean.grad).all()
    assert (rate[:, 1] == 0).all()


def test_order_of_modalities_is_irrelevant():
    one = posteriors(4, 6, 2, seed=9)
    noise = torch.randn(4, 6, 2, dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    everyone = torch.ones(4, 6, dtype=torch.float64)
    latents = one.mean + one.scale * noise
    straight = kl_to_mixture(one, latents, everyone)
    shuffled = kl_to_mixture(Posteriors(one.mean[order], one.scale[order]), latents[order], everyone)
    torch.testing.assert_close(straight[order], shuffled)


def test_pooled_rates_are_those_of_brute_force():
    some = posteriors(3, 5, 2, seed=11)
    latents = some.mean + some.scale * torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    condition = torch.tensor([0, 1, 0, 1, 0])
    available = torch.ones(3, 5, dtype=torch.float64)
    available[1, 2] = available[0, 3] = 0
    mixture = kl_to_pooled_mixture(some, latents, available, condition)
    pairwise = pooled_pairwise_kl(some, available, condition)
    for modality, row in itertools.product(range(3), range(5)):
        if available[modality, row] == 0:
            assert mixture[modality, row] == pairwise[modality, row] == 0
            continue
        pool = [(k, r) for k in range(3) for r in range(5) if condition[r] == condition[row] and available[k, r]]
        own = Independent(Normal(some.mean[modality, row], some.scale[modality, row]), 1)
        others = [Independent(Normal(some.mean[k, r], some.scale[k, r]), 1) for k, r in pool]
        value = latents[modality, row]
        logs = torch.stack([one.log_prob(value) for one in others])
        expected = own.log_prob(value) - torch.logsumexp(logs, 0) + math.log(len(pool))
        torch.testing.assert_close(mixture[modality, row], expected)
        torch.testing.assert_close(pairwise[modality, row], torch.stack([kl_divergence(own, one) for one in others]).mean())


def test_with_conditions_of_their_own_pooled_rates_are_those_of_single_rows():
    some = posteriors(4, 6, 2, seed=12)
    latents = some.mean + 0.5 * some.scale
    everyone, apart = torch.ones(4, 6, dtype=torch.float64), torch.arange(6)
    torch.testing.assert_close(kl_to_pooled_mixture(some, latents, everyone, apart), kl_to_mixture(some, latents, everyone))
    torch.testing.assert_close(pooled_pairwise_kl(some, everyone, apart), mean_pairwise_kl(some, everyone))


@pytest.mark.parametrize("rate", ["mixture", "pairwise"])
def test_pooled_rates_keep_their_digits_where_narrow_posteriors_lie_far_apart(rate):
    generator = torch.Generator().manual_seed(0)
    condition, everyone = torch.arange(24) % 4, torch.ones(5, 24)
    centres = 30 * torch.randn(4, 8, generator=generator)
    mean = centres[condition] + 0.02 * torch.randn(5, 24, 8, generator=generator)
    scale = torch.full_like(mean, 0.0067)
    latents = mean + scale * torch.randn(5, 24, 8, generator=generator)
    gradients, rates = [], []
    for dtype in (torch.float32, torch.float64):
        leaf = mean.to(dtype).requires_grad_()
        narrow = Posteriors(leaf, scale.to(dtype))
        if rate == "mixture":
            rates.append(kl_to_pooled_mixture(narrow, latents.to(dtype), everyone.to(dtype), condition))
        else:
            rates.append(pooled_pairwise_kl(narrow, everyone.to(dtype), condition))
        gradients.append(torch.autograd.grad(rates[-1].sum(), leaf)[0].double().flatten())
    torch.testing.assert_close(rates[0].double(), rates[1], rtol=1e-4, atol=1e-3)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.9999
