"""Activity that each latent of a replica stands for: decoded while one latent moves."""

import numpy as np
import torch
import xarray as xr

from neuromvm.errors import ArgumentError
from neuromvm.inference.ablation import check_replica, replica_attrs, sides_of, unit_coords
from neuromvm.inference.decoded import readable
from neuromvm.inference.fitted_stack import FittedStack


def traverse(
    fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, steps: int = 7, extent: float = 2.0, replica: int = 0
) -> xr.DataTree:
    """Decode the activity of each animal while one latent moves and the others stay at their mean.

    The latent takes ``steps`` values up to ``extent`` from its mean [standard deviations of the posterior means over the
    training sides of all animals, or of the animal itself for latents that are private to it].

    Returns
    -------
    One node per animal: ``activity (latent, step, bin, unit)``, the expectation of the decoder, with ``attrs["units"]``: Hz where
    the expectation is a rate, else the transformed unit on which the model was trained, since the mean of a square root or of a
    logarithm does not give the mean; ``center, deviation (latent)``; ``step`` in deviations.
    """
    check_replica(fitted, samples, splits, replica)
    if steps < 2 or not extent > 0:
        raise ArgumentError(
            "traverse", found=f"steps={steps}, extent={extent:g}", expected="two steps or more, an extent above 0"
        )
    model = fitted.member(replica)
    with torch.no_grad():
        means = {
            animal: model.encoders[animal](sides.training)[0].numpy().astype(np.float64)
            for animal, sides in sides_of(fitted, samples, splits, replica)
        }
    pooled = np.concatenate(list(means.values()))
    is_shared = np.arange(model.latent) < model.shared_latents
    step = np.linspace(-extent, extent, steps)
    nodes = {}
    for animal, mean in means.items():
        center = np.where(is_shared, pooled.mean(axis=0), mean.mean(axis=0))
        deviation = np.where(is_shared, pooled.std(axis=0), mean.std(axis=0))
        moved = center + step[None, :, None] * (np.eye(model.latent) * deviation)[:, None, :]  # (latent, step, latent)
        with torch.no_grad():
            decoded = model.decoders[animal](torch.from_numpy(moved.reshape(-1, model.latent).astype(np.float32)))
            expected = model.likelihood(animal).mean(decoded)
        activity, unit = readable(fitted, samples, animal, replica, model.likelihood(animal), expected)
        window = fitted.windows[animal]
        activity = activity.reshape(model.latent, steps, window.bins, window.units).astype(np.float32)
        node = xr.Dataset(
            {
                "activity": (("latent", "step", "bin", "unit"), activity, {"units": unit}),
                "center": ("latent", center),
                "deviation": ("latent", deviation),
            },
            {"latent": np.arange(model.latent), "shared": ("latent", is_shared), "step": step},
        )
        nodes[animal] = xr.DataTree(node.assign_coords(unit_coords(samples, animal)))
    return xr.DataTree(dataset=xr.Dataset(attrs=replica_attrs(fitted, replica)), children=nodes)
