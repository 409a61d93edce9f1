"""The analysis of a laboratory's own package, as CONTRIBUTING shows it, is found by its entry point and runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "committed_runs" / "0.1.0"


@pytest.fixture
def installed(tmp_path) -> Path:
    """Write the two files of CONTRIBUTING and install them beside neuromvm."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    package = tmp_path / "lab_rates"
    package.mkdir()
    for name, language in (("pyproject.toml", "toml"), ("lab_rates.py", "python")):
        content = re.search(rf"`lab_rates/{re.escape(name)}`\n\n```{language}\n(.*?)```", text, flags=re.DOTALL)
        assert content is not None
        (package / name).write_text(content[1])
    target = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    return target


@pytest.mark.skipif(find_spec("setuptools") is None, reason="the package is built without a network, by an installed setuptools")
def test_the_analysis_of_contributing_runs(installed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(RUN, run)
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", str(ROOT))])
    command = [sys.executable, "-m", "neuromvm", "analyze", "mean_count", str(run), "--set", "start=0"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (stella,) = [
        score
        for score in json.loads((run / "summary.json").read_text())["analyses"]["mean_count"]["scores"]
        if score["representation"] == "stella"
    ]
    assert stella["value"] > 0
    assert stella["null_kind"].startswith("none: ")
