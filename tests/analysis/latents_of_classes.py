"""Latents with known class means: shared by animals, their own, or none; and what a model may have learnt by heart."""

import json

import numpy as np
import xarray as xr

from neuromvm.analysis.consistency.consistency import Options, compare_animals
from neuromvm.analysis.readouts.representations import Latents
from neuromvm.data.splits import make_splits
from neuromvm.specs import SampleSpec, SplitSpec

FAST = Options(permutations=99)


def latents_of(
    kind, dimensions, seed=0, *, animals=3, labels=8, trials=10, noise=1.0, splits=None, learnt=0.0, offset=0.0, turned=True
):
    """Return samples, splits and latents of animals whose class means are ``shared``, each its ``own``, or ``noise`` alone.

    Parameters
    ----------
    learnt
        Size of class means that latents of training trials have in addition, the same in all animals: learnt by heart.
    offset
        How far latents of test trials lie from those of training trials, in one direction in all animals.
    turned
        Whether each animal has axes of its own.
    """
    rng = np.random.default_rng(seed)
    axes = min(3, dimensions)
    shared, heart, away = rng.standard_normal((labels, axes)), rng.standard_normal((labels, axes)), rng.standard_normal(axes)
    nodes, own, turn = {}, {}, {}
    for number in range(animals):
        name = f"rat{number}"
        codes = rng.permutation(np.repeat(np.arange(labels), trials)).astype(np.int16)[:, None]
        rotation = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0][:axes]
        turn[name] = rotation if turned else np.eye(dimensions)[:axes]
        means = {"shared": shared, "own": rng.standard_normal((labels, axes)), "noise": np.zeros((labels, axes))}[kind]
        own[name] = means[codes] @ turn[name] + noise * rng.standard_normal((len(codes), 1, dimensions))
        nodes[name] = xr.Dataset(
            {
                "activity": (("trial", "window", "bin", "unit"), np.zeros((len(codes), 1, 1, 2), np.uint8)),
                "label": (("trial", "window"), codes),
                "match": (("trial", "window"), codes),
            },
            coords={"trial": np.arange(len(codes)), "window": [0.0]},
        )
    samples = xr.DataTree.from_dict(nodes)
    spec = SampleSpec(label=["odor"]).model_dump_json()
    samples.attrs = {"classes": json.dumps([str(one) for one in range(labels)]), "label": "odor", "sample_spec": spec}
    divided = make_splits(samples, splits or SplitSpec(kind="halves"))
    tree = {}
    for name, node in nodes.items():
        training = (divided[name]["part"].to_numpy() == 1)[..., None, None]
        values = own[name] + np.where(training, learnt * heart[node["label"].to_numpy()], offset * away) @ turn[name]
        dims = ("replica", "trial", "window", "latent")
        tree[name] = xr.Dataset({"latent_mean": (dims, values)}, coords={"split": ("replica", np.arange(len(values)))})
    return samples, divided, Latents(xr.DataTree.from_dict(tree), divided, inverse_penalty=1.0)


def compared(*args, options=FAST, **kwargs):
    """Return what :func:`compare_animals` says of these latents."""
    samples, splits, latents = latents_of(*args, **kwargs)
    return compare_animals(samples, splits, {"model": latents}, options).isel(representation=0)
