"""Encoder and decoder of latent paths: convolutions over the bins of a window, smooth a priori.

A path of every latent over the bins is ``root @ code`` with a standard-normal code a priori (:mod:`neuromvm.functional.paths`).
The encoder infers the code, so ways of sharing and their divergences hold for paths as they are.
"""

import torch
from torch import Tensor, nn

from neuromvm.networks.encoder import ConstantScale, PredictedScale


class PathEncoder(nn.Module):
    """Windows ``(batch, bin * unit)`` to mean and scale of a path's code ``(batch, latent * mode)``.

    ``root (bin, mode)`` is that of the path's covariance; ``hidden, layers, kernel`` are channels, hidden layers and width
    [bins] of the convolutions; ``constant_scale`` learns one posterior scale for all samples in place of predicting it.
    """

    root: Tensor
    projection: Tensor

    def __init__(
        self, units: int, latent: int, root: Tensor, *, hidden: int, layers: int, kernel: int, constant_scale: bool
    ) -> None:
        super().__init__()
        modes = root.shape[1]
        self.units, self.paths, self.latent = units, latent, latent * modes
        self.layers = convolutions(units, [hidden] * layers, kernel)
        self.signal = nn.Conv1d(hidden, latent, 1)
        # The code of a path seen through noise of variance 1: its posterior mean is a projection, its posterior scale a start.
        posterior = torch.linalg.inv(root.T @ root + torch.eye(modes))
        self.register_buffer("projection", posterior @ root.T)
        start = posterior.diagonal().sqrt().log().repeat(latent)
        if constant_scale:
            self.scale: nn.Module = ConstantScale(start)
        else:
            self.scale = PredictedScale(hidden, self.latent)
            with torch.no_grad():
                self.scale.log_scale.bias.copy_(start)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale."""
        activity = inputs.reshape(len(inputs), -1, self.units).transpose(1, 2)
        hidden = self.layers(activity)
        mean = (self.signal(hidden) @ self.projection.T).flatten(1)
        return mean, self.scale(hidden.mean(2)).expand_as(mean)


class PathDecoder(nn.Module):
    """Codes ``(batch, latent * mode)`` to raw output ``(batch, bin * unit)``; see :class:`PathEncoder`."""

    root: Tensor

    def __init__(self, units: int, latent: int, root: Tensor, *, hidden: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.register_buffer("root", root)
        self.paths = latent
        self.layers = convolutions(latent, [hidden] * layers, kernel)
        self.out = nn.Conv1d(hidden, units, 1)

    def forward(self, code: Tensor) -> Tensor:
        """Return raw output, bin-major."""
        paths = code.reshape(len(code), self.paths, -1) @ self.root.T
        raw: Tensor = self.out(self.layers(paths))
        return raw.transpose(1, 2).flatten(1)


def convolutions(channels: int, hidden: list[int], kernel: int) -> nn.Sequential:
    """Return convolutions that keep the number of bins, a leaky ReLU after each."""
    layers: list[nn.Module] = []
    for before, after in zip([channels, *hidden], hidden, strict=False):
        layers += [nn.Conv1d(before, after, kernel, padding="same"), nn.LeakyReLU()]
    return nn.Sequential(*layers)
