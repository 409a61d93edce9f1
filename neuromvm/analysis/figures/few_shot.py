"""Figures of the analysis ``few_shot``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted, shortened

FEW = "4"  # trials a class that are shown beside all of them, if there are such scores
SPREAD = 0.36  # share of the way to the next number of trials over which methods are set apart


def curve(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy in new animals over the number of their training trials, with interval, floor and chance."""
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 3.0), layout="constrained")
        axes = figure.subplots()
        _lines(axes, scores, "value", ("low", "high"))
        for place in range(scores.sizes["setting"]):
            one = scores.isel(setting=place)
            ends = [place - SPREAD / 2, place + SPREAD / 2]
            axes.fill_between(
                ends, float(one["null_low"].min()), float(one["null_high"].max()), color="0.9", linewidth=0, zorder=0
            )
        axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)
        axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
        axes.set_ylim(bottom=0)
        style.legend(figure, [*_handles(scores), *_floor_handles(scores)])
        style.caption(
            figure,
            "Test trials of an animal that is new, read by a decoder of the others (own decoder: by its own).\n"
            f"Bars: {scores.attrs['interval']}. Grey: 95 % of {scores.attrs['floor']}, all methods.\n{_n(scores)}.",
        )
    return figure


def shown(scores: xr.Dataset) -> list[str]:
    """Return the numbers of trials for which animals are shown one by one: some, and all.

    Examples
    --------
    >>> shown(xr.Dataset(coords={"setting": ["1", "2", "4", "8", "all"]}))
    ['4', 'all']
    >>> shown(xr.Dataset(coords={"setting": ["1", "2"]}))
    ['2']
    """
    settings = [str(one) for one in scores["setting"].values]
    numbers = [one for one in settings if one.isdecimal()]
    few = FEW if FEW in numbers else next(reversed(numbers), "")
    return [one for one in (few, "all") if one in settings]


def animals(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy in every animal left out, with interval, floor and chance, and the mean over them."""
    settings, names = shown(scores), _names(scores)
    color, marker = style.colors(names), style.markers(names)
    prefix, labels = shortened([str(name) for name in scores["target"].values])
    mean = len(labels)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.6 + 2.2 * len(settings)), layout="constrained")
        panels = figure.subplots(len(settings), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, setting in zip(panels, settings, strict=True):
            of = scores.sel(setting=setting)
            lowest, highest = of["target_null_low"].min("representation"), of["target_null_high"].max("representation")
            for place in range(mean):
                ends = [place - SPREAD, place + SPREAD]
                axes.fill_between(ends, float(lowest[place]), float(highest[place]), color="0.9", linewidth=0, zorder=0)
            for rank, name in enumerate(names):
                one, offset = of.sel(representation=name), 2 * SPREAD * ((rank + 0.5) / len(names) - 0.5)
                x = np.arange(mean + 1) + offset
                value = np.append(one["target_value"], one["value"])
                axes.vlines(
                    x,
                    np.append(one["target_low"], one["animals_low"]),
                    np.append(one["target_high"], one["animals_high"]),
                    color=color[name],
                    linewidth=0.8,
                )
                axes.plot(x, value, linestyle="none", color=color[name], marker=marker[name], markersize=4)
            axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)
            axes.axvline(mean - 0.5, color="0.8", linewidth=0.8)
            axes.set_title("all its training trials" if setting == "all" else f"{setting} training trials of each class")
        panels[0].set_ylim(bottom=0)  # of all panels, now that all is drawn
        panels[-1].set_xticks(range(mean + 1), [*labels, "mean"])
        panels[-1].set_xlabel(f"animal left out{f', {prefix}…' if prefix else ''}")
        figure.supylabel(f"balanced accuracy of {scores.attrs['label']}", fontsize="medium")
        style.legend(figure, [*_handles(scores), *_floor_handles(scores)])
        style.caption(
            figure,
            "Leave one animal out: test trials of an animal that the shared model was trained without, and adapted to later,\n"
            "read by a decoder of the others (own decoder: by its own). "
            f"Bars: {scores.attrs['interval']};\nof the mean: 95 % over animals, then trials (hierarchical bootstrap).\n"
            f"Grey: 95 % of {scores.attrs['floor']}.\n{_n(scores)}.",
        )
    return figure


def difference(scores: xr.Dataset) -> Figure:
    """Draw the paired difference of every method to the reference over the number of training trials."""
    reference = scores.attrs["reference"]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
        axes = figure.subplots()
        others = scores.sel(reference=reference, representation=scores["representation"] != reference)
        _lines(axes, others, "difference", ("difference_low", "difference_high"), like=scores)
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--", zorder=1)
        axes.set_ylabel(f"difference in balanced accuracy\nto {reference}")
        style.legend(figure, [one for one in _handles(scores) if one.get_label() != reference])
        style.caption(figure, f"Bars: {scores.attrs['interval']}, the same draws on both sides.\n{_n(scores)}.")
    return figure


def _lines(axes: Axes, scores: xr.Dataset, key: str, ends: tuple[str, str], like: xr.Dataset | None = None) -> None:
    every, (low, high) = _names(scores if like is None else like), ends
    color, marker = style.colors(every), style.markers(every)
    names = _names(scores)
    places = np.arange(scores.sizes["setting"])
    for rank, name in enumerate(names):
        one = scores.sel(representation=name)
        x = places + SPREAD * ((rank + 0.5) / len(names) - 0.5)
        axes.plot(x, one[key], color=color[name], marker=marker[name], markersize=4)
        axes.vlines(x, one[low], one[high], color=color[name], linewidth=0.8)
    axes.set_xticks(places, [str(setting) for setting in scores["setting"].values])
    axes.set_xlabel("training trials of each class in the new animal")


def _names(scores: xr.Dataset) -> list[str]:
    return [str(name) for name in scores["representation"].values]


def _handles(scores: xr.Dataset) -> list[Line2D]:
    names = _names(scores)
    color, marker = style.colors(names), style.markers(names)
    return [Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names]


def _floor_handles(scores: xr.Dataset) -> list[Artist]:
    chance = f"chance, {scores.attrs['chance']:.3g}"
    return [Patch(color="0.9", label="permuted labels"), Line2D([], [], color="0.4", linestyle="--", label=chance)]


def _n(scores: xr.Dataset) -> str:
    seeds = " or ".join(str(count) for count in np.unique(scores["seeds"]))
    new = counted(scores.sizes["target"], "animal")
    return (
        f"{new} of {scores.attrs['animals']}, each new in turn, mean over them; test trials: {int(scores['trials'].sum())}; "
        f"splits: {scores.sizes['split']}; seeds of a method: {seeds}"
    )
