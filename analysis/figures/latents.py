"""Figures of latents: clouds of test samples, and mean trajectories."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from analysis.figures import style
from analysis.figures.style import Axes, Figure

RASTERIZED_FROM = 5000  # points above which a cloud becomes an image inside the PDF


def scatter(scores: xr.Dataset) -> Figure:
    """Draw one row a model: test samples colored by label, and by animal."""
    models = [str(name) for name in scores["shown_model"].values]
    animals = list(dict.fromkeys(scores["animal"].values.tolist()))
    keys = {"label": json.loads(scores.attrs["classes"]), "animal": animals}
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.4 + 2.5 * len(models)), layout="constrained")
        grid = figure.subplots(len(models), 2, squeeze=False)
        for row, model in zip(grid, models, strict=True):
            one = scores.isel(sample=scores["model"].values == model)
            for axes, (key, names) in zip(row, keys.items(), strict=True):
                _cloud(axes, one, key, names)
                axes.set_title(f"{model}, by {scores.attrs['label'] if key == 'label' else key}")
                axes.set_xlabel(str(scores["x_name"].sel(shown_model=model).item()))
                axes.set_ylabel(str(scores["y_name"].sel(shown_model=model).item()))
        for axes, (key, names) in zip(grid[0], keys.items(), strict=True):
            axes.legend(
                handles=_handles(names),
                title=scores.attrs["label"] if key == "label" else key,
                loc="upper left",
                bbox_to_anchor=(1.0, 1.0),
                handlelength=0.8,
                fontsize=6,
            )
        trials = len(set(zip(scores["animal"].values.tolist(), scores["trial"].values.tolist(), strict=True)))
        style.caption(
            figure,
            f"Test samples of split {scores.attrs['split']}, first seed; axes fitted on training trials. "
            f"Animals: {len(animals)}; test trials: {trials}; samples of a model: {int((scores['model'] == models[0]).sum())}.",
        )
    return figure


def trajectories(scores: xr.Dataset) -> Figure:
    """Draw one row a model: the mean latent of each condition on each axis, with its band."""
    models = [str(name) for name in scores["model"].values]
    conditions = [str(name) for name in scores["condition"].values]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.6 + 1.9 * len(models)), layout="constrained")
        grid = figure.subplots(len(models), scores.sizes["axis"], squeeze=False)
        color = style.colors(conditions)
        for row, model in zip(grid, models, strict=True):
            for number, axes in enumerate(row):
                one = scores.sel(model=model).isel(axis=number)
                if not np.isfinite(one["mean"]).any():
                    axes.set_axis_off()
                    continue
                for condition in conditions:
                    line = one.sel(condition=condition)
                    axes.fill_between(line["window"], line["low"], line["high"], color=color[condition], alpha=0.25, linewidth=0)
                    axes.plot(line["window"], line["mean"], color=color[condition], linestyle=_line_style(conditions, condition))
                axes.set_title(f"{model}: {one['axis_name'].item()}")
                axes.set_xlabel(_GRID_LABEL.get(scores.attrs["grid"], scores.attrs["grid"]))
            row[0].set_ylabel("mean latent")
        handles = [Line2D([], [], color=color[name], linestyle=_line_style(conditions, name), label=name) for name in conditions]
        style.legend(figure, handles, title=scores.attrs["condition"])
        trials, condition = scores["trials"].sum("animal"), scores.attrs["condition"]
        style.caption(
            figure,
            f"Bands: {scores.attrs['interval']}. Split {scores.attrs['split']}, first seed; axes fitted on training trials.\n"
            f"Animals: {scores.sizes['animal']}; test trials of a {condition}: {int(trials.min())} to {int(trials.max())}.",
        )
    return figure


_GRID_LABEL = {"time": "time [s]"}
_LINE_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


def _cloud(axes: Axes, one: xr.Dataset, key: str, names: Sequence[str]) -> None:
    color, marker = style.colors(names), style.markers(names)
    for name in names:
        chosen = one[key].values == name
        axes.plot(
            one["x"].values[chosen],
            one["y"].values[chosen],
            linestyle="",
            marker=marker[name],
            color=color[name],
            markersize=2.5,
            markeredgewidth=0,
            alpha=0.7,
            rasterized=one.sizes["sample"] > RASTERIZED_FROM,
        )


def _handles(names: Sequence[str]) -> list[Line2D]:
    color, marker = style.colors(names), style.markers(names)
    return [Line2D([], [], color=color[name], marker=marker[name], linestyle="", markersize=3.5, label=name) for name in names]


def _line_style(conditions: Sequence[str], name: str) -> Literal["-", "--", ":", "-."]:
    """Give the names that share a color different lines."""
    return _LINE_STYLES[conditions.index(name) // 10 % len(_LINE_STYLES)]
