"""Units and trials of NWB files -> spike counts."""

import h5py
import numpy as np
import pytest
import xarray as xr

from neuromvm.data.loaders import load_recordings
from neuromvm.errors import DataFormatError, SchemaError, SpecError
from neuromvm.schema import Dropped, animals, dropped
from tests.data.nwb_files import ODORS, spike_spec, spike_trains, trial_columns, write_spikes

TRAINS = spike_trains()


def only(tree):
    """Return the dataset of the one animal of a tree."""
    ((_, dataset),) = animals(tree)
    return dataset


def brute_counts(train, cues, start=-1000, width=100, bins=20):
    """Count one unit in whole milliseconds."""
    spikes = np.round(train * 1000).astype(int)
    edges = start + width * np.arange(bins + 1)
    return np.array([[((spikes >= c + a) & (spikes < c + a + width)).sum() for a in edges[:-1]] for c in cues])


def test_counts_labels_and_grid(tmp_path):
    write_spikes(tmp_path / "a.nwb")
    tree = load_recordings(spike_spec(), tmp_path)
    rat = only(tree)
    cues = (trial_columns()["cue_time"] * 1000).astype(int)
    for unit, train in enumerate(TRAINS):
        np.testing.assert_array_equal(rat["spike_count"][:, :, unit], brute_counts(train, cues))
    assert rat["spike_count"].dtype == np.uint8
    assert rat["odor"].values.tolist() == ODORS
    np.testing.assert_array_equal(rat["onset"], cues / 1000)
    np.testing.assert_allclose(tree["time"], -0.95 + 0.1 * np.arange(20))
    assert tree["time"].attrs["bin_width"] == 0.1
    assert rat.attrs["source_file"] == "a.nwb"
    assert rat.attrs["species"] == "Rattus norvegicus"
    assert dropped(rat) == []


def test_survives_netcdf_and_holds_no_open_file(tmp_path):
    path = write_spikes(tmp_path / "a.nwb", columns={"quality": ["good", "mua", "good"]}, regions=["CA1", "CA3", "CA1"])
    tree = load_recordings(spike_spec(min_units=2), tmp_path)
    with h5py.File(path, "a"):  # refused if a handle were left open
        pass
    path.unlink()
    tree.to_netcdf(tmp_path / "tree.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "tree.nc", engine="h5netcdf") as back:
        assert back.load().identical(tree)


def test_unit_filters_are_counted(tmp_path):
    columns = {"quality": ["good", "mua", "good"], "odor": [1.5, 2.5, 3.5]}
    write_spikes(tmp_path / "a.nwb", columns=columns, regions=["CA1", "CA1", "CA3"], ids=[7, 3, 5])
    activity = {"keep": {"quality": ["good"]}}
    rat = only(load_recordings(spike_spec(activity=activity), tmp_path))
    assert rat["unit"].values.tolist() == [7, 5]
    assert rat["region"].values.tolist() == ["CA1", "CA3"]
    assert rat["unit_odor"].values.tolist() == [1.5, 3.5]  # 'odor' is a label of trials
    np.testing.assert_array_equal(rat["spike_count"].sel(unit=5), brute_counts(TRAINS[2], 3000 * np.arange(6) + 1000))
    assert dropped(rat) == [Dropped("units", "quality is none of good", 1)]

    activity = {"regions": ["CA1"], "keep": {"odor": [1.5, 2.5, 3.5]}}
    assert only(load_recordings(spike_spec(activity=activity), tmp_path))["unit"].values.tolist() == [7, 3]
    # unit 130 ms apart: 7.7 Hz; 100 ms: 10 Hz; 70 ms: 14.3 Hz
    activity = {"min_rate": 9.0}
    rat = only(load_recordings(spike_spec(activity=activity), tmp_path))
    assert rat["unit"].values.tolist() == [7, 5]
    assert dropped(rat) == [Dropped("units", "mean rate in the windows below 9 Hz", 1)]


def test_region_from_a_column(tmp_path):
    write_spikes(tmp_path / "a.nwb", columns={"area": ["x", "y", "x"]})
    assert "region" not in only(load_recordings(spike_spec(), tmp_path)).coords
    activity = {"region_column": "area", "regions": ["x"]}
    rat = only(load_recordings(spike_spec(activity=activity), tmp_path))
    assert rat["region"].values.tolist() == ["x", "x"]
    with pytest.raises(DataFormatError, match="do not refer to electrodes"):
        load_recordings(spike_spec(activity={"regions": ["x"]}), tmp_path)


def test_trial_filter_names_and_float_codes(tmp_path):
    codes = [0.0, 1.0, 2.0, 0.0, 1.0, np.nan]
    flags = np.array([True, True, True, True, False, True])
    write_spikes(tmp_path / "a.nwb", trials=trial_columns(cue=codes, correct=flags, level=0.5 * np.arange(6)))
    labels = {"odor": "cue", "code": "cue", "level": "level", "correct": "correct"}
    trials = {"labels": labels, "map": {"odor": {"0": "mint", "1": "rose"}}}
    rat = only(load_recordings(spike_spec(trials=trials), tmp_path))
    assert rat["odor"].values.tolist() == ["mint", "rose", "2", "mint", "rose", ""]
    assert rat["code"].values.tolist() == ["0", "1", "2", "0", "1", ""]  # integers have no NaN
    assert rat["level"].values.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert rat["correct"].dtype == bool

    for keep, kept in [
        ({"odor": ["mint"]}, [0, 3]),
        ({"cue": [1, 2]}, [1, 2, 4]),
        ({"correct": [1], "odor": ["rose"]}, [1]),
        ({"correct": [False]}, [4]),
    ]:
        rat = only(load_recordings(spike_spec(trials={**trials, "keep": keep}, min_trials=1), tmp_path))
        assert rat["trial"].values.tolist() == kept
        assert sum(line.count for line in dropped(rat)) == 6 - len(kept)


def test_whole_float_codes_become_integers(tmp_path):
    write_spikes(tmp_path / "a.nwb", trials=trial_columns(odor=np.array(ODORS) == "A"))
    write_spikes(tmp_path / "b.nwb", trials=trial_columns(odor=[3.0, 1, 2, 3, 1, 2]), subject="other")
    tree = load_recordings(spike_spec(), tmp_path)
    assert tree["other"]["odor"].dtype == np.int64
    assert tree["rat"]["odor"].dtype == bool


def test_any_interval_table(tmp_path):
    write_spikes(tmp_path / "a.nwb", table="Odor A ON")
    spec = spike_spec(trials={"table": "Odor A ON", "labels": {"odor": "odor"}})
    assert only(load_recordings(spec, tmp_path)).sizes["trial"] == 6


def test_matlab_columns_and_byte_strings(tmp_path):
    path = write_spikes(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        trials = file["intervals/trials"]
        for name, values in {"odor": np.array(ODORS, dtype="S3"), "start_time": trials["start_time"][:]}.items():
            attrs = dict(trials[name].attrs)
            del trials[name]
            trials.create_dataset(name, data=values.reshape(-1, 1)).attrs.update(attrs)
    spec = spike_spec(trials={"labels": {"odor": "odor"}, "keep": {"odor": ["A"]}})
    rat = only(load_recordings(spec, tmp_path))
    assert rat["odor"].values.tolist() == ["A", "A", "A"]
    np.testing.assert_array_equal(rat["start_time"], [0, 6, 12])


def test_trials_and_spikes_that_cannot_be_used_are_counted(tmp_path):
    columns = trial_columns()
    columns["cue_time"] = np.array([1, np.nan, np.inf, 10, np.nan, 16.0])
    unsorted, gaps = TRAINS[0][::-1], np.insert(TRAINS[1], [0, 50], [np.nan, np.inf])
    write_spikes(tmp_path / "a.nwb", trains=[unsorted, gaps, TRAINS[2]], trials=columns)
    rat = only(load_recordings(spike_spec(), tmp_path))
    assert rat["trial"].values.tolist() == [0, 3, 5]
    assert dropped(rat) == [
        Dropped("trials", "cue_time is NaN", 3),
        Dropped("spikes", "time is not finite", 2),
        Dropped("order of units' spikes", "times were unsorted; sorted, no spike lost", 1),
    ]
    for unit in (0, 1):
        np.testing.assert_array_equal(rat["spike_count"][:, :, unit], brute_counts(TRAINS[unit], [1000, 10000, 16000]))


def test_long_silences_do_not_stretch_the_recording(tmp_path, caplog):
    # silent from 2 to 8 s, longer than a window; the last spike at 10.5 s ends the fourth window (9 to 11 s) a little early
    trains = [train[(train <= 2) | ((train >= 8) & (train <= 10.5))] for train in TRAINS]
    write_spikes(tmp_path / "a.nwb", trains=trains)
    rat = only(load_recordings(spike_spec(trials={"labels": {"odor": "odor"}, "silences": "keep"}), tmp_path))
    assert rat["trial"].values.tolist() == [0, 1, 2, 3]
    assert int(rat["spike_count"].sel(trial=1).sum()) == 0
    assert "2 of 4 trials lie in silences of all units" in caplog.text
    rat = only(load_recordings(spike_spec(), tmp_path))
    assert rat["trial"].values.tolist() == [0, 3]
    assert Dropped("trials", "in a silence of all units", 2) in dropped(rat)


def test_the_recording_runs_as_long_as_any_unit_fires(tmp_path):
    trains = [np.array([0.5, 1.5, 2.5]), *TRAINS[1:]]  # the kept unit falls silent early: that is data
    write_spikes(tmp_path / "a.nwb", trains=trains, columns={"quality": ["good", "mua", "mua"]})
    rat = only(load_recordings(spike_spec(activity={"keep": {"quality": ["good"]}}, min_units=1), tmp_path))
    assert rat.sizes["trial"] == 6
    assert int(rat["spike_count"].sum()) == 2


def test_overlapping_trials_share_spikes(tmp_path):
    cues = np.array([1, 1.5, 7, 7.001, 13, 16])
    write_spikes(tmp_path / "a.nwb", trials=trial_columns(cue_time=cues, stop_time=3.0 * np.arange(6) + 20))
    rat = only(load_recordings(spike_spec(), tmp_path))
    np.testing.assert_array_equal(rat["spike_count"][:, :, 2], brute_counts(TRAINS[2], (cues * 1000).astype(int)))


def test_windows_outside_the_recording_are_dropped(tmp_path):
    trains = [train[train <= 10.5] for train in TRAINS]  # the recording ends in the window of the fourth cue, at 10 s
    write_spikes(tmp_path / "a.nwb", trains=trains)
    rat = only(load_recordings(spike_spec(), tmp_path))
    assert rat["trial"].values.tolist() == [0, 1, 2]
    assert dropped(rat) == [Dropped("trials", "window outside the recording", 3)]


@pytest.mark.parametrize(("share", "units", "trials"), [(0.6, [0, 2], [1, 2, 3, 4, 5]), (0.5, [0, 1, 2], [1, 2])])
def test_time_that_was_not_observed_is_no_silence(tmp_path, share, units, trials):
    # windows: 0..2, 3..5, 6..8, 8.5..10.5, 12..14, 15..17; the first unit's intervals touch within the fourth
    observed = [[[0, 9], [9, 17]], [[0, 8.5]], [[3, 17]]]
    trains = [t[(t >= low) & (t <= high)] for t, low, high in zip(TRAINS, (0, 0, 3), (17, 8.5, 17), strict=True)]
    write_spikes(tmp_path / "a.nwb", trains=trains, observed=observed, trials=trial_columns(cue_time=[1, 4, 7, 9.5, 13, 16]))
    rat = only(load_recordings(spike_spec(activity={"min_observed": share}), tmp_path))
    assert rat["unit"].values.tolist() == units
    assert rat["trial"].values.tolist() == trials
    assert sum(line.count for line in dropped(rat)) == 3 - len(units) + 6 - len(trials)


def test_sessions_side_by_side_or_joined(tmp_path):
    write_spikes(tmp_path / "s1.nwb", session="day1", ids=[1, 2, 3], columns={"depth": [10.0, 20, 30], "snr": [1.0, 2, 3]})
    write_spikes(
        tmp_path / "s2.nwb",
        session="day2",
        ids=[3, 9, 1],
        columns={"depth": [30.0, 90, 10], "snr": [9.0, 9, 9]},
        trials=trial_columns(odor=[7.0] * 6),  # codes in one session, text in the other
    )
    assert list(load_recordings(spike_spec(), tmp_path).children) == ["rat_day1", "rat_day2"]
    rat = only(load_recordings(spike_spec(sessions="concatenate"), tmp_path))
    assert rat["unit"].values.tolist() == [1, 3]
    assert rat["session"].values.tolist() == ["day1"] * 6 + ["day2"] * 6
    assert rat["odor"].values.tolist() == ODORS + ["7"] * 6
    assert rat["trial"].values.tolist() == list(range(12))
    cues = 3000 * np.arange(6) + 1000
    np.testing.assert_array_equal(rat["spike_count"][6:].sel(unit=3), brute_counts(TRAINS[0], cues))
    np.testing.assert_array_equal(rat["spike_count"][:6].sel(unit=3), brute_counts(TRAINS[2], cues))
    assert rat["depth"].values.tolist() == [10, 30]
    assert dropped(rat) == [
        Dropped("units", "not in all sessions", 2),
        Dropped("columns of units", "differ between sessions: snr", 1),
    ]


def test_animals_by_file_renamed_and_excluded(tmp_path):
    for name in ("sub-1", "sub-2", "sub-3"):
        write_spikes(tmp_path / f"{name}.nwb", subject=None)
    spec = spike_spec(animal="file", rename={"sub-1": "stella"}, exclude=["sub-2"])
    assert list(load_recordings(spec, tmp_path).children) == ["stella", "sub-3"]
    with pytest.raises(SpecError, match="Did you mean 'sub-2'"):
        load_recordings(spike_spec(animal="file", exclude=["sub-22"]), tmp_path)
    with pytest.raises(DataFormatError, match="animal: file"):
        load_recordings(spike_spec(), tmp_path)


def test_duplicate_names_are_refused(tmp_path):
    write_spikes(tmp_path / "a.nwb", session="s")
    write_spikes(tmp_path / "b.nwb", session="s", ids=[4, 5, 6])
    with pytest.raises(SchemaError, match=r"rat_s.*a\.nwb and b\.nwb"):
        load_recordings(spike_spec(), tmp_path)
    write_spikes(tmp_path / "b.nwb", subject="Rat", session="s")
    with pytest.raises(SchemaError, match=r"a\.nwb and b\.nwb"):  # one file where names ignore case
        load_recordings(spike_spec(), tmp_path)


def test_names_that_cannot_be_nodes_are_changed_and_kept(tmp_path, caplog):
    write_spikes(tmp_path / "a.nwb", subject="rat/1 é")
    write_spikes(tmp_path / "b.nwb", subject="rat 1/é", ids=[4, 5, 6])
    tree = load_recordings(spike_spec(), tmp_path)
    assert {name: node.attrs["original_name"] for name, node in tree.children.items()} == {
        "rat_1_e": "rat/1 é",
        "rat_1_e_2": "rat 1/é",
    }
    assert "'rat/1 é' is rat_1_e, 'rat 1/é' is rat_1_e_2" in caplog.text
    assert list(load_recordings(spike_spec(rename={"rat_1_e": "ada"}, exclude=["rat 1/é"]), tmp_path).children) == ["ada"]
    (tmp_path / "b.nwb").unlink()
    assert list(load_recordings(spike_spec(rename={"rat/1 é": "rat1"}), tmp_path).children) == ["rat1"]


def test_small_animals_are_left_out_said_and_counted_at_the_root(tmp_path, caplog):
    write_spikes(tmp_path / "a.nwb")
    write_spikes(tmp_path / "b.nwb", trains=TRAINS[:1], subject="poor")
    tree = load_recordings(spike_spec(), tmp_path)
    assert list(tree.children) == ["rat"]
    assert dropped(tree.to_dataset()) == [Dropped("animal poor", "1 units, fewer than 2", 1)]
    assert "Animal poor is left out: 1 units, fewer than 2" in caplog.text
    with pytest.raises(DataFormatError, match=r"no animal is left.*rat: 3 units.*poor: 1 units"):
        load_recordings(spike_spec(min_units=4), tmp_path)
