"""Every notebook runs from top to bottom, as a reader would run it, and is a valid jupytext notebook."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    cells = [cell.cell_type for cell in jupytext.read(path).cells]
    assert cells.count("code") >= 5
    assert cells.count("markdown") >= 5


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_a_data_set_and_networks_of_ones_own_take_forty_lines():
    text = next(path for path in NOTEBOOKS if path.stem.endswith("own_modalities")).read_text("utf-8")
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= 40
