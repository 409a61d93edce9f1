"""Projections of latents to two or three axes, fitted on training-side trials."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.analysis.baselines.components import principal_axes
from neuromvm.analysis.readouts.representations import Floats, training_side
from neuromvm.errors import SpecError

Projection = Callable[[Floats], Floats]  # (sample, latent) -> (sample, axis)


class Projected(NamedTuple):
    """Latents of one replica of a model on a few axes."""

    values: Mapping[str, Floats]  # animal -> (trial, window, axis)
    axes: list[str]


def projected(
    latents: xr.DataTree, splits: xr.DataTree, split: int, fit: Callable[[Floats, int], tuple[Projection, list[str]]], axes: int
) -> Projected:
    """Project the latents of the first seed of a split, axes fitted on the training sides of all animals.

    Latents with no more dimensions than axes are returned unchanged.
    """
    known = next(iter(latents.children.values()))["split"].to_numpy().tolist()
    if split not in known:
        raise SpecError("option split", found=f"{split}", expected=f"one of {sorted(set(known))}")
    means = {}
    for animal, node in latents.children.items():
        mean = node["latent_mean"].isel(replica=known.index(split))
        means[animal] = mean.transpose("trial", "window", "latent").to_numpy().astype(float)
    dimensions = next(iter(means.values())).shape[-1]
    if dimensions <= axes:
        return Projected(means, [f"latent {number + 1}" for number in range(dimensions)])
    sides = [mean[training_side(splits, split, animal)] for animal, mean in means.items()]
    training = np.concatenate([side.reshape(-1, dimensions) for side in sides])
    project, names = fit(training[np.isfinite(training).all(axis=1)], axes)
    values = {animal: project(mean.reshape(-1, dimensions)).reshape(*mean.shape[:2], -1) for animal, mean in means.items()}
    return Projected(values, names)


def fit_pca(training: Floats, axes: int) -> tuple[Projection, list[str]]:
    """Fit principal components; axis names carry the share of the training-side variance."""
    fitted = principal_axes(training, axes)
    shares = fitted(training).var(axis=0) / training.var(axis=0).sum()
    return fitted.__call__, [f"PC {number + 1} ({share:.0%})" for number, share in enumerate(shares)]


def fit_umap(training: Floats, axes: int) -> tuple[Projection, list[str]]:
    """Fit UMAP, with a fixed seed. Distances between clusters and their sizes are not meaningful."""
    from umap import UMAP  # imported here: the import takes seconds

    fitted = UMAP(n_components=axes, n_neighbors=min(15, len(training) - 1), random_state=0, n_jobs=1).fit(training)
    return fitted.transform, [f"UMAP {number + 1}" for number in range(axes)]
