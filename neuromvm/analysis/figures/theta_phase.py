"""Figures of the analysis ``theta_phase``, drawn from its saved scores."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import ANIMALS, Color
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted, shortened, tested_trials

COLUMNS = 3
NULL = (0.88, 0.88, 0.88)
MEAN = (0.0, 0.0, 0.0)  # black, since animals have the colors


@style.applied()
def accuracy(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy over two cycles for each animal and their mean, with interval, null band, rate and the rhythm."""
    titles, color = _looks(scores)
    figure, panels = style.panels(len(titles), COLUMNS, 0.9, 1.65, sharex=True, sharey=True)
    low, high = _range(scores)
    for (axes, is_left, is_bottom), name in zip(panels, titles, strict=True):
        animal = scores.sel(animal=name)
        _band(axes, animal, "accuracy_null", NULL, alpha=1, zorder=0)
        _band(axes, animal, "accuracy", color[name], alpha=0.3, zorder=2)
        axes.plot(*_cycles(animal, "accuracy"), color=color[name], marker="o", markersize=2.5, zorder=3)
        _rhythm(axes, low, high)
        axes.set(title=titles[name], ylim=(low, high))
        _phase_axis(axes)
        axes.axhline(float(animal["chance"]), color="0.4", linewidth=0.8, linestyle="--", zorder=1)
        axes.set_ylabel(f"balanced accuracy\nof {scores.attrs['label']}" if is_left else "")
        if is_bottom:
            axes.set_xlabel("theta phase [degrees]")
            axes.tick_params(labelbottom=True)
    handles: list[Artist] = [
        Line2D([], [], color=MEAN, marker="o", markersize=3, label="mean over splits"),
        Patch(color="0.6", alpha=0.5, linewidth=0, label="95 % interval"),
    ]
    has_null = bool(np.isfinite(scores["accuracy_null_mean"]).any())
    if has_null:
        handles.append(Patch(color=NULL, linewidth=0, label="trials permuted"))
    handles += [
        Line2D([], [], color="0.4", linestyle="--", linewidth=0.8, label="chance"),
        Line2D([], [], color="0.7", linewidth=0.8, label="field potential"),
    ]
    style.legend(figure, handles)
    null = f"Light grey: 95 % of {scores.attrs['label_null']}." if has_null else f"Null: {scores.attrs['label_null']}."
    return style.caption(
        figure,
        f"Window {scores.attrs['start']:g} to {scores.attrs['stop']:g} s, one decoder a phase; the cycle is drawn twice.\n"
        f"Bands: {scores.attrs['interval']}.\n{null}\n{_n(scores)}.",
        f"Balanced accuracy of {scores.attrs['label']} over the phase of theta, a panel for each animal and for their mean.",
        _of_phase(scores, "accuracy"),
    )


@style.applied()
def modulation(scores: xr.Dataset) -> Figure:
    """Draw modulation of accuracy by phase in each animal with its null, and the preferred phase."""
    titles, color = _looks(scores)
    figure, (strength, phase) = style.page(0.9 + max(1.4, 0.22 * len(titles)), 1, 2, sharey=True)
    for y, name in enumerate(titles):
        animal = scores.sel(animal=name)
        null = (float(animal["modulation_null_low"]), float(animal["modulation_null_high"]))
        if np.isfinite(null).all():
            strength.fill_betweenx([y - 0.3, y + 0.3], *null, color="0.85", linewidth=0)
        ends = [float(animal[f"modulation_{side}"]) for side in ("low", "high")]
        strength.hlines(y, *ends, color=color[name], linewidth=1.2)
        strength.plot(float(animal["modulation"]), y, "o", color=color[name], markersize=4)
        # An interval that crosses an end of the cycle continues at the opposite end.
        for turn in (-360, 0, 360):
            ends = [np.degrees(float(animal[f"preferred_{side}"])) + turn for side in ("low", "high")]
            phase.hlines(y, *ends, color=color[name], linewidth=1.2)
        phase.plot(np.degrees(float(animal["preferred"])), y, "o", color=color[name], markersize=4)
    strength.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    strength.set_yticks(range(len(titles)), list(titles.values()))
    strength.set(ylim=(len(titles) - 0.5, -0.5), xlabel="modulation of balanced accuracy")
    phase.set_xlim(0, 360)
    phase.set_xticks([0, 90, 180, 270, 360], ["0\npeak", "90", "180\ntrough", "270", "360"])
    phase.set_xlabel("preferred theta phase [degrees]")
    if scores.attrs["permutations"]:
        style.legend(figure, [Patch(color="0.85", label="phases broken")])
    null_text = f"{'Grey: 95 % of' if scores.attrs['permutations'] else 'Null:'} {scores.attrs['phase_null']}."
    return style.caption(
        figure,
        "Modulation: height of the cosine over the cycle that accuracy follows best, never negative by itself.\n"
        "A preferred phase means something only where modulation exceeds the grey.\n"
        f"Bars: {scores.attrs['interval']}.\n{null_text}\n{_n(scores)}.",
        "How much accuracy changes over the theta cycle, and at which phase it is highest, by animal.",
        scores[[name for name in map(str, scores.data_vars) if name.startswith(("modulation", "preferred"))]],
    )


@style.applied()
def rate(scores: xr.Dataset) -> Figure:
    """Draw firing rate against phase: more spikes alone can raise accuracy."""
    titles, color = _looks(scores)
    figure, axes = style.page(2.3)
    lines = ANIMALS.line_styles(list(titles))
    for name in titles:
        cycles = _cycles(scores.sel(animal=name), "rate")
        axes.plot(*cycles, color=color[name], linestyle=lines[name], marker="o", markersize=2.5)
    _phase_axis(axes)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="theta phase [degrees]", ylabel="rate of the mean unit [Hz]")
    style.legend(figure, [Line2D([], [], color=color[name], linestyle=lines[name], label=titles[name]) for name in titles])
    return style.caption(
        figure,
        f"Window {scores.attrs['start']:g} to {scores.attrs['stop']:g} s; spikes by the time spent at each phase; "
        "the cycle is drawn twice.\n"
        f"Where accuracy and rate rise together, a phase may tell more only because units fire more.\n{_n(scores)}.",
        "Firing rate over the phase of theta, a line each animal.",
        _of_phase(scores, "rate"),
    )


def _of_phase(scores: xr.Dataset, beginning: str) -> xr.Dataset:
    """Return the variables over the phase whose names begin so."""
    return scores[
        [str(name) for name, values in scores.data_vars.items() if str(name).startswith(beginning) and "phase" in values.dims]
    ]


def _cycles(animal: xr.Dataset, name: str) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return phases [degrees] and values of two cycles, with a cycle beyond each end so that lines reach the ends."""
    phase = np.degrees(animal["phase"].to_numpy())
    return np.concatenate([phase + turn for turn in (-360, 0, 360, 720)]), np.tile(animal[name].to_numpy(), 4)


def _phase_axis(axes: Axes) -> None:
    axes.set(xlim=(0, 720), xticks=[0, 180, 360, 540, 720])


def _band(axes: Axes, animal: xr.Dataset, name: str, color: Color, alpha: float, zorder: int) -> None:
    (phases, low), (_, high) = (_cycles(animal, f"{name}_{side}") for side in ("low", "high"))
    axes.fill_between(phases, low, high, color=color, alpha=alpha, linewidth=0, zorder=zorder)


def _rhythm(axes: Axes, low: float, high: float) -> None:
    """Draw the cycle of the field potential along the bottom."""
    degrees = np.linspace(0, 720, 200)
    height = 0.05 * (high - low)
    axes.plot(degrees, low + 1.4 * height + height * np.cos(np.radians(degrees)), color="0.7", linewidth=0.8, zorder=1)


def _range(scores: xr.Dataset) -> tuple[float, float]:
    """Return limits with space for the rhythm below all bands."""
    names = ["accuracy_low", "accuracy_high", "accuracy_null_low", "accuracy_null_high", "chance"]
    drawn = np.concatenate([scores[name].to_numpy().ravel() for name in names])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    height = max(high - low, 0.05)
    return low - 0.2 * height, high + 0.05 * height


def _looks(scores: xr.Dataset) -> tuple[dict[str, str], dict[str, Color]]:
    """Return titles and colors of the animals that are scored, and of their mean."""
    names = [name for name in style.names_of(scores, "animal") if np.isfinite(scores["overall"].sel(animal=name))]
    titles = dict(zip(names, [*shortened(names[:-1])[1], names[-1]], strict=True))
    return titles, {**ANIMALS.colors(names[:-1]), names[-1]: MEAN}


def _n(scores: xr.Dataset) -> str:
    mean = scores.isel(animal=-1)
    text = (
        f"Animals: {scores.attrs['scored_animals']}; {tested_trials(scores.attrs)}: {int(mean['trials'])}; "
        f"splits: {scores.attrs['splits']}"
    )
    left_out = int(mean["left_out"])
    return f"{text}; {counted(left_out, 'trial')} left out: too little time at some phase" if left_out else text
