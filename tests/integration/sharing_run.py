"""Run folders of simulated codes, in which no model is trained, or a small one."""

from pathlib import Path
from typing import Any

import pytest

from neuromvm.data.simulate import simulate_codes
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow import experiment
from neuromvm.workflow.experiment import run_experiment

SHARING = {"split": {"kind": "conditions", "held_out": 2}, "rows": ["class_kernel"], "few_labels": [2], "models": {}, "refits": 2}
SPEC: dict[str, Any] = {
    "name": "codes",
    "data": {"spec": "simulated_rats"},
    "samples": {"label": ["condition"]},
    "split": {"kind": "halves"},
    "models": {
        "mmvm": {
            "sharing": {"kind": "mmvm", "cross_reconstruction": 0.9},
            "latent": 3,
            "beta": 0.01,
            "networks": "linear",
            "scale": "constant",
        }
    },
    "training": {"epochs": 0, "device": "cpu"},
    "sharing": SHARING,
}


def make_run(folder: Path, *, share: float = 1.0, seed: int = 0, signal: float = 0.6, **settings: Any) -> Study:
    """Run an experiment on animals that share a part of their codes; ``settings`` replace those of ``SPEC``."""
    recordings = simulate_codes(3, 8, trials=6, units=20, share=share, seed=seed, signal=signal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "load_experiment_recordings", lambda spec: recordings)
        return run_experiment(ExperimentSpec.model_validate({**SPEC, **settings}), folder, progress=False)
