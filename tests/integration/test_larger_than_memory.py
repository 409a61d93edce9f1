"""Recordings for which memory has no room are kept in mapped files, with the same result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neuromvm.data.memory import is_mapped
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.files import CONTENTS, write_tree
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment
from tests.conftest import tuned_recordings

BIN = 0.01  # [s]


def write_animals(folder: Path, animals: int, trials: int, units: int, bins: int) -> Path:
    """Write binned spikes of animals and an experiment on them; return its file."""
    random = np.random.default_rng(0)
    for number in range(animals):
        home = folder / "data" / f"a{number}"
        home.mkdir(parents=True)
        odor = random.integers(1, 3, trials)
        counts = random.random((trials, units, bins), np.float32) < 0.1 * odor[:, None, None]
        np.save(home / f"a{number}_spikes.npy", counts.astype(np.uint8))
        np.save(home / f"a{number}_trials.npy", odor[:, None] + 0.0)
    window = [0, bins * BIN]
    data = {
        "name": "large",
        "root": str(folder / "data"),
        "files": ["*/*_spikes.npy"],
        "animal": "folder",
        "activity": {
            "kind": "binned_spikes",
            "suffix": "_spikes.npy",
            "trial_info": "_trials.npy",
            "columns": ["odor"],
            "window": window,
        },
        "grid": {"kind": "time", "window": window, "bin_width": BIN},
        "trials": {"labels": {"odor": "odor"}},
    }
    (folder / "data.yaml").write_text(json.dumps(data))
    experiment = {
        "name": "large",
        "data": {"spec": str(folder / "data.yaml")},
        # as many numbers as were recorded: nothing is merged
        "samples": {"width": 40 * BIN, "bin_width": BIN, "label": ["odor"]},
        "models": {"mmvm": {"sharing": "mmvm", "latent": 2, "networks": "linear"}},
        "training": {"epochs": 1, "device": "cpu", "batch_size": 64},
    }
    (folder / "experiment.yaml").write_text(json.dumps(experiment))
    return folder / "experiment.yaml"


def same_latents(one: Path, other: Path) -> bool:
    first, second = (Study(folder).latents("mmvm") for folder in (one, other))
    return all(first[name].to_dataset().identical(second[name].to_dataset()) for name in first.children)


def test_a_run_in_mapped_files_gives_what_one_in_memory_gives(tmp_path, monkeypatch):
    experiment = write_animals(tmp_path, animals=2, trials=20, units=5, bins=80)
    spec = ExperimentSpec.model_validate_json(experiment.read_text())
    run_experiment(spec, tmp_path / "memory", progress=False)
    monkeypatch.setenv("NEUROMVM_MEMORY", "0")
    run_experiment(spec, tmp_path / "mapped", progress=False)
    assert same_latents(tmp_path / "memory", tmp_path / "mapped")
    study = Study(tmp_path / "memory")  # reads its recordings again
    assert is_mapped(study.recordings["a0"]["spike_count"].to_numpy())
    assert is_mapped(study.samples["a0"]["activity"].to_numpy())
    monkeypatch.delenv("NEUROMVM_MEMORY")
    in_memory = Study(tmp_path / "memory")
    assert not is_mapped(in_memory.samples["a0"]["activity"].to_numpy())
    xr.testing.assert_identical(study.recordings, in_memory.recordings)
    xr.testing.assert_identical(study.samples, in_memory.samples)


@pytest.mark.parametrize("settings", [{}, {"smooth": 0.2}, {"scale": "noise"}, {"transform": "log1p"}], ids=str)
@pytest.mark.parametrize("likelihood", ["squared_error", "poisson"])
def test_training_on_mapped_samples_is_training_on_those_in_memory(monkeypatch, settings, likelihood):
    recordings = tuned_recordings({"mitt": (6, 24), "stella": (4, 30)})
    model = ModelSpec(sharing="mmvm", latent=2, networks="linear", likelihood=likelihood)
    fitted = []
    for budget in ("1", "0"):
        monkeypatch.setenv("NEUROMVM_MEMORY", budget)
        samples = make_samples(recordings, SampleSpec(bin_width=0.2, label="odor", **settings))
        assert is_mapped(samples["mitt"]["activity"].to_numpy()) == (budget == "0")
        splits = make_splits(samples, SplitSpec())
        fitted.append(fit(samples, splits, model, TrainingSpec(epochs=2, device="cpu"), progress=False))
    for name, value in fitted[0].weights.items():
        np.testing.assert_array_equal(value, fitted[1].weights[name])


def test_samples_are_made_of_a_file_that_xarray_has_opened(tmp_path):
    recordings = tuned_recordings({"mitt": (6, 24), "stella": (4, 30)})
    write_tree(tmp_path / "large.nc", recordings)
    spec = SampleSpec(bin_width=0.2, label="odor", keep={"odor": ["A", "C"]})
    with xr.open_datatree(tmp_path / "large.nc", engine="h5netcdf") as opened:
        assert not opened["mitt"]["spike_count"].variable._in_memory
        samples = make_samples(opened, spec)
        samples.attrs.pop(CONTENTS, None)  # of the file, which read_tree would check and take off
        xr.testing.assert_identical(samples, make_samples(recordings, spec))
        assert not opened["mitt"]["spike_count"].variable._in_memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one that Linux keeps")
def test_a_run_needs_less_memory_than_its_recordings(tmp_path):
    experiment = write_animals(tmp_path, animals=8, trials=800, units=100, bins=400)
    size = sum(file.stat().st_size for file in (tmp_path / "data").glob("*/*_spikes.npy"))
    limit = size // 10**6 // 2

    def run(out: str, *limits: int, memory: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.integration.limited_run", experiment, tmp_path / out, *map(str, limits)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NEUROMVM_MEMORY": memory}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    mapped = run("mapped", limit, memory="0")
    assert mapped.returncode == 0, mapped.stderr[-2000:]
    too_large = run("refused", limit, memory="100")
    assert too_large.returncode != 0
    assert "Unable to allocate" in too_large.stderr or "MemoryError" in too_large.stderr or "alloc" in too_large.stderr
    assert run("memory", memory="100").returncode == 0
    assert same_latents(tmp_path / "memory", tmp_path / "mapped")
