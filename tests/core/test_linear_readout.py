"""The multiplied-out error of a linear readout is the error, its gradient and its likelihood, wherever activity lies."""

import pytest
import torch

from neuromvm.functional.reconstruction import Moments, ReadoutError, moments_pay, multiplying_out_pays
from neuromvm.likelihoods import Gaussian, SquaredError

SOURCES, ROWS, WIDTH, FEATURES = 3, 40, 5, 200


def readout(offset=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    hidden, weight, bias = draw(SOURCES, ROWS, WIDTH), draw(FEATURES, WIDTH), offset + draw(FEATURES)
    target = hidden[0] @ weight.T + bias + draw(ROWS, FEATURES)
    return hidden, weight, bias, target


@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0, 1000.0, 10_000.0])
def test_the_error_is_exact_wherever_activity_lies(offset):
    hidden, weight, bias, target = readout(offset)
    direct = (target.double() - hidden.double() @ weight.double().T - bias.double()).square().sum(-1)
    found = ReadoutError.of(weight, bias, target).at(hidden)
    torch.testing.assert_close(found.double(), direct, rtol=1e-3, atol=1e-3 * FEATURES * (1 + offset / 1000) ** 2 * 1e-2)


def test_a_perfect_readout_has_no_error_below_zero():
    hidden, weight, bias, _ = readout()
    target = hidden[0] @ weight.T + bias
    found = ReadoutError.of(weight, bias, target).at(hidden)[0]
    assert (found >= 0).all()
    assert (found < 1e-2).all()


@pytest.mark.parametrize("likelihood", [SquaredError(FEATURES), Gaussian(FEATURES)], ids=["squared_error", "gaussian"])
def test_likelihood_and_gradients_are_those_of_the_readout_written_out(likelihood):
    hidden, weight, bias, target = readout()
    leaves = [one.clone().requires_grad_() for one in (hidden, weight, bias)]
    short = likelihood.log_prob_of_linear(*leaves, target)
    own = torch.autograd.grad(short.sum(), leaves)
    written = likelihood.log_prob(torch.nn.functional.linear(*leaves), target)
    expected = torch.autograd.grad(written.sum(), leaves)
    torch.testing.assert_close(short, written, rtol=1e-4, atol=1e-2)
    for one, other in zip(own, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-2)


def test_the_error_written_out_is_the_squared_distance_and_broadcasts():
    hidden, weight, bias, target = readout()
    raw = torch.nn.functional.linear(hidden, weight, bias)
    for values in (raw, raw[0, 0]):
        expected = torch.nn.functional.mse_loss(*torch.broadcast_tensors(values, target), reduction="none").sum(-1)
        torch.testing.assert_close(SquaredError(FEATURES).log_prob(values, target), -expected)


@pytest.mark.parametrize(
    ("hidden", "features", "pays"), [((1, 72, 64), 100, False), ((9, 72, 24), 400, True), ((1, 128, 24), 1000, False)]
)
def test_errors_are_multiplied_out_where_several_sources_are_scored(hidden, features, pays):
    assert multiplying_out_pays(hidden, features) is pays


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_sum_over_sources_is_the_sum_of_their_errors(offset):
    hidden, weight, bias, target = readout(offset)
    weights = torch.rand(SOURCES, ROWS, generator=torch.Generator().manual_seed(1))
    errors = ReadoutError.of(weight, bias, target)
    stacked = ReadoutError(*(torch.stack([one, 2 * one]) for one in errors))
    direct = (target.double() - hidden.double() @ weight.double().T - bias.double()).square().sum(-1)
    expected = (direct * weights).sum(0)
    torch.testing.assert_close(
        stacked.summed(Moments.of(hidden, weights)).double(), torch.stack([expected, 2 * expected]), rtol=1e-3, atol=1e-2
    )


@pytest.mark.parametrize(
    ("readouts", "latents", "features", "pays"),
    [
        (3, (3, 75, 2), 90, False),
        (9, (9, 75, 24), 90, True),
        (9, (9, 75, 24), 20, False),
        (14, (14, 75, 64), 90, True),
        (14, (14, 75, 128), 90, False),
        (14, (14, 75, 128), 40, False),
        (9, (9, 75, 128), 90, False),
        (4, (15, 75, 16), 90, True),
        (4, (15, 75, 128), 300, False),
    ],
)
def test_moments_are_used_where_many_sources_of_few_latents_are_read(readouts, latents, features, pays):
    assert moments_pay(readouts, latents, features) is pays
