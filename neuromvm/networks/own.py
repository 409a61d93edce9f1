"""Encoders and decoders of users: functions that make modules, known by name."""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import nn

from neuromvm.errors import ArgumentError, ShapeError, SpecError, did_you_mean
from neuromvm.networks.layout import Layout

GROUP = "neuromvm.networks"  # entry points of packages
Factory = Callable[..., tuple[nn.Module, nn.Module]]
_REGISTERED: dict[str, Factory] = {}


def register_networks(name: str, factory: Factory) -> None:
    """Make networks known under a name, for ``networks: {kind: own, name: ...}`` of a model, in this process.

    A package makes them known in every process by an entry point of the group ``neuromvm.networks``.

    Parameters
    ----------
    name
        A name; one that is known already now means these networks.
    factory
        Function of a :class:`~neuromvm.networks.layout.Layout` (``channels`` and ``extent`` of the modality), the number of
        latents, and the settings of the spec as keywords. It returns two modules: one from a modality ``(batch, channel, row,
        column)``, ``(batch, channel, position)`` or ``(batch, feature)`` to hidden values ``(batch, ...)`` of any width, to
        which posterior means and scales are added; one from latents ``(batch, latent)`` to what the likelihood takes, in the
        shape of the modality. Replicas are computed together, so modules must not hold batch statistics or draw numbers.

    Raises
    ------
    ArgumentError
        If the factory cannot be called or the name is no text.
    """
    if not callable(factory) or not isinstance(name, str) or not name:
        raise ArgumentError(
            "register_networks", found=f"{name!r}, {factory!r}", expected="a name, and a function that makes modules"
        )
    _REGISTERED[name] = factory


def own_networks(name: str, layout: Layout, latent: int, settings: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Return the two modules of networks known under a name.

    Raises SpecError if there are none, ShapeError if they are not modules of the promised shapes.
    """
    factory = _factory(name)
    modules = factory(layout, latent, **settings)
    if not isinstance(modules, tuple) or len(modules) != 2 or not all(isinstance(module, nn.Module) for module in modules):
        raise ShapeError(f"networks {name!r}", found=repr(type(modules).__name__), expected="a tuple of two torch modules")
    for module in (part for whole in modules for part in whole.modules()):
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd):
            raise ShapeError(
                f"networks {name!r}",
                found=f"a {type(module).__name__}",
                expected="modules without batch statistics and random numbers",
                next_step="Use GroupNorm or LayerNorm, and the model's setting dropout",
            )
    raw = modules[1](torch.zeros(2, latent))
    if tuple(raw.shape) != (2, *layout.shape):
        problem = f"a decoder with output {tuple(raw.shape[1:])}"
        raise ShapeError(f"networks {name!r}", found=problem, expected=f"the shape of the modality, {layout.shape}")
    return modules


@torch.no_grad()
def hidden_width(trunk: nn.Module, layout: Layout) -> int:
    """Return how many hidden values a trunk gives for a sample."""
    return int(trunk(torch.zeros(2, *layout.shape)).flatten(1).shape[1])


def _factory(name: str) -> Factory:
    """Return registered networks, or those of an installed package."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        raise SpecError(
            f"networks {name!r}",
            found="not known in this process",
            expected=f"register_networks({name!r}, ...) before, or an installed package with an entry point in {GROUP}",
            next_step=did_you_mean(name, sorted({*_REGISTERED, *installed})),
        )
    factory: Factory = installed[name].load()
    return factory
