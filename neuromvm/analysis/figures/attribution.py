"""Figures of the analysis ``attribution``, of one model each, drawn from its saved scores."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, shortened, span, tested_trials

MOST_ANIMALS = 10  # panels of a figure
MARKS = 16  # of a panel: classes times units
MOST_UNITS = 3  # of a class
LABEL_GAP = 0.11  # between names of lines, as a share of the height of a panel


def units_by_latent(scores: xr.Dataset) -> Figure:
    """Draw the effect of every unit on every latent: a panel an animal, units by region and by the latent they move most."""
    prefix, names, animals = _animals(scores)
    effect = scores["latent_effect"].dropna("latent", how="all")
    largest = float(effect.quantile(0.995))
    columns = min(5, len(animals))
    rows = -(-len(animals) // columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.75 + 1.75 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, (axes, animal, name) in enumerate(zip(grid.flat, animals, names, strict=False)):
            own = effect.isel(unit=scores["of_animal"].values == animal).transpose("unit", "latent")
            order, regions = _by_region(own)
            image = axes.imshow(
                own.to_numpy()[order], aspect="auto", cmap="viridis", vmin=0, vmax=largest, interpolation="nearest"
            )
            axes.set_title(f"{name}, {len(order)} units")
            _mark_regions(axes, regions)
            latents = own["latent"].to_numpy()
            shown = np.arange(0, len(latents), max(1, len(latents) // 5))
            axes.set_xticks(shown, [str(int(latents[one])) for one in shown])
            axes.set_xlabel("latent" if place + columns >= len(animals) else "")
        for axes in grid.flat[len(animals) :]:
            axes.set_axis_off()
        figure.colorbar(
            image, ax=grid, label="change of the latent [sd]", shrink=min(1.0, 1.6 / (1.75 * rows) + 0.2), extend="max"
        )
        style.caption(
            figure,
            f"Root mean square change of the posterior mean when a unit's activity is replaced by its mean, over "
            f"{tested_trials(scores.attrs)}.\nUnits are sorted by region, then by the latent that they move most. "
            f"{_about(scores, prefix, animals)}",
        )
    return figure


def units_of_classes(scores: xr.Dataset, classes: Sequence[str]) -> Figure:
    """Draw the units that each class loses most by, with intervals: a panel an animal."""
    prefix, names, animals = _animals(scores)
    classes = ordered(list(classes))
    class_prefix, short = shortened(classes)
    count = max(1, min(MOST_UNITS, MARKS // len(classes)))
    columns = min(2, len(animals))
    rows = -(-len(animals) // columns)
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.75 + 1.45 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, (axes, animal, name) in enumerate(zip(grid.flat, animals, names, strict=False)):
            own = scores.isel(unit=scores["of_animal"].values == animal)
            for position, one in enumerate(classes):
                if one in own["class"].values:
                    _strongest_units(axes, own.sel({"class": one}), position, count)
            axes.axhline(0, color="0.4", linewidth=0.6, linestyle="--", zorder=0)
            axes.set_title(name)
            axes.set_xticks(range(len(classes)), short)
            axes.set_xlim(-0.6, len(classes) - 0.4)
            axes.margins(y=0.22)
            axes.set_ylabel("loss [nats]" if place % columns == 0 else "")
            axes.set_xlabel(str(scores.attrs["label"]) if place + columns >= len(animals) else "")
        for axes in grid.flat[len(animals) :]:
            axes.set_axis_off()
        left_out = f" Classes without their common beginning, {class_prefix}." if class_prefix else ""
        trials = scores["trials"].sel(animal=animals).to_numpy()
        best = f"the {count} units with most" if count > 1 else "the unit with most"
        style.caption(
            figure,
            f"Loss of the log probability of the true {scores.attrs['label']} when a unit is silenced; {best} of each, with the "
            f"unit's number.\nBars: {scores.attrs['interval']}. The largest of many are shown, and look larger than they are.\n"
            f"{tested_trials(scores.attrs).capitalize()} of a class: {span(trials.ravel().tolist())}.{left_out} "
            f"{_about(scores, prefix, animals)}",
        )
    return figure


def traversals(scores: xr.Dataset) -> Figure:
    """Draw decoded activity against the value of a latent: a row an animal, a column a latent, the units it moves most."""
    prefix, names, animals = _animals(scores)
    places = np.flatnonzero(np.isfinite(scores["latent_shown"].to_numpy()))
    units = [str(scores["activity_units"].sel(animal=animal).item()) for animal in animals]
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.8 + 1.0 * len(animals)), layout="constrained")
        grid = figure.subplots(len(animals), len(places), squeeze=False, sharex=True, sharey="row")
        for row, (animal, name) in enumerate(zip(animals, names, strict=True)):
            for column, place in enumerate(places):
                axes = grid[row, column]
                _lines(axes, scores.sel(animal=animal).isel(place=place))
                if row == 0:
                    axes.set_title(f"latent {int(scores['latent_shown'][place])}")
                if row == len(animals) - 1:
                    axes.set_xlabel("value [sd]")
            for column, place in enumerate(places):
                _name_lines(grid[row, column], scores.sel(animal=animal).isel(place=place))
            grid[row, 0].set_ylabel(f"{name}\n[Hz]" if units[row] == "Hz" else name)
        kinds = sorted(set(units) - {"Hz"})
        unit = f"\nActivity: {' or '.join(kinds)}." if kinds else ""
        style.caption(
            figure,
            "Activity that the decoder expects when one latent moves and the others stay at their mean, averaged over the bins "
            f"of a window.\nLatents are those that move activity most, units (numbered) those moved most.{unit} "
            f"{_about(scores, prefix, animals)}",
        )
    return figure


def _animals(scores: xr.Dataset) -> tuple[str, list[str], list[str]]:
    """Return the beginning that is left out of the animals' names, the names without it, and the animals drawn."""
    animals = [str(name) for name in scores["animal"].values]
    prefix, names = shortened(animals)
    return prefix, names[:MOST_ANIMALS], animals[:MOST_ANIMALS]


def _about(scores: xr.Dataset, prefix: str, animals: list[str]) -> str:
    said = f"Split {scores.attrs['split']}, seed {scores.attrs['seed']}."
    if prefix:
        said += f" Animals without their common beginning, {prefix}."
    if len(animals) < scores.sizes["animal"]:
        said += f" The first {len(animals)} of {scores.sizes['animal']} animals; the others are in the CSV."
    return said


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


def _strongest_units(axes: Axes, own: xr.Dataset, position: int, count: int) -> None:
    value = own["class_effect"].to_numpy()
    known = np.flatnonzero(np.isfinite(value))
    best = known[np.argsort(-value[known], kind="stable")][:count]
    color = list(style.colors([str(rank) for rank in range(MOST_UNITS)]).values())
    for rank, unit in enumerate(best):
        x = position + 0.7 * ((rank + 0.5) / count - 0.5)
        low, high = (float(own[f"class_effect_{end}"][unit]) for end in ("low", "high"))
        if np.isfinite(low):
            axes.vlines(x, low, high, color=color[rank], linewidth=1.0)
        axes.plot(x, value[unit], "o", color=color[rank], markersize=2.5)
        top = high if np.isfinite(high) else value[unit]
        axes.annotate(
            str(own["name"].values[unit]), (x, top), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=5
        )


def _lines(axes: Axes, one: xr.Dataset) -> None:
    step = one["step"].to_numpy()
    for rank, color in enumerate(_colors(one)):
        axes.plot(step, one["activity"].isel(rank=rank).transpose("step"), color=color)
    axes.set_xticks([step[0], 0, step[-1]], [f"{end:g}".replace("-", "−") for end in (step[0], 0, step[-1])])


def _name_lines(axes: Axes, one: xr.Dataset) -> None:
    """Write the number of each unit at the end of its line, moved apart where they would overlap; limits are set by now."""
    low, high = axes.get_ylim()
    ends = one["activity"].isel(step=-1).transpose("rank").to_numpy()
    ranks = np.flatnonzero(np.isfinite(ends))
    ranks = ranks[np.argsort(ends[ranks])]
    gap = LABEL_GAP * (high - low)
    heights = ends[ranks]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + gap)
    if len(heights):
        heights -= (heights - ends[ranks]).mean()
    for rank, height in zip(ranks, heights, strict=True):
        axes.annotate(
            str(one["unit_shown"].values[rank]),
            (float(one["step"][-1]), height),
            (3, 0),
            textcoords="offset points",
            color=_colors(one)[rank],
            fontsize=5,
            va="center",
            annotation_clip=False,
        )


def _colors(one: xr.Dataset) -> list[tuple[float, float, float]]:
    return list(style.colors([str(rank) for rank in range(one.sizes["rank"])]).values())
