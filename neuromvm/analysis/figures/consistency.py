"""Figures of the analysis ``consistency``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import side_names, write_numbers
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import shortened, tested_trials

TICKS = {"linear map": "linear\nmap", "new conditions": "new con-\nditions", "dissimilarities": "dissimi-\nlarities"}
TITLES = {
    "trials": "is anything shared?\n(null: test trials permuted)",
    "conditions": "are the same conditions alike?\n(null: labels exchanged)",
}


def calibrated(scores: xr.Dataset) -> Figure:
    """Draw every measure between its floor and its ceiling, under both nulls, beside R2 in-sample."""
    names, measures = _names(scores, "representation"), _names(scores, "measure")
    color, marker = style.colors(names), style.markers(names)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 3.3), layout="constrained")
        drawn = figure.subplots(1, 3, width_ratios=[2, 2, 1])
        for axes, null in zip(drawn[:2], _names(scores, "null"), strict=True):
            for place, measure in enumerate(measures):
                for rank, name in enumerate(names):
                    one = scores.sel(representation=name, measure=measure, null=null)
                    x = place + 0.8 * ((rank + 0.5) / len(names) - 0.5)
                    _point(axes, x, 0.36 / len(names), one, color[name], marker[name])
            for level in (0, 1):
                axes.axhline(level, color="0.4", linewidth=0.8, linestyle="--" if level == 0 else ":", zorder=1)
            axes.set_xticks(range(len(measures)), [TICKS.get(measure, measure) for measure in measures])
            axes.set_title(TITLES[null])
        drawn[1].sharey(drawn[0])
        drawn[0].set_ylabel("0: floor, 1: ceiling" if not scores.attrs["in_sample"] else "as scored, no floor")
        across = scores["in_sample_r2"].where(scores["source"] != scores["target"])
        for rank, name in enumerate(names):
            each = across.sel(representation=name).to_numpy()
            values = each[np.isfinite(each)]
            drawn[2].plot(rank + np.linspace(-0.2, 0.2, len(values)), values, ".", color=color[name], alpha=0.35, markersize=3)
            drawn[2].plot(rank, values.mean(), marker=marker[name], color=color[name], markersize=4)
        drawn[2].set_xticks([])
        drawn[2].set_ylim(-0.05, 1.05)
        drawn[2].set_title("R2 in-sample\n(to distrust)")
        features = scores["features"].mean("source")
        handles: list[Line2D | Patch] = [
            Line2D(
                [],
                [],
                color=color[name],
                marker=marker[name],
                markersize=4,
                label=f"{name} ({float(features.sel(representation=name)):.0f})",
            )
            for name in names
        ]
        handles.append(Patch(color="0.85", label="95 % of null"))
        style.legend(figure, handles, title="(dimensions)")
        style.caption(
            figure,
            f"Bars: {scores.attrs['interval']}; floor and ceiling as if known. "
            "Ceiling: an animal and itself on other trials; where permuted labels reach it, 1.\n"
            "Right: what a linear map explains of the class means it was fitted on; it rises with dimension, and is 1 on noise "
            "in as many\ndimensions as conditions. "
            f"Nulls: {scores.attrs['null_trials']};\n{scores.attrs['null_conditions']}.\n{_n(scores)}",
        )
    return figure


def pairs(scores: xr.Dataset) -> Figure:
    """Draw the value of every pair of animals, a row a measure and a column a representation."""
    names, measures = _names(scores, "representation"), _names(scores, "measure")
    prefix, animals = shortened(_names(scores, "source"))
    side = min(1.7, (style.DOUBLE - 1.2) / len(names))
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.8 + (side + 0.15) * len(measures)), layout="constrained")
        grid = figure.subplots(len(measures), len(names), squeeze=False)
        for row, measure in enumerate(measures):
            values = scores["pair_value"].sel(measure=measure)
            finite = values.to_numpy()[np.isfinite(values.to_numpy())]
            limits = min(0.0, float(finite.min())), max(1e-3, float(finite.max()))
            for column, name in enumerate(names):
                axes = grid[row, column]
                image = _matrix(axes, values.sel(representation=name).to_numpy(), limits)
                side_names(axes, animals, left=column == 0, bottom=row == len(measures) - 1)
                axes.set_title(name if row == 0 else "")
            grid[row, 0].set_ylabel(f"{measure}\nfrom")
            figure.colorbar(image, ax=list(grid[row]), shrink=0.8)
        for axes in grid[-1]:
            axes.set_xlabel("to")
        left_out = f" Names of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(figure, f"As scored, without floor and ceiling; mean over splits and seeds.{left_out}\n{_n(scores)}")
    return figure


def distances(scores: xr.Dataset) -> Figure:
    """Draw shape distances between animals in each representation, and between representations."""
    names = _names(scores, "representation")
    prefix, animals = shortened(_names(scores, "source"))
    panels = len(names) + (len(names) > 1)
    columns = min(4, panels)
    rows = -(-panels // columns)
    side = min(2.2, (style.DOUBLE - 1.2) / columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.9 + (side + 0.35) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        drawn = list(grid.flat)
        limits = 0.0, float(max(scores["distance"].max(), scores["model_distance"].max()))
        for place, (axes, name) in enumerate(zip(drawn, names, strict=False)):
            values = scores["distance"].sel(representation=name).to_numpy().copy()
            np.fill_diagonal(values, scores["own_distance"].sel(representation=name).to_numpy())
            image = _matrix(axes, values, limits)
            side_names(axes, animals, left=place % columns == 0, bottom=True)
            axes.set_title(name)
        if panels > len(names):
            image = _matrix(drawn[len(names)], scores["model_distance"].to_numpy(), limits)
            side_names(drawn[len(names)], names, left=True, bottom=True)
            drawn[len(names)].set_title("between representations")
        for axes in drawn[panels:]:
            axes.set_axis_off()
        figure.colorbar(image, ax=grid, label="shape distance [rad]", shrink=0.8)
        left_out = f" Names of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            "Angle between class means of held-out trials after the best rotation; 0: same shape. Diagonal: an animal's held-out "
            "and fitted trials,\nwhat noise alone makes. Noise in many dimensions makes shapes alike: compare with the diagonal."
            f"{left_out}\n"
            f"{_n(scores)}",
        )
    return figure


def _point(axes: Axes, x: float, width: float, one: xr.Dataset, color: tuple[float, ...], marker: str) -> None:
    if not np.isfinite(one["null_mean"]):
        axes.vlines(x, float(one["low"]), float(one["high"]), color=color, linewidth=1.2)
        axes.plot(x, float(one["value"]), marker=marker, color=color, markersize=4)
        return
    room = float(one["reach"] - one["null_mean"])
    low, high = (float(one[key] - one["null_mean"]) / room for key in ("null_low", "null_high"))
    axes.fill_between([x - width, x + width], low, high, color="0.85", linewidth=0, zorder=0)
    axes.vlines(x, float(one["calibrated_low"]), float(one["calibrated_high"]), color=color, linewidth=1.2)
    axes.plot(x, float(one["calibrated"]), marker=marker, color=color, markersize=4)


def _matrix(axes: Axes, values: np.ndarray, limits: tuple[float, float]) -> AxesImage:
    image = axes.imshow(values, cmap="viridis", vmin=limits[0], vmax=limits[1])
    write_numbers(axes, values, sum(limits) / 2)
    return image


def _names(scores: xr.Dataset, dim: str) -> list[str]:
    return [str(name) for name in scores[dim].values]


def _n(scores: xr.Dataset) -> str:
    windows = scores.attrs["conditions"] // scores.attrs["labels"]
    return (
        f"Animals: {scores.sizes['source']}; {tested_trials(scores.attrs)}: {int(scores['trials'].sum())}; conditions: "
        f"{scores.attrs['labels']} labels{f' by {windows} windows' if windows > 1 else ''}; splits: {scores.attrs['splits']}."
    )
