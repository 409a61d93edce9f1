"""A run killed by the system at any point and resumed ends with the same weights, latents and scores."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.folders.study import Study

COMMAND = [sys.executable, "-m", "neuromvm"]
EXPERIMENT = """
name: killed
data: {spec: simulated_rats}
samples: {start: 0.1, stop: 0.35, label: [odor], keep: {odor: [A, B, C]}}
split: {kind: halves, repeats: 2, validation: 0.25}
models:
  mmvm: {sharing: {kind: mmvm, cross_reconstruction: 0.5}, latent: 4, dropout: 0.3, networks: {kind: mlp, hidden: [32]}}
  independent: {sharing: independent, latent: 4, networks: {kind: linear}}
training: {epochs: 400, batch_size: 32, learning_rate: 0.003, patience: 300, checkpoint_every: 7}
analyses: {decoding: {baselines: [raw], reference: raw, permutations: 500, bootstraps: 100}}
"""
RUN = ["run", "killed.yaml", "--out", "run"]
# What has to be there before the run is killed.
POINTS = {
    "recordings just written": "recordings.nc",
    "first model in training": "models/mmvm/checkpoints/epoch-000021/state.json",
    "second model in training": "models/independent/checkpoints/epoch-000014/state.json",
    "latents just written": "models/independent/latents.nc",
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    """A folder with small NWB files, an experiment and an undisturbed run of it."""
    folder = tmp_path_factory.mktemp("kill")
    sizes = {"mitt": {"units": 12, "trials": 80}, "stella": {"units": 8, "trials": 70}}
    write_experiment(folder / "data", SimulationConfig(animals=sizes), seed=1)
    (folder / "killed.yaml").write_text(EXPERIMENT)
    subprocess.run([*COMMAND, *RUN, "--set", "data.root=data"], cwd=folder, check=True, capture_output=True)
    (folder / "run").rename(folder / "undisturbed")
    return folder


@pytest.mark.parametrize(
    "point",
    [
        "second model in training",
        *(pytest.param(point, marks=pytest.mark.slow) for point in POINTS if not point.startswith("second")),
    ],
)
def test_killed_and_resumed_is_undisturbed(experiment, point):
    run = experiment / "run"
    command = [*COMMAND, *RUN, "--set", "data.root=data"]
    kill_when_there(command, experiment, run / POINTS[point])
    assert not (run / "summary.json").exists()
    subprocess.run([*command, "--resume"], cwd=experiment, check=True, capture_output=True)
    try:
        same(experiment / "undisturbed", run)
    finally:
        run.rename(experiment / f"run-{point.replace(' ', '-')}")


def kill_when_there(command: list[str], folder: Path, file: Path) -> None:
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 600
    while not file.exists():
        assert process.poll() is None, "the run ended before the point at which it was to be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def same(one: Path, other: Path) -> None:
    for model in ("mmvm", "independent"):
        for file in ("weights.safetensors", "fitted.json"):
            assert (one / "models" / model / file).read_bytes() == (other / "models" / model / file).read_bytes()
        records = [
            [{**json.loads(line), "seconds": 0} for line in (path / "models" / model / "metrics.jsonl").read_text().splitlines()]
            for path in (one, other)
        ]
        assert records[0] == records[1]
        assert Study(one).latents(model).identical(Study(other).latents(model))
    values = [Study(path).scores("decoding")["score"].values for path in (one, other)]
    np.testing.assert_array_equal(*values)
