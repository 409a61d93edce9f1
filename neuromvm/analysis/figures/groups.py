"""Figures of the analysis ``groups``, drawn from its saved scores."""

import json

import numpy as np
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import write_numbers
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import signed

LEAST_COLUMNS = 3


@style.applied()
def animals(scores: xr.Dataset) -> Figure:
    """Draw all animals of both groups, their means, and the difference with its interval and p, a panel for each setting."""
    names = style.names_of(scores)
    tested = scores["difference"].notnull().sel(comparison=scores["setting"].values)
    settings = [setting for setting in style.names_of(scores, "setting") if tested.sel(comparison=setting).any()]
    color, marker = METHODS.colors(names), METHODS.markers(names)
    columns = max(1, len(settings))
    figure, grid = style.page(4.0, 2, columns, squeeze=False, sharey="row", sharex="col", height_ratios=[1.5, 1])
    for (top, bottom), setting in zip(grid.T, settings, strict=False):
        shown = [name for name in names if tested.sel(representation=name, comparison=setting)]
        for x, name in enumerate(shown):
            score = scores.sel(representation=name)
            _dots(top, x, score.sel(setting=setting), color[name])
            _difference(bottom, x, score.sel(comparison=setting), color[name], marker[name])
        top.set_title(setting)
        bottom.axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
        bottom.set_xticks(range(len(shown)), shown, rotation=90 if len(shown) > LEAST_COLUMNS else 0)
        bottom.set_xlim(-0.6, max(len(shown), LEAST_COLUMNS) - 0.4)
    group, reference = json.loads(scores.attrs["groups"])
    label = f" of {scores.attrs['label']}" if scores.attrs["label"] else ""
    grid[0, 0].set_ylabel(f"balanced accuracy{label}")
    grid[1, 0].set_ylabel(f"{group} − {reference}")
    return style.caption(
        figure,
        f"Top: animals; left, filled: {group}; right, open: {reference}; lines: means. Bottom: difference with p and "
        f"interval,\n{scores.attrs['interval'].split(';')[0]}. {_null(scores, settings)}\n{_n(scores)}",
        f"Scores of the animals of {group} and {reference}, and the difference of their means, by method and setting.",
        style.only(scores, "animal_value", "difference", "low", "high", "null_low", "null_high", "p"),
    )


@style.applied()
def blocks(scores: xr.Dataset) -> Figure:
    """Draw means over pairs of two animals, within and between groups, for each representation in which pairs exist."""
    values = scores["block"].stack(panel=("matrix", "representation")).dropna("panel", how="all").transpose("panel", ...)
    panels = [(str(name), str(matrix)) for matrix, name in values["panel"].values]
    groups = style.names_of(scores, "source_group")
    limits = (min(0.0, float(values.min())), float(values.max())) if panels else (0.0, 1.0)
    decoded = scores.attrs["analysis"] == "decoding"
    figure, grid = style.panels(len(panels), 4, 1.0, 1.7)
    for (axes, is_left, _), (name, matrix), block in zip(grid, panels, values.to_numpy(), strict=True):
        image = axes.imshow(block, cmap="viridis", vmin=limits[0], vmax=limits[1])
        axes.set_xticks(range(2), groups)
        axes.set_yticks(range(2), groups if is_left else [], rotation=90, va="center")
        axes.tick_params(length=0)
        write_numbers(axes, block, lambda value: value >= sum(limits) / 2, fontsize=7)
        axes.set_title(f"{name}\n{matrix}" if scores.sizes["matrix"] > 1 else name)
    if panels:
        figure.colorbar(image, ax=figure.axes, label="balanced accuracy" if decoded else "calibrated consistency", shrink=0.8)
        grid[0].axes.set_ylabel("decoder of" if decoded else "from")
    comparisons = [name for name in style.names_of(scores, "comparison") if name not in scores["setting"].values]
    return style.caption(
        figure,
        f"Mean over pairs of two animals.\n{_null(scores, comparisons)}\n{_n(scores)}",
        f"Mean score of pairs of two animals within and between {groups[0]} and {groups[-1]}, a matrix for each method.",
        style.only(scores, "block"),
    )


def _dots(axes: Axes, x: float, score: xr.Dataset, color: tuple[float, ...]) -> None:
    """Draw the animals of both groups, left and right of ``x``, with their means."""
    for side, group in enumerate(json.loads(score.attrs["groups"])):
        values = score["animal_value"].to_numpy()[score["group"].to_numpy() == group]
        center = x + (side - 0.5) * 0.36
        spread = np.linspace(-0.07, 0.07, len(values))
        axes.plot(center + spread, values, "o", color=color, markersize=3, markerfacecolor="white" if side else color)
        axes.hlines(values.mean(), center - 0.14, center + 0.14, color=color, linewidth=1.2)


def _difference(axes: Axes, x: float, score: xr.Dataset, color: tuple[float, ...], marker: str) -> None:
    """Draw the difference with its interval, its null and p."""
    value, low, high, null_low, null_high, p = (
        float(score[key]) for key in ("difference", "low", "high", "null_low", "null_high", "p")
    )
    if np.isfinite(null_low):
        axes.fill_between([x - 0.3, x + 0.3], null_low, null_high, color="0.85", linewidth=0)
    style.point(axes, x, value, low, high, color=color, marker=marker)
    if np.isfinite(p):
        top = (x, np.nanmax([high, value, null_high]))
        axes.annotate(f"{p:.2g}".removeprefix("0"), top, (0, 2), textcoords="offset points", ha="center", fontsize=5)


def _null(scores: xr.Dataset, comparisons: list[str]) -> str:
    """Say what is permuted and how small p can be, and list the tests of comparisons that are not drawn."""
    if scores.attrs["in_sample"]:
        return f"Null: {scores.attrs['null']}."
    group, reference = json.loads(scores.attrs["groups"])
    tests = []
    for comparison in (name for name in comparisons if name not in scores["setting"].values):
        known = scores.sel(comparison=comparison).dropna("representation", subset=["difference"])
        results = [
            f"{name} {signed(float(difference))} (p={float(p):.2g})"
            for name, difference, p in zip(known["representation"].values, known["difference"], known["p"], strict=True)
        ]
        words = comparison.replace("own group", "pairs in a group − pairs of two")
        words = words.replace("among", f"pairs in {group} − pairs in {reference}")
        if results:
            tests.append(f"{words}: {', '.join(results)}.")
    null = f"{'' if tests else 'Grey, '}p: {scores.attrs['null']}; p cannot be below {float(scores['smallest_p'].max()):.2g}."
    return "\n".join([null, *tests])


def _n(scores: xr.Dataset) -> str:
    """Return the number of animals, units and trials of each group."""
    words = []
    for group in json.loads(scores.attrs["groups"]):
        of_group = scores.isel(animal=np.flatnonzero(scores["group"].to_numpy() == group))
        means = f"{float(of_group['units'].mean()):.3g} units and {float(of_group['trials'].mean()):.3g} test trials on average"
        words.append(f"{group}: {of_group.sizes['animal']} animals, each {means}")
    return "; ".join(words) + "."
