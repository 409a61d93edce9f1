"""From raw decoder output to log-likelihood, mean and samples of activity. Sums run over features."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Likelihood(nn.Module, ABC):
    """What a decoder's raw output ``(batch, feature)`` says about activity ``(batch, feature)``."""

    def start_from(self, target: Tensor) -> None:
        """Set starting values from training-side activity ``(sample, feature)``; by default there are none."""

    @abstractmethod
    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the log-likelihood ``(batch,)`` [nats]."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected activity ``(batch, feature)``."""

    @abstractmethod
    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw activity ``(batch, feature)``."""


class Gaussian(Likelihood):
    """A Gaussian with one variance for each feature, learned.

    Parameters
    ----------
    features
        Number of features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(features))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        deviation = (target - raw) * torch.exp(-self.log_scale)
        return -(0.5 * deviation.square() + self.log_scale + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(raw).normal_(generator=generator)
        return raw + torch.exp(self.log_scale) * noise


class SquaredError(Likelihood):
    """Minus the squared error, as published: a Gaussian of variance 1/2 without its constant."""

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        return -(target - raw).square().sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return raw

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return raw + math.sqrt(0.5) * torch.empty_like(raw).normal_(generator=generator)


class Poisson(Likelihood):
    """Poisson counts; raw output is the log rate relative to each feature's mean count on the training side.

    Parameters
    ----------
    features
        Number of features.
    """

    log_baseline: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("log_baseline", torch.zeros(features))

    def start_from(self, target: Tensor) -> None:
        # Half a count keeps a feature without any spike on the training side at a finite rate.
        self.log_baseline = torch.log((target.float().sum(0) + 0.5) / (len(target) + 1))

    def _log_rate(self, raw: Tensor) -> Tensor:
        return (raw + self.log_baseline).clamp(max=12.0)  # e^12 counts a bin: far above any neuron, below overflow

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        log_rate = self._log_rate(raw)
        return (target * log_rate - torch.exp(log_rate) - torch.lgamma(target + 1)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.exp(self._log_rate(raw))

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(self.mean(raw), generator=generator)
