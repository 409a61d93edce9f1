"""Plain layers."""

from collections.abc import Sequence

from torch import nn


def mlp(width: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these widths, a leaky ReLU after each; none for an empty list."""
    layers: list[nn.Module] = []
    for before, after in zip([width, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, after), nn.LeakyReLU()]
    return nn.Sequential(*layers)
