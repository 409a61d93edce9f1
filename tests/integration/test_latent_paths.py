"""Latent paths inferred over whole trials follow the simulated truth in time, in animals the readout has never seen."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from neuromvm.analysis.pipeline import analyze
from neuromvm.data.simulate.experiment import SimulationConfig, recordings_from, simulate
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SpecError
from neuromvm.schema import Part
from neuromvm.specs import ExperimentSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment

SIZES = {"mitt": {"units": 40, "trials": 200}, "stella": {"units": 25, "trials": 170}, "barat": {"units": 30, "trials": 150}}
CONFIG = SimulationConfig(animals=SIZES)
START, STOP, BIN = -0.5, 1.5, 0.05
SAMPLES = SampleSpec(
    start=START, stop=STOP, bin_width=BIN, label=["odor"], keep={"odor": ["A", "B", "C", "D"], "in_sequence": [True]}
)
MODEL = ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9, "standard_normal": {"stop": 0.2}},
    latent=4,
    beta=0.1,
    likelihood="poisson",
    scale="constant",
    networks={"kind": "convolution", "timescale": 0.15, "hidden": 16, "layers": 1},
)
TRAINING = TrainingSpec(epochs=60, learning_rate=0.003, schedule="cosine")


@pytest.mark.parametrize(("sharing", "least", "most"), [(MODEL.sharing, 0.4, 1.0), ("independent", -np.inf, 0.2)])
def test_paths_follow_the_odor_plane_across_animals_only_if_shared(sharing, least, most):
    simulation = simulate(CONFIG, seed=0)
    samples = make_samples(recordings_from(simulation), SAMPLES)
    splits = make_splits(samples, SplitSpec())
    model = ModelSpec.model_validate({**MODEL.model_dump(), "sharing": sharing})
    paths = fit(samples, splits, model, TRAINING, progress=False).embed_paths(samples)
    assert paths["mitt"]["latent_mean"].sizes["window"] == 40
    np.testing.assert_allclose(paths["mitt"]["window"].values[[0, -1]], [START + BIN / 2, STOP - BIN / 2])

    def side(animal: str, part: Part) -> tuple[np.ndarray, np.ndarray]:
        chosen = splits[animal]["part"].values[0] == part
        truth = simulation.truth[animal].to_dataset()["shared_latent"]
        truth = truth.sel(latent=["odor_x", "odor_y"], trial=samples[animal]["trial"].values[chosen], time=slice(START, STOP))
        binned = truth.coarsen(time=5).mean().transpose("trial", "time", "latent").values
        return paths[animal]["latent_mean"].values[0][chosen].reshape(-1, 4), binned.reshape(-1, 2)

    explained = [
        LinearRegression().fit(*side(source, Part.TRAIN)).score(*side(target, Part.TEST))
        for source in SIZES
        for target in SIZES
        if source != target
    ]
    assert least < np.mean(explained) < most


def test_a_run_with_latent_paths_draws_its_trajectories_without_sliding_windows(tmp_path):
    write_experiment(tmp_path / "data", SimulationConfig(animals={name: SIZES[name] for name in ("mitt", "stella")}), seed=0)
    spec = ExperimentSpec.model_validate(
        {
            "name": "paths",
            "data": {"spec": "simulated_rats", "root": str(tmp_path / "data")},
            "samples": SAMPLES.model_dump(),
            "models": {"paths": MODEL.model_dump()},
            "training": {"epochs": 2},
            "analyses": {"decoding": {"canonical_components": 3}, "trajectories": {}},
        }
    )
    study = run_experiment(spec, tmp_path / "run", progress=False)
    assert study.paths("paths")["mitt"].sizes["window"] == 40
    for name in spec.analyses:
        analyze(study, name)
    assert list((tmp_path / "run" / "figures").glob("trajectories-*.png"))


def test_paths_over_several_windows_are_refused_before_anything_is_written(tmp_path):
    write_experiment(tmp_path / "data", SimulationConfig(animals={name: SIZES[name] for name in ("mitt", "stella")}), seed=0)
    spec = ExperimentSpec.model_validate(
        {
            "name": "paths",
            "data": {"spec": "simulated_rats", "root": str(tmp_path / "data")},
            "samples": {**SAMPLES.model_dump(), "width": 0.5},
            "models": {"paths": MODEL.model_dump()},
        }
    )
    with pytest.raises(SpecError, match="one window a trial"):
        run_experiment(spec, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
