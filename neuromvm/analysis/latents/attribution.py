"""Analysis ``attribution``: which units carry a latent or a class, and what activity a latent stands for.

The run holds posterior means with each unit silenced (:mod:`neuromvm.inference.ablation`) and decoded traversals of the latents
(:mod:`neuromvm.inference.traversal`); effects of units are computed from them here, sorted and drawn.
"""

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.latents.unit_effects import unit_effects
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Absent, Counts, Interval, Score
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
    """Compute the effects of the units of all animals, and gather the activity that the strongest latents stand for.

    Returns
    -------
    ``latent_effect (model, unit, latent)`` [standard deviations]; ``class_effect (model, unit, class)`` [nats] with its standard
    error ``_error`` and 95 % interval ``_low, _high`` over trials; coordinates ``of_animal, name, region`` along ``unit``;
    ``trials (animal, class)``. See :func:`neuromvm.analysis.latents.unit_effects.unit_effects`.

    ``activity (model, animal, place, rank, step)``: decoded activity, averaged over the bins of a window, of the units that
    latent ``latent_shown (model, place)`` moves most, in the unit ``activity_units (animal)``; ``unit_shown (model, animal,
    place, rank)`` names them; ``step`` in standard deviations. NaN and '' where a model has fewer latents or an animal fewer
    units.
    """
    models = list(study.models) if options.models is None else options.models
    effects = [_effects(study.units(model)) for model in models]
    effect = xr.concat([_units_of_all_animals(tree) for tree in effects], dim="model", join="outer")
    activity = xr.concat([_strongest(study.traversals(model), options) for model in models], dim="model", join="outer")
    animals = effects[0].children.values()
    scores = xr.merge([effect, activity], join="exact")
    return (
        scores.assign_coords(model=models)
        .assign(trials=(("animal", "class"), np.stack([node["trials"].to_numpy() for node in animals])))
        .assign_attrs(
            label=effects[0].attrs["label"],
            classes=effects[0].attrs["classes"],
            split=int(effects[0].attrs["split"]),
            seed=int(effects[0].attrs["seed"]),
            windows=next(iter(study.samples.children.values())).sizes["window"],
            in_sample=int(any(node.attrs["side"] != "test" for node in animals)),
            interval="95 %, Student's t over trials of the class",
        )
    )


def _effects(units: xr.DataTree) -> xr.DataTree:
    """Return the effects of units; runs of earlier versions hold them in place of the ablated posterior means."""
    return units if all("class_effect" in node for node in units.children.values()) else unit_effects(units)


def _units_of_all_animals(effects: xr.DataTree) -> xr.Dataset:
    """Concatenate the units of all animals."""
    parts = []
    for animal, node in effects.children.items():
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
    nodes = traversals.children
    activity = {animal: node["activity"].mean("bin").transpose("latent", "step", "unit") for animal, node in nodes.items()}
    change = {animal: np.abs((values[:, -1] - values[:, 0]).to_numpy()) for animal, values in activity.items()}  # (latent, unit)
    # Shares, so that animals weigh the same whatever the number and the physical unit of their units.
    strength = sum(np.square(moved).sum(axis=1) / max(np.square(moved).sum(), 1e-30) for moved in change.values())
    latents = np.argsort(-np.asarray(strength), kind="stable")[: options.latents]
    step = next(iter(activity.values()))["step"].to_numpy()
    shape = (len(activity), len(latents), options.units)
    shown, names = np.full((*shape, len(step)), np.nan), np.full(shape, "", dtype=object)
    for row, (animal, values) in enumerate(activity.items()):
        for column, latent in enumerate(latents):
            units = np.argsort(-change[animal][latent], kind="stable")[: options.units]
            shown[row, column, : len(units)] = values.to_numpy()[latent][:, units].T
            names[row, column, : len(units)] = values["unit"].to_numpy()[units].astype(str)
    dims = ("animal", "place", "rank")
    return xr.Dataset(
        {
            "activity": ((*dims, "step"), shown),
            "unit_shown": (dims, names.astype(str)),
            "latent_shown": ("place", latents.astype(float)),
        },
        {
            "animal": list(activity),
            "activity_units": ("animal", [str(node["activity"].attrs["units"]) for node in nodes.values()]),
            "place": np.arange(len(latents)),
            "step": step,
        },
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return for each model the share of effects of units on classes whose interval lies above 0, over all animals."""
    counts = Counts(scores.sizes["animal"], int(scores["trials"].sum()), int(scores.attrs["windows"]), 1)
    lines = []
    for model in scores["model"].values:
        low = scores["class_effect_low"].sel(model=model).transpose("unit", "class").to_numpy()
        value, interval = _share_above(low, scores["of_animal"].to_numpy())
        lines.append(
            Score(
                "share of unit effects above 0",
                str(model),
                "within",
                value,
                counts,
                interval,
                f"95 % over {DRAWS} bootstrap draws of the units of each animal, their effects as they are",
                null=Absent("units whose effect is 0 are above it in the share given as chance"),
                chance=NOMINAL,
                difference=Absent("effects are those of a model's own encoder"),
                in_sample=bool(scores.attrs["in_sample"]),
            )
        )
    return lines


def _share_above(low: Floats, animal: NDArray[np.str_]) -> tuple[float, Interval | Absent]:
    """Return the share of effects whose interval lies above 0, of ``low (unit, class)``, and its interval over units."""
    rows = LabelRows.of(np.unique(animal, return_inverse=True)[1].astype(np.int16)[:, None])
    scored = np.isfinite(low).sum(axis=1)
    above = (np.nan_to_num(low) > 0).sum(axis=1)
    if not scored.any():
        return np.nan, Absent("no class has two test trials")
    weight = over_trials.bootstrap(rows, DRAWS, np.random.default_rng(0)).sum(axis=2)  # (draw, unit)
    ends = over_trials.interval((weight @ above) / (weight @ scored))
    return float(above.sum() / scored.sum()), Interval(float(ends[0]), float(ends[1]))


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw, for each model, units by latent, the strongest units of each class, and what the strongest latents stand for."""
    from neuromvm.analysis.figures import attribution as figures  # imported here: computing needs no plotting library

    drawn = {}
    for model in scores["model"].values:
        of_model = scores.sel(model=model)
        drawn[f"units_{model}"] = figures.units_by_latent(of_model)
        drawn[f"classes_{model}"] = figures.units_of_classes(of_model, json.loads(scores.attrs["classes"]))
        drawn[f"traversals_{model}"] = figures.traversals(of_model)
    return drawn
