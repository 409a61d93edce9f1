"""Figures of the analysis ``attribution``, of one model each, drawn from its saved scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import OTHERS, Color
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, shortened, span, tested_trials

MOST_ANIMALS = 10  # panels of a figure
MARKS = 16  # of a panel: classes times units
MOST_UNITS = 3  # of a class
LABEL_GAP = 0.11  # between names of lines, as a share of the height of a panel


@style.applied()
def units_by_latent(scores: xr.Dataset) -> Figure:
    """Draw the effect of every unit on every latent: a panel per animal, units by region and by the latent they move most."""
    prefix, names, animals = _animals(scores)
    effect = scores["latent_effect"].dropna("latent", how="all").transpose("unit", "latent")
    largest = float(effect.quantile(0.995))
    latents = effect["latent"].to_numpy()
    ticks = np.arange(0, len(latents), max(1, len(latents) // 5))
    figure, panels = style.panels(len(animals), 5, 0.75, 1.75)
    for (axes, _, is_bottom), animal, name in zip(panels, animals, names, strict=True):
        of_animal = effect.isel(unit=scores["of_animal"].values == animal)
        order, regions = _by_region(of_animal)
        image = axes.imshow(
            of_animal.to_numpy()[order], aspect="auto", cmap="viridis", vmin=0, vmax=largest, interpolation="nearest"
        )
        axes.set_title(f"{name}, {len(order)} units")
        _mark_regions(axes, regions)
        axes.set_xticks(ticks, [str(int(latent)) for latent in latents[ticks]])
        axes.set_xlabel("latent" if is_bottom else "")
    shrink = min(1.0, 1.6 / (1.75 * -(-len(panels) // 5)) + 0.2)
    figure.colorbar(image, ax=figure.axes, label="change of the latent [sd]", shrink=shrink, extend="max")
    return style.caption(
        figure,
        f"Root mean square change of the posterior mean when a unit's activity is replaced by its mean, over "
        f"{tested_trials(scores.attrs)}.\nUnits are sorted by region, then by the latent that they move most. "
        f"{_description(scores, prefix, animals)}",
        "How much each latent changes when a unit is silenced, a matrix of units by latents for each animal.",
        style.only(scores, "latent_effect"),
    )


@style.applied()
def units_of_classes(scores: xr.Dataset, classes: Sequence[str]) -> Figure:
    """Draw the units that each class loses most by, with intervals: a panel per animal."""
    prefix, names, animals = _animals(scores)
    classes = ordered(list(classes))
    class_prefix, short = shortened(classes)
    count = max(1, min(MOST_UNITS, MARKS // len(classes)))
    figure, panels = style.panels(len(animals), 2, 0.75, 1.45)
    for (axes, is_left, is_bottom), animal, name in zip(panels, animals, names, strict=True):
        of_animal = scores.isel(unit=scores["of_animal"].values == animal)
        for position, label in enumerate(classes):
            if label in of_animal["class"].values:
                _strongest_units(axes, of_animal.sel({"class": label}), position, count)
        axes.axhline(0, color="0.4", linewidth=0.6, linestyle="--", zorder=0)
        axes.set_title(name)
        axes.set_xticks(range(len(classes)), short)
        axes.set_xlim(-0.6, len(classes) - 0.4)
        axes.margins(y=0.22)
        axes.set(ylabel="loss [nats]" if is_left else "", xlabel=str(scores.attrs["label"]) if is_bottom else "")
    omitted = f" Classes without their common beginning, {class_prefix}." if class_prefix else ""
    trials = scores["trials"].sel(animal=animals).to_numpy()
    best = f"the {count} units with most" if count > 1 else "the unit with most"
    return style.caption(
        figure,
        f"Loss of the log probability of the true {scores.attrs['label']} when a unit is silenced; {best} of each, with the "
        f"unit's number.\nBars: {scores.attrs['interval']}. The largest of many are shown, and look larger than they are.\n"
        f"{tested_trials(scores.attrs).capitalize()} of a class: {span(trials.ravel().tolist())}.{omitted} "
        f"{_description(scores, prefix, animals)}",
        f"The units whose silencing costs most of the evidence for each {scores.attrs['label']}, a panel for each animal.",
        style.only(scores, "class_effect", "class_effect_low", "class_effect_high", "trials"),
    )


@style.applied()
def traversals(scores: xr.Dataset) -> Figure:
    """Draw decoded activity against the value of a latent: a row per animal, a column per latent, the units it moves most."""
    prefix, names, animals = _animals(scores)
    shown = scores.isel(place=np.isfinite(scores["latent_shown"].to_numpy()))
    units = [str(scores["activity_units"].sel(animal=animal).item()) for animal in animals]
    rows, columns = len(animals), shown.sizes["place"]
    figure, grid = style.page(0.8 + 1.0 * rows, rows, columns, squeeze=False, sharex=True, sharey="row")
    for axes, latent in zip(grid[0], shown["latent_shown"].values, strict=True):
        axes.set_title(f"latent {int(latent)}")
    for axes in grid[-1]:
        axes.set_xlabel("value [sd]")
    for row, (animal, name) in enumerate(zip(animals, names, strict=True)):
        lines = [shown.sel(animal=animal, place=number) for number in shown["place"].values]
        for draw in (_lines, _name_lines):  # names after all lines of a row, which share the limits of the axes
            for axes, of_latent in zip(grid[row], lines, strict=True):
                draw(axes, of_latent)
        grid[row, 0].set_ylabel(f"{name}\n[Hz]" if units[row] == "Hz" else name)
    kinds = sorted(set(units) - {"Hz"})
    unit = f"\nActivity: {' or '.join(kinds)}." if kinds else ""
    return style.caption(
        figure,
        "Activity that the decoder expects when one latent moves and the others stay at their mean, averaged over the bins "
        f"of a window.\nLatents are those that move activity most, units (numbered) those moved most.{unit} "
        f"{_description(scores, prefix, animals)}",
        "Activity that is decoded when one latent moves, by animal (rows) and latent (columns), a line each unit.",
        style.only(scores, "activity"),
    )


def _animals(scores: xr.Dataset) -> tuple[str, list[str], list[str]]:
    """Return the common beginning of the names of animals, the names without it, and the animals drawn."""
    animals = style.names_of(scores, "animal")
    prefix, names = shortened(animals)
    return prefix, names[:MOST_ANIMALS], animals[:MOST_ANIMALS]


def _description(scores: xr.Dataset, prefix: str, animals: list[str]) -> str:
    """Describe the replica and the animals that are drawn."""
    text = f"Split {scores.attrs['split']}, seed {scores.attrs['seed']}."
    if prefix:
        text += f" Animals without their common beginning, {prefix}."
    if len(animals) < scores.sizes["animal"]:
        text += f" The first {len(animals)} of {scores.sizes['animal']} animals; the others are in the CSV."
    return text


def _by_region(effect: xr.DataArray) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Return the order of units by region and preferred latent, and the number of units of each region in that order."""
    values = np.nan_to_num(effect.to_numpy())
    region = effect["region"].to_numpy()
    silent = values.max(axis=1) == 0  # without effect on any latent, hence without a preferred one
    order = np.lexsort((-values.max(axis=1), values.argmax(axis=1), silent, region))
    names, counts = np.unique(region, return_counts=True)
    return order, [(str(name), int(count)) for name, count in zip(names, counts, strict=True)]


def _mark_regions(axes: Axes, regions: list[tuple[str, int]]) -> None:
    """Name the regions beside their units; without several of them there is nothing to mark."""
    axes.set_yticks([])
    if len(regions) < 2:
        axes.set_ylabel(regions[0][0] if regions else "")
        return
    begin = np.cumsum([0, *(count for _, count in regions)])
    for edge in begin[1:-1]:
        axes.axhline(edge - 0.5, color="white", linewidth=0.8)
    axes.set_yticks((begin[:-1] + begin[1:] - 1) / 2, [name for name, _ in regions], fontsize=5, rotation=90, va="center")
    axes.tick_params(axis="y", length=0)


def _strongest_units(axes: Axes, of_class: xr.Dataset, position: int, count: int) -> None:
    effect = of_class["class_effect"].to_numpy()
    known = np.flatnonzero(np.isfinite(effect))
    color = _colors(MOST_UNITS)
    for rank, unit in enumerate(known[np.argsort(-effect[known], kind="stable")][:count]):
        x = position + style.aside(rank, count, 0.7)
        low, high = (float(of_class[f"class_effect_{end}"][unit]) for end in ("low", "high"))
        if np.isfinite(low):
            axes.vlines(x, low, high, color=color[rank], linewidth=1.0)
        axes.plot(x, effect[unit], "o", color=color[rank], markersize=2.5)
        top = high if np.isfinite(high) else effect[unit]
        name = str(of_class["name"].values[unit])
        axes.annotate(name, (x, top), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=5)


def _lines(axes: Axes, of_latent: xr.Dataset) -> None:
    step = of_latent["step"].to_numpy()
    for rank, color in enumerate(_colors(of_latent.sizes["rank"])):
        axes.plot(step, of_latent["activity"].isel(rank=rank).transpose("step"), color=color)
    axes.set_xticks([step[0], 0, step[-1]], [f"{end:g}".replace("-", "−") for end in (step[0], 0, step[-1])])


def _name_lines(axes: Axes, of_latent: xr.Dataset) -> None:
    """Write the number of each unit at the end of its line; numbers that would overlap are moved apart."""
    low, high = axes.get_ylim()
    ends = of_latent["activity"].isel(step=-1).transpose("rank").to_numpy()
    ranks = np.flatnonzero(np.isfinite(ends))
    ranks = ranks[np.argsort(ends[ranks])]
    heights = ends[ranks]
    for position in range(1, len(heights)):
        heights[position] = max(heights[position], heights[position - 1] + LABEL_GAP * (high - low))
    if len(heights):
        heights -= (heights - ends[ranks]).mean()
    for rank, height in zip(ranks, heights, strict=True):
        look: dict[str, Any] = {"color": _colors(len(ends))[rank], "fontsize": 5, "va": "center", "annotation_clip": False}
        name, end = str(of_latent["unit_shown"].values[rank]), float(of_latent["step"][-1])
        axes.annotate(name, (end, height), (3, 0), textcoords="offset points", **look)


def _colors(count: int) -> list[Color]:
    return list(OTHERS.colors([str(rank) for rank in range(count)]).values())
