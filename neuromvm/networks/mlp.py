"""Plain layers."""

from collections.abc import Sequence

from torch import nn


def mlp(width: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these widths, a leaky ReLU after each; none for an empty list."""
    layers: list[nn.Module] = []
    for before, after in zip([width, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, after), nn.LeakyReLU(inplace=True)]
    return nn.Sequential(*layers)


class Decoder(nn.Sequential):
    """Latents ``(..., latent)`` to raw output ``(..., feature)``: hidden layers of given widths and a linear readout."""

    def __init__(self, latent: int, hidden: Sequence[int], features: int) -> None:
        super().__init__(mlp(latent, hidden), nn.Linear(hidden[-1] if hidden else latent, features))

    @property
    def readout(self) -> nn.Linear:
        """The last layer."""
        readout = self[1]
        assert isinstance(readout, nn.Linear)
        return readout

    @property
    def layers(self) -> nn.Sequential:
        """The hidden layers, before the readout."""
        layers = self[0]
        assert isinstance(layers, nn.Sequential)
        return layers
