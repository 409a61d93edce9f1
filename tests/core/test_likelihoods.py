"""Each likelihood is normalised, agrees with scipy, and its mean is the mean of its samples."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import integrate, stats
from torch.func import functional_call, stack_module_state, vmap

from neuromvm.errors import ArgumentError, ShapeError, SpecError
from neuromvm.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    Gamma,
    Likelihood,
    NegativeBinomial,
    Poisson,
    Support,
    ZeroInflatedNegativeBinomial,
)
from neuromvm.likelihoods.dispersion import log_overdispersion
from neuromvm.specs.model import LikelihoodSpec
from tests.core.examples import activity_of, of_support

REAL, COUNTS, EVENTS, POSITIVE = (of_support(support) for support in ("real", "counts", "binary", "positive"))
ALL = LIKELIHOODS
every = pytest.mark.parametrize("kind", ALL)
every_count = pytest.mark.parametrize("kind", COUNTS)


def with_values(likelihood: Likelihood, seed: int = 0) -> Likelihood:
    """Give every parameter and buffer a value of its own."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in [*likelihood.parameters(), *likelihood.buffers()]:
            value.copy_(0.5 * torch.randn(value.shape, generator=random) - 0.3)
    return likelihood


def possible_targets(kind: str, rows: int, features: int, seed: int = 0) -> torch.Tensor:
    return activity_of(ALL[kind].support, rows, features, seed)


def set_dispersion(likelihood: Likelihood, dispersion: float) -> None:
    with torch.no_grad():
        likelihood.log_dispersion.fill_(math.log(dispersion))


def log_probs(likelihood: Likelihood, raw: float, values: torch.Tensor) -> np.ndarray:
    """Return the log-likelihood of many values of a single feature."""
    return likelihood.log_prob(torch.full((len(values), 1), raw), values[:, None]).detach().double().numpy()


# Agreement with scipy


@pytest.mark.parametrize(("kind", "reference"), [("gaussian", stats.norm), ("laplace", stats.laplace)])
def test_density_is_that_of_scipy(kind, reference):
    likelihood = ALL[kind](2)
    with torch.no_grad():
        likelihood.log_scale.copy_(torch.tensor([0.3, -0.7]))
    raw, target = torch.tensor([[0.1, -0.5]]), torch.tensor([[1.0, 0.2]])
    expected = reference.logpdf(target, raw, np.exp([0.3, -0.7])).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, target).detach().numpy(), expected, rtol=1e-5)


def test_poisson_is_that_of_scipy():
    likelihood = Poisson(3)
    likelihood.start_from(torch.tensor([[0.0, 2.0, 5.0], [1.0, 3.0, 0.0]]))
    raw = torch.tensor([[0.1, -0.5, 0.3]])
    rate = np.exp(raw.numpy()) * (np.array([1.0, 5.0, 5.0]) + 0.5) / 3
    target = np.array([[2.0, 0.0, 7.0]])
    expected = stats.poisson.logpmf(target, rate).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, torch.tensor(target)).numpy(), expected, rtol=1e-5)


COUNTED = np.array([0, 1, 2, 7, 60, 1000])


@pytest.mark.parametrize("dispersion", [30.0, 1.0, 0.126, 0.124, 0.01, 1e-4, 1e-6])
@pytest.mark.parametrize("mean", [1e-4, 0.3, 5.0, 500.0])
def test_negative_binomial_is_that_of_scipy(dispersion, mean):
    likelihood = NegativeBinomial(1)
    set_dispersion(likelihood, dispersion)
    found = log_probs(likelihood, math.log(mean), torch.from_numpy(COUNTED).float())
    expected = stats.nbinom.logpmf(COUNTED, 1 / dispersion, 1 / (1 + dispersion * mean))
    # The largest terms, which the Poisson part has too, are of this size; each is rounded to float32.
    terms = 10 + COUNTED * np.log(COUNTED + 1) + COUNTED * abs(math.log(mean)) + mean
    assert (np.abs(found - expected) < 2 * np.finfo(np.float32).eps * terms).all()


@settings(deadline=None)
@given(count=st.integers(0, 300), mean=st.floats(1e-3, 300), log_dispersion=st.floats(math.log(1e-9), math.log(50)))
def test_overdispersion_is_that_of_the_product_that_defines_the_negative_binomial(count, mean, log_dispersion):
    """Scipy itself loses digits at small dispersion, the sum of the logarithms of all factors does not."""
    a = math.exp(log_dispersion)
    factors = math.fsum(math.log1p(a * j) for j in range(count))
    expected = math.fsum([factors, -count * math.log1p(a * mean), mean, -math.log1p(a * mean) / a])
    values = [torch.tensor(value, dtype=torch.float64) for value in (count, mean, a)]
    assert log_overdispersion(*values).item() == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("kind", "dispersion"), [("zero_inflated_poisson", None), ("zero_inflated_negative_binomial", 0.4)])
def test_zero_inflated_is_a_mixture_of_zero_and_scipys_counts(kind, dispersion):
    likelihood, extra, mean = COUNTS[kind](1), 0.3, 2.5
    with torch.no_grad():
        likelihood.zero_logit.fill_(math.log(extra / (1 - extra)))
    inner = mean / (1 - extra)
    if dispersion is None:
        counted = stats.poisson.pmf(COUNTED[:5], inner)
    else:
        set_dispersion(likelihood, dispersion)
        counted = stats.nbinom.pmf(COUNTED[:5], 1 / dispersion, 1 / (1 + dispersion * inner))
    expected = np.log((1 - extra) * counted + extra * (COUNTED[:5] == 0))
    found = log_probs(likelihood, math.log(mean), torch.from_numpy(COUNTED[:5]).float())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["zero_inflated_poisson", "zero_inflated_negative_binomial"])
@pytest.mark.parametrize("logit", [-3.0, 9.0, 10.0, 20.0, 60.0])
def test_extra_zeros_do_not_move_the_mean(kind, logit):
    likelihood = COUNTS[kind](1)
    with torch.no_grad():
        likelihood.zero_logit.fill_(logit)
    assert likelihood.mean(torch.full((1, 1), 3.0)).item() == pytest.approx(math.exp(3), rel=1e-5)
    assert torch.isfinite(likelihood.log_prob(torch.full((1, 1), 3.0), torch.ones(1, 1))).all()


def test_bernoulli_is_that_of_scipy():
    likelihood = Bernoulli(2)
    likelihood.start_from(torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]))
    raw, target = torch.tensor([[0.4, -2.0]]), torch.tensor([[1.0, 0.0]])
    odds = np.exp(raw.numpy()) * np.array([1.5 / 2.5, 3.5 / 0.5])
    expected = stats.bernoulli.logpmf(target, odds / (1 + odds)).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, target).numpy(), expected, rtol=1e-5)


def test_categorical_is_scipys_multinomial_without_its_coefficient():
    likelihood = Categorical(3)
    likelihood.start_from(torch.eye(3)[[0, 0, 1]])
    raw = torch.tensor([[0.4, -2.0, 1.0], [0.0, 0.0, 0.0]])
    weight = np.exp(raw.numpy().astype(float)) * np.array([2.5, 1.5, 0.5])
    share = weight / weight.sum(1, keepdims=True)
    one_hot, counts = np.array([[0, 0, 1], [1, 0, 0]]), np.array([[2, 0, 3], [1, 1, 0]])
    found = likelihood.log_prob(raw, torch.from_numpy(one_hot)).numpy()
    np.testing.assert_allclose(found, stats.multinomial.logpmf(one_hot, 1, share), rtol=1e-5)
    found = likelihood.log_prob(raw, torch.from_numpy(counts)).numpy()
    coefficient = np.log([10, 2])
    np.testing.assert_allclose(found, stats.multinomial.logpmf(counts, counts.sum(1), share) - coefficient, rtol=1e-5)


@pytest.mark.parametrize("shape", [0.2, 1.0, 7.5, 400.0])
def test_gamma_is_that_of_scipy(shape):
    likelihood = Gamma(2)
    likelihood.start_from(torch.tensor([[1.0, 30.0], [3.0, 50.0]]))
    with torch.no_grad():
        likelihood.log_shape.fill_(math.log(shape))
    raw, target = torch.tensor([[0.4, -0.3]]), torch.tensor([[2.5, 17.0]])
    expected = stats.gamma.logpdf(target, shape, scale=np.exp(raw.numpy()) * np.array([2.0, 40.0]) / shape).sum(-1)
    np.testing.assert_allclose(likelihood.log_prob(raw, target).detach().numpy(), expected, rtol=2e-5)


def test_gamma_starts_at_the_shape_of_the_activity():
    target = np.random.default_rng(0).gamma([0.5, 4.0], [3.0, 0.2], size=(50_000, 2))
    likelihood = Gamma(2)
    likelihood.start_from(torch.from_numpy(target))
    np.testing.assert_allclose(np.exp(likelihood.log_shape.detach().numpy()), [0.5, 4.0], rtol=0.05)


# Normalised


@pytest.mark.parametrize(("kind", "total"), [("gaussian", 1), ("laplace", 1), ("squared_error", math.sqrt(math.pi))])
def test_density_integrates_to_one_and_squared_error_to_that_of_variance_one_half_without_its_constant(kind, total):
    likelihood = with_values(ALL[kind](1))

    def density(value):
        return math.exp(likelihood.log_prob(torch.tensor([[0.3]]), torch.tensor([[value]])).item())

    below, _ = integrate.quad(density, -30, 0.3)
    above, _ = integrate.quad(density, 0.3, 30)
    assert below + above == pytest.approx(total, rel=1e-5)


@every_count
@pytest.mark.parametrize("dispersion", [0.8, 0.05, 1e-6])
def test_counts_sum_to_one(kind, dispersion):
    likelihood = with_values(COUNTS[kind](1))
    if hasattr(likelihood, "log_dispersion"):
        set_dispersion(likelihood, dispersion)
    total = np.exp(log_probs(likelihood, 2.0, torch.arange(600.0))).sum()
    assert total == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("kind", POSITIVE)
def test_densities_of_positive_activity_integrate_to_one(kind):
    likelihood = with_values(POSITIVE[kind](1))

    def density(log_value):
        value = math.exp(log_value)
        return value * math.exp(likelihood.log_prob(torch.tensor([[0.3]]), torch.tensor([[value]])).item())

    total, _ = integrate.quad(density, -40, 10, limit=200)
    assert total == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("kind", EVENTS)
def test_events_sum_to_one(kind):
    likelihood = with_values(EVENTS[kind](3))
    events = torch.eye(3) if kind == "categorical" else torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    raw = torch.tensor([0.5, -1.0, 1.5]).expand(len(events), 3)
    assert torch.exp(likelihood.log_prob(raw, events)).sum().item() == pytest.approx(1.0, abs=1e-6)


# Samples


@every
def test_mean_is_the_mean_of_samples(kind):
    likelihood = with_values(ALL[kind](3))
    raw = torch.tensor([[0.5, -1.0, 1.5]])
    drawn = likelihood.sample(raw.expand(40_000, 3), torch.Generator().manual_seed(0)).detach()
    standard_error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - likelihood.mean(raw)[0]).abs() < 5 * standard_error).all()


@every
def test_samples_are_repeated_by_their_generator_and_possible(kind):
    likelihood = with_values(ALL[kind](4))
    raw = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    first, second = (likelihood.sample(raw, torch.Generator().manual_seed(2)).detach() for _ in range(2))
    assert first.shape == raw.shape
    assert torch.equal(first, second)
    if kind not in REAL:
        likelihood.start_from(first.reshape(-1, 4))  # refuses what is impossible
    if kind in COUNTS | EVENTS:
        assert torch.equal(first, first.round())
    if kind == "categorical":
        assert (first.sum(-1) == 1).all()


@pytest.mark.parametrize("dispersion", [1.5, 0.3, 1e-6])
def test_variance_of_negative_binomial_samples_is_mean_plus_dispersion_times_squared_mean(dispersion):
    likelihood = NegativeBinomial(1)
    set_dispersion(likelihood, dispersion)
    drawn = likelihood.sample(torch.full((100_000, 1), math.log(4.0)), torch.Generator().manual_seed(0)).detach().double()
    squares = (drawn - drawn.mean()).square()
    assert abs(squares.mean() - (4 + dispersion * 16)) < 5 * squares.std() / math.sqrt(len(drawn))


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_spread_of_samples_is_the_learned_scale(kind):
    likelihood = ALL[kind](1)
    with torch.no_grad():
        likelihood.log_scale.fill_(0.5)
    drawn = likelihood.sample(torch.zeros(40_000, 1), torch.Generator().manual_seed(0)).detach().numpy()[:, 0]
    reference = stats.laplace if kind == "laplace" else stats.norm
    assert stats.kstest(drawn, reference(scale=math.exp(0.5)).cdf).pvalue > 1e-4


# Limits


@pytest.mark.parametrize("dispersion", [1e-4, 1e-6, 1e-12])
def test_negative_binomial_tends_to_poisson_in_value_and_gradient(dispersion):
    counts, rows = torch.tensor([0.0, 1.0, 4.0, 30.0])[:, None], torch.full((4, 1), math.log(5.0))
    values, gradients = [], []
    likelihood = NegativeBinomial(1)
    set_dispersion(likelihood, dispersion)
    for each in (likelihood, Poisson(1)):
        raw = rows.clone().requires_grad_()
        value = each.log_prob(raw, counts)
        value.sum().backward()
        values.append(value.detach())
        gradients.append(raw.grad)
    # The first term of the difference is a ((k - m)^2 - k) / 2, so its derivative by log m is -a (k - m) m.
    excess, slope = ((counts[:, 0] - 5).square() - counts[:, 0]) / 2, -5 * (counts - 5)
    torch.testing.assert_close(values[0], values[1] + dispersion * excess, rtol=2e-6, atol=1e-6 + 2e4 * dispersion**2)
    torch.testing.assert_close(gradients[0], gradients[1] + dispersion * slope, rtol=1e-5, atol=1e-6 + 2e4 * dispersion**2)
    total = (dispersion * excess.double()).sum().item()
    assert likelihood.log_dispersion.grad.item() == pytest.approx(total, rel=1e-3 + 200 * dispersion)


@pytest.mark.parametrize("dispersion", [20.0, 1.0, 0.126, 0.124, 0.01, 1e-3])
def test_gradient_by_dispersion_is_the_difference_quotient_of_scipy(dispersion):
    counts, mean, step = np.array([0, 1, 4, 30]), 5.0, 1e-4
    likelihood = NegativeBinomial(1)
    set_dispersion(likelihood, dispersion)
    likelihood.log_prob(torch.full((4, 1), math.log(mean)), torch.from_numpy(counts)[:, None].float()).sum().backward()

    def total(log_dispersion):
        a = math.exp(log_dispersion)
        return stats.nbinom.logpmf(counts, 1 / a, 1 / (1 + a * mean)).sum()

    at = math.log(dispersion)
    expected = (total(at + step) - total(at - step)) / (2 * step)
    assert likelihood.log_dispersion.grad.item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "base"), [("zero_inflated_poisson", Poisson), ("zero_inflated_negative_binomial", NegativeBinomial)]
)
def test_zero_inflated_is_its_base_without_extra_zeros(kind, base):
    likelihood, plain = COUNTS[kind](3, exposure=0.5), base(3, exposure=0.5)
    with torch.no_grad():
        likelihood.zero_logit.fill_(-40.0)
    raw = torch.tensor([[0.5, -1.0, 2.0]])
    target = torch.tensor([[0.0, 2.0, 3.0]])
    torch.testing.assert_close(likelihood.log_prob(raw, target), plain.log_prob(raw, target))
    torch.testing.assert_close(likelihood.mean(raw), plain.mean(raw))


@every
@pytest.mark.parametrize("parameter", [0.0, 30.0, -30.0])
def test_gradients_are_finite_far_out(kind, parameter):
    likelihood = ALL[kind](2)
    bounded = [value for name, value in likelihood.named_parameters() if name != "log_scale"]
    with torch.no_grad():
        for value in bounded:
            value.fill_(parameter)
    for far in (40.0, 1000.0):
        raw = torch.tensor([[far, -far]], requires_grad=True)
        value = likelihood.log_prob(raw, torch.tensor([[0.0, 3.0]])).sum()
        value.backward()
        assert torch.isfinite(value)
        assert all(torch.isfinite(each.grad).all() for each in (raw, *bounded))
        assert torch.isfinite(likelihood.mean(raw)).all()
        assert torch.isfinite(likelihood.sample(raw.detach())).all()


# Exposure, units and starting values


@every_count
@settings(deadline=None, max_examples=30)
@given(exposure=st.floats(1e-3, 10), seed=st.integers(0, 100))
def test_twice_the_exposure_doubles_the_mean_and_keeps_the_rate(kind, exposure, seed):
    short, long = (with_values(COUNTS[kind](3, exposure=width), seed) for width in (exposure, 2 * exposure))
    raw = torch.tensor([[0.5, -1.0, 2.0]])
    torch.testing.assert_close(long.mean(raw), 2 * short.mean(raw), rtol=1e-5, atol=0)
    torch.testing.assert_close(long.rate(raw), short.rate(raw), rtol=1e-5, atol=0)
    torch.testing.assert_close(short.rate(raw) * exposure, short.mean(raw))


@every_count
def test_zero_raw_output_is_the_rate_of_the_training_side(kind):
    rates = np.array([2.0, 15.0, 40.0])  # [Hz]
    counts = np.random.default_rng(0).poisson(0.2 * rates, size=(20_000, 3))
    likelihood = COUNTS[kind](3, exposure=0.2)
    likelihood.start_from(torch.from_numpy(counts))
    np.testing.assert_allclose(likelihood.log_baseline.numpy(), np.log(rates), atol=0.05)
    found, mean = likelihood.rate(torch.zeros(1, 3)).detach().numpy()[0], counts.mean(0)
    np.testing.assert_allclose(found, mean / 0.2, rtol=1e-3)


@every_count
def test_a_silent_unit_starts_at_a_finite_rate(kind):
    likelihood = COUNTS[kind](2, exposure=0.1)
    likelihood.start_from(torch.tensor([[0.0, 3.0], [0.0, 2.0]]))
    assert all(torch.isfinite(value).all() for value in likelihood.state_dict().values())


def test_dispersion_starts_at_that_of_the_counts_of_each_unit():
    """Bins of one unit have different means, which must not pass for dispersion."""
    dispersion, means = np.array([0.5, 2.0]), np.array([8.0, 3.0, 1.0])  # of units, of bins
    shape, mean = 1 / np.tile(dispersion, 3), np.repeat(means, 2)
    counts = np.random.default_rng(0).negative_binomial(shape, shape / (shape + mean), size=(50_000, 6))
    likelihood = NegativeBinomial(6, units=2)
    likelihood.start_from(torch.from_numpy(counts))
    np.testing.assert_allclose(np.exp(likelihood.log_dispersion.detach().numpy()), dispersion, rtol=0.1)


def test_dispersion_of_counts_without_excess_variance_starts_small():
    likelihood = NegativeBinomial(2)
    likelihood.start_from(torch.tensor([[0.0, 2.0], [0.0, 2.0]]))
    torch.testing.assert_close(torch.exp(likelihood.log_dispersion.detach()), torch.full((2,), 0.01))


@pytest.mark.parametrize("kind", ["negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"])
def test_bins_of_a_unit_share_its_parameters(kind):
    """Features are bin-major: three bins of two units score as three samples of one bin."""
    bins, one = with_values(COUNTS[kind](6, units=2)), COUNTS[kind](2)
    with torch.no_grad():
        bins.log_baseline.zero_()
    one.load_state_dict({**bins.state_dict(), "log_baseline": torch.zeros(2)})
    raw, target = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), possible_targets(kind, 4, 6)
    expected = one.log_prob(raw.reshape(4, 3, 2), target.reshape(4, 3, 2)).sum(1)
    torch.testing.assert_close(bins.log_prob(raw, target), expected)


def test_features_that_are_not_whole_bins_and_no_bin_width_are_refused():
    with pytest.raises(ShapeError, match="7 features"):
        Poisson(7, units=2)
    with pytest.raises(ArgumentError, match="0 s"):
        Poisson(4, exposure=0.0)


@pytest.mark.parametrize("kind", [*COUNTS, *EVENTS, *POSITIVE])
def test_activity_that_cannot_be_is_refused(kind):
    with pytest.raises(SpecError, match="between -1 and 1"):
        ALL[kind](2).start_from(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))


def test_bernoulli_refuses_several_spikes_in_a_bin():
    with pytest.raises(SpecError, match="poisson, or narrower bins"):
        Bernoulli(2).start_from(torch.tensor([[0.0, 2.0]]))


@every
def test_starting_values_leave_no_gradient_behind_and_the_activity_as_it_was(kind):
    likelihood, target = ALL[kind](3), possible_targets(kind, 20, 3)
    before = target.clone()
    likelihood.start_from(target)
    assert torch.equal(target, before)
    assert all(value.grad_fn is None for value in likelihood.state_dict(keep_vars=True).values())
    likelihood.log_prob(torch.zeros(20, 3, requires_grad=True), target).sum().backward()
    assert all(value.grad is not None for value in likelihood.parameters())


# How models use them


class Scored(torch.nn.Module):
    """A likelihood that is called, as ``functional_call`` needs it."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, raw: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.likelihood.log_prob(raw, target), self.likelihood.mean(raw)


@every
def test_a_stack_scores_as_each_of_its_members_and_each_source_alone(kind):
    members = [Scored(with_values(ALL[kind](4), seed)) for seed in range(3)]
    parameters, buffers = stack_module_state(members)
    raw = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))  # member, source, row, feature
    raw.requires_grad_()
    target = torch.stack([possible_targets(kind, 5, 4, seed) for seed in range(3)])
    scores, means = vmap(lambda *state: functional_call(members[0], state[:2], state[2:]))(parameters, buffers, raw, target)
    assert scores.shape == (3, 2, 5)
    scores.sum().backward()
    stacked_gradient, raw.grad = raw.grad, None
    for number, member in enumerate(members):
        for source in range(2):
            score, mean = member(raw[number, source], target[number])
            torch.testing.assert_close(scores[number, source], score)
            torch.testing.assert_close(means[number, source], mean)
            score.sum().backward()
        for name, value in member.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], value.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stacked_gradient, raw.grad, rtol=1e-4, atol=1e-5)


@every
def test_training_side_is_likelier_than_another_under_its_own_start(kind):
    """Starting values come from the activity: raw output of 0 scores it no worse than before."""
    target = possible_targets(kind, 200, 3)
    before, after = ALL[kind](3), ALL[kind](3)
    after.start_from(target)
    raw = torch.zeros(200, 3)
    assert after.log_prob(raw, target).mean() >= before.log_prob(raw, target).mean() - 1e-3


def test_dispersion_and_extra_zeros_are_recovered_from_counts():
    random = np.random.default_rng(0)
    mean, dispersion, extra = 6.0, 0.4, 0.25  # of the counts that are not extra zeros
    counts = random.negative_binomial(1 / dispersion, 1 / (1 + dispersion * mean), size=(20_000, 1))
    target = torch.from_numpy(counts * (random.random(counts.shape) >= extra)).float()
    likelihood, raw = ZeroInflatedNegativeBinomial(1), torch.zeros(1, requires_grad=True)
    likelihood.start_from(target)
    values = [raw, *likelihood.parameters()]
    optimizer = torch.optim.LBFGS(values, max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -likelihood.log_prob(raw.expand(len(target), 1), target).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert torch.sigmoid(likelihood.zero_logit).item() == pytest.approx(extra, rel=0.1)
    assert torch.exp(likelihood.log_dispersion).item() == pytest.approx(dispersion, rel=0.1)
    assert likelihood.mean(raw).item() == pytest.approx(mean * (1 - extra), rel=0.03)


def test_real_numbers_alone_are_scaled_features():
    assert {kind for kind in ALL if ALL[kind].scores_recorded()} == {*COUNTS, *EVENTS, *POSITIVE}
    assert set(ALL) == set(get_args(LikelihoodSpec.model_fields["kind"].annotation))
    assert all(likelihood.support in get_args(Support) for likelihood in ALL.values())


@every
def test_spec_of_each_kind_survives_a_round_trip(kind):
    adapter = TypeAdapter(LikelihoodSpec)
    spec = adapter.validate_python({"kind": kind})
    assert spec.kind == kind
    assert adapter.validate_json(adapter.dump_json(spec)) == spec


def test_categories_compete_within_a_bin():
    likelihood = Categorical(6, units=2)
    raw = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(likelihood.mean(raw).reshape(3, 3, 2).sum(-1), torch.ones(3, 3))
    assert (likelihood.sample(raw, torch.Generator().manual_seed(0)).reshape(3, 3, 2).sum(-1) == 1).all()
    alone = sum(Categorical(2).log_prob(raw[:, 2 * at : 2 * at + 2], torch.eye(2)[:1]) for at in range(3))
    torch.testing.assert_close(likelihood.log_prob(raw, torch.eye(2)[:1].repeat(1, 3)), alone)


def test_categories_start_at_their_shares_in_every_bin():
    likelihood = Categorical(6, units=2)
    likelihood.start_from(torch.tensor([[1.0, 0, 0, 1, 1, 0], [1, 0, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1]]))
    share = torch.tensor([[3.5, 0.5], [1.5, 2.5], [1.5, 2.5]]) / 4  # (bin, category), half an event more of each
    torch.testing.assert_close(torch.exp(likelihood.baseline), share.flatten())
    torch.testing.assert_close(likelihood.mean(torch.zeros(1, 6)), share.reshape(1, 6))
