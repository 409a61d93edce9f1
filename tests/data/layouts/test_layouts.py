"""The shipped specs of published layouts load made files in these layouts, and plain numpy counts the same."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from neuromvm.data.loaders import load_recordings
from neuromvm.schema import activity, animals
from neuromvm.specs import load_data_spec
from tests.data.layouts.layout_files import LAYOUTS, Truth

FOLDER = Path(__file__).parents[3] / "data_specs" / "layouts"


def recount(truth: Truth, edges: np.ndarray) -> np.ndarray:
    """Return counts, or means of frames, ``(trial, bin, unit)``."""
    pairs = [[(onset + a, onset + b) for a, b in pairwise(edges)] for onset in truth.onsets]
    if truth.frames is None:
        return np.array([[[((t >= a) & (t < b)).sum() for t in truth.trains] for a, b in trial] for trial in pairs])
    return np.array([[truth.frames[(truth.times >= a) & (truth.times < b)].mean(axis=0) for a, b in trial] for trial in pairs])


def test_every_layout_has_a_spec_that_says_that_it_was_not_run():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(LAYOUTS)
    for path in FOLDER.glob("*.yaml"):
        assert "layout, not run on the data" in path.read_text("utf-8").splitlines()[0], path
        assert load_data_spec(f"layouts/{path.stem}").name == path.stem


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_loads_and_plain_numpy_counts_the_same(name, tmp_path):
    truth = LAYOUTS[name](tmp_path / "sub-made_ses-1.nwb")
    spec = load_data_spec(f"layouts/{name}")
    ((_, dataset),) = animals(load_recordings(spec, tmp_path))
    edges = spec.grid.window[0] + spec.grid.bin_width * np.arange(spec.grid.bins + 1)
    np.testing.assert_array_equal(dataset["onset"], truth.onsets)
    np.testing.assert_allclose(activity(dataset), recount(truth, edges), rtol=1e-5, atol=1e-6)
    assert {label: dataset[label].values.tolist() for label in spec.trials.labels} == truth.labels
