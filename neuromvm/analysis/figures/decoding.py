"""Figures of the analysis ``decoding``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, side_names, without_zero, write_numbers
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import shortened, tested_trials

SIGNIFICANT = 0.05
TALLEST = 2.8  # side of a panel of a transfer matrix [inch]


def settings(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of every representation in every setting, with animals, interval, floor and chance."""
    names = [str(name) for name in scores["representation"].values]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.9), layout="constrained")
        axes = figure.subplots()
        color, marker = style.colors(names), style.markers(names)
        for setting, place, offset, name in _dodged(scores, names):
            one = scores.sel(representation=name, setting=setting)
            x = place + offset
            width = 0.36 / len(names)
            low, high = float(one["null_low"]), float(one["null_high"])
            axes.fill_between([x - width, x + width], low, high, color="0.85", linewidth=0, zorder=0)
            spread = np.linspace(-0.6, 0.6, scores.sizes["target"]) * width
            axes.plot(x + spread, one["target_value"], ".", color=color[name], alpha=0.35, markersize=3, markeredgewidth=0)
            _point(axes, x, one, "value", color[name], marker[name])
        _chance(axes, scores)
        axes.set_xticks(range(scores.sizes["setting"]), [str(setting) for setting in scores["setting"].values])
        axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
        axes.set_ylim(bottom=0)
        handles: list[Artist] = [*_handles(names, color, marker)]
        has_floor = bool(np.isfinite(scores["null_mean"]).any())
        if has_floor:
            handles.append(Patch(color="0.85", label="permuted labels"))
        handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {scores.attrs['chance']:.3g}"))
        style.legend(figure, handles)
        style.caption(
            figure,
            f"Bars: {scores.attrs['interval']}; dots: animals.{_tuned(scores)}\n"
            f"{'Grey: 95 % of' if has_floor else 'Floor:'} {scores.attrs['floor']}.{_fewer_classes(scores)}\n"
            f"{_n(scores)}.",
        )
    return figure


def difference(scores: xr.Dataset) -> Figure:
    """Draw the paired difference of every representation to the reference."""
    reference = scores.attrs["reference"]
    scores = scores.sel(reference=reference)
    names = [str(name) for name in scores["representation"].values if name != reference]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.5), layout="constrained")
        axes = figure.subplots()
        every = [str(name) for name in scores["representation"].values]
        color, marker = style.colors(every), style.markers(every)
        for setting, place, offset, name in _dodged(scores, names):
            one = scores.sel(representation=name, setting=setting)
            _point(axes, place + offset, one, "difference", color[name], marker[name])
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(scores.sizes["setting"]), [str(setting) for setting in scores["setting"].values])
        axes.set_ylabel(f"difference in balanced accuracy\nto {reference}")
        style.legend(figure, _handles(names, color, marker))
        style.caption(figure, f"Bars: {scores.attrs['interval']}, the same draws on both sides.\n{_n(scores)}.")
    return figure


def transfer(scores: xr.Dataset) -> Figure:
    """Draw, for every representation in which animals can be compared, who reads whom."""
    matrices = scores["accuracy"].mean("split", skipna=True)
    across = matrices.where(scores["source"] != scores["target"])
    names = [str(name) for name in scores["representation"].values if np.isfinite(across.sel(representation=name)).any()]
    shown = names or [str(scores["representation"].values[0])]
    prefix, animals = shortened([str(animal) for animal in scores["target"].values])
    columns = min(4 if len(animals) <= CELLS_WITH_NUMBERS else 2, len(shown))
    rows = -(-len(shown) // columns)
    side = min(TALLEST, (style.DOUBLE - 1.3) / columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 1.0 + (side + 0.6) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        limits = {"vmin": 0.0, "vmax": float(matrices.max())}
        for place, (axes, name) in enumerate(zip(grid.flat, shown, strict=False)):
            image = axes.imshow(matrices.sel(representation=name), cmap="viridis", **limits)
            axes.set_title(name)
            _mark_significant(axes, scores, name)
            side_names(
                axes,
                animals,
                left=place % columns == 0,
                bottom=place + columns >= len(shown),
                row="decoder of",
                column="test trials of",
            )
            middle = (limits["vmin"] + limits["vmax"]) / 2
            write_numbers(axes, matrices.sel(representation=name).to_numpy(), middle, without_zero)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.5 / (side * rows)), label="balanced accuracy")
        bar.ax.axhline(scores.attrs["chance"], color="white", linewidth=1.2)
        bar.ax.annotate(
            "chance",
            xy=(0, scores.attrs["chance"]),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6,
        )
        unscored = " White: cannot be scored." if not np.isfinite(matrices.sel(representation=shown)).all() else ""
        left_out = f" Names of animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            f"Mean over splits and seeds. Chance: {scores.attrs['chance']:.3g}.{_fewer_classes(scores)}{unscored}{left_out}"
            f"{_significance(scores)}\n"
            f"{_n(scores)}.",
        )
    return figure


def _dodged(scores: xr.Dataset, names: list[str]) -> list[tuple[str, int, float, str]]:
    """Return setting, its place, offset and representation of every score that exists."""
    found = []
    for place, setting in enumerate(scores["setting"].values):
        existing = [name for name in names if np.isfinite(scores["value"].sel(representation=name, setting=setting))]
        for rank, name in enumerate(existing):
            found.append((str(setting), place, 0.8 * ((rank + 0.5) - len(existing) / 2) / len(names), name))
    return found


def _handles(names: list[str], color: dict[str, tuple[float, float, float]], marker: dict[str, str]) -> list[Line2D]:
    return [Line2D([], [], color=color[name], marker=marker[name], markersize=4, label=name) for name in names]


def _point(axes: Axes, x: float, one: xr.Dataset, key: str, color: tuple[float, ...], marker: str) -> None:
    low, high = ("low", "high") if key == "value" else (f"{key}_low", f"{key}_high")
    axes.vlines(x, float(one[low]), float(one[high]), color=color, linewidth=1.2)
    axes.plot(x, float(one[key]), marker=marker, color=color, markersize=4)


def _tuned(scores: xr.Dataset) -> str:
    """Say how settings were chosen, if they were."""
    how = str(scores.attrs.get("settings", "")).split(". ")[0]
    return f" Settings {how}." if how.startswith("chosen") else ""


def _chance(axes: Axes, scores: xr.Dataset) -> None:
    axes.axhline(scores.attrs["chance"], color="0.4", linewidth=0.8, linestyle="--", zorder=1)


def _fewer_classes(scores: xr.Dataset) -> str:
    """Say that chance is higher where a decoder and its target share fewer classes, if that occurs."""
    if "chance" not in scores or not (scores["chance"] > scores.attrs["chance"] + 1e-9).any():
        return ""
    return " Animals lack classes: where fewer are shared, chance is higher than the one marked."


def _mark_significant(axes: Axes, scores: xr.Dataset, name: str) -> None:
    """Frame pairs of different animals whose accuracy is above their null, corrected over pairs."""
    if "accuracy_p_corrected" not in scores:
        return
    p = scores["accuracy_p_corrected"].sel(representation=name).to_numpy()
    for source, target in np.argwhere((p <= SIGNIFICANT) & ~np.eye(len(p), dtype=bool)):
        axes.add_patch(Rectangle((target - 0.44, source - 0.44), 0.88, 0.88, fill=False, edgecolor="white", linewidth=0.6))


def _significance(scores: xr.Dataset) -> str:
    if "accuracy_p_corrected" not in scores or not np.isfinite(scores["accuracy_p_corrected"]).any():
        return ""
    return f" Framed: p ≤ {SIGNIFICANT:g} against refits, corrected over pairs of different animals."


def _n(scores: xr.Dataset) -> str:
    seeds = " or ".join(str(count) for count in np.unique(scores["seeds"]))
    return (
        f"Animals: {scores.sizes['target']}; {tested_trials(scores.attrs)}: {int(scores['trials'].sum())}; "
        f"splits: {scores.sizes['split']}; "
        f"seeds of a representation: {seeds}"
    )
