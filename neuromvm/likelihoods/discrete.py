"""Likelihoods of events: spiked or not, and one of several categories."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from neuromvm.likelihoods.base import Likelihood, Support, refuse_unless


class Events(Likelihood):
    """Base class of likelihoods of events; ``baseline (feature,)`` are the log odds, or log shares, on the training side."""

    support: ClassVar[Support] = "binary"
    baseline: Tensor

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0) -> None:
        super().__init__(features, units, exposure)
        self.register_buffer("baseline", torch.zeros(features))


class Bernoulli(Events):
    """Activity that is 0 or 1; raw output is the log odds relative to those of the training side.

    :meth:`start_from` refuses other numbers; :meth:`log_prob` of them has no meaning.

    Examples
    --------
    >>> Bernoulli(1).log_prob(torch.zeros(1, 1), torch.ones(1, 1)).item()  # -log 2
    -0.6931...
    """

    @torch.no_grad()
    def start_from(self, target: Tensor) -> None:
        grey = "laplace or gaussian: between 0 and 1, Bernoulli's formula is no density (it does not integrate to 1)"
        next_step = f"Choose {grey}" if bool(((target >= 0) & (target <= 1)).all()) else "Choose poisson, or narrower bins"
        refuse_unless((target == 0) | (target == 1), target, "0 or 1", next_step)
        # Half an event of each kind keeps a feature that never or always spikes at finite odds.
        events = target.float().sum(0)
        self.baseline.copy_(torch.log((events + 0.5) / (len(target) - events + 0.5)))

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        logit = raw + self.baseline
        return (target * logit + logsigmoid(-logit)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw + self.baseline)

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(raw), generator=generator)


class Categorical(Events):
    """One of several categories in every bin, one a unit; raw output is its log odds relative to the training side.

    Activity is one-hot. Counts of categories are scored as multinomial without its coefficient, which no parameter changes;
    mean and samples are those of one draw.

    Examples
    --------
    >>> Categorical(4).log_prob(torch.zeros(1, 4), torch.eye(4)[:1]).item()  # -log 4
    -1.3862...
    """

    @torch.no_grad()
    def start_from(self, target: Tensor) -> None:
        refuse_unless(target >= 0, target, "one-hot categories, or counts of them", "Choose gaussian, laplace or squared_error")
        # Half an event keeps a category that never occurs on the training side at a finite share.
        events = target.float().sum(0) + 0.5
        events = events.reshape(-1, self.units)
        self.baseline.copy_(torch.log(events / events.sum(1, keepdim=True)).flatten())

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        return (target * torch.log_softmax(self._by_bin(raw), -1).flatten(-2)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        return torch.softmax(self._by_bin(raw), -1).flatten(-2)

    def _by_bin(self, raw: Tensor) -> Tensor:
        """Return log odds ``(..., bin, category)``."""
        odds = raw + self.baseline
        return odds.reshape(*odds.shape[:-1], -1, self.units)

    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        share = self.mean(raw)
        drawn = torch.multinomial(share.reshape(-1, self.units), 1, generator=generator)
        return torch.zeros_like(share).reshape(-1, self.units).scatter(1, drawn, 1.0).reshape(share.shape)
