"""Likelihoods of positive activity, such as LFP power or amplitudes of ROIs."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from neuromvm.likelihoods.base import Likelihood, Support, refuse_unless

LARGEST_LOG_RATIO = 12.0  # of an expected value to the training side's mean
LARGEST_LOG_SHAPE = 7.0  # a coefficient of variation of 3 %; lgamma is exact enough in float32 below it
SMALLEST_START, LARGEST_START = 0.1, 100.0  # shape


class Gamma(Likelihood):
    """A gamma density with a shape learned for each feature; raw output is the log mean relative to that of the training side.

    The standard deviation is the mean over the square root of the shape, so noise grows in proportion to the activity. The
    shape starts at that of training-side activity by moments, a lower guess: this activity also varies with the latents.
    ``log_baseline (feature,)`` is the log mean on the training side.

    Examples
    --------
    >>> Gamma(1).log_prob(torch.zeros(1, 1), torch.ones(1, 1)).item()  # shape 1 is an exponential density of mean 1
    -1.0
    """

    support: ClassVar[Support] = "positive"
    log_baseline: Tensor

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0) -> None:
        super().__init__(features, units, exposure)
        self.log_shape = nn.Parameter(torch.zeros(features))
        self.register_buffer("log_baseline", torch.zeros(features))

    @torch.no_grad()
    def start_from(self, target: Tensor) -> None:
        refuse_unless(target > 0, target, "activity above 0", "Choose gaussian or laplace, or leave out units that are silent")
        mean, variance = target.float().mean(0), target.float().var(0, correction=0)
        self.log_baseline.copy_(torch.log(mean))
        shape = (mean.square() / variance.clamp(min=torch.finfo(mean.dtype).tiny)).clamp(SMALLEST_START, LARGEST_START)
        self.log_shape.copy_(torch.log(shape))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        log_value = torch.log(target.clamp(min=torch.finfo(target.dtype).tiny))
        log_ratio = log_value - self._log_mean(raw)
        log_shape = self.log_shape.clamp(max=LARGEST_LOG_SHAPE)
        shape = torch.exp(log_shape)
        normalizer = torch.lgamma(shape) - shape * (log_shape - 1)
        return (shape * (log_ratio - torch.exp(log_ratio) + 1) - normalizer - log_value).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.exp(self._log_mean(raw))

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        shape = torch.exp(self.log_shape.clamp(max=LARGEST_LOG_SHAPE)).expand_as(raw)
        drawn = torch._standard_gamma(shape, generator=generator) / shape * self.mean(raw)
        return drawn.clamp(min=torch.finfo(raw.dtype).tiny)

    def _log_mean(self, raw: Tensor) -> Tensor:
        return raw.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO) + self.log_baseline
