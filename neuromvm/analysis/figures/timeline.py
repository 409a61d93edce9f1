"""Figure of the task: when trials of each label come in a session, and what a trial holds."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import CLASSES
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import brief, ordered, shortened, span, without_prefix
from neuromvm.data.describe import known_label
from neuromvm.data.loaders.labels import as_text
from neuromvm.schema import animals, grid_dim

ROW = 0.22  # height of an animal [inch]
WINDOW, RECORDED = "#0072b2", "0.85"
MOST_WINDOWS = 12  # drawn one by one


@style.applied()
def timeline(recordings: xr.DataTree, samples: xr.DataTree | None = None, label: str | None = None) -> Figure:
    """Draw the trials of each session in order of time, colored by label, and the windows of a trial.

    Parameters
    ----------
    recordings
        As of :func:`neuromvm.data.loaders.load_recordings`.
    samples
        For the windows of a trial; without them only what was recorded of it is drawn.
    label
        A label of trials; default: the first.

    Raises
    ------
    SpecError
        If no animal has such a label.
    """
    datasets = dict(animals(recordings))
    names = ordered(list(datasets))
    label = known_label(datasets.values(), label)
    heights = [max(1.0, ROW * len(names)), 0.9]
    figure, (session, trial) = style.page(sum(heights) + 1.3, 2, 1, height_ratios=heights)
    values = {name: _labels(datasets[name], label) for name in names}
    classes = ordered(sorted({value for of_animal in values.values() for value in of_animal.tolist()}))
    in_minutes = all(_has_onsets(dataset) for dataset in datasets.values())
    for y, name in enumerate(names):
        _session(session, y, _moments(datasets[name], in_minutes=in_minutes), values[name], classes)
    prefix, short = shortened(names)
    session.set_yticks(range(len(names)), style.thinned(short, heights[0], 7))
    session.set(ylim=(len(names) - 0.5, -0.5), xlabel="minutes from the first trial" if in_minutes else "trial, in order")
    entries = _trial(trial, next(iter(datasets.values())), samples)
    color = CLASSES.colors(classes)
    labels = [Line2D([], [], color=color[name], label=brief(name)) for name in classes]
    style.legend(figure, [*labels, *entries], title=label or "trials")
    trials = span([datasets[name].sizes["trial"] for name in names])
    return style.caption(
        figure,
        f"Top: a line for each trial at its onset. Bottom: a trial, 0 is the event.{without_prefix(prefix)}\n"
        f"Animals: {len(names)}; trials of each: {trials}.",
        f"When trials of each {label or 'kind'} come in the session of each animal, and the windows of a trial.",
        _numbers(datasets, values, label or "label"),
    )


def _labels(dataset: xr.Dataset, label: str | None) -> np.ndarray:
    if label is None or label not in dataset.coords:
        return np.full(dataset.sizes["trial"], "all" if label is None else "(none)")
    texts = as_text(dataset[label].to_numpy())
    return np.where(texts == "", "(none)", texts)


def _has_onsets(dataset: xr.Dataset) -> bool:
    return "onset" in dataset.coords and bool(np.isfinite(dataset["onset"]).all())


def _moments(dataset: xr.Dataset, *, in_minutes: bool) -> np.ndarray:
    if not in_minutes:
        return np.arange(dataset.sizes["trial"], dtype=float)
    onset = dataset["onset"].to_numpy().astype(float)
    return np.asarray((onset - onset.min(initial=np.inf)) / 60)


def _session(axes: Axes, y: int, moments: np.ndarray, values: np.ndarray, classes: Sequence[str]) -> None:
    color = CLASSES.colors(classes)
    for name in classes:
        axes.vlines(moments[values == name], y - 0.4, y + 0.4, color=color[name], linewidth=0.8)


def _trial(axes: Axes, dataset: xr.Dataset, samples: xr.DataTree | None) -> list[Artist]:
    """Draw what was recorded of a trial, the event and the windows; return the legend entries."""
    name = grid_dim(dataset)
    grid, width = dataset[name].to_numpy(), float(dataset[name].attrs["bin_width"])
    start, stop = float(grid[0]) - width / 2, float(grid[-1]) + width / 2
    axes.barh(0, stop - start, left=start, height=0.5, color=RECORDED)
    entries: list[Artist] = [Patch(color=RECORDED, label="recorded")]
    if samples is not None:
        window = next(iter(samples.children.values()))["window"]
        centres, length = window.to_numpy(), float(window.attrs["width"])
        alpha = 0.8 if len(centres) == 1 else 0.4
        for number, centre in enumerate(centres[:MOST_WINDOWS]):
            offset = 0.0 if len(centres) == 1 else 0.3 * (number / max(1, min(len(centres), MOST_WINDOWS) - 1) - 0.5)
            axes.barh(offset, length, left=centre - length / 2, height=0.16, color=WINDOW, alpha=alpha, linewidth=0)
        count = f"window of {length:.3g}" if len(centres) == 1 else f"{len(centres)} windows of {length:.3g}"
        entries.append(Patch(color=WINDOW, alpha=0.8, label=f"{count} {'s' if name == 'time' else ''}".strip()))
    if name == "time" and start <= 0 <= stop:
        axes.axvline(0, color="0.1", linewidth=1.0)
        entries.append(Line2D([], [], color="0.1", label="event"))
    axes.set(yticks=[], xlim=(start, stop), ylim=(-0.5, 0.5), xlabel="time from the event [s]" if name == "time" else name)
    axes.spines["left"].set_visible(False)
    return entries


def _numbers(datasets: dict[str, xr.Dataset], values: dict[str, np.ndarray], label: str) -> xr.Dataset:
    """Return animal, time and label of every trial."""
    columns = {
        "animal": np.concatenate([[name] * len(of_animal) for name, of_animal in values.items()]),
        label: np.concatenate(list(values.values())),
    }
    if all(_has_onsets(dataset) for dataset in datasets.values()):
        columns["onset"] = np.concatenate([datasets[name]["onset"].to_numpy() for name in values])
    return xr.Dataset({name: ("trial", column) for name, column in columns.items()})
