"""Quality of units: formulas against counts by hand, spikeinterface and simulation, and the filters of a spec."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.unit_quality import find_twins, isi_violations, presence_ratio
from neuromvm.schema import dropped
from tests.data.nwb_files import spike_spec, write_spikes


def poisson(rate: float, duration: float, random: np.random.Generator) -> np.ndarray:
    return np.sort(random.uniform(0, duration, random.poisson(rate * duration)))


def test_formulas_are_those_of_spikeinterface():
    metrics = pytest.importorskip("spikeinterface.metrics.quality.misc_metrics")
    random = np.random.default_rng(0)
    for rate in (0.05, 3.0, 60.0):
        train = poisson(rate, 600.0, random)
        ratio, _, _ = metrics.isi_violations([train], 600.0, 0.0015, 0.0005)
        assert isi_violations(train, 600.0, 0.0015, 0.0005) == pytest.approx(ratio)
        edges = np.arange(0, 601, 60.0)
        share = metrics.presence_ratio(train, bin_edges=edges)
        assert presence_ratio(train, np.array([[0.0, 600.0]]), 60.0) == pytest.approx(share)


def test_two_unrelated_neurons_together_have_the_ratio_of_hill_et_al():
    # A perfect unit at r_1 and a contaminating one at r_2 collide 2 r_1 r_2 (tau) T times; the ratio of rates follows.
    random = np.random.default_rng(1)
    duration = 4000.0
    clean = np.cumsum(0.0025 + random.exponential(1 / 20, 100_000))
    clean = clean[clean < duration]
    foreign = np.cumsum(0.0025 + random.exponential(1 / 2, 100_000))
    foreign = foreign[foreign < duration]
    assert isi_violations(clean, duration) == 0
    both = np.sort(np.r_[clean, foreign])
    rates = np.array([len(clean), len(foreign)]) / duration
    expected = rates.prod() / rates.sum() ** 2
    assert isi_violations(both, duration) == pytest.approx(expected, rel=0.1)


def test_presence_counts_whole_bins_of_each_interval():
    recorded = np.array([[0.0, 25.0], [100.0, 120.0]])
    # bins: 0-10 (filled), 10-20, 100-110 (filled), 110-120; 20-25 is no whole bin, and 50 is not recorded
    assert presence_ratio(np.array([5.0, 22.0, 50.0, 101.0, 102.0]), recorded, 10.0) == 0.5
    assert np.isnan(presence_ratio(np.array([1.0]), np.array([[0.0, 5.0]]), 10.0))


@given(st.lists(st.lists(st.integers(0, 60), max_size=12), min_size=2, max_size=4))
def test_twins_are_those_of_a_count_by_hand(trains):
    times = [np.sort(np.array(train, dtype=np.float64)) * 1e-4 for train in trains]
    found = {(pair.unit, pair.partner): pair.share for pair in find_twins(times, 0.5, 2.5e-4)}
    expected = {}
    for unit in range(len(times)):
        for other in range(unit + 1, len(times)):
            small, large = (unit, other) if len(times[unit]) <= len(times[other]) else (other, unit)
            near = [any(abs(spike - partner) <= 2.5e-4 for partner in times[large]) for spike in times[small]]
            if near and np.mean(near) >= 0.5:
                expected[small, large] = np.mean(near)
    assert found == pytest.approx(expected)


def test_the_spec_filters_units_counts_them_and_keeps_the_metrics(tmp_path):
    random = np.random.default_rng(2)
    steady = [np.sort(random.uniform(0, 17, 300)) for _ in range(2)]
    copied = np.delete(steady[0], slice(0, 300, 6)) + 1e-4
    early = np.arange(0, 4, 0.01)
    burst = np.sort(np.r_[np.arange(0, 17, 0.1), np.arange(0, 17, 0.1) + 0.001])
    slow = np.array([1.0, 9.0])
    write_spikes(tmp_path / "a.nwb", trains=[*steady, copied, early, burst, slow, np.array([0.0, 17.0])])
    quality = {"min_rate": 0.2, "min_presence": 0.9, "presence_bin": 1.0, "max_isi_violations": 0.9, "twins": "remove"}
    rat = load_recordings(spike_spec(activity={"quality": quality}), tmp_path)["rat"].to_dataset()
    assert rat["unit"].values.tolist() == [0, 1]
    assert [(line.reason, line.count) for line in dropped(rat)] == [
        ("rate over the recording below 0.2 Hz", 2),
        ("presence ratio below 0.9", 1),
        ("ISI violations ratio above 0.9", 1),
        ("at least 0.5 of its spikes are those of a unit with more spikes: recorded twice", 1),
    ]
    assert rat["recording_rate"].values == pytest.approx(300 / 17, rel=1e-3)
    reported = load_recordings(spike_spec(activity={"quality": {"twins": "report"}}), tmp_path)["rat"]
    assert reported.sizes["unit"] == 7
    assert dict(zip(reported["unit"].values.tolist(), reported["twin"].values.tolist(), strict=True))[2] == "0"


def test_quality_needs_no_trial_and_changes_no_count(tmp_path):
    write_spikes(tmp_path / "a.nwb")
    plain = load_recordings(spike_spec(), tmp_path)["rat"]["spike_count"]
    judged = load_recordings(spike_spec(activity={"quality": {}}), tmp_path)["rat"]["spike_count"]
    assert np.array_equal(plain, judged)
