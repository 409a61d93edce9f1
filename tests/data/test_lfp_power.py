"""Power of field potentials as activity: of the right band and channel, at the right time, beside spikes of another animal."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from scipy.signal import butter, sosfreqz

from neuromvm.data.loaders import load_recordings
from neuromvm.data.splits import make_splits
from neuromvm.data.theta import band_power
from neuromvm.data.windows import make_samples
from neuromvm.errors import DataFormatError, MissingTableError
from neuromvm.schema import dropped, validate_recordings
from neuromvm.specs import DataSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training.fit import fit
from tests.data.nwb_files import spike_spec, write_spikes
from tests.data.test_lfp import sinusoids, write_lfp

BANDS = [[4, 12], [20, 40]]


def power_spec(**activity) -> DataSpec:
    plain = spike_spec(grid={"kind": "time", "align": "cue_time", "window": [-0.5, 0.5], "bin_width": 0.1})
    return DataSpec.model_validate(plain.model_dump() | {"activity": {"kind": "lfp_power", "bands": BANDS, **activity}})


def test_power_of_noise_is_what_the_filter_lets_through():
    noise = np.random.default_rng(0).standard_normal(200_000)
    for band in ((6.0, 10.0), (30.0, 60.0)):
        frequency, gain = sosfreqz(butter(2, band, "bandpass", fs=250.0, output="sos"), 20_000, fs=250.0)
        passed = np.trapezoid(np.abs(gain) ** 4, frequency) / 125  # forth and back; white noise has its power up to 125 Hz
        assert band_power(noise, 250.0, band).mean() == pytest.approx(passed, rel=0.03)


def test_units_are_channels_and_bands(tmp_path):
    data = 1e-4 * sinusoids() * [1.0, 3.0]  # 8 Hz of 100 and 300 uV
    write_lfp(tmp_path / "a.nwb", data)
    found = load_recordings(power_spec(), tmp_path)
    rat = found["rat"].to_dataset()
    assert rat["channel"].values.tolist() == [0, 0, 1, 1]
    assert rat["band"].values.tolist() == ["4-12 Hz", "20-40 Hz"] * 2
    power = rat["event_amplitude"]
    assert power.attrs["units"] == "uV^2"
    np.testing.assert_allclose(power.sel(unit=0), 100**2 / 2, rtol=0.03)  # a sine's mean square
    np.testing.assert_allclose(power.sel(unit=2), 300**2 / 2, rtol=0.03)
    assert (power.sel(unit=[1, 3]) < 0.02 * power.sel(unit=[0, 2]).values).all()
    only = load_recordings(power_spec(channels=[1], series="processing/ecephys/LFP/lfp"), tmp_path)["rat"]
    np.testing.assert_array_equal(only["event_amplitude"], power.isel(unit=[2, 3]))
    validate_recordings(found)


def test_power_rises_when_the_rhythm_does(tmp_path):
    times = np.arange(4500) / 250
    data = 1e-4 * np.cos(2 * np.pi * 30 * times) * (np.mod(times - 1, 3) < 0.5)  # half a second from each cue on
    write_lfp(tmp_path / "a.nwb", data)
    power = load_recordings(power_spec(), tmp_path)["rat"]["event_amplitude"].sel(unit=1).mean("trial")
    assert (power[power["time"] > 0.1].values[:3] > 4000).all()
    assert (power[power["time"] < -0.1].values < 100).all()


def test_a_trial_with_a_bin_without_power_is_left_out_and_counted(tmp_path):
    data = sinusoids()
    data[round(3.9 * 250) : round(4.1 * 250)] = np.nan  # in the middle of the second trial
    write_lfp(tmp_path / "a.nwb", data)
    rat = load_recordings(power_spec(), tmp_path)["rat"].to_dataset()
    assert rat["trial"].values.tolist() == [0, 2, 3, 4, 5]
    lines = {line.what: line for line in dropped(rat)}
    assert lines["trials"].count == 1
    assert lines["samples of LFP power"].count == pytest.approx(
        250 * (0.2 + 4 * 0.25), abs=6
    )  # the gap, and the edges of two pieces


def test_one_model_of_spikes_of_one_animal_and_power_of_another(tmp_path):
    for folder in ("spikes", "lfp"):
        (tmp_path / folder).mkdir()
    write_spikes(tmp_path / "spikes" / "a.nwb")
    write_lfp(tmp_path / "lfp" / "a.nwb", 1e-4 * sinusoids())
    plain = power_spec().model_copy(update={"activity": spike_spec().activity})
    spikes, power = load_recordings(plain, tmp_path / "spikes"), load_recordings(power_spec(), tmp_path / "lfp")
    both = xr.DataTree(dataset=spikes.to_dataset(), children={"ada": spikes["rat"].copy(), "bob": power["rat"].copy()})
    samples = make_samples(both, SampleSpec(start=-0.5, stop=0.5, bin_width=0.5, label="odor"))
    splits = make_splits(samples, SplitSpec())
    model = ModelSpec(sharing="mmvm", latent=2, networks="linear", likelihood="poisson", likelihood_of={"bob": "gaussian"})
    fitted = fit(samples, splits, model, TrainingSpec(epochs=2), progress=False)
    assert fitted.embed(samples)["bob"].sizes["trial"] == 6


def test_what_cannot_be_had_is_refused(tmp_path):
    write_lfp(tmp_path / "a.nwb", sinusoids(), names=("one", "two"))
    with pytest.raises(MissingTableError, match=r"2 field potentials.*activity\.series"):
        load_recordings(power_spec(), tmp_path)
    with pytest.raises(DataFormatError, match="2 channels"):
        load_recordings(power_spec(series="processing/ecephys/LFP/one", channels=[2]), tmp_path)
    with pytest.raises(DataFormatError, match="250 samples a second"):
        load_recordings(power_spec(series="processing/ecephys/LFP/one", bands=[[60, 200]]), tmp_path)
    with pytest.raises(ValidationError, match="does not rise"):
        power_spec(bands=[[12, 4]])
