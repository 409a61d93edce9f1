"""Analysis ``attribution``: which units carry a latent or a class, and what activity a latent stands for.

Effects are computed with the run, where the models are at hand (:mod:`neuromvm.inference.attribution`); here they are ordered
and drawn.
"""

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.flat_score import NAN, Score
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

EFFECTS = ("latent_effect", "class_effect", "class_effect_error", "class_effect_low", "class_effect_high")
DRAWS = 1000
NOMINAL = 0.025  # share of 95 % intervals that lie above 0 where there is no effect


NEEDS = ("units", "traversals")


class Options(Spec):
    """What is shown, of the first replica of each model."""

    models: list[str] | None = Field(None, description="Models shown; default: all")
    units: int = Field(3, ge=1, le=10, description="Units shown for each class and for each latent: those with most effect")
    latents: int = Field(4, ge=1, le=8, description="Latents shown: those that move the decoded activity most")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Gather the effects of the units of all animals, and the activity that the strongest latents stand for.

    Returns
    -------
    ``latent_effect (model, unit, latent)`` [standard deviations]; ``class_effect (model, unit, class)`` [nats] with its standard
    error ``_error`` and 95 % interval ``_low, _high`` over trials; coordinates ``animal, name, region`` along ``unit``;
    ``trials (animal, class)``. See :func:`neuromvm.inference.attribution.unit_effects`.

    ``activity (model, animal, place, rank, step)``: decoded activity, averaged over the bins of a window, of the units that
    latent ``latent_shown (model, place)`` moves most, in the unit ``activity_units (animal)``; ``unit_shown (model, animal,
    place, rank)`` names them; ``step`` in standard deviations. NaN and '' where a model has fewer latents or an animal fewer
    units.

    Raises
    ------
    RunFolderError
        If the experiment of the run did not ask for this analysis, so that there are no effects, or lacks a model.
    """
    models = list(study.models) if options.models is None else options.models
    units = [study.units(model) for model in models]
    effects = [_effects(one) for one in units]
    shown = [_strongest(study.traversals(model), options) for model in models]
    first = units[0]
    trials = np.stack([node["trials"].to_numpy() for node in first.children.values()])
    scores = xr.merge(
        [xr.concat(effects, dim="model", join="outer"), xr.concat(shown, dim="model", join="outer")], join="exact"
    ).assign(trials=(("animal", "class"), trials))
    return scores.assign_coords(model=models).assign_attrs(
        label=first.attrs["label"],
        classes=first.attrs["classes"],
        split=int(first.attrs["split"]),
        seed=int(first.attrs["seed"]),
        windows=next(iter(study.samples.children.values())).sizes["window"],
        in_sample=int(any(node.attrs["side"] != "test" for node in first.children.values())),
        interval="95 %, Student's t over trials of the class",
    )


def _effects(units: xr.DataTree) -> xr.Dataset:
    """Put the units of all animals one after another."""
    parts = []
    for animal, node in units.children.items():
        dataset = node.to_dataset()
        names = dataset["unit"].to_numpy().astype(str)
        region = dataset["region"].to_numpy().astype(str) if "region" in dataset.coords else np.full(len(names), "")
        part = dataset[list(EFFECTS)].drop_vars([key for key in dataset.coords if "unit" in dataset[key].dims])
        parts.append(
            part.assign_coords(of_animal=("unit", np.full(len(names), animal)), name=("unit", names), region=("unit", region))
        )
    return xr.concat(parts, dim="unit").drop_vars("shared", errors="ignore")


def _strongest(traversals: xr.DataTree, options: Options) -> xr.Dataset:
    """Choose the latents that move decoded activity most, in all animals together, and the units that each moves most."""
    activity = {
        name: node["activity"].mean("bin").transpose("latent", "step", "unit") for name, node in traversals.children.items()
    }
    moved = {name: np.abs((one.isel(step=-1) - one.isel(step=0)).to_numpy()) for name, one in activity.items()}  # (latent, unit)
    # Every animal weighs the same, however many units it has and in whatever unit they are.
    strength = sum(np.square(one).sum(axis=1) / max(np.square(one).sum(), 1e-30) for one in moved.values())
    chosen = np.argsort(-np.asarray(strength), kind="stable")[: options.latents]
    step = next(iter(activity.values()))["step"].to_numpy()
    shape = (len(activity), len(chosen), options.units)
    values = np.full((*shape, len(step)), np.nan)
    names = np.full(shape, "", dtype=object)
    for place, (animal, one) in enumerate(activity.items()):
        for column, latent in enumerate(chosen):
            best = np.argsort(-moved[animal][latent], kind="stable")[: options.units]
            values[place, column, : len(best)] = one.to_numpy()[latent][:, best].T
            names[place, column, : len(best)] = one["unit"].to_numpy()[best].astype(str)
    units = [str(node["activity"].attrs["units"]) for node in traversals.children.values()]
    dims = ("animal", "place", "rank")
    return xr.Dataset(
        {
            "activity": ((*dims, "step"), values),
            "unit_shown": (dims, names.astype(str)),
            "latent_shown": ("place", chosen.astype(float)),
        },
        {
            "animal": list(activity),
            "activity_units": ("animal", units),
            "place": np.arange(len(chosen)),
            "step": step,
        },
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return for each model the share of effects of units on classes whose interval lies above 0, over all animals."""
    lines = []
    for model in scores["model"].values:
        low = scores["class_effect_low"].sel(model=model).transpose("unit", "class").to_numpy()
        value, bounds = _share_above(low, scores["of_animal"].to_numpy())
        lines.append(
            Score(
                what="share of unit effects above 0",
                representation=str(model),
                setting="within",
                value=value,
                low=bounds[0],
                high=bounds[1],
                interval=f"95 % over {DRAWS} bootstrap draws of the units of each animal, their effects as they are",
                null_kind="none: units whose effect is 0 are above it in the share given as chance",
                chance=NOMINAL,
                baseline="none: effects are those of a model's own encoder",
                n_animals=scores.sizes["animal"],
                n_trials=int(scores["trials"].sum()),
                n_windows=int(scores.attrs["windows"]),
                n_splits=1,
                in_sample=bool(scores.attrs["in_sample"]),
            )
        )
    return lines


def _share_above(low: Floats, animal: NDArray[np.str_]) -> tuple[float, tuple[float, float]]:
    """Return the share of effects whose interval lies above 0, of ``low (unit, class)``, and its interval over units."""
    rows = LabelRows.of(np.unique(animal, return_inverse=True)[1].astype(np.int16)[:, None])
    known = np.isfinite(low).sum(axis=1)
    above = (np.nan_to_num(low) > 0).sum(axis=1)
    if not known.any():
        return NAN, (NAN, NAN)
    weight = over_trials.bootstrap(rows, DRAWS, np.random.default_rng(0)).sum(axis=2)  # (draw, unit)
    ends = over_trials.interval((weight @ above) / (weight @ known))
    return float(above.sum() / known.sum()), (float(ends[0]), float(ends[1]))


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw, for each model, units by latent, the strongest units of each class, and what the strongest latents stand for."""
    from neuromvm.analysis.figures import attribution as figures  # here, so that computing needs no plotting library

    drawn = {}
    for model in scores["model"].values:
        one = scores.sel(model=model)
        drawn[f"units_{model}"] = figures.units_by_latent(one)
        drawn[f"classes_{model}"] = figures.units_of_classes(one, json.loads(scores.attrs["classes"]))
        drawn[f"traversals_{model}"] = figures.traversals(one)
    return drawn
