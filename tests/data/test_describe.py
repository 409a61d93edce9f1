"""Tables of what a file holds and of what was loaded."""

import numpy as np
import pytest

from neuromvm.data.describe import describe, inspect_file, label_counts
from neuromvm.data.loaders import load_recordings
from neuromvm.errors import DataFormatError
from tests.conftest import tuned_recordings, with_trial_label
from tests.data.nwb_files import calcium_spec, spike_spec, spike_trains, trial_columns, write_calcium, write_spikes


def test_describe_has_a_row_an_animal(tmp_path):
    # unit 0 fires every 100 ms and the window is 2 s
    trials = trial_columns(cue_time=np.array([1, 4, 7, 10, 13, np.nan]))
    write_spikes(tmp_path / "a.nwb", trains=spike_trains()[:1], trials=trials)
    recordings = load_recordings(spike_spec(min_units=1), tmp_path)
    (row,) = describe(recordings).reset_index().to_dict("records")
    assert row == {
        "animal": "rat",
        "units": 1,
        "trials": 5,
        "bins": 20,
        "mean_activity": pytest.approx(10.0),
        "labels": "odor: A 3, B 2",
        "dropped": "1 trials: cue_time is NaN",
    }
    assert label_counts(recordings).values.tolist() == [["rat", "odor", "A", 3], ["rat", "odor", "B", 2]]


def test_describe_gives_the_mean_of_floats(tmp_path):
    write_calcium(tmp_path / "a.nwb", activity=np.full((180, 2), 0.25), position=np.zeros(180))
    grid = {"kind": "time", "window": [0, 2], "bin_width": 0.5}
    assert describe(load_recordings(calcium_spec(grid), tmp_path)).loc["mouse", "mean_activity"] == 0.25


def test_inspect_names_everything_that_a_spec_can_name(tmp_path):
    path = write_spikes(tmp_path / "a.nwb", table="Odor A ON", columns={"quality": ["good", "mua", "good"]})
    table = inspect_file(path).set_index(["table", "column"])
    assert table.loc[("intervals/Odor A ON", "odor"), ["type", "rows", "values"]].tolist() == ["text", 6, "A, B"]
    assert table.loc[("units", "quality"), "values"] == "good, mua"
    assert table.loc[("units", "spike_times"), ["type", "rows"]].tolist() == ["ragged", 3]
    assert table.loc[("acquisition/lick", ""), "values"] == "shape (2,) [V]"
    path = write_calcium(tmp_path / "b.nwb", activity=np.zeros((180, 2)), position=np.arange(180.0))
    assert {"processing/ophys/events", "processing/behavior/Position/place"} <= set(inspect_file(path)["table"])
    with pytest.raises(DataFormatError, match="no such file"):
        inspect_file(tmp_path / "c.nwb")


def test_inspect_gives_the_range_of_many_numbers(tmp_path):
    start = 3.0 * np.arange(40)
    trials = {"start_time": start, "stop_time": start + 1}
    table = inspect_file(write_spikes(tmp_path / "a.nwb", trials=trials)).set_index(["table", "column"])
    assert table.loc[("intervals/trials", "start_time"), "values"] == "0 .. 117 (40 different)"


def test_describe_says_which_label_looks_continuous():
    recordings = tuned_recordings({"mitt": (2, 80)})
    for values, words in (
        (
            np.linspace(1, 9, 80),
            "speed: 80 values: 1, 1.10127, ..., 9, looks continuous (analyses: {continuous: {label: speed}})",
        ),
        (np.arange(80) % 3, "speed: 0 27, 1 27, 2 26"),
        (np.array([f"v{number:02}" for number in range(80)]), "speed: 80 values: v00, v01, v02, ... (trials of each: 1)"),
        (np.arange(80) % 15, "speed: 15 values: 0, 1, 2, ... (trials of each: 5 to 6)"),
    ):
        labels = describe(with_trial_label(recordings, "speed", lambda _, values=values: values)).loc["mitt", "labels"]
        assert words in labels
