"""The continuous label of every sample, its scale, and its shifts along the session under the null hypothesis."""

from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.analysis.statistics.over_trials import Floats
from neuromvm.data.numeric_labels import as_numbers
from neuromvm.data.windows import Windows, sample_spec
from neuromvm.errors import SchemaError, did_you_mean

WINDOW = "window"
NullKind = Literal["auto", "session", "trial"]


class Scale(NamedTuple):
    """A line, or a circle of circumference ``period``; values and errors are in the label's unit."""

    period: float | None = None

    def coordinates(self, values: Floats) -> Floats:
        """Return ``(..., coordinate)``: the value itself, or the cosine and sine of its angle."""
        if self.period is None:
            return np.asarray(values)[..., None]
        angle = 2 * np.pi * np.asarray(values) / self.period
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def values(self, coordinates: Floats) -> Floats:
        """Return the values of ``(..., coordinate)``; those of a circle lie in 0 to ``period``."""
        if self.period is None:
            return np.asarray(coordinates[..., 0])
        angle = np.arctan2(coordinates[..., 1], coordinates[..., 0])
        return np.asarray(np.mod(angle, 2 * np.pi) * self.period / (2 * np.pi))

    def distance(self, values: Floats, others: Floats) -> Floats:
        """Return the absolute differences, on a circle the shorter way round."""
        difference = np.abs(values - others)
        if self.period is None:
            return np.asarray(difference)
        difference = np.mod(difference, self.period)
        return np.minimum(difference, self.period - difference)


class Labels(NamedTuple):
    """The continuous label of one animal."""

    values: Floats  # (trial, window), NaN where unknown
    order: NDArray[np.intp]  # (trial,) numbers of the trials in the order of time
    condition: NDArray[np.intp]  # (trial,) code of what tuning depends on besides the label


def continuous_label(name: str, recordings: xr.DataTree, samples: xr.DataTree, scale: Scale) -> dict[str, Floats]:
    """Return the values of a label for every animal, ``(trial, window)``; NaN where a value is missing.

    ``name`` is ``window`` (the coordinate of windows: time in the trial, or position on the grid), a trial label that is a
    number, or a variable ``(trial, time | position)`` of the recordings, which is averaged in each window. SchemaError is raised
    if it is none of these, or takes fewer than three values.
    """
    values = {animal: _of_animal(name, animal, recordings, samples, scale) for animal in samples.children}
    distinct = np.unique(np.concatenate([array.ravel() for array in values.values()]))
    if np.isfinite(distinct).sum() < 3:
        raise SchemaError(
            f"analyses.continuous.label={name}",
            found=f"{int(np.isfinite(distinct).sum())} different values",
            expected="a continuous label, of three values at least",
            next_step="Decode classes with the analysis decoding, or cut trials into windows with samples.width",
        )
    return values


def _of_animal(name: str, animal: str, recordings: xr.DataTree, samples: xr.DataTree, scale: Scale) -> Floats:
    node = samples[animal].to_dataset()
    shape = node.sizes["trial"], node.sizes["window"]
    trial_labels = [str(key) for key, coord in node.coords.items() if coord.dims == ("trial",)]
    if name == WINDOW:
        return np.broadcast_to(node["window"].to_numpy().astype(np.float64), shape).copy()
    if name in trial_labels:
        return np.repeat(_numbers(animal, name, node[name].to_numpy())[:, None], shape[1], axis=1)
    recorded = recordings[animal].to_dataset()
    grid_labels = [str(key) for key, of in recorded.variables.items() if of.dims == ("trial", schema.grid_dim(recorded))]
    if name not in grid_labels:
        raise SchemaError(
            f"analyses.continuous.label={name}",
            found=f"neither a trial label nor a label along the grid in animal {animal}",
            next_step=did_you_mean(name, [WINDOW, *trial_labels, *grid_labels]),
        )
    rows = recorded.indexes["trial"].get_indexer(node.indexes["trial"])
    windows = Windows.of(recorded, sample_spec(samples))
    coordinates = scale.coordinates(recorded[name].to_numpy()[rows].astype(np.float64))
    length = windows.bins * windows.merged
    means = [_mean_of_known(coordinates[:, start : start + length]) for start in windows.starts]
    return scale.values(np.stack(means, axis=1))


def _mean_of_known(coordinates: Floats) -> Floats:
    """Return the mean over bins of ``(trial, bin, coordinate)`` without NaN, and NaN where there are only NaN."""
    known = np.isfinite(coordinates)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, coordinates, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _numbers(animal: str, name: str, values: NDArray[np.generic]) -> Floats:
    """Return a trial label as numbers; SchemaError if it is none."""
    numbers = as_numbers(values)
    if numbers is None:
        raise SchemaError(
            f"analyses.continuous.label={name}",
            found=f"{str(values[0])!r} in animal {animal}",
            expected="numbers",
            next_step="Decode classes with the analysis decoding",
        )
    return numbers


def time_order(animal: str, node: xr.Dataset, order: str | None) -> NDArray[np.intp]:
    """Return the numbers of the trials in the order of a trial label, by default of their onset, else as they are stored."""
    if order is None and "onset" not in node.coords:
        return np.arange(node.sizes["trial"])
    label = schema.trial_label(animal, node, "onset" if order is None else order)
    return np.asarray(np.argsort(label.to_numpy(), kind="stable"))


def null_kind(values: dict[str, Floats], kind: NullKind) -> Literal["session", "trial"]:
    """Return how labels are shifted: ``auto`` shifts within trials if all trials run through the same labels, else the session.

    Where all trials run through the same labels, a shift of the session is one of every trial by the same amount, and shifted
    labels can be decoded as well as true ones.
    """
    if kind != "auto":
        return kind
    alike = all(array.shape[1] > 1 and bool((array == array[:1]).all()) for array in values.values())
    return "trial" if alike else "session"


def shifted(labels: Labels, kind: Literal["session", "trial"], draws: int, rng: np.random.Generator) -> Floats:
    """Return the label and its circular shifts ``(trial, window, 1 + draw)``, the label itself first; unknown values stay.

    ``session``: known values of all windows in the order of time are shifted by a random number of places (of trials, where a
    trial has one value). ``trial``: the values of each trial are shifted by a number of its own.
    """
    values = labels.values
    result = np.repeat(values[:, :, None], 1 + draws, axis=2)
    known = np.isfinite(values)
    if kind == "trial":
        for trial in range(len(values)):
            places = np.flatnonzero(known[trial])
            for draw in range(1, 1 + draws) if len(places) else ():
                result[trial, places, draw] = np.roll(values[trial, places], rng.integers(len(places)))
        return result
    trials, windows = np.nonzero(known[labels.order])
    trials = labels.order[trials]
    series = values[trials, windows]
    whole = bool((np.where(known, values, values[:, :1]) == values[:, :1])[known.all(axis=1)].all()) and known.all()
    step = values.shape[1] if whole else 1
    for draw in range(1, 1 + draws) if len(series) > step else ():
        result[trials, windows, draw] = np.roll(series, step * rng.integers(1, len(series) // step))
    return result


def renamed(values: Floats, scale: Scale, draws: int, rng: np.random.Generator) -> Floats:
    """Return the label and versions with other values ``(trial, window, 1 + draw)``, the label itself first.

    Equal values stay equal, in every draw with one other value: on a circle the label is turned by a random angle; on a line its
    values are shifted circularly among themselves, in order of size, such that about as many samples have each value as before.
    In half of the draws the order is reversed too. Neighbouring values stay neighbours, except at one place of a line.
    """
    result = np.repeat(values[:, :, None], 1 + draws, axis=2)
    known = np.isfinite(values)
    distinct, number, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if not len(distinct):
        return result
    share = np.cumsum(counts) / counts.sum()
    middle = share - counts / (2 * counts.sum())
    for draw in range(1, 1 + draws):
        turn, reversed_order = rng.random(), rng.random() < 0.5
        if scale.period is not None:
            turned = np.mod((-distinct if reversed_order else distinct) + turn * scale.period, scale.period)
        else:
            places = np.mod((1 - middle if reversed_order else middle) + turn, 1)
            turned = distinct[np.minimum(np.searchsorted(share, places), len(distinct) - 1)]
        result[known, draw] = turned[number.reshape(-1)]
    return result
