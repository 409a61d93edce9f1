"""Choose settings of every model, and of MCCA, on inner folds of the training sides; test trials are not read.

    python benchmarks/tune_models.py analysis/experiments/odor_piriform_models.yaml --data FOLDER --out tuned.json

The experiment gives data, samples and splits. For each of its splits the training side is divided once more (odor sets: 60 % of
the trials of each odor; the track: contiguous fifths of the laps), every candidate is fitted on the inner training side, and
decoders of one animal are scored on the inner held-out side of the others. Prints one line a candidate;
the file holds the best of each model.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from neuromvm.analysis.baselines.mcca import CanonicalVariates
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents, Representation
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.schema import Part
from neuromvm.specs import ExperimentSpec, ModelSpec, load_experiment_spec
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import load_experiment_recordings

INNER_SHARE = 0.6
BLOCKS = 5
LATENT_PENALTIES = (0.1, 1.0)
CROSS = {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9}
SIMPLEX = {"code": ["simplex"], "targets": ["condition_means"], "initial_scale": [0.135]}
BAYES = {**SIMPLEX, "start": ["bayes"]}
GRID: dict[str, dict[str, list]] = {
    "independent": {"sharing": ["independent"], "beta": [0.01, 1.0]},
    "autoencoder": {"sharing": [{"kind": "autoencoder", "cross_reconstruction": 0.9}], "beta": [0.0]},
    "average": {"sharing": [{"kind": "joint", "aggregation": "average"}], "beta": [0.01, 1.0]},
    "poe": {"sharing": [{"kind": "joint", "aggregation": "product_of_experts"}], "beta": [0.01, 1.0]},
    "moe": {"sharing": [{"kind": "joint", "aggregation": "mixture_of_experts"}], "beta": [0.01, 1.0]},
    "mopoe": {"sharing": [{"kind": "joint", "aggregation": "mixture_of_products"}], "beta": [0.01, 1.0]},
    "mmvm": {"sharing": ["mmvm"], "beta": [0.1, 1.0, 3.0]},
    "mmvm_pairwise": {"sharing": [{"kind": "mmvm", "rate": "pairwise"}], "beta": [0.1, 1.0, 3.0]},
    "mmvm_cross": {"sharing": [CROSS], "beta": [0.01, 0.1]},
    "mmvm_pooled": {"sharing": [{**CROSS, "pooled": True}], "beta": [0.01, 1.0]},
    "mmvae_plus": {"sharing": [{"kind": "mmvae_plus", "private": 4, "samples": 1}], "beta": [0.01, 1.0]},
    "simplex": {"sharing": [CROSS], "beta": [0.01], **SIMPLEX},
    "simplex_bayes": {"sharing": [CROSS], "latent": [15], "beta": [0.01], **BAYES},
    "simplex_bayes_resampled": {"sharing": [CROSS], "latent": [15], "beta": [0.01], "resample": [0.8, 0.9], **BAYES},
}


def candidates(name: str, common: dict, noises: list[float]) -> Iterator[ModelSpec]:
    """Yield the specs of one model."""
    grid = {**GRID[name], "input_noise": noises}
    for values in itertools.product(*grid.values()):
        yield ModelSpec.model_validate({**common, **dict(zip(grid, values, strict=True))})


def inner(splits: xr.DataTree, samples: xr.DataTree, order: str | None) -> xr.DataTree:
    """Divide the training sides of splits again; trials that test outside are unused."""
    nodes = {}
    for name, node in splits.children.items():
        inner_parts = []
        for number, parts in enumerate(node["part"].to_numpy()):
            training = np.flatnonzero(parts == Part.TRAIN)
            if order is None:
                labels = samples[name]["label"].to_numpy()[training, 0]
                held_out = [random_share(training, labels, np.random.default_rng([number, *name.encode()]))]
            else:
                in_order = training[np.argsort(samples[name][order].to_numpy()[training], kind="stable")]
                held_out = np.array_split(in_order, BLOCKS)
            for tested in held_out:
                inner_parts.append(np.full(len(parts), Part.UNUSED, dtype=np.int8))
                inner_parts[-1][training], inner_parts[-1][tested] = Part.TRAIN, Part.TEST
        coords = {"split": np.arange(len(inner_parts)), "trial": node["trial"].to_numpy()}
        nodes[name] = xr.DataTree(xr.Dataset({"part": (("split", "trial"), np.stack(inner_parts))}, coords=coords))
    return xr.DataTree(children=nodes)


def random_share(trials: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the trials of every label that are held out, drawn at random."""
    permuted = [random.permutation(trials[labels == label]) for label in np.unique(labels)]
    return np.concatenate([of_label[int(np.ceil(INNER_SHARE * len(of_label))) :] for of_label in permuted])


def cross(representation: Representation, samples: xr.DataTree, splits: xr.DataTree) -> np.ndarray:
    """Return the mean balanced accuracy of other animals' decoders, a number for each replica."""
    scores = []
    for target, tree in decode(representation, samples, splits).children.items():
        labels = samples[target]["label"].to_numpy()
        decoders = [name in samples.children and name != target for name in tree["decoder"].values]
        codes = tree["predicted"].to_numpy()[:, decoders]
        correct = np.where(codes >= 0, codes == labels, np.nan)
        masks = [np.where(labels == label, 1.0, np.nan) for label in np.unique(labels)]
        with np.errstate(invalid="ignore"):
            scores.append(np.nanmean([np.nanmean(correct * mask, axis=(2, 3)) for mask in masks], axis=0))
    return np.nanmean(scores, axis=(0, 2))


def tune(spec: ExperimentSpec, names: list[str], noises: list[float]) -> dict[str, dict]:
    """Return the best candidate of every model and of MCCA, with its inner score."""
    samples = make_samples(load_experiment_recordings(spec), spec.samples)
    splits = inner(make_splits(samples, spec.split), samples, spec.split.order)
    on_track = spec.split.order is not None
    common = {"latent": 14 if on_track else 24, "networks": "linear", "scale": "constant"}
    training = spec.training.model_copy(update={"seeds": [0]})
    best: dict[str, dict] = {}

    def note(name: str, settings: dict, representation: Representation) -> None:
        scores = cross(representation, samples, splits)
        error = scores.std(ddof=1) / np.sqrt(len(scores))
        print(f"{name:18s} {scores.mean():.4f} +- {error:.4f} {json.dumps(settings)}", flush=True)
        if name not in best or scores.mean() > best[name]["cross"]:
            best[name] = {"cross": float(scores.mean()), "error": float(error), **settings}

    if "mcca" in names:
        inputs = Inputs(samples, splits)
        components = (7, 10) if on_track else (14, 20)
        ridges = (10.0, 30.0, 100.0) if on_track else (2.0, 3.0, 5.0, 8.0, 12.0)
        for count, ridge, penalty in itertools.product(components, ridges, (0.03, 0.1, 0.3, 1.0)):
            settings = {"canonical_components": count, "ridge": ridge, "canonical_inverse_penalty": penalty}
            note("mcca", settings, CanonicalVariates(inputs, components=count, ridge=ridge, inverse_penalty=penalty))
    for name in names:
        for model in candidates(name, common, noises) if name != "mcca" else ():
            started = time.perf_counter()
            latents = fit(samples, splits, model, training, progress=False).embed(samples)
            seconds = round(time.perf_counter() - started, 1)
            for penalty in LATENT_PENALTIES:
                settings = {"penalty": penalty, "seconds": seconds, "model": model.model_dump(mode="json")}
                note(name, settings, Latents(latents, splits, inverse_penalty=penalty))
    return best


def main() -> None:
    """Tune and write the choices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--models", nargs="+", default=["mcca", *GRID])
    parser.add_argument("--learning-rate", type=float, help="in place of the experiment's")
    parser.add_argument("--noises", nargs="+", type=float, default=[1.6])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rate = [] if arguments.learning_rate is None else [f"training.learning_rate={arguments.learning_rate}"]
    spec = load_experiment_spec(arguments.experiment, [f"data.root={arguments.data}", *rate])
    best = tune(spec, arguments.models, arguments.noises)
    arguments.out.write_text(json.dumps(best, indent=1) + "\n")


if __name__ == "__main__":
    main()
