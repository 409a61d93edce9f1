"""Figures of the analysis ``continuous``, drawn from its saved scores."""

import numpy as np
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import tested_trials
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS, TRIALS, animals_of, is_difference, null_in_words

SHOWN = ("median error", "R2")
MOST_PANELS = 8


@style.applied()
def settings(scores: xr.Dataset) -> Figure:
    """Draw median error and R2 of every setting and decoder, with chance and the range of the null."""
    names = style.names_of(scores)
    all_settings = [setting for setting in style.names_of(scores, "setting") if not is_difference(setting)]
    figure, panels = style.page(0.9 + 1.5 * len(all_settings), len(all_settings), len(SHOWN), squeeze=False, sharey="col")
    for row, setting in zip(panels, all_settings, strict=True):
        for axes, measure in zip(row, SHOWN, strict=True):
            _setting(axes, scores.sel(measure=measure, setting=setting, target=ALL_ANIMALS))
            axes.set_ylabel(measure)
            axes.set_title(setting)
    style.legend(figure, METHODS.handles(names))
    return style.caption(
        figure,
        f"{scores.attrs['label']} [{scores.attrs['unit']}], mean over {len(animals_of(scores))} animals; "
        f"bars: {scores.attrs['interval']}.\n"
        "Dashes: chance, the mean label of the training samples. Grey: 95 % of the null.\n"
        f"{null_in_words(scores.sel(setting=all_settings), LABELS)}.\n"
        f"{_n(scores)}",
        f"Median error and R2 of decoders that predict {scores.attrs['label']}, by method, decoder and setting.",
        style.only(scores, "score", "null_score", "chance").sel(
            measure=list(SHOWN), target=ALL_ANIMALS, unit_of_inference=TRIALS, null=LABELS
        ),
    )


@style.applied()
def predictions(scores: xr.Dataset) -> Figure:
    """Draw predicted against true labels: for each true label the quartiles of what is predicted, best decoder by R2."""
    r2 = scores["score"].sel(measure="R2", target=ALL_ANIMALS, unit_of_inference=TRIALS, statistic="value")
    places = [
        (setting, name)
        for setting in style.names_of(scores, "setting")
        for name in style.names_of(scores)
        if np.isfinite(r2.sel(setting=setting, representation=name)).any() and not is_difference(setting)
    ][:MOST_PANELS]
    figure, grid = style.panels(len(places), 4, 0.8, 1.9, sharex=True, sharey=True)
    for (axes, is_left, is_bottom), (setting, name) in zip(grid, places, strict=True):
        cell = r2.sel(setting=setting, representation=name)
        decoder = str(cell["decoder"].values[int(np.nanargmax(cell.to_numpy()))])
        _against_truth(
            axes,
            scores["true"].to_numpy(),
            scores["predicted"].sel(setting=setting, representation=name, decoder=decoder).to_numpy(),
        )
        axes.set_title(f"{name}, {decoder}\n{setting}")
        axes.set_xlabel(f"true [{scores.attrs['unit']}]" if is_bottom else "")
        axes.set_ylabel("predicted" if is_left else "")
    return style.caption(
        figure,
        f"{scores.attrs['label']}: median and quartiles of predictions of test samples, all animals; line: true.\n"
        f"Of each representation the decoder with the largest R2 is drawn.\n{_n(scores)}",
        f"Predicted against true {scores.attrs['label']} of test samples, a panel for each method and setting.",
        style.only(scores, "true", "predicted"),
    )


def _setting(axes: Axes, scores: xr.Dataset) -> None:
    names, decoders = style.names_of(scores), style.names_of(scores, "decoder")
    color, marker = METHODS.colors(names), METHODS.markers(names)
    for tick, decoder in enumerate(decoders):
        for rank, name in enumerate(names):
            cell = scores.sel(decoder=decoder, representation=name)
            value, low, high = cell["score"].sel(unit_of_inference=TRIALS).to_numpy()
            if not np.isfinite(value):
                continue
            x, half = tick + style.aside(rank, len(names), 0.7), 0.3 / len(names)
            _, null_low, null_high, _ = cell["null_score"].sel(null=LABELS).to_numpy()
            axes.fill_between([x - half, x + half], null_low, null_high, color="0.85", linewidth=0, zorder=0)
            axes.hlines(float(cell["chance"]), x - half, x + half, color="0.4", linestyle="--", linewidth=0.8)
            style.point(axes, x, value, low, high, color=color[name], marker=marker[name])
    axes.set_xlim(-0.5, len(decoders) - 0.5)
    axes.set_xticks(range(len(decoders)), [decoder.replace(" ", "\n") for decoder in decoders])


def _against_truth(axes: Axes, true: np.ndarray, predicted: np.ndarray) -> None:
    """Draw quartiles of predictions in at most 20 groups of equally many true labels."""
    true, predicted = true[np.isfinite(predicted)], predicted[np.isfinite(predicted)]
    edges = np.unique(np.quantile(true, np.linspace(0, 1, 21)))
    group = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, max(0, len(edges) - 1))
    groups = np.unique(group)
    quartiles = np.array([np.quantile(predicted[group == number], [0.25, 0.5, 0.75]) for number in groups])
    centres = np.array([true[group == number].mean() for number in groups])
    axes.fill_between(centres, quartiles[:, 0], quartiles[:, 2], color="0.8", linewidth=0)
    axes.plot(centres, quartiles[:, 1], ".-", color="0.2", markersize=3)
    axes.plot(centres, centres, color="0.4", linewidth=0.8, linestyle="--")


def _n(scores: xr.Dataset) -> str:
    trials = int(scores["trials"].sel(target=ALL_ANIMALS))
    return (
        f"{tested_trials(scores.attrs)}: {trials}; windows a trial: {scores.attrs['windows']}; splits: {scores.attrs['splits']}."
    )
