"""Figures of the analysis ``decoding``, drawn from its saved scores."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, side_names, without_zero, write_numbers
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import shortened, tested_trials
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS, TRIALS, animals_of, is_difference, null_in_words, values

SIGNIFICANT = 0.05
TALLEST = 2.8  # side of a panel of a transfer matrix [inch]


def settings(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of every representation in every setting, with animals, interval, null and chance."""
    names = _names(scores)
    null = scores["null_score"].sel(null=LABELS, target=ALL_ANIMALS)
    of_animals = scores["score"].sel(target=animals_of(scores), unit_of_inference=TRIALS, statistic="value")
    width = 0.36 / len(names)
    spread = np.linspace(-0.6, 0.6, of_animals.sizes["target"]) * width
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.9), layout="constrained")
        axes = figure.subplots()
        color, marker = style.colors(names), style.markers(names)
        for point in _points(scores, names):
            low, high = null.sel(point.selection).sel(null_statistic=["low", "high"]).to_numpy()
            axes.fill_between([point.x - width, point.x + width], low, high, color="0.85", linewidth=0, zorder=0)
            x, dots = point.x + spread, of_animals.sel(point.selection)
            axes.plot(x, dots, ".", color=color[point.name], alpha=0.35, markersize=3, markeredgewidth=0)
            _draw(axes, point, scores["score"], color, marker)
        axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)
        _name_settings(axes, scores)
        axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
        axes.set_ylim(bottom=0)
        handles: list[Artist] = [*_handles(names, color, marker)]
        has_null = bool(np.isfinite(null).any())
        if has_null:
            handles.append(Patch(color="0.85", label="permuted labels"))
        handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {scores.attrs['chance']:.3g}"))
        style.legend(figure, handles)
        style.caption(
            figure,
            f"Bars: {scores.attrs['interval']}; dots: animals.{_tuned(scores)}\n"
            f"{'Grey: 95 % of' if has_null else 'Floor:'} {null_in_words(scores, LABELS)}.{_fewer_classes(scores)}\n"
            f"{_n(scores)}.",
        )
    return figure


def difference(scores: xr.Dataset) -> Figure:
    """Draw the paired difference of every representation to the reference."""
    reference, names = scores.attrs["reference"], _names(scores)
    compared = [name for name in names if name != reference]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.5), layout="constrained")
        axes = figure.subplots()
        color, marker = style.colors(names), style.markers(names)
        for point in _points(scores, compared):
            _draw(axes, point, scores["difference"].sel(reference=reference), color, marker)
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        _name_settings(axes, scores)
        axes.set_ylabel(f"difference in balanced accuracy\nto {reference}")
        style.legend(figure, _handles(compared, color, marker))
        style.caption(figure, f"Bars: {scores.attrs['interval']}, the same draws on both sides.\n{_n(scores)}.")
    return figure


def transfer(scores: xr.Dataset) -> Figure:
    """Draw, for every representation in which animals can be compared, the accuracy of each animal's decoder on each animal."""
    names_of_animals = [str(animal) for animal in scores["source"].values]
    matrices = scores["accuracy"].sel(target=names_of_animals).mean("split", skipna=True)
    across = matrices.where(scores["source"] != matrices["target"])
    names = [name for name in _names(scores) if np.isfinite(across.sel(representation=name)).any()]
    shown = names or _names(scores)[:1]
    prefix, animals = shortened(names_of_animals)
    columns = min(4 if len(animals) <= CELLS_WITH_NUMBERS else 2, len(shown))
    rows = -(-len(shown) // columns)
    side = min(TALLEST, (style.DOUBLE - 1.3) / columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 1.0 + (side + 0.6) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        highest = float(matrices.max())
        for number, (axes, name) in enumerate(zip(grid.flat, shown, strict=False)):
            image = axes.imshow(matrices.sel(representation=name), cmap="viridis", vmin=0.0, vmax=highest)
            axes.set_title(name)
            _mark_significant(axes, scores, name)
            is_left, is_bottom = number % columns == 0, number + columns >= len(shown)
            side_names(axes, animals, left=is_left, bottom=is_bottom, row="decoder of", column="test trials of")
            write_numbers(axes, matrices.sel(representation=name).to_numpy(), highest / 2, without_zero)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.5 / (side * rows)), label="balanced accuracy")
        _mark_chance(bar.ax, scores.attrs["chance"])
        unscored = " White: cannot be scored." if not np.isfinite(matrices.sel(representation=shown)).all() else ""
        shortening = f" Names of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            f"Mean over splits and seeds. Chance: {scores.attrs['chance']:.3g}.{_fewer_classes(scores)}{unscored}{shortening}"
            f"{_significance(scores)}\n"
            f"{_n(scores)}.",
        )
    return figure


class _Point(NamedTuple):
    """A score that is drawn: its representation, what selects it, and where it stands."""

    name: str
    selection: dict[str, str]
    x: float


def _points(scores: xr.Dataset, names: list[str]) -> Iterator[_Point]:
    """Return the scores that exist, those of a setting side by side."""
    table = values(scores)
    for number, setting in enumerate(_settings(scores)):
        existing = [name for name in names if np.isfinite(table.sel(representation=name, setting=setting))]
        for rank, name in enumerate(existing):
            offset = 0.8 * ((rank + 0.5) - len(existing) / 2) / len(names)
            yield _Point(name, {"representation": name, "setting": setting}, number + offset)


def _draw(
    axes: Axes, point: _Point, score: xr.DataArray, color: dict[str, tuple[float, float, float]], marker: dict[str, str]
) -> None:
    """Draw the mean over animals with its interval over trials."""
    mean = score.sel(point.selection).sel(target=ALL_ANIMALS, unit_of_inference=TRIALS)
    value, low, high = mean.sel(statistic=["value", "low", "high"]).to_numpy()
    axes.vlines(point.x, low, high, color=color[point.name], linewidth=1.2)
    axes.plot(point.x, value, marker=marker[point.name], color=color[point.name], markersize=4)


def _settings(scores: xr.Dataset) -> list[str]:
    return [setting for setting in map(str, scores["setting"].values) if not is_difference(setting)]


def _name_settings(axes: Axes, scores: xr.Dataset) -> None:
    names = _settings(scores)
    axes.set_xticks(range(len(names)), names)


def _names(scores: xr.Dataset) -> list[str]:
    return [str(name) for name in scores["representation"].values]


def _handles(names: list[str], color: dict[str, tuple[float, float, float]], marker: dict[str, str]) -> list[Line2D]:
    return [Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names]


def _tuned(scores: xr.Dataset) -> str:
    """Say how settings were chosen, if they were."""
    how = str(scores.attrs.get("settings", "")).split(". ")[0]
    return f" Settings {how}." if how.startswith("chosen") else ""


def _fewer_classes(scores: xr.Dataset) -> str:
    """Say that chance is higher where a decoder and its target share fewer classes, if that occurs."""
    if "chance" not in scores or not (scores["chance"] > scores.attrs["chance"] + 1e-9).any():
        return ""
    return " Animals lack classes: where fewer are shared, chance is higher than the one marked."


def _mark_chance(axes: Axes, chance: float) -> None:
    """Mark chance in a colour bar."""
    axes.axhline(chance, color="white", linewidth=1.2)
    axes.annotate(
        "chance",
        xy=(0, chance),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=6,
    )


def _mark_significant(axes: Axes, scores: xr.Dataset, name: str) -> None:
    """Frame pairs of different animals whose accuracy is above their null, corrected over pairs."""
    if "accuracy_p" not in scores:
        return
    p = scores["accuracy_p"].sel(representation=name, correction="family-wise", target=scores["source"].to_numpy()).to_numpy()
    for source, target in np.argwhere((p <= SIGNIFICANT) & ~np.eye(len(p), dtype=bool)):
        axes.add_patch(Rectangle((target - 0.44, source - 0.44), 0.88, 0.88, fill=False, edgecolor="white", linewidth=0.6))


def _significance(scores: xr.Dataset) -> str:
    if "accuracy_p" not in scores or not np.isfinite(scores["accuracy_p"].sel(correction="family-wise")).any():
        return ""
    return f" Framed: p ≤ {SIGNIFICANT:g} against refits, corrected over pairs of different animals."


def _n(scores: xr.Dataset) -> str:
    animals = animals_of(scores)
    seeds = " or ".join(str(count) for count in np.unique(scores["seeds"]))
    return (
        f"Animals: {len(animals)}; {tested_trials(scores.attrs)}: {int(scores['trials'].sel(target=animals).sum())}; "
        f"splits: {scores.sizes['split']}; "
        f"seeds of a representation: {seeds}"
    )
