"""Time warping between two events: counts as plain numpy counts warped spike times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromvm.data.bins import count_spikes
from neuromvm.data.loaders import load_recordings
from neuromvm.data.time_warping import count_warped_spikes, recorded_times
from neuromvm.errors import MissingTableError
from neuromvm.schema import dropped
from tests.data.nwb_files import spike_spec, trial_columns, write_spikes


def warped(times: np.ndarray, onset: float, second: float, duration: float) -> np.ndarray:
    """Warp spike times forwards, as the definition says; a spike within a millionth of a bin before an edge is on the edge."""
    relative = times + 1e-6 * 0.25 - onset
    length = second - onset
    return np.where(
        relative < 0, relative, np.where(relative < length, relative * duration / length, relative - length + duration)
    )


def counted(trains: list[np.ndarray], onsets: np.ndarray, second: np.ndarray, duration: float, edges: np.ndarray) -> np.ndarray:
    events = list(zip(onsets, second, strict=True))
    return np.array([[np.histogram(warped(t, *event, duration), edges)[0] for t in trains] for event in events]).transpose(
        0, 2, 1
    )


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.3, 3.0))
def test_counts_are_those_of_spikes_warped_one_by_one(seed, duration):
    random = np.random.default_rng(seed)
    trains = [np.sort(random.uniform(0, 50, 400)) for _ in range(3)]
    onsets = np.sort(random.uniform(5, 40, 6))
    second = onsets + random.uniform(0.5, 4.0, 6)
    edges = -1 + 0.25 * np.arange(17)
    found = count_warped_spikes(trains, recorded_times(edges, onsets, second - onsets, duration), 0.25)
    assert np.array_equal(found, counted(trains, onsets, second, duration, edges))


def test_equal_durations_change_nothing():
    trains = [np.arange(0, 20_000, step) / 1000 for step in (7, 20, 50)]
    onsets = np.arange(3, 15, 1.1)
    edges = recorded_times(-0.5 + 0.05 * np.arange(31), onsets, np.full(len(onsets), 0.6), 0.6)
    assert np.array_equal(count_warped_spikes(trains, edges, 0.05), count_spikes(trains, onsets, -0.5, 0.05, 30))


def test_a_file_is_warped_to_the_median_and_extreme_trials_are_dropped(tmp_path):
    random = np.random.default_rng(3)
    trains = [np.sort(random.uniform(0, 19, 500)) for _ in range(3)]
    cue = 3.0 * np.arange(6) + 1
    choice = cue + np.array([0.4, 0.5, 0.6, np.nan, 0.1, 0.7])
    write_spikes(tmp_path / "a.nwb", trains=trains, trials=trial_columns(choice=choice))
    grid = {"kind": "time", "align": "cue_time", "window": [-0.5, 1.0], "bin_width": 0.1, "warp": {"to": "choice"}}
    tree = load_recordings(spike_spec(grid=grid), tmp_path)
    rat = tree["rat"].to_dataset()
    # the median of .4, .5, .6, .1 and .7 s is .5 s, and .1 s is five times shorter
    assert "choice is at 0.5 s" in tree["time"].attrs["warp"]
    assert rat["trial"].values.tolist() == [0, 1, 2, 5]
    assert rat["stretch"].values == pytest.approx([0.8, 1.0, 1.2, 1.4])
    assert [(line.reason.split(" more")[0], line.count) for line in dropped(rat)] == [("choice is NaN", 1), ("choice is", 1)]
    kept = [0, 1, 2, 5]
    expected = counted(trains, cue[kept], choice[kept], 0.5, np.round(-0.5 + 0.1 * np.arange(16), 9))
    assert np.array_equal(rat["spike_count"].values, expected)


def test_the_whole_warped_window_must_be_recorded(tmp_path):
    trains = [np.arange(0, 17.0, 0.01)] * 2
    cue = 3.0 * np.arange(6) + 1
    choice = cue + np.array([0.5, 0.5, 0.5, 0.5, 0.5, 1.0])
    write_spikes(tmp_path / "a.nwb", trains=trains, trials=trial_columns(choice=choice))
    grid = {"kind": "time", "align": "cue_time", "window": [-0.5, 0.9], "bin_width": 0.1}
    assert load_recordings(spike_spec(grid=grid), tmp_path)["rat"].sizes["trial"] == 6
    tree = load_recordings(spike_spec(grid=grid | {"warp": {"to": "choice", "duration": 0.5}}), tmp_path)
    # the last trial ends at 16 + 1 + .4 s, after the last spike
    assert tree["rat"]["trial"].values.tolist() == [0, 1, 2, 3, 4]


def test_a_spec_refuses_what_cannot_be_warped(tmp_path):
    grid = {"kind": "time", "align": "cue_time", "window": [0, 1], "bin_width": 0.1}
    with pytest.raises(ValueError, match="name another event"):
        spike_spec(grid=grid | {"warp": {"to": "cue_time"}})
    with pytest.raises(ValueError, match="only times of spikes are warped"):
        spike_spec(grid=grid | {"warp": {"to": "choice"}}, lfp={})
    write_spikes(tmp_path / "a.nwb")
    with pytest.raises(MissingTableError, match=r"no column 'choice'.*grid\.warp\.to"):
        load_recordings(spike_spec(grid=grid | {"warp": {"to": "choice"}}), tmp_path)
