"""Simulated truth is found where it was put in, and nothing is found where nothing was."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression

from neuromvm.analysis import compare, values
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit

SIZES = {"mitt": {"units": 40, "trials": 200}, "stella": {"units": 25, "trials": 170}, "barat": {"units": 30, "trials": 150}}
SAMPLES = SampleSpec(start=0.1, stop=0.35, label=["odor"], keep={"odor": ["A", "B", "C", "D"], "in_sequence": [True]})
TRAINING = TrainingSpec(epochs=200, learning_rate=0.003)
OPTIONS = Options(canonical_components=3, bootstraps=200, permutations=1000)
PARTS = {"latent": 6, "beta": 0.01, "networks": {"kind": "linear"}, "scale": "constant", "dropout": 0.5}
MODELS = {
    "mmvm": ModelSpec(sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9}, **PARTS),
    "mmvm_mixture": ModelSpec(sharing={"kind": "mmvm", "cross_reconstruction": 0.9}, **PARTS),
    "independent": ModelSpec(sharing="independent", **PARTS),
}


class Experiment:
    """A simulated experiment, split and fitted."""

    def __init__(self, shared_strength: float, seed: int, repeats: int = 2) -> None:
        self.simulation = simulate(SimulationConfig(animals=SIZES, shared_strength=shared_strength), seed=seed)
        self.samples = make_samples(recordings_from(self.simulation), SAMPLES)
        self.splits = make_splits(self.samples, SplitSpec(repeats=repeats, seed=seed))
        self.latents = {
            name: fit(self.samples, self.splits, model, TRAINING, progress=False).embed(self.samples)
            for name, model in MODELS.items()
        }

    def truth(self, animal: str) -> np.ndarray:
        """Return the odor plane of the shared latent, averaged over the window ``(trial, 2)``."""
        truth = self.simulation.truth[animal].to_dataset()
        window = truth["shared_latent"].sel(time=slice(0.1, 0.35)).mean("time")
        kept = self.samples[animal]["trial"].values
        return window.sel(latent=["odor_x", "odor_y"], trial=kept).transpose("trial", "latent").values

    def recovered(self, latents: xr.DataTree, replica: int, *, within: bool) -> float:
        """Return the mean held-out R^2 of linear maps from latent to truth, fitted on an animal and tested on it or another."""
        sides = {Part.TRAIN: {}, Part.TEST: {}}
        for animal in self.samples.children:
            part = self.splits[animal]["part"].values[int(latents[animal]["split"][replica])]
            for side, found in sides.items():
                found[animal] = latents[animal]["latent_mean"].values[replica, part == side, 0], self.truth(animal)[part == side]
        return np.mean(
            [
                LinearRegression().fit(*fitted).score(*tested)
                for source, fitted in sides[Part.TRAIN].items()
                for target, tested in sides[Part.TEST].items()
                if (source == target) == within
            ]
        )


@pytest.fixture(scope="module")
def odor():
    return Experiment(shared_strength=0.8, seed=0)


def test_the_shared_latent_is_recovered_by_mmvm_and_not_by_independent_vaes(odor):
    def recovered(model: str, *, within: bool) -> list[float]:
        return [odor.recovered(odor.latents[model], replica, within=within) for replica in range(2)]

    for model in ("mmvm", "mmvm_mixture"):
        assert min(recovered(model, within=True)) > 0.35
        assert min(recovered(model, within=False)) > 0.35
    assert max(recovered("independent", within=False)) < 0.1


def test_one_animals_decoder_works_in_another_only_with_a_shared_latent(odor):
    scores = compare(odor.samples, odor.splits, odor.latents, OPTIONS)
    cross = values(scores).sel(setting="cross")
    high = scores["null_score"].sel(null="labels", target="all animals", null_statistic="high", setting="cross")
    assert cross.sel(representation="mmvm") > high.sel(representation="mmvm") + 0.2
    assert cross.sel(representation="mmvm") > cross.sel(representation="independent") + 0.2


@pytest.mark.parametrize("seed", range(3))
def test_on_noise_no_score_leaves_its_null(seed):
    noise = Experiment(shared_strength=0, seed=100 + seed, repeats=1)
    scores = compare(noise.samples, noise.splits, noise.latents, OPTIONS)
    value = values(scores).sel(setting=["within", "cross", "others", "pooled"])
    null = scores["null_score"].sel(null="labels", target="all animals", setting=value["setting"])
    there = np.isfinite(value.values)
    p = null.sel(null_statistic="p").values[there]
    assert len(p) >= 15
    assert p.min() > 0.05 / len(p)  # Bonferroni over the scores of one table
    assert (value.values[there] < null.sel(null_statistic="high").values[there] + 0.05).all()
