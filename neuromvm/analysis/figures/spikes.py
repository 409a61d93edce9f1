"""Figures of the analysis ``spikes``, drawn from its saved scores."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import draw_pairs
from neuromvm.analysis.figures.palettes import ANIMALS, METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import numbers_of, shortened
from neuromvm.analysis.judged import ALL_ANIMALS, TRIALS, animals_of

TITLES = {"cross": "from another animal", "own": "from own latents\n(they saw the spikes)", "cosmoothing": "from the other units"}


@style.applied()
def settings(scores: xr.Dataset) -> Figure:
    """Draw bits per spike of every representation in every setting, with animals, interval and null."""
    bits = scores.sel(measure="bits_per_spike", unit_of_inference=TRIALS)
    names = style.names_of(scores)
    value = bits["score"].sel(target=ALL_ANIMALS, statistic="value")
    shown = {
        setting: [name for name in names if np.isfinite(value.sel(setting=setting, representation=name))]
        for setting in style.names_of(scores, "setting")
    }
    animals, color = animals_of(scores), METHODS.colors(names)
    has_null = bool(scores["null_draws"].any())
    figure, grid = style.page(3.4, 1, len(shown), width_ratios=[max(1, len(present)) for present in shown.values()])
    for axes, (setting, present) in zip(grid, shown.items(), strict=True):
        for x, name in enumerate(present):
            score = bits["score"].sel(setting=setting, representation=name)
            null = bits["null_score"].sel(setting=setting, representation=name, target=ALL_ANIMALS).isel(null=0)
            limits = null.sel(null_statistic=["low", "high"]).to_numpy()
            axes.fill_between([x - 0.3, x + 0.3], *limits, color="0.85", linewidth=0, zorder=0)
            spread = np.linspace(-0.25, 0.25, len(animals))
            of_animals = score.sel(target=animals, statistic="value")
            axes.plot(x + spread, of_animals, ".", color="0.55", markersize=3, markeredgewidth=0)
            estimate = score.sel(target=ALL_ANIMALS, statistic=["value", "low", "high"]).to_numpy()
            style.point(axes, x, *estimate, color=color[name], linewidth=1.5)
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
        axes.set_xticks(range(len(present)), present, rotation=90)
        axes.set(xlim=(-0.6, len(present) - 0.4), title=TITLES[setting])
        _cut(axes, bits.sel(setting=setting), animals)
    grid[0].set_ylabel("bits per spike")
    handles: list[Artist] = [Line2D([], [], color="0.4", linestyle="--", label="mean rate")]
    if has_null:
        handles.append(Patch(color="0.85", label="permuted"))
    style.legend(figure, handles)
    floor = f"{'Grey: 95 % of' if has_null else 'Floor:'} {scores.attrs['floor']}"
    return style.caption(
        figure,
        f"Poisson log-likelihood of test counts over that of each unit's mean rate, per spike. Dots: animals.\n"
        f"Bars: {scores.attrs['interval']}.\n{floor}.\n"
        f"Axes differ; what lies below one is in the CSV. {numbers_of(scores)}.",
        "Bits per spike of test counts that each method predicts, by where the prediction comes from; 0 is the mean rate.",
        style.only(bits, "score", "null_score", "trials"),
    )


@style.applied()
def pairs(scores: xr.Dataset) -> Figure:
    """Draw, for every representation that reads across, bits per spike by source and by animal that is predicted."""
    values = scores["pair_score"].sel(measure="bits_per_spike", target=animals_of(scores))
    across = values.where(values["source"] != values["target"])
    shown = [name for name in style.names_of(scores) if np.isfinite(across.sel(representation=name)).any()]
    values = values.sel(representation=shown or style.names_of(scores)[:1])
    prefix, animals = shortened(animals_of(scores))
    limit = float(np.nanmax(values, initial=0.01))
    look: dict[str, Any] = {"sides": ("latents of", "spikes of"), "label": "bits per spike", "most": 4, "cmap": "PuOr"}
    numbers = (lambda value: abs(value) <= 0.7 * limit), _signed
    figure, _, _ = draw_pairs(values, animals, (1.2, 0.35), (-limit, limit), numbers, **look, extend="min")
    omitted = f"\nNames of animals without their common beginning, {prefix}." if prefix else ""
    return style.caption(
        figure,
        f"Mean over splits; 0 is each unit's mean rate. On the diagonal: own latents, which have seen the spikes; "
        f"white: does not exist.{omitted}\n{numbers_of(scores)}.",
        "Bits per spike by the animal that latents are of and the animal whose spikes are predicted, a matrix for each method.",
        values.to_dataset(),
    )


@style.applied()
def checks(scores: xr.Dataset) -> Figure:
    """Draw, for every model of counts, mean rate, Fano factor and mean response of every unit against the data."""
    models = style.names_of(scores, "checked")
    animals = list(dict.fromkeys(scores["of_animal"].values.tolist()))
    prefix, short = shortened(animals)
    quantities = ["mean rate", "fano factor", "correlation of mean responses"]
    titles = ["mean counts a bin", "Fano factor", "correlation with test responses"]
    panels = list(zip(quantities, titles, ["recorded", "recorded", "training side"], strict=True))
    figure, grid = style.page(0.8 + 2.1 * len(models), len(models), 3, squeeze=False)
    color = ANIMALS.colors(animals)
    for row, model in zip(grid, models, strict=True):
        for axes, (quantity, title, label) in zip(row, panels, strict=True):
            checks = scores["check"].sel(checked=model, quantity=quantity)
            x, y = (checks.sel(activity=activity).to_numpy() for activity in ("recorded", "model"))
            for animal in animals:
                units = scores["of_animal"].values == animal
                axes.plot(x[units], y[units], ".", color=color[animal], markersize=4, alpha=0.7, markeredgewidth=0)
            low, high = np.nanmin([x, y], initial=0), np.nanmax([x, y], initial=0.01)
            axes.plot([low, high], [low, high], color="0.4", linewidth=0.8, linestyle="--", zorder=0)
            axes.set(title=f"{model}: {title}" if quantity == "mean rate" else title, xlabel=label, ylabel="model")
    looks = zip(color.values(), short, strict=True)
    style.legend(figure, [Line2D([], [], color=look, marker=".", linestyle="", label=name) for look, name in looks])
    omitted = f" Animals without their common beginning, {prefix}." if prefix else ""
    return style.caption(
        figure,
        "Each dot a unit. Model: one draw for each test trial from its own latents; right, expected activity. Fano factors "
        f"are of a window's counts within {scores.attrs['label']}.\nRight: correlation of mean responses with those of test "
        f"trials.{omitted}\n{numbers_of(scores)}.",
        "Mean count, Fano factor and mean response of every unit, as a model generates them against the recorded ones.",
        scores[["check"]],
    )


def _signed(value: float) -> str:
    return f"{value:z.2f}".replace("-0.", "−.").replace("-", "−").removeprefix("0")


def _cut(axes: Axes, bits: xr.Dataset, animals: list[str]) -> None:
    """Leave out values far below 0, where bad predictions have no bound."""
    overall = bits["score"].sel(target=ALL_ANIMALS)
    values = bits["score"].sel(target=animals, statistic="value").to_numpy().ravel()
    null = bits["null_score"].sel(target=ALL_ANIMALS, null_statistic="low").to_numpy().ravel()
    top = float(np.nanmax([*overall.sel(statistic="high").to_numpy(), *values], initial=0.01))
    lowest = float(np.nanmin([*overall.sel(statistic="low").to_numpy(), *values, *null], initial=0.0))
    axes.set_ylim(max(lowest, -1.5 * top) - 0.05 * top, 1.08 * top)
