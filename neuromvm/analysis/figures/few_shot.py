"""Figures of the analysis ``few_shot``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted, shortened
from neuromvm.analysis.judged import ALL_ANIMALS, ANIMALS, LABELS, STATISTICS, TRIALS, animals_of, null_in_words

FEW = "4"  # trials a class that are shown beside all of them, if there are such scores
SPREAD = 0.36  # share of the way to the next number of trials over which methods are set apart


@style.applied()
def curve(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy in new animals over the number of their training trials, with interval, null and chance."""
    null = scores["null_score"].sel(null=LABELS, target=ALL_ANIMALS)
    lowest, highest = (null.sel(null_statistic=bound) for bound in ("low", "high"))
    figure, axes = style.page(3.0)
    _draw_lines(axes, scores["score"], scores)
    for number, setting in enumerate(scores["setting"].values):
        ends = [number - SPREAD / 2, number + SPREAD / 2]
        low, high = float(lowest.sel(setting=setting).min()), float(highest.sel(setting=setting).max())
        axes.fill_between(ends, low, high, color="0.9", linewidth=0, zorder=0)
        _draw_chance(axes, scores["chance"].sel(setting=setting, target=ALL_ANIMALS), *ends)
    axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
    axes.set_ylim(bottom=0)
    style.legend(figure, _handles(scores))
    return style.caption(
        figure,
        "Test trials of an animal that is new, read by a decoder of the others (own …: by its own).\n"
        f"Bars: {scores.attrs['interval']}. Grey: 95 % of {null_in_words(scores, LABELS)}, all methods.\n{_n(scores)}.",
        f"Balanced accuracy of {scores.attrs['label']} in a new animal against the number of its labelled trials, by method.",
        style.only(scores, "score", "null_score", "chance").sel(target=ALL_ANIMALS, unit_of_inference=TRIALS, null=LABELS),
    )


def shown(scores: xr.Dataset) -> list[str]:
    """Return the settings for which animals are shown one by one: ``FEW`` or the largest number of trials, and all."""
    settings = style.names_of(scores, "setting")
    numbers = [setting for setting in settings if setting.isdecimal()]
    fewer = FEW if FEW in numbers else next(reversed(numbers), "")
    return [setting for setting in (fewer, "all") if setting in settings]


@style.applied()
def animals(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy in every animal left out, with interval, null and chance, and the mean over them."""
    settings = shown(scores)
    prefix, labels = shortened(animals_of(scores))
    mean = len(labels)
    figure, grid = style.page(0.6 + 2.2 * len(settings), len(settings), sharex=True, sharey=True, squeeze=False)
    panels = grid[:, 0]
    for axes, setting in zip(panels, settings, strict=True):
        _draw_animals(axes, scores.sel(setting=setting))
        axes.set_title("all its training trials" if setting == "all" else f"{setting} training trials of each class")
    panels[0].set_ylim(bottom=0)  # of all panels, after drawing
    panels[-1].set_xticks(range(mean + 1), [*labels, "mean"])
    panels[-1].set_xlabel(f"animal left out{f', {prefix}…' if prefix else ''}")
    figure.supylabel(f"balanced accuracy of {scores.attrs['label']}", fontsize="medium")
    style.legend(figure, _handles(scores))
    return style.caption(
        figure,
        "Leave one animal out: test trials of an animal that the shared model was trained without, and adapted to later,\n"
        "read by a decoder of the others (own …: by its own). "
        f"Bars: {scores.attrs['interval']};\nof the mean: 95 % over animals, then trials (hierarchical bootstrap).\n"
        f"Grey: 95 % of {null_in_words(scores, LABELS)}.\n{_n(scores)}.",
        f"Balanced accuracy of {scores.attrs['label']} in each animal that was left out, and the mean over animals, by method.",
        style.only(scores, "score", "null_score", "chance").sel(setting=settings, null=LABELS),
    )


@style.applied()
def difference(scores: xr.Dataset) -> Figure:
    """Draw the paired difference of every method to the reference over the number of training trials."""
    reference = scores.attrs["reference"]
    figure, axes = style.page(2.6)
    compared = scores["difference"].sel(reference=reference, representation=scores["representation"] != reference)
    _draw_lines(axes, compared, scores)
    axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=1)
    axes.set_ylabel(f"difference in balanced accuracy\nto {reference}")
    style.legend(figure, [handle for handle in METHODS.handles(style.names_of(scores)) if handle.get_label() != reference])
    return style.caption(
        figure,
        f"Bars: {scores.attrs['interval']}, the same draws on both sides.\n{_n(scores)}.",
        f"Balanced accuracy of each method minus that of {reference} in a new animal, against the number of labelled trials.",
        compared.sel(target=ALL_ANIMALS, unit_of_inference=TRIALS).to_dataset(name="difference"),
    )


def _draw_animals(axes: Axes, scores: xr.Dataset) -> None:
    """Draw all animals with intervals over trials, then the mean over them with its interval over animals."""
    names, targets = style.names_of(scores), [*animals_of(scores), ALL_ANIMALS]
    color, marker = METHODS.colors(names), METHODS.markers(names)
    null = scores["null_score"].sel(null=LABELS)
    for number, target in enumerate(targets[:-1]):
        bounds, ends = null.sel(target=target), [number - SPREAD, number + SPREAD]
        lowest, highest = float(bounds.sel(null_statistic="low").min()), float(bounds.sel(null_statistic="high").max())
        axes.fill_between(ends, lowest, highest, color="0.9", linewidth=0, zorder=0)
    for number, target in enumerate(targets):
        _draw_chance(axes, scores["chance"].sel(target=target), number - SPREAD, number + SPREAD)
    points = {
        "target": xr.DataArray(targets, dims="target"),
        "unit_of_inference": xr.DataArray([TRIALS] * (len(targets) - 1) + [ANIMALS], dims="target"),
    }
    for rank, name in enumerate(names):
        x = np.arange(len(targets)) + style.aside(rank, len(names), 2 * SPREAD)
        of_targets = scores["score"].sel(representation=name).sel(points)
        value, low, high = (of_targets.sel(statistic=statistic) for statistic in STATISTICS)
        style.point(axes, x, value, low, high, color=color[name], marker=marker[name], linewidth=0.8)
    axes.axvline(len(targets) - 1.5, color="0.8", linewidth=0.8)


def _draw_chance(axes: Axes, chance: xr.DataArray, left: float, right: float) -> None:
    """Draw what guessing gives ``(representation,)``, a line for each value."""
    known = np.unique(chance.to_numpy()[np.isfinite(chance)])
    axes.hlines(known, left, right, color="0.4", linewidth=0.8, linestyle="--", zorder=1)


def _draw_lines(axes: Axes, drawn: xr.DataArray, scores: xr.Dataset) -> None:
    """Draw scores or differences over the number of training trials, in the colours of all methods of the scores."""
    color, marker = (look(style.names_of(scores)) for look in (METHODS.colors, METHODS.markers))
    mean = drawn.sel(target=ALL_ANIMALS, unit_of_inference=TRIALS)
    numbers, names = np.arange(scores.sizes["setting"]), style.names_of(mean)
    for rank, name in enumerate(names):
        value, low, high = (mean.sel(representation=name, statistic=statistic) for statistic in STATISTICS)
        x = numbers + style.aside(rank, len(names), SPREAD)
        axes.plot(x, value, color=color[name], marker=marker[name], markersize=4)
        axes.vlines(x, low, high, color=color[name], linewidth=0.8)
    axes.set_xticks(numbers, style.names_of(scores, "setting"))
    axes.set_xlabel("training trials of each class in the new animal")


def _handles(scores: xr.Dataset) -> list[Artist]:
    """Return the entries of the legend: methods, null and chance."""
    of_animals = scores["chance"].sel(target=animals_of(scores)).to_numpy()
    chance = Line2D([], [], color="0.4", linestyle="--", label=f"chance, {style.limits(of_animals[np.isfinite(of_animals)])}")
    return [*METHODS.handles(style.names_of(scores)), Patch(color="0.9", label="permuted labels"), chance]


def _n(scores: xr.Dataset) -> str:
    seeds = " or ".join(str(count) for count in np.unique(scores["seeds"]))
    new = counted(len(animals_of(scores)), "animal")
    trials = int(scores["trials"].sel(target=ALL_ANIMALS))
    return (
        f"{new} of {scores.attrs['animals']}, each new in turn, mean over them; test trials: {trials}; "
        f"splits: {scores.sizes['split']}; seeds of a method: {seeds}"
    )
