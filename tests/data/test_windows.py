"""Windows, labels and match codes."""

import numpy as np
import pytest

from neuromvm import schema
from neuromvm.data.features import Scaler, features, fit_scaler
from neuromvm.data.windows import classes, make_path_samples, make_samples, sample_spec
from neuromvm.errors import AlignmentError, SchemaError
from neuromvm.specs import SampleSpec
from tests.conftest import tuned_recordings, with_trial_label


@pytest.fixture(scope="module")
def recordings():
    return tuned_recordings({"mitt": (4, 12), "stella": (3, 9)})


def test_bins_sum_the_counts_of_their_time(recordings):
    samples = make_samples(recordings, SampleSpec(start=-0.5, stop=0.5, width=0.4, step=0.3, bin_width=0.2, label=["odor"]))
    counts = recordings["mitt"]["spike_count"].values  # 100 ms bins from -1 s
    activity = samples["mitt"]["activity"].values
    assert activity.shape == (12, 3, 2, 4)
    for window, begin in enumerate((5, 8, 11)):
        np.testing.assert_array_equal(activity[:, window, 1], counts[:, begin + 2 : begin + 4].sum(1))
    np.testing.assert_allclose(samples["mitt"]["window"], [-0.3, 0.0, 0.3])


def test_labels_have_the_same_codes_in_every_animal(recordings):
    samples = make_samples(recordings, SampleSpec(label=["odor"]))
    assert classes(samples) == ["A", "B", "C"]
    for name, dataset in schema.animals(samples):
        np.testing.assert_array_equal(np.array(classes(samples))[dataset["label"].values[:, 0]], recordings[name]["odor"].values)


def test_a_label_may_name_the_window(recordings):
    samples = make_samples(recordings, SampleSpec(start=0, stop=1, width=0.5, label=["odor"], match=["odor", "window"]))
    assert len(np.unique(samples["mitt"]["match"])) == 6
    assert len(np.unique(samples["mitt"]["label"])) == 3


def test_a_filter_drops_trials_and_says_so(recordings):
    samples = make_samples(recordings, SampleSpec(label=["odor"], keep={"odor": ["A", "B"]}))
    assert samples["mitt"].sizes["trial"] == 8
    assert [(line.what, line.count) for line in schema.dropped(samples["mitt"].to_dataset())] == [("trial", 4)]


@pytest.mark.parametrize("stored", [np.array([True, False]), np.array([1, 0]), np.array([1.0, 0.0]), np.array(["1", "0"])])
def test_a_filter_means_the_same_whatever_type_the_file_stored(recordings, stored):
    tree = with_trial_label(recordings, "correct", lambda animal: np.resize(stored, animal.sizes["trial"]))
    for wanted in ([1], [True], ["1"]):
        samples = make_samples(tree, SampleSpec(label=["odor"], keep={"correct": wanted}))
        assert samples["mitt"].sizes["trial"] == 6


def test_path_samples_have_the_training_windows_features(recordings):
    spec = SampleSpec(start=0, stop=1, bin_width=0.5, label=["odor"], path_step=0.2)
    path = make_path_samples(recordings, spec)
    assert path["mitt"]["activity"].shape == (12, 6, 2, 4)
    there = int(np.flatnonzero(np.isclose(path["mitt"]["window"], 0.5))[0])
    np.testing.assert_array_equal(path["mitt"]["activity"][:, there], make_samples(recordings, spec)["mitt"]["activity"][:, 0])


def test_the_spec_travels_with_the_samples(recordings):
    spec = SampleSpec(label=["odor"], transform="log1p", clip=3)
    assert sample_spec(make_samples(recordings, spec)) == spec


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"start": 0, "stop": 3}, "inside the grid -1 to 1"),
        ({"start": 0.05, "stop": 1}, "whole number of the data's bins"),
        ({"start": 0, "stop": 1, "bin_width": 0.3}, "divisor of the window"),
        ({"start": 0, "stop": 0.2, "width": 0.5}, "inside the grid"),
    ],
)
def test_windows_that_do_not_fit_are_refused(recordings, settings, complaint):
    with pytest.raises(AlignmentError, match=complaint):
        make_samples(recordings, SampleSpec(label=["odor"], **settings))


def test_an_unknown_label_is_refused_with_the_nearest_name(recordings):
    with pytest.raises(SchemaError, match="Did you mean 'odor'"):
        make_samples(recordings, SampleSpec(label=["odour"]))


def test_one_class_is_refused(recordings):
    with pytest.raises(SchemaError, match="one class only"):
        make_samples(recordings, SampleSpec(label=["odor"], keep={"odor": ["A"]}))


def test_a_filter_that_leaves_nothing_is_refused_with_the_values(recordings):
    with pytest.raises(SchemaError, match=r"'A'.*'B'.*'C'"):
        make_samples(recordings, SampleSpec(label=["odor"], keep={"odor": ["D"]}))


def test_features_are_bin_major_and_scaled_by_training_statistics(recordings):
    samples = make_samples(recordings, SampleSpec(start=0, stop=1, bin_width=0.5, label=["odor"]))
    flat = features(samples["mitt"]["activity"], sample_spec(samples))
    assert flat.shape == (12, 1, 8)
    np.testing.assert_allclose(flat[:, 0, 4:] ** 2, samples["mitt"]["activity"][:, 0, 1], rtol=1e-5)
    training = flat[:6, 0]
    scaled = Scaler.fit(training)(flat[:, 0])
    np.testing.assert_allclose(scaled[:6].mean(0), 0, atol=1e-5)
    changed = flat.copy()
    changed[6:] = 100
    np.testing.assert_array_equal(Scaler.fit(changed[:6, 0])(flat[:, 0]), scaled)


@pytest.mark.parametrize(
    "missing",
    [np.array(["A", "B", ""]), np.array([1.5, 2.5, np.nan]), np.array(["A", "B", None]), np.array(["A", "B", np.nan], object)],
)
def test_trials_without_a_label_are_left_out_and_counted(recordings, missing):
    tree = with_trial_label(recordings, "cue", lambda animal: np.resize(missing, animal.sizes["trial"]))
    samples = make_samples(tree, SampleSpec(label="cue"))
    assert len(classes(samples)) == 2
    assert samples["mitt"].sizes["trial"] == 8
    assert [tuple(line) for line in schema.dropped(samples["mitt"].to_dataset())] == [("trial", "cue has no value", 4)]


def test_noise_scale_is_the_pooled_deviation_of_each_unit_within_classes(recordings):
    samples = make_samples(recordings, SampleSpec(start=0, stop=1, bin_width=0.5, label="odor", scale="noise"))
    flat = features(samples["mitt"]["activity"], sample_spec(samples))[:, 0]
    codes = samples["mitt"]["match"].values[:, 0]
    scaler = fit_scaler(sample_spec(samples), flat, codes, units=4, kind="counts")
    for unit in range(4):
        # One-way analysis of variance of each bin; equal degrees of freedom, so mean squares average over bins.
        within = [np.mean([flat[codes == code, b * 4 + unit].var(ddof=1) for code in range(3)]) for b in range(2)]
        assert scaler.spread[unit] == pytest.approx(np.sqrt(np.mean(within)) + 0.05, rel=1e-4)
        assert scaler.spread[4 + unit] == scaler.spread[unit]


def test_smoothing_mixes_bins_and_not_units(recordings):
    spec = SampleSpec(start=0, stop=0.8, bin_width=0.2, label="odor", transform="none", smooth=0.2)
    plain = make_samples(recordings, spec)["mitt"]["activity"]
    smooth = features(plain, spec).reshape(12, 4, 4)
    lag = np.subtract.outer(np.arange(4), np.arange(4))
    # Products of smoothed activity are those of activity under the kernel.
    one, other = plain.values[0, 0].astype(float), plain.values[1, 0].astype(float)
    expected = np.einsum("bu,bc,cu->u", one, np.exp(-0.5 * lag**2), other)
    np.testing.assert_allclose((smooth[0] * smooth[1]).sum(0), expected, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_a_feature_that_never_varied_in_training_does_not_explode(count):
    training = np.full((75, 1), np.sqrt(count), np.float32)
    later = Scaler.fit(training)(np.array([[np.sqrt(count + 1)]], np.float32))
    assert abs(later.item()) <= 1


def speeds(recordings, different):
    """Return recordings whose trials have this number of different speeds, and how often each occurs at least."""
    return with_trial_label(recordings, "speed", lambda node: 0.5 * (np.arange(node.sizes["trial"]) % different))


def test_a_label_of_many_numbers_is_said_to_look_continuous(caplog):
    many = tuned_recordings({"mitt": (4, 80), "stella": (3, 66)})
    samples = make_samples(speeds(many, 30), SampleSpec(label=["odor", "speed"], match="odor"))
    assert len(caplog.messages) == 1
    assert "samples.label=speed: 30 different numbers from 0 to 14.5 in animal mitt. It looks continuous" in caplog.text
    assert "analyses: {continuous: {label: speed}}" in caplog.text
    assert len(classes(samples)) > 30
    caplog.clear()
    make_samples(speeds(many, 20), SampleSpec(label=["speed"]))
    assert caplog.messages == []


def test_a_label_with_a_number_of_its_own_in_most_trials_is_refused():
    many = speeds(tuned_recordings({"mitt": (4, 80), "stella": (3, 66)}), 41)
    with pytest.raises(SchemaError, match=r"41 different numbers.*in one trial.*analyses: \{continuous: \{label: speed\}\}"):
        make_samples(many, SampleSpec(label=["speed"]))
    make_samples(
        with_trial_label(many, "speed", lambda node: np.resize([f"v{n}" for n in range(41)], node.sizes["trial"])),
        SampleSpec(label=["speed"]),
    )
