"""Figures of the analysis ``decoding``, drawn from its saved scores."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import CELLS_WITH_NUMBERS, draw_pairs, side_names, without_zero, write_numbers
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, shortened, tested_trials, without_prefix
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS, TRIALS, animals_of, is_difference, null_in_words, values

SIGNIFICANT = 0.05
LIGHT = 0.6  # share from which the colors are light


@style.applied()
def settings(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of every representation in every setting, with animals, interval, null and chance."""
    names = style.names_of(scores)
    null = scores["null_score"].sel(null=LABELS, target=ALL_ANIMALS)
    of_animals = scores["score"].sel(target=animals_of(scores), unit_of_inference=TRIALS, statistic="value")
    width = 0.36 / len(names)
    spread = np.linspace(-0.6, 0.6, of_animals.sizes["target"]) * width
    figure, axes = style.page(2.9)
    color = METHODS.colors(names)
    for x, point in _points(scores, names):
        limits = null.sel(point).sel(null_statistic=["low", "high"]).to_numpy()
        axes.fill_between([x - width, x + width], *limits, color="0.85", linewidth=0, zorder=0)
        look = {"color": color[point["representation"]], "alpha": 0.35, "markersize": 3, "markeredgewidth": 0}
        axes.plot(x + spread, of_animals.sel(point), ".", **look)
        _draw(axes, x, scores["score"].sel(point), names)
    chance = _draw_chance(axes, scores, names)
    _name_settings(axes, scores)
    axes.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
    axes.set_ylim(bottom=0)
    handles = METHODS.handles(names)
    has_null = bool(np.isfinite(null).any())
    if has_null:
        handles.append(Patch(color="0.85", label="permuted labels"))
    handles.append(Line2D([], [], color="0.4", linestyle="--", label=f"chance, {chance}"))
    style.legend(figure, handles)
    return style.caption(
        figure,
        f"Bars: {scores.attrs['interval']}; dots: animals.{_tuned(scores)}\n"
        f"{'Grey: 95 % of' if has_null else 'Floor:'} {null_in_words(scores, LABELS)}.\n"
        f"{_n(scores)}.",
        f"Balanced accuracy of {scores.attrs['label']} of {len(names)} methods, within animals and across them. {_best(scores)}",
        style.only(scores, "score", "null_score", "chance", "trials").sel(null=LABELS, unit_of_inference=TRIALS),
    )


@style.applied()
def difference(scores: xr.Dataset) -> Figure:
    """Draw the paired difference of every representation to the reference."""
    reference, names = scores.attrs["reference"], style.names_of(scores)
    figure, axes = style.page(2.5)
    for x, point in _points(scores, [name for name in names if name != reference]):
        _draw(axes, x, scores["difference"].sel(reference=reference).sel(point), names)
    axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
    _name_settings(axes, scores)
    axes.set_ylabel(f"difference in balanced accuracy\nto {reference}")
    style.legend(figure, [handle for handle in METHODS.handles(names) if handle.get_label() != reference])
    return style.caption(
        figure,
        f"Bars: {scores.attrs['interval']}, the same draws on both sides.\n{_n(scores)}.",
        f"Balanced accuracy of each method minus that of {reference}, within animals and across them; 0 is no difference.",
        style.only(scores, "difference").sel(reference=reference, unit_of_inference=TRIALS, target=ALL_ANIMALS),
    )


@style.applied()
def transfer(scores: xr.Dataset) -> Figure:
    """Draw, for every representation in which animals can be compared, the accuracy of each animal's decoder on each animal."""
    sources, names = style.names_of(scores, "source"), style.names_of(scores)
    matrices = scores["accuracy"].sel(target=sources).mean("split", skipna=True)
    highest = float(matrices.max())
    across = matrices.where(scores["source"] != matrices["target"])
    matrices = matrices.sel(
        representation=[name for name in names if np.isfinite(across.sel(representation=name)).any()] or names[:1]
    )
    prefix, animals = shortened(sources)
    numbers, sides = ((lambda value: value > highest / 2), without_zero), ("decoder of", "test trials of")
    figure, panels, bar = draw_pairs(matrices, animals, (1.0, 0.6), (0, highest), numbers, sides=sides, label="balanced accuracy")
    for name, axes in panels.items():
        _mark_significant(axes, scores, name)
    _mark_chance(bar.ax, scores.attrs["chance"])
    unscored = "" if np.isfinite(matrices).all() else " White: cannot be scored."
    return style.caption(
        figure,
        f"Mean over splits and seeds. Chance: {scores.attrs['chance']:.3g}.{_fewer_classes(scores)}{unscored}"
        f"{without_prefix(prefix)}{_significance(scores)}\n{_n(scores)}.",
        f"Balanced accuracy of {scores.attrs.get('label', 'the label')} by the animal of the decoder and the animal "
        "that is read, a matrix for each method.",
        style.only(scores, "accuracy_p").sel(target=sources).assign(accuracy=matrices)
        if "accuracy_p" in scores
        else matrices.to_dataset(name="accuracy"),
    )


@style.applied()
def confusion(scores: xr.Dataset, setting: str = "within") -> Figure:
    """Draw, for every method, as which class samples of each class are read in a setting; classes in their order."""
    shares = scores["confusion"].sel(setting=setting).dropna("representation", how="all")
    names, classes = style.names_of(shares), ordered(style.names_of(shares, "true"))
    shares = shares.sel(true=classes, read_as=classes)
    most = 4 if len(classes) <= CELLS_WITH_NUMBERS else 2
    side = min(2.8, (style.DOUBLE - 1.3) / min(most, max(1, len(names))))
    figure, grid = style.panels(len(names), most, 0.9, side + 0.5)
    for (axes, is_left, is_bottom), name in zip(grid, names, strict=True):
        matrix = shares.sel(representation=name).to_numpy()
        image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=1)
        side_names(axes, classes, left=is_left, bottom=is_bottom, row="true", column="read as")
        write_numbers(axes, matrix, lambda share: share > LIGHT, without_zero)
        axes.set_title(name)
    if names:
        bar = figure.colorbar(image, ax=figure.axes, shrink=min(1.0, 2.5 / (side * -(-len(names) // most))), label="share")
        _mark_chance(bar.ax, scores.attrs["chance"])
    return style.caption(
        figure,
        f"Setting {setting}. Share of test samples of each {scores.attrs['label']} (rows add up to 1), mean over animals, splits "
        f"and seeds.\nChance: {scores.attrs['chance']:.3g}; the mean of the diagonal is the balanced accuracy.\n{_n(scores)}.",
        f"As which {scores.attrs['label']} test samples of each {scores.attrs['label']} are read ({setting}), a matrix for each "
        "method.",
        shares.to_dataset(name="share"),
    )


def _points(scores: xr.Dataset, names: list[str]) -> Iterator[tuple[float, dict[str, str]]]:
    """Yield where each score that exists stands, and what selects it; those of a setting are side by side."""
    table = values(scores)
    for number, setting in enumerate(_settings(scores)):
        existing = [name for name in names if np.isfinite(table.sel(representation=name, setting=setting))]
        for rank, name in enumerate(existing):
            offset = 0.8 * ((rank + 0.5) - len(existing) / 2) / len(names)
            yield number + offset, {"representation": name, "setting": setting}


def _draw(axes: Axes, x: float, score: xr.DataArray, names: list[str]) -> None:
    """Draw the mean over animals with its interval over trials, in the look that its representation has among the names."""
    name, mean = str(score["representation"].item()), score.sel(target=ALL_ANIMALS, unit_of_inference=TRIALS)
    estimate = mean.sel(statistic=["value", "low", "high"]).to_numpy()
    style.point(axes, x, *estimate, color=METHODS.colors(names)[name], marker=METHODS.markers(names)[name])


def _draw_chance(axes: Axes, scores: xr.Dataset, names: list[str]) -> str:
    """Draw what guessing gives under each score, since animals may lack classes; return its range in words."""
    half, drawn = 0.4 / len(names), []
    for x, point in _points(scores, names):
        drawn.append(float(scores["chance"].sel({**point, "target": ALL_ANIMALS})))
        axes.hlines(drawn[-1], x - half, x + half, color="0.4", linewidth=0.8, linestyle="--", zorder=1)
    return style.limits(drawn or [scores.attrs["chance"]])


def _best(scores: xr.Dataset) -> str:
    """Say which method is best in each setting."""
    table = values(scores)
    best = []
    for setting in _settings(scores):
        known = table.sel(setting=setting).dropna("representation")
        if known.size:
            best.append(f"{setting} {known.idxmax('representation').item()}, {float(known.max()):.2f}")
    return f"Best: {'; '.join(best)}. Chance: {scores.attrs['chance']:.3g}." if best else ""


def _settings(scores: xr.Dataset) -> list[str]:
    return [setting for setting in map(str, scores["setting"].values) if not is_difference(setting)]


def _name_settings(axes: Axes, scores: xr.Dataset) -> None:
    names = _settings(scores)
    axes.set_xticks(range(len(names)), names)


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
    look: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 6}
    axes.annotate("chance", (0, chance), (-3, 0), ("axes fraction", "data"), "offset points", **look)


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
        f"splits: {scores.sizes['split']}; seeds of a representation: {seeds}"
    )
