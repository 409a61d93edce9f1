"""Rasters and PSTHs of single units: recorded, reconstructed and imputed; drawn from saved ``unit_activity``."""

import json

import numpy as np
import xarray as xr
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import CLASSES
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, tested_trials

KINDS = ("recorded", "reconstructed", "imputed")
SOURCES = {"recorded": "recorded", "reconstructed": "reconstructed\nfrom own latents", "imputed": "imputed from\nother animals"}
STRIP = 0.025  # width of the colors of conditions, as a share of a panel


@style.applied()
def rasters(scores: xr.Dataset, animal: str) -> Figure:
    """Draw every test trial of some units of an animal, sorted by condition: spikes as recorded, and expected activity."""
    places, conditions = _places(scores, animal), _conditions(scores)
    kinds = [kind for kind in KINDS if len(_rows(scores, animal, kind)["row"])]
    has_spikes = "spike_time" in scores
    titles = [*(["spikes"] if has_spikes else []), *kinds]
    figure, grid = style.page(0.7 + 1.35 * len(titles), len(titles), len(places), squeeze=False)
    for column, (place, unit) in enumerate(places):
        values = [_sorted(_rows(scores, animal, kind), conditions) for kind in kinds]
        top = max(float(np.nanmax(sheet[0][..., place], initial=1e-3)) for sheet in values)
        for row, title in enumerate(titles):
            axes = grid[row, column]
            if title == "spikes":
                _dots(axes, scores, animal, place, conditions)
            else:
                sheet, names = values[kinds.index(title)]
                image = _image(axes, sheet[..., place], scores["time"].to_numpy(), top)
                _strip(axes, names, conditions)
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel("spikes" if title == "spikes" else SOURCES[title], labelpad=9)
        figure.colorbar(image, ax=list(grid[:, column]), label=scores.attrs["unit"], shrink=0.4, location="bottom", aspect=12)
        grid[0, column].set_title(f"unit {unit}")
    style.legend(figure, CLASSES.handles(conditions, marked=False), title=scores.attrs["label"])
    return _captioned(figure, scores, animal, "Every test trial of single units, sorted by condition (colors at the left)")


@style.applied()
def psths(scores: xr.Dataset, animal: str) -> Figure:
    """Draw the mean activity of some units of an animal in each condition: recorded, reconstructed and imputed."""
    places, conditions = _places(scores, animal), _conditions(scores)
    kinds = [kind for kind in KINDS if len(_rows(scores, animal, kind)["row"])]
    figure, grid = style.page(0.7 + 1.35 * len(kinds), len(kinds), len(places), squeeze=False, sharex=True, sharey="col")
    color, line_style = CLASSES.colors(conditions), CLASSES.line_styles(conditions)
    time = scores["time"].to_numpy()
    for row, kind in enumerate(kinds):
        of_kind = _rows(scores, animal, kind)
        for column, (place, unit) in enumerate(places):
            axes = grid[row, column]
            for name in conditions:
                trials = of_kind["value"].isel(place=place).to_numpy()[of_kind["condition"].values == name]
                if len(trials):
                    mean, error = _mean(trials)
                    marker = "o" if len(time) == 1 else ""
                    axes.fill_between(time, mean - error, mean + error, color=color[name], alpha=0.2, linewidth=0)
                    axes.plot(time, mean, color=color[name], linestyle=line_style[name], marker=marker, markersize=3)
            if row == 0:
                axes.set_title(f"unit {unit}")
            if column == 0:
                axes.set_ylabel(SOURCES[kind])
            if row == len(kinds) - 1:
                axes.set_xlabel("time [s]" if scores.attrs["grid"] == "time" else scores.attrs["grid"])
    style.legend(figure, CLASSES.handles(conditions, marked=False), title=scores.attrs["label"])
    return _captioned(figure, scores, animal, "Mean activity of single units in each condition, with standard errors")


def _mean(trials: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return mean and standard error over trials ``(trial, time)``; NaN where none has a value."""
    count = np.isfinite(trials).sum(axis=0)
    mean = np.where(count > 0, np.nansum(trials, axis=0) / np.maximum(count, 1), np.nan)
    deviation = np.sqrt(np.nansum((trials - mean) ** 2, axis=0) / np.maximum(count - 1, 1))
    return mean, np.where(count > 1, deviation / np.sqrt(np.maximum(count, 1)), 0)


def _places(scores: xr.Dataset, animal: str) -> list[tuple[int, str]]:
    """Return the places that hold a unit of an animal, and its name."""
    names = scores["unit"].to_numpy()[scores["animals"].values == animal][0]
    return [(place, str(name)) for place, name in enumerate(names) if name]


def _conditions(scores: xr.Dataset) -> list[str]:
    return ordered(json.loads(scores.attrs["classes"]))


def _rows(scores: xr.Dataset, animal: str, kind: str) -> xr.Dataset:
    chosen = (scores["row_animal"].values == animal) & (scores["kind"].values == kind)
    return scores[["value"]].isel(row=chosen)


def _sorted(rows: xr.Dataset, conditions: list[str]) -> tuple[NDArray[np.floating], list[str]]:
    """Return rows in the order of conditions, and the condition of each."""
    numbers = [conditions.index(name) for name in rows["condition"].values.tolist()]
    order = np.argsort(numbers, kind="stable")
    values = rows["value"].transpose("row", "time", "place").to_numpy()
    return values[order], [conditions[numbers[number]] for number in order]


def _dots(axes: Axes, scores: xr.Dataset, animal: str, place: int, conditions: list[str]) -> None:
    """Draw spikes as recorded over the whole trial, and where the window lies."""
    chosen = (scores["spike_animal"].values == animal) & (scores["spike_place"].values == place)
    spikes, color = scores.isel(spike=chosen), CLASSES.colors(conditions)
    y, trials = spikes["spike_row"].values, int(scores["spike_trials"].values[scores["animals"].values == animal][0])
    for name in conditions:
        of_name = spikes["spike_condition"].values == name
        axes.plot(spikes["spike_time"].values[of_name], y[of_name], "|", color=color[name], markersize=2, markeredgewidth=0.5)
    time = scores["time"].to_numpy()
    axes.axvspan(time[0], time[-1], color="0.93", zorder=0, linewidth=2)
    axes.set(ylim=(trials - 0.5, -0.5), xlabel="time [s]" if scores.attrs["grid"] == "time" else scores.attrs["grid"])


def _image(axes: Axes, sheet: NDArray[np.floating], time: NDArray[np.floating], top: float) -> AxesImage:
    half = float(np.diff(time).min()) / 2 if len(time) > 1 else 0.5
    extent = (float(time[0]) - half, float(time[-1]) + half, len(sheet) - 0.5, -0.5)
    image = axes.imshow(sheet, aspect="auto", extent=extent, cmap="Greys", vmin=min(0.0, float(np.nanmin(sheet))), vmax=top)
    if len(time) == 1:
        axes.set_xticks([])
    return image


def _strip(axes: Axes, names: list[str], conditions: list[str]) -> None:
    """Draw the colors of the conditions of rows left of an image."""
    color = CLASSES.colors(conditions)
    strip = axes.inset_axes((-1.6 * STRIP, 0, STRIP, 1))
    strip.imshow(np.array([[color[name]] for name in names]), aspect="auto", interpolation="nearest")
    strip.set_axis_off()


def _captioned(figure: Figure, scores: xr.Dataset, animal: str, what: str) -> Figure:
    counts = {kind: len(_rows(scores, animal, kind)["row"]) for kind in KINDS}
    rows = "; ".join(f"{kind} {count}" for kind, count in counts.items() if count)
    model = f" Model: {scores.attrs['model']}." if "model" in scores.attrs else ""
    numbers = scores[["value"]].isel(row=scores["row_animal"].values == animal)
    return style.caption(
        figure,
        f"Animal {animal}.{model} Activity: {scores.attrs['unit']}. Units that tell conditions apart best in training trials. "
        f"Imputed: tuples of test trials of the other animals.\nSplit {scores.attrs['split']}; {tested_trials(scores.attrs)}, "
        f"rows: {rows}. No null: this figure describes.",
        f"{what}, of animal {animal}: recorded, reconstructed and imputed.",
        numbers,
    )
