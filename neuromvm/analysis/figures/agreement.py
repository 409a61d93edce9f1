"""Figure of agreement between animals, and of the share of signal of each latent."""

import numpy as np
import xarray as xr

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import draw_matrix
from neuromvm.analysis.figures.palettes import ANIMALS
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import shortened, without_prefix

MATRICES = {"agreement": "same condition", "agreement_unmatched": "other conditions"}


@style.applied()
def agreement(measures: xr.Dataset) -> Figure:
    """Draw agreement within conditions, between them, and the share of signal of each latent.

    With a single animal, or a model without noise, only the share of signal is drawn. ``measures`` are those of
    :meth:`neuromvm.folders.study.Study.agreement`.
    """
    prefix, animals = shortened(style.names_of(measures, "animal"))
    compared = "agreement" in measures and bool(np.isfinite(measures["agreement"]).any())
    matrices = MATRICES if compared else {}
    widths = [1.0] * len(matrices) + [1.3]
    figure, (panels,) = style.page(2.6, 1, len(widths), width_ratios=widths, squeeze=False)
    for axes, (key, title) in zip(panels[:-1], matrices.items(), strict=True):
        matrix = measures[key].mean("replica").to_numpy()
        image = draw_matrix(axes, matrix, (0, 1), animals, left=key == "agreement")
        axes.set_title(title)
    words = ""
    if compared:
        figure.colorbar(image, ax=list(panels[:-1]), label="agreement", shrink=0.7)
        words = (
            "Left: 1 − Jensen-Shannon divergence / log 2 of posteriors of two trials; 1: the same, 0: no overlap. "
            "Diagonal: two trials of one animal.\n"
        )
    _signal(panels[-1], measures, animals)
    style.legend(figure, ANIMALS.handles(animals, marked=False))
    return style.caption(
        figure,
        f"{words}Share of signal: variance of the posterior mean over samples, of that plus the posterior variance; below "
        f"the dashed line\na latent carries nothing. Latents of each replica are sorted by it; mean over replicas: "
        f"{measures.sizes['replica']}.{without_prefix(prefix)}",
        "How alike the posteriors of each two animals are, and the share of signal in each latent, a line each animal.",
        style.only(measures, *MATRICES, "signal_share"),
    )


def _signal(axes: Axes, measures: xr.Dataset, animals: list[str]) -> None:
    """Draw sorted shares of signal: latents of different replicas correspond by their rank only."""
    share = -np.sort(-measures["signal_share"].transpose("replica", "animal", "latent").to_numpy(), axis=2)
    color, line_style = ANIMALS.colors(animals), ANIMALS.line_styles(animals)
    rank = np.arange(1, share.shape[2] + 1)
    for name, values in zip(animals, share.mean(axis=0), strict=True):
        axes.plot(rank, values, color=color[name], linestyle=line_style[name], marker="o", markersize=2)
    axes.axhline(measures.attrs["threshold"], color="0.4", linewidth=0.8, linestyle="--")
    axes.set(ylim=(-0.02, 1.02), xticks=rank[:: max(1, len(rank) // 8)], xlabel="latent, sorted", ylabel="share of signal")
