"""Figure of a training: what each epoch gave, for every replica and animal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from neuromvm.analysis.figures import style
from neuromvm.analysis.figures.style import Axes, Figure


def history(records: Sequence[Mapping[str, Any]], animals: Sequence[str], terms: Sequence[str]) -> xr.Dataset:
    """Turn the records of a training into labelled arrays.

    Parameters
    ----------
    records
        One an epoch, as :meth:`neuromvm.folders.study.Study.metrics` returns them; at least one.
    animals
        In the order of the model's modalities.
    terms
        Names of the terms of the rate: the animals, or others.

    Returns
    -------
    ``loss, validation_loss (epoch, replica)``, ``log_likelihood (epoch, replica, animal)`` and ``rate (epoch, replica,
    term)`` [nats], ``stopped (replica)``: the epoch at which early stopping ended a replica, NaN where it did not.
    """
    loss = np.array([record["loss"] for record in records], dtype=float)
    validation = [record["validation_loss"] or [np.nan] * loss.shape[1] for record in records]
    likelihood = np.array([record["log_likelihood"] for record in records], dtype=float)
    rate = np.array([record["rate"] for record in records], dtype=float)
    epoch = np.array([record["epoch"] for record in records])
    over = np.array([record["stopped"] for record in records], dtype=bool)
    stopped = np.where(over.any(axis=0), epoch[over.argmax(axis=0)], np.nan)
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


def curves(records: xr.Dataset) -> Figure:
    """Draw the loss of every replica, and log-likelihood and rate of every animal, from :func:`history`."""
    animals, terms = ([str(name) for name in records[dim].values] for dim in ("animal", "term"))
    validated = bool(np.isfinite(records["validation_loss"]).any())
    with style.applied():
        figure = Figure(figsize=(style.DOUBLE, 2.5), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _replicas(left, records["loss"], "black", "-")
        handles = [Line2D([], [], color="black", label="loss, training")]
        if validated:
            _replicas(left, records["validation_loss"], "tab:red", "--")
            handles.append(Line2D([], [], color="tab:red", linestyle="--", label="loss, validation"))
        for epoch in np.unique(records["stopped"].values[np.isfinite(records["stopped"].values)]):
            left.axvline(epoch, color="0.6", linewidth=0.6, linestyle=":")
        left.set_ylabel("loss")
        _animals(middle, records["log_likelihood"], animals)
        middle.set_ylabel("log-likelihood [nats]")
        _animals(right, records["rate"], terms)
        right.set_ylabel("rate [nats]")
        for axes in (left, middle, right):
            axes.set_xlabel("epoch")
        color, line_style = style.colors(animals), style.line_styles(animals)
        handles += [Line2D([], [], color=color[name], linestyle=line_style[name], label=name) for name in animals]
        if terms != animals:
            color, line_style = style.colors(terms), style.line_styles(terms)
            handles += [Line2D([], [], color=color[name], linestyle=line_style[name], label=f"rate: {name}") for name in terms]
        style.legend(figure, handles)
        dotted = " Dotted: epochs at which replicas stopped." if np.isfinite(records["stopped"]).any() else ""
        style.caption(
            figure,
            f"Loss: thin lines are replicas, the thick one their mean. Log-likelihood and rate: mean"
            f"{'' if len(animals) > style.MANY else ' and range'} over replicas.\n"
            f"Replicas: {records.sizes['replica']}; epochs: {int(records['epoch'][-1])}.{dotted}",
        )
    return figure


def _replicas(axes: Axes, values: xr.DataArray, color: str, linestyle: str) -> None:
    axes.plot(values["epoch"], values.transpose("epoch", "replica"), color=color, alpha=0.3, linewidth=0.5, linestyle=linestyle)
    axes.plot(values["epoch"], values.mean("replica"), color=color, linewidth=1.4, linestyle=linestyle)


def _animals(axes: Axes, values: xr.DataArray, names: Sequence[str]) -> None:
    color, line_style = style.colors(names), style.line_styles(names)
    dim = str(values.dims[-1])
    for name in names:
        one = values.sel({dim: name})
        if len(names) <= style.MANY:
            axes.fill_between(one["epoch"], one.min("replica"), one.max("replica"), color=color[name], alpha=0.2, linewidth=0)
        axes.plot(one["epoch"], one.mean("replica"), color=color[name], linestyle=line_style[name])
