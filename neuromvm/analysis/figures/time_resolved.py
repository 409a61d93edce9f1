"""Figures of the analysis ``time_resolved``, drawn from its saved scores."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted, tested_trials

COLUMNS = 3  # panels in a row
HEIGHT = 2.2  # of a row of panels [inch]
FINE = 20  # parts of a cell, so that outlines follow the edges of cells
Panel = tuple[str, str, xr.Dataset]  # representation, setting and their scores
OWN_WINDOW = "trained and tested in the same window"


def curves(scores: xr.Dataset) -> Figure:
    """Draw the mean over animals of each representation and setting, with interval, null and significant windows."""
    shown = list(_panels(scores))
    with style.applied():
        figure, grid = _figure(len(shown), sharey=True)
        color = style.colors([str(name) for name in scores["representation"].values])
        for axes, (name, _, panel) in zip(grid, shown, strict=False):
            line = panel.dropna("window", subset=["value"])
            axes.fill_between(line["window"], line["null_low"], line["null_high"], color="0.85", linewidth=0)
            axes.fill_between(line["window"], line["low"], line["high"], color=color[name], alpha=0.3, linewidth=0)
            axes.plot(line["window"], line["value"], color=color[name])
            _marks(axes, scores, panel)
        below = _Below(grid[0])
        for axes, (name, _, panel) in zip(grid, shown, strict=False):
            below.bars(axes, panel["cluster_p"], scores.attrs["level"], row=0, color=color[name])
            below.bars(axes, panel["p_max"], scores.attrs["level"], row=1, color=color[name], linewidth=1)
        _labels(grid, scores, shown, _grid_label(scores), "balanced accuracy")
        style.legend(figure, _keys(scores))
        style.caption(figure, f"{OWN_WINDOW.capitalize()}, mean over animals. {_bands(scores)}\n{_numbers(scores)}")
    return figure


def animals(scores: xr.Dataset) -> Figure:
    """Draw the same for each animal, one line each, with the windows of its significant clusters below."""
    shown = list(_panels(scores))
    names = [str(name) for name in scores["target"].values]
    with style.applied():
        figure, grid = _figure(len(shown), sharey=True)
        color, line_style = style.colors(names), style.line_styles(names)
        for axes, (_, _, panel) in zip(grid, shown, strict=False):
            _marks(axes, scores, panel)
            for target in names:
                line = panel["target_value"].sel(target=target).dropna("window")
                axes.plot(line["window"], line, color=color[target], linestyle=line_style[target])
        below = _Below(grid[0])
        for axes, (_, _, panel) in zip(grid, shown, strict=False):
            for row, target in enumerate(names):
                p = panel["target_cluster_p"].sel(target=target)
                below.bars(axes, p, scores.attrs["level"], row=row, color=color[target])
        _labels(grid, scores, shown, _grid_label(scores), "balanced accuracy")
        handles = [Line2D([], [], color=color[name], linestyle=line_style[name], label=name) for name in names]
        style.legend(figure, handles, title="animal")
        bars = "" if scores.attrs["in_sample"] else f" Bars: clusters with p ≤ {scores.attrs['level']:g}, corrected for windows."
        style.caption(
            figure, f"{OWN_WINDOW.capitalize()}.{bars} Intervals and nulls of each animal: in the CSV.\n{_numbers(scores)}"
        )
    return figure


def generalization(scores: xr.Dataset) -> Figure:
    """Draw accuracy of every training window in every test window, significant clusters outlined."""
    shown = list(_panels(scores))
    chance = float(scores["chance"].mean())
    far = max(float(np.abs(scores["generalization"] - chance).max()), 1e-3)
    with style.applied():
        figure, grid = _figure(len(shown))
        for axes, (_, _, panel) in zip(grid, shown, strict=False):
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
        bar = figure.colorbar(image, ax=list(grid), label="balanced accuracy", shrink=0.8)
        bar.ax.set_ylim(max(chance - far, 0), min(chance + far, 1))
        outlined = "" if scores.attrs["in_sample"] else f" Outlined: clusters with p ≤ {scores.attrs['level']:g}, corrected."
        style.caption(
            figure,
            f"Mean over animals; white: chance; dots: {OWN_WINDOW}.{outlined}\n{_null(scores)}\n{_numbers(scores)}",
        )
    return figure


def _panels(scores: xr.Dataset) -> Iterator[Panel]:
    """Yield representation, setting and their scores, where there are any."""
    for name in scores["representation"].values:
        for setting in scores["setting"].values:
            panel = scores.sel(representation=name, setting=setting)
            if np.isfinite(panel["value"]).any():
                yield str(name), str(setting), panel


def _figure(panels: int, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    columns = min(panels, COLUMNS)
    rows = -(-panels // columns)
    width = style.SINGLE + 1 if columns == 1 else style.DOUBLE
    figure = Figure(figsize=(width, 0.7 + HEIGHT * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for axes in grid[panels:]:
        axes.set_axis_off()
    return figure, grid


def _labels(grid: list[Axes], scores: xr.Dataset, shown: Sequence[Panel], x: str, y: str) -> None:
    """Title each panel with its numbers of trials and splits; label axes on the left and in the lowest panel of a column."""
    columns = min(len(shown), COLUMNS)
    for index, (axes, (name, setting, panel)) in enumerate(zip(grid, shown, strict=False)):
        number = f"{int(panel['trials'].sum())} {tested_trials(scores.attrs)}, {counted(int(panel['splits']), 'split')}"
        caveat = "\neach point sees the whole trial" if panel["whole_trial"] else ""
        axes.set_title(f"{name}, {setting}\n{number}{caveat}")
        if index + columns >= len(shown):
            axes.set_xlabel(x)
        if index % columns == 0:
            axes.set_ylabel(y)


def _grid_label(scores: xr.Dataset) -> str:
    name = str(scores.attrs["grid_name"])
    return f"{name} [s]" if scores.attrs["grid"] == "time" else name


def _marks(axes: Axes, scores: xr.Dataset, panel: xr.Dataset) -> None:
    """Draw chance and the event."""
    axes.axhline(float(panel["chance"]), color="0.3", linestyle=":", linewidth=0.8)
    if scores.attrs["grid"] == "time" and float(panel["window"].min()) < 0 < float(panel["window"].max()):
        axes.axvline(0, color="0.3", linewidth=0.6)


class _Below:
    """Rows of bars below all curves of panels that share their axis."""

    def __init__(self, axes: Axes) -> None:
        self._bottom, self._top = axes.get_ylim()
        axes.set_yticks([tick for tick in axes.get_yticks() if self._bottom <= tick <= self._top])

    def bars(self, axes: Axes, p: xr.DataArray, level: float, *, row: int, color: object, linewidth: float = 2.5) -> None:
        """Draw a row of bars where p is at most the level."""
        space = 0.05 * (self._top - self._bottom)
        p = p.dropna("window")
        centres = p["window"].to_numpy()
        half = _half_step(centres)
        significant = centres[p.to_numpy() <= level]
        height = np.full(len(significant), self._bottom - row * space)
        axes.hlines(height, significant - half, significant + half, color=color, linewidth=linewidth)
        axes.set_ylim(min(axes.get_ylim()[0], self._bottom - (row + 1) * space), self._top)


def _half_step(centres: np.ndarray) -> float:
    return float(centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.5


def _keys(scores: xr.Dataset) -> list[Artist]:
    keys: list[Artist] = [Line2D([], [], color="0.3", linestyle=":", linewidth=0.8, label="chance")]
    if not scores.attrs["in_sample"]:
        keys.append(Patch(color="0.85", label="null, 95 %"))
        keys.append(Line2D([], [], color="0.3", linewidth=2.5, label="cluster"))
        keys.append(Line2D([], [], color="0.3", linewidth=1, label="window by itself"))
    return keys


def _bands(scores: xr.Dataset) -> str:
    """Write what bands and bars are."""
    bands = f"Colored bands: {scores.attrs['interval']}."
    if scores.attrs["in_sample"]:
        return bands
    return (
        f"{bands}\n{_null(scores)}\nBars: p ≤ {scores.attrs['level']:g}, corrected for all windows; a cluster says that "
        "there is something, not where it begins."
    )


def _null(scores: xr.Dataset) -> str:
    if scores.attrs["in_sample"]:
        return "No null: the scored trials were fitted on."
    kinds = dict.fromkeys(str(panel["null_kind"].item()) for _, _, panel in _panels(scores))
    return f"Null: {scores.attrs['permutations']} draws; " + ";\n".join(kinds) + "."


def _numbers(scores: xr.Dataset) -> str:
    animals = int((scores["trials"].max(["representation", "setting"]) > 0).sum())
    names, widths = scores["representation"].values, scores["width"].values
    windows = ", ".join(f"{name} {width:g}" for name, width in zip(names, widths, strict=True))
    return (
        f"{counted(animals, 'animal')}; decoded: {scores.attrs['label']}; {_grid_label(scores)} is the centre of windows; "
        f"their width: {windows}"
    )
