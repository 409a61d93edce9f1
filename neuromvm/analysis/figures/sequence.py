"""Figures of the analyses of odor sequences: ``sequence``, ``odor_or_position``, ``trial_contrasts``, ``lag_distance``."""

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import counted

FLOOR = "0.85"


def time_course(scores: xr.Dataset) -> Figure:
    """Draw the decoded share of previous, current and next odor against time, and next minus previous."""
    names = [str(name) for name in scores["relation"].values]
    single, asymmetry = names[:-1], names[-1]
    time = scores["window"].to_numpy()
    attrs = scores.attrs
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.9), layout="constrained")
        panels = figure.subplots(1, 2)
        color = style.colors(names)
        for axes, shown in zip(panels, (single, [asymmetry]), strict=True):
            null = scores.sel(relation=shown)
            low = np.minimum(null["null_low"].to_numpy(), null["exchanged_low"].to_numpy()).min(axis=0)
            high = np.maximum(null["null_high"].to_numpy(), null["exchanged_high"].to_numpy()).max(axis=0)
            axes.axvspan(attrs["start"], attrs["stop"], ymax=0.03, color="0.3", linewidth=0)
            axes.fill_between(time, low, high, color=FLOOR, linewidth=0)
            for name in shown:
                one = scores.sel(relation=name)
                axes.fill_between(time, one["low"], one["high"], color=color[name], alpha=0.25, linewidth=0)
                axes.plot(time, one["value"], color=color[name])
            axes.axvline(0, color="0.7", linewidth=0.6, zorder=0)
            axes.set_xlabel("centre of the window [s]")
            axes.set_xlim(time[0], time[-1])
        panels[0].axhline(attrs["chance"], color="0.4", linewidth=0.8, linestyle="--")
        panels[1].axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        panels[0].set_ylabel(f"{attrs['measure']} of the odor")
        panels[1].set_ylabel(f"{attrs['measure']}, next - previous")
        handles = [Line2D([], [], color=color[name], label=name) for name in names]
        style.legend(
            figure,
            [
                *handles,
                Patch(color=FLOOR, label="permuted activity"),
                Patch(color="0.3", label="fitted in"),
                Line2D([], [], color="0.4", linestyle="--", label="chance"),
            ],
        )
        style.caption(
            figure,
            f"Decoded: {attrs['label']}; sequence {' '.join(json.loads(attrs['sequence']))}. Bands: {attrs['interval']}.\n"
            f"Grey: 95 % of {attrs['floor']}, or, where wider,\n"
            "of decoded trials exchanged; each window alone.\n"
            f"{counted(scores.sizes['animal'], 'animal')}; correct in-sequence trials: {int(scores['trials'].sum())}; "
            f"folds: {attrs['folds']}.{_left_out(attrs)}",
        )
    return figure


def odor_or_position(scores: xr.Dataset) -> Figure:
    """Draw, for each representation, the share of out-of-sequence trials read as odor and as position, with both floors."""
    reads = [str(name) for name in scores["read"].values[:2]]
    representations = [str(name) for name in scores["representation"].values]
    attrs = scores.attrs
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.8), layout="constrained")
        axes = figure.subplots()
        color = style.colors([*reads, "in sequence"])
        for place, representation in enumerate(representations):
            whole = scores.sel(representation=representation)
            for read, x in zip(reads, (place - 0.22, place + 0.04), strict=True):
                one = whole.sel(read=read)
                _floor(axes, x, 0.1, float(one["null_low"]), float(one["null_high"]))
                axes.hlines(float(one["given_high"]), x - 0.1, x + 0.1, color="0.25", linewidth=0.9, linestyle=":")
                _animals(axes, x, one["animal_value"].to_numpy(), color[read])
                _point(axes, x, one, "", color[read])
            axes.plot(place + 0.28, float(whole["in_sequence"]), "D", color=color["in sequence"], markersize=4)
        axes.axhline(attrs["chance"], color="0.4", linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(representations)), representations)
        axes.set_xlim(-0.5, len(representations) - 0.5)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("share of test trials")
        handles = [Line2D([], [], color=color[name], marker="o", label=f"out of sequence: {name}") for name in reads]
        control = Line2D([], [], color=color["in sequence"], marker="D", label="in sequence:\nodor = position")
        for handle in (*handles, control):
            handle.set(markersize=4, linestyle="")
        exchanged = Line2D([], [], color="0.25", linestyle=":", label="97.5 % if exchanged\nwithin the other label")
        chance = Line2D([], [], color="0.4", linestyle="--", label=f"chance, {attrs['chance']:.3g}")
        style.legend(figure, [*handles, control, Patch(color=FLOOR, label="95 % of permuted"), exchanged, chance])
        style.caption(
            figure,
            "Decoders of correct in-sequence training trials. Bars: "
            f"{attrs['interval']}; dots: animals.\nGrey: 95 % of {_floors(attrs)}.\n"
            f"Out-of-sequence trials: {_each(scores, 'trials')}.{_left_out(attrs)}",
        )
    return figure


def contrasts(scores: xr.Dataset) -> Figure:
    """Draw balanced accuracy of the contrasts, and how well the odor is read on each kind of trial."""
    attrs = scores.attrs
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.7])
        names = {"in_sequence": "in / out of\nsequence", "correct": "correct /\nincorrect"}
        color = style.colors(["contrast", "odor"])
        for axes, dim, prefix, chance in ((left, "contrast", "", "chance"), (right, "kind", "odor_", "odor_chance")):
            for place, name in enumerate(scores[dim].values):
                one = scores.sel({dim: name})
                if np.isfinite(one[f"{prefix}value"]):
                    _floor(axes, place, 0.25, float(one[f"{prefix}null_low"]), float(one[f"{prefix}null_high"]))
                    _point(axes, place, one, prefix, color["odor" if prefix else "contrast"])
                    if not prefix:
                        _animals(axes, place, one["animal_value"].to_numpy(), color["contrast"])
                else:
                    axes.annotate("too few\ntrials", (place, attrs[chance]), ha="center", va="bottom", fontsize=6, color="0.4")
            axes.axhline(attrs[chance], color="0.4", linewidth=0.8, linestyle="--")
            labels = [
                names.get(str(name), str(name).replace("of seq", "of\nseq").replace("in seq", "in\nseq").replace(", ", ",\n"))
                for name in scores[dim].values
            ]
            axes.set_xticks(range(len(labels)), labels, fontsize=6)
            axes.set_xlim(-0.5, len(labels) - 0.5)
            axes.set_ylim(0, 1.02)
        left.set_ylabel("balanced accuracy of the contrast")
        right.set_ylabel("share of trials read rightly")
        right.set_title("odor, decoder of correct in-sequence trials", loc="left")
        left.set_title("contrast", loc="left")
        guessing = Line2D([], [], color="0.4", linestyle="--", label="chance")
        style.legend(figure, [Patch(color=FLOOR, label="permuted activity"), guessing])
        pairs = scores["pair_trials"].where(np.isfinite(scores["animal_value"])).sum("animal")
        used = "; ".join(
            f"{name} {int(false)} against {int(true)}"
            for name, (false, true) in zip(scores["contrast"].values, pairs.to_numpy(), strict=True)
        )
        kinds = ", ".join(str(int(count)) for count in scores["odor_trials"].sum("animal"))
        style.caption(
            figure,
            f"Bars: {attrs['interval']}; dots: animals.\n"
            f"Grey: 95 % of {attrs['permutations']} refits, activity permuted among trials, left within {attrs['within']}. "
            f"In sequence, the odor is the position too.\n"
            f"Trials, left (false against true): {used}; right: {kinds}.{_left_out(attrs)}",
        )
    return figure


def lag_distance(scores: xr.Dataset) -> Figure:
    """Draw distance between odors, distance against lag in sequence, and the slopes that out-of-sequence trials part."""
    names = [str(name) for name in scores["representation"].values]
    attrs = scores.attrs
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 0.9 + 1.9 * len(names)), layout="constrained")
        grid = figure.subplots(len(names), 3, squeeze=False)
        color = style.colors(["lag", *map(str, scores["slope"].values)])
        for row, name in zip(grid, names, strict=True):
            one = scores.sel(representation=name)
            image = row[0].imshow(one["distance"], cmap="viridis", vmin=0)
            odors = [str(odor) for odor in scores["odor"].values]
            row[0].set_xticks(range(len(odors)), odors)
            row[0].set_yticks(range(len(odors)), odors)
            row[0].set_title(name, loc="left")
            figure.colorbar(image, ax=row[0], label="squared distance", shrink=0.8)
            lag = scores["lag"].to_numpy()
            row[1].fill_between(lag, one["lag_null_low"], one["lag_null_high"], color=FLOOR, linewidth=0)
            row[1].vlines(lag, one["lag_low"], one["lag_high"], color=color["lag"], linewidth=1.2)
            row[1].plot(lag, one["lag_value"], "o-", color=color["lag"], markersize=4)
            row[1].axhline(0, color="0.4", linewidth=0.8, linestyle="--")
            row[1].set_xticks(lag)
            row[1].set_ylabel("squared distance")
            row[1].set_title(f"slope {float(one['value']):.2g}, p = {float(one['p']):.2g}", loc="left", fontsize=7)
            for place, slope in enumerate(scores["slope"].values):
                held = one.sel(slope=slope)
                if np.isfinite(held["parted_value"]):
                    _floor(row[2], place, 0.25, float(held["parted_null_low"]), float(held["parted_null_high"]))
                    _animals(row[2], place, held["parted_animal_value"].to_numpy(), color[str(slope)])
                    _point(row[2], place, held, "parted_", color[str(slope)])
            row[2].set_xticks(range(2), [str(slope) for slope in scores["slope"].values])
            row[2].set_xlim(-0.6, 1.6)
            row[2].set_ylabel("slope, the other lag held")
            row[2].set_title("out-of-sequence trials", loc="left", fontsize=7)
            if not np.isfinite(one["parted_value"]).any():
                row[2].clear()
                row[2].set_axis_off()
                row[2].annotate("no slopes: too few\nout-of-sequence trials", (0.5, 0.5), xycoords="axes fraction", ha="center")
                continue
            row[2].axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        grid[-1][1].set_xlabel(f"lag in the sequence,\n{attrs['label']}")
        style.caption(
            figure,
            f"Distances are 0 on average without signal. Bars: {attrs['interval']};\n"
            "right, over out-of-sequence trials too; dots: animals. "
            f"Grey: 95 % of {attrs['permutations']} permutations of odors among trials; right, within the other label.\n"
            f"In-sequence trials: {_each(scores, 'trials')}; out of sequence: {_each(scores, 'parted_trials')}."
            f"{_left_out(attrs)}",
        )
    return figure


def _point(axes: Axes, x: float, one: xr.Dataset, prefix: str, color: tuple[float, ...]) -> None:
    axes.vlines(x, float(one[f"{prefix}low"]), float(one[f"{prefix}high"]), color=color, linewidth=1.2)
    axes.plot(x, float(one[f"{prefix}value"]), "o", color=color, markersize=4)


def _floor(axes: Axes, x: float, width: float, low: float, high: float) -> None:
    axes.fill_between([x - width, x + width], low, high, color=FLOOR, linewidth=0, zorder=0)


def _animals(axes: Axes, x: float, values: Sequence[float] | np.ndarray, color: tuple[float, ...]) -> None:
    spread = np.linspace(-0.07, 0.07, len(values))
    axes.plot(x + spread, values, ".", color=color, alpha=0.4, markersize=4, markeredgewidth=0)


def _each(scores: xr.Dataset, counts: str) -> str:
    """Write the numbers of trials and animals of each representation."""
    parts = []
    for name in scores["representation"].values:
        one = scores[counts].sel(representation=name)
        parts.append(f"{name} {int(one.sum())} of {counted(int((one > 0).sum()), 'animal')}")
    return ", ".join(parts)


def _floors(attrs: dict[str, str]) -> str:
    """Say which floor activity has, and which latents have."""
    floors = json.loads(attrs["floors"])
    return ";\n".join(
        f"{floor} ({', '.join(name for name in floors if floors[name] == floor)})" for floor in dict.fromkeys(floors.values())
    )


def _left_out(attrs: dict[str, str]) -> str:
    """Say how much was left out; the reasons are in the scores."""
    number = len(json.loads(attrs["left_out"]))
    return f" Left out for lack of trials: {number} (see left_out)." if number else ""
