"""Choose settings of every model, and of MCCA, on inner folds of the training halves; test halves are never read.

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
    """Divide training sides once more; what tested outside is unused, and nothing of it is read."""
    nodes = {}
    for name, node in splits.children.items():
        outer, found = node["part"].to_numpy(), []
        labels = samples[name]["label"].to_numpy()[:, 0]
        for number, parts in enumerate(outer):
            training = np.flatnonzero(parts == Part.TRAIN)
            if order is not None:
                laps = samples[name][order].to_numpy()[training]
                blocks = np.array_split(training[np.argsort(laps, kind="stable")], BLOCKS)
                found += [_parts(len(parts), training, block) for block in blocks]
                continue
            random = np.random.default_rng([number, *name.encode()])
            held_out = []
            for label in np.unique(labels[training]):
                trials = random.permutation(training[labels[training] == label])
                held_out.append(trials[int(np.ceil(INNER_SHARE * len(trials))) :])
            found.append(_parts(len(parts), training, np.concatenate(held_out)))
        part = (("split", "trial"), np.stack(found).astype(np.int8))
        coords = {"split": np.arange(len(found)), "trial": node["trial"].to_numpy()}
        nodes[name] = xr.DataTree(xr.Dataset({"part": part}, coords=coords))
    return xr.DataTree(children=nodes)


def _parts(trials: int, training: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    parts = np.full(trials, Part.UNUSED)
    parts[training], parts[held_out] = Part.TRAIN, Part.TEST
    return parts


def cross(representation: Representation, samples: xr.DataTree, splits: xr.DataTree) -> np.ndarray:
    """Return the mean balanced accuracy of other animals' decoders, a number for each replica."""
    predicted = decode(representation, samples, splits)
    scores = []
    for target, tree in predicted.children.items():
        labels = samples[target]["label"].to_numpy()
        others = [place for place, name in enumerate(tree["decoder"].values) if name in samples.children and name != target]
        codes = tree["predicted"].to_numpy()[:, others]
        classes = [np.where(labels == one, 1.0, np.nan) for one in np.unique(labels)]
        right = np.where(codes >= 0, codes == labels, np.nan)
        with np.errstate(invalid="ignore"):
            scores.append(np.nanmean([np.nanmean(right * one, axis=(2, 3)) for one in classes], axis=0))
    return np.nanmean(scores, axis=(0, 2))


def tune(spec: ExperimentSpec, names: list[str], noises: list[float]) -> dict[str, dict]:
    """Return the best candidate of every model and of MCCA, with its inner score."""
    recordings = load_experiment_recordings(spec)
    samples = make_samples(recordings, spec.samples)
    splits = inner(make_splits(samples, spec.split), samples, spec.split.order)
    common = {"latent": 24, "networks": "linear", "scale": "constant"}
    if spec.split.order is not None:
        common["latent"] = 14
    training = spec.training.model_copy(update={"seeds": [0]})
    best: dict[str, dict] = {}

    def note(name: str, settings: dict, found: np.ndarray) -> None:
        error = found.std(ddof=1) / np.sqrt(len(found))
        print(f"{name:18s} {found.mean():.4f} +- {error:.4f} {json.dumps(settings)}", flush=True)
        if name not in best or found.mean() > best[name]["cross"]:
            best[name] = {"cross": float(found.mean()), "error": float(error), **settings}

    inputs = Inputs(samples, splits)
    if "mcca" in names:
        components = (7, 10) if spec.split.order is not None else (14, 20)
        ridges = (10.0, 30.0, 100.0) if spec.split.order is not None else (2.0, 3.0, 5.0, 8.0, 12.0)
        for count, ridge, penalty in itertools.product(components, ridges, (0.03, 0.1, 0.3, 1.0)):
            aligned = CanonicalVariates(inputs, components=count, ridge=ridge, inverse_penalty=penalty)
            settings = {"canonical_components": count, "ridge": ridge, "canonical_inverse_penalty": penalty}
            note("mcca", settings, cross(aligned, samples, splits))
    for name in names:
        if name == "mcca":
            continue
        for model in candidates(name, common, noises):
            started = time.perf_counter()
            latents = fit(samples, splits, model, training, progress=False).embed(samples)
            seconds = round(time.perf_counter() - started, 1)
            for penalty in LATENT_PENALTIES:
                settings = {"penalty": penalty, "seconds": seconds, "model": model.model_dump(mode="json")}
                note(name, settings, cross(Latents(latents, splits, inverse_penalty=penalty), samples, splits))
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
