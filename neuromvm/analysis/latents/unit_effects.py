"""Which units carry a latent or a class: what changes in the latents of test samples when a unit is silenced."""

import json
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

from neuromvm.analysis.readouts.representations import Floats

INVERSE_PENALTY = 1.0  # of the decoders of classes, whose latents are scaled to a deviation of 1
SILENT = 1e-6  # deviation of a latent, relative to the largest, below which it is taken to be constant


def unit_effects(ablated: xr.DataTree) -> xr.DataTree:
    """Return the effects of silencing each unit of every animal, from :func:`neuromvm.inference.ablation.ablate`.

    Effects of single units do not add up to that of all: redundant units replace one another, so a unit without an effect may
    still be informative.

    Each animal has ``latent_effect (unit, latent)``: root mean square, over test samples, of the change of the posterior mean, in
    standard deviations of that mean over the training side, NaN for a latent that is constant there; ``class_effect (unit,
    class)`` [nats]: loss of the log probability of the true class, mean over test trials of the class, under a logistic
    regression fitted on the training-side latents, below 0 where silencing helps; its standard error over trials ``_error`` and
    95 % interval ``_low, _high`` from Student's t; ``class_log_probability (class)`` [nats] with all units; and the number of
    test trials, ``trials (class)``.
    """
    classes = json.loads(ablated.attrs["classes"])
    nodes = {animal: xr.DataTree(_effects_of_animal(node.to_dataset(), classes)) for animal, node in ablated.children.items()}
    return xr.DataTree(dataset=xr.Dataset(attrs=ablated.attrs), children=nodes)


def _effects_of_animal(ablated: xr.Dataset, classes: list[str]) -> xr.Dataset:
    training, intact = (ablated[name].to_numpy().astype(np.float64) for name in ("training_mean", "posterior_mean"))
    deviation = training.std(axis=0)
    varies = deviation > SILENT * deviation.max()
    divisor = np.where(varies, deviation, 1.0)
    labels, trials = ablated["label"].to_numpy(), ablated["trial"].to_numpy()
    log_probability = _decoder(training / divisor, ablated["training_label"].to_numpy(), labels, len(classes))
    log_probability_intact = log_probability(intact / divisor)
    changes, losses = [], []
    for silenced in ablated["silenced_mean"].transpose("unit", "sample", "latent").to_numpy().astype(np.float64):
        changes.append(np.sqrt(np.square(silenced - intact).mean(axis=0)) / np.where(varies, deviation, np.nan))
        losses.append(log_probability_intact - log_probability(silenced / divisor))
    loss, error, counts = _over_trials(np.stack(losses), labels, trials, len(classes))
    of_intact = _over_trials(log_probability_intact[None], labels, trials, len(classes))[0]
    half = student.ppf(0.975, counts - 1) * error  # NaN with one trial
    effects = xr.Dataset(
        {
            "latent_effect": (("unit", "latent"), np.stack(changes), {"units": "standard deviations"}),
            **{
                f"class_effect{ending}": (("unit", "class"), values, {"units": "nats"})
                for ending, values in {"": loss, "_error": error, "_low": loss - half, "_high": loss + half}.items()
            },
            "class_log_probability": ("class", of_intact[0], {"units": "nats"}),
            "trials": ("class", counts),
        },
        {"class": classes},
        ablated.attrs,
    )
    coords = {name: coord for name, coord in ablated.coords.items() if set(coord.dims) <= {"unit", "latent"}}
    return effects.assign_coords(coords)


def _decoder(
    training: Floats, training_labels: NDArray[np.int16], labels: NDArray[np.int16], classes: int
) -> Callable[[Floats], Floats]:
    """Fit a decoder of labels; return latents ``(sample, latent)`` -> log probability of the true class ``(sample,)``."""
    labelled = training_labels >= 0
    if len(np.unique(training_labels[labelled])) < 2:
        return lambda latents: np.full(len(latents), np.nan)
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000, class_weight="balanced")
    model.fit(training[labelled], training_labels[labelled])
    column = np.full(classes + 1, -1)  # the last entry is that of samples without a label
    column[model.classes_] = np.arange(len(model.classes_))
    true = column[labels]

    def log_probability(latents: Floats) -> Floats:
        log_probabilities = model.predict_log_proba(latents)
        return np.where(true >= 0, log_probabilities[np.arange(len(latents)), np.maximum(true, 0)], np.nan)

    return log_probability


def _over_trials(
    losses: Floats, labels: NDArray[np.int16], trials: NDArray[np.integer], classes: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Average ``losses (unit, sample)`` over the trials of each class; windows of a trial, which depend on each other, first.

    Returns mean and standard error ``(unit, class)``, and the number of trials ``(class,)``.
    """
    mean, error = (np.full((len(losses), classes), np.nan) for _ in range(2))
    counts = np.zeros(classes, dtype=np.int64)
    for code in range(classes):
        scored = (labels == code) & np.isfinite(losses[0])
        numbers = np.unique(trials[scored])
        counts[code] = len(numbers)
        if len(numbers):
            of_trials = np.stack([losses[:, scored & (trials == number)].mean(axis=1) for number in numbers], axis=1)
            mean[:, code] = of_trials.mean(axis=1)
        if len(numbers) > 1:
            error[:, code] = of_trials.std(axis=1, ddof=1) / np.sqrt(len(numbers))
    return mean, error, counts
