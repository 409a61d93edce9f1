"""Figures of the analysis ``sharing``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted
from neuromvm.analysis.judged import ALL_ANIMALS, ANIMALS, STATISTICS, animals_of
from neuromvm.data.correspondence import CORRESPONDENCE

ROW_HEIGHT = 0.2  # [inch]
CEILING = "own labels"
OWN = "#009e73"


@style.applied()
def held_out(scores: xr.Dataset) -> Figure:
    """Draw the accuracy of every row, among held-out and among all conditions, with null, chance and ceiling."""
    rows = [name for name in style.names_of(scores) if name != CEILING]
    settings = style.names_of(scores, "setting")
    figure, panels = style.page(1.2 + ROW_HEIGHT * len(rows), 1, len(settings), sharey=True)
    for axes, setting in zip(panels, settings, strict=True):
        _draw_rows(axes, scores.sel(setting=setting), rows)
        axes.set_title(f"among {setting}")
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].invert_yaxis()
    panels[0].set_xlabel("balanced accuracy of conditions never labelled in the animal", loc="left")
    figure.legend(handles=_handles(scores), loc="outside upper left", ncols=4)
    animals = counted(len(animals_of(scores)), "animal")
    return style.caption(
        figure,
        f"Label {scores.attrs['label']}: conditions that were never labelled in an animal, told by the others. {animals}, "
        f"{counted(int(scores['tested'].sel(target=ALL_ANIMALS)), 'trial')}, {counted(int(scores.attrs['splits']), 'split')}.\n"
        "Points: mean over animals, with 95 % over animals, then trials; small points: single animals. Rows with EM also use\n"
        "the unlabelled trials, and know that these are of held-out conditions. Grey: 95 % of refits with exchanged names.",
        f"Balanced accuracy of {scores.attrs['label']} never labelled in an animal, told by the other animals, by method.",
        style.only(scores, "score", "null_score", "chance").sel(unit_of_inference=ANIMALS, null=CORRESPONDENCE),
    )


def _draw_rows(axes: Axes, scores: xr.Dataset, rows: list[str]) -> None:
    color = METHODS.colors(rows)
    for number, name in enumerate(rows):
        row = scores.sel(representation=name)
        low, high = (
            float(row["null_score"].sel(null=CORRESPONDENCE, target=ALL_ANIMALS, null_statistic=bound))
            for bound in ("low", "high")
        )
        if np.isfinite([low, high]).all():
            axes.fill_betweenx([number - 0.4, number + 0.4], low, high, color="0.85", linewidth=0, zorder=0)
        single = row["score"].sel(target=animals_of(scores), unit_of_inference=ANIMALS, statistic="value").to_numpy()
        axes.plot(single, np.full(len(single), number + 0.22), ".", color="0.55", markersize=2.5, zorder=1)
        mean = row["score"].sel(target=ALL_ANIMALS, unit_of_inference=ANIMALS)
        value, left, right = (float(mean.sel(statistic=statistic)) for statistic in STATISTICS)
        bounds = [[value - left], [right - value]] if np.isfinite([left, right]).all() else None
        axes.errorbar(value, number, xerr=bounds, fmt="o", color=color[name], markersize=4, linewidth=1.2, zorder=2)
    axes.axvline(
        float(scores["chance"].sel(target=ALL_ANIMALS).isel(representation=0)), color="0.4", linewidth=0.8, linestyle="--"
    )
    if CEILING in scores["representation"].values:
        ceiling = scores["score"].sel(representation=CEILING, target=ALL_ANIMALS, unit_of_inference=ANIMALS, statistic="value")
        axes.axvline(float(ceiling), color=OWN, linewidth=0.8, linestyle=":")


def _handles(scores: xr.Dataset) -> list[Artist]:
    entries: list[Artist] = [
        Line2D([], [], marker="o", color="0.3", markersize=4, label="score"),
        Patch(color="0.85", label="names of conditions exchanged, everything refitted"),
        Line2D([], [], color="0.4", linewidth=0.8, linestyle="--", label="chance"),
    ]
    if CEILING in scores["representation"].values:
        entries.append(Line2D([], [], color=OWN, linewidth=0.8, linestyle=":", label="the animal's own labels of them"))
    return entries


@style.applied()
def few_labels(scores: xr.Dataset) -> Figure:
    """Draw accuracy with few labelled trials, and the gain of other animals over the animal's own decoder."""
    names = style.names_of(scores, "few_row")
    colors, trials = METHODS.colors(names), scores["trials"].to_numpy()
    figure, (left, right) = style.page(2.8, 1, 2)
    for number, name in enumerate(names):
        places = np.arange(len(trials)) + style.aside(number, len(names), 0.3)
        mean = scores["few_score"].sel(few_row=name).mean("animal").to_numpy()
        left.plot(places, mean, "o-", color=colors[name], markersize=3)
        gain = scores["few_gain"].sel(few_row=name).to_numpy()
        if np.isfinite(gain).all():
            bounds = [gain[:, 0] - gain[:, 1], gain[:, 2] - gain[:, 0]]
            right.errorbar(places, gain[:, 0], yerr=bounds, fmt="o", color=colors[name], markersize=3, linewidth=1)
    right.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
    for axes in (left, right):
        axes.set_xticks(range(len(trials)), [str(number) for number in trials])
        axes.set_xlabel("labelled trials of each condition")
    left.set_ylabel(f"balanced accuracy of {scores.attrs['label']}")
    right.set_ylabel("gain over its own decoder")
    style.legend(figure, METHODS.handles(names, marked=False))
    return style.caption(
        figure,
        f"An animal with few labelled trials, all others having all of theirs: mean over {scores.sizes['animal']} animals.\n"
        "Bars: 95 % over animals. Rows with EM also use the unlabelled test trials.",
        f"Balanced accuracy of {scores.attrs['label']} with few labelled trials, and what other animals add, by method.",
        style.only(scores, "few_score", "few_gain"),
    )
