"""Units of decoded activity: what a decoder expects, as the likelihood scores it, turned into numbers that can be read."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm.data.activity_kinds import transform_of
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.likelihoods import Likelihood
from neuromvm.models import MultimodalVAE

KINDS = {"counts": "count", "binary": "probability", "positive": "activity as recorded"}


def kind_of(fitted: FittedStack, likelihood: Likelihood) -> str:
    """Return the kind of decoded activity: ``count``, ``probability``, or activity as recorded or transformed."""
    return KINDS.get(likelihood.support, f"transformed activity ({fitted.trained_on.transform})")


def unscaled(fitted: FittedStack, likelihood: Likelihood, animal: str, replica: int, values: Tensor) -> Tensor:
    """Return decoded activity ``(..., feature)`` as recorded, or transformed without scaling where features are scored."""
    if likelihood.scores_recorded():
        return values
    scaler = fitted.scalers[animal][replica]
    return values * torch.from_numpy(scaler.spread) + torch.from_numpy(scaler.center)


def readable(
    fitted: FittedStack, samples: xr.DataTree, animal: str, replica: int, likelihood: Likelihood, values: Tensor
) -> tuple[NDArray[np.float32], str]:
    """Return expected activity ``(..., feature)`` and its unit: rates in Hz where these follow from what is expected.

    The mean of a square root or of a logarithm does not give the mean: such activity stays transformed.
    """
    activity, spec = samples[animal].to_dataset()["activity"], fitted.trained_on
    in_time = samples[animal]["window"].attrs.get("dim", "time") == "time"
    counted = activity.attrs.get("kind", "spike_count") == "spike_count"
    recorded = "spikes a bin" if counted else activity.attrs.get("units") or "activity as recorded"
    numbers = unscaled(fitted, likelihood, animal, replica, values).numpy()
    if likelihood.support == "binary":
        return numbers, "probability"
    transform = transform_of(activity, spec.transform)
    as_recorded = likelihood.scores_recorded() or (transform == "none" and spec.smooth is None)
    if as_recorded and in_time and (counted or likelihood.support == "counts"):
        return np.asarray(numbers / fitted.windows[animal].bin_width, dtype=np.float32), "Hz"
    if as_recorded:
        return numbers, "spikes a bin" if likelihood.support == "counts" else recorded
    transformed = {
        "none": recorded,
        "sqrt": f"square root of {recorded}",
        "log1p": f"log(1 + {recorded})",
        "per_millisecond": "spikes a millisecond",
    }[transform]
    return numbers, transformed if spec.smooth is None else f"{transformed}, smoothed"


def without_private(model: MultimodalVAE, latents: Tensor) -> Tensor:
    """Return latents ``(..., latent)`` of an animal as the decoders of other animals see them: private ones are at 0."""
    return torch.cat([latents[..., : model.shared_latents], torch.zeros_like(latents[..., model.shared_latents :])], -1)
