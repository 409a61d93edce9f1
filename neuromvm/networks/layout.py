"""How networks see a modality: features become channels over rows and columns, over positions, or numbers without order."""

from typing import NamedTuple

from torch import Tensor, nn


class Layout(NamedTuple):
    """Shape of a modality in torch's order: ``channels``, then ``extent``: (rows, columns), (positions,), or () of a vector."""

    channels: int
    extent: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return self.channels, *self.extent


class ToChannels(nn.Module):
    """Features ``(batch, feature)``, whose channels vary fastest, to ``(batch, channel, *extent)``."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, features: Tensor) -> Tensor:
        """Return a view."""
        return features.reshape(len(features), *self.layout.extent, self.layout.channels).movedim(-1, 1)


class ToFeatures(nn.Module):
    """Values ``(batch, channel, *extent)`` to features ``(batch, feature)``: the inverse of :class:`ToChannels`."""

    def forward(self, values: Tensor) -> Tensor:
        """Return features."""
        return values.movedim(1, -1).flatten(1)
