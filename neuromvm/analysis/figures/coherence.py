"""Figures of the analysis ``coherence``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import false_discovery_control

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, side_names, without_zero
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import numbers_of, shortened

LEVEL = 0.05  # false discovery rate at which a pair is marked


def settings(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of generated activity in every setting, with interval, both floors and chance."""
    names = [str(name) for name in scores["representation"].values]
    shown = [str(one) for one in scores["setting"].values if np.isfinite(scores["value"].sel(setting=one)).any()]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.9), layout="constrained")
        axes = figure.subplots()
        color, marker = style.colors(names), style.markers(names)
        for place, setting in enumerate(shown):
            for rank, name in enumerate(names):
                one = scores.sel(representation=name, setting=setting)
                if not np.isfinite(one["value"]):
                    continue
                x = place + 0.7 * ((rank + 0.5) / len(names) - 0.5)
                half = 0.25 / len(names)
                for null, shade in (("renamed", "0.92"), ("null", "0.75")):
                    if null == "null" or setting in ("cross", "imputed"):
                        low, high = float(one[f"{null}_low"]), float(one[f"{null}_high"])
                        axes.fill_between([x - half, x + half], low, high, color=shade, linewidth=0, zorder=0)
                axes.vlines(x, float(one["low"]), float(one["high"]), color=color[name], linewidth=1.2)
                axes.plot(x, float(one["value"]), marker=marker[name], color=color[name], markersize=4)
        axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)
        axes.set_xticks(range(len(shown)), [{"ceiling": "real activity\n(ceiling)"}.get(one, one) for one in shown])
        axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
        axes.set_ylim(bottom=0)
        handles: list[Artist] = [
            Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names
        ]
        renamed = bool(np.isfinite(scores["renamed_high"]).any())
        if scores.attrs["permutations"]:
            handles.append(Patch(color="0.75", label="permuted labels"))
        if renamed:
            handles.append(Patch(color="0.92", label="renamed classes"))
        handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {scores.attrs['chance']:.3g}"))
        style.legend(figure, handles)
        greys = (
            f"Dark grey: 95 % of {scores.attrs['floor']}.\n"
            if scores.attrs["permutations"]
            else f"Floor: {scores.attrs['floor']}.\n"
        )
        if renamed:
            greys += "Light grey: the same with the classes of each animal renamed.\n"
        style.caption(
            figure,
            f"Class that a {scores.attrs['classifier']} classifier of real activity gives to generated activity. "
            f"Bars: {scores.attrs['interval']}.\n{greys}{numbers_of(scores)}.",
        )
    return figure


def pairs(scores: xr.Dataset) -> Figure:
    """Draw, for every model, balanced accuracy by source of the latent and by animal that is generated."""
    names = [str(name) for name in scores["representation"].values]
    prefix, animals = shortened([str(animal) for animal in scores["target"].values])
    columns = min(4 if len(animals) <= CELLS_WITH_NUMBERS else 2, len(names))
    rows = -(-len(names) // columns)
    side = min(2.8, (style.DOUBLE - 1.3) / columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 1.7 + (side + 0.2) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        top = float(scores["pair_value"].max())
        for place, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
            one = scores.sel(representation=name)
            matrix = one["pair_value"].transpose("source", "target").to_numpy()
            image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=top)
            axes.set_title(name)
            side_names(
                axes,
                animals,
                left=place % columns == 0,
                bottom=place + columns >= len(names),
                row="latents of",
                column="generated for",
            )
            _mark(axes, matrix, top, _found(one["pair_p"].transpose("source", "target").to_numpy()))
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.5 / (side * rows)), label="balanced accuracy")
        bar.ax.axhline(scores.attrs["chance"], color="white", linewidth=1.2)
        left_out = f" Names of animals without their common beginning, {prefix}." if prefix else ""
        dots = (
            f"Dots: above permuted labels at a false discovery rate of {LEVEL:g} over the pairs of different animals"
            f" of a model.\nA model whose animals share nothing has dots too, where it names the classes right by luck.\n"
            if scores.attrs["permutations"]
            else ""
        )
        style.caption(
            figure,
            f"Mean over splits. White line: chance, {scores.attrs['chance']:.3g}.{left_out}\n{dots}{numbers_of(scores)}.",
        )
    return figure


def skill(scores: xr.Dataset) -> Figure:
    """Draw how much nearer imputed activity is to an animal's trials than the mean of their condition."""
    names = [str(name) for name in scores["representation"].values]
    prefix, animals = shortened([str(animal) for animal in scores["target"].values])
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
        axes = figure.subplots()
        color, marker = style.colors(names), style.markers(names)
        for rank, name in enumerate(names):
            one = scores.sel(representation=name)
            x = np.arange(len(animals)) + 0.7 * ((rank + 0.5) / len(names) - 0.5)
            axes.vlines(x, one["skill_low"], one["skill_high"], color=color[name], linewidth=1.2)
            axes.plot(x, one["skill"], marker[name], color=color[name], markersize=4, label=name)
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(animals)), animals, rotation=90 if len(animals) > CELLS_WITH_NUMBERS else 0)
        axes.set_ylabel("skill of imputed activity")
        handles: list[Artist] = [
            Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names
        ]
        handles.append(Line2D([], [], color="0.4", linestyle="--", label="condition mean"))
        style.legend(figure, handles)
        left_out = f"\nNames of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            "1 - error of activity imputed from all other animals over that of the condition mean of training-side trials.\n"
            "Unless animals share events, the condition mean is the best that can be reached, at 0.\n"
            f"Bars: {scores.attrs['skill_interval']}.{left_out}\n{numbers_of(scores)}.",
        )
    return figure


def _found(p: np.ndarray) -> np.ndarray:
    """Say which pairs of different animals are above the null at the false discovery rate."""
    across = ~np.eye(len(p), dtype=bool) & np.isfinite(p)
    found = np.zeros(p.shape, dtype=bool)
    if across.any():
        found[across] = false_discovery_control(p[across]) <= LEVEL
    return found


def _mark(axes: Axes, matrix: np.ndarray, top: float, found: np.ndarray) -> None:
    numbers = len(matrix) <= CELLS_WITH_NUMBERS
    for (row, column), value in np.ndenumerate(matrix):
        if not np.isfinite(value):
            continue
        color = "black" if value > 0.6 * top else "white"
        if numbers:
            axes.text(column, row, without_zero(value), ha="center", va="center", fontsize=5, color=color)
        if found[row, column]:
            axes.plot(column, row + (0.32 if numbers else 0), ".", color=color, markersize=2, markeredgewidth=0)
