"""Which units carry a latent or a class, and what firing a latent stands for. Of one replica, since latents are its own."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from neuromvm import schema
from neuromvm.data.windows import classes
from neuromvm.errors import ArgumentError
from neuromvm.inference.decoded import readable
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.schema import is_fitted, is_scored

INVERSE_PENALTY = 1.0  # of the decoders of classes, whose latents are scaled to a deviation of 1
SILENT = 1e-6  # deviation of a latent, relative to the largest, below which it is taken to be constant
Numbers = NDArray[np.float64]
Encode = Callable[[Tensor], Numbers]


def unit_effects(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int = 0) -> xr.DataTree:
    """Say what is lost when a unit falls silent: its activity, in all bins, is replaced by its training-side mean.

    Effects of single units do not add up to that of all: units that carry the same thing stand in for one another, so a unit
    without an effect may still be informative.

    Parameters
    ----------
    fitted
        The model.
    samples, splits
        What it was trained on.
    replica
        Which member; latents of different replicas are not the same.

    Returns
    -------
    One node an animal that the replica was trained on, with the coordinates of its units

    ``latent_effect (unit, latent)``
        Root mean square, over test trials and windows, of the change of the posterior mean, in standard deviations of that
        mean over the animal's training side. NaN of a latent that is constant there.
    ``class_effect (unit, class)`` [nats]
        Loss of the log probability of the true class: mean over test trials of the class, under a logistic regression fitted
        on the latents of the animal's own training side. Below 0 where silence helps.
    ``class_effect_error, class_effect_low, class_effect_high``
        Standard error over trials, and the 95 % interval from Student's t.
    ``class_log_probability (class)`` [nats]
        The log probability with all units.
    ``trials (class)``
        Number of test trials.

    An animal that tests nothing is described on its training side: ``attrs["side"]``.

    Raises
    ------
    SchemaError
        If samples and splits do not belong together.
    ArgumentError
        If there is no such replica.

    Examples
    --------
    >>> effects = unit_effects(fitted, samples, splits)  # doctest: +SKIP
    >>> effects["mitt"]["class_effect"].sel({"class": "A"}).idxmax("unit")  # doctest: +SKIP
    """
    _check(fitted, samples, splits, replica)
    nodes = {}
    for name in fitted.scalers:
        sides = _Sides.of(fitted, samples, splits, name, replica)
        if sides is not None:
            nodes[name] = xr.DataTree(_animal_effects(fitted, samples, name, sides, replica))
    attrs = {"label": samples.attrs["label"], "classes": samples.attrs["classes"], **_about(fitted, replica)}
    return xr.DataTree(dataset=xr.Dataset(attrs=attrs), children=nodes)


def traverse(
    fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, steps: int = 7, extent: float = 2.0, replica: int = 0
) -> xr.DataTree:
    """Decode the activity of each animal while one latent moves and the others stay at their mean.

    Parameters
    ----------
    fitted, samples, splits, replica
        As for :func:`unit_effects`.
    steps
        Values of a latent.
    extent
        How far it moves to either side [standard deviations of the posterior means over all animals' training sides;
        over the animal's own for latents private to it].

    Returns
    -------
    One node an animal: ``activity (latent, step, bin, unit)``, the decoder's expectation, with ``attrs["units"]``: Hz where
    that can be said, else the transformed unit on which the model was trained, since the mean of a square root or of a logarithm
    does not give the mean; ``center, deviation (latent)`` of the latent; ``step`` is in deviations.

    Raises
    ------
    ArgumentError
        If there is no such replica, fewer than two steps or no extent.

    Examples
    --------
    >>> moved = traverse(fitted, samples, splits)  # doctest: +SKIP
    >>> moved["mitt"]["activity"].sel(latent=0).mean("bin").plot(hue="unit")  # doctest: +SKIP
    """
    _check(fitted, samples, splits, replica)
    if steps < 2 or not extent > 0:
        raise ArgumentError(
            "traverse", found=f"steps={steps}, extent={extent:g}", expected="two steps or more, an extent above 0"
        )
    model = fitted.member(replica)
    means = {}
    for name in fitted.scalers:
        sides = _Sides.of(fitted, samples, splits, name, replica)
        if sides is not None:
            means[name] = _encoder(fitted, name, replica)(sides.training)
    pooled = np.concatenate(list(means.values()))
    is_shared = np.arange(model.latent) < model.shared_latents
    step = np.linspace(-extent, extent, steps)
    nodes = {}
    for name, own in means.items():
        center = np.where(is_shared, pooled.mean(axis=0), own.mean(axis=0))
        deviation = np.where(is_shared, pooled.std(axis=0), own.std(axis=0))
        moved = center + step[None, :, None] * (np.eye(model.latent) * deviation)[:, None, :]  # (latent, step, latent)
        with torch.no_grad():
            raw = model.decoders[name](torch.from_numpy(moved.reshape(-1, model.latent).astype(np.float32)))
            values = model.likelihood(name).mean(raw)
        shown, unit = readable(fitted, samples, name, replica, model.likelihood(name), values)
        window = fitted.windows[name]
        node = xr.Dataset(
            {
                "activity": (
                    ("latent", "step", "bin", "unit"),
                    shown.reshape(model.latent, steps, window.bins, window.units).astype(np.float32),
                    {"units": unit},
                ),
                "center": ("latent", center),
                "deviation": ("latent", deviation),
            },
            {"latent": np.arange(model.latent), "shared": ("latent", is_shared), "step": step},
        )
        nodes[name] = xr.DataTree(node.assign_coords(_unit_coords(samples, name)))
    return xr.DataTree(dataset=xr.Dataset(attrs=_about(fitted, replica)), children=nodes)


class _Sides(NamedTuple):
    """What an animal's encoder sees on either side of a split."""

    training: Tensor  # (sample, feature)
    training_label: NDArray[np.int16]  # (sample,)
    tested: Tensor  # (sample, feature)
    tested_label: NDArray[np.int16]
    tested_trial: NDArray[np.int64]
    side: str

    @classmethod
    def of(cls, fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, name: str, replica: int) -> "_Sides | None":
        """Divide the samples of an animal; None if it has no training side in the split of the replica."""
        part = splits[name]["part"].to_numpy()[fitted.replicas[replica].split]
        training, tested = is_fitted(part), is_scored(part)
        if not training.any():
            return None
        tested = tested if tested.any() else training
        side = "training" if (training & tested).any() else "test"
        values = fitted.scaled(samples, name, replica)
        label = samples[name]["label"].to_numpy()
        trial = np.broadcast_to(np.arange(len(label))[:, None], label.shape)
        return cls(
            values[torch.from_numpy(training)].flatten(0, 1),
            label[training].ravel(),
            values[torch.from_numpy(tested)].flatten(0, 1),
            label[tested].ravel(),
            trial[tested].ravel(),
            side,
        )


def _animal_effects(fitted: FittedStack, samples: xr.DataTree, name: str, sides: _Sides, replica: int) -> xr.Dataset:
    encode = _encoder(fitted, name, replica)
    training, whole = encode(sides.training), encode(sides.tested)
    deviation = training.std(axis=0)
    varies = deviation > SILENT * deviation.max()
    divisor = np.where(varies, deviation, 1.0)
    names = classes(samples)
    log_probability = _decoder(training / divisor, sides, len(names))
    before = log_probability(whole / divisor)
    window = fitted.windows[name]
    silence = sides.training.mean(0).reshape(window.bins, window.units)
    effects, losses = [], []
    for unit in range(window.units):
        silenced = sides.tested.reshape(-1, window.bins, window.units).clone()
        silenced[:, :, unit] = silence[:, unit]
        after = encode(silenced.flatten(1))
        effects.append(np.sqrt(np.square(after - whole).mean(axis=0)) / np.where(varies, deviation, np.nan))
        losses.append(before - log_probability(after / divisor))
    mean, error, low, high, trials = _over_trials(np.stack(losses), sides, len(names))
    nats = {"units": "nats"}
    dims = ("unit", "class")
    return xr.Dataset(
        {
            "latent_effect": (("unit", "latent"), np.stack(effects), {"units": "standard deviations"}),
            "class_effect": (dims, mean, nats),
            "class_effect_error": (dims, error, nats),
            "class_effect_low": (dims, low, nats),
            "class_effect_high": (dims, high, nats),
            "class_log_probability": ("class", _over_trials(before[None], sides, len(names))[0][0], nats),
            "trials": ("class", trials),
        },
        {
            "latent": np.arange(whole.shape[1]),
            "shared": ("latent", np.arange(whole.shape[1]) < fitted.member(replica).shared_latents),
            "class": names,
            **_unit_coords(samples, name),
        },
        {"side": sides.side},
    )


def _encoder(fitted: FittedStack, name: str, replica: int) -> Encode:
    """Return features ``(sample, feature)`` -> posterior means ``(sample, latent)``."""
    network = fitted.member(replica).encoders[name]

    @torch.no_grad()
    def encode(values: Tensor) -> Numbers:
        return np.asarray(network(values)[0].numpy(), dtype=np.float64)

    return encode


def _decoder(training: Numbers, sides: _Sides, count: int) -> Callable[[Numbers], Numbers]:
    """Fit a decoder of labels; return latents ``(sample, latent)`` -> log probability of the true class ``(sample,)``."""
    known = sides.training_label >= 0
    labels = sides.training_label[known]
    if len(np.unique(labels)) < 2:
        return lambda values: np.full(len(values), np.nan)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(training[known], labels)
    column = np.full(count + 1, -1)  # the last is that of samples without a label
    column[model.classes_] = np.arange(len(model.classes_))
    place = column[sides.tested_label]

    def log_probability(values: Numbers) -> Numbers:
        every = model.predict_log_proba(values)
        return np.where(place >= 0, every[np.arange(len(values)), np.maximum(place, 0)], np.nan)

    return log_probability


def _over_trials(values: Numbers, sides: _Sides, count: int) -> tuple[Numbers, Numbers, Numbers, Numbers, NDArray[np.int64]]:
    """Average ``values (unit, sample)`` over trials of each class: mean, error, low, high ``(unit, class)``, trials ``(class,)``.

    Windows of a trial are averaged first: they are not independent.
    """
    mean, error, half = (np.full((len(values), count), np.nan) for _ in range(3))
    trials = np.zeros(count, dtype=np.int64)
    for code in range(count):
        chosen = (sides.tested_label == code) & np.isfinite(values[0])
        numbers, place = np.unique(sides.tested_trial[chosen], return_inverse=True)
        trials[code] = len(numbers)
        if len(numbers) == 0:
            continue
        each = np.stack([values[:, chosen][:, place == one].mean(axis=1) for one in range(len(numbers))], axis=1)
        mean[:, code] = each.mean(axis=1)
        if len(numbers) > 1:
            error[:, code] = each.std(axis=1, ddof=1) / np.sqrt(len(numbers))
            half[:, code] = student.ppf(0.975, len(numbers) - 1) * error[:, code]
    return mean, error, mean - half, mean + half, trials


def _unit_coords(samples: xr.DataTree, name: str) -> dict[str, tuple[str, NDArray[np.generic]]]:
    coords = samples[name].to_dataset().coords
    found = {str(key): ("unit", coord.to_numpy()) for key, coord in coords.items() if coord.dims == ("unit",)}
    return {"unit": ("unit", np.arange(samples[name].sizes["unit"])), **found}


def _about(fitted: FittedStack, replica: int) -> dict[str, int]:
    return {"replica": replica, "split": fitted.replicas[replica].split, "seed": fitted.replicas[replica].seed}


def _check(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, replica: int) -> None:
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    schema.check_same_trials(samples, splits)
    if not 0 <= replica < len(fitted.replicas):
        raise ArgumentError("argument 'replica'", found=f"{replica}", expected=f"0 to {len(fitted.replicas) - 1}")
