"""Figures of a sweep over beta, drawn from its saved table (Sutter et al. 2024, Figs. 3 and 5)."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import LINE_STYLES, METHODS, Color
from neuromvm.analysis.figures.style import Axes, Figure

BOUNDED = ("independent", "mmvm")  # an animal is decoded from its latent, so that the plain autoencoder is a bound
Floats = NDArray[np.floating]


class Curve(NamedTuple):
    """A line of a figure, a point for each beta, rising; mean and standard deviation over splits and repeated cells."""

    name: str
    beta: Floats  # (point,)
    mean: dict[str, Floats]  # quantity -> (point,)
    deviation: dict[str, Floats]


@style.applied()
def tradeoff(table: xr.Dataset) -> Figure | None:
    """Draw accuracy, and coherence where cells have it, against reconstruction error, a line for each model along rising beta.

    None is returned if no beta is swept. With coherence these are both panels of Sutter et al. (2024), Fig. 3.
    """
    shown = [name for name in ("accuracy", "coherence") if name in table and np.isfinite(table[name]).any()]
    curves = _curves(table, ("reconstruction_error", *shown)) if shown else []
    if not curves:
        return None
    names = [curve.name for curve in curves]
    color, marker = METHODS.colors(names), METHODS.markers(names)
    figure, grid = style.page(3.0, 1, len(shown), squeeze=False)
    handles = METHODS.handles(names)
    for axes, quantity in zip(grid[0], shown, strict=True):
        for curve in curves:
            _path(axes, curve, quantity, color[curve.name], marker[curve.name])
        handles += _levels(axes, table, quantity, known=[str(handle.get_label()) for handle in handles])
        axes.set_xlabel("reconstruction error of test trials\n(mean square, scaled features)")
        axes.set_ylabel(_quantity_in_words(table, quantity))
    style.legend(figure, handles)
    panels = f"{' and '.join(shown)} against reconstruction error"
    return style.caption(
        figure,
        "A point for each beta, written beside the lowest and the highest; arrows: rising beta.\n"
        f"Bars: {_bars(table)}.\n{_n(table)}.",
        f"{panels.capitalize()}, a line each model, arrows along rising beta.",
        _numbers(curves),
    )


def _levels(axes: Axes, table: xr.Dataset, quantity: str, known: Sequence[str]) -> list[Line2D]:
    """Draw chance, the reference and the error of the mean; return the legend entries that are not yet known."""
    entries = []
    reference = table.attrs.get("reference", "")
    if quantity == "accuracy" and reference and "reference_accuracy" in table:
        accuracy = float(table["reference_accuracy"].mean())
        entries.append(_level(axes.axhline, accuracy, f"{reference}, {accuracy:.3g}", color="0.2", linestyle=":"))
    chance = float(table.attrs["chance"])
    entries.append(_level(axes.axhline, chance, f"chance, {chance:.3g}", color="0.4", linestyle="--"))
    error = float(table["error_of_mean"].mean())
    entries.append(_level(axes.axvline, error, "error of the\ntraining mean", color="0.7", linestyle="-."))
    return [entry for entry in entries if str(entry.get_label()) not in known]


def _quantity_in_words(table: xr.Dataset, quantity: str) -> str:
    if quantity == "coherence":
        return f"coherence: {table.attrs['label']} that activity\ngenerated for another animal is read as"
    across = "across animals" if table.attrs["setting"] == "cross" else "within the animal"
    return f"balanced accuracy of {table.attrs['label']},\n{across}"


def _numbers(curves: Sequence[Curve]) -> xr.Dataset:
    """Return the points of all lines."""
    columns: dict[str, Any] = {
        "line": np.concatenate([[curve.name] * len(curve.beta) for curve in curves]),
        "beta": np.concatenate([curve.beta for curve in curves]),
    }
    for quantity in curves[0].mean:
        columns[quantity] = np.concatenate([curve.mean[quantity] for curve in curves])
        columns[f"{quantity}_sd"] = np.concatenate([curve.deviation[quantity] for curve in curves])
    return xr.Dataset({name: ("point", values) for name, values in columns.items()})


@style.applied()
def objective(table: xr.Dataset) -> Figure | None:
    """Draw the objective against beta, and minus the error of plain autoencoders that bounds it; None if no beta is swept."""
    curves = _curves(table.where(table["sharing"].isin(BOUNDED)), ("objective",)) if "objective" in table else []
    if not curves:
        return None
    names = [curve.name for curve in curves]
    bounds = _bounds(table, set(names))
    color, marker = METHODS.colors(names), METHODS.markers(names)
    figure, axes = style.page(2.8)
    for curve in curves:
        look: dict[str, Any] = {"color": color[curve.name], "marker": marker[curve.name], "markersize": 4, "elinewidth": 0.8}
        axes.errorbar(curve.beta, curve.mean["objective"], yerr=curve.deviation["objective"], **look)
    handles = METHODS.handles(names)
    for number, (name, bound) in enumerate(bounds.items()):
        line = LINE_STYLES[1 + number % 3]
        handles.append(_level(axes.axhline, bound, f"{name}\n(plain autoencoder)", color="0.3", linestyle=line))
    betas = np.concatenate([curve.beta for curve in curves])
    scale = {"value": "symlog", "linthresh": betas[betas > 0].min()} if (betas == 0).any() else {"value": "log"}
    axes.set_xscale(**scale)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda beta, _: f"{beta:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="beta", ylabel="objective: log-likelihood\n- beta * rate [nats]")
    style.legend(figure, handles)
    words = "The plain autoencoder, trained to its optimum, bounds all others. " if bounds else ""
    return style.caption(
        figure,
        f"Training trials of the last epoch. {words}Bars: {_bars(table)}; lines without bars are means.\n{_n(table)}.",
        "Objective of training trials against beta, a line each model, with the bound of plain autoencoders.",
        _numbers(curves),
    )


def _level(draw: Callable[..., Line2D], value: float, label: str, **look: Any) -> Line2D:
    """Draw a horizontal or vertical reference line, and return its legend entry."""
    draw(value, linewidth=0.8, zorder=0, **look)
    return Line2D([], [], label=label, **look)


def _curves(table: xr.Dataset, quantities: Sequence[str]) -> list[Curve]:
    """Return the lines with two betas or more; a training that several cells share counts once."""
    flat = table[[*quantities, "line", "training", "beta"]].stack(point=("cell", "model"))
    curves = []
    for name in dict.fromkeys(str(line) for line in flat["line"].values if isinstance(line, str) and line):
        points = flat.isel(point=flat["line"].values == name)
        points = points.isel(point=np.unique(points["training"].values.astype(str), return_index=True)[1])
        beta = points["beta"].values
        betas = np.unique(beta[np.isfinite(beta)])
        if len(betas) < 2:
            continue
        mean: dict[str, Floats] = {}
        deviation: dict[str, Floats] = {}
        for key in quantities:
            samples = [points[key].values[:, beta == value].ravel() for value in betas]
            samples = [values[np.isfinite(values)] for values in samples]
            mean[key] = np.array([values.mean() if len(values) else np.nan for values in samples])
            deviation[key] = np.array([values.std(ddof=1) if len(values) > 1 else 0.0 for values in samples])
        curves.append(Curve(name, betas, mean, deviation))
    return curves


def _bounds(table: xr.Dataset, lines: set[str]) -> dict[str, float]:
    """Return the objective of each plain autoencoder with the networks, likelihood and data of a model in ``lines``."""
    flat = table[["objective", "line", "comparable", "sharing"]].mean("split", keep_attrs=True).stack(point=("cell", "model"))
    line, comparable = flat["line"].values, flat["comparable"].values.astype(str)
    bounded = {key for key, name in zip(comparable, line, strict=True) if name in lines}
    plain = (flat["sharing"].values == "autoencoder") & np.isin(comparable, sorted(bounded))
    return {name: float(flat["objective"].values[plain & (line == name)].mean()) for name in dict.fromkeys(line[plain])}


def _path(axes: Axes, curve: Curve, quantity: str, color: Color, marker: str) -> None:
    """Draw the points of a model with arrows along rising beta."""
    x, y = curve.mean["reconstruction_error"], curve.mean[quantity]
    bars: dict[str, Any] = {"xerr": curve.deviation["reconstruction_error"], "yerr": curve.deviation[quantity]}
    axes.errorbar(x, y, **bars, fmt=marker, color=color, markersize=4, elinewidth=0.6, alpha=0.9)
    points = list(zip(x, y, strict=True))
    arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 0.8, "shrinkA": 2, "shrinkB": 3, "mutation_scale": 7}
    for start, stop in itertools.pairwise(points):
        axes.annotate("", xy=stop, xytext=start, arrowprops=arrow)
    for end in (0, -1):
        offset: dict[str, Any] = {"xytext": (4, 4), "textcoords": "offset points"}
        axes.annotate(f"{curve.beta[end]:g}", points[end], **offset, fontsize=6, color=color)


def _bars(table: xr.Dataset) -> str:
    cells = " and cells that differ in seeds alone" if set(table["field"].values) & {"training.seeds", "split.seed"} else ""
    return f"standard deviation over splits{cells}, seeds within a cell averaged"


def _n(table: xr.Dataset) -> str:
    done = int((table["state"] == "done").sum())
    return f"Cells: {done} of {table.sizes['cell']}; animals: {table.attrs['animals']}; splits of a cell: {table.sizes['split']}"
