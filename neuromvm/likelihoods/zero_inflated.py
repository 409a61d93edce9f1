"""Counts with more zeros than their mean explains: with some probability a unit is silent whatever its rate."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from neuromvm.likelihoods.counts import CountLikelihood, NegativeBinomial, Poisson

STARTING_LOGIT = -3.0  # 5 % extra zeros


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
        zero = torch.logaddexp(logsigmoid(self._of_features(self.zero_logit)), counted)
        return torch.where(target == 0, zero, counted).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.exp(self._log_counted() + self._log_mean_of_counted(raw))

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        counted = torch.empty_like(raw).uniform_(generator=generator) < torch.exp(self._log_counted())
        return counted * self._draw(torch.exp(self._log_mean_of_counted(raw)), generator)

    def _log_counted(self) -> Tensor:
        """Return the log of the probability that a count is not an extra zero ``(feature,)``."""
        return logsigmoid(-self._of_features(self.zero_logit))

    def _log_mean_of_counted(self, raw: Tensor) -> Tensor:
        return self._log_mean(raw - self._log_counted())


class ZeroInflatedPoisson(ZeroInflated, Poisson):
    """Poisson counts with extra zeros."""


class ZeroInflatedNegativeBinomial(ZeroInflated, NegativeBinomial):
    """Negative-binomial counts with extra zeros."""
