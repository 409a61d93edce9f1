"""The simulated experiment is what it claims: behaviour, calibration, truth, and files that validators accept."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
import xarray as xr
from nwbinspector import Importance, inspect_nwbfile
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuromvm.data.loaders import load_recordings
from neuromvm.data.simulate.experiment import (
    DEAD_TIME,
    STEP,
    Simulation,
    SimulationConfig,
    recordings_from,
    shared_trajectory,
    simulate,
)
from neuromvm.data.simulate.write_nwb import read_truth, write_experiment
from neuromvm.errors import RunFolderError, SchemaError
from neuromvm.specs.files import load_data_spec

SMALL = SimulationConfig.model_validate(
    {
        "animals": {
            "ada": {"units": 20, "trials": 80},
            "bob": {"units": 12, "trials": 90},
            "eve": {"units": 7, "trials": 60},
        }
    }
)
SUPERCHRIS = {"superchris": {"units": 46, "trials": 245}}


@pytest.fixture(scope="module")
def small() -> Simulation:
    return simulate(SMALL, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("simulated")
    write_experiment(directory, SMALL, seed=3)
    return directory


def odor_accuracy(config: SimulationConfig, seed: int) -> float:
    """Return the balanced accuracy of the published analysis: odors A-D, bins of 10 ms from 100 to 350 ms, 10 folds."""
    rat = recordings_from(simulate(config, seed), window=(0.1, 0.35))["superchris"].to_dataset()
    kept = rat.isel(trial=np.flatnonzero(rat["correct"] & rat["in_sequence"] & (rat["odor"] != "E")))
    features = kept["spike_count"].values.reshape(kept.sizes["trial"], -1).astype(float)
    decoder = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    return float(cross_val_score(decoder, features, kept["odor"].values, cv=folds, scoring="balanced_accuracy").mean())


def test_a_linear_decoder_reads_odors_as_well_as_in_the_published_recording() -> None:
    config = SimulationConfig.model_validate({"animals": SUPERCHRIS})
    accuracy = [odor_accuracy(config, seed) for seed in range(3)]
    assert 0.60 < np.mean(accuracy) < 0.80, accuracy


def test_without_shared_strength_a_decoder_is_at_chance() -> None:
    config = SimulationConfig.model_validate({"animals": SUPERCHRIS, "shared_strength": 0})
    accuracy = [odor_accuracy(config, seed) for seed in range(4)]
    standard_error = np.sqrt(0.25 * 0.75 / (4 * 170))
    assert abs(np.mean(accuracy) - 0.25) < 4 * standard_error, accuracy


def test_rates_are_like_superchris() -> None:
    rat = simulate(SimulationConfig.model_validate({"animals": SUPERCHRIS}), seed=1).animals["superchris"]
    rates = np.array([len(times) for times in rat.spike_times]) / rat.duration
    assert (rates == 0).sum() == 4
    assert 3 < rates.mean() < 5
    assert 1.25 < np.median(rates) < 2.25
    assert 12 < rates.max() < 27


def test_behaviour_follows_the_rules_of_the_task() -> None:
    config = SimulationConfig.model_validate({"animals": {"ada": {"units": 1, "trials": 600}}})
    trials = simulate(config).animals["ada"].trials
    number = trials["odor"].map({odor: place for place, odor in enumerate("ABCDE", start=1)})
    held = trials["poke_out_time"] - trials["poke_in_time"] >= 1.2 - 1e-9
    assert (trials["in_sequence"] == (number == trials["position"])).all()
    assert (trials["correct"] == (held == trials["in_sequence"])).all()
    ends = ~trials["correct"] | (trials["position"] == 5)
    expected_next = trials["position"].add(1).where(~ends, 1)
    assert (trials["position"].iloc[1:].to_numpy() == expected_next.iloc[:-1].to_numpy()).all()
    assert trials.loc[trials["position"] == 1, "in_sequence"].all()
    assert (trials["start_time"].iloc[1:].to_numpy() > trials["stop_time"].iloc[:-1].to_numpy()).all()
    assert (np.diff(trials["poke_in_time"]) > 4).all(), "windows of neighbouring trials would overlap"
    counts = trials[trials["correct"] & trials["in_sequence"]]["odor"].value_counts()
    assert counts["A"] > counts["C"] > counts["E"] > 0
    assert 0.06 < (~trials["in_sequence"]).mean() < 0.16


def test_the_shared_trajectory_knows_the_trial_only_after_the_poke() -> None:
    time = np.arange(-2, 2, STEP) + STEP / 2
    path = shared_trajectory(np.arange(1, 6), np.arange(1, 6), time, SMALL)
    between = np.ptp(path, axis=0).max(axis=-1)
    assert (between[time < 0] == 0).all()
    assert (between[(time > 0.25) & (time < 0.85)] > 1).all()
    assert np.abs(np.diff(path, axis=1)).max() < 0.15 * np.abs(path).max(), "the path jumps"


def test_truth_has_the_promised_shapes_and_the_same_trajectory_in_all_animals(small: Simulation) -> None:
    for name, size in SMALL.animals.items():
        truth = small.truth[name].to_dataset()
        assert dict(truth["shared_latent"].sizes) == {"trial": size.trials, "time": 400, "latent": 4}
        assert dict(truth["private_latent"].sizes) == {"trial": size.trials, "time": 400, "private": 4}
        assert dict(truth["loading"].sizes) == {"unit": size.units, "latent": 4}
        assert truth["gain"].sizes == {"trial": size.trials}
        assert truth["baseline_rate"].sizes == {"unit": size.units}

    def trajectory_of_b(name: str) -> xr.DataArray:
        truth = small.truth[name].to_dataset()
        return truth["shared_latent"][np.flatnonzero((truth["odor"] == "B") & truth["in_sequence"])].drop_vars(["trial"])

    first = trajectory_of_b("ada")[0]
    assert np.ptp(trajectory_of_b("bob").values, axis=0).max() == 0
    np.testing.assert_array_equal(first.values, trajectory_of_b("eve")[0].values)


def test_counts_are_poisson_about_the_truth(small: Simulation) -> None:
    truth = small.truth["ada"].to_dataset()
    change = truth["gain"] * xr.dot(truth["shared_latent"], truth["loading"], dim="latent")
    change = change + xr.dot(truth["private_latent"], truth["private_loading"], dim="private")
    drive = truth["baseline_rate"] * np.exp(change - (truth["private_loading"] ** 2).sum("private") / 2)
    expected = (STEP * drive / (1 + DEAD_TIME * drive)).sum("time").transpose("trial", "unit").values
    counts = recordings_from(small)["ada"].to_dataset()["spike_count"].sum("time").values.astype(float)
    busy = expected.mean(axis=0) > 2

    def dispersion(of: np.ndarray) -> float:
        return float(((of - expected)[:, busy] ** 2 / expected[:, busy]).mean())

    assert busy.sum() > 5
    assert abs(dispersion(counts) - 1) < 4 * np.sqrt(2 / (len(counts) * busy.sum()))
    assert dispersion(np.roll(counts, 1, axis=0)) > 1.5


def test_a_poisson_regression_recovers_the_loadings() -> None:
    config = SimulationConfig.model_validate({"animals": {"ada": {"units": 30, "trials": 250}}, "private_strength": 0.2})
    simulation = simulate(config, seed=1)
    truth = simulation.truth["ada"].to_dataset()
    counts = recordings_from(simulation)["ada"].to_dataset()["spike_count"].sel(time=slice(0.1, 1.0)).sum("time")
    driver = (truth["gain"] * truth["shared_latent"]).sel(time=slice(0.1, 1.0)).mean("time")[:, :2]
    units = np.flatnonzero(truth["baseline_rate"] > 2)
    true = truth["loading"][units, :2].values

    def explained(of: np.ndarray) -> float:
        fits = [PoissonRegressor(alpha=1e-3).fit(of, counts[:, unit].values).coef_ for unit in units]
        return float(1 - np.square(np.array(fits) - true).mean() / np.square(true).mean())

    assert len(units) > 10
    assert explained(driver.values) > 0.7
    assert explained(np.roll(driver.values, 1, axis=0)) < 0.2


def test_the_same_seed_gives_the_same_spikes_and_each_animal_its_own(small: Simulation) -> None:
    again = simulate(SMALL, seed=3)
    xr.testing.assert_identical(again.truth, small.truth)
    alone = simulate(SimulationConfig.model_validate({"animals": {"bob": SMALL.animals["bob"]}}), seed=3)
    other = simulate(SMALL, seed=4)
    for unit, times in enumerate(small.animals["bob"].spike_times):
        np.testing.assert_array_equal(again.animals["bob"].spike_times[unit], times)
        np.testing.assert_array_equal(alone.animals["bob"].spike_times[unit], times)
        assert (np.diff(times) > 0).all()
    assert len(np.concatenate(other.animals["bob"].spike_times)) != len(np.concatenate(again.animals["bob"].spike_times))
    assert small.animals["bob"].trials["odor"].tolist()[:60] != small.animals["eve"].trials["odor"].tolist()


def test_validator_and_inspector_find_nothing(folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.glob("sub-*/*.nwb"))
    assert [path.name for path in files] == [f"sub-{name}_ses-{name}01_behavior+ecephys.nwb" for name in SMALL.animals]
    for path in files:
        assert pynwb.validate(path=str(path)) == []
        messages = [
            message
            for message in inspect_nwbfile(nwbfile_path=path)
            if message.importance.value >= Importance.BEST_PRACTICE_VIOLATION.value
        ]
        assert messages == []

    broken = tmp_path / "broken.nwb"
    broken.write_bytes(files[0].read_bytes())
    with h5py.File(broken, "a") as file:
        file["units/spike_times"][:2] = file["units/spike_times"][:2][::-1]
        del file["general/subject/species"]
    assert {message.check_function_name for message in inspect_nwbfile(nwbfile_path=broken)} >= {
        "check_ascending_spike_times",
        "check_subject_species_exists",
    }


def test_files_hold_the_simulation(folder: Path, small: Simulation) -> None:
    sessions = set()
    for name, animal in small.animals.items():
        (path,) = folder.glob(f"sub-{name}/*.nwb")
        with pynwb.NWBHDF5IO(path, "r") as io:
            file = io.read()
            sessions.add(file.session_id)
            assert file.subject.subject_id == name
            for unit, times in enumerate(animal.spike_times):
                np.testing.assert_array_equal(file.units.get_unit_spike_times(unit), times)
                assert file.units["obs_intervals"][unit].tolist() == [[0, animal.duration]]
            assert set(file.units["electrodes"][0]["location"]) == {"CA1"}
            table = file.trials.to_dataframe()
        assert table.columns.tolist() == animal.trials.columns.tolist()
        for column in table.columns:
            assert table[column].tolist() == animal.trials[column].tolist()
    assert len(sessions) == len(small.animals)
    xr.testing.assert_identical(read_truth(folder), small.truth)


def test_loaded_files_equal_the_tree_made_without_files(folder: Path, small: Simulation) -> None:
    loaded = load_recordings(load_data_spec("simulated_rats"), folder)
    direct = recordings_from(small)
    assert loaded["time"].attrs["bin_width"] == direct["time"].attrs["bin_width"] == 0.01
    for name in SMALL.animals:
        xr.testing.assert_equal(loaded[name].to_dataset(), direct[name].to_dataset())


def test_an_experiment_is_not_overwritten_unasked(tmp_path: Path) -> None:
    one = SimulationConfig.model_validate({"animals": {"ada": {"units": 3, "trials": 6}, "bob": {"units": 2, "trials": 6}}})
    first = write_experiment(tmp_path / "new" / "folder", one)
    identifier = _identifier(first[0])
    with pytest.raises(RunFolderError, match=r"sub-ada.*is there"):
        write_experiment(tmp_path / "new" / "folder", one, seed=1)
    assert _identifier(first[0]) == identifier

    two = SimulationConfig.model_validate({"animals": {"ada": {"units": 3, "trials": 6}}})
    written = write_experiment(tmp_path / "new" / "folder", two, seed=1, overwrite=True)
    assert _identifier(written[0]) != identifier
    left = [path for path in (tmp_path / "new" / "folder").rglob("*") if path.is_file()]
    assert sorted(left) == sorted(written), "animals of the replaced experiment, or temporary files, are left"
    assert _identifier(write_experiment(tmp_path / "again", one)[0]) == identifier


def test_recordings_that_were_not_simulated_are_never_removed(tmp_path: Path) -> None:
    tiny = SimulationConfig.model_validate({"animals": {"ada": {"units": 3, "trials": 6}}})
    own = tmp_path / "sub-ada" / "sub-ada_recorded.nwb"
    own.parent.mkdir()
    own.write_text("precious")
    with pytest.raises(RunFolderError, match=r"no truth\.nc"):
        write_experiment(tmp_path, tiny, overwrite=True)
    own.unlink()
    own.parent.rmdir()
    write_experiment(tmp_path, tiny)
    own.write_text("precious")
    with pytest.raises(RunFolderError, match="not written by this simulation"):
        write_experiment(tmp_path, tiny, overwrite=True)
    assert own.read_text() == "precious"


def test_other_damage_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="a file"):
        write_experiment(tmp_path / "file", SMALL)
    (tmp_path / "truth.nc").write_text("not a netCDF file")
    with pytest.raises(RunFolderError, match="not a readable file"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [
        {"animals": {"a/b": {"units": 3, "trials": 6}}},
        {"animals": {}},
        {"animals": {"ada": {"units": 0, "trials": 6}}},
        {"shared_strength": -1},
        {"private_timescales": [0.001]},
        {"strength": 1},
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises((ValidationError, SchemaError)):
        SimulationConfig.model_validate(setting)


def test_drivers_can_be_switched_off() -> None:
    config = SimulationConfig.model_validate(
        {
            "animals": {"ada": {"units": 3, "trials": 100}},
            "shared_strength": 0,
            "poke_strength": 0,
            "private_timescales": [],
            "gain_spread": 0,
            "silent_share": 0,
        }
    )
    simulation = simulate(config, seed=5)
    animal, truth = simulation.animals["ada"], simulation.truth["ada"].to_dataset()
    drive = truth["baseline_rate"].values
    expected = drive / (1 + DEAD_TIME * drive) * animal.duration
    counts = np.array([len(times) for times in animal.spike_times])
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 1).all()


def test_simulating_needs_neither_torch_nor_pynwb() -> None:
    code = "import sys, neuromvm.data.simulate.experiment; print({'torch', 'pynwb'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def _identifier(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file["identifier"].asstr()[()])
