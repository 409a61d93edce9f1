"""Features made in a step are those made beforehand, and scalers fitted block by block are those fitted at once."""

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.preprocessing import StandardScaler

from neuromvm.data import memory
from neuromvm.data.features import SMALLEST_NOISE, Scaler, Transform, features, recorded_features
from neuromvm.data.memory import MemoryBudget
from neuromvm.specs import SampleSpec
from neuromvm.training import device_data as resident_activity
from neuromvm.training.device_data import DeviceActivity

CHOSEN = torch.tensor([[3, 0, 3], [11, 7, 1]])


def activity(kind: str, *, mapped: bool) -> xr.DataArray:
    random = np.random.default_rng(0)
    counts = random.poisson(2.0, (6, 2, 4, 5))
    counts[0, 0, 0, 0], counts[3, 1, 2, 4] = {"uint16": (65_535, 40_000), "uint32": (100_000, 70_000)}.get(kind, (255, 200))
    values = random.normal(size=counts.shape).astype(kind) if kind.startswith("float") else counts.astype(kind)
    kept = MemoryBudget(0 if mapped else 10**9).concatenate(len(values), [values])
    attrs = {"kind": "spike_count" if kind.startswith("u") else "event_amplitude", "bin_width": 0.1}
    return xr.DataArray(kept, dims=("trial", "window", "bin", "unit"), attrs=attrs)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "float32"])
@pytest.mark.parametrize("settings", [{}, {"transform": "log1p"}, {"transform": "none"}, {"smooth": 0.2}], ids=str)
@pytest.mark.parametrize("little", [0, resident_activity.LITTLE])
def test_features_made_when_asked_for_are_those_made_beforehand(settings, kind, mapped, little, monkeypatch):
    monkeypatch.setattr(resident_activity, "LITTLE", little)
    values, spec = activity(kind, mapped=mapped), SampleSpec(label="odor", **settings)
    recorded = recorded_features(values).reshape(12, 20)
    resident = DeviceActivity(recorded, Transform.of(values, spec), torch.device("cpu"))
    np.testing.assert_array_equal(resident.features(CHOSEN), features(values, spec).reshape(12, 20)[CHOSEN])
    np.testing.assert_array_equal(resident.recorded(CHOSEN), recorded[CHOSEN].astype(np.float32))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("settings", [{}, {"smooth": 0.2}], ids=str)
@pytest.mark.parametrize("little", [0, resident_activity.LITTLE])
def test_features_are_the_same_where_recorded_activity_is_not_scored(settings, kind, little, monkeypatch):
    monkeypatch.setattr(resident_activity, "LITTLE", little)
    values, spec = activity(kind, mapped=False), SampleSpec(label="odor", **settings)
    recorded = recorded_features(values).reshape(12, 20)
    resident = DeviceActivity(recorded, Transform.of(values, spec), torch.device("cpu"), scored=False)
    np.testing.assert_array_equal(resident.features(CHOSEN), features(values, spec).reshape(12, 20)[CHOSEN])


def test_little_activity_that_is_in_a_file_stays_there_alone(monkeypatch):
    values = activity("uint8", mapped=True)
    recorded = recorded_features(values).reshape(12, 20)
    monkeypatch.setattr(resident_activity, "MemoryBudget", lambda: pytest.fail("features were made beforehand"))
    DeviceActivity(recorded, Transform.of(values, SampleSpec(label="odor")), torch.device("cpu"))


def test_what_is_done_to_features_does_not_reach_the_recording():
    values = activity("float32", mapped=False)
    before = values.copy(deep=True)
    transform = Transform.of(values, SampleSpec(label="odor", transform="none"))
    resident = DeviceActivity(recorded_features(values).reshape(12, 20), transform, torch.device("cpu"))
    resident.features(CHOSEN).zero_()
    resident.recorded(CHOSEN).zero_()
    xr.testing.assert_identical(values, before)


@pytest.mark.parametrize("block", [100, 2**22])
def test_scalers_fitted_in_blocks_are_those_of_all_samples(block, monkeypatch):
    monkeypatch.setattr(memory.row_blocks, "__defaults__", (block,))
    random = np.random.default_rng(0)
    training = (random.normal(size=(60, 6)) * [1, 2, 3, 4, 5, 0] + 1000).astype(np.float32)
    found, expected = Scaler.fit(training), StandardScaler().fit(training.astype(np.float64))
    np.testing.assert_allclose(found.center, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(found.spread, expected.scale_, rtol=1e-5)

    codes = np.resize([0, 1, 2, -1], 60)
    within = [training[codes == code].astype(float) for code in (0, 1, 2)]
    squares = sum(np.square(one - one.mean(axis=0)).sum(axis=0) for one in within) / (45 - 3)
    noise = Scaler.fit_noise(training, codes, units=3)
    np.testing.assert_allclose(noise.spread, np.tile(np.sqrt(squares.reshape(2, 3).mean(axis=0)), 2) + SMALLEST_NOISE, rtol=1e-4)
    np.testing.assert_allclose(noise.center, training.mean(axis=0, dtype=float), rtol=1e-6)
