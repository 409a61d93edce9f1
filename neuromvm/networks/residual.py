"""Residual convolutions over the pixels of an image or the positions of a text.

Blocks add a tenth of two convolutions to their input; between blocks the sides are halved and the channels doubled. With 64
channels and a smallest side of 7 this is the network of Daunhawer et al. (On the limitations of multimodal VAEs, ICLR 2022) for
images of 28 x 28, after Mescheder et al. (ICML 2018); a patch above 1 and fewer channels make it small enough for CPUs.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from neuromvm.errors import ShapeError
from neuromvm.networks.layout import Layout

SLOPE = 0.2  # of the leaky ReLU below 0
RESIDUAL = 0.1  # weight of what a block adds
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d}


class ResidualSize(NamedTuple):
    """Size of residual networks.

    ``channels``: of the first block; ``most_channels``: of any block; ``patch``: pixels, or positions, of a side that the first
    convolution merges; ``smallest``: halving stops before a side would be smaller.
    """

    channels: int = 64
    most_channels: int = 512
    patch: int = 1
    smallest: int = 7

    def stages(self, layout: Layout) -> list[tuple[int, tuple[int, ...]]]:
        """Return channels and sides of each block, from the input to the latent, or raise ShapeError."""
        if not layout.extent or any(side % self.patch for side in layout.extent):
            problem = f"sides of {layout.extent}" if layout.extent else "a vector, which has no rows or positions"
            raise ShapeError(
                "networks residual",
                found=problem,
                expected=f"sides that are multiples of the patch, {self.patch}",
                next_step="Set patch to a divisor, or use networks mlp",
            )
        sides = tuple(side // self.patch for side in layout.extent)
        stages = [(self.channels, sides)]
        while all(side % 2 == 0 and side // 2 >= self.smallest for side in sides):
            sides = tuple(side // 2 for side in sides)
            stages.append((min(2 * stages[-1][0], self.most_channels), sides))
        return stages


class ResidualBlock(nn.Module):
    """``(batch, channel, *extent)`` to as many ``outputs`` channels: the input plus a tenth of two convolutions of it."""

    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.first = CONVOLUTIONS[dims](inputs, hidden, 3, padding=1)
        self.second = CONVOLUTIONS[dims](hidden, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if inputs == outputs else CONVOLUTIONS[dims](inputs, outputs, 1, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return the block's output."""
        added: Tensor = self.second(leaky_relu(self.first(leaky_relu(values, SLOPE)), SLOPE))
        carried: Tensor = self.shortcut(values)
        return torch.add(carried, added, alpha=RESIDUAL)


def residual_trunk(layout: Layout, size: ResidualSize) -> nn.Sequential:
    """Return modules from ``(batch, channel, *extent)`` to hidden values ``(batch, width)``."""
    (channels, _), *rest = size.stages(layout)
    dims = len(layout.extent)
    layers = [_merging(dims, layout.channels, channels, size.patch), ResidualBlock(dims, channels, channels)]
    for following, _ in rest:
        layers += [POOLS[dims](3, stride=2, padding=1), ResidualBlock(dims, channels, following)]
        channels = following
    return nn.Sequential(*layers, nn.Flatten(), nn.LeakyReLU(SLOPE))


def residual_readout(layout: Layout, size: ResidualSize, latent: int) -> nn.Sequential:
    """Return modules from latents ``(batch, latent)`` to raw output ``(batch, channel, *extent)``."""
    *rest, (channels, sides) = size.stages(layout)
    dims = len(layout.extent)
    layers: list[nn.Module] = [nn.Linear(latent, channels * math.prod(sides)), nn.Unflatten(1, (channels, *sides))]
    for following, _ in reversed(rest):
        layers += [ResidualBlock(dims, channels, following), nn.Upsample(scale_factor=2)]
        channels = following
    layers += [ResidualBlock(dims, channels, channels), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, _dividing(dims, channels, layout.channels, size.patch))


def _merging(dims: int, inputs: int, outputs: int, patch: int) -> nn.Module:
    """Return the first convolution: over neighbours, or over patches that do not overlap."""
    if patch == 1:
        return CONVOLUTIONS[dims](inputs, outputs, 3, padding=1)
    return CONVOLUTIONS[dims](inputs, outputs, patch, stride=patch)


def _dividing(dims: int, inputs: int, outputs: int, patch: int) -> nn.Module:
    """Return the last convolution, the counterpart of the first."""
    if patch == 1:
        return CONVOLUTIONS[dims](inputs, outputs, 3, padding=1)
    return TRANSPOSED[dims](inputs, outputs, patch, stride=patch)
