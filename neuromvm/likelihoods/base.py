"""Base class of likelihoods. Leading dims of raw output and activity broadcast; log-likelihoods sum over features."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from neuromvm.errors import ArgumentError, ShapeError, SpecError
from neuromvm.functional.reconstruction import ReadoutError, multiplying_out_pays

Support = Literal["counts", "binary", "positive", "real"]


class Likelihood(nn.Module, ABC):
    """Distribution of activity ``(..., feature)`` given the raw output ``(..., feature)`` of a decoder.

    Parameters
    ----------
    features
        Number of features, bin-major: feature f is of unit f % units.
    units
        Number of units; default: one for each feature.
    exposure
        Width of a bin [s].

    Attributes
    ----------
    support
        Values that the activity takes: ``counts`` (0, 1, 2, ...), ``binary`` (0 or 1, one-hot categories included; the mean is a
        probability), ``positive`` (above 0) or ``real``.

    Raises
    ------
    ShapeError
        If features are not a whole number of bins of all units.
    ArgumentError
        If the exposure is not positive.
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
        """Set starting values from training-side activity ``(sample, feature)``; by default there are none.

        Raises
        ------
        SpecError
            If the activity cannot come from this likelihood.
        """

    def parameters_at(self, deviation: Tensor) -> dict[str, Tensor]:
        """Return the parameters, by name, under which activity has a standard deviation ``(feature,)`` around its mean."""
        return {}

    @abstractmethod
    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the log-likelihood ``(...,)`` [nats]."""

    def log_prob_of_linear(self, hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
        """Return the log-likelihood ``(source, batch)`` if raw output is ``hidden @ weight.T + bias``.

        Parameters
        ----------
        hidden
            ``(source, batch, width)``.
        weight, bias
            ``(feature, width)``, ``(feature,)``.
        target
            ``(batch, feature)``.
        """
        readout = self.readout_error(weight, bias, target) if multiplying_out_pays(hidden.shape, target.shape[-1]) else None
        if readout is None:
            return self.log_prob(torch.nn.functional.linear(hidden, weight, bias), target)
        error, offset = readout
        return -error.at(hidden) - offset

    def readout_error(self, weight: Tensor, bias: Tensor, target: Tensor) -> tuple[ReadoutError, Tensor] | None:
        """Return a squared error and an offset ``()`` whose sum is minus the log-likelihood; None if there is no such form.

        Parameters
        ----------
        weight, bias, target
            As of :meth:`log_prob_of_linear`.
        """
        return None

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected activity ``(..., feature)``."""

    @abstractmethod
    def sample(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw activity ``(..., feature)``."""


def refuse_unless(possible: Tensor, target: Tensor, expected: str, next_step: str) -> None:
    """Raise SpecError unless every number of the training-side activity is possible.

    :meth:`Likelihood.start_from` calls it: an error cannot be raised in ``log_prob`` inside ``torch.func.vmap``.
    """
    if not possible.all():
        extent = f"activity between {target.min().item():g} and {target.max().item():g}"
        raise SpecError("likelihood", found=extent, expected=expected, next_step=next_step)
