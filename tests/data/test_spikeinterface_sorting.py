"""Sortings of spikeinterface and recordings."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from neuromvm.data.spikeinterface_sorting import recordings_from_sortings, to_sorting
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError

core = pytest.importorskip("spikeinterface.core")

START = 1.0 + 2.0 * np.arange(8)
TRIALS = pd.DataFrame({"start_time": START, "odor": ["A", "B"] * 4, "correct": [True, False] * 4})
SETTINGS = {"window": (-0.5, 1.0), "bin_width": 0.25}


def sorting(ids=(3, 7, 9)):
    rng = np.random.default_rng(0)
    trains = {unit: np.sort(rng.integers(0, 160_000, 300)) for unit in ids}
    made = core.NumpySorting.from_unit_dict([trains], 10_000.0)
    made.set_property("quality", ["good", "mua", "good"])
    made.set_property("template", np.zeros((3, 4)))
    return made


def brute(made, onsets, start=-0.5, width=0.25, bins=6):
    """Count in whole samples."""
    edges = np.round((np.asarray(onsets)[:, None] + start + width * np.arange(bins + 1)) * 10_000).astype(int)
    trains = [made.get_unit_spike_train(unit, segment_index=0) for unit in made.unit_ids]
    return np.array([[[((t >= a) & (t < b)).sum() for t in trains] for a, b in pairwise(row)] for row in edges])


@pytest.mark.parametrize("ids", [(3, 7, 9), ("a", "b", "c")])
def test_counts_are_those_of_whole_samples(ids):
    made = sorting(ids)
    tree = recordings_from_sortings({"ada": made}, {"ada": TRIALS}, **SETTINGS)
    np.testing.assert_array_equal(tree["ada"]["spike_count"], brute(made, START))
    assert tree["ada"]["unit"].values.tolist() == list(ids)
    assert tree["ada"]["quality"].values.tolist() == ["good", "mua", "good"]
    assert "template" not in tree["ada"].coords
    assert tree["ada"]["correct"].values.tolist() == [True, False] * 4


def test_there_and_back():
    tree = recordings_from_sortings({"ada": sorting()}, {"ada": TRIALS}, **SETTINGS)
    back, trials = to_sorting(tree, "ada")
    assert back.get_property("quality").tolist() == ["good", "mua", "good"]
    assert trials["odor"].tolist() == TRIALS["odor"].tolist()
    again = recordings_from_sortings({"ada": back}, {"ada": trials.drop(columns=["trial", "onset"])}, **SETTINGS)
    assert again.identical(tree)


def test_silent_units_stay():
    tree = recordings_from_sortings({"ada": sorting()}, {"ada": TRIALS}, **SETTINGS)
    tree["ada"]["spike_count"].values[..., 1] = 0
    back, _ = to_sorting(tree, "ada")
    assert back.unit_ids.tolist() == [3, 7, 9]
    assert [len(back.get_unit_spike_train(unit, segment_index=0)) > 0 for unit in (3, 7, 9)] == [True, False, True]


def test_arguments_are_checked():
    with pytest.raises(ArgumentError, match="a BaseSorting"):
        recordings_from_sortings({"ada": 3}, {"ada": TRIALS}, **SETTINGS)
    with pytest.raises(ArgumentError, match="a DataFrame"):
        recordings_from_sortings({"ada": sorting()}, {"ada": START}, **SETTINGS)
    two = core.append_sortings([sorting(), sorting()])
    with pytest.raises(SchemaError, match="2 segments"):
        recordings_from_sortings({"ada": two}, {"ada": TRIALS}, **SETTINGS)
    with pytest.raises(SchemaError, match="the column 'unit'"):
        recordings_from_sortings({"ada": sorting()}, {"ada": TRIALS.assign(unit=1)}, **SETTINGS)
    with pytest.raises(SchemaError, match="numbers of seconds"):
        recordings_from_sortings({"ada": sorting()}, {"ada": TRIALS}, align="odor", **SETTINGS)
    tree = recordings_from_sortings({"ada": sorting()}, {"ada": TRIALS}, **SETTINGS)
    with pytest.raises(AlignmentError, match="samples wide"):
        to_sorting(tree, "ada", 4.0)
