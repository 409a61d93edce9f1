"""Add a new animal to a fitted stack: its encoder, decoder and likelihood are fitted, all other weights are frozen.

Training begins from random weights or, with linear networks, from a closed form (:mod:`neuromvm.data.closed_form_start`).
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.build import build_model
from neuromvm.data.closed_form_start import ClosedFormStart, EncodedAnimal, fit_closed_form_start
from neuromvm.data.windows import window_shape
from neuromvm.errors import SchemaError, SpecError, SplitError, TrainingError, did_you_mean, expect
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.models import MultimodalVAE
from neuromvm.networks import ConstantScale, Decoder, Encoder, PredictedScale, SimplexMean
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
FIXED_SETTINGS = ("smooth", "scale", "clip")  # of samples, on which, as on the transform, scalers and encoders depend


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
    """Add animals to a fitted stack; scalers and weights of the animals that it was trained on do not change.

    The objective is that of the model. Trials of the new animal are matched with training-side trials of the others, whose
    frozen encoders and decoders determine its latents; if the model decodes across animals, the new decoder also learns from
    the latents of the others.

    Parameters
    ----------
    fitted
        A stack trained on the other animals; the result has the same replicas.
    samples, splits
        Of these animals and at least one more. Only training trials are used;
        :func:`neuromvm.data.splits.few_trials` makes splits with few of them.
    training
        How the new animal is trained from its start; ``seeds`` is ignored. Default for start ``others``: no training. For
        ``random``: 200 epochs at a learning rate of 0.005, with weight decay 1, which shrinks directions that few trials do not
        determine.
    start
        Weights of the new animal before training. ``random``: as in the model's spec, random unless it starts by Bayes' rule.
        ``others``: the ridge regression of the others' latents on its features, condition by condition, and of its features on
        these latents; better on simulated animals, not on recorded ones (docs/results.md).
    likelihood_of
        New animal -> its own likelihood, in place of the common one.
    folder, progress
        As in :func:`neuromvm.training.fit.fit`.

    Raises
    ------
    SchemaError
        If there is no new animal, an animal of the stack is missing, or samples were made with other settings.
    SplitError
        If a replica's split is missing, a new animal has no training trials in it, or start is ``others`` and it has no
        condition in common with the other animals.
    TrainingError
        If ``patience`` is set and a new animal has no validation trials.
    SpecError
        If ``likelihood_of`` names an animal that is not new, or start is ``others`` and networks are not linear, the new animal's
        likelihood scores activity as recorded, or latents are not shared.
    """
    expect(fitted, FittedStack, "fitted", "Make one: fit(samples, splits, model)")
    schema.expect_samples_with_splits(samples, splits)
    if training is not None:
        expect(training, TrainingSpec, "training", "Make one: TrainingSpec(epochs=200)")
    new = _new_animals(fitted, samples)
    _check_samples(fitted, samples)
    model = _with_likelihoods(fitted.spec, likelihood_of or {}, new)
    begin = None
    if start == "others":
        architecture = build_model(model, {name: window_shape(dataset) for name, dataset in schema.animals(samples)}, seed=0)
        _check_start(model, architecture, new)
        begin = partial(_start_from_others, architecture, fitted, new)
    training = training or TRAINING_AFTER[start]
    _check_splits(fitted, splits, new, training)
    return train_stack(
        samples, splits, model, training, fitted.replicas, frozen=fitted, start=begin, folder=folder, progress=progress
    )


def _check_start(model: ModelSpec, architecture: MultimodalVAE, new: Sequence[str]) -> None:
    linear = all(isinstance(decoder, Decoder) and not len(decoder.layers) for decoder in architecture.decoders.values())
    recorded = any(architecture.likelihood(name).scores_recorded() for name in new)
    if not (architecture.has_common_space and linear) or recorded:
        raise SpecError(
            "start",
            found=f"others, with sharing {model.sharing.kind} and {model.networks.kind} networks",
            expected="linear networks, shared latents without private ones, and a likelihood of scaled features for new animals",
            next_step="Set start='random'",
        )


@torch.no_grad()
def _start_from_others(
    architecture: MultimodalVAE, fitted: FittedStack, new: Sequence[str], batches: StackBatches
) -> dict[str, Tensor]:
    """Return the parameters ``(replica, ...)`` with which new animals begin."""
    starts: dict[str, list[Tensor]] = defaultdict(list)
    for number in range(len(fitted.replicas)):
        member = fitted.member(number)
        references = []
        for name in fitted.scalers:
            features, match = batches.animals[name].training_samples(number)
            encoder = cast(Encoder, member.encoders[name])
            mean, scale = (moment.double().numpy() for moment in encoder(torch.from_numpy(features)))
            code = _logits(mean / encoder.mean.gain) if isinstance(encoder.mean, SimplexMean) else mean
            references.append(EncodedAnimal(code, mean, np.log(np.maximum(scale, SMALLEST_SCALE)), match))
        for name in new:
            start = fit_closed_form_start(*batches.animals[name].training_samples(number), references)
            for parameter, value in _parameters_of(architecture, name, start).items():
                starts[parameter].append(value)
    return {parameter: torch.stack(replicas) for parameter, replicas in starts.items()}


def _parameters_of(architecture: MultimodalVAE, animal: str, start: ClosedFormStart) -> dict[str, Tensor]:
    """Return the parameters of one animal's encoder, decoder and likelihood, by their names in the model."""
    encoder = cast(Encoder, architecture.encoders[animal])
    mean = "mean.logit" if isinstance(encoder.mean, SimplexMean) else "mean"
    values = {
        f"encoders.{animal}.{mean}.weight": start.encoder_weight,
        f"encoders.{animal}.{mean}.bias": start.encoder_bias,
        f"decoders.{animal}.1.weight": start.decoder_weight,
        f"decoders.{animal}.1.bias": start.decoder_bias,
    }
    if isinstance(encoder.scale, ConstantScale):
        values[f"encoders.{animal}.scale.log_scale"] = start.log_scale
    elif isinstance(encoder.scale, PredictedScale):
        values[f"encoders.{animal}.scale.log_scale.weight"] = np.zeros_like(start.encoder_weight)
        values[f"encoders.{animal}.scale.log_scale.bias"] = start.log_scale
    parameters = {name: torch.from_numpy(value).float() for name, value in values.items()}
    noise = architecture.likelihood(animal).parameters_at(torch.from_numpy(start.noise))
    return parameters | {f"likelihoods.{animal}.{name}": value.float() for name, value in noise.items()}


def _logits(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits ``(sample, latent)`` with a sum of 0 in each sample: a softmax does not depend on their sum."""
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
            expected=f"at least one besides those that the stack was trained on: {', '.join(fitted.scalers)}",
            next_step="Use fitted.embed(samples): they need no adaptation",
        )
    return new


def _check_samples(fitted: FittedStack, samples: xr.DataTree) -> None:
    fitted.check_settings(samples, FIXED_SETTINGS)
    for name in fitted.scalers:
        if name in samples.children:
            fitted.check_transform(name, samples)
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
    return ModelSpec.model_validate({**model.model_dump(), "likelihood_of": {**model.likelihood_of, **likelihood_of}})
