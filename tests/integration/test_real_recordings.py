"""The shipped experiments on the real recordings: linear rows reproduce the reference numbers, latents beat the floor."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from neuromvm.analysis.judged import values
from neuromvm.folders.study import Study

EXPERIMENTS = Path(__file__).parents[2] / "analysis" / "experiments"
# within, cross, others, pooled; measured independently of this code.
REFERENCE = {
    "odor_piriform": {"raw": [0.279], "procrustes": [0.247, 0.211], "mcca": [0.267, 0.254, 0.266, 0.268]},
    "odor_amygdala": {"raw": [0.246], "procrustes": [0.212, 0.184], "mcca": [0.240, 0.219, 0.228, 0.228]},
    "linear_track": {"raw": [0.845], "procrustes": [0.844, 0.838], "mcca": [0.843, 0.835, 0.838, 0.845]},
}
FOLDERS = {"odor_piriform": "odor_aPCx_15", "odor_amygdala": "odor_plCoA_15", "linear_track": "linear_track"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_a_shipped_experiment_runs_in_minutes_and_reproduces_the_linear_rows(name, shared_data, tmp_path):
    command = [
        sys.executable,
        "-m",
        "neuromvm",
        "run",
        EXPERIMENTS / f"{name}.yaml",
        "--out",
        tmp_path / "run",
    ]
    started = time.monotonic()
    subprocess.run([*command, "--set", f"data.root={shared_data / FOLDERS[name]}"], check=True, capture_output=True)
    print(f"{name}: {time.monotonic() - started:.0f} s")
    scores = Study(tmp_path / "run").scores("decoding")
    for representation, expected in REFERENCE[name].items():
        found = values(scores).sel(representation=representation).values[: len(expected)]
        assert found == pytest.approx(expected, abs=0.02), representation
    for model in ("mmvm", "independent"):
        within = scores.sel(representation=model, setting="within", target="all animals")
        high, p = within["null_score"].sel(null="labels", null_statistic=["high", "p"]).values
        assert values(scores).sel(representation=model, setting="within") > 2 * high
        assert p < 0.01
    shared = scores.sel(representation="mmvm", setting="cross", target="all animals")
    low = shared["score"].sel(unit_of_inference="trials", statistic="low")
    assert low > 2 * shared["null_score"].sel(null="labels", null_statistic="high")
