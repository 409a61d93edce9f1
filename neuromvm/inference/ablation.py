"""Posterior means with the units of an animal silenced one at a time. Of one replica: latents of replicas do not correspond."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.errors import ArgumentError
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.schema import is_fitted, is_scored


def ablate(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int = 0) -> xr.DataTree:
    """Infer the latents of test samples with each unit silenced: its activity, in all bins, is its training-side mean.

    Returns
    -------
    One node per animal that the replica was trained on, float32, with the coordinates of its units:

    ``posterior_mean (sample, latent)``
        Of test samples (trials times windows), with all units; ``label, trial`` along ``sample`` are the class code, -1 for
        none, and the index of the trial.
    ``silenced_mean (unit, sample, latent)``
        The same with one unit silenced.
    ``training_mean (training_sample, latent)``
        Of the training side, with all units; ``training_label`` along ``training_sample``.

    ``attrs["side"]`` is ``test``, or ``training`` for an animal without test trials, whose training side is ablated.
    """
    check_replica(fitted, samples, splits, replica)
    nodes = {
        animal: xr.DataTree(_ablated(fitted, animal, sides, replica).assign_coords(unit_coords(samples, animal)))
        for animal, sides in sides_of(fitted, samples, splits, replica)
    }
    attrs = {"label": samples.attrs["label"], "classes": samples.attrs["classes"], **replica_attrs(fitted, replica)}
    return xr.DataTree(dataset=xr.Dataset(attrs=attrs), children=nodes)


class Sides(NamedTuple):
    """Scaled features of an animal on the training side of a split and of its test samples, with their class codes."""

    training: Tensor  # (training sample, feature)
    training_label: NDArray[np.int16]  # (training sample,)
    tested: Tensor  # (sample, feature)
    tested_label: NDArray[np.int16]  # (sample,)
    tested_trial: NDArray[np.int64]  # (sample,)
    side: str  # "test", or "training" where test samples are those of the training side


def sides_of(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int) -> Iterator[tuple[str, Sides]]:
    """Yield every animal that has training trials in the split of a replica, with its samples on either side."""
    for animal in fitted.scalers:
        part = splits[animal]["part"].to_numpy()[fitted.replicas[replica].split]
        training, tested = is_fitted(part), is_scored(part)
        if not training.any():
            continue
        tested = tested if tested.any() else training
        values = fitted.scaled(samples, animal, replica)
        label = samples[animal]["label"].to_numpy()
        trial = np.broadcast_to(np.arange(len(label))[:, None], label.shape)
        features, tested_features = (values[torch.from_numpy(side)].flatten(0, 1) for side in (training, tested))
        codes, tested_codes, tested_trial = label[training].ravel(), label[tested].ravel(), trial[tested].ravel()
        side = "training" if (training & tested).any() else "test"
        yield animal, Sides(features, codes, tested_features, tested_codes, tested_trial, side)


def _ablated(fitted: FittedStack, animal: str, sides: Sides, replica: int) -> xr.Dataset:
    model, window = fitted.member(replica), fitted.windows[animal]
    encoder = model.encoders[animal]
    silence = sides.training.mean(0).reshape(window.bins, window.units)
    silenced_means = []
    with torch.no_grad():
        for unit in range(window.units):
            silenced = sides.tested.reshape(-1, window.bins, window.units).clone()
            silenced[:, :, unit] = silence[:, unit]
            silenced_means.append(encoder(silenced.flatten(1))[0])
        tested, training = (encoder(features)[0].numpy() for features in (sides.tested, sides.training))
    return xr.Dataset(
        {
            "posterior_mean": (("sample", "latent"), tested),
            "silenced_mean": (("unit", "sample", "latent"), torch.stack(silenced_means).numpy()),
            "training_mean": (("training_sample", "latent"), training),
        },
        {
            "latent": np.arange(tested.shape[1]),
            "shared": ("latent", np.arange(tested.shape[1]) < model.shared_latents),
            "label": ("sample", sides.tested_label),
            "trial": ("sample", sides.tested_trial),
            "training_label": ("training_sample", sides.training_label),
        },
        {"side": sides.side},
    )


def unit_coords(samples: xr.DataTree, animal: str) -> dict[str, tuple[str, NDArray[np.generic]]]:
    """Return the coordinates of the units of an animal; units without names are numbered."""
    coords = samples[animal].to_dataset().coords
    named = {str(key): ("unit", coord.to_numpy()) for key, coord in coords.items() if coord.dims == ("unit",)}
    return {"unit": ("unit", np.arange(samples[animal].sizes["unit"])), **named}


def replica_attrs(fitted: FittedStack, replica: int) -> dict[str, int]:
    """Return the index, split and seed of a replica."""
    return {"replica": replica, "split": fitted.replicas[replica].split, "seed": fitted.replicas[replica].seed}


def check_replica(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int) -> None:
    """Refuse samples and splits that do not belong together, and a replica that does not exist."""
    schema.expect_samples_with_splits(samples, splits)
    if not 0 <= replica < len(fitted.replicas):
        raise ArgumentError("argument 'replica'", found=f"{replica}", expected=f"0 to {len(fitted.replicas) - 1}")
