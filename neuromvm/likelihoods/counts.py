"""Likelihoods of spike counts; raw output is the log rate relative to the rate of the training side."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from neuromvm.likelihoods.base import Likelihood, Support, refuse_unless
from neuromvm.likelihoods.dispersion import dispersion_from_moments, log_overdispersion

LARGEST_LOG_MEAN = 12.0  # e^12 counts a bin: far above any neuron, below overflow
STARTING_LOGIT = -3.0  # 5 % extra zeros
LARGEST_LOGIT = 20.0  # all but 2e-9 of counts are extra zeros
LARGEST_LOG_DISPERSION = 12.0  # a unit with one burst of many spikes in the whole recording stays below it


class CountLikelihood(Likelihood):
    """Counts with mean ``exposure * exp(raw + log_baseline)``: raw output has the same meaning in every count likelihood.

    ``log_baseline (feature,)`` [log Hz] is the log rate of each feature on the training side.
    """

    support: ClassVar[Support] = "counts"
    log_baseline: Tensor

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0) -> None:
        super().__init__(features, units, exposure)
        self.register_buffer("log_baseline", torch.zeros(features))

    @torch.no_grad()
    def start_from(self, target: Tensor) -> None:
        refuse_unless(target >= 0, target, "counts, which are never negative", "Choose gaussian, laplace or squared_error")
        # Half a count keeps a feature without any spike on the training side at a finite rate.
        mean = (target.float().sum(0) + 0.5) / (len(target) + 1)
        self.log_baseline.copy_(torch.log(mean / self.exposure))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        return self._log_prob_of(self._log_mean(raw), target).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.exp(self._log_mean(raw))

    def rate(self, raw: Tensor) -> Tensor:
        """Return the expected rate ``(..., feature)`` [Hz]."""
        return self.mean(raw) / self.exposure

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._draw(torch.exp(self._log_mean(raw)), generator)

    def _log_mean(self, raw: Tensor) -> Tensor:
        return (raw + self.log_baseline + math.log(self.exposure)).clamp(max=LARGEST_LOG_MEAN)

    def _of_features(self, values: Tensor) -> Tensor:
        """Repeat ``values (unit,)`` over bins: ``(feature,)``."""
        return values.repeat(self.features // self.units)

    @abstractmethod
    def _log_prob_of(self, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return the log-likelihood of each count ``(..., feature)`` [nats]."""

    @abstractmethod
    def _draw(self, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw counts of this mean ``(..., feature)``."""


class Poisson(CountLikelihood):
    """Poisson counts: variance = mean.

    Examples
    --------
    >>> likelihood = Poisson(2, exposure=0.1)
    >>> likelihood.start_from(torch.tensor([[0.0, 3.0], [1.0, 2.0], [0.0, 4.0]]))
    >>> likelihood.rate(torch.zeros(1, 2))  # [Hz] of the training side, half a count and one sample added
    tensor([[ 3.7500, 23.7500]])
    """

    def _log_prob_of(self, log_mean: Tensor, target: Tensor) -> Tensor:
        return target * log_mean - torch.exp(log_mean) - torch.lgamma(target + 1)

    def _draw(self, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.poisson(mean, generator=generator)


class NegativeBinomial(Poisson):
    """Counts that vary more than Poisson counts: variance = mean + dispersion * mean^2, a dispersion learned for each unit.

    It is a Poisson count whose rate is gamma distributed, and tends to Poisson as the dispersion tends to 0. Its start is
    the dispersion of training-side counts by moments, an upper guess: it also holds what the decoder will explain.
    """

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0) -> None:
        super().__init__(features, units, exposure)
        self.log_dispersion = nn.Parameter(torch.zeros(self.units))

    @torch.no_grad()
    def start_from(self, target: Tensor) -> None:
        super().start_from(target)
        self.log_dispersion.copy_(torch.log(dispersion_from_moments(target, self.units)))

    def _dispersion(self) -> Tensor:
        return self._of_features(torch.exp(self.log_dispersion.clamp(max=LARGEST_LOG_DISPERSION)))

    def _log_prob_of(self, log_mean: Tensor, target: Tensor) -> Tensor:
        correction = log_overdispersion(target, torch.exp(log_mean), self._dispersion())
        return super()._log_prob_of(log_mean, target) + correction

    def _draw(self, mean: Tensor, generator: torch.Generator | None) -> Tensor:
        # torch's only gamma numbers that take a generator. Below 1e-6 the gamma is as good as constant.
        dispersion = self._dispersion().clamp(min=1e-6).expand_as(mean)
        return super()._draw(mean * dispersion * torch._standard_gamma(1 / dispersion, generator=generator), generator)


class ZeroInflated(CountLikelihood):
    """With an extra probability, learned for each unit, the count is 0; else it is drawn from the counts it is mixed with.

    Raw output stays the log of the mean over both cases, extra zeros included, so that it means the same as in the other
    count likelihoods and the extra probability does not move the mean. Counts that are not extra zeros have a mean higher by
    1 / (1 - extra probability).

    References
    ----------
    Lambert, Zero-inflated Poisson regression, Technometrics 1992; in terms of the mean over both cases: Long et al., A
    marginalized zero-inflated Poisson regression model, Statistics in Medicine 2014.
    """

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0) -> None:
        super().__init__(features, units, exposure)
        self.zero_logit = nn.Parameter(torch.full((self.units,), STARTING_LOGIT))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        counted = self._log_counted() + self._log_prob_of(self._log_mean_of_counted(raw), target)
        zero = torch.logaddexp(logsigmoid(self._logit()), counted)
        return torch.where(target == 0, zero, counted).sum(-1)

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        counted = torch.empty_like(raw).uniform_(generator=generator) < torch.exp(self._log_counted())
        return counted * self._draw(torch.exp(self._log_mean_of_counted(raw)), generator)

    def _log_counted(self) -> Tensor:
        """Return the log of the probability that a count is not an extra zero ``(feature,)``."""
        return logsigmoid(-self._logit())

    def _log_mean_of_counted(self, raw: Tensor) -> Tensor:
        return self._log_mean(raw) - self._log_counted()

    def _logit(self) -> Tensor:
        """Return the logit of the probability of an extra zero ``(feature,)``, bounded so that counts stay finite."""
        return self._of_features(self.zero_logit.clamp(max=LARGEST_LOGIT))


class ZeroInflatedPoisson(ZeroInflated, Poisson):
    """Poisson counts with extra zeros."""


class ZeroInflatedNegativeBinomial(ZeroInflated, NegativeBinomial):
    """Negative-binomial counts with extra zeros."""
