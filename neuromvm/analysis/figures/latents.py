"""Figures of latents: clouds of test samples, and mean trajectories."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, span, tested_trials

RASTERIZED_FROM = 5000  # points above which a cloud becomes an image inside the PDF


@style.applied()
def scatter(scores: xr.Dataset) -> Figure:
    """Draw one row per model: test samples colored by label, and by animal."""
    models = style.names_of(scores, "shown_model")
    animals = list(dict.fromkeys(scores["animal"].values.tolist()))
    keys = {"label": ordered(json.loads(scores.attrs["classes"])), "animal": animals}
    figure, grid = style.page(0.4 + 2.5 * len(models), len(models), 2, squeeze=False)
    for row, model in zip(grid, models, strict=True):
        of_model = scores.isel(sample=scores["model"].values == model)
        for axes, (key, names) in zip(row, keys.items(), strict=True):
            _cloud(axes, of_model, key, names)
            axes.set_title(f"{model}, by {scores.attrs['label'] if key == 'label' else key}")
            axes.set_xlabel(str(scores["x_name"].sel(shown_model=model).item()))
            axes.set_ylabel(str(scores["y_name"].sel(shown_model=model).item()))
    for axes, (key, names) in zip(grid[0], keys.items(), strict=True):
        title = scores.attrs["label"] if key == "label" else key
        corner: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(handles=_handles(names), title=title, **corner, handlelength=0.8, fontsize=6)
    trials = len(set(zip(scores["animal"].values.tolist(), scores["trial"].values.tolist(), strict=True)))
    means = " Large, edged: means." if any(len(names) > style.MANY for names in keys.values()) else ""
    return style.caption(
        figure,
        f"Split {scores.attrs['split']}, first seed; axes fitted on training trials.{means}\n"
        f"Animals: {len(animals)}; {tested_trials(scores.attrs)}: {trials}; "
        f"samples of a model: {int((scores['model'] == models[0]).sum())}.",
    )


@style.applied()
def trajectories(scores: xr.Dataset) -> Figure:
    """Draw one row per model: the mean latent of each condition on each axis, with its band unless conditions are many."""
    models, conditions = style.names_of(scores, "model"), ordered(style.names_of(scores, "condition"))
    has_bands = len(conditions) <= style.MANY
    height = 0.6 + (1.9 if has_bands else 2.4) * len(models)
    figure, grid = style.page(height, len(models), scores.sizes["axis"], squeeze=False)
    color, line_style = style.colors(conditions), style.line_styles(conditions)
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
    style.legend(figure, style.handles(conditions, marked=False), title=scores.attrs["condition"])
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
    )


def _cloud(axes: Axes, samples: xr.Dataset, key: str, names: Sequence[str]) -> None:
    """Draw samples, and the mean of every name on top where names are many."""
    color, marker = style.colors(names), style.markers(names)
    has_means = len(names) > style.MANY
    for name in names:
        of_name = samples[key].values == name
        x, y = samples["x"].values[of_name], samples["y"].values[of_name]
        look: dict[str, Any] = {"linestyle": "", "marker": marker[name], "color": color[name]}
        rasterized, alpha = samples.sizes["sample"] > RASTERIZED_FROM, 0.35 if has_means else 0.7
        axes.plot(x, y, **look, markersize=2.5, markeredgewidth=0, alpha=alpha, rasterized=rasterized)
        if has_means and of_name.any():
            edge: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.6}
            axes.plot(np.nanmean(x), np.nanmean(y), **look, **edge, markersize=5.5, zorder=3)


def _handles(names: Sequence[str]) -> list[Line2D]:
    color, marker = style.colors(names), style.markers(names)
    return [Line2D([], [], color=color[name], marker=marker[name], linestyle="", markersize=3.5, label=name) for name in names]
