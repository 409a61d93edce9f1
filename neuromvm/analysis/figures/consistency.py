"""Figures of the analysis ``consistency``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import draw_matrix
from neuromvm.analysis.figures.palettes import METHODS, OTHERS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import shortened, tested_trials, without_prefix

TICKS = {"linear map": "linear\nmap", "new conditions": "new con-\nditions", "dissimilarities": "dissimi-\nlarities"}
TITLES = {
    "trials": "is anything shared?\n(null: test trials permuted)",
    "conditions": "are the same conditions alike?\n(null: labels exchanged)",
}


@style.applied()
def calibrated(scores: xr.Dataset) -> Figure:
    """Draw every measure between its floor and its ceiling, under both nulls, beside R2 in-sample."""
    names = style.names_of(scores)
    figure, panels = style.page(3.3, 1, 3, width_ratios=[2, 2, 1])
    for axes, null in zip(panels[:2], style.names_of(scores, "null"), strict=True):
        _measures(axes, scores.sel(null=null))
        axes.set_title(TITLES[null])
    panels[1].sharey(panels[0])
    panels[0].set_ylabel("0: floor, 1: ceiling" if not scores.attrs["in_sample"] else "as scored, no floor")
    _in_sample(panels[2], scores)
    features = scores["features"].mean("source").sel(representation=names)
    labels = [f"{name} ({dimensions:.0f})" for name, dimensions in zip(names, features.values, strict=True)]
    handles = [*METHODS.handles(names, labels), Patch(color="0.85", label="95 % of null")]
    style.legend(figure, handles, title="(dimensions)")
    return style.caption(
        figure,
        f"Bars: {scores.attrs['interval']}; floor and ceiling as if known. "
        "Ceiling: an animal and itself on other trials; where permuted labels reach it, 1.\n"
        "Right: what a linear map explains of the class means it was fitted on; it rises with dimension, and is 1 on noise "
        "in as many\ndimensions as conditions. "
        f"Nulls: {scores.attrs['null_trials']};\n{scores.attrs['null_conditions']}.\n{_n(scores)}",
        "How alike animals are by each measure, between its floor and its ceiling, under two nulls, beside the fit in-sample.",
        scores[[name for name in scores.data_vars if set(scores[name].dims) <= {"representation", "measure", "null"}]],
    )


@style.applied()
def pairs(scores: xr.Dataset) -> Figure:
    """Draw the value of every pair of animals, with measures in rows and representations in columns."""
    names, measures = style.names_of(scores), style.names_of(scores, "measure")
    prefix, animals = shortened(style.names_of(scores, "source"))
    side = min(1.7, (style.DOUBLE - 1.2) / len(names))
    figure, grid = style.page(0.8 + (side + 0.15) * len(measures), len(measures), len(names), squeeze=False)
    for panels, measure in zip(grid, measures, strict=True):
        values = scores["pair_value"].sel(measure=measure)
        limits = min(0.0, float(values.min())), max(1e-3, float(values.max()))
        for axes, name in zip(panels, names, strict=True):
            matrix = values.sel(representation=name).to_numpy()
            image = draw_matrix(axes, matrix, limits, animals, left=axes is panels[0], bottom=measure == measures[-1])
            axes.set_title(name if measure == measures[0] else "")
        panels[0].set_ylabel(f"{measure}\nfrom")
        figure.colorbar(image, ax=list(panels), shrink=0.8)
    for axes in grid[-1]:
        axes.set_xlabel("to")
    words = f"As scored, without floor and ceiling; mean over splits and seeds.{without_prefix(prefix)}"
    shows = "How alike each two animals are by each measure (rows of panels), a column of panels for each method."
    return style.caption(figure, f"{words}\n{_n(scores)}", shows, scores[["pair_value"]])


@style.applied()
def distances(scores: xr.Dataset) -> Figure:
    """Draw shape distances between animals in each representation, and between representations."""
    names = style.names_of(scores)
    prefix, animals = shortened(style.names_of(scores, "source"))
    matrices = []
    for name in names:
        matrix = scores["distance"].sel(representation=name).to_numpy().copy()
        np.fill_diagonal(matrix, scores["own_distance"].sel(representation=name).to_numpy())
        matrices.append((name, matrix, animals))
    if len(names) > 1:
        matrices.append(("between representations", scores["model_distance"].to_numpy(), names))
    side = min(2.2, (style.DOUBLE - 1.2) / min(4, len(matrices)))
    limits = 0.0, float(max(scores["distance"].max(), scores["model_distance"].max()))
    figure, panels = style.panels(len(matrices), 4, 0.9, side + 0.35)
    for (axes, is_left, _), (title, matrix, sides) in zip(panels, matrices, strict=True):
        image = draw_matrix(axes, matrix, limits, sides, left=is_left or sides is names)
        axes.set_title(title)
    figure.colorbar(image, ax=figure.axes, label="shape distance [rad]", shrink=0.8)
    return style.caption(
        figure,
        "Angle between class means of held-out trials after the best rotation; 0: same shape. Diagonal: an animal's held-out "
        "and fitted trials,\nwhat noise alone makes. Noise in many dimensions makes shapes alike: compare with the diagonal."
        f"{without_prefix(prefix)}\n{_n(scores)}",
        "Shape distance of the class means of each two animals, a matrix for each method, and between methods.",
        style.only(scores, "distance", "own_distance", "model_distance"),
    )


@style.applied()
def without_units(scores: xr.Dataset) -> Figure:
    """Draw every measure over the number of units left out, of the most influential units and of units at random."""
    measures, numbers = style.names_of(scores, "measure"), scores["left_out"].to_numpy()
    names = ["most influential", "at random"]
    color = OTHERS.colors(names)
    figure, panels = style.panels(len(measures), 4, 0.9, 2.2)
    for (axes, is_left, _), measure in zip(panels, measures, strict=True):
        score = scores.sel(measure=measure)
        whole = float((score["without_value"] + score["fall"])[0])
        mean, low, high = (np.append(whole, whole - score[f"fall_null_{key}"]) for key in ("mean", "high", "low"))
        axes.plot([0, *numbers], np.append(whole, score["without_value"]), "o-", markersize=3, color=color[names[0]])
        axes.plot([0, *numbers], mean, "--", color=color[names[1]])
        axes.fill_between([0, *numbers], low, high, color=color[names[1]], alpha=0.25, linewidth=0)
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle=":")
        axes.set(title=measure, xlabel="units left out", ylabel="as scored" if is_left else "")
    style.legend(figure, OTHERS.handles(names, marked=False))
    return style.caption(
        figure,
        "Score of raw activity between animals without units of each animal, ranked on training trials; band: 95 % of\n"
        f"{scores.attrs['null_units']}.\n{_n(scores)}",
        "How alike animals stay by each measure when their most influential units are left out, or units at random.",
        style.only(scores, "without_value", "fall", "fall_null_mean", "fall_null_low", "fall_null_high"),
    )


def _measures(axes: Axes, scores: xr.Dataset) -> None:
    """Draw the representations side by side at each measure, under one null."""
    names, measures = style.names_of(scores), style.names_of(scores, "measure")
    color, marker = METHODS.colors(names), METHODS.markers(names)
    for tick, measure in enumerate(measures):
        for rank, name in enumerate(names):
            score = scores.sel(representation=name, measure=measure)
            x, width = tick + style.aside(rank, len(names), 0.8), 0.36 / len(names)
            prefix = ""
            if np.isfinite(score["null_mean"]):
                prefix, scale = "calibrated_", float(score["reach"] - score["null_mean"])
                low, high = (float(score[key] - score["null_mean"]) / scale for key in ("null_low", "null_high"))
                axes.fill_between([x - width, x + width], low, high, color="0.85", linewidth=0, zorder=0)
            keys = ("calibrated" if prefix else "value", f"{prefix}low", f"{prefix}high")
            style.point(axes, x, *(float(score[key]) for key in keys), color=color[name], marker=marker[name])
    axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=1)
    axes.axhline(1, color="0.4", linewidth=0.8, linestyle=":", zorder=1)
    axes.set_xticks(range(len(measures)), [TICKS.get(measure, measure) for measure in measures])


def _in_sample(axes: Axes, scores: xr.Dataset) -> None:
    """Draw R2 in-sample of every pair of animals and the mean, a column for each representation."""
    names = style.names_of(scores)
    color, marker = METHODS.colors(names), METHODS.markers(names)
    across = scores["in_sample_r2"].where(scores["source"] != scores["target"])
    for rank, name in enumerate(names):
        values = across.sel(representation=name).to_numpy()
        values = values[np.isfinite(values)]
        axes.plot(rank + np.linspace(-0.2, 0.2, len(values)), values, ".", color=color[name], alpha=0.35, markersize=3)
        axes.plot(rank, values.mean(), marker=marker[name], color=color[name], markersize=4)
    axes.set(xticks=[], ylim=(-0.05, 1.05), title="R2 in-sample\n(to distrust)")


def _n(scores: xr.Dataset) -> str:
    windows = scores.attrs["conditions"] // scores.attrs["labels"]
    return (
        f"Animals: {scores.sizes['source']}; {tested_trials(scores.attrs)}: {int(scores['trials'].sum())}; conditions: "
        f"{scores.attrs['labels']} labels{f' by {windows} windows' if windows > 1 else ''}; splits: {scores.attrs['splits']}."
    )
