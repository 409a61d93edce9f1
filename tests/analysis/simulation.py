"""Small studies with a known answer: animals that share class means in a few dimensions, seen through different units."""

import json
from types import SimpleNamespace

import numpy as np
import xarray as xr

from neuromvm.analysis.readouts.representations import training_side
from neuromvm.data.splits import make_splits
from neuromvm.specs import SampleSpec, SplitSpec

CLASSES = ["A", "B", "C", "D"]


def simulate(seed=0, *, signal=1.0, repeats=(10, 12, 14), units=(8, 10, 12), windows=1, splits=None):
    """Return a study without models; ``signal`` scales what animals share, 0 leaves Poisson noise."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((len(CLASSES), 3))
    nodes = {}
    for number, (count, width) in enumerate(zip(repeats, units, strict=True)):
        codes = rng.permutation(np.repeat(np.arange(len(CLASSES)), count)).astype(np.int16)
        labels = np.repeat(codes[:, None], windows, axis=1)
        rate = np.exp(1 + 0.5 * signal * shared[labels] @ rng.standard_normal((3, width)))
        label = xr.DataArray(labels, dims=("trial", "window"), attrs={"classes": json.dumps(CLASSES)})
        counts = rng.poisson(np.minimum(rate, 50))[:, :, None, :].astype(np.uint8)
        about = {"kind": "spike_count", "bin_width": 0.25}
        nodes[f"rat{number}"] = xr.Dataset(
            {"activity": (("trial", "window", "bin", "unit"), counts, about), "label": label, "match": label},
            coords={
                "trial": np.arange(len(codes)),
                "window": ("window", np.arange(windows) * 0.1, {"dim": "time"}),
                "odor": ("trial", np.array(CLASSES)[codes]),
            },
        )
    samples = xr.DataTree.from_dict(nodes)
    spec = SampleSpec(label=["odor"])
    samples.attrs = {"classes": json.dumps(CLASSES), "label": "odor", "sample_spec": spec.model_dump_json()}
    return study_of(samples, make_splits(samples, splits or SplitSpec(kind="halves", repeats=2)))


def study_of(samples, splits, latents=None):
    """Return what an analysis reads of a run."""
    latents = latents or {}
    return SimpleNamespace(
        samples=samples,
        splits=splits,
        models=list(latents),
        latents=latents.__getitem__,
        paths=lambda model: None,
        refits=lambda row, settings: {},
        exchanged_scores=lambda model, analysis, settings: None,
    )


def shared_latents(study, *, seeds=1, noise=0.3, dimensions=3):
    """Return latents that an ideal model would infer: class means common to all animals, plus noise."""
    rng = np.random.default_rng(1)
    means = 2 * rng.standard_normal((len(json.loads(study.samples.attrs["classes"])), dimensions))
    splits = next(iter(study.splits.children.values())).sizes["split"]
    coords = {"split": ("replica", np.repeat(np.arange(splits), seeds)), "seed": ("replica", np.tile(np.arange(seeds), splits))}
    nodes = {}
    for name, node in study.samples.children.items():
        ideal = means[node["label"].to_numpy()]
        values = ideal + noise * rng.standard_normal((splits * seeds, *ideal.shape))
        dims = ("replica", "trial", "window", "latent")
        nodes[name] = xr.Dataset({"latent_mean": (dims, values.astype(np.float32))}, coords={**coords, "window": node["window"]})
    return xr.DataTree.from_dict(nodes)


def with_node(tree, name, dataset):
    """Return a tree with one node replaced."""
    nodes = {key: node.to_dataset() for key, node in tree.children.items()}
    changed = xr.DataTree.from_dict({**nodes, name: dataset})
    changed.attrs = tree.attrs
    return changed


def poisoned(study):
    """Return a study of one split with other activity, labels and match codes on every test trial."""
    samples = study.samples
    for name, node in study.samples.children.items():
        test = ~training_side(study.splits, 0, name)
        changed = node.to_dataset().copy(deep=True)
        changed["activity"].values[test] = 255
        for variable in ("label", "match"):
            changed[variable].values[test] = np.arange(test.sum())[:, None] % 4
        samples = with_node(samples, name, changed)
    return study_of(samples, study.splits)
