"""Likelihoods of real numbers, such as scaled features."""

import math

import torch
from torch import Tensor, nn

from neuromvm.likelihoods.base import Likelihood, LinearError


class Gaussian(Likelihood):
    """A Gaussian with one variance for each feature, learned; raw output is its mean.

    Parameters
    ----------
    features
        Number of features.

    Examples
    --------
    >>> Gaussian(1).log_prob(torch.zeros(1, 1), torch.zeros(1, 1)).item()  # -log(2 pi) / 2
    -0.9189...
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.log_scale = nn.Parameter(torch.zeros(features))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        deviation = (target - raw) * torch.exp(-self.log_scale)
        return -(0.5 * deviation.square() + self.log_scale + 0.5 * math.log(2 * math.pi)).sum(-1)

    def linear_error(self, weight: Tensor, bias: Tensor, target: Tensor) -> LinearError:
        gain = math.sqrt(0.5) * torch.exp(-self.log_scale)
        offset = (self.log_scale + 0.5 * math.log(2 * math.pi)).sum()
        return LinearError(weight * gain[:, None], bias * gain, target * gain, offset)

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(raw).normal_(generator=generator)
        return raw + torch.exp(self.log_scale) * noise


class SquaredError(Likelihood):
    """Minus the squared error, as published: a Gaussian of variance 1/2 without its constant."""

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        return -(raw - target).square().sum(-1)

    def linear_error(self, weight: Tensor, bias: Tensor, target: Tensor) -> LinearError:
        return LinearError(weight, bias, target, weight.new_zeros(()))

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return raw + math.sqrt(0.5) * torch.empty_like(raw).normal_(generator=generator)


class Laplace(Likelihood):
    """A Laplace density with one scale for each feature, learned; raw output is its mean.

    It scores the absolute error, so single large deviations (artefacts, bursts) weigh less than under a Gaussian.

    Parameters
    ----------
    features
        Number of features.

    Examples
    --------
    >>> Laplace(1).log_prob(torch.zeros(1, 1), torch.zeros(1, 1)).item()  # -log 2
    -0.6931...
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.log_scale = nn.Parameter(torch.zeros(features))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        deviation = (target - raw).abs() * torch.exp(-self.log_scale)
        return -(deviation + self.log_scale + math.log(2)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        # The difference of two exponential numbers is Laplace distributed.
        up, down = (torch.empty_like(raw).exponential_(generator=generator) for _ in range(2))
        return raw + torch.exp(self.log_scale) * (up - down)
