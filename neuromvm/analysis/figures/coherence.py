"""Figures of the analysis ``coherence``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import false_discovery_control

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, side_names, without_zero, write_numbers
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import numbers_of, shortened
from neuromvm.analysis.judged import ALL_ANIMALS, CLASS_NAMES, LABELS, TRIALS, animals_of, values

LEVEL = 0.05  # false discovery rate at which a pair is marked
SHADES = {CLASS_NAMES: "0.92", LABELS: "0.75"}


def settings(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of generated activity in every setting, with interval, the nulls and chance."""
    names = [str(name) for name in scores["representation"].values]
    overall = scores.sel(target=ALL_ANIMALS, unit_of_inference=TRIALS)
    shown = [str(name) for name in scores["setting"].values if np.isfinite(values(scores).sel(setting=name)).any()]
    color, marker = style.colors(names), style.markers(names)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.9), layout="constrained")
        axes = figure.subplots()
        for position, setting in enumerate(shown):
            for rank, name in enumerate(names):
                score = overall.sel(representation=name, setting=setting)
                value, low, high = score["score"].sel(statistic=["value", "low", "high"]).to_numpy()
                if not np.isfinite(value):
                    continue
                x = position + 0.7 * ((rank + 0.5) / len(names) - 0.5)
                half = 0.25 / len(names)
                for null, shade in SHADES.items():
                    limits = score["null_score"].sel(null=null, null_statistic=["low", "high"]).to_numpy()
                    axes.fill_between([x - half, x + half], *limits, color=shade, linewidth=0, zorder=0)
                axes.vlines(x, low, high, color=color[name], linewidth=1.2)
                axes.plot(x, value, marker=marker[name], color=color[name], markersize=4)
        axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)
        axes.set_xticks(range(len(shown)), [{"ceiling": "real activity\n(ceiling)"}.get(name, name) for name in shown])
        axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
        axes.set_ylim(bottom=0)
        handles = _handles(names)
        if _exists(scores, LABELS):
            handles.append(Patch(color=SHADES[LABELS], label="permuted labels"))
        if _exists(scores, CLASS_NAMES):
            handles.append(Patch(color=SHADES[CLASS_NAMES], label="renamed classes"))
        handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {scores.attrs['chance']:.3g}"))
        style.legend(figure, handles)
        greys = f"{'Dark grey: 95 % of' if _exists(scores, LABELS) else 'Floor:'} {scores.attrs['floor']}.\n"
        if _exists(scores, CLASS_NAMES):
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
    of_pairs = scores[["pair_score", "pair_p"]].sel(target=animals_of(scores)).transpose("representation", "source", "target")
    prefix, animals = shortened(animals_of(scores))
    columns = min(4 if len(animals) <= CELLS_WITH_NUMBERS else 2, len(names))
    rows = -(-len(names) // columns)
    side = min(2.8, (style.DOUBLE - 1.3) / columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 1.7 + (side + 0.2) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        top = float(of_pairs["pair_score"].max())
        for panel, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
            matrix, p = (of_pairs[variable].sel(representation=name).to_numpy() for variable in ("pair_score", "pair_p"))
            image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=top)
            axes.set_title(name)
            side_names(
                axes,
                animals,
                left=panel % columns == 0,
                bottom=panel + columns >= len(names),
                row="latents of",
                column="generated for",
            )
            write_numbers(axes, matrix, 0.6 * top, without_zero)
            _mark(axes, matrix, top, p)
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.5 / (side * rows)), label="balanced accuracy")
        bar.ax.axhline(scores.attrs["chance"], color="white", linewidth=1.2)
        omitted = f" Names of animals without their common beginning, {prefix}." if prefix else ""
        dots = (
            f"Dots: above permuted labels at a false discovery rate of {LEVEL:g} over the pairs of different animals"
            f" of a model.\nA model whose animals share nothing has dots too, where it names the classes right by luck.\n"
            if _exists(scores, LABELS)
            else ""
        )
        style.caption(
            figure,
            f"Mean over splits. White line: chance, {scores.attrs['chance']:.3g}.{omitted}\n{dots}{numbers_of(scores)}.",
        )
    return figure


def skill(scores: xr.Dataset) -> Figure:
    """Draw how much nearer imputed activity is to an animal's trials than the mean of their condition."""
    names = [str(name) for name in scores["representation"].values]
    of_animals = scores["skill"].sel(target=animals_of(scores), unit_of_inference=TRIALS)
    prefix, animals = shortened(animals_of(scores))
    color, marker = style.colors(names), style.markers(names)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
        axes = figure.subplots()
        for rank, name in enumerate(names):
            value, low, high = of_animals.sel(representation=name, statistic=["value", "low", "high"]).transpose("statistic", ...)
            x = np.arange(len(animals)) + 0.7 * ((rank + 0.5) / len(names) - 0.5)
            axes.vlines(x, low, high, color=color[name], linewidth=1.2)
            axes.plot(x, value, marker[name], color=color[name], markersize=4, label=name)
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(animals)), animals, rotation=90 if len(animals) > CELLS_WITH_NUMBERS else 0)
        axes.set_ylabel("skill of imputed activity")
        condition_mean = Line2D([], [], color="0.4", linestyle="--", label="condition mean")
        style.legend(figure, [*_handles(names), condition_mean])
        omitted = f"\nNames of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            "1 - error of activity imputed from all other animals over that of the condition mean of training-side trials.\n"
            "Unless animals share events, the condition mean is the best that can be reached, at 0.\n"
            f"Bars: {scores.attrs['skill_interval']}.{omitted}\n{numbers_of(scores)}.",
        )
    return figure


def _exists(scores: xr.Dataset, null: str) -> bool:
    return bool(np.isfinite(scores["null_score"].sel(null=null)).any())


def _handles(names: list[str]) -> list[Artist]:
    color, marker = style.colors(names), style.markers(names)
    return [Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names]


def _mark(axes: Axes, matrix: np.ndarray, top: float, p: np.ndarray) -> None:
    """Mark pairs of different animals that are above the null at the false discovery rate, below the number of the cell."""
    tested = ~np.eye(len(p), dtype=bool) & np.isfinite(p)
    if not tested.any():
        return
    is_above = np.zeros(p.shape, dtype=bool)
    is_above[tested] = false_discovery_control(p[tested]) <= LEVEL
    for row, column in np.argwhere(is_above & np.isfinite(matrix)):
        color = "black" if matrix[row, column] > 0.6 * top else "white"
        offset = 0.32 if len(matrix) <= CELLS_WITH_NUMBERS else 0
        axes.plot(column, row + offset, ".", color=color, markersize=2, markeredgewidth=0)
