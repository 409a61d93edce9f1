"""Likelihoods of real numbers, such as scaled features."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuromvm.likelihoods.base import Likelihood, LinearError, Support


class Real(Likelihood):
    """Base class of likelihoods of real numbers; raw output is their mean."""

    support: ClassVar[Support] = "real"

    def mean(self, raw: Tensor) -> Tensor:
        return raw


class Scaled(Real):
    """Base class of likelihoods with a scale learned for each feature, or a fixed one for all."""

    log_scale: Tensor

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0, scale: float | None = None) -> None:
        super().__init__(features, units, exposure)
        self.learns_scale = scale is None
        if scale is None:
            self.log_scale = nn.Parameter(torch.zeros(features))
        else:
            self.register_buffer("log_scale", torch.full((features,), math.log(scale)))


class Gaussian(Scaled):
    """A Gaussian with a variance learned for each feature, or of a fixed standard deviation ``scale``; raw output is its mean.

    Examples
    --------
    >>> Gaussian(1).log_prob(torch.zeros(1, 1), torch.zeros(1, 1)).item()  # -log(2 pi) / 2
    -0.9189...
    """

    def parameters_at(self, deviation: Tensor) -> dict[str, Tensor]:
        return {"log_scale": torch.log(deviation)} if self.learns_scale else {}

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        deviation = (target - raw) * torch.exp(-self.log_scale)
        return -(0.5 * deviation.square() + self.log_scale + 0.5 * math.log(2 * math.pi)).sum(-1)

    def linear_error(self, weight: Tensor, bias: Tensor, target: Tensor) -> LinearError:
        gain = math.sqrt(0.5) * torch.exp(-self.log_scale)
        offset = (self.log_scale + 0.5 * math.log(2 * math.pi)).sum()
        return LinearError(weight * gain[:, None], bias * gain, target * gain, offset)

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(raw).normal_(generator=generator)
        return raw + torch.exp(self.log_scale) * noise


class SquaredError(Real):
    """Minus the squared error, as published: a Gaussian of variance 1/2 without its constant."""

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        # mse_loss saves a single model of many features 3 to 6 % of its time but costs a compiled stack a tenth of it, because it
        # flattens its arguments under vmap.
        return -(raw - target).square().sum(-1)

    def linear_error(self, weight: Tensor, bias: Tensor, target: Tensor) -> LinearError:
        return LinearError(weight, bias, target, weight.new_zeros(()))

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return raw + math.sqrt(0.5) * torch.empty_like(raw).normal_(generator=generator)


class Laplace(Scaled):
    """A Laplace density with a scale learned for each feature, or of a fixed ``scale``; raw output is its mean.

    It scores the absolute error, so single large deviations (artefacts, bursts) weigh less than under a Gaussian.

    Examples
    --------
    >>> Laplace(1).log_prob(torch.zeros(1, 1), torch.zeros(1, 1)).item()  # -log 2
    -0.6931...
    """

    def parameters_at(self, deviation: Tensor) -> dict[str, Tensor]:
        # a Laplace density of scale b has the deviation sqrt(2) b
        return {"log_scale": torch.log(deviation / math.sqrt(2))} if self.learns_scale else {}

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        deviation = (target - raw).abs() * torch.exp(-self.log_scale)
        return -(deviation + self.log_scale + math.log(2)).sum(-1)

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        # The difference of two exponential numbers is Laplace distributed.
        up, down = (torch.empty_like(raw).exponential_(generator=generator) for _ in range(2))
        return raw + torch.exp(self.log_scale) * (up - down)
