"""Figures of latents: clouds of test samples together and by animal, and mean trajectories."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import ANIMALS, CLASSES, Palette, are_quantities
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import brief, ordered, shortened, span, tested_trials, without_prefix
from neuromvm.data.numeric_labels import as_numbers, looks_continuous

RASTERIZED_FROM = 5000  # points above which a cloud becomes an image inside the PDF
MOST_COLUMNS = 7  # of panels, one for each animal
LEAST_LETTERS = 8  # of a name in a legend, for the number of its columns


@style.applied()
def scatter(scores: xr.Dataset) -> Figure:
    """Draw one row per model: test samples colored by label, and by animal; legends stand below the panels."""
    models = style.names_of(scores, "shown_model")
    keys = {"label": (CLASSES, _classes(scores)), "animal": (ANIMALS, _animals(scores))}
    half = style.DOUBLE / 2 - 0.2
    legend_height = max(_legend_rows(names, half)[0] for _, names in keys.values()) * style.LEGEND_ROW + 0.3
    height = 2.5 * len(models) + legend_height + 0.4
    ratios = [2.5] * len(models) + [legend_height]
    figure, grid = style.page(height, len(models) + 1, 2, squeeze=False, height_ratios=ratios)
    for row, model in zip(grid, models, strict=False):
        of_model = scores.isel(sample=scores["model"].values == model)
        for axes, (key, (palette, names)) in zip(row, keys.items(), strict=True):
            _cloud(axes, of_model, key, names, palette)
            _name_axes(axes, scores, model)
            axes.set_title(f"{model}, by {scores.attrs['label'] if key == 'label' else key}")
    for axes, (key, (palette, names)) in zip(grid[-1], keys.items(), strict=True):
        axes.set_axis_off()
        _legend_below(axes, names, palette, scores.attrs["label"] if key == "label" else key, half)
    means = " Large, edged: means." if any(len(names) > style.MANY for _, names in keys.values()) else ""
    return style.caption(
        figure,
        f"Split {scores.attrs['split']}, first seed; axes fitted on training trials.{means}\n{_n(scores)}",
        f"Latents of test samples in two dimensions, colored by {scores.attrs['label']} and by animal, a row for each model.",
        scores[["x", "y"]],
    )


@style.applied()
def by_animal(scores: xr.Dataset) -> Figure:
    """Draw test samples colored by label, a panel for each animal and model, as in Sutter et al. (2024), Fig. 4."""
    models, names, animals = style.names_of(scores, "shown_model"), _classes(scores), _animals(scores)
    prefix, titles = shortened(animals)
    columns = min(len(animals), MOST_COLUMNS)
    bands = -(-len(animals) // columns)  # rows of panels of a model
    side = min(1.7, (style.DOUBLE - 0.3) / columns)
    rows = len(models) * bands
    legend_height = _legend_rows(names, style.DOUBLE - 0.3)[0] * style.LEGEND_ROW + 0.3
    figure, grid = style.page(
        (side + 0.1) * rows + legend_height + 0.5,
        rows + 1,
        columns,
        squeeze=False,
        height_ratios=[side] * rows + [legend_height],
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for number, model in enumerate(models):
        of_model = scores.isel(sample=scores["model"].values == model)
        limits = [_limits(of_model[key].to_numpy()) for key in ("x", "y")]
        for place, (animal, title) in enumerate(zip(animals, titles, strict=True)):
            axes = grid[number * bands + place // columns, place % columns]
            axes.set_axis_on()
            _cloud(axes, of_model.isel(sample=of_model["animal"].values == animal), "label", names, CLASSES)
            axes.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[])
            if number == 0 or bands > 1:
                axes.set_title(title, fontsize=7)
            if place % columns == 0:
                axes.set_ylabel(model)
    label = scores.attrs["label"]
    gathered = figure.add_subplot(grid[-1, 0].get_gridspec()[-1, :])
    gathered.set_axis_off()
    _legend_below(gathered, names, CLASSES, label, style.DOUBLE - 0.3)
    return style.caption(
        figure,
        f"Rows: models, the same axes for all animals of a model, fitted on training trials of split {scores.attrs['split']}, "
        f"first seed.{without_prefix(prefix)}\n{_n(scores)}",
        f"Latents of the test samples of each animal (columns) under each model (rows), colored by {label}.",
        scores[["x", "y"]],
    )


@style.applied()
def trajectories(scores: xr.Dataset) -> Figure:
    """Draw one row per model: the mean latent of each condition on each axis, with its band unless conditions are many."""
    models, conditions = style.names_of(scores, "model"), ordered(style.names_of(scores, "condition"))
    has_bands = len(conditions) <= style.MANY
    height = 0.6 + (1.9 if has_bands else 2.4) * len(models)
    figure, grid = style.page(height, len(models), scores.sizes["axis"], squeeze=False)
    color, line_style = CLASSES.colors(conditions), CLASSES.line_styles(conditions)
    for row, model in zip(grid, models, strict=True):
        for number, axes in enumerate(row):
            of_axis = scores.sel(model=model).isel(axis=number)
            if not np.isfinite(of_axis["mean"]).any():
                axes.set_axis_off()
                continue
            for name in conditions:
                line = of_axis.sel(condition=name)
                if has_bands:
                    axes.fill_between(line["window"], line["low"], line["high"], color=color[name], alpha=0.25, linewidth=0)
                axes.plot(line["window"], line["mean"], color=color[name], linestyle=line_style[name])
            axes.set_title(f"{model}: {of_axis['axis_name'].item()}")
            axes.set_xlabel({"time": "time [s]"}.get(scores.attrs["grid"], scores.attrs["grid"]))
        row[0].set_ylabel("mean latent")
    style.legend(figure, CLASSES.handles(conditions, marked=False), title=scores.attrs["condition"])
    interval = scores.attrs["interval"]
    bands = f"Bands: {interval}"
    if not has_bands:
        bands = f"Lines without bands, {len(conditions)} would hide one another; in the CSV: {interval}"
    trials = scores["trials"].sum("animal").to_numpy().tolist()
    return style.caption(
        figure,
        f"{bands}.\nSplit {scores.attrs['split']}, first seed; axes fitted on training trials. "
        f"Animals: {scores.sizes['animal']}; "
        f"{tested_trials(scores.attrs)} of each {scores.attrs['condition']}: {span(trials)}.",
        f"Mean latent over the trial, a line for each {scores.attrs['condition']}, a row for each model.",
        style.only(scores, "mean", "low", "high", "trials"),
    )


def _classes(scores: xr.Dataset) -> list[str]:
    return ordered(json.loads(scores.attrs["classes"]))


def _animals(scores: xr.Dataset) -> list[str]:
    return list(dict.fromkeys(scores["animal"].values.tolist()))


def _name_axes(axes: Axes, scores: xr.Dataset, model: str) -> None:
    axes.set_xlabel(str(scores["x_name"].sel(shown_model=model).item()))
    axes.set_ylabel(str(scores["y_name"].sel(shown_model=model).item()))


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return the range of finite values with a margin."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _cloud(axes: Axes, samples: xr.Dataset, key: str, names: Sequence[str], palette: Palette) -> None:
    """Draw samples, and the mean of every name on top where names are many."""
    color, marker = palette.colors(names), palette.markers(names)
    has_means = len(names) > style.MANY and not (palette is CLASSES and _is_continuous(names))
    for name in names:
        of_name = samples[key].values == name
        x, y = samples["x"].values[of_name], samples["y"].values[of_name]
        look: dict[str, Any] = {"linestyle": "", "marker": marker[name], "color": color[name]}
        rasterized, alpha = samples.sizes["sample"] > RASTERIZED_FROM, 0.35 if has_means else 0.7
        axes.plot(x, y, **look, markersize=2.5, markeredgewidth=0, alpha=alpha, rasterized=rasterized)
        if has_means and of_name.any():
            edge: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.6}
            axes.plot(np.nanmean(x), np.nanmean(y), **look, **edge, markersize=5.5, zorder=3)


def _is_continuous(names: Sequence[str]) -> bool:
    return are_quantities(names) and looks_continuous(np.array(names))


def _legend_rows(names: Sequence[str], width: float) -> tuple[int, int]:
    """Return rows and columns of a legend of a width [inch]; a color bar takes the height of three rows."""
    if _is_continuous(names):
        return 3, 1
    letters = max(LEAST_LETTERS, *(len(brief(name)) for name in names))
    columns = max(1, min(len(names), int(width / (style.LEGEND_HANDLE + style.LEGEND_LETTER * letters))))
    return -(-len(names) // columns), columns


def _legend_below(axes: Axes, names: Sequence[str], palette: Palette, title: str, width: float) -> None:
    """Write the legend into an empty panel; numbers without end get a color bar."""
    if palette is CLASSES and _is_continuous(names):
        numbers = as_numbers(np.array(names))
        assert numbers is not None
        shades = ScalarMappable(Normalize(float(numbers.min()), float(numbers.max())), style.shades())
        inside = axes.inset_axes((0.0, 0.55, 1.0, 0.18))
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.colorbar(shades, cax=inside, orientation="horizontal", label=title)
        return
    columns = _legend_rows(names, width)[1]
    look: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0, "columnspacing": 1.0}
    axes.legend(handles=palette.handles(names), title=title, ncols=columns, **look, handlelength=0.8, alignment="left")


def _n(scores: xr.Dataset) -> str:
    animals = _animals(scores)
    trials = len(set(zip(scores["animal"].values.tolist(), scores["trial"].values.tolist(), strict=True)))
    samples = int((scores["model"] == scores["shown_model"][0]).sum())
    return f"Animals: {len(animals)}; {tested_trials(scores.attrs)}: {trials}; samples of a model: {samples}."
