"""Tables of events as trials, and as times that trials are aligned to."""

import h5py
import numpy as np
import pytest

from neuromvm.data.loaders import load_recordings
from neuromvm.errors import DataFormatError, MissingTableError
from neuromvm.schema import Dropped, animals, dropped
from tests.data import nwb_files
from tests.data.nwb_files import ODORS, spike_spec, trial_columns, write_spikes

ndx_events = pytest.importorskip("ndx_events")

CUES = trial_columns()["cue_time"]
WITHOUT = 2  # the trial without a lick


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A file with trials, a table of odors at their cues, and a table of licks .3 and .7 s after cues and between trials."""
    write = nwb_files._write

    def write_with_events(nwb, path):
        odors = ndx_events.EventsTable(name="odors", description="odors")
        odors.add_column(name="odor", description="odor")
        for time, odor in zip(CUES, ODORS, strict=True):
            odors.add_row(timestamp=time, duration=0.5 if time < 5 else np.nan, odor=odor)
        licks = ndx_events.EventsTable(name="licks", description="licks")
        for time in [*(np.delete(CUES, WITHOUT) + 0.7), *(np.delete(CUES, WITHOUT) + 0.3), 2.5]:
            licks.add_row(timestamp=time)
        nwb.add_events_table(odors)
        nwb.add_events_table(licks)
        return write(nwb, path)

    monkeypatch.setattr(nwb_files, "_write", write_with_events)
    write_spikes(tmp_path / "a.nwb")
    return tmp_path


def only(tree):
    ((_, dataset),) = animals(tree)
    return dataset


def grid(align):
    return {"kind": "time", "align": align, "window": [-0.5, 0.5], "bin_width": 0.1}


def test_events_are_trials(folder):
    events = only(
        load_recordings(spike_spec(grid=grid("timestamp"), trials={"table": "events/odors", "labels": {"odor": "odor"}}), folder)
    )
    trials = only(load_recordings(spike_spec(grid=grid("cue_time")), folder))
    np.testing.assert_array_equal(events["onset"], CUES)
    np.testing.assert_array_equal(events["start_time"], CUES)
    np.testing.assert_allclose(events["stop_time"] - CUES, [0.5, 0.5, 3, 3, 3, 3])
    assert events["odor"].values.tolist() == ODORS
    np.testing.assert_array_equal(events["spike_count"], trials["spike_count"])


def test_trials_are_aligned_to_the_first_event_in_them(folder):
    aligned = only(load_recordings(spike_spec(grid=grid("events/licks")), folder))
    np.testing.assert_allclose(aligned["onset"], np.delete(CUES, WITHOUT) + 0.3)
    assert aligned["odor"].values.tolist() == np.delete(ODORS, WITHOUT).tolist()
    assert dropped(aligned) == [Dropped("trials", "no event of events/licks in the trial", 1)]


def test_an_event_at_the_stop_of_a_trial_is_not_in_it(folder):
    columns = trial_columns()
    with h5py.File(folder / "a.nwb", "a") as file:
        del file["events/licks/timestamp"]
        file["events/licks/timestamp"] = np.r_[columns["stop_time"][:3], columns["start_time"][3:], np.nan]
    aligned = only(load_recordings(spike_spec(grid=grid("events/licks") | {"window": [0, 0.5]}), folder))
    np.testing.assert_array_equal(aligned["onset"], columns["start_time"][3:])


def test_events_of_older_extensions_and_series_align_too(folder):
    with h5py.File(folder / "a.nwb", "a") as file:
        file["acquisition/nose_pokes/timestamps"] = CUES + 0.2
    np.testing.assert_allclose(
        only(load_recordings(spike_spec(grid=grid("acquisition/nose_pokes")), folder))["onset"], CUES + 0.2
    )


def test_tables_that_are_missing_are_named(folder):
    with pytest.raises(MissingTableError, match=r"There are: events/licks, events/odors\. "):
        load_recordings(spike_spec(grid=grid("events/lick")), folder)
    with pytest.raises(MissingTableError, match="no such table"):
        load_recordings(spike_spec(grid=grid("timestamp"), trials={"table": "events/odor"}), folder)
    with h5py.File(folder / "a.nwb", "a") as file:
        file["acquisition/matrix/timestamps"] = np.ones((2, 3))
    with pytest.raises(DataFormatError, match="shape"):
        load_recordings(spike_spec(grid=grid("acquisition/matrix")), folder)
