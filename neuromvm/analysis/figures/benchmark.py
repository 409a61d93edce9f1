"""Panels of a benchmark: latent classification and coherence against reconstruction (Sutter et al. 2024, Fig. 2)."""

import itertools
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import METHODS
from neuromvm.analysis.figures.style import Axes, Figure

ROWS = {"latent_accuracy": "latent classification\n(accuracy)", "coherence": "coherence of images decoded\nfrom another modality"}
COLUMNS = {
    "joint_nll": "reconstruction from the joint posterior\n(minus log-likelihood of a tuple [nats])",
    "self_nll": "reconstruction of each modality from itself\n(minus log-likelihood of a tuple [nats])",
}


@style.applied()
def panels(table: pd.DataFrame, ceiling: float) -> Figure:
    """Draw both scores against joint and self reconstruction, a line for each method along rising beta.

    ``table`` has a row for each method and beta with ``method, beta``, the scores, and half widths of their intervals
    (``..._half``); ``ceiling`` is the accuracy of the classifier on real images.
    """
    names = list(dict.fromkeys(table["method"]))
    color, marker = METHODS.colors(names), METHODS.markers(names)
    figure, grid = style.page(4.6, 2, 2, sharex="col", sharey="row")
    for (row, ylabel), line_of_axes in zip(ROWS.items(), grid, strict=True):
        for (column, xlabel), axes in zip(COLUMNS.items(), line_of_axes, strict=True):
            for name in names:
                points = table[table["method"] == name].sort_values("beta")
                _path(axes, points, column, row, color[name], marker[name])
            if row == "coherence":
                axes.axhline(ceiling, color="0.4", linestyle="--", linewidth=0.8, zorder=0)
                axes.set_xlabel(xlabel)
        line_of_axes[0].set_ylabel(ylabel)
    line = Line2D([], [], color="0.4", linestyle="--", label=f"classifier on real\nimages, {ceiling:.3g}")
    style.legend(figure, [*METHODS.handles(names), line])
    seeds = style.limits(table["seeds"].tolist())
    return style.caption(
        figure,
        f"A point for each beta, written beside the lowest and the highest; lines: rising beta. Seeds: {seeds}.\n"
        "Bars: 95 % interval of the mean over seeds; all seeds see the same images. Test images are not trained on.",
    )


def _path(axes: Axes, points: pd.DataFrame, column: str, row: str, color: tuple[float, float, float], marker: str) -> None:
    """Draw the points of a method, with arrows along rising beta."""
    bars: dict[str, Any] = {"xerr": points[f"{column}_half"].fillna(0), "yerr": points[f"{row}_half"].fillna(0)}
    axes.errorbar(points[column], points[row], **bars, fmt=marker, color=color, markersize=4, elinewidth=0.6, alpha=0.9)
    places = list(zip(points[column], points[row], strict=True))
    arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 0.8, "shrinkA": 2, "shrinkB": 3, "mutation_scale": 7}
    for start, stop in itertools.pairwise(places):
        axes.annotate("", xy=stop, xytext=start, arrowprops=arrow)
    for end in dict.fromkeys((0, len(places) - 1)):
        text = f"{points['beta'].iloc[end]:g}"
        axes.annotate(text, places[end], xytext=(4, 4), textcoords="offset points", fontsize=6, color=color)
