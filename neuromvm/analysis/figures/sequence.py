"""Figures of the analyses of odor sequences: ``sequence``, ``odor_or_position``, ``trial_contrasts``, ``lag_distance``."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import OTHERS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted

NULL = "0.85"
CHANCE: dict[str, Any] = {"color": "0.4", "linewidth": 0.8, "linestyle": "--"}


@style.applied()
def time_course(scores: xr.Dataset) -> Figure:
    """Draw the decoded share of previous, current and next odor against time, and next minus previous."""
    names, attrs = style.names_of(scores, "relation"), scores.attrs
    time = scores["window"].to_numpy()
    figure, panels = style.page(2.9, 1, 2)
    color = OTHERS.colors(names)
    for axes, shown in zip(panels, (names[:-1], names[-1:]), strict=True):
        null = scores.sel(relation=shown)
        low = np.minimum(null["null_low"].to_numpy(), null["exchanged_low"].to_numpy()).min(axis=0)
        high = np.maximum(null["null_high"].to_numpy(), null["exchanged_high"].to_numpy()).max(axis=0)
        axes.axvspan(attrs["start"], attrs["stop"], ymax=0.03, color="0.3", linewidth=0)
        axes.fill_between(time, low, high, color=NULL, linewidth=0)
        for name in shown:
            curve = scores.sel(relation=name)
            axes.fill_between(time, curve["low"], curve["high"], color=color[name], alpha=0.25, linewidth=0)
            axes.plot(time, curve["value"], color=color[name])
        axes.axvline(0, color="0.7", linewidth=0.6, zorder=0)
        axes.set(xlabel="centre of the window [s]", xlim=(time[0], time[-1]))
    for axes, chance, subject in zip(panels, (attrs["chance"], 0), (" of the odor", ", next - previous"), strict=True):
        axes.axhline(chance, **CHANCE)
        axes.set_ylabel(f"{attrs['measure']}{subject}")
    curves = [Line2D([], [], color=color[name], label=name) for name in names]
    patches = [Patch(color=NULL, label="permuted activity"), Patch(color="0.3", label="fitted in")]
    style.legend(figure, [*curves, *patches, Line2D([], [], color="0.4", linestyle="--", label="chance")])
    return style.caption(
        figure,
        f"Decoded: {attrs['label']}; sequence {' '.join(json.loads(attrs['sequence']))}. Bands: {attrs['interval']}.\n"
        f"Grey: 95 % of {attrs['floor']}, or, where wider,\n"
        "of decoded trials exchanged; each window alone.\n"
        f"{counted(scores.sizes['animal'], 'animal')}; correct in-sequence trials: {int(scores['trials'].sum())}; "
        f"folds: {attrs['folds']}.{_left_out(attrs)}",
        "How often a trial is read as the previous, the current and the next odor of the sequence, over the time of the trial.",
    )


@style.applied()
def odor_or_position(scores: xr.Dataset) -> Figure:
    """Draw, for each representation, the shares of out-of-sequence trials decoded as odor and as position, with both nulls."""
    attrs, reads, representations = scores.attrs, style.names_of(scores, "read")[:2], style.names_of(scores)
    figure, axes = style.page(2.8)
    color = OTHERS.colors([*reads, "in sequence"])
    for center, representation in enumerate(representations):
        selected = scores.sel(representation=representation)
        for read, x in zip(reads, (center - 0.22, center + 0.04), strict=True):
            share = selected.sel(read=read)
            axes.hlines(float(share["given_high"]), x - 0.1, x + 0.1, color="0.25", linewidth=0.9, linestyle=":")
            _score(axes, x, share, 0.1, color[read])
        axes.plot(center + 0.28, float(selected["in_sequence"]), "D", color=color["in sequence"], markersize=4)
    axes.axhline(attrs["chance"], **CHANCE)
    _ticks(axes, representations)
    axes.set(ylim=(0, 1.02), ylabel="share of test trials")
    labels = [*(f"out of sequence: {name}" for name in reads), "in sequence:\nodor = position"]
    handles = [
        Line2D([], [], color=hue, marker=marker, markersize=4, linestyle="", label=label)
        for hue, marker, label in zip(color.values(), "ooD", labels, strict=True)
    ]
    exchanged = Line2D([], [], color="0.25", linestyle=":", label="97.5 % if exchanged\nwithin the other label")
    chance = Line2D([], [], color="0.4", linestyle="--", label=f"chance, {attrs['chance']:.3g}")
    style.legend(figure, [*handles, Patch(color=NULL, label="95 % of permuted"), exchanged, chance])
    return style.caption(
        figure,
        "Decoders of correct in-sequence training trials. Bars: "
        f"{attrs['interval']}; dots: animals.\nGrey: 95 % of {_floors(attrs)}.\n"
        f"Out-of-sequence trials: {_trials(scores, 'trials')}.{_left_out(attrs)}",
        "How often trials out of sequence are read as their odor and as their position, by method.",
    )


@style.applied()
def contrasts(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of the contrasts, and accuracy of the odor on each type of trial."""
    attrs = scores.attrs
    figure, panels = style.page(2.9, 1, 2, width_ratios=[1, 1.7])
    names = {"in_sequence": "in / out of\nsequence", "correct": "correct /\nincorrect"}
    color = OTHERS.colors(["contrast", "odor"])
    for axes, dim, prefix in zip(panels, ("contrast", "kind"), ("", "odor_"), strict=True):
        chance = attrs[f"{prefix}chance"]
        for x, name in enumerate(scores[dim].values):
            score = scores.sel({dim: name})
            if np.isfinite(score[f"{prefix}value"]):
                _score(axes, x, score, 0.25, color["odor" if prefix else "contrast"], prefix)
            else:
                axes.annotate("too few\ntrials", (x, chance), ha="center", va="bottom", fontsize=6, color="0.4")
        axes.axhline(chance, **CHANCE)
        labels = [name.replace(" seq", "\nseq").replace(", ", ",\n") for name in style.names_of(scores, dim)]
        _ticks(axes, [names.get(label, label) for label in labels], fontsize=6)
        axes.set_ylim(0, 1.02)
    panels[0].set_ylabel("balanced accuracy of the contrast")
    panels[0].set_title("contrast", loc="left")
    panels[1].set_ylabel("share of trials read rightly")
    panels[1].set_title("odor, decoder of correct in-sequence trials", loc="left")
    keys = [Patch(color=NULL, label="permuted activity"), Line2D([], [], color="0.4", linestyle="--", label="chance")]
    style.legend(figure, keys)
    pairs = scores["pair_trials"].where(np.isfinite(scores["animal_value"])).sum("animal")
    used = "; ".join(
        f"{name} {int(false)} against {int(true)}"
        for name, (false, true) in zip(scores["contrast"].values, pairs.to_numpy(), strict=True)
    )
    kinds = ", ".join(str(int(count)) for count in scores["odor_trials"].sum("animal"))
    return style.caption(
        figure,
        f"Bars: {attrs['interval']}; dots: animals.\n"
        f"Grey: 95 % of {attrs['permutations']} refits, activity permuted among trials, left within {attrs['within']}. "
        f"In sequence, the odor is the position too.\n"
        f"Trials, left (false against true): {used}; right: {kinds}.{_left_out(attrs)}",
        "Balanced accuracy of in and out of sequence and of correct and incorrect, and of the odor by type of trial.",
    )


@style.applied()
def lag_distance(scores: xr.Dataset) -> Figure:
    """Draw distance between odors, distance against lag in sequence, and the slopes out of sequence."""
    names, slopes, odors = (style.names_of(scores, dim) for dim in ("representation", "slope", "odor"))
    attrs, lag = scores.attrs, scores["lag"].to_numpy()
    figure, grid = style.page(0.9 + 1.9 * len(names), len(names), 3, squeeze=False)
    color = OTHERS.colors(["lag", *slopes])
    for (matrix, by_lag, parted), name in zip(grid, names, strict=True):
        selected = scores.sel(representation=name)
        image = matrix.imshow(selected["distance"], cmap="viridis", vmin=0)
        matrix.set(xticks=range(len(odors)), xticklabels=odors, yticks=range(len(odors)), yticklabels=odors)
        matrix.set_title(name, loc="left")
        figure.colorbar(image, ax=matrix, label="squared distance", shrink=0.8)
        by_lag.fill_between(lag, selected["lag_null_low"], selected["lag_null_high"], color=NULL, linewidth=0)
        by_lag.vlines(lag, selected["lag_low"], selected["lag_high"], color=color["lag"], linewidth=1.2)
        by_lag.plot(lag, selected["lag_value"], "o-", color=color["lag"], markersize=4)
        by_lag.axhline(0, **CHANCE)
        by_lag.set(xticks=lag, ylabel="squared distance")
        by_lag.set_title(f"slope {float(selected['value']):.2g}, p = {float(selected['p']):.2g}", loc="left", fontsize=7)
        if not np.isfinite(selected["parted_value"]).any():
            parted.set_axis_off()
            parted.annotate("no slopes: too few\nout-of-sequence trials", (0.5, 0.5), xycoords="axes fraction", ha="center")
            continue
        for x, slope in enumerate(slopes):
            if np.isfinite(selected.sel(slope=slope)["parted_value"]):
                _score(parted, x, selected.sel(slope=slope), 0.25, color[slope], "parted_")
        _ticks(parted, slopes, margin=0.6)
        parted.set_ylabel("slope, the other lag held")
        parted.set_title("out-of-sequence trials", loc="left", fontsize=7)
        parted.axhline(0, **CHANCE)
    grid[-1][1].set_xlabel(f"lag in the sequence,\n{attrs['label']}")
    return style.caption(
        figure,
        f"Distances are 0 on average without signal. Bars: {attrs['interval']};\n"
        "right, over out-of-sequence trials too; dots: animals. "
        f"Grey: 95 % of {attrs['permutations']} permutations of odors among trials; right, within the other label.\n"
        f"In-sequence trials: {_trials(scores, 'trials')}; out of sequence: {_trials(scores, 'parted_trials')}."
        f"{_left_out(attrs)}",
        "Distance between odors, and how it grows with their lag in the sequence, a row for each method.",
    )


def _score(axes: Axes, x: float, score: xr.Dataset, width: float, color: tuple[float, ...], prefix: str = "") -> None:
    """Draw a score with its interval, the null behind it, and dots for animals if their values are saved."""
    null = float(score[f"{prefix}null_low"]), float(score[f"{prefix}null_high"])
    axes.fill_between([x - width, x + width], *null, color=NULL, linewidth=0, zorder=0)
    if f"{prefix}animal_value" in score:
        animals = score[f"{prefix}animal_value"].to_numpy()
        spread = x + np.linspace(-0.07, 0.07, len(animals))
        axes.plot(spread, animals, ".", color=color, alpha=0.4, markersize=4, markeredgewidth=0)
    style.point(axes, x, *(float(score[f"{prefix}{key}"]) for key in ("value", "low", "high")), color=color)


def _ticks(axes: Axes, labels: Sequence[str], margin: float = 0.5, **text: Any) -> None:
    axes.set_xticks(range(len(labels)), labels, **text)
    axes.set_xlim(-margin, len(labels) - 1 + margin)


def _trials(scores: xr.Dataset, variable: str) -> str:
    """Write the numbers of trials and animals of each representation."""
    counts = {name: scores[variable].sel(representation=name) for name in style.names_of(scores)}
    return ", ".join(f"{name} {int(n.sum())} of {counted(int((n > 0).sum()), 'animal')}" for name, n in counts.items())


def _floors(attrs: dict[str, str]) -> str:
    """Write each null with the representations that it is of."""
    floors = json.loads(attrs["floors"])
    names = {floor: ", ".join(name for name in floors if floors[name] == floor) for floor in floors.values()}
    return ";\n".join(f"{floor} ({representations})" for floor, representations in names.items())


def _left_out(attrs: dict[str, str]) -> str:
    """Write how many animals, models or contrasts are left out; the reasons are in the scores."""
    number = len(json.loads(attrs["left_out"]))
    return f" Left out for lack of trials: {number} (see left_out)." if number else ""
