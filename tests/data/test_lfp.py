"""Field potentials: the simulated one is what it claims, and its theta phase comes back from files, or not at all."""

from pathlib import Path

import numpy as np
import pynwb
import pytest
import xarray as xr
from pydantic import ValidationError
from pynwb.ecephys import LFP, ElectricalSeries
from scipy.signal import welch
from scipy.stats import circmean

from neuromvm.data.describe import describe
from neuromvm.data.loaders import load_recordings
from neuromvm.data.simulate.experiment import STEP, SimulationConfig, recordings_from, simulate
from neuromvm.data.simulate.lfp import LFP_RATE, THETA, VOLT, pink_noise, simulate_theta
from neuromvm.data.simulate.write_npy import write_published_layout
from neuromvm.data.simulate.write_nwb import read_truth, write_experiment
from neuromvm.data.splits import make_splits
from neuromvm.data.theta import EDGE, band_phase, phase_at
from neuromvm.data.windows import make_samples
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError
from neuromvm.files import read_tree, write_tree
from neuromvm.schema import dropped, validate_recordings
from neuromvm.specs import DataSpec, SampleSpec, SplitSpec, load_data_spec
from tests.data.nwb_files import calcium_spec, spike_spec, write_spikes

COUPLED = SimulationConfig.model_validate(
    {"animals": {"ada": {"units": 20, "trials": 40}, "bob": {"units": 8, "trials": 40}}, "theta_coupling": 0.8}
)
SERIES = "processing/ecephys/LFP/lfp"


def away(angle, other) -> np.ndarray:
    """Return the distance of angles on the circle [rad]."""
    return np.abs(np.angle(np.exp(1j * (np.asarray(angle, dtype=float) - np.asarray(other, dtype=float)))))


@pytest.fixture(scope="module")
def coupled():
    return simulate(COUPLED, seed=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("theta")
    write_experiment(directory, COUPLED, seed=2)
    return directory


# --- simulation


def test_theta_stands_out_of_noise_whose_power_falls_with_frequency():
    lfp = simulate_theta(400.0, np.random.default_rng(0)).lfp.astype(float)
    frequency, power = welch(lfp, LFP_RATE, nperseg=1024)
    peak = frequency[np.where(frequency > 4, power, 0).argmax()]
    assert abs(peak - THETA) < 1
    assert power[np.abs(frequency - 8).argmin()] > 10 * power[np.abs(frequency - 20).argmin()]
    noise = pink_noise(100_000, LFP_RATE, 0.5, np.random.default_rng(1))
    frequency, power = welch(noise, LFP_RATE, nperseg=4096)
    inside = (frequency > 1) & (frequency < 100)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_without_coupling_the_field_potential_is_nothing_to_the_spikes():
    animals = {"ada": {"units": 6, "trials": 30}}
    plain, other = (simulate(SimulationConfig(animals=animals, odor_phase=phase)) for phase in (0.0, 3.0))
    coupled = simulate(SimulationConfig(animals=animals, theta_coupling=0.5))
    np.testing.assert_array_equal(plain.animals["ada"].lfp, coupled.animals["ada"].lfp)
    for unit, times in enumerate(plain.animals["ada"].spike_times):
        np.testing.assert_array_equal(times, other.animals["ada"].spike_times[unit])
    assert sum(map(len, plain.animals["ada"].spike_times)) != sum(map(len, coupled.animals["ada"].spike_times))


@pytest.mark.parametrize("coupling", [0.0, 0.8])
def test_coupled_units_fire_at_the_phase_they_prefer(coupling):
    config = SimulationConfig(
        animals={"ada": {"units": 12, "trials": 60}}, theta_coupling=coupling, shared_strength=0, private_strength=0
    )
    truth, counts = simulate(config).truth["ada"].to_dataset(), recordings_from(simulate(config))["ada"]["spike_count"]
    phases = [np.repeat(truth["theta_phase"].values.ravel(), counts[..., unit].values.ravel()) for unit in range(12)]
    busy = [unit for unit in range(12) if len(phases[unit]) > 500]
    assert len(busy) > 3
    error = np.array([away(circmean(phases[unit]), truth["theta_preferred"][unit]) for unit in busy])
    assert (error < 0.35).all() if coupling else (error > 0.35).any()
    locking = [np.abs(np.exp(1j * phases[unit]).mean()) for unit in busy]
    # of a rate exp(c cos x) the resultant is I1(c) / I0(c), 0.37 for 0.8, less where units cannot fire faster
    assert (min(locking) > 0.2 and max(locking) < 0.45) if coupling else max(locking) < 4 / np.sqrt(500)


def test_truth_has_the_phase_of_the_written_field_potential(coupled):
    for name, animal in coupled.animals.items():
        truth = coupled.truth[name].to_dataset()
        steps = np.rint((truth["onset"].values[:, None] + coupled.truth["time"].values) * LFP_RATE).astype(int)
        lfp = animal.lfp[steps].astype(float)
        assert np.corrcoef(lfp.ravel(), np.cos(truth["theta_phase"].values).ravel())[0, 1] > 0.5
        assert len(animal.lfp) == round(animal.duration * LFP_RATE)
        cycles = np.diff(np.unwrap(truth["theta_phase"].values), axis=1).mean() / STEP / (2 * np.pi)
        assert cycles == pytest.approx(THETA, abs=0.3)


# --- phase of a signal


@pytest.mark.parametrize("rate", [25.0, 50.0, 250.0, 1000.0])
@pytest.mark.parametrize("frequency", [7.0, 8.0, 9.0])
def test_phase_of_a_sinusoid_is_recovered(rate, frequency):
    times = 100 + np.arange(round(6 * rate)) / rate
    true = 2 * np.pi * frequency * times + 1.2
    at = np.random.default_rng(0).uniform(100 + EDGE, 106 - EDGE - 1 / rate, (5, 40))
    found = phase_at(3e-4 * np.cos(true), times, at)
    assert found.shape == (5, 40)
    assert away(found, 2 * np.pi * frequency * at + 1.2).max() < 0.1
    assert away(np.angle(band_phase(np.cos(true), rate)), true)[round(rate) : -round(rate)].max() < 0.03


def test_phase_in_noise_is_right_on_average():
    theta = simulate_theta(300.0, np.random.default_rng(3))
    times = np.arange(len(theta.lfp)) / LFP_RATE
    at = np.random.default_rng(4).uniform(1, 299, 5000)
    error = np.exp(1j * (phase_at(theta.lfp.astype(float), times, at) - theta.phase_at(at)))
    assert np.abs(error.mean()) > 0.95
    assert abs(np.angle(error.mean())) < 0.02, "a filter that runs both ways delays nothing"


def test_gaps_and_ends_have_no_phase_and_do_not_touch_the_rest():
    times = np.arange(2500) / 250
    true = 2 * np.pi * 8 * times
    signal = np.cos(true)
    signal[1000:1100] = np.nan
    kept = np.flatnonzero((np.arange(2500) < 1800) | (np.arange(2500) >= 1900))
    found = phase_at(signal[kept], times[kept], times)
    known = np.isfinite(found)
    edge = EDGE + 1 / 250
    for begin, end in ((0, 0), (3.996, 4.4), (7.196, 7.6), (9.996, 9.996)):
        assert not known[(times > begin - edge + 0.01) & (times < end + edge - 0.01)].any()
    inside = np.zeros(2500, dtype=bool)
    for begin, end in ((0, 3.996), (4.4, 7.196), (7.6, 9.996)):
        inside |= (times > begin + edge) & (times < end - edge)
    assert known[inside].all()
    assert away(found[known], true[known]).max() < 0.1


def test_a_signal_without_a_phase_is_refused():
    times = np.arange(1000) / 250
    signal = np.cos(2 * np.pi * 8 * times)
    jittered = times + np.random.default_rng(0).uniform(-0.001, 0.001, 1000)
    for wrong, message in (
        ((signal, jittered, times), "irregular timestamps"),
        ((signal, times * 20, times), "12.5 samples a second"),
        ((signal[:150], times[:150], times), "no stretch without a gap above 0.6 s"),
        ((np.where(np.arange(1000) % 200 < 3, np.nan, signal), times, times), "no stretch without a gap"),
        ((np.full(1000, np.nan), times, times), "0 finite samples"),
    ):
        with pytest.raises(DataFormatError, match=message):
            phase_at(*wrong)
    with pytest.raises(DataFormatError, match="at least"):
        band_phase(signal[:150], 250.0)
    assert np.isnan(phase_at(np.zeros(1000), times, times)).all(), "a flat line has no phase"


# --- NWB files


def test_phase_from_a_file_is_that_of_the_simulation(folder):
    recordings = load_recordings(load_data_spec("simulated_rats_theta"), folder)
    without = load_recordings(load_data_spec("simulated_rats"), folder)
    truth = read_truth(folder)
    for name, node in recordings.children.items():
        found = node["theta_phase"]
        assert found.dims == ("trial", "time")
        error = np.exp(1j * (found.values - truth[name]["theta_phase"].values))
        assert np.abs(error.mean()) > 0.95
        assert abs(np.angle(error.mean())) < 0.03
        xr.testing.assert_equal(node.to_dataset().drop_vars("theta_phase"), without[name].to_dataset())


def test_file_holds_the_field_potential_in_volts(folder, coupled):
    (path,) = folder.glob("sub-ada/*.nwb")
    with pynwb.NWBHDF5IO(path, "r") as io:
        (series,) = io.read().processing["ecephys"]["LFP"].electrical_series.values()
        assert series.rate == LFP_RATE
        np.testing.assert_array_equal(series.data[:, 0], coupled.animals["ada"].lfp)
        assert series.conversion == VOLT
        assert 1e-5 < series.data[:, 0].std() * series.conversion < 1e-3


def test_all_that_reads_recordings_takes_those_with_a_phase(folder, tmp_path):
    recordings = validate_recordings(load_recordings(load_data_spec("simulated_rats_theta"), folder))
    plain = load_recordings(load_data_spec("simulated_rats"), folder)
    spec = SampleSpec(label=["odor"], start=0, stop=1, width=0.5, bin_width=0.1)
    for name, node in make_samples(recordings, spec).children.items():
        xr.testing.assert_identical(node.to_dataset(), make_samples(plain, spec)[name].to_dataset())
    assert make_splits(make_samples(recordings, spec), SplitSpec()).children
    assert describe(recordings)["mean_activity"].equals(describe(plain)["mean_activity"])
    write_tree(tmp_path / "recordings.nc", recordings)
    xr.testing.assert_equal(read_tree(tmp_path / "recordings.nc"), recordings)


def write_lfp(path: Path, data, rate=250.0, timestamps=None, names=("lfp",), starting_time=0.0) -> Path:
    """Write the tiny file of spikes with field potentials beside them."""
    write_spikes(path, regions=["CA1"] * 3)
    clock = {"timestamps": timestamps} if timestamps is not None else {"rate": rate, "starting_time": starting_time}
    with pynwb.NWBHDF5IO(path, "a") as io:
        file = io.read()
        container = LFP(name="LFP")
        file.create_processing_module(name="ecephys", description="field potential").add(container)
        channels = 1 if np.ndim(data) == 1 else np.shape(data)[1]
        for name in names:
            region = file.create_electrode_table_region(region=list(range(channels)), description="all")
            container.add_electrical_series(ElectricalSeries(name=name, data=data, electrodes=region, **clock))
        io.write(file)
    return path


def sinusoids(seconds=18.0, rate=250.0, start=0.0) -> np.ndarray:
    """Return two channels, the second a quarter of a cycle after the first."""
    times = start + np.arange(round(seconds * rate)) / rate
    return np.stack([np.cos(2 * np.pi * 8 * times), np.cos(2 * np.pi * 8 * times - np.pi / 2)], axis=1)


def lfp_spec(**changes) -> DataSpec:
    return spike_spec(grid={"kind": "time", "align": "cue_time", "window": [-0.5, 0.5], "bin_width": 0.01}, lfp=changes)


def expected(recordings, lag=0.0) -> np.ndarray:
    return 2 * np.pi * 8 * (recordings["rat"]["onset"].values[:, None] + recordings["time"].values) - lag


def test_channels_are_told_apart_and_time_runs_from_the_start_of_the_session(tmp_path):
    write_lfp(tmp_path / "a.nwb", sinusoids(start=-2.0, seconds=22), starting_time=-2.0)
    for channel, lag in ((0, 0.0), (1, np.pi / 2)):
        found = load_recordings(lfp_spec(channel=channel), tmp_path)
        assert away(found["rat"]["theta_phase"], expected(found, lag)).max() < 0.1
        assert found["rat"]["theta_phase"].attrs["channel"] == channel
    found = load_recordings(lfp_spec(series=SERIES), tmp_path)
    assert away(found["rat"]["theta_phase"], expected(found)).max() < 0.1
    assert dropped(found["rat"].to_dataset()) == []


def test_integers_timestamps_and_one_dimension_are_read_too(tmp_path):
    data = np.rint(1000 * sinusoids()[:, 0]).astype(np.int16)
    write_lfp(tmp_path / "a.nwb", data, timestamps=np.arange(len(data)) / 250)
    found = load_recordings(lfp_spec(), tmp_path)
    # the first trial begins half a second after the recording
    assert away(found["rat"]["theta_phase"], expected(found)).max() < 0.1


def test_bins_without_a_phase_are_counted(tmp_path):
    data = sinusoids()
    data[round(3.9 * 250) : round(4.1 * 250)] = np.nan  # in the middle of the second trial
    write_lfp(tmp_path / "a.nwb", data)
    found = load_recordings(lfp_spec(), tmp_path)["rat"].to_dataset()
    unknown = np.isnan(found["theta_phase"].values)
    assert unknown[1].sum() in range(68, 73)
    assert unknown[[0, 2, 3, 4, 5]].sum() == 0
    (line,) = dropped(found)
    assert (line.what, line.count) == ("bins of theta phase", unknown.sum())


@pytest.mark.parametrize(
    ("settings", "written", "kind", "message"),
    [
        ({"channel": 2}, {}, DataFormatError, "2 channels"),
        ({"series": "processing/ecephys/LFP/lpf"}, {}, MissingTableError, "Did you mean 'processing/ecephys/LFP/lfp'"),
        ({}, {"names": ("one", "two")}, MissingTableError, "2 field potentials.*lfp.series"),
        ({}, {"rate": 20.0}, DataFormatError, "20 samples a second"),
        ({"band": (6, 9)}, {"rate": 18.0}, DataFormatError, "18 samples a second"),
        ({}, {"data": sinusoids(0.8)}, DataFormatError, "no stretch"),
        ({}, {"starting_time": 500.0}, AlignmentError, "a field potential during the trials"),
        ({}, {"timestamps": np.sort(np.random.default_rng(0).uniform(0, 18, 4500))}, DataFormatError, "irregular"),
    ],
)
def test_a_field_potential_that_does_not_fit_is_refused(tmp_path, settings, written, kind, message):
    write_lfp(tmp_path / "a.nwb", **{"data": sinusoids(), **written})
    with pytest.raises(kind, match=message):
        load_recordings(lfp_spec(**settings), tmp_path)


def test_a_file_without_a_field_potential_says_so(tmp_path):
    write_spikes(tmp_path / "a.nwb")
    with pytest.raises(MissingTableError, match=r"no field potentials.*Leave 'lfp' out"):
        load_recordings(lfp_spec(), tmp_path)


def test_sessions_of_one_animal_are_joined_with_their_phases(tmp_path):
    for number, lag in enumerate((0.0, 1.0)):
        times = np.arange(4500) / 250
        write_lfp(tmp_path / f"{number}.nwb", np.cos(2 * np.pi * 8 * times - lag))
    spec = DataSpec.model_validate(lfp_spec().model_dump() | {"sessions": "concatenate", "match_units": "id"})
    found = load_recordings(spec, tmp_path)
    lags = np.repeat([0.0, 1.0], 6)[:, None]
    assert found["rat"].sizes["trial"] == 12
    assert away(found["rat"]["theta_phase"], expected(found, lags)).max() < 0.1


def test_impossible_specs_are_refused():
    position = {"kind": "position", "series": "processing/behavior/Position/place", "bins": 4}
    with pytest.raises(ValidationError, match="no theta phase"):
        calcium_spec(position, lfp={})
    with pytest.raises(ValidationError, match="does not rise"):
        spike_spec(lfp={"band": [10, 6]})
    with pytest.raises(ValidationError, match="theta_phase"):
        spike_spec(trials={"labels": {"theta_phase": "odor"}})
    published = load_data_spec("published_rats").model_dump()
    with pytest.raises(ValidationError, match="name the file of field potentials"):
        DataSpec.model_validate(published | {"lfp": {}})


# --- arrays


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    rats = {"mitt": {"units": 4, "trials": 20}, "superchris": {"units": 3, "trials": 20}}
    write_published_layout(directory, SimulationConfig.model_validate({"animals": rats}), seed=1)
    return directory


def array_spec(**changes) -> DataSpec:
    published = load_data_spec("published_rats").model_dump() | {"shift": {"mitt": 0.25}}
    return DataSpec.model_validate(published | {"lfp": {"series": "_lfp_data_sampled.npy", **changes}})


def test_phase_of_arrays_is_that_of_the_simulation(arrays):
    found, truth = load_recordings(array_spec(channel=3), arrays), read_truth(arrays)
    for name, first in (("mitt", 25), ("superchris", 0)):
        phase = found[name]["theta_phase"].values
        unknown = np.isnan(phase)
        # 0.25 s at both ends of the 4 s of a trial; the grid begins at the shift
        assert unknown[:, : 25 - first].all()
        assert not unknown[:, 25 - first : 375 - first].any()
        error = np.exp(1j * (phase - truth[name]["theta_phase"].values[:, first : first + 375]))[~unknown]
        assert np.abs(error.mean()) > 0.93
        assert abs(np.angle(error.mean())) < 0.05
        assert "_lfp_data_sampled.npy" in found[name].attrs["source_file"]
        assert found[name].attrs["sha256"].count(",") == 2


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda array: array[:, :399], "399 bins"),
        (lambda array: array[:10], "10 trials"),
        (lambda array: array[:, :, 0], "shape"),
        (lambda array: array[:, :, :2], "2 channels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, tmp_path, edit, message):
    array = np.load(arrays / "mitt/mitt_lfp_data_sampled.npy")
    own = tmp_path / "mitt"
    own.mkdir()
    for name in ("mitt_trial_info.npy", "mitt_spike_data_binned.npy"):
        (own / name).write_bytes((arrays / "mitt" / name).read_bytes())
    with pytest.raises(DataFormatError, match=r"no mitt_lfp_data_sampled\.npy"):
        load_recordings(array_spec(), tmp_path)
    np.save(own / "mitt_lfp_data_sampled.npy", edit(array))
    with pytest.raises(DataFormatError, match=message):
        load_recordings(array_spec(channel=2), tmp_path)
