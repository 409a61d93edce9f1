"""Real recordings, where they are present: the shipped specs read them completely."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from neuromvm.data.loaders import load_recordings
from neuromvm.schema import activity, animals, dropped
from neuromvm.specs import load_data_spec

FOLDER = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = {"odor_piriform": "odor_aPCx_15", "odor_amygdala": "odor_plCoA_15", "linear_track": "linear_track"}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recordings in ../shared/data beside the repository ({FOLDER})")


@pytest.fixture(scope="module")
def trees() -> dict[str, xr.DataTree]:
    """Return the recordings of every shipped spec of real data."""
    return {name: load_recordings(load_data_spec(name), FOLDER / folder) for name, folder in FOLDERS.items()}


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("odor_piriform", [20, 14, 24, 5, 27, 30, 17, 23, 30, 9]),
        ("odor_amygdala", [27, 12, 16, 34, 13, 14, 6, 33, 48, 38, 32, 18, 12, 39, 13]),
    ],
)
def test_odor_recordings_are_complete(trees, name, units):
    found = dict(animals(trees[name]))
    assert [dataset.sizes["unit"] for dataset in found.values()] == units
    for dataset in found.values():
        assert dataset.sizes["trial"] == 150
        assert np.unique(dataset["odor"], return_counts=True)[1].tolist() == [10] * 15
        assert dropped(dataset) == []
        np.testing.assert_allclose(dataset["onset"] - dataset["start_time"], 4.0)


def test_every_spike_of_an_odor_recording_is_counted_once(trees):
    # the source has spikes within trials only, and the windows are the trials
    for name in ("odor_piriform", "odor_amygdala"):
        for _, dataset in animals(trees[name]):
            with h5py.File(FOLDER / FOLDERS[name] / dataset.attrs["source_file"]) as file:
                ends = file["units/spike_times_index"][:]
            np.testing.assert_array_equal(activity(dataset).sum(("trial", "time")), np.diff(ends, prepend=0))


def test_odors_change_the_rate(trees):
    # an independent sanity check of the alignment: across recordings, units respond after the onset, not before
    change = []
    for _, dataset in animals(trees["odor_piriform"]):
        counts = activity(dataset).astype(float)
        by_odor = counts.groupby("odor").mean()
        before, after = (by_odor.sel(time=slice(*span)).sum("time").var("odor").mean() for span in ((-2, 0), (0, 2)))
        change.append(float(after / before))
    assert np.median(change) > 1.5


def test_track_laps(trees):
    found = {name: dict(dataset.sizes) for name, dataset in animals(trees["linear_track"])}
    assert {name: (sizes["unit"], sizes["trial"]) for name, sizes in found.items()} == {
        "C14M4": (472, 79),
        "C15M2": (414, 110),
        "C24M4": (418, 59),
        "C5M1": (480, 88),
        "C6M3": (513, 70),
    }
    for _, dataset in animals(trees["linear_track"]):
        assert np.isfinite(activity(dataset)).all()
        with h5py.File(FOLDER / "linear_track" / dataset.attrs["source_file"]) as file:
            laps = len(file["intervals/trials/id"])
        assert dataset.sizes["trial"] + sum(line.count for line in dropped(dataset)) == laps


def test_one_lap_by_hand(trees):
    mouse = trees["linear_track"]["C6M3"].to_dataset()
    with h5py.File(FOLDER / "linear_track" / mouse.attrs["source_file"]) as file:
        events = file["processing/ophys/event_amplitude/data"][:]
        place = file["processing/behavior/Position/position/data"][:]
    lap = mouse.sel(trial=3)
    frames = np.arange(round(float(lap["start_time"]) * 20), round(float(lap["stop_time"]) * 20))
    for zone in range(4):
        of_zone = frames[(place[frames] >= 3 + 5 * zone) & (place[frames] < 8 + 5 * zone)]
        np.testing.assert_allclose(lap["event_amplitude"][zone], events[of_zone].mean(axis=0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", FOLDERS)
def test_survives_netcdf(trees, name, tmp_path):
    trees[name].to_netcdf(tmp_path / "tree.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "tree.nc", engine="h5netcdf") as back:
        assert back.load().identical(trees[name])
