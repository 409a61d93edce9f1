"""Designs in which time can pass for the label are seen from labels, splits and activity."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binomtest

from neuromvm.data.design import DRIFT, FEW_RUNS, SORTED, design_flags, drift
from neuromvm.data.splits import make_splits
from neuromvm.schema import Part
from neuromvm.specs import SplitSpec

HALVES = SplitSpec(kind="halves", repeats=1)


def samples_of(labels, *, slope=0.0, units=10, seed=0):
    """Return samples of one animal with these codes in time; activity is noise and drifts by ``slope`` over the session."""
    rng = np.random.default_rng(seed)
    trials = len(labels)
    activity = rng.standard_normal((trials, units)) + slope * np.linspace(-1, 1, trials)[:, None] * rng.standard_normal(units)
    codes = np.asarray(labels, dtype=np.int16)[:, None]
    label = xr.DataArray(codes, dims=("trial", "window"), attrs={"classes": json.dumps(list("ABCD"))})
    shuffled = rng.permutation(trials)  # trials of a file need not follow in time
    dataset = xr.Dataset(
        {"activity": (("trial", "window", "bin", "unit"), activity[:, None, None], {"kind": "event_amplitude"})},
        coords={"trial": np.arange(trials), "onset": ("trial", 3.0 * np.arange(trials)), "window": [0.0]},
    ).assign(label=label, match=label)
    samples = xr.DataTree.from_dict({"rat": dataset.isel(trial=shuffled)})
    samples.attrs = {"classes": json.dumps(list("ABCD")), "label": "odor"}
    return samples


def flags_of(samples, splits=None):
    return {flag.flag: flag.words for flag in design_flags(samples, splits or make_splits(samples, HALVES))}


def test_labels_in_random_order_are_not_flagged():
    for seed in range(5):
        labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), 12))
        assert not {SORTED, FEW_RUNS} & set(flags_of(samples_of(labels, seed=seed)))


@pytest.mark.parametrize(("runs", "flag"), [(1, SORTED), (2, FEW_RUNS), (3, FEW_RUNS), (4, None)])
def test_runs_of_a_class_are_counted_in_time(runs, flag):
    labels = np.tile(np.repeat(np.arange(4), 12 // runs), runs)
    found = set(flags_of(samples_of(labels))) - {DRIFT}
    assert found == ({flag} if flag else set())


def test_single_trials_of_a_class_are_no_runs():
    assert not flags_of(samples_of(np.tile(np.arange(4), 3)), make_splits(samples_of(np.tile(np.arange(4), 3)), HALVES))


def test_it_is_said_whether_runs_are_on_both_sides():
    labels = np.tile(np.repeat(np.arange(4), 6), 2)
    samples = samples_of(labels)
    splits = make_splits(samples, HALVES)
    assert flags_of(samples, splits)[FEW_RUNS] == "2.0 runs of trials a class on average; 100% of the scored runs also train"
    onset = samples["rat"]["onset"].to_numpy()
    part = np.where(onset < 72, Part.TRAIN, Part.TEST).astype(np.int8)[None]
    apart = xr.DataTree.from_dict({"rat": splits["rat"].to_dataset().assign(part=(("split", "trial"), part))})
    assert flags_of(samples, apart)[FEW_RUNS].endswith("0% of the scored runs also train")


def test_trials_that_no_split_uses_do_not_count():
    labels = np.concatenate([np.repeat(np.arange(2), 10), np.tile([0, 1], 10)])
    samples = samples_of(labels)
    splits = make_splits(samples, HALVES)
    assert SORTED not in flags_of(samples, splits)
    part = splits["rat"]["part"].to_numpy().copy()
    part[:, samples["rat"]["onset"].to_numpy() >= 60] = Part.UNUSED
    used = xr.DataTree.from_dict({"rat": splits["rat"].to_dataset().assign(part=(("split", "trial"), part))})
    assert SORTED in flags_of(samples, used)


def test_drift_is_found_and_a_difference_between_classes_is_none():
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(4), 12))
    assert DRIFT in flags_of(samples_of(labels, slope=1.0))
    sorted_labels = np.repeat(np.arange(4), 12)
    pattern = 5 * np.random.default_rng(0).standard_normal((4, 10))
    noise = np.random.default_rng(1).standard_normal((48, 10))
    assert drift(noise + pattern[sorted_labels], sorted_labels, np.random.default_rng(0)).p > 0.05


def test_p_of_drift_is_uniform_on_exchangeable_trials():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        strata = np.repeat(np.arange(3), 8)
        found.append(drift(rng.standard_normal((24, 4)) + strata[:, None], strata, rng).p)
    for level in (0.05, 0.2):
        assert binomtest(int((np.array(found) <= level).sum()), 200, level).pvalue > 1e-3


def test_correlation_is_that_of_consecutive_trials():
    rng = np.random.default_rng(0)
    activity, strata = np.cumsum(rng.standard_normal((40, 1)), axis=0), np.zeros(40, int)
    centred = activity[:, 0] - activity.mean()
    expected = (centred[:-1] * centred[1:]).sum() / (centred**2).sum()
    assert drift(activity, strata, rng).correlation == pytest.approx(expected)
