"""State-space paths: mean trajectories of conditions on two or three axes, with time marked, over single trials."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import CLASSES, Color
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, span, tested_trials

MARKS = 6  # of time along a path, about
MARGIN = 0.4  # around mean paths, for single trials, as a share of their range
START, EVENT, END = "o", "D", "s"


@style.applied()
def plane(scores: xr.Dataset) -> Figure:
    """Draw the paths of conditions on the first two axes, a panel for each model that has them."""
    return _draw(scores, 2)


@style.applied()
def space(scores: xr.Dataset) -> Figure:
    """Draw the paths of conditions on three axes, a panel for each model that has them."""
    return _draw(scores, 3)


def _draw(scores: xr.Dataset, dimensions: int) -> Figure:
    conditions = ordered(style.names_of(scores, "condition"))
    has_axes = scores["mean"].isel(axis=dimensions - 1).notnull().any(["condition", "window"])
    models = [name for name in style.names_of(scores, "model") if bool(has_axes.sel(model=name))]
    color, windows = CLASSES.colors(conditions), scores["window"].to_numpy()
    has_singles = len(conditions) <= style.MANY
    projection = {"subplot_kw": {"projection": "3d"}} if dimensions == 3 else {}
    figure, grid = style.panels(len(models), 2 if dimensions == 3 else 3, 0.7, 3.0 if dimensions == 3 else 2.6, **projection)
    for (axes, _, _), model in zip(grid, models, strict=True):
        of_model = scores.sel(model=model).isel(axis=slice(dimensions))
        limits = _limits(of_model["mean"].transpose("condition", "window", "axis").to_numpy())
        if has_singles:
            singles = of_model["single"].transpose("path", "window", "axis").to_numpy()
            for condition, path in zip(of_model["path_condition"].values.tolist(), singles, strict=True):
                axes.plot(*_within(path, limits).T, color=color[condition], linewidth=0.4, alpha=0.25)
        for name in conditions:
            mean = of_model["mean"].sel(condition=name).transpose("window", "axis").to_numpy()
            _path(axes, mean, windows, color[name], scores.attrs["grid"])
        for name, (low, high) in zip("xyz", limits.T, strict=False):
            getattr(axes, f"set_{name}lim")(low, high)
        names = [str(name) for name in of_model["axis_name"].values]
        axes.set(xlabel=names[0], ylabel=names[1], title=model)
        if dimensions == 3:
            solid: Any = axes  # matplotlib does not type axes in three dimensions
            solid.set_zlabel(names[2])
            solid.set_box_aspect(None, zoom=0.85)  # else labels of axes leave the panel
            axes.tick_params(labelsize=5, pad=-2)
            for axis in (solid.xaxis, solid.yaxis, solid.zaxis):
                axis.labelpad = -4
    marks = [(START, "white", _named(windows[0], scores)), (END, "0.3", _named(windows[-1], scores))]
    if _event(windows, scores.attrs["grid"]) is not None:
        marks.insert(1, (EVENT, "0.3", _named(0.0, scores)))
    handles = CLASSES.handles(conditions, marked=False)
    look: dict[str, Any] = {"linestyle": "", "markeredgecolor": "0.3", "markersize": 4}
    handles += [
        Line2D([], [], marker=marker, color="0.3", markerfacecolor=fill, label=label, **look) for marker, fill, label in marks
    ]
    style.legend(figure, handles, title=scores.attrs["condition"])
    return style.caption(figure, _words(scores, has_singles, windows), _shows(scores, dimensions), _numbers(scores, dimensions))


def _limits(mean: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return low and high ``(2, axis)`` of what is drawn: mean paths ``(condition, window, axis)`` with a margin."""
    low, high = np.nanmin(mean, axis=(0, 1)), np.nanmax(mean, axis=(0, 1))
    margin = MARGIN * np.maximum(high - low, 1e-6)
    return np.stack([low - margin, high + margin])


def _within(path: NDArray[np.floating], limits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a single trial with NaN where it leaves the panel, which three dimensions do not cut."""
    low, high = limits
    return np.where(((path < low) | (path > high)).any(axis=1, keepdims=True), np.nan, path)


def _path(axes: Axes, mean: NDArray[np.floating], windows: NDArray[np.floating], color: Color, grid: str) -> None:
    """Draw a mean path with dots at equal times, and its start, the event and its end."""
    axes.plot(*mean.T, color=color, linewidth=1.4)
    step = _step(windows)
    dots = [number for number in range(1, len(windows) - 1) if number % step == 0]
    axes.plot(*mean[dots].T, ".", color=color, markersize=3)
    event = _event(windows, grid)
    marks: list[tuple[int, str, Any]] = [(0, START, "white"), (len(windows) - 1, END, color)]
    for number, marker, fill in [*marks, *([] if event is None else [(event, EVENT, color)])]:
        look: dict[str, Any] = {"markerfacecolor": fill, "markeredgecolor": color, "markersize": 4, "markeredgewidth": 0.8}
        axes.plot(*mean[number][:, None], marker=marker, linestyle="", **look)


def _step(windows: Sequence[float] | NDArray[np.floating]) -> int:
    """Return between how many windows time is marked."""
    return max(1, round(len(windows) / MARKS))


def _event(windows: NDArray[np.floating], grid: str) -> int | None:
    """Return the window nearest to the event at 0, None if the trial does not pass it."""
    if grid != "time" or not windows[0] < 0 < windows[-1]:
        return None
    return int(np.abs(windows).argmin())


def _named(moment: float, scores: xr.Dataset) -> str:
    if scores.attrs["grid"] == "time":
        return "event, 0 s" if moment == 0 else f"{moment:z.3g} s".replace("-", "−")
    return f"{scores.attrs['grid']} {moment:z.4g}".replace("-", "−")


def _words(scores: xr.Dataset, has_singles: bool, windows: NDArray[np.floating]) -> str:
    step = float(windows[_step(windows)] - windows[0]) if len(windows) > _step(windows) else float(windows[-1] - windows[0])
    unit = " s" if scores.attrs["grid"] == "time" else ""
    singles = "thin: single test trials, cut at the panel; " if has_singles and scores.sizes["path"] else ""
    trials = scores["trials"].sum("animal").to_numpy().tolist()
    return (
        f"Thick: mean over animals; {singles}dots: every {step:.3g}{unit}. Split {scores.attrs['split']}, first seed; axes "
        f"fitted on training trials.\nAnimals: {scores.sizes['animal']}; {tested_trials(scores.attrs)} of each "
        f"{scores.attrs['condition']}: {span(trials)}. No null: this figure describes."
    )


def _shows(scores: xr.Dataset, dimensions: int) -> str:
    return (
        f"Paths of the latent through {dimensions} dimensions over the trial, a line for each {scores.attrs['condition']}, a "
        "panel for each model."
    )


def _numbers(scores: xr.Dataset, dimensions: int) -> xr.Dataset:
    return style.only(scores, "mean", "single").isel(axis=slice(dimensions))
