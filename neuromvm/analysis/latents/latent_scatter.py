"""Analysis ``latent_scatter``: test samples in two dimensions, by label and by animal."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.latents.projection import fit_pca, fit_umap, projected
from neuromvm.analysis.readouts.representations import held_out
from neuromvm.analysis.scores import Score
from neuromvm.schema import in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study


class Options(Spec):
    """What is shown, of the first seed of one split."""

    split: int = Field(0, ge=0)
    projection: Literal["pca", "umap"] = Field("pca", description="Of latents with more than two dimensions")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Place every test sample of every model of a run in two dimensions; see :func:`latent_plane`."""
    return latent_plane(study.samples, study.splits, {name: study.latents(name) for name in study.models}, options)


def latent_plane(
    samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, xr.DataTree], options: Options | None = None
) -> xr.Dataset:
    """Place test samples in two dimensions, axes fitted on training-side trials.

    Parameters
    ----------
    samples, splits
        What the latents were inferred from, and the splits they were trained on.
    latents
        Name -> tree of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`.
    options
        Split and projection.

    Returns
    -------
    ``x, y (sample)`` with coordinates ``model, animal, trial, window, label`` along ``sample``; ``x_name, y_name (shown_model)``.
    """
    options = options or Options()
    fit = fit_umap if options.projection == "umap" else fit_pca
    classes = np.array(json.loads(samples.attrs["classes"]))
    parts, names = [], []
    for model, tree in latents.items():
        shown = projected(tree, splits, options.split, fit, axes=2)
        names.append([*shown.axes, ""][:2])
        for animal, values in shown.values.items():
            node = samples[animal].to_dataset()
            trials = np.flatnonzero(held_out(splits, options.split, animal))
            trial, window = (grid.ravel() for grid in np.meshgrid(trials, np.arange(values.shape[1]), indexing="ij"))
            labels = node["label"].to_numpy()[trial, window]
            labelled = labels >= 0
            trial, window, labels = trial[labelled], window[labelled], labels[labelled]
            points = values[trial, window]
            columns = {
                "x": points[:, 0],
                "y": points[:, 1] if points.shape[1] > 1 else np.zeros(len(points)),
                "model": np.full(len(points), model),
                "animal": np.full(len(points), animal),
                "trial": node["trial"].to_numpy()[trial],
                "window": node["window"].to_numpy()[window],
                "label": classes[labels],
            }
            parts.append(xr.Dataset({key: ("sample", column) for key, column in columns.items()}))
    scatter = xr.concat(parts, dim="sample").set_coords(["model", "animal", "trial", "window", "label"])
    scatter["x_name"], scatter["y_name"] = (("shown_model", [pair[axis] for pair in names]) for axis in (0, 1))
    return scatter.assign_coords(shown_model=list(latents)).assign_attrs(
        label=samples.attrs.get("label", "label"),
        classes=samples.attrs["classes"],
        split=options.split,
        in_sample=int(in_sample(splits)),
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return no lines: this analysis has figures only."""
    return []


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw each model by label and by animal, and each animal by itself."""
    from neuromvm.analysis.figures import latents  # imported here: computing needs no plotting library

    return {"latents": latents.scatter(scores), "animals": latents.by_animal(scores)}
