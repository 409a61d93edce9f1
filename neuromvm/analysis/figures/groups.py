"""Figures of the analysis ``groups``, drawn from its saved scores."""

import json

import numpy as np
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure

LEAST_COLUMNS = 3


def animals(scores: xr.Dataset) -> Figure:
    """Draw one dot an animal in both groups, their means, and the difference with its interval and p, one panel a setting."""
    names = [str(name) for name in scores["representation"].values]
    shown = [str(one) for one in scores["setting"].values if np.isfinite(scores["difference"].sel(comparison=one)).any()]
    color, marker = style.colors(names), style.markers(names)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 4.0), layout="constrained")
        grid = figure.subplots(2, max(1, len(shown)), squeeze=False, sharey="row", sharex="col", height_ratios=[1.5, 1])
        for column, setting in enumerate(shown):
            there = [name for name in names if np.isfinite(scores["difference"].sel(representation=name, comparison=setting))]
            for place, name in enumerate(there):
                one = scores.sel(representation=name)
                _dots(grid[0, column], place, one.sel(setting=setting), color[name])
                _difference(grid[1, column], place, one.sel(comparison=setting), color[name], marker[name])
            grid[0, column].set_title(setting)
            grid[1, column].axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
            grid[1, column].set_xticks(range(len(there)), there, rotation=90 if len(there) > LEAST_COLUMNS else 0)
            grid[1, column].set_xlim(-0.6, max(len(there), LEAST_COLUMNS) - 0.4)
        first, second = json.loads(scores.attrs["groups"])
        label = f" of {scores.attrs['label']}" if scores.attrs["label"] else ""
        grid[0, 0].set_ylabel(f"balanced accuracy{label}")
        grid[1, 0].set_ylabel(f"{first} − {second}")
        style.caption(
            figure,
            f"Top: animals; left, filled: {first}; right, open: {second}; lines: means. Bottom: difference with p and interval,\n"
            f"{_interval(scores)}. "
            f"{_null(scores, shown)}\n{_n(scores)}",
        )
    return figure


def blocks(scores: xr.Dataset) -> Figure:
    """Draw means over pairs of two animals, within and between groups, for each representation in which pairs exist."""
    names = [str(name) for name in scores["representation"].values]
    panels = [
        (name, str(matrix))
        for matrix in scores["matrix"].values
        for name in names
        if np.isfinite(scores["block"].sel(representation=name, matrix=matrix)).any()
    ]
    groups = [str(group) for group in scores["source_group"].values]
    columns = min(4, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    several = scores.sizes["matrix"] > 1
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 1.0 + 1.7 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        values = scores["block"].to_numpy()[np.isfinite(scores["block"].to_numpy())]
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        for place, (axes, (name, matrix)) in enumerate(zip(grid.flat, panels, strict=False)):
            block = scores["block"].sel(representation=name, matrix=matrix).to_numpy()
            image = axes.imshow(block, cmap="viridis", vmin=min(0.0, low), vmax=high)
            axes.set_title(f"{name}\n{matrix}" if several else name)
            axes.set_xticks(range(2), groups)
            axes.set_yticks(range(2), groups if place % columns == 0 else [], rotation=90, va="center")
            axes.tick_params(length=0)
            for (row, column), value in np.ndenumerate(block):
                if np.isfinite(value):
                    dark = value < (min(0.0, low) + high) / 2
                    axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        if panels:
            what = "balanced accuracy" if scores.attrs["analysis"] == "decoding" else "calibrated consistency"
            figure.colorbar(image, ax=grid, label=what, shrink=0.8)
            grid[0, 0].set_ylabel("decoder of" if scores.attrs["analysis"] == "decoding" else "from")
        pairs = [str(one) for one in scores["comparison"].values if one not in scores["setting"].values]
        style.caption(figure, f"Mean over pairs of two animals.\n{_null(scores, pairs)}\n{_n(scores)}")
    return figure


def _dots(axes: Axes, place: float, one: xr.Dataset, color: tuple[float, ...]) -> None:
    for side, group in enumerate(json.loads(one.attrs["groups"])):
        values = one["animal_value"].to_numpy()[one["group"].to_numpy() == group]
        x = place + (side - 0.5) * 0.36
        spread = np.linspace(-0.07, 0.07, len(values))
        axes.plot(x + spread, values, "o", color=color, markersize=3, markerfacecolor="white" if side else color)
        axes.hlines(values.mean(), x - 0.14, x + 0.14, color=color, linewidth=1.2)


def _difference(axes: Axes, place: float, one: xr.Dataset, color: tuple[float, ...], marker: str) -> None:
    if np.isfinite(one["null_low"]):
        axes.fill_between([place - 0.3, place + 0.3], float(one["null_low"]), float(one["null_high"]), color="0.85", linewidth=0)
    axes.vlines(place, float(one["low"]), float(one["high"]), color=color, linewidth=1.2)
    axes.plot(place, float(one["difference"]), marker=marker, color=color, markersize=4)
    if np.isfinite(one["p"]):
        top = np.nanmax([float(one["high"]), float(one["difference"]), float(one["null_high"])])
        text = f"{float(one['p']):.2g}".removeprefix("0")
        axes.annotate(text, (place, top), (0, 2), textcoords="offset points", ha="center", fontsize=5)


def _interval(scores: xr.Dataset) -> str:
    return str(scores.attrs["interval"]).split(";")[0]


def _null(scores: xr.Dataset, comparisons: list[str]) -> str:
    """Say what is permuted, how small p can be, and of figures without dots, the tests."""
    if scores.attrs["in_sample"]:
        return f"Null: {scores.attrs['null']}."
    smallest = float(scores["smallest_p"].max())
    said = f"Grey, p: {scores.attrs['null']}; p cannot be below {smallest:.2g}."
    tests = []
    for comparison in comparisons:
        if comparison in scores["setting"].values:
            continue
        each = scores.sel(comparison=comparison)
        found = [
            f"{name} {float(one['difference']):+.2f} (p={float(one['p']):.2g})"
            for name, one in ((str(name), each.sel(representation=name)) for name in scores["representation"].values)
            if np.isfinite(one["difference"])
        ]
        if found:
            tests.append(f"{_words(comparison, scores)}: {', '.join(found)}.")
    return "\n".join([said.replace("Grey, p", "p") if tests else said, *tests])


def _words(comparison: str, scores: xr.Dataset) -> str:
    first, second = json.loads(scores.attrs["groups"])
    return comparison.replace("own group", "pairs in a group − pairs of two").replace(
        "among", f"pairs in {first} − pairs in {second}"
    )


def _n(scores: xr.Dataset) -> str:
    """Say how many animals, and whether groups differ in what was recorded."""
    said = []
    for group in json.loads(scores.attrs["groups"]):
        one = scores.isel(animal=np.flatnonzero(scores["group"].to_numpy() == group))
        units, trials = float(one["units"].mean()), float(one["trials"].mean())
        said.append(f"{group}: {one.sizes['animal']} animals, each {units:.3g} units and {trials:.3g} test trials on average")
    return "; ".join(said) + "."
