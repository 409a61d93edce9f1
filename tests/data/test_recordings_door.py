"""One check for recordings from files, arrays and elsewhere: names, grids, types, missing values, and what counts are."""

import logging
import re

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch import nn

from neuromvm import schema
from neuromvm.data.describe import describe
from neuromvm.data.neighbours import reaches_neighbours
from neuromvm.data.permutation import matched_noise
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples, sample_spec
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError, SplitError
from neuromvm.specs import SampleSpec, SplitSpec

TRIALS, BINS, UNITS = 8, 10, 3
SPEC = SampleSpec(label=["odor"])


def tree_of(values, variable="spike_count", names=("a", "b"), **attrs):
    """Return recordings in which ``values(animal)`` gives activity (trial, time, unit) in bins of 0.1 s from 0."""
    nodes = {}
    for name in names:
        activity = np.asarray(values(name))
        trials = np.arange(len(activity))
        coords = {
            "trial": 10 + trials,
            "unit": np.arange(activity.shape[2]) * 7,
            "odor": ("trial", np.resize(list("AB"), len(trials))),
        }
        nodes[name] = xr.DataTree(xr.Dataset({variable: (("trial", "time", "unit"), activity, attrs)}, coords))
    time = ("time", 0.1 * (np.arange(activity.shape[1]) + 0.5), {"bin_width": 0.1})
    return xr.DataTree(dataset=xr.Dataset(coords={"time": time}), children=nodes)


def random_counts(name):
    return np.random.default_rng(len(name)).poisson(2.0, (TRIALS, BINS, UNITS))


def amplitudes(name):
    return np.random.default_rng(len(name)).gamma(1.0, 1.0, (TRIALS, BINS, UNITS)).astype(np.float32)


COUNT_TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?"]


@given(data=st.data(), dtype=st.sampled_from(COUNT_TYPES), merged=st.sampled_from([1, 2, 3, 6]), start=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_counts_of_any_type_are_summed_as_numpy_sums_them(data, dtype, merged, start):
    kind = np.dtype(dtype)
    largest = 1 if kind.kind == "b" else 2000 if kind.kind == "f" else min(np.iinfo(kind).max, schema.LARGEST_COUNT)
    shape = data.draw(st.tuples(st.integers(2, 5), st.just(8), st.integers(1, 3)))
    counts = data.draw(st_numpy.arrays(np.int64, shape, elements=st.integers(0, largest)))
    spec = SampleSpec(label="odor", start=0.1 * start, stop=0.1 * start + 0.6, bin_width=0.1 * merged)
    samples = make_samples(tree_of(lambda name: counts.astype(dtype)), spec)
    for name in "ab":
        found = samples[name]["activity"]
        expected = counts[:, start : start + 6].reshape(shape[0], 6 // merged, merged, shape[2]).sum(axis=2)
        assert found.dtype.kind == "u"
        np.testing.assert_array_equal(found[:, 0], expected)


@given(
    data=st.data(), dtype=st.sampled_from(["f4", "f8"]), kind=st.sampled_from(["rates", "fluorescence", "amplitudes", "power"])
)
@settings(max_examples=15, deadline=None)
def test_other_kinds_are_averaged_as_numpy_averages_them(data, dtype, kind):
    low = -100 if schema.ACTIVITY_KINDS[kind].negative else 0
    elements = st.floats(low, 100, width=32)
    values = data.draw(st_numpy.arrays(dtype, st.tuples(st.integers(2, 4), st.just(6), st.integers(1, 3)), elements=elements))
    tree = tree_of(lambda name: values, "event_amplitude", activity_kind=kind)
    found = make_samples(tree, SampleSpec(label="odor", bin_width=0.2))["a"]["activity"]
    assert found.attrs["activity_kind"] == kind
    np.testing.assert_allclose(found[:, 0], values.reshape(len(values), 3, 2, -1).mean(axis=2), rtol=1e-5, atol=1e-4)


def test_the_type_of_counts_changes_no_bit_of_the_samples():
    first, *others = [make_samples(tree_of(lambda name, t=t: random_counts(name).astype(t)), SPEC) for t in COUNT_TYPES[:-1]]
    assert first["a"]["activity"].dtype == np.uint8
    for other in others:
        xr.testing.assert_identical(first["a"].to_dataset(), other["a"].to_dataset())


@pytest.mark.parametrize("stored", [np.uint8, np.int64, np.float32])
def test_noise_that_matches_counts_is_counts_whatever_their_type(stored):
    tree = tree_of(lambda name: random_counts(name).astype(stored))
    noise = matched_noise(tree, 0)["a"]["spike_count"]
    np.testing.assert_array_equal(
        noise, matched_noise(tree_of(lambda name: random_counts(name).astype("u1")), 0)["a"]["spike_count"]
    )


@pytest.mark.parametrize(
    ("wrong", "stored", "complaint"),
    [
        (1.5, "f4", r"recordings/b: spike_count \(counts\) of 1\.5 in trial 13, unit 14, bin 2.*whole numbers.*activity_kind"),
        (-1, "i8", r"recordings/b: spike_count \(counts\) of -1 in trial 13, unit 14, bin 2. Expected 0 or more"),
        (2**40, "i8", "at most 4294967295"),
        (2**40, "u8", "at most 4294967295"),
    ],
)
def test_numbers_that_are_no_counts_are_refused_with_their_place(wrong, stored, complaint):
    def values(name):
        counts = random_counts(name).astype(stored)
        if name == "b":
            counts[3, 2, 2] = wrong
        return counts

    with pytest.raises(SchemaError, match=complaint):
        make_samples(tree_of(values), SPEC)


@pytest.mark.parametrize("stored", ["datetime64[s]", "complex64", "U1", "O"])
def test_spike_counts_of_other_types_are_refused(stored):
    with pytest.raises(SchemaError, match="spike_count of type"):
        make_samples(tree_of(lambda name: np.zeros((TRIALS, BINS, UNITS), int).astype(stored)), SPEC)


def test_whole_numbers_under_another_name_are_refused_with_the_next_step():
    with pytest.raises(SchemaError, match=r"event_amplitude of type int64.*Name counts spike_count"):
        make_samples(tree_of(random_counts, "event_amplitude"), SPEC)


def broken(name, trial, unit, value=np.nan):
    values = amplitudes(name)
    if name == "a":
        values[trial, 2, unit] = value
    return values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("trial", [1, 7])
def test_missing_values_are_refused_with_animal_trial_and_unit(trial, value):
    tree = tree_of(lambda name: broken(name, trial, 2, value), "event_amplitude")
    with pytest.raises(SchemaError, match=rf"recordings/a.*NaN or infinite in trial {10 + trial}, unit 14\. .*samples\.missing"):
        make_samples(tree, SPEC)


def test_numbers_beyond_single_precision_count_as_infinite():
    tree = tree_of(lambda name: np.where(amplitudes(name) > 3, 1e300, amplitudes(name).astype("f8")), "event_amplitude")
    with pytest.raises(SchemaError, match="NaN or infinite"):
        make_samples(tree, SPEC)


@pytest.mark.parametrize(("stored", "variable"), [("f4", "event_amplitude"), ("f8", "spike_count")])
@pytest.mark.parametrize(("policy", "dim", "label"), [("drop_trials", "trial", 11), ("drop_units", "unit", 14)])
def test_trials_or_units_with_missing_values_are_dropped_and_counted(policy, dim, label, stored, variable):
    def values(name):
        whole = random_counts(name).astype(stored)
        whole[1, 2, 2] = np.nan if name == "a" else whole[1, 2, 2]
        return whole

    spec = SampleSpec(label="odor", missing=policy)
    samples, whole = make_samples(tree_of(values, variable), spec), make_samples(tree_of(random_counts, "spike_count"), SPEC)
    kept = [number for number in whole["a"][dim].values if number != label]
    np.testing.assert_array_equal(samples["a"][dim], kept)
    expected = whole["a"]["activity"].sel({dim: kept}).values / (10 if variable == "event_amplitude" else 1)
    np.testing.assert_allclose(samples["a"]["activity"], expected, rtol=1e-6)
    assert [tuple(line) for line in schema.dropped(samples["a"].to_dataset())] == [(f"{dim}s", "activity is NaN or infinite", 1)]
    assert schema.dropped(samples["b"].to_dataset()) == []
    assert samples["b"].sizes[dim] == whole["b"].sizes[dim]


def test_a_policy_that_leaves_nothing_is_refused_with_the_other_one():
    def values(name):
        activity = amplitudes(name)
        activity[:, 0, 1] = np.nan
        return activity

    tree = tree_of(values, "event_amplitude")
    with pytest.raises(SchemaError, match=r"no trial is left.*drop_units"):
        make_samples(tree, SampleSpec(label="odor", missing="drop_trials"))
    assert make_samples(tree, SampleSpec(label="odor", missing="drop_units"))["a"].sizes["unit"] == UNITS - 1


def test_all_bad_names_are_in_one_message_with_names_that_work():
    with pytest.raises(SchemaError) as caught:
        make_samples(tree_of(random_counts, names=("rat.1", "type", "fine", "M 10")), SPEC)
    for part in ("'rat.1' to 'rat-1'", "'type' to 'animal-type'", "'M 10' to 'M-10'"):
        assert part in str(caught.value)
    assert "'fine'" not in str(caught.value)
    with pytest.raises(SchemaError, match="'Ada'"):
        make_samples(tree_of(random_counts, names=("ada", "Ada")), SPEC)


def test_every_name_that_a_network_uses_itself_is_refused():
    for name in dir(nn.ModuleDict()):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]*", name):
            with pytest.raises(SchemaError, match="cannot be a tree node"):
                schema.check_animal_name(name)


@given(
    st.lists(st.text(max_size=120) | st.sampled_from(["type", "rat.1", "rat-1", "RAT-1", "time", "", "-", "animal"]), max_size=8)
)
@settings(max_examples=60, deadline=None)
def test_safe_names_are_usable_and_different(names):
    safe = schema.safe_names(names)
    assert set(safe) == set(names)
    schema.check_animal_names(safe.values())
    modules = nn.ModuleDict({name: nn.Identity() for name in safe.values()})
    assert len(modules) == len(safe)
    for name in safe:
        if schema.safe_names([name])[name] == name and sum(other.casefold() == name.casefold() for other in safe) == 1:
            assert safe[name] == name


def bare(**coords):
    counts = {"spike_count": (("trial", "time", "unit"), random_counts("a"))}
    dataset = xr.Dataset(counts, coords={"odor": ("trial", np.resize(list("AB"), TRIALS)), **coords})
    return xr.DataTree.from_dict({"/a": dataset, "/b": dataset})


def test_a_tree_without_grid_says_what_is_missing_and_the_next_step_works():
    with pytest.raises(SchemaError) as caught:
        make_samples(bare(), SPEC)
    for part in ("bin_width", "dim trial", "dim unit", "recordings_from_arrays"):
        assert part in str(caught.value)
    tree = bare(trial=range(TRIALS), unit=range(UNITS))
    with pytest.raises(SchemaError, match="time without bin centres and bin_width") as caught:
        make_samples(tree, SPEC)
    statement = re.search(r"or set (tree\.coords.*\))\.$", str(caught.value)).group(1)
    exec(statement, {"tree": tree, "numpy": np, "start": -0.5, "bin_width": 0.1})
    np.testing.assert_array_equal(make_samples(tree, SPEC)["a"]["activity"][:, 0, 0], random_counts("a").sum(axis=1))


@pytest.mark.parametrize(
    ("time", "attrs", "complaint"),
    [
        (np.arange(BINS) * 0.1, {}, "time without bin_width"),
        (np.arange(BINS) * 0.1, {"bin_width": "wide"}, "bin_width 'wide'"),
        (np.arange(BINS) * 0.1, {"bin_width": -0.1}, "bin_width -0.1"),
        (np.arange(BINS) * 0.1, {"bin_width": 0.2}, "one bin_width apart"),
        (np.arange(BINS)[::-1] * 0.1, {"bin_width": 0.1}, "one bin_width apart"),
        (np.where(np.arange(BINS) == 3, np.nan, np.arange(BINS) * 0.1), {"bin_width": 0.1}, "one bin_width apart"),
    ],
)
def test_grids_that_are_none_are_refused(time, attrs, complaint):
    with pytest.raises(SchemaError, match=complaint):
        make_samples(bare(trial=range(TRIALS), unit=range(UNITS), time=("time", time, attrs)), SPEC)


def test_a_grid_in_single_precision_is_one():
    time = ("time", (500 + 0.001 * np.arange(BINS)).astype(np.float32), {"bin_width": 0.001})
    assert schema.validate_recordings(bare(trial=range(TRIALS), unit=range(UNITS), time=time))


def test_animals_with_different_grids_are_refused():
    nodes = {}
    for name, start in (("a", 0.0), ("b", 0.5)):
        time = ("time", start + 0.1 * np.arange(BINS), {"bin_width": 0.1})
        nodes[name] = bare(trial=range(TRIALS), unit=range(UNITS), time=time)["a"].to_dataset()
    with pytest.raises(SchemaError, match="recordings/b: another grid than that of animal a"):
        make_samples(xr.DataTree.from_dict(nodes), SPEC)


def test_valid_recordings_are_returned_as_they_are():
    tree = tree_of(random_counts)
    assert schema.validate_recordings(tree) is tree


def with_times(**times):
    tree = tree_of(random_counts)
    children = {
        name: xr.DataTree(node.to_dataset(inherit=False).assign_coords({key: ("trial", value) for key, value in times.items()}))
        for name, node in tree.children.items()
    }
    return xr.DataTree(dataset=tree.to_dataset(), children=children)


def test_windows_that_reach_into_neighbouring_trials_are_warned_about(caplog):
    onset = np.arange(TRIALS) * 5.0
    onset[4] = onset[3] + 0.8  # the grid is 1 s long
    with caplog.at_level(logging.WARNING):
        make_samples(with_times(onset=onset), SPEC)
        assert "from 0 to 1 s reach into the trial before or after: 2 of 8 trials of a, 2 of 8 trials of b" in caplog.text
        caplog.clear()
        make_samples(with_times(onset=onset), SampleSpec(label="odor", stop=0.8))
        assert not caplog.text
        make_samples(with_times(onset=np.arange(TRIALS) * 5.0, stop_time=np.arange(TRIALS) * 5.0 + 5.3), SPEC)
        assert "7 of 8 trials of a" in caplog.text


def test_trials_of_other_sessions_are_no_neighbours():
    coords = {"onset": ("trial", [0.0, 5.0, 0.5, 5.5]), "session": ("trial", ["x", "x", "y", "y"])}
    assert not reaches_neighbours(xr.Dataset(coords=coords), 0, 1).any()
    assert reaches_neighbours(xr.Dataset(coords={"onset": coords["onset"]}), 0, 1).all()


def test_the_samples_of_a_default_spec_say_which_transform_was_used():
    assert sample_spec(make_samples(tree_of(random_counts), SPEC)).transform == "sqrt"
    assert sample_spec(make_samples(tree_of(amplitudes, "event_amplitude"), SPEC)).transform == "sqrt"
    assert sample_spec(make_samples(tree_of(lambda name: -amplitudes(name), "event_amplitude"), SPEC)).transform == "none"


def test_rates_of_integer_counts_start_at_their_mean():
    from neuromvm import ModelSpec, SplitSpec, TrainingSpec, fit, make_splits

    def many(name):
        return np.random.default_rng(0).poisson(2.0, (40, BINS, 6)).astype(np.int64)

    samples = make_samples(tree_of(many), SPEC)
    model = ModelSpec(sharing="mmvm", likelihood="poisson", networks="linear", latent=2)
    splits = make_splits(samples, SplitSpec(kind="chronological", order="trial"))
    fitted = fit(samples, splits, model, TrainingSpec(epochs=1), progress=False)
    rate = float(fitted.member(0).likelihood("a").rate(torch.zeros(1, 6)).mean())
    assert rate == pytest.approx(20, rel=0.2)  # 2 spikes in 0.1 s


@pytest.mark.parametrize("check", [schema.validate_recordings, describe, lambda tree: make_samples(tree, SPEC)])
@pytest.mark.parametrize("width", [np.nan, np.inf, 0, None, "x", [0.1], True, np.array([0.1, 0.2]), 0.1j])
def test_widths_of_bins_that_are_none_are_refused_at_every_door(check, width):
    tree = tree_of(random_counts)
    tree["time"].attrs["bin_width"] = width
    with pytest.raises(SchemaError, match="bin_width"):
        check(tree)
    del tree["time"].attrs["bin_width"]
    with pytest.raises(SchemaError, match="time without bin_width"):
        check(tree)


def with_label(name, values):
    nodes = {key: dataset.drop_vars("time") for key, dataset in schema.animals(tree_of(random_counts))}
    nodes["b"] = nodes["b"].assign_coords({name: ("trial", values)})
    return xr.DataTree.from_dict({"/": tree_of(random_counts).to_dataset(), **nodes})


@pytest.mark.parametrize(
    ("name", "values", "complaint"),
    [
        ("odor", np.full(TRIALS, b"\xff"), r"recordings/b: trial label 'odor': values of type \|S1.*astype\(str\)"),
        ("odor", np.arange(TRIALS) * 1j, "complex128"),
        ("odor", np.array([{"a": 1}] * TRIALS), "values of type dict"),
        ("onset", np.array(["soon"] * TRIALS), "Expected seconds"),
        ("onset", np.array([None] * TRIALS), "Expected seconds"),
    ],
)
def test_labels_without_an_order_are_refused(name, values, complaint):
    for check in (schema.validate_recordings, describe, lambda tree: make_samples(tree, SPEC)):
        with pytest.raises(SchemaError, match=complaint):
            check(with_label(name, values))


def test_missing_values_of_a_label_are_described_and_left_out():
    tree = with_label("odor", np.array(["A", None, "B", np.nan, "A", "B", "A", "B"], dtype=object))
    assert describe(tree).loc["b", "labels"] == "odor: (none) 2, A 3, B 3"
    assert make_samples(tree, SPEC)["b"].sizes["trial"] == TRIALS - 2
    with pytest.raises(SchemaError, match=r"animal b: no trial with a value of odor.*data\.animals"):
        make_samples(with_label("odor", np.array([None] * TRIALS)), SPEC)


def test_an_order_of_trials_that_is_none_is_refused():
    samples = make_samples(with_label("block", np.array([None, 1, "a", 2.5] * 2, dtype=object)), SPEC)
    samples["a"] = xr.DataTree(samples["a"].to_dataset().assign_coords(block=("trial", np.arange(TRIALS))))
    with pytest.raises(SplitError, match=r"split\.order, animal b: block of mixed types"):
        make_splits(samples, SplitSpec(kind="chronological", order="block"))


@pytest.mark.parametrize("dim", ["trial", "unit"])
def test_animals_without_trials_or_units_are_refused(dim):
    nodes = {name: dataset.isel({dim: slice(0, 0)}) for name, dataset in schema.animals(tree_of(random_counts))}
    with pytest.raises(SchemaError, match=f"spike_count of .*0 {dim}s"):
        make_samples(xr.DataTree.from_dict(nodes), SPEC)


@pytest.mark.parametrize("account", ["much", 3, None, "3", '["abc"]', '[["trials", "why", "x"]]', "[" * 100_000])
def test_an_account_that_is_none_is_refused(account):
    nodes = {name: dataset.assign_attrs(dropped=account) for name, dataset in schema.animals(tree_of(random_counts))}
    with pytest.raises(SchemaError, match=r"attrs\['dropped'\]"):
        describe(xr.DataTree.from_dict(nodes))


def test_arguments_of_the_check_are_checked():
    with pytest.raises(ArgumentError, match="one of refuse, drop_trials, drop_units"):
        schema.validate_recordings(tree_of(random_counts), "drop")
    with pytest.raises(ArgumentError, match="a dict"):
        schema.validate_recordings({})


def test_bins_much_narrower_than_those_of_the_grid_are_refused():
    time = ("time", 1e9 * (np.arange(BINS) + 0.5), {"bin_width": 1e9})
    with pytest.raises(AlignmentError, match=r"samples\.bin_width: 0\.4"):
        make_samples(bare(trial=range(TRIALS), unit=range(UNITS), time=time), SampleSpec(label="odor", bin_width=0.4))
