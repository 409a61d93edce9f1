"""Figure of loaded recordings, before any model: units, rates, drift, trials of each label, and drops."""

from itertools import pairwise
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import OTHERS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import ordered, shortened, without_prefix
from neuromvm.data.describe import known_label
from neuromvm.data.loaders.labels import as_text
from neuromvm.data.numeric_labels import as_numbers, looks_continuous
from neuromvm.data.quality import mean_activity, trial_sums
from neuromvm.errors import SpecError
from neuromvm.schema import activity, animals, dropped, grid_dim

ROW, MARGIN = 0.17, 0.75  # height of an animal, and of what is above and below a row of panels [inch]
PARTS = 10  # of a session, in time
MOST_COLUMNS, RANGES = 30, 10  # values of a label; ranges of a label that looks continuous
WIDE = 10.0  # ratio of largest and smallest mean activity above which its axis is logarithmic
LARGEST_CHANGE = 2.0  # log2, at the ends of the colors of drift


@style.applied()
def overview(recordings: xr.DataTree, label: str | None = None) -> Figure:
    """Draw recordings: for each animal its units, their mean activity, its change over the session, trials by label and drops.

    Parameters
    ----------
    recordings
        As of :func:`neuromvm.data.loaders.load_recordings`.
    label
        A label of trials; default: the first.

    Raises
    ------
    SpecError
        If no animal has such a label.
    """
    datasets = dict(animals(recordings))
    names = ordered(list(datasets))
    prefix, short = shortened(names)
    label = known_label(datasets.values(), label)
    height = MARGIN + ROW * max(len(names), 4)
    figure, grid = style.page(2 * height + 0.6, 1, 1)
    grid.remove()
    rows: Any = figure.subfigures(2, 1)
    sizes = rows[0].subplots(1, 3, sharey=True, width_ratios=[1, 2.2, 1.8])
    _draw_units(sizes[0], [datasets[name] for name in names])
    _draw_activity(sizes[1], [datasets[name] for name in names])
    _draw_drift(sizes[2], [datasets[name] for name in names])
    account = rows[1].subplots(1, 2, sharey=True, width_ratios=[2.4, 1.6])
    _draw_labels(account[0], [datasets[name] for name in names], label)
    _draw_drops(account[1], [datasets[name] for name in names])
    for axes in (sizes[0], account[0]):
        axes.set_yticks(range(len(names)), short)
        axes.set_ylim(len(names) - 0.5, -0.5)
    left_out = [f"{line.what} ({line.reason})" for line in dropped(recordings.to_dataset())]
    return style.caption(
        figure,
        "Dots: units; line: median. Change: activity of all units in tenths of the trials, in order of time, over the median of "
        f"the animal.{without_prefix(prefix)}\nLeft out: {fill('; '.join(left_out), 150) or 'no animal'}.",
        "Units, mean activity, drift, trials of each label, and what was dropped, a row for each animal.",
    )


def write(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or PDF, by the ending of the path; the bytes are reproducible."""
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    if metadata is None:
        raise SpecError(str(path), found=f"a figure that ends in {path.suffix!r}", expected=".png or .pdf")
    path.parent.mkdir(parents=True, exist_ok=True)
    with style.applied():
        figure.savefig(path, metadata=metadata)


def _draw_units(axes: Axes, datasets: list[xr.Dataset]) -> None:
    units = [dataset.sizes["unit"] for dataset in datasets]
    axes.barh(range(len(units)), units, height=0.7, color="0.6")
    for y, number in enumerate(units):
        axes.annotate(str(number), (number, y), (2, 0), textcoords="offset points", va="center", fontsize=6)
    axes.set(xlabel="units", xlim=(0, 1.25 * max(units)))


def _draw_activity(axes: Axes, datasets: list[xr.Dataset]) -> None:
    """Draw the mean activity of each unit, on a logarithmic axis if it spans orders of magnitude."""
    means = [mean_activity(dataset) for dataset in datasets]
    pooled = np.concatenate(means)
    positive = pooled[pooled > 0]
    is_logarithmic = bool((pooled >= 0).all() and positive.size and positive.max() > WIDE * positive.min())
    floor = float(positive.min()) / 2 if is_logarithmic else -np.inf
    spread = np.random.default_rng(0)
    for y, values in enumerate(means):
        jitter = spread.uniform(-0.28, 0.28, len(values))
        axes.plot(
            np.maximum(values, floor), y + jitter, ".", color=OTHERS.colors(["unit"])["unit"], markersize=2.5, markeredgewidth=0
        )
        if len(values):
            axes.plot([max(float(np.median(values)), floor)] * 2, [y - 0.38, y + 0.38], color="0.1", linewidth=1.2)
    recorded = activity(datasets[0])
    is_rate = recorded.name == "spike_count" and grid_dim(datasets[0]) == "time"
    unit = str(recorded.attrs.get("units", ""))
    words = "mean rate [Hz]" if is_rate else f"mean {str(recorded.name).replace('_', ' ')}{f' [{unit}]' if unit else ''}"
    silent = int((pooled == 0).sum())
    axes.set_xlabel(f"{words}{f'; {silent} at 0 drawn leftmost' if is_logarithmic and silent else ''}")
    if is_logarithmic:
        axes.set_xscale("log")


def _draw_drift(axes: Axes, datasets: list[xr.Dataset]) -> None:
    changes = np.full((len(datasets), PARTS), np.nan)
    for row, dataset in enumerate(datasets):
        population = trial_sums(dataset).sum(axis=1)
        parts = [float(part.mean()) if part.size else np.nan for part in np.array_split(population, PARTS)]
        median = float(np.median(population)) if population.size else np.nan
        if median > 0:
            with np.errstate(divide="ignore"):
                changes[row] = np.log2(np.array(parts) / median)
    limit = float(np.clip(np.nanmax(np.abs(changes[np.isfinite(changes)]), initial=0.5), 0.5, LARGEST_CHANGE))
    image = axes.imshow(changes, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes.set(xlabel="tenth of the session", xticks=[0, PARTS - 1], xticklabels=["first", "last"])
    bar = axes.figure.colorbar(image, ax=axes, label="change [log2]", extend="both", shrink=0.9)
    bar.outline.set_linewidth(0.4)


def _draw_labels(axes: Axes, datasets: list[xr.Dataset], label: str | None) -> None:
    """Draw the number of trials of each value of a label; without a label, of all trials."""
    present = [dataset[label].to_numpy() if label in dataset.coords else np.empty(0, dtype=str) for dataset in datasets]
    if label is None:
        names, counts = ["all"], np.array([[dataset.sizes["trial"]] for dataset in datasets])
    else:
        names, counts = _counts(present)
    image = axes.imshow(
        np.where(counts > 0, counts, np.nan),
        cmap=sns.color_palette("crest", as_cmap=True),
        aspect="auto",
        vmin=0,
        vmax=max(int(counts.max()), 1),
    )
    length = max(map(len, names))
    axes.set_xticks(range(len(names)), [_cut(name) for name in names], rotation=90 if length * len(names) > 34 else 0)
    axes.set_xlabel(f"{label or 'trials'}; white: no trial")
    if counts.shape[1] <= 18:
        for row, column in np.argwhere(counts > 0):
            color = "white" if counts[row, column] > counts.max() / 3 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=5, color=color)
    bar = axes.figure.colorbar(image, ax=axes, label="trials", shrink=0.9, ticks=MaxNLocator(5, integer=True))
    bar.outline.set_linewidth(0.4)


def _counts(present: list[NDArray[Any]]) -> tuple[list[str], NDArray[np.int64]]:
    """Return names of values, or of ranges of a label that looks continuous, and trials ``(animal, value)``."""
    pooled = np.concatenate([as_text(values) for values in present])
    if looks_continuous(pooled):
        numbers = [as_numbers(as_text(values)) for values in present]
        known = np.concatenate([values[np.isfinite(values)] for values in numbers if values is not None])
        edges = np.linspace(known.min(), known.max(), RANGES + 1)
        names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
        return names, np.array([np.histogram(np.empty(0) if values is None else values, edges)[0] for values in numbers])
    different, totals = np.unique(pooled, return_counts=True)
    shown = ordered(different[np.argsort(-totals, kind="stable")][:MOST_COLUMNS].tolist())
    counts = np.array([[int((as_text(values) == name).sum()) for name in shown] for values in present])
    if len(different) > len(shown):
        less_frequent = np.array([len(values) for values in present]) - counts.sum(axis=1)
        return [*shown, f"{len(different) - len(shown)} others"], np.column_stack([counts, less_frequent])
    return [name or "(none)" for name in shown], counts


def _draw_drops(axes: Axes, datasets: list[xr.Dataset]) -> None:
    """Draw how many trials and units of each animal were dropped, in a color for each reason."""
    lines = [[line for line in dropped(dataset) if line.what in ("trials", "units")] for dataset in datasets]
    accounts = [{f"{line.what}: {line.reason}": line.count for line in account} for account in lines]
    reasons = list(dict.fromkeys(reason for account in accounts for reason in account))
    color = OTHERS.colors(reasons)
    bottom = np.zeros(len(datasets))
    for reason in reasons:
        counts = np.array([account.get(reason, 0) for account in accounts])
        axes.barh(range(len(datasets)), counts, left=bottom, height=0.7, color=color[reason])
        bottom = bottom + counts
    axes.set_xlabel("dropped trials and units")
    axes.set_xlim(0, max(1.0, 1.05 * float(bottom.max(initial=0))))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not reasons:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "nothing was dropped", transform=axes.transAxes, ha="center", va="center")
        return
    entries = [Patch(color=color[reason], label=fill(reason, 34)) for reason in reasons]
    below = offset_copy(axes.transAxes, axes.get_figure(root=True), 0, -32, units="points")
    look: dict[str, Any] = {"fontsize": 6, "handlelength": 1, "borderaxespad": 0}
    axes.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, **look)


def _cut(name: str, most: int = 16) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
