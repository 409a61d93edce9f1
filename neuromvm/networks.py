"""Encoders and decoders of one modality."""

import torch
from torch import Tensor, nn

LARGEST_LOG_SCALE = 5.0


class ConstantScale(nn.Module):
    """One posterior scale for all samples, learned."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(latent))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the log scale ``(latent,)``; it broadcasts over the batch."""
        return self.log_scale


class Encoder(nn.Module):
    """Input ``(batch, feature)`` to posterior mean and scale ``(batch, latent)``.

    Parameters
    ----------
    trunk
        Input to hidden values ``(batch, width)``.
    width
        Width of the trunk's output.
    latent
        Latent dimensions.
    log_scale
        Hidden values to log scale.
    """

    def __init__(self, trunk: nn.Module, width: int, latent: int, log_scale: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.mean = nn.Linear(width, latent)
        self.log_scale = log_scale

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale."""
        hidden = self.trunk(inputs)
        mean = self.mean(hidden)
        log_scale = self.log_scale(hidden).clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
        return mean, torch.exp(log_scale).expand_as(mean)


def mlp(width: int, hidden: list[int]) -> nn.Sequential:
    """Return linear layers of these widths, a leaky ReLU after each; none for an empty list."""
    layers: list[nn.Module] = []
    for before, after in zip([width, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, after), nn.LeakyReLU()]
    return nn.Sequential(*layers)
