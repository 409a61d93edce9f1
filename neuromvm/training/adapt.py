"""A new animal without training the others again: its own encoder, decoder and likelihood are fitted, all else is frozen.

They are trained from where the model's spec begins, or, with linear networks, set by a closed form
(:mod:`neuromvm.data.closed_form_start`), which a training may go on from.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.build import starts_from_others, weights_of_start
from neuromvm.data.closed_form_start import EncodedAnimal, fit_closed_form_start
from neuromvm.data.windows import sample_spec, window_shape
from neuromvm.errors import SchemaError, SpecError, SplitError, TrainingError, did_you_mean, expect
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.training.batches import StackBatches
from neuromvm.training.fit import train_stack

Beginning = Literal["others", "random"]
TRAINING_AFTER: dict[Beginning, TrainingSpec] = {
    "others": TrainingSpec(epochs=0, learning_rate=1e-3),
    "random": TrainingSpec(epochs=200, learning_rate=5e-3, weight_decay=1.0),
}
SMALLEST_SCALE = 1e-3  # of a latent without noise
SMALLEST_PROBABILITY = 1e-6  # keeps the logarithm of a simplex code finite
SAME = ("transform", "smooth", "scale", "clip")  # settings of samples that a scaler or an encoder relies on


def adapt(
    fitted: FittedStack,
    samples: xr.DataTree,
    splits: xr.DataTree,
    training: TrainingSpec | None = None,
    *,
    start: Beginning = "random",
    likelihood_of: Mapping[str, object] | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
) -> FittedStack:
    """Add animals to a fitted stack; the scalers and weights of those it was trained on stay as they are, bit for bit.

    The objective is that of the model. A trial of the new animal is matched with training-side trials of the others: their
    frozen encoders say where its latent should lie, their frozen decoders what can be read from it, and the new decoder
    learns from everyone's latents where the model decodes across animals.

    Parameters
    ----------
    fitted
        A stack trained on the other animals.
    samples, splits
        Of these animals and at least one more. Only training trials count; see
        :func:`neuromvm.data.splits.few_trials` for how it is with few of them.
    training
        How the new animal is trained from its start; its ``seeds`` do not count: the replicas are those of ``fitted``. Default
        after start ``others``: not at all. After ``random``: 200 epochs at a learning rate of 0.005, with weight decay 1, which
        shrinks what few trials say nothing about.
    start
        Where the new animal's weights begin. ``random``: as the model's spec says, drawn unless it starts by Bayes' rule.
        ``others``: at the ridge regression of the others' latents on its features, condition by condition, and of its features on
        these latents; better on simulated animals, not on recorded ones (docs/results.md).
    likelihood_of
        New animal -> its own likelihood, in place of the common one.
    folder, progress
        As in :func:`neuromvm.training.fit.fit`.

    Returns
    -------
    A stack of the same replicas with all animals of ``samples``.

    Raises
    ------
    SchemaError
        If there is no new animal, one of the others is missing, or samples were made in another way than those trained on.
    SplitError
        If a replica's split is not there, a new animal has no training trials in it, or it is to start from the others and
        has no condition in common with them.
    TrainingError
        If it is to stop early and a new animal has no validation trials.
    SpecError
        If ``likelihood_of`` names an animal that is not new, or start ``others`` is asked for where networks are not linear, the
        new animal's likelihood is of counts, or latents are not shared (independent, mmvae_plus, autoencoder without
        cross-reconstruction).

    Examples
    --------
    >>> others = fit(without_animal(samples, "mitt"), without_animal(splits, "mitt"), model)  # doctest: +SKIP
    >>> adapted = adapt(others, samples, few_trials(samples, splits, "mitt", per_class=4))  # doctest: +SKIP
    >>> latents = adapted.embed(samples)  # doctest: +SKIP
    """
    expect(fitted, FittedStack, "fitted", "Make one: fit(samples, splits, model)")
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    if training is not None:
        expect(training, TrainingSpec, "training", "Make one: TrainingSpec(epochs=200)")
    schema.check_same_trials(samples, splits)
    new = _new_animals(fitted, samples)
    _check_samples(fitted, samples)
    model = _with_likelihoods(fitted.spec, likelihood_of or {}, new)
    if start == "others":
        _check_start(model, new)
    training = training or TRAINING_AFTER[start]
    _check_splits(fitted, splits, new, training)
    begin = partial(_start_from_others, model, fitted, new) if start == "others" else None
    return train_stack(
        samples, splits, model, training, fitted.replicas, kept=fitted, start=begin, folder=folder, progress=progress
    )


def _check_start(model: ModelSpec, new: Sequence[str]) -> None:
    if not all(starts_from_others(model, name) for name in new):
        raise SpecError(
            "start",
            found=f"others, with sharing {model.sharing.kind} and {model.networks.kind} networks",
            expected="linear networks, shared latents without private ones, and a likelihood of scaled features for new animals",
            next_step="Set start='random'",
        )


@torch.no_grad()
def _start_from_others(model: ModelSpec, fitted: FittedStack, new: Sequence[str], batches: StackBatches) -> dict[str, Tensor]:
    """Return the parameters that new animals begin with, ``(replica, ...)``."""
    found: dict[str, list[Tensor]] = {}
    for number in range(len(fitted.replicas)):
        member = fitted.member(number)
        others = []
        for name in fitted.scalers:
            features, match = batches.training_samples(number, name)
            mean, scale = (one.double().numpy() for one in member.encoders[name](torch.from_numpy(features)))
            code = _logits(mean / model.gain) if model.code == "simplex" else mean
            others.append(EncodedAnimal(code, mean, np.log(np.maximum(scale, SMALLEST_SCALE)), match))
        for name in new:
            for key, value in weights_of_start(
                model, name, fit_closed_form_start(*batches.training_samples(number, name), others)
            ).items():
                found.setdefault(key, []).append(value)
    return {key: torch.stack(each) for key, each in found.items()}


def _logits(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits ``(sample, latent)`` of which each sample's sum is 0: a softmax does not tell them from any others."""
    logarithm = np.log(np.maximum(probability, SMALLEST_PROBABILITY))
    return np.asarray(logarithm - logarithm.mean(axis=1, keepdims=True))


def _new_animals(fitted: FittedStack, samples: xr.DataTree) -> list[str]:
    for name in fitted.scalers:
        if name not in samples.children:
            raise SchemaError(
                "samples",
                found=f"no animal {name!r}",
                expected=f"all animals that the stack was trained on ({', '.join(fitted.scalers)}) and new ones",
                next_step="Make samples of all of them together: their trials anchor the new animal's latents",
            )
    new = [name for name in samples.children if name not in fitted.scalers]
    if not new:
        raise SchemaError(
            "samples",
            found="no new animal",
            expected=f"one beside those that the stack was trained on: {', '.join(fitted.scalers)}",
            next_step="Use fitted.embed(samples): they need no adaptation",
        )
    return new


def _check_samples(fitted: FittedStack, samples: xr.DataTree) -> None:
    spec = sample_spec(samples)
    for setting in SAME:
        if getattr(spec, setting) != getattr(fitted.trained_on, setting):
            raise SchemaError(
                f"samples.{setting}",
                found=f"{getattr(spec, setting)}",
                expected=f"{getattr(fitted.trained_on, setting)}, as trained on",
            )
    conditions = tuple(json.loads(next(iter(samples.children.values()))["match"].attrs["classes"]))
    if fitted.conditions and conditions[: len(fitted.conditions)] != fitted.conditions:
        raise SchemaError(
            "samples",
            found=f"conditions {', '.join(conditions)}",
            expected=f"those trained on, in their order, before any others: {', '.join(fitted.conditions)}",
            next_step="Leave out the new animal's other conditions: samples.keep",
        )
    bins = next(iter(fitted.windows.values())).bins
    for name, dataset in schema.animals(samples):
        shape = window_shape(dataset)
        known = fitted.windows.get(name, shape._replace(bins=bins))
        if (shape.bins, shape.units) != (known.bins, known.units) or not np.isclose(shape.bin_width, known.bin_width):
            raise SchemaError(
                f"samples/{name}",
                found=f"windows of {shape.bins} bins of {shape.bin_width:g} and {shape.units} units",
                expected=f"{known.bins} bins of {known.bin_width:g} and {known.units} units, as trained on",
            )


def _check_splits(fitted: FittedStack, splits: xr.DataTree, new: list[str], training: TrainingSpec) -> None:
    used = sorted({replica.split for replica in fitted.replicas})
    for name in new:
        parts = splits[name]["part"].to_numpy()
        if used[-1] >= len(parts):
            raise SplitError(
                f"splits/{name}",
                found=f"splits 0 to {len(parts) - 1}",
                expected=f"split {used[-1]}, which a replica was trained on",
                next_step="Make splits of all animals with the SplitSpec of that training",
            )
        if training.patience is not None and not (parts[used] == Part.VALIDATION).any(axis=1).all():
            raise TrainingError(
                "training.patience",
                found=f"no validation trials of {name}",
                expected="some in every split, to stop on",
                next_step="Leave patience out: adapt for a fixed number of epochs",
            )


def _with_likelihoods(model: ModelSpec, likelihood_of: Mapping[str, object], new: list[str]) -> ModelSpec:
    for name in likelihood_of:
        if name not in new:
            raise SpecError("likelihood_of", found=f"no new animal {name!r}", next_step=did_you_mean(name, new))
    content = model.model_dump()
    return ModelSpec.model_validate({**content, "likelihood_of": {**content["likelihood_of"], **_plain(likelihood_of)}})


def _plain(likelihood_of: Mapping[str, object]) -> dict[str, object]:
    return {name: one.model_dump() if hasattr(one, "model_dump") else one for name, one in likelihood_of.items()}
