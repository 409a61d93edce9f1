"""Figures of a sweep, drawn from its saved table: what rises and falls with beta (Sutter et al. 2024, Figs. 3 and 5)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure

BOUNDED = ("independent", "mmvm")  # each animal decoded from its own latent, so that the plain autoencoder bounds them
Floats = NDArray[np.floating]


class Curve(NamedTuple):
    """One line of a figure, a point for each beta, rising; mean and standard deviation over splits and repeated cells."""

    name: str
    beta: Floats  # (point,)
    mean: dict[str, Floats]  # quantity -> (point,)
    deviation: dict[str, Floats]


def tradeoff(table: xr.Dataset) -> Figure | None:
    """Draw accuracy against reconstruction error, a line a model with arrows along rising beta; None if no beta is swept."""
    if "accuracy" not in table:
        return None
    shown = _curves(table, ("accuracy", "reconstruction_error"))
    if not shown:
        return None
    names = [curve.name for curve in shown]
    color, marker = style.colors(names), style.markers(names)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 3.0), layout="constrained")
        axes = figure.subplots()
        for curve in shown:
            _path(axes, curve, color[curve.name], marker[curve.name])
        handles: list[Artist] = [
            Line2D([], [], color=color[name], marker=marker[name], markersize=4, linewidth=0.8, label=name) for name in names
        ]
        reference = table.attrs.get("reference", "")
        if reference and "reference_accuracy" in table:
            level = float(table["reference_accuracy"].mean())
            axes.axhline(level, color="0.2", linewidth=0.8, linestyle=":", zorder=0)
            handles.append(Line2D([], [], color="0.2", linestyle=":", label=f"{reference}, {level:.3g}"))
        chance = float(table.attrs["chance"])
        axes.axhline(chance, color="0.4", linewidth=0.8, linestyle="--", zorder=0)
        handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {chance:.3g}"))
        none = float(table["error_of_mean"].mean())
        axes.axvline(none, color="0.7", linewidth=0.8, linestyle="-.", zorder=0)
        handles.append(Line2D([], [], color="0.7", linestyle="-.", label="error of the\ntraining mean"))
        across = "across animals" if table.attrs["setting"] == "cross" else "within the animal"
        axes.set_xlabel("reconstruction error of test trials (mean square, scaled features)")
        axes.set_ylabel(f"balanced accuracy of {table.attrs['label']},\n{across}")
        style.legend(figure, handles)
        style.caption(
            figure,
            "A point for each beta, written beside the first and the last; arrows: rising beta.\n"
            f"Bars: {_bars(table)}.\n{_n(table)}.",
        )
    return figure


def objective(table: xr.Dataset) -> Figure | None:
    """Draw the objective against beta, and minus the error of plain autoencoders that bounds it; None if no beta is swept."""
    if "objective" not in table:
        return None
    shown = _curves(table.where(table["sharing"].isin(BOUNDED), drop=False), ("objective",))
    if not shown:
        return None
    bounds = _bounds(table, {curve.name for curve in shown})
    names = [curve.name for curve in shown]
    color, marker = style.colors(names), style.markers(names)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.8), layout="constrained")
        axes = figure.subplots()
        for curve in shown:
            axes.errorbar(
                curve.beta,
                curve.mean["objective"],
                yerr=curve.deviation["objective"],
                color=color[curve.name],
                marker=marker[curve.name],
                markersize=4,
                elinewidth=0.8,
            )
        handles: list[Artist] = [
            Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names
        ]
        for place, (name, level) in enumerate(bounds.items()):
            line = style.LINE_STYLES[1:][place % 3]
            axes.axhline(level, color="0.3", linewidth=0.9, linestyle=line, zorder=0)
            handles.append(Line2D([], [], color="0.3", linestyle=line, label=f"{name}\n(plain autoencoder)"))
        smallest = min(curve.beta[curve.beta > 0].min() for curve in shown if (curve.beta > 0).any())
        axes.set_xscale("symlog", linthresh=smallest) if any((curve.beta == 0).any() for curve in shown) else axes.set_xscale(
            "log"
        )
        axes.set_xlabel("beta")
        axes.set_ylabel("objective: log-likelihood\n- beta * rate [nats]")
        style.legend(figure, handles)
        bound = "The plain autoencoder, trained to its optimum, bounds all others. " if bounds else ""
        style.caption(
            figure, f"Training trials of the last epoch. {bound}Bars: {_bars(table)}; lines without bars are means.\n{_n(table)}."
        )
    return figure


def _curves(table: xr.Dataset, quantities: Sequence[str]) -> list[Curve]:
    """Return what can be followed along two betas or more; a training that several cells share counts once."""
    flat = table[[*quantities, "line", "training", "beta"]].stack(point=("cell", "model"))
    found = []
    for name in dict.fromkeys(str(line) for line in flat["line"].values if isinstance(line, str) and line):
        own = flat.isel(point=flat["line"].values == name)
        own = own.isel(point=np.unique(own["training"].values.astype(str), return_index=True)[1])
        betas = np.unique(own["beta"].values[np.isfinite(own["beta"].values)])
        if len(betas) < 2:
            continue
        values = {key: [own[key].values[:, own["beta"].values == beta].ravel() for beta in betas] for key in quantities}
        finite = {key: [one[np.isfinite(one)] for one in each] for key, each in values.items()}
        found.append(
            Curve(
                name,
                betas,
                {key: np.array([one.mean() if len(one) else np.nan for one in each]) for key, each in finite.items()},
                {key: np.array([one.std(ddof=1) if len(one) > 1 else 0.0 for one in each]) for key, each in finite.items()},
            )
        )
    return found


def _bounds(table: xr.Dataset, lines: set[str]) -> dict[str, float]:
    """Return the objective of each plain autoencoder that has the networks, likelihood and data of one of these lines."""
    flat = table[["objective", "line", "comparable", "sharing"]].mean("split", keep_attrs=True).stack(point=("cell", "model"))
    wanted = {str(key) for key, line in zip(flat["comparable"].values, flat["line"].values, strict=True) if line in lines}
    plain = (flat["sharing"].values == "autoencoder") & np.isin(flat["comparable"].values.astype(str), sorted(wanted))
    own = flat.isel(point=plain)
    return {name: float(own["objective"].values[own["line"].values == name].mean()) for name in dict.fromkeys(own["line"].values)}


def _path(axes: Axes, curve: Curve, color: tuple[float, float, float], marker: str) -> None:
    """Draw one model's way as beta rises."""
    x, y = curve.mean["reconstruction_error"], curve.mean["accuracy"]
    axes.errorbar(
        x,
        y,
        xerr=curve.deviation["reconstruction_error"],
        yerr=curve.deviation["accuracy"],
        fmt=marker,
        color=color,
        markersize=4,
        elinewidth=0.6,
        alpha=0.9,
    )
    for start, stop in zip(range(len(x) - 1), range(1, len(x)), strict=True):
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 0.8, "shrinkA": 2, "shrinkB": 3, "mutation_scale": 7}
        axes.annotate("", xy=(x[stop], y[stop]), xytext=(x[start], y[start]), arrowprops=arrow)
    for place in (0, len(x) - 1):
        axes.annotate(
            f"{curve.beta[place]:g}", (x[place], y[place]), xytext=(4, 4), textcoords="offset points", fontsize=6, color=color
        )


def _bars(table: xr.Dataset) -> str:
    cells = " and cells that differ in seeds alone" if set(table["field"].values) & {"training.seeds", "split.seed"} else ""
    return f"standard deviation over splits{cells}, seeds within a cell averaged"


def _n(table: xr.Dataset) -> str:
    done = int((table["state"] == "done").sum())
    return f"Cells: {done} of {table.sizes['cell']}; animals: {table.attrs['animals']}; splits of a cell: {table.sizes['split']}"
