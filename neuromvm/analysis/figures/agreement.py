"""Figure of which animals agree, and of what each latent carries."""

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.matrices import side_names, write_numbers
from neuromvm.analysis.figures.style import Axes, Figure
from neuromvm.analysis.figures.text import shortened


def agreement(about: xr.Dataset) -> Figure:
    """Draw agreement within conditions, between them, and the share of signal of each latent.

    Parameters
    ----------
    about
        Of :meth:`neuromvm.folders.study.Study.agreement`; with one animal, or a model without noise, the share of signal alone
        is drawn.
    """
    prefix, animals = shortened([str(name) for name in about["animal"].values])
    compared = "agreement" in about and bool(np.isfinite(about["agreement"]).any())
    panels = [("agreement", "same condition"), ("agreement_unmatched", "other conditions")] if compared else []
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.6), layout="constrained")
        drawn = np.atleast_1d(figure.subplots(1, len(panels) + 1, width_ratios=[1.0] * len(panels) + [1.3]))
        for place, (axes, (key, title)) in enumerate(zip(drawn[:-1], panels, strict=True)):
            matrix = about[key].mean("replica").to_numpy()
            image = axes.imshow(matrix, cmap="viridis", vmin=0, vmax=1)
            axes.set_title(title)
            side_names(axes, animals, left=place == 0, bottom=True)
            write_numbers(axes, matrix, 0.5)
        if panels:
            figure.colorbar(image, ax=list(drawn[:-1]), label="agreement", shrink=0.7)
        _signal(drawn[-1], about, animals, legend=figure)
        said = (
            "Left: 1 − Jensen-Shannon divergence / log 2 of posteriors of two trials; 1: the same, 0: no overlap. Diagonal: two "
            "trials of one animal.\n"
            if panels
            else ""
        )
        left_out = f" Animals without their common beginning, {prefix}." if prefix else ""
        style.caption(
            figure,
            f"{said}Share of signal: variance of the posterior mean over samples, of that plus the posterior variance; below the "
            f"dashed line\na latent carries nothing. Latents of each replica are sorted by it; mean over replicas: "
            f"{about.sizes['replica']}.{left_out}",
        )
    return figure


def _signal(axes: Axes, about: xr.Dataset, animals: list[str], legend: Figure) -> None:
    """Draw sorted shares of signal: latents of different replicas have nothing but their rank in common."""
    share = -np.sort(-about["signal_share"].transpose("replica", "animal", "latent").to_numpy(), axis=2)
    color, line_style = style.colors(animals), style.line_styles(animals)
    rank = np.arange(1, share.shape[2] + 1)
    for name, values in zip(animals, share.mean(axis=0), strict=True):
        axes.plot(rank, values, color=color[name], linestyle=line_style[name], marker="o", markersize=2)
    axes.axhline(about.attrs["threshold"], color="0.4", linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(rank[:: max(1, len(rank) // 8)])
    axes.set_xlabel("latent, sorted")
    axes.set_ylabel("share of signal")
    handles = [Line2D([], [], color=color[name], linestyle=line_style[name], label=name) for name in animals]
    style.legend(legend, handles)
