"""Errors of linear readouts as quadratic functions are the errors, wherever activity lies."""

import pytest
import torch

from neuromvm.functional.reconstruction import Moments, ReadoutErrors
from neuromvm.likelihoods import Gaussian, SquaredError

SOURCES, ROWS, WIDTH, FEATURES = 3, 40, 5, 200


def readout(offset=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    latents, weight, bias = draw(SOURCES, ROWS, WIDTH), draw(FEATURES, WIDTH), offset + draw(FEATURES)
    target = latents[0] @ weight.T + bias + draw(ROWS, FEATURES)
    return latents, weight, bias, target


def errors_in_double_precision(latents, weight, bias, target):
    return (target.double() - latents.double() @ weight.double().T - bias.double()).square().sum(-1)


@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0, 1000.0, 10_000.0])
def test_the_error_is_exact_wherever_activity_lies(offset):
    latents, weight, bias, target = readout(offset)
    direct = errors_in_double_precision(latents, weight, bias, target)
    errors = ReadoutErrors.of([(weight, bias, target)] * SOURCES).at(latents)
    torch.testing.assert_close(errors.double(), direct, rtol=1e-3, atol=1e-3 * FEATURES * (1 + offset / 1000) ** 2 * 1e-2)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_sum_over_sources_is_the_sum_of_their_errors(offset):
    latents, weight, bias, target = readout(offset)
    weights = torch.rand(SOURCES, ROWS, generator=torch.Generator().manual_seed(1))
    expected = (errors_in_double_precision(latents, weight, bias, target) * weights).sum(0)
    root = 2**0.5
    errors = ReadoutErrors.of([(weight, bias, target), (root * weight, root * bias, root * target)])
    summed = errors.summed(Moments.of(latents, weights)).double()
    torch.testing.assert_close(summed, torch.stack([expected, 2 * expected]), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("likelihood", [SquaredError(FEATURES), Gaussian(FEATURES)], ids=["squared_error", "gaussian"])
def test_likelihood_and_gradients_are_those_of_the_readout_written_out(likelihood):
    latents, weight, bias, target = readout()
    leaves = [value.clone().requires_grad_() for value in (latents, weight, bias)]
    error = likelihood.linear_error(*leaves[1:], target)
    errors = ReadoutErrors.of([(error.weight, error.bias, error.target)] * SOURCES)
    quadratic = -errors.at(leaves[0]) - error.offset
    written = likelihood.log_prob(torch.nn.functional.linear(*leaves), target)
    torch.testing.assert_close(quadratic, written, rtol=1e-4, atol=1e-2)
    gradients, expected = (torch.autograd.grad(values.sum(), leaves) for values in (quadratic, written))
    for gradient, expected_gradient in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-2)


def test_the_error_written_out_is_the_squared_distance_and_broadcasts():
    latents, weight, bias, target = readout()
    raw = torch.nn.functional.linear(latents, weight, bias)
    for values in (raw, raw[0, 0]):
        expected = torch.nn.functional.mse_loss(*torch.broadcast_tensors(values, target), reduction="none").sum(-1)
        torch.testing.assert_close(SquaredError(FEATURES).log_prob(values, target), -expected)
