"""Frames of a RoiResponseSeries -> means on a time or position grid."""

import h5py
import numpy as np
import pytest

from neuromvm.data.loaders import load_recordings
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError
from neuromvm.schema import Dropped, dropped
from tests.data.nwb_files import calcium_spec, trial_columns, write_calcium

FRAMES = 180  # 18 s at 10 Hz; laps are 2 s = 20 frames, 3 s apart
TIME = {"kind": "time", "align": "cue_time", "window": [-1, 1], "bin_width": 0.5}
TRACK = {"kind": "position", "series": "processing/behavior/Position/place", "range": [0, 100], "bins": 4}
ACTIVITY = np.random.default_rng(0).gamma(1.0, size=(FRAMES, 3))
# the animal runs from 2.5 to 97.5 cm within the 20 frames of every lap, and rests at 0 in between
PLACE = np.tile(np.r_[np.linspace(2.5, 97.5, 20), np.zeros(10)], 6)


def mouse(spec, folder):
    """Return the dataset of the one animal of a folder."""
    return load_recordings(spec, folder)["mouse"].to_dataset()


def test_time_grid_has_means_of_frames(tmp_path):
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=PLACE, conversion=2.0)
    found = mouse(calcium_spec(TIME), tmp_path)["event_amplitude"]
    expected = 2 * np.stack([ACTIVITY[30 * lap : 30 * lap + 20].reshape(4, 5, 3).mean(axis=1) for lap in range(6)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dims == ("trial", "time", "unit")
    assert found.dtype == np.float32
    assert found["unit"].values.tolist() == [100, 101, 102]
    assert found["region"].values.tolist() == ["CA1"] * 3
    assert found.attrs["units"] == "a.u."


def test_position_grid_has_means_of_visits_within_the_lap(tmp_path):
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=PLACE)
    tree = load_recordings(calcium_spec(TRACK), tmp_path)
    found = tree["mouse"]["event_amplitude"]
    # five frames in each quarter of the track; frames at rest lie outside the laps
    expected = np.stack([ACTIVITY[30 * lap : 30 * lap + 20].reshape(4, 5, 3).mean(axis=1) for lap in range(6)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert tree["position"].values.tolist() == [12.5, 37.5, 62.5, 87.5]
    assert tree["position"].attrs["bin_width"] == 25


def test_a_frame_at_the_stop_belongs_to_the_next_lap(tmp_path):
    # laps touch at frame 20, where position jumps back
    place = np.tile(np.linspace(2.5, 97.5, 20), 9)
    laps = {"start_time": np.arange(9) * 2.0, "stop_time": np.arange(9) * 2.0 + 2}
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=place, trials=laps)
    found = mouse(calcium_spec(TRACK), tmp_path)["event_amplitude"]
    np.testing.assert_allclose(found, ACTIVITY.reshape(9, 4, 5, 3).mean(axis=2), rtol=1e-5)


def test_laps_that_skip_a_bin_are_dropped_and_counted(tmp_path):
    place = PLACE.copy()
    place[30:50] = np.linspace(2.5, 70, 20)  # the second lap turns round early
    place[65] = np.nan
    place[66] = 400.0  # the third lap loses two frames of its second bin
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=place)
    found = mouse(calcium_spec(TRACK), tmp_path)
    assert found["trial"].values.tolist() == [0, 2, 3, 4, 5]
    assert dropped(found) == [Dropped("trials", "a position bin was not visited", 1)]
    np.testing.assert_allclose(found["event_amplitude"].sel(trial=2)[1], ACTIVITY[67:70].mean(axis=0), rtol=1e-5)


def test_range_defaults_to_the_extremes_of_all_animals(tmp_path):
    for name, places in {"a": PLACE, "b": PLACE + 2.5}.items():
        write_calcium(tmp_path / f"{name}.nwb", activity=ACTIVITY, position=places, subject=name)
    tree = load_recordings(calcium_spec({**TRACK, "range": None, "bins": 2}), tmp_path)
    assert tree["position"].values.tolist() == [25, 75]  # 0 to 100
    assert list(tree.children) == ["a", "b"]


def test_position_on_its_own_clock(tmp_path):
    # positions at 30 Hz, of which every third coincides with a frame
    place = np.interp(np.arange(3 * FRAMES) / 30, np.arange(FRAMES) / 10, PLACE)
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=place, position_rate=30.0)
    found = mouse(calcium_spec(TRACK), tmp_path)["event_amplitude"]
    np.testing.assert_allclose(found[2, 0], ACTIVITY[60:65].mean(axis=0), rtol=1e-5)


def test_frames_without_a_position_are_no_visit(tmp_path):
    # tracking stops at frame 106, in the last quarter of the fourth lap; a frame takes a position at most one sample away
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=PLACE[:107])
    found = mouse(calcium_spec(TRACK), tmp_path)
    assert found["trial"].values.tolist() == [0, 1, 2, 3]
    assert dropped(found) == [Dropped("trials", "a position bin was not visited", 2)]
    np.testing.assert_allclose(found["event_amplitude"].sel(trial=3)[3], ACTIVITY[105:108].mean(axis=0), rtol=1e-5)


def test_frames_and_cells_without_numbers_are_counted(tmp_path):
    activity = ACTIVITY.copy()
    activity[:, 1] = np.nan
    activity[5, 0] = np.inf
    write_calcium(tmp_path / "a.nwb", activity=activity, position=PLACE)
    found = mouse(calcium_spec(TIME), tmp_path)
    assert found["unit"].values.tolist() == [100, 102]
    assert dropped(found) == [
        Dropped("units", "activity is never finite", 1),
        Dropped("frames", "activity of a cell is not finite", 1),
    ]
    np.testing.assert_allclose(found["event_amplitude"][0, 1], activity[6:10][:, [0, 2]].mean(axis=0), rtol=1e-5)


def test_unsorted_timestamps_are_sorted_with_their_frames(tmp_path):
    order = np.random.default_rng(1).permutation(FRAMES)
    times = np.arange(FRAMES) / 10
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY[order], position=PLACE, timestamps=times[order])
    write_calcium(tmp_path / "b.nwb", activity=ACTIVITY, position=PLACE, timestamps=times, subject="sorted")
    tree = load_recordings(calcium_spec(TIME), tmp_path)
    np.testing.assert_array_equal(tree["mouse"]["event_amplitude"], tree["sorted"]["event_amplitude"])
    assert [line.count for line in dropped(tree["mouse"].to_dataset())] == [1]


def test_rarely_active_cells_can_be_left_out(tmp_path):
    activity = ACTIVITY.copy()
    activity[:, 2] = 0
    activity[31, 2] = 1.0  # one of six laps
    write_calcium(tmp_path / "a.nwb", activity=activity, position=PLACE)
    wanted = {"kind": "roi_response", "series": "processing/ophys/events"}
    assert mouse(calcium_spec(TIME, activity={**wanted, "min_active": 0.16}), tmp_path).sizes["unit"] == 3
    found = mouse(calcium_spec(TIME, activity={**wanted, "min_active": 0.17}), tmp_path)
    assert found.sizes["unit"] == 2
    assert dropped(found) == [Dropped("units", "non-zero in less than 0.17 of the trials", 1)]


def test_bins_narrower_than_frames_are_refused(tmp_path):
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=PLACE)
    with pytest.raises(AlignmentError, match=r"has no frame; .*one every 0\.1 s.*Choose wider bins"):
        load_recordings(calcium_spec({**TIME, "bin_width": 0.05}), tmp_path)


def test_trials_in_milliseconds_are_refused(tmp_path):
    columns = {name: values for name, values in trial_columns().items() if name != "odor"}
    trials = {name: values * 1000 for name, values in columns.items()}
    write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=PLACE, trials=trials)
    for grid in (TIME, TRACK):
        with pytest.raises(AlignmentError, match=r"frames from 0 to 17\.9, trials from 0 to 17000"):
            load_recordings(calcium_spec(grid, min_trials=1), tmp_path)


def test_series_that_are_missing_or_do_not_fit(tmp_path):
    path = write_calcium(tmp_path / "a.nwb", activity=ACTIVITY, position=PLACE)
    spec = calcium_spec(TIME, activity={"kind": "roi_response", "series": "processing/ophys/event"})
    with pytest.raises(MissingTableError, match="Did you mean 'processing/ophys/events'"):
        load_recordings(spec, tmp_path)
    with h5py.File(path, "a") as file:
        series = file["processing/ophys/events"]
        data, attrs = series["data"][:], dict(series["data"].attrs)
        del series["data"]
        series.create_dataset("data", data=data.T).attrs.update(attrs)  # (cell, frame)
    with pytest.raises(DataFormatError, match=r"Expected one row for each column of \(frame, cell\) data"):
        load_recordings(calcium_spec(TIME), tmp_path)
    with h5py.File(path, "a") as file:
        del file["processing/ophys/events/starting_time"]
    with pytest.raises(DataFormatError, match="no timestamps and no rate"):
        load_recordings(calcium_spec(TIME), tmp_path)
