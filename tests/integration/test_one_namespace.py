"""The installed package works in a folder whose own packages are named like folders of a clone.

Analysts keep packages such as ``analysis`` and folders such as ``data_specs`` next to their experiments, and Python looks in the
working directory first. Only ``neuromvm`` may be imported from the installation, and shipped data specs come from inside it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
name: tiny
data: {spec: simulated_rats, root: rats, animals: [mitt, stella, superchris]}
samples: {start: 0.1, stop: 0.35, label: [odor], keep: {odor: [A, B, C]}}
split: {kind: halves}
models: {mmvm: {sharing: mmvm, latent: 3, networks: linear}}
training: {epochs: 2}
analyses: {decoding: {baselines: [raw], reference: raw, permutations: 500, bootstraps: 100}}
"""
SWEEP = "{name: rates, experiment: tiny.yaml, grid: {models.mmvm.beta: [0.1]}}\n"
COMMANDS = """
--help
simulate rats
data describe simulated_rats --root rats
data validate simulated_rats --root rats
data inspect rats/sub-mitt/sub-mitt_ses-mitt01_behavior+ecephys.nwb --spec mitt.yaml
data describe mitt.yaml --figure mitt.pdf
run tiny.yaml --out run
scores run
analyze decoding run
refit run --n 1
few-shot run --animals mitt --trials 1 --set epochs=1
report run
audit tiny.yaml --n 3
sweep rates.yaml --out sweep
"""
# Runs every command in one process, as the console script does; an audit of two epochs may find a score above chance (code 1).
SCRIPT = """
import sys
import neuromvm
from neuromvm.workflow.command_line import main

print(neuromvm.__file__)
for line in sys.argv[1].strip().splitlines():
    sys.argv = ["neuromvm", *line.split()]
    try:
        main()
    except SystemExit as end:
        if end.code not in ((0, 1) if line.startswith("audit") else (0,)):
            sys.exit(f"neuromvm {line}: exit code {end.code}")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return a folder of installed packages with the files of the wheel."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "neuromvm", site / "neuromvm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data_specs", site / "neuromvm" / "data_specs")
    return site


@pytest.fixture
def python(site, tmp_path):
    """Return a function that runs Python in the folder of an analyst, with the installed package and nothing of the clone."""
    for package in ("analysis", "benchmarks", "data_specs"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"raise ImportError('the {package} package of the analyst')\n")
    (tmp_path / "data_specs" / "simulated_rats.yaml").write_text("name: of the analyst\n")
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT)
    (tmp_path / "rates.yaml").write_text(SWEEP)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_every_command_works_beside_packages_of_the_analyst(python, site, tmp_path):
    printed = python("-c", SCRIPT, COMMANDS)
    assert printed.startswith(str(site))
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "sweep" / "table.csv").is_file()


def test_the_quickstart_runs_beside_packages_of_the_analyst(python, tmp_path):
    (tmp_path / "quickstart.py").write_text((ROOT / "notebooks" / "01_quickstart.py").read_text())
    assert "truth.nc" in python("quickstart.py")
