"""What every likelihood does. Leading dims of raw output and activity broadcast; log-likelihoods sum over features."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from neuromvm.errors import SpecError


class LinearError(NamedTuple):
    """A log-likelihood ``-|target - z @ weight.T - bias|^2 - offset`` as a function of z.

    ``weight (feature, latent)``, ``bias (feature,)``, ``target (batch, feature)``, ``offset ()``.
    """

    weight: Tensor
    bias: Tensor
    target: Tensor
    offset: Tensor


class Likelihood(nn.Module, ABC):
    """What a decoder's raw output ``(..., feature)`` says about activity ``(..., feature)``.

    Parameters
    ----------
    features
        Number of features.

    Attributes
    ----------
    scores_counts
        Whether the activity is scored as recorded (counts, 0 or 1, one-hot categories), not as scaled features.
    """

    scores_counts: ClassVar[bool] = False

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def start_from(self, target: Tensor) -> None:
        """Set starting values from training-side activity ``(sample, feature)``; by default there are none.

        Raises
        ------
        SpecError
            If the activity cannot come from this likelihood.
        """

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
    """Raise SpecError unless every number of the training-side activity is possible.

    It is asked of :meth:`Likelihood.start_from`, since nothing can be raised inside ``torch.func.vmap``.
    """
    if not possible.all():
        found = f"activity between {target.min().item():g} and {target.max().item():g}"
        raise SpecError("likelihood", found=found, expected=expected, next_step=next_step)
