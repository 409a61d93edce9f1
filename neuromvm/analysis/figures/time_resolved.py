"""Figures of the analysis ``time_resolved``, drawn from its saved scores."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import ANIMALS, METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted, tested_trials

COLUMNS = 3  # panels in a row
HEIGHT = 2.2  # of a row of panels [inch]
FINE = 20  # parts of a cell, so that outlines follow the edges of cells
WIDTHS = {"cluster_p": ("cluster", 2.5), "p_max": ("window by itself", 1.0)}  # names and widths of bars
Panel = tuple[str, str, xr.Dataset]  # representation, setting and their scores
OWN_WINDOW = "trained and tested in the same window"


@style.applied()
def curves(scores: xr.Dataset) -> Figure:
    """Draw the mean over animals of each representation and setting, with interval, null and significant windows."""
    shown = list(_panels(scores))
    figure, grid = _figure(len(shown), sharey=True)
    color = METHODS.colors(style.names_of(scores))
    for (axes, *_), (name, _, panel) in zip(grid, shown, strict=True):
        line = panel.dropna("window", subset=["value"])
        axes.fill_between(line["window"], line["null_low"], line["null_high"], color="0.85", linewidth=0)
        axes.fill_between(line["window"], line["low"], line["high"], color=color[name], alpha=0.3, linewidth=0)
        axes.plot(line["window"], line["value"], color=color[name])
        _marks(axes, scores, panel)
    limits = _limits(grid[0].axes)
    for (axes, *_), (name, _, panel) in zip(grid, shown, strict=True):
        for row, (key, (_, width)) in enumerate(WIDTHS.items()):
            _bars(axes, panel[key], limits, scores.attrs["level"], row, color=color[name], linewidth=width)
    _labels(grid, scores, shown, _grid_label(scores), "balanced accuracy")
    style.legend(figure, _keys(scores))
    return style.caption(
        figure,
        f"{OWN_WINDOW.capitalize()}, mean over animals. {_bands(scores)}\n{_numbers(scores)}",
        f"Balanced accuracy of {scores.attrs['label']} over the {scores.attrs['grid_name']} of the trial, mean over animals, a "
        "panel for each method and setting.",
        style.only(scores, *_of_curves("")),
    )


@style.applied()
def animals(scores: xr.Dataset) -> Figure:
    """Draw the same for each animal, one line each, with the windows of its significant clusters below."""
    shown, names = list(_panels(scores)), style.names_of(scores, "target")
    figure, grid = _figure(len(shown), sharey=True)
    color, line_style = ANIMALS.colors(names), ANIMALS.line_styles(names)
    for (axes, *_), (_, _, panel) in zip(grid, shown, strict=True):
        _marks(axes, scores, panel)
        for target in names:
            line = panel["target_value"].sel(target=target).dropna("window")
            axes.plot(line["window"], line, color=color[target], linestyle=line_style[target])
    limits = _limits(grid[0].axes)
    for (axes, *_), (_, _, panel) in zip(grid, shown, strict=True):
        for row, target in enumerate(names):
            p = panel["target_cluster_p"].sel(target=target)
            _bars(axes, p, limits, scores.attrs["level"], row, color=color[target], linewidth=2.5)
    _labels(grid, scores, shown, _grid_label(scores), "balanced accuracy")
    style.legend(figure, ANIMALS.handles(names, marked=False), title="animal")
    bars = "" if scores.attrs["in_sample"] else f" Bars: clusters with p ≤ {scores.attrs['level']:g}, corrected for windows."
    text = f"{OWN_WINDOW.capitalize()}.{bars} Intervals and nulls of each animal: in the CSV.\n{_numbers(scores)}"
    shows = f"Balanced accuracy of {scores.attrs['label']} over the {scores.attrs['grid_name']} of the trial, a line each animal."
    return style.caption(figure, text, shows, style.only(scores, *_of_curves("target_")))


@style.applied()
def generalization(scores: xr.Dataset) -> Figure:
    """Draw accuracy of every training window in every test window, significant clusters outlined."""
    shown = list(_panels(scores))
    chance = float(scores["chance"].mean())
    far = max(float(np.abs(scores["generalization"] - chance).max()), 1e-3)
    figure, grid = _figure(len(shown))
    for (axes, *_), (_, _, panel) in zip(grid, shown, strict=True):
        matrix = panel["generalization"].dropna("train_window", how="all").dropna("test_window", how="all")
        centres = matrix["test_window"].to_numpy()
        half = _half_step(centres)
        extent = (centres[0] - half, centres[-1] + half, centres[0] - half, centres[-1] + half)
        image = axes.imshow(matrix, origin="lower", extent=extent, cmap="RdBu_r", interpolation="nearest")
        image.set_clim(chance - far, chance + far)
        p = panel["generalization_cluster_p"].sel(train_window=centres, test_window=centres).to_numpy()
        inside = np.kron(np.nan_to_num(p, nan=1) <= scores.attrs["level"], np.ones((FINE, FINE)))
        if inside.any() and not inside.all():
            axes.contour(inside, levels=[0.5], extent=extent, colors="black", linewidths=0.8)
        axes.plot(extent[:2], extent[:2], ":", color="0.3", linewidth=0.6)
        if scores.attrs["grid"] == "time" and extent[0] < 0 < extent[1]:
            axes.axvline(0, color="0.3", linewidth=0.6)
            axes.axhline(0, color="0.3", linewidth=0.6)
    unit = "time [s]" if scores.attrs["grid"] == "time" else scores.attrs["grid"]
    _labels(grid, scores, shown, f"test {unit}", f"training {unit}")
    bar = figure.colorbar(image, ax=figure.axes, label="balanced accuracy", shrink=0.8)
    bar.ax.set_ylim(max(chance - far, 0), min(chance + far, 1))
    outlined = "" if scores.attrs["in_sample"] else f" Outlined: clusters with p ≤ {scores.attrs['level']:g}, corrected."
    null = _null(scores, "generalization_null_kind")
    text = f"Mean over animals; white: chance; dots: {OWN_WINDOW}.{outlined}\n{null}\n{_numbers(scores)}"
    shows = f"Balanced accuracy of {scores.attrs['label']}: decoders of one window applied to every window of test trials."
    drawn = ["generalization", "generalization_p_max", "generalization_cluster_p", "chance", "trials"]
    return style.caption(figure, text, shows, style.only(scores, *drawn))


def _of_curves(prefix: str) -> list[str]:
    """Return the variables of the curves of the mean over animals, or with a prefix of each animal."""
    shown = ("value", "low", "high", "null_mean", "null_low", "null_high", "p", "p_max", "cluster_p")
    return [*(f"{prefix}{key}" for key in shown), "chance", "trials"]


def _panels(scores: xr.Dataset) -> Iterator[Panel]:
    """Yield representation, setting and their scores, where there are any."""
    for name, setting in itertools.product(style.names_of(scores), style.names_of(scores, "setting")):
        panel = scores.sel(representation=name, setting=setting)
        if np.isfinite(panel["value"]).any():
            yield name, setting, panel


def _figure(panels: int, *, sharey: bool = False) -> tuple[Figure, list[style.Panel]]:
    width = style.SINGLE + 1 if panels == 1 else style.DOUBLE
    return style.panels(panels, COLUMNS, 0.7, HEIGHT, width=width, sharey=sharey)


def _labels(grid: list[style.Panel], scores: xr.Dataset, shown: Sequence[Panel], x: str, y: str) -> None:
    """Title each panel with its numbers of trials and splits; label axes on the left and in the lowest panel of a column."""
    for (axes, is_left, is_bottom), (name, setting, panel) in zip(grid, shown, strict=True):
        number = f"{int(panel['trials'].sum())} {tested_trials(scores.attrs)}, {counted(int(panel['splits']), 'split')}"
        caveat = "\neach point sees the whole trial" if panel["whole_trial"] else ""
        axes.set_title(f"{name}, {setting}\n{number}{caveat}")
        axes.set(xlabel=x if is_bottom else "", ylabel=y if is_left else "")


def _grid_label(scores: xr.Dataset) -> str:
    return f"{scores.attrs['grid_name']}{' [s]' if scores.attrs['grid'] == 'time' else ''}"


def _marks(axes: Axes, scores: xr.Dataset, panel: xr.Dataset) -> None:
    """Draw chance and the event."""
    axes.axhline(float(panel["chance"]), color="0.3", linestyle=":", linewidth=0.8)
    if scores.attrs["grid"] == "time" and float(panel["window"].min()) < 0 < float(panel["window"].max()):
        axes.axvline(0, color="0.3", linewidth=0.6)


def _limits(axes: Axes) -> tuple[float, float]:
    """Return the limits of accuracy after all curves are drawn, and put no ticks beyond them."""
    bottom, top = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick <= top])
    return bottom, top


def _bars(axes: Axes, p: xr.DataArray, limits: tuple[float, float], level: float, row: int, **look: Any) -> None:
    """Draw a row of bars below all curves, where p is at most the level."""
    space, p = 0.05 * (limits[1] - limits[0]), p.dropna("window")
    centres = p["window"].to_numpy()
    half, significant = _half_step(centres), centres[p.to_numpy() <= level]
    axes.hlines(np.full(len(significant), limits[0] - row * space), significant - half, significant + half, **look)
    axes.set_ylim(min(axes.get_ylim()[0], limits[0] - (row + 1) * space), limits[1])


def _half_step(centres: np.ndarray) -> float:
    return float(centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.5


def _keys(scores: xr.Dataset) -> list[Artist]:
    chance = Line2D([], [], color="0.3", linestyle=":", linewidth=0.8, label="chance")
    bars = (Line2D([], [], color="0.3", linewidth=width, label=label) for label, width in WIDTHS.values())
    return [chance] if scores.attrs["in_sample"] else [chance, Patch(color="0.85", label="null, 95 %"), *bars]


def _bands(scores: xr.Dataset) -> str:
    """Write what bands and bars are."""
    bands = f"Colored bands: {scores.attrs['interval']}."
    if scores.attrs["in_sample"]:
        return bands
    return (
        f"{bands}\n{_null(scores)}\nBars: p ≤ {scores.attrs['level']:g}, corrected for all windows; a cluster says that "
        "there is something, not where it begins."
    )


def _null(scores: xr.Dataset, kind: str = "null_kind") -> str:
    if scores.attrs["in_sample"]:
        return "No null: the scored trials were fitted on."
    kinds = dict.fromkeys(str(panel[kind].item()) for _, _, panel in _panels(scores))
    return f"Null: {scores.attrs['permutations']} draws; " + ";\n".join(kinds) + "."


def _numbers(scores: xr.Dataset) -> str:
    animals = int((scores["trials"].max(["representation", "setting"]) > 0).sum())
    names, widths = scores["representation"].values, scores["width"].values
    windows = ", ".join(f"{name} {width:g}" for name, width in zip(names, widths, strict=True))
    return (
        f"{counted(animals, 'animal')}; decoded: {scores.attrs['label']}; {_grid_label(scores)} is the centre of windows; "
        f"their width: {windows}"
    )
