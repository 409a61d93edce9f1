"""The table of a benchmark: a line for each method and beta, with means and intervals over seeds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

LEVEL = 0.95
COLUMNS = {
    "latent_accuracy": "accuracy of a logistic regression on latents of each modality alone",
    "coherence": "share of images decoded from another modality in which a classifier of real images sees the right digit",
    "self_coherence": "the same, decoded from the modality itself",
    "joint_nll": "minus log-likelihood of a tuple, decoded from the joint posterior [nats, summed over modalities]",
    "self_nll": "minus log-likelihood of a tuple, each modality decoded from itself alone [nats, summed over modalities]",
    "joint_error": "mean squared error of a feature, decoded from the joint posterior",
    "self_error": "mean squared error of a feature, decoded from the modality itself",
    "conditional_error": "mean squared error of a feature, decoded from another modality",
}


def of_seeds(measures: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return each measure ``(seed,)``, averaged (log-likelihoods: summed) over modalities, or pairs of different ones."""
    size = measures.sizes["modality"]
    same = xr.DataArray(np.eye(size, dtype=bool), dims=("source", "target"))
    own = {key: measures[key].where(same) for key in ("coherence", "error", "log_likelihood")}
    pairs = {key: measures[key].where(~same) for key in ("coherence", "error")}
    over = ("source", "target")
    return {
        "latent_accuracy": measures["latent_accuracy"].mean("modality"),
        "coherence": pairs["coherence"].mean(over),
        "self_coherence": own["coherence"].mean(over),
        "joint_nll": -measures["joint_log_likelihood"].sum("modality"),
        "self_nll": -own["log_likelihood"].sum(over),
        "joint_error": measures["joint_error"].mean("modality"),
        "self_error": own["error"].mean(over),
        "conditional_error": pairs["error"].mean(over),
    }


def table_of(cells: Sequence[xr.Dataset]) -> pd.DataFrame:
    """Return a row for each cell: method, beta, seeds, and for each measure its mean and the half width of its interval.

    The interval holds the mean over seeds (weights, pairs and noise) with 95 % confidence, by Student's t; images and their
    division are the same for all seeds, so it says nothing of other data. It is NaN with one seed.
    """
    rows: list[dict[str, Any]] = []
    for measures in cells:
        row: dict[str, Any] = {"method": measures.attrs["method"], "beta": float(measures.attrs["beta"])}
        row["seeds"] = measures.sizes["seed"]
        for name, values in of_seeds(measures).items():
            row[name], row[f"{name}_half"] = float(values.mean()), half_width(values.to_numpy())
        rows.append(row)
    names = [column for name in COLUMNS for column in (name, f"{name}_half")]
    return pd.DataFrame(rows, columns=["method", "beta", "seeds", *names])


def half_width(values: np.ndarray) -> float:
    """Return half the width of the interval of a mean ``(seed,)``, by Student's t."""
    count = len(values)
    if count < 2:
        return math.nan
    return float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(ddof=1) / math.sqrt(count))


def markdown(table: pd.DataFrame, measures: xr.Dataset, failed: Sequence[str]) -> str:
    """Return the table as a page, with what it was computed from."""
    ceiling = ", ".join(f"{name} {float(value):.3f}" for name, value in measures["ceiling"].to_series().items())
    lines = [
        f"Test tuples: {measures.attrs['test_tuples']}; training images of a modality: {measures.attrs['training_samples']}. "
        f"Accuracy of the classifier on real test images, the ceiling of coherence: {ceiling}. "
        "Mean ± half width of the 95 % interval over seeds (weights, pairs, noise; the images are the same).",
        "",
        "| method | beta | " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * (len(COLUMNS) + 2),
    ]
    for row in table.to_dict("records"):
        cells = [_rounded(row[name], row[f"{name}_half"]) for name in COLUMNS]
        lines.append(f"| {row['method']} | {row['beta']:g} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- `{name}`: {meaning}." for name, meaning in COLUMNS.items())]
    if failed:
        lines += ["", "Not done:", "", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"


def _rounded(value: float, half: float) -> str:
    digits = 1 if abs(value) >= 100 else 3 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")
