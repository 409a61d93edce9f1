"""Null data: activity moves among trials of an animal, everything else stays."""

import numpy as np
import pytest
import xarray as xr

from analysis.calibration_design import session
from neuromvm.analysis.readouts.discriminant import fit_discriminants
from neuromvm.data.permutation import distinct_shifts, draw_permutation, permuted
from neuromvm.errors import SchemaError
from tests.analysis.simulation import simulate
from tests.conftest import with_trial_label


def test_activity_moves_and_labels_stay():
    samples = simulate(windows=2).samples
    null = permuted(samples, 1)
    for name, node in samples.children.items():
        rows, moved = (tree[name]["activity"].to_numpy().reshape(node.sizes["trial"], -1) for tree in (samples, null))
        assert (rows != moved).any()
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(moved, axis=0))
        assert null[name]["label"].identical(node["label"])
    assert null.attrs == samples.attrs


def test_number_0_is_the_data_and_numbers_differ():
    samples = simulate().samples
    assert permuted(samples, 0).identical(samples)
    assert not permuted(samples, 1).identical(permuted(samples, 2))
    assert permuted(samples, 3).identical(permuted(samples, 3))


def test_an_animal_is_permuted_alike_whoever_else_is_there():
    samples = simulate().samples
    name = list(samples.children)[1]
    alone = samples.filter(lambda node: node.name in (None, name))
    assert permuted(alone, 1)[name].identical(permuted(samples, 1)[name])


def test_trials_stay_in_their_block():
    samples = simulate().samples
    samples = with_trial_label(samples, "block", lambda node: np.arange(node.sizes["trial"]) // 10)
    for name, node in samples.children.items():
        source = draw_permutation(name, node.to_dataset(), 1, within="block").trial
        np.testing.assert_array_equal(source // 10, np.arange(node.sizes["trial"]) // 10)
        assert (source != np.arange(len(source))).any()
    with pytest.raises(SchemaError, match="Did you mean 'block'"):
        draw_permutation(name, node.to_dataset(), 1, within="blok")


def test_labels_of_windows_are_shifted_circularly():
    samples = simulate(windows=3).samples
    name = next(iter(samples.children))
    dataset = samples[name].to_dataset().copy(deep=True)
    dataset["label"][:] = (dataset["label"].to_numpy() + np.arange(3)) % 4
    shift = draw_permutation(name, dataset, 1).shift
    assert set(shift.tolist()) == {0, 1, 2}
    source = draw_permutation(name, dataset, 1).samples().reshape(-1, 3)
    assert (source // 3 == source[:, :1] // 3).all()
    np.testing.assert_array_equal((source[:, 1] - source[:, 0]) % 3, 1)


def test_unlabelled_trials_keep_their_activity():
    samples = simulate().samples
    name = next(iter(samples.children))
    dataset = samples[name].to_dataset().copy(deep=True)
    dataset["label"][:5] = -1
    assert draw_permutation(name, dataset, 4).trial[:5].tolist() == [0, 1, 2, 3, 4]


def test_animals_with_equal_trials_are_permuted_differently():
    dataset = next(iter(simulate(windows=3).samples.children.values())).to_dataset()
    dataset = dataset.assign(label=(dataset["label"] + np.arange(3)) % 4)  # labels of windows differ: they are shifted too
    mitt, stella = (draw_permutation(name, dataset, 1) for name in ("mitt", "stella"))
    assert (mitt.trial != stella.trial).any()
    assert (mitt.shift != stella.shift).any()


def in_time(dataset, onset):
    return dataset.assign_coords(onset=("trial", np.asarray(onset, dtype=float)))


def test_labels_move_along_the_session_as_a_whole():
    dataset = next(iter(simulate().samples.children.values())).to_dataset()
    trials = dataset.sizes["trial"]
    onset = np.random.default_rng(0).permutation(trials)
    dataset, time = in_time(dataset, onset), np.argsort(onset)
    shifts = []
    for number in range(1, trials):
        source = draw_permutation("rat", dataset, number, rearrangement="shift").trial
        (shift,) = np.unique((onset[source] - onset) % trials)  # in time, every trial moves by the same number
        np.testing.assert_array_equal(onset[source[time]], (np.arange(trials) + shift) % trials)
        shifts.append(int(shift))
    assert sorted(shifts) == list(range(1, trials))
    assert distinct_shifts("rat", dataset) == trials - 1
    again = draw_permutation("rat", dataset, trials, rearrangement="shift").trial
    assert (onset[again[0]] - onset[0]) % trials in shifts


def test_shifts_leave_trials_in_their_block_and_unlabelled_trials_in_place():
    dataset = next(iter(simulate().samples.children.values())).to_dataset().copy(deep=True)
    trials = dataset.sizes["trial"]
    dataset["label"][3] = -1
    dataset = in_time(dataset, np.arange(trials)).assign_coords(block=("trial", np.arange(trials) // 20))
    source = draw_permutation("rat", dataset, 2, within="block", rearrangement="shift").trial
    assert source[3] == 3
    np.testing.assert_array_equal(source // 20, np.arange(trials) // 20)
    assert distinct_shifts("rat", dataset, "block") == 19 * 20 - 1
    moved = permuted(xr.DataTree.from_dict({"rat": dataset}), 2, within="block", rearrangement="shift")
    np.testing.assert_array_equal(moved["rat"]["activity"], dataset["activity"].to_numpy()[source])
    np.testing.assert_array_equal(moved["rat"]["label"], dataset["label"])


def accuracy(samples, order):
    """Return the accuracy of a discriminant on odd trials of a class, fitted on even ones, with activity in another order."""
    node = samples["rat"]
    label, activity = node["label"].to_numpy()[:, 0], node["activity"].to_numpy()[order, :, 0]
    tested = np.arange(len(label)) % 2 == 1
    predicted = fit_discriminants(activity[~tested], label[~tested]).predict(activity[tested])[:, 0, 0]
    return np.mean(predicted == label[tested])


def p_of(samples, rearrangement):
    dataset = samples["rat"].to_dataset()
    orders = [
        draw_permutation("rat", dataset, draw, rearrangement=rearrangement).trial for draw in range(1, dataset.sizes["trial"])
    ]
    null = [accuracy(samples, order) for order in orders]
    return (1 + (np.array(null) >= accuracy(samples, slice(None)) - 1e-9).sum()) / (1 + len(null))


def test_drift_of_sorted_trials_is_a_signal_to_permuted_labels_and_none_to_shifted_ones():
    found = {"permute": [], "shift": []}
    for seed in range(12):
        samples = session(runs=1, drift="wandering", signal=0.0, seed=seed)
        for rearrangement, p in found.items():
            p.append(p_of(samples, rearrangement))
    assert np.mean(np.array(found["permute"]) <= 0.05) > 0.5
    assert np.mean(np.array(found["shift"]) <= 0.05) < 0.25
    signal = [p_of(session(runs=2, drift="wandering", signal=1.5, seed=seed), "shift") for seed in range(4)]
    assert max(signal) <= 0.05
