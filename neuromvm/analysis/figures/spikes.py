"""Figures of the analysis ``spikes``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, side_names
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import numbers_of, shortened

TITLES = {"cross": "from another animal", "own": "from own latents\n(they saw the spikes)", "cosmoothing": "from the other units"}


def settings(scores: xr.Dataset) -> Figure:
    """Draw bits per spike of every representation in every setting, with animals, interval and floor."""
    bits = scores.sel(measure="bits_per_spike")
    names = [str(name) for name in scores["representation"].values]
    present = {
        str(one): [name for name in names if np.isfinite(bits["value"].sel(setting=one, representation=name))]
        for one in scores["setting"].values
    }
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 3.4), layout="constrained")
        grid = figure.subplots(1, len(present), width_ratios=[max(1, len(one)) for one in present.values()])
        for axes, (setting, shown) in zip(grid, present.items(), strict=True):
            for x, name in enumerate(shown):
                one = bits.sel(setting=setting, representation=name)
                floor = float(one["null_low"]), float(one["null_high"])
                axes.fill_between([x - 0.3, x + 0.3], *floor, color="0.85", linewidth=0, zorder=0)
                spread = np.linspace(-0.25, 0.25, scores.sizes["target"])
                axes.plot(x + spread, one["target_value"], ".", color="0.55", markersize=3, markeredgewidth=0)
                color = _color(name, names)
                axes.vlines(x, float(one["low"]), float(one["high"]), color=color, linewidth=1.5)
                axes.plot(x, float(one["value"]), "o", color=color, markersize=4)
            axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
            axes.set_xticks(range(len(shown)), shown, rotation=90)
            axes.set_xlim(-0.6, len(shown) - 0.4)
            axes.set_title(TITLES[setting])
            _cut(axes, bits.sel(setting=setting))
        grid[0].set_ylabel("bits per spike")
        handles: list[Artist] = [Line2D([], [], color="0.4", linestyle="--", label="mean rate")]
        if scores.attrs["permutations"]:
            handles.append(Patch(color="0.85", label="permuted"))
        style.legend(figure, handles)
        permuted = "Grey: 95 % of " if scores.attrs["permutations"] else "Floor: "
        style.caption(
            figure,
            f"Poisson log-likelihood of test counts over that of each unit's mean rate, per spike. Dots: animals.\n"
            f"Bars: {scores.attrs['interval']}.\n{permuted}{scores.attrs['floor']}.\n"
            f"Axes differ; what lies below one is in the CSV. {numbers_of(scores)}.",
        )
    return figure


def pairs(scores: xr.Dataset) -> Figure:
    """Draw, for every representation that reads across, bits per spike by source and by animal that is predicted."""
    values = scores["pair_value"].sel(measure="bits_per_spike")
    across = values.where(scores["source"] != scores["target"])
    names = [str(name) for name in scores["representation"].values if np.isfinite(across.sel(representation=name)).any()]
    shown = names or [str(scores["representation"].values[0])]
    prefix, animals = shortened([str(animal) for animal in scores["target"].values])
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    side = min(2.8, (style.DOUBLE - 1.3) / columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 1.2 + (side + 0.35) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        limit = float(np.nanmax(values.sel(representation=shown), initial=0.01))
        for place, (axes, name) in enumerate(zip(grid.flat, shown, strict=False)):
            matrix = values.sel(representation=name).transpose("source", "target").to_numpy()
            image = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit)
            axes.set_title(name)
            side_names(
                axes,
                animals,
                left=place % columns == 0,
                bottom=place + columns >= len(shown),
                row="latents of",
                column="spikes of",
            )
            if len(animals) <= CELLS_WITH_NUMBERS:
                for (row, column), value in np.ndenumerate(matrix):
                    if np.isfinite(value):
                        text = f"{value:.2f}".replace("-0.", "−.").replace("-", "−").removeprefix("0")
                        color = "white" if abs(value) > 0.7 * limit else "black"
                        axes.text(column, row, text, ha="center", va="center", fontsize=5, color=color)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        figure.colorbar(image, ax=grid, shrink=min(1.0, 2.5 / (side * rows)), label="bits per spike", extend="min")
        left_out = f"\nNames of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            f"Mean over splits; 0 is each unit's mean rate. On the diagonal: own latents, which have seen the spikes; "
            f"white: does not exist.{left_out}\n{numbers_of(scores)}.",
        )
    return figure


def checks(scores: xr.Dataset) -> Figure:
    """Draw, for every model of counts, mean rate, Fano factor and mean response of every unit against the data."""
    models = [str(name) for name in scores["checked"].values]
    animals = list(dict.fromkeys(scores["of_animal"].values.tolist()))
    prefix, short = shortened(animals)
    panels = (
        ("mean_rate_data", "mean_rate_model", "mean counts a bin", "recorded", "model"),
        ("fano_factor_data", "fano_factor_model", "Fano factor", "recorded", "model"),
        ("response_ceiling", "response_correlation", "correlation with test responses", "training side", "model"),
    )
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.8 + 2.1 * len(models)), layout="constrained")
        grid = figure.subplots(len(models), 3, squeeze=False)
        color = style.colors(animals)
        for row, model in zip(grid, models, strict=True):
            one = scores.sel(checked=model)
            for axes, (x, y, title, first, second) in zip(row, panels, strict=True):
                for animal in animals:
                    own = one.isel(unit=scores["of_animal"].values == animal)
                    axes.plot(own[x], own[y], ".", color=color[animal], markersize=4, alpha=0.7, markeredgewidth=0)
                both = np.concatenate([one[x].to_numpy(), one[y].to_numpy()])
                low, high = np.nanmin(both, initial=0), np.nanmax(both, initial=0.01)
                axes.plot([low, high], [low, high], color="0.4", linewidth=0.8, linestyle="--", zorder=0)
                axes.set_title(f"{model}: {title}" if title == panels[0][2] else title)
                axes.set_xlabel(first)
                axes.set_ylabel(second)
        style.legend(
            figure,
            [
                Line2D([], [], color=color[one], marker=".", linestyle="", label=name)
                for one, name in zip(animals, short, strict=True)
            ],
        )
        left_out = f" Animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            "Each dot a unit. Model: one draw for each test trial from its own latents; right, expected activity. Fano factors "
            f"are of a window's counts within {scores.attrs['label']}.\nRight: correlation of mean responses with those of test "
            f"trials.{left_out}\n{numbers_of(scores)}.",
        )
    return figure


def _color(name: str, names: list[str]) -> tuple[float, float, float]:
    """Give a model and its decoder one color."""
    known = [one for one in names if not one.endswith(" decoder")]
    return style.colors(known)[name.removesuffix(" decoder") if name.removesuffix(" decoder") in known else known[0]]


def _cut(axes: Axes, bits: xr.Dataset) -> None:
    """Leave out what lies far below 0: there a bad prediction has no bound."""
    top = float(np.nanmax(bits[["high", "target_value"]].to_array(), initial=0.01))
    lowest = float(np.nanmin(bits[["low", "target_value", "null_low"]].to_array(), initial=0.0))
    axes.set_ylim(max(lowest, -1.5 * top) - 0.05 * top, 1.08 * top)
