"""Settings of a model that do not fit its data: what does not, in numbers, and the setting that would."""

import numpy as np
import xarray as xr

from neuromvm import schema
from neuromvm.data.pairing import condition_count
from neuromvm.data.windows import sample_spec, window_shape
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec


def misfits(model: ModelSpec, samples: xr.DataTree, splits: xr.DataTree) -> list[str]:
    """Return sentences, without a full stop, about settings of a model that do not fit samples and splits.

    Checked are the latents of a simplex code against the conditions, those of linear networks against the features of
    animals, training trials for a start from Bayes' rule, smoothing of single bins, and sharing of one animal.
    """
    sentences = []
    conditions = condition_count(samples)
    if model.code == "simplex" and model.latent != conditions:
        sentences.append(_simplex_misfit(model.latent, conditions))
    shapes = {name: window_shape(dataset) for name, dataset in schema.animals(samples)}
    largest = max(shapes, key=lambda name: shapes[name].features)
    shape = shapes[largest]
    if model.code == "free" and model.networks.kind == "linear" and model.latent > shape.features:
        sentences.append(
            f"{model.latent} latents, and no animal with more than {shape.features} features ({largest}: {shape.units} units in "
            f"{shape.bins} bins): linear networks infer no more different latents than that. Set latent to {shape.features} or "
            "less, or use narrower bins (samples.bin_width)"
        )
    if model.start == "bayes" and (few := _single_trials(samples, splits)):
        sentences.append(
            f"start 'bayes' with one training trial or less of most conditions in {', '.join(few)}: their means cannot be told "
            "from noise. Give the training side more trials (split.kind: kfold), or merge conditions"
        )
    is_smoothed = "sample_spec" in samples.attrs and sample_spec(samples).smooth is not None
    if is_smoothed and all(shape.bins == 1 for shape in shapes.values()):
        sentences.append("samples.smooth does nothing to windows of one bin. Set samples.bin_width, or leave smooth out")
    if len(shapes) == 1 and model.sharing.kind not in ("independent", "autoencoder"):
        sentences.append(f"sharing '{model.sharing.kind}' with one animal: there is nothing to share. Set sharing to independent")
    return sentences


def _simplex_misfit(latent: int, conditions: int) -> str:
    if latent > conditions:
        why = f"each condition takes a latent of its own, and {latent - conditions} are left over, which carry nothing"
    else:
        why = "some conditions have to share a latent and cannot be told apart by it"
    return f"{latent} latents for {conditions} conditions of a simplex code: {why}. Set latent to {conditions}"


def _single_trials(samples: xr.DataTree, splits: xr.DataTree) -> list[str]:
    """Return the animals that have one training trial or less of half of their conditions or more, in a split."""
    few = []
    for name, dataset in schema.animals(samples):
        codes, parts = dataset["match"].to_numpy()[:, 0], splits[name]["part"].to_numpy()
        known = np.unique(codes[codes >= 0])
        trials = ((codes[:, None] == known) & (parts == Part.TRAIN)[:, :, None]).sum(axis=1)  # (split, condition)
        if known.size and (np.median(trials, axis=1) <= 1).any():
            few.append(name)
    return few
