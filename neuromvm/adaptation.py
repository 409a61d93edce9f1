"""A new animal without training the others again: its own encoder, decoder and likelihood are fitted, all else is frozen."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from neuromvm import schema
from neuromvm.data.batches import window_shape
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError, SpecError, SplitError, TrainingError, did_you_mean, expect
from neuromvm.fitting import train_stack
from neuromvm.inference import FittedStack
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, TrainingSpec

ADAPTATION = TrainingSpec(epochs=200, learning_rate=5e-3, weight_decay=1.0)
SAME = ("transform", "smooth", "scale", "clip")  # settings of samples that a scaler or an encoder relies on


def adapt(
    fitted: FittedStack,
    samples: xr.DataTree,
    splits: xr.DataTree,
    training: TrainingSpec | None = None,
    *,
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
        How the new animal is fitted; default: 200 epochs at a learning rate of 0.005, with weight
        decay 1, which shrinks what few trials say nothing about. Its ``seeds`` do not count: the replicas
        are those of ``fitted``.
    likelihood_of
        New animal -> its own likelihood, in place of the common one.
    folder, progress
        As in :func:`neuromvm.fitting.fit`.

    Returns
    -------
    A stack of the same replicas with all animals of ``samples``.

    Raises
    ------
    SchemaError
        If there is no new animal, one of the others is missing, or samples were made in another way than those trained on.
    SplitError
        If a replica's split is not there, or a new animal has no training trials in it.
    TrainingError
        If it is to stop early and a new animal has no validation trials.
    SpecError
        If ``likelihood_of`` names an animal that is not new.

    Examples
    --------
    >>> others = fit(without_animal(samples, "mitt"), without_animal(splits, "mitt"), model)  # doctest: +SKIP
    >>> adapted = adapt(others, samples, few_trials(samples, splits, "mitt", per_class=4))  # doctest: +SKIP
    >>> latents = adapted.embed(samples)  # doctest: +SKIP
    """
    training = training or ADAPTATION
    expect(fitted, FittedStack, "fitted", "Make one: fit(samples, splits, model)")
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    expect(training, TrainingSpec, "training", "Make one: TrainingSpec(epochs=200)")
    schema.check_same_trials(samples, splits)
    new = _new_animals(fitted, samples)
    _check_samples(fitted, samples)
    _check_splits(fitted, splits, new, training)
    model = _with_likelihoods(fitted.spec, likelihood_of or {}, new)
    return train_stack(samples, splits, model, training, fitted.replicas, kept=fitted, folder=folder, progress=progress)


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
