"""A model that is left as it starts is a row like any other, from the experiment to the report."""

import numpy as np
import pytest

from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.report import write_report
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow.experiment import run_experiment

MODEL = {"sharing": "mmvm", "latent": 3, "networks": "linear"}
SPEC = {
    "name": "untrained",
    "data": {"spec": "simulated_rats", "root": "data"},
    "samples": {"start": 0.0, "stop": 0.6, "bin_width": 0.3, "label": "odor", "keep": {"odor": ["A", "B", "C"]}},
    "models": {"mmvm": MODEL, "untrained": MODEL, "standing": MODEL},
    "training": {"epochs": 3, "schedule": "cosine", "seeds": [0, 1]},
    "training_of": {"untrained": {"epochs": 0}, "standing": {"epochs": 1, "learning_rate": 1e-30}},
    "analyses": {"decoding": {"baselines": ["raw"], "reference": "untrained", "bootstraps": 100, "permutations": 500}},
}
CONFIG = SimulationConfig(animals={"mitt": {"units": 6, "trials": 40}, "stella": {"units": 5, "trials": 48}}, silent_share=0)


@pytest.mark.slow
def test_an_untrained_model_is_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path / "data", CONFIG, seed=0)
    spec = ExperimentSpec.model_validate(SPEC)
    study = run_experiment(spec, "run", progress=False)
    assert study.metrics("untrained") == []
    assert study.metrics("mmvm")[-1]["epoch"] == 3
    again = run_experiment(spec, "run", resume=True, progress=False)
    for name in ("mitt", "stella"):
        untrained = study.latents("untrained")[name]["latent_mean"]
        assert np.isfinite(untrained).all()
        np.testing.assert_array_equal(again.latents("untrained")[name]["latent_mean"], untrained)
        np.testing.assert_array_equal(study.latents("standing")[name]["latent_mean"], untrained)  # steps too small to take
        assert not np.allclose(study.latents("mmvm")[name]["latent_mean"], untrained)

    lines = analyze(study, "decoding")
    assert {line.representation for line in lines} == {"mmvm", "untrained", "standing", "raw"}
    assert study.summary["models"]["untrained"]["epochs"] == 0
    assert "loss" not in study.summary["models"]["untrained"]
    write_report(study)
    report = (study.path / "report.html").read_text()
    assert "Not trained, as the experiment says" in report
    assert "resume" not in report.split("Not trained, as the experiment says")[1][:200]
