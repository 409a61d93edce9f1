"""How much of what is special about a trial do latents keep, and do animals agree? On rats whose private latents are simulated.

    python benchmarks/trial_variability.py --seeds 200,201

Prints a line for each seed and model: balanced accuracy within and across animals, and R^2 of a ridge regression of the true
private latents and the gain of trials on latents, within odors and on test trials, mean over animals and splits.
"""

import argparse

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import neuromvm as nm
from neuromvm.analysis import compare, values
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.schema import Part

RATS = {"mitt": {"units": 40, "trials": 200}, "stella": {"units": 30, "trials": 180}, "barat": {"units": 35, "trials": 190}}
START, STOP = 0.1, 0.6  # [s]
SAMPLES = nm.SampleSpec(start=START, stop=STOP, bin_width=0.1, label=["odor"], scale="noise", scale_shrinkage=0.5)
TRAINING = nm.TrainingSpec(epochs=150, learning_rate=0.01, schedule="cosine")
SHARINGS = {
    "independent": "independent",
    **{
        f"cross {share}": {"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": share}
        for share in (0.0, 0.1, 0.3, 0.6, 0.9)
    },
    "mmvae_plus": {"kind": "mmvae_plus", "private": 4, "samples": 1},
}
RIDGE = 10.0
Array = NDArray[np.float64]


def kept(latents: Array, truth: Array, odor: NDArray[np.integer], train: NDArray[np.bool_], test: NDArray[np.bool_]) -> float:
    """Return R^2 of the truth ``(trial, variable)`` from latents ``(trial, latent)`` within odors, mean over variables."""
    latents, truth = (_within_odors(array, odor, train) for array in (latents, truth))
    latents = latents / latents[train].std(axis=0)
    weight = np.linalg.solve(
        latents[train].T @ latents[train] + RIDGE * np.eye(latents.shape[1]), latents[train].T @ truth[train]
    )
    residual = truth[test] - latents[test] @ weight
    return float((1 - np.square(residual).sum(axis=0) / np.square(truth[test]).sum(axis=0)).mean())


def _within_odors(array: Array, odor: NDArray[np.integer], train: NDArray[np.bool_]) -> Array:
    means = np.stack([array[train & (odor == code)].mean(axis=0) for code in range(odor.max() + 1)])
    return np.asarray(array - means[odor])


def private_truth(truth: xr.Dataset) -> Array:
    """Return private latents, mean over the window, and the gain ``(trial, variable)``."""
    private = truth["private_latent"].sel(time=slice(START, STOP)).mean("time").to_numpy()
    return np.concatenate([private, truth["gain"].to_numpy()[:, None]], axis=1)


def main(seeds: list[int]) -> None:
    """Print a line for each seed and model."""
    for seed in seeds:
        simulation = simulate(SimulationConfig.model_validate({"animals": RATS}), seed=seed)
        samples = nm.make_samples(recordings_from(simulation), SAMPLES)
        splits = nm.make_splits(samples, nm.SplitSpec(kind="halves", repeats=2))
        for name, sharing in SHARINGS.items():
            model = nm.ModelSpec(sharing=sharing, latent=8, beta=0.01, networks="linear", scale="constant", input_noise=0.7)
            latents = nm.fit(samples, splits, model, TRAINING, progress=False).embed(samples)
            scores = values(compare(samples, splits, {name: latents}, Options(baselines=["pca"], reference="pca")))
            shares = []
            for animal in RATS:
                odor, truth = samples[animal]["label"].to_numpy()[:, 0], private_truth(simulation.truth[animal].to_dataset())
                for split, part in enumerate(splits[animal]["part"].to_numpy()):
                    means = latents[animal]["latent_mean"].isel(replica=split).to_numpy()[:, 0]
                    shares.append(kept(means, truth, odor, part == Part.TRAIN, part == Part.TEST))
            within, cross = (float(scores.sel(representation=name, setting=setting)) for setting in ("within", "cross"))
            print(f"seed {seed}, {name}: within {within:.3f}, cross {cross:.3f}, kept {np.mean(shares):.3f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="200,201", help="100 and 101 chose the recipe trial-variability")
    main([int(seed) for seed in parser.parse_args().seeds.split(",")])
