"""Figure of a training: loss, log-likelihood and rate of every replica and animal over epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.palettes import ANIMALS, OTHERS, LineStyle, Palette
from neuromvm.analysis.figures.style import Axes, Figure


def history(records: Sequence[Mapping[str, Any]], animals: Sequence[str], terms: Sequence[str]) -> xr.Dataset:
    """Return the records of a training, one for each epoch as of :meth:`neuromvm.folders.study.Study.metrics`, as arrays.

    ``loss, validation_loss (epoch, replica)``, ``log_likelihood (epoch, replica, animal)`` and ``rate (epoch, replica, term)``
    [nats], ``stopped (replica)``: the epoch at which early stopping ended a replica, NaN where it did not. ``animals`` are in the
    order of the model's modalities, ``terms`` are those of the rate.
    """
    loss, likelihood, rate = (
        np.array([record[key] for record in records], dtype=float) for key in ("loss", "log_likelihood", "rate")
    )
    validation = [record["validation_loss"] or [np.nan] * loss.shape[1] for record in records]
    epoch = np.array([record["epoch"] for record in records])
    ended = np.array([record["stopped"] for record in records], dtype=bool)
    stopped = np.where(ended.any(axis=0), epoch[ended.argmax(axis=0)], np.nan)
    return xr.Dataset(
        {
            "loss": (("epoch", "replica"), loss),
            "validation_loss": (("epoch", "replica"), np.array(validation, dtype=float)),
            "log_likelihood": (("epoch", "replica", "animal"), likelihood, {"units": "nats"}),
            "rate": (("epoch", "replica", "term"), rate, {"units": "nats"}),
            "stopped": ("replica", stopped),
        },
        coords={"epoch": epoch, "animal": list(animals), "term": list(terms)},
    )


@style.applied()
def curves(records: xr.Dataset) -> Figure:
    """Draw the loss of every replica, and log-likelihood and rate of every animal, from :func:`history`."""
    animals, terms = (style.names_of(records, dim) for dim in ("animal", "term"))
    stopped = np.unique(records["stopped"].values[np.isfinite(records["stopped"].values)])
    figure, (loss, likelihood, rate) = style.page(2.5, 1, 3)
    handles: list[Artist] = [_replicas(loss, records["loss"], "loss, training", "black", "-")]
    if np.isfinite(records["validation_loss"]).any():
        handles.append(_replicas(loss, records["validation_loss"], "loss, validation", "tab:red", "--"))
    for epoch in stopped:
        loss.axvline(epoch, color="0.6", linewidth=0.6, linestyle=":")
    _animals(likelihood, records["log_likelihood"], animals)
    _animals(rate, records["rate"], terms, ANIMALS if terms == animals else OTHERS)
    for axes, label in ((loss, "loss"), (likelihood, "log-likelihood [nats]"), (rate, "rate [nats]")):
        axes.set(xlabel="epoch", ylabel=label)
    handles += ANIMALS.handles(animals, marked=False)
    if terms != animals:
        handles += OTHERS.handles(terms, [f"rate: {name}" for name in terms], marked=False)
    style.legend(figure, handles)
    spread = "" if len(animals) > style.MANY else " and range"
    dotted = " Dotted: epochs at which replicas stopped." if len(stopped) else ""
    return style.caption(
        figure,
        f"Loss: thin lines are replicas, the thick one their mean. Log-likelihood and rate: mean{spread} over replicas.\n"
        f"Replicas: {records.sizes['replica']}; epochs: {int(records['epoch'][-1])}.{dotted}",
        "Loss, log-likelihood and rate of a training over its epochs.",
        records,
    )


def _replicas(axes: Axes, values: xr.DataArray, label: str, color: str, linestyle: LineStyle) -> Line2D:
    """Draw replicas and their mean, and return the legend entry."""
    axes.plot(values["epoch"], values.transpose("epoch", "replica"), color=color, alpha=0.3, linewidth=0.5, linestyle=linestyle)
    axes.plot(values["epoch"], values.mean("replica"), color=color, linewidth=1.4, linestyle=linestyle)
    return Line2D([], [], color=color, linestyle=linestyle, label=label)


def _animals(axes: Axes, values: xr.DataArray, names: Sequence[str], palette: Palette = ANIMALS) -> None:
    """Draw the mean over replicas of each name in the last dimension, with the range unless there are many names."""
    color, line_style = palette.colors(names), palette.line_styles(names)
    for name in names:
        curve = values.sel({values.dims[-1]: name})
        if len(names) <= style.MANY:
            axes.fill_between(
                curve["epoch"], curve.min("replica"), curve.max("replica"), color=color[name], alpha=0.2, linewidth=0
            )
        axes.plot(curve["epoch"], curve.mean("replica"), color=color[name], linestyle=line_style[name])
