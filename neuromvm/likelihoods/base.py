"""Base class of likelihoods. Leading dims of raw output and activity broadcast; log-likelihoods sum over features."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from neuromvm.errors import ArgumentError, ShapeError, SpecError

Support = Literal["counts", "binary", "positive", "real"]


class LinearError(NamedTuple):
    """A log-likelihood ``-|target - z @ weight.T - bias|^2 - offset`` as a function of z.

    ``weight (feature, latent)``, ``bias (feature,)``, ``target (batch, feature)``, ``offset ()``.
    """

    weight: Tensor
    bias: Tensor
    target: Tensor
    offset: Tensor


class Likelihood(nn.Module, ABC):
    """Distribution of activity ``(..., feature)`` given the raw output ``(..., feature)`` of a decoder.

    Parameters
    ----------
    features
        Number of features, bin-major: feature f is of unit f % units. ShapeError if they are not whole bins of all units.
    units
        Number of units; default: one for each feature.
    exposure
        Width of a bin [s], above 0, else an ArgumentError.

    Attributes
    ----------
    support
        Values that the activity takes: ``counts`` (0, 1, 2, ...), ``binary`` (0 or 1, one-hot categories included; the mean is a
        probability), ``positive`` (above 0) or ``real``.
    """

    support: ClassVar[Support]

    def __init__(self, features: int, units: int | None = None, exposure: float = 1.0) -> None:
        super().__init__()
        self.features, self.exposure = features, exposure
        self.units = features if units is None else units
        if self.units < 1 or features % self.units:
            raise ShapeError("likelihood", found=f"{features} features", expected=f"a multiple of {self.units} units")
        if not exposure > 0:
            raise ArgumentError("likelihood", found=f"an exposure of {exposure:g} s", expected="a bin width above 0")

    @classmethod
    def scores_recorded(cls) -> bool:
        """Return True if the activity is scored as recorded, False if scaled features are scored: those are real numbers."""
        return cls.support != "real"

    def start_from(self, target: Tensor) -> None:
        """Set starting values from training-side activity ``(sample, feature)``, by default none.

        Raises SpecError if the activity cannot come from this likelihood.
        """

    def parameters_at(self, deviation: Tensor) -> dict[str, Tensor]:
        """Return the parameters, by name, under which activity has a standard deviation ``(feature,)`` around its mean."""
        return {}

    @abstractmethod
    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the log-likelihood ``(...,)`` [nats]."""

    def linear_error(self, weight: Tensor, bias: Tensor, target: Tensor) -> LinearError | None:
        """Return the log-likelihood under the raw output ``z @ weight.T + bias`` as a squared error; None if it is not one."""
        return None

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected activity ``(..., feature)``."""

    @abstractmethod
    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw activity ``(..., feature)``."""


def refuse_unless(possible: Tensor, target: Tensor, expected: str, next_step: str) -> None:
    """Raise SpecError unless every number of the activity is possible; inside ``torch.func.vmap`` ``log_prob`` cannot."""
    if not possible.all():
        extent = f"activity between {target.min().item():g} and {target.max().item():g}"
        raise SpecError("likelihood", found=extent, expected=expected, next_step=next_step)
