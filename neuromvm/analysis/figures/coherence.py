"""Figures of the analysis ``coherence``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import false_discovery_control

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, draw_pairs, without_zero
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import numbers_of, shortened, without_prefix
from neuromvm.analysis.judged import ALL_ANIMALS, CLASS_NAMES, LABELS, TRIALS, animals_of, values

LEVEL = 0.05  # false discovery rate at which a pair is marked
SHADES = {CLASS_NAMES: "0.92", LABELS: "0.75"}


@style.applied()
def settings(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of generated activity in every setting, with interval, the nulls and chance."""
    names = style.names_of(scores)
    overall = scores.sel(target=ALL_ANIMALS, unit_of_inference=TRIALS)
    shown = [name for name in style.names_of(scores, "setting") if np.isfinite(values(scores).sel(setting=name)).any()]
    color, marker = METHODS.colors(names), METHODS.markers(names)
    figure, axes = style.page(2.9)
    for position, setting in enumerate(shown):
        for rank, name in enumerate(names):
            score = overall.sel(representation=name, setting=setting)
            value, low, high = score["score"].sel(statistic=["value", "low", "high"]).to_numpy()
            if not np.isfinite(value):
                continue
            x, half = position + style.aside(rank, len(names), 0.7), 0.25 / len(names)
            for null, shade in SHADES.items():
                limits = score["null_score"].sel(null=null, null_statistic=["low", "high"]).to_numpy()
                axes.fill_between([x - half, x + half], *limits, color=shade, linewidth=0, zorder=0)
            style.point(axes, x, value, low, high, color=color[name], marker=marker[name])
    axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)
    axes.set_xticks(range(len(shown)), [{"ceiling": "real activity\n(ceiling)"}.get(name, name) for name in shown])
    axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
    axes.set_ylim(bottom=0)
    handles = METHODS.handles(names)
    labels = {LABELS: "permuted labels", CLASS_NAMES: "renamed classes"}
    handles += [Patch(color=SHADES[null], label=label) for null, label in labels.items() if _exists(scores, null)]
    handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {scores.attrs['chance']:.3g}"))
    style.legend(figure, handles)
    greys = f"{'Dark grey: 95 % of' if _exists(scores, LABELS) else 'Floor:'} {scores.attrs['floor']}.\n"
    if _exists(scores, CLASS_NAMES):
        greys += "Light grey: the same with the classes of each animal renamed.\n"
    return style.caption(
        figure,
        f"Class that a {scores.attrs['classifier']} classifier of real activity gives to generated activity. "
        f"Bars: {scores.attrs['interval']}.\n{greys}{numbers_of(scores)}.",
        f"How often generated activity is read as the {scores.attrs['label']} that it stands for, by source of the latent.",
        style.only(overall, "score", "null_score", "trials"),
    )


@style.applied()
def pairs(scores: xr.Dataset) -> Figure:
    """Draw, for every model, balanced accuracy by source of the latent and by animal that is generated."""
    of_pairs = scores[["pair_score", "pair_p"]].sel(target=animals_of(scores)).transpose("representation", "source", "target")
    prefix, animals = shortened(animals_of(scores))
    top, sides = float(of_pairs["pair_score"].max()), ("latents of", "generated for")
    numbers = (lambda value: value > 0.6 * top), without_zero
    figure, panels, bar = draw_pairs(
        of_pairs["pair_score"], animals, (1.7, 0.2), (0, top), numbers, sides=sides, label="balanced accuracy"
    )
    for name, axes in panels.items():
        matrix, p = (of_pairs[variable].sel(representation=name).to_numpy() for variable in ("pair_score", "pair_p"))
        _mark(axes, matrix, top, p)
    bar.ax.axhline(scores.attrs["chance"], color="white", linewidth=1.2)
    dots = (
        f"Dots: above permuted labels at a false discovery rate of {LEVEL:g} over the pairs of different animals"
        f" of a model.\nA model whose animals share nothing has dots too, where it names the classes right by luck.\n"
        if _exists(scores, LABELS)
        else ""
    )
    return style.caption(
        figure,
        f"Mean over splits. White line: chance, {scores.attrs['chance']:.3g}.{without_prefix(prefix)}\n"
        f"{dots}{numbers_of(scores)}.",
        "How often generated activity is read rightly, by the animal that latents are of and the animal it is generated for.",
        of_pairs,
    )


@style.applied()
def skill(scores: xr.Dataset) -> Figure:
    """Draw how much nearer imputed activity is to an animal's trials than the mean of their condition."""
    names = style.names_of(scores)
    of_animals = scores["skill"].sel(target=animals_of(scores), unit_of_inference=TRIALS)
    prefix, animals = shortened(animals_of(scores))
    color, marker = METHODS.colors(names), METHODS.markers(names)
    figure, axes = style.page(2.6)
    for rank, name in enumerate(names):
        value, low, high = of_animals.sel(representation=name, statistic=["value", "low", "high"]).transpose("statistic", ...)
        x = np.arange(len(animals)) + style.aside(rank, len(names), 0.7)
        style.point(axes, x, value, low, high, color=color[name], marker=marker[name])
    axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(animals)), animals, rotation=90 if len(animals) > CELLS_WITH_NUMBERS else 0)
    axes.set_ylabel("skill of imputed activity")
    style.legend(figure, [*METHODS.handles(names), Line2D([], [], color="0.4", linestyle="--", label="condition mean")])
    omitted = f"\nNames of animals without their common beginning, {prefix}." if prefix else ""
    return style.caption(
        figure,
        "1 - error of activity imputed from all other animals over that of the condition mean of training-side trials.\n"
        "Unless animals share events, the condition mean is the best that can be reached, at 0.\n"
        f"Bars: {scores.attrs['skill_interval']}.{omitted}\n{numbers_of(scores)}.",
        "How much nearer to recorded activity imputed activity is than the mean of the condition, by animal and method.",
        of_animals.to_dataset(),
    )


def _exists(scores: xr.Dataset, null: str) -> bool:
    return bool(np.isfinite(scores["null_score"].sel(null=null)).any())


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
