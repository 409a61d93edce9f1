"""Recordings from arrays in memory: all forms give the same tree, and what cannot be one is refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import neuromvm as nm
from neuromvm import schema
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError

RATS = ("ada", "bob")
COUNTS = {rat: np.random.default_rng(len(rat) + ord(rat[0])).poisson(2.0, (12, 6, 3)) for rat in RATS}
LABELS = {rat: {"odor": np.resize(["A", "B"], 12), "onset": 5.0 * np.arange(12)} for rat in RATS}
REGION = {"region": ["CA1", "CA1", "CA3"]}
GRID = {"bin_width": 0.1, "start": -0.2}


@pytest.fixture(scope="module")
def expected():
    return nm.recordings_from_arrays(COUNTS, LABELS, **GRID, units=dict.fromkeys(RATS, REGION))


def test_arrays_become_recordings(expected):
    for rat in RATS:
        node = expected[rat]
        assert node["spike_count"].dtype == np.uint8
        np.testing.assert_array_equal(node["spike_count"], COUNTS[rat])
        assert node["odor"].values.tolist() == LABELS[rat]["odor"].tolist()
        assert node["region"].values.tolist() == REGION["region"]
    np.testing.assert_allclose(expected["time"], [-0.15, -0.05, 0.05, 0.15, 0.25, 0.35])
    assert schema.validate_recordings(expected) is expected
    samples = nm.make_samples(expected, nm.SampleSpec(label="odor", start=0, bin_width=0.2))
    np.testing.assert_array_equal(samples["ada"]["activity"][:, 0, 0], COUNTS["ada"][:, 2:4].sum(axis=1))


def as_data_array(rat):
    coords = {
        "odor": ("trial", LABELS[rat]["odor"]),
        "onset": ("trial", LABELS[rat]["onset"]),
        "region": ("unit", REGION["region"]),
    }
    time = ("time", -0.15 + 0.1 * np.arange(6), {"bin_width": 0.1})
    return xr.DataArray(COUNTS[rat], dims=("trial", "time", "unit"), coords={**coords, "time": time}, name="spike_count")


def as_table(rat):
    rows = pd.MultiIndex.from_product([range(12), range(6)])
    return pd.DataFrame(COUNTS[rat].reshape(72, 3), index=rows, columns=range(3))


FORMS = {
    "lists": (lambda rat: COUNTS[rat].tolist(), True),
    "floats": (lambda rat: COUNTS[rat].astype("f4"), True),
    "big integers": (lambda rat: COUNTS[rat].astype("i8"), True),
    "list of trials": (lambda rat: list(COUNTS[rat]), True),
    "dict": (lambda rat: {"activity": COUNTS[rat], **LABELS[rat]}, False),
    "DataArray": (lambda rat: as_data_array(rat).drop_vars(["odor", "onset"]), True),
    "DataArray with labels": (as_data_array, False),
    "DataArray, other order": (lambda rat: as_data_array(rat).transpose("unit", "time", "trial"), False),
    "Dataset": (lambda rat: as_data_array(rat).to_dataset(), False),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_recordings(expected, form):
    of, with_labels = FORMS[form]
    activity = {rat: of(rat) for rat in RATS}
    grid = {} if form.startswith("Data") else GRID
    found = nm.recordings_from_arrays(activity, LABELS if with_labels else None, units=dict.fromkeys(RATS, REGION), **grid)
    for rat in RATS:
        xr.testing.assert_identical(found[rat].to_dataset(), expected[rat].to_dataset())


def test_a_table_of_trials_and_bins_is_activity(expected):
    shuffled = {rat: as_table(rat).sample(frac=1, random_state=0) for rat in RATS}
    labels = {rat: pd.DataFrame(LABELS[rat]) for rat in RATS}
    found = nm.recordings_from_arrays(shuffled, labels, **GRID)
    for rat in RATS:
        order = found[rat]["trial"].values
        np.testing.assert_array_equal(found[rat]["spike_count"], COUNTS[rat][order])
    with pytest.raises(SchemaError, match="71 rows of 12 trials and 6 bins"):
        nm.recordings_from_arrays({"ada": as_table("ada").iloc[1:]}, **GRID)


def test_labels_of_any_type_are_numbers_or_text():
    labels = {
        "text": pd.Categorical(["a", None, "b", "a"]),
        "truth": [True, False, True, True],
        "number": pd.array([1, None, 3, 4], dtype="Int64"),
        "whole": pd.array([1, 2, 3, 4], dtype="Int64"),
        "mixed": ["x", None, 3, np.nan],
    }
    tree = nm.recordings_from_arrays({"ada": COUNTS["ada"][:4]}, {"ada": labels}, **GRID)
    assert tree["ada"]["text"].values.tolist() == ["a", "", "b", "a"]
    assert tree["ada"]["truth"].dtype == bool
    np.testing.assert_array_equal(tree["ada"]["number"], [1, np.nan, 3, 4])
    assert tree["ada"]["whole"].dtype.kind == "i"
    assert tree["ada"]["mixed"].values.tolist() == ["x", "", "3", ""]


def test_other_kinds_are_amplitudes_in_single_precision():
    values = {rat: COUNTS[rat] - 0.5 for rat in RATS}
    tree = nm.recordings_from_arrays(values, LABELS, **GRID, kind="fluorescence")
    assert tree["ada"]["event_amplitude"].dtype == np.float32
    assert tree["ada"]["event_amplitude"].attrs["activity_kind"] == "fluorescence"
    track = nm.recordings_from_arrays(values, LABELS, bin_width=5, grid="position", kind="fluorescence")
    np.testing.assert_allclose(track["position"], 2.5 + 5 * np.arange(6))


def test_missing_values_are_refused_or_dropped():
    values = {rat: COUNTS[rat].astype(float) for rat in RATS}
    values["bob"][4, 0, 1] = np.nan
    with pytest.raises(SchemaError, match=r"recordings/bob.*trial 4, unit 1"):
        nm.recordings_from_arrays(values, LABELS, **GRID)
    tree = nm.recordings_from_arrays(values, LABELS, **GRID, missing="drop_trials")
    assert (tree["ada"].sizes["trial"], tree["bob"].sizes["trial"]) == (12, 11)
    assert schema.dropped(tree["bob"].to_dataset())[0].count == 1
    np.testing.assert_array_equal(
        nm.make_samples(tree, nm.SampleSpec(label="odor"))["bob"]["activity"][:, 0, 0], np.delete(COUNTS["bob"], 4, 0).sum(axis=1)
    )


@pytest.mark.parametrize(
    ("activity", "settings", "complaint"),
    [
        ({"ada": COUNTS["ada"] + 0.5}, GRID, r"spike_count \(counts\) of .* whole numbers.*rates"),
        ({"ada": -COUNTS["ada"]}, GRID, "0 or more"),
        ({"ada": COUNTS["ada"][:, 0]}, GRID, r"shape \(12, 3\).*numpy\.newaxis"),
        ({"ada": [COUNTS["ada"][0], COUNTS["ada"][1, :2]]}, GRID, "different lengths"),
        ({"ada": COUNTS["ada"].astype(str)}, GRID, "Expected numbers"),
        ({"ada": {"counts": COUNTS["ada"]}}, GRID, "the key 'activity'"),
        (COUNTS, {}, r"no width of bins.*bin_width=0\.1"),
        (COUNTS, {"bin_width": 0}, "above 0"),
        ({"ada": COUNTS["ada"], "bob": COUNTS["bob"][:, :4]}, GRID, "ada 6, bob 4"),
        ({"rat.1": COUNTS["ada"], "type": COUNTS["bob"]}, GRID, r"'rat\.1' to 'rat-1', 'type' to"),
        ({}, GRID, "no animals"),
        ({"ada": as_data_array("ada").rename(unit="cell")}, {}, "in any order"),
        ({"ada": as_data_array("ada").assign_coords(time=np.arange(6.0))}, GRID, "one bin_width apart"),
    ],
)
def test_arrays_that_are_no_recordings_are_refused(activity, settings, complaint):
    with pytest.raises(SchemaError, match=complaint):
        nm.recordings_from_arrays(activity, **settings)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"ada": {"odor": ["A"] * 11}}, r"trial label 'odor': shape \(11,\).*12 trials"),
        ({"ada": {"odor": [["A", "B"]] * 12}}, "trial label 'odor'"),
        ({"ada": {"my odor": ["A"] * 12}}, "letters, digits"),
        ({"ada": {"activity": ["A"] * 12}}, "reserved"),
        ({"ada": {"onset": ["A"] * 12}}, "seconds"),
        ({"ada": {"trial": [1] * 12}}, "occur twice"),
        ({"eve": {"odor": ["A"] * 12}}, "eve, which have no activity"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, complaint):
    with pytest.raises(SchemaError, match=complaint):
        nm.recordings_from_arrays({"ada": COUNTS["ada"]}, labels, **GRID)


def test_arguments_of_the_wrong_type_are_refused():
    with pytest.raises(ArgumentError, match="one of counts, rates"):
        nm.recordings_from_arrays(COUNTS, **GRID, kind="spikes")
    with pytest.raises(ArgumentError, match="time, position"):
        nm.recordings_from_arrays(COUNTS, **GRID, grid="space")
    with pytest.raises(ArgumentError, match="a dict, animal -> values"):
        nm.recordings_from_arrays(COUNTS["ada"], **GRID)


@given(
    st.lists(st.lists(st.integers(0, 9999), max_size=30), min_size=1, max_size=3),
    st.lists(st.integers(0, 9000), min_size=1, max_size=4, unique=True),
)
@settings(max_examples=40, deadline=None)
def test_spike_times_are_counted_as_numpy_counts_them(milliseconds, onsets):
    spikes = [[time / 1000 for time in times] for times in milliseconds]
    edges = np.arange(-500, 1001, 250)
    wanted = [[np.histogram(np.array(times) - onset, [*edges[:-1], 999.5])[0] for times in milliseconds] for onset in onsets]
    arguments = {"window": (-0.5, 1.0), "bin_width": 0.25}
    onset = {"ada": [time / 1000 for time in onsets]}
    if not np.any(wanted):
        with pytest.raises(AlignmentError, match="no spike in the windows"):
            nm.recordings_from_spike_times({"ada": spikes}, onset, **arguments)
        return
    tree = nm.recordings_from_spike_times({"ada": spikes}, onset, **arguments)
    np.testing.assert_array_equal(tree["ada"]["spike_count"], np.array(wanted).transpose(0, 2, 1))
    np.testing.assert_allclose(tree["ada"]["onset"], onset["ada"])
    np.testing.assert_allclose(tree["time"], edges[:-1] / 1000 + 0.125)


def test_units_of_a_dict_keep_their_names():
    tree = nm.recordings_from_spike_times({"ada": {"u7": [0.1], "u9": [0.3]}}, {"ada": [0.0]}, window=(0, 1), bin_width=1)
    assert tree["ada"]["unit"].values.tolist() == ["u7", "u9"]


@pytest.mark.parametrize(
    ("spikes", "onsets", "window", "error", "complaint"),
    [
        ([[0.1, np.nan]], [0.0], (0, 1), SchemaError, "unit 0.*finite times"),
        ([[0.1]], [np.inf], (0, 1), SchemaError, "onsets.*finite times"),
        ([[[0.1]]], [0.0], (0, 1), SchemaError, "unit 0"),
        ([["a"]], [0.0], (0, 1), SchemaError, "unit 0"),
        ([[0.1]], [0.0], (0, 1.05), AlignmentError, "whole number of bins"),
        ([[0.1]], [0.0], (1, 0), AlignmentError, "whole number of bins"),
        ([[5000.0]], [0.0], (0, 1), AlignmentError, "5000 to 5000 s.*one clock"),
    ],
)
def test_spike_times_that_cannot_be_counted_are_refused(spikes, onsets, window, error, complaint):
    with pytest.raises(error, match=complaint):
        nm.recordings_from_spike_times({"ada": spikes}, {"ada": onsets}, window=window, bin_width=0.1)
    with pytest.raises(SchemaError, match="bob: no onsets"):
        nm.recordings_from_spike_times({"ada": [[0.1]], "bob": [[0.1]]}, {"ada": [0.0]}, window=(0, 1), bin_width=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", ["counts"]), ("grid", None), ("missing", {}), ("start", "x"), ("start", np.nan), ("start", [0]), ("start", True)],
)
def test_settings_of_another_type_are_refused(name, value):
    with pytest.raises(ArgumentError, match=f"argument '{name}'"):
        nm.recordings_from_arrays(COUNTS, **{**GRID, name: value})


@pytest.mark.parametrize("width", [np.nan, np.inf, -1, "x", b"0.1", [0.1], np.array([0.1, 0.2]), True])
def test_widths_that_are_no_numbers_are_refused(width):
    with pytest.raises(SchemaError, match="bin_width"):
        nm.recordings_from_arrays(COUNTS, bin_width=width)
    given = as_data_array("ada")
    given["time"].attrs["bin_width"] = width
    with pytest.raises(SchemaError, match="animal ada, time: bin_width"):
        nm.recordings_from_arrays({"ada": given})
    with pytest.raises((ArgumentError, AlignmentError), match=r"argument '(bin_width|window)'"):
        nm.recordings_from_spike_times({"ada": [[0.1]]}, {"ada": [0.0]}, window=(0, 1), bin_width=width)


@pytest.mark.parametrize("labels", [None, 3, "odor", [1, 2]])
def test_labels_that_are_no_table_are_refused(labels):
    for name in ("labels", "units"):
        with pytest.raises(ArgumentError, match=f"argument '{name}', animal ada.*DataFrame"):
            nm.recordings_from_arrays(COUNTS, **GRID, **{name: {"ada": labels}})


@pytest.mark.parametrize("window", [None, 3, "01", (0, 1, 2), (0, "x"), (0, np.nan), (None, 1), (0, [1])])
def test_windows_that_are_no_two_numbers_are_refused(window):
    with pytest.raises(ArgumentError, match="argument 'window'"):
        nm.recordings_from_spike_times({"ada": [[0.1]]}, {"ada": [0.0]}, window=window, bin_width=0.1)


def test_spikes_that_are_no_list_and_counts_beyond_memory_are_refused():
    for spikes in (None, 3, "spikes"):
        with pytest.raises(ArgumentError, match="argument 'spike_times', animal ada"):
            nm.recordings_from_spike_times({"ada": spikes}, {"ada": [0.0]}, window=(0, 1), bin_width=0.1)
    with pytest.raises(AlignmentError, match=r"10000000000000 bins and 1 units.*available memory"):
        nm.recordings_from_spike_times({"ada": [[0.1]]}, {"ada": [0.0]}, window=(0, 1e12), bin_width=0.1)


def test_bins_of_a_table_need_an_order():
    rows = pd.MultiIndex.from_product([range(3), [None, 1, "a"]])
    with pytest.raises(SchemaError, match="animal ada: bins of mixed types"):
        nm.recordings_from_arrays({"ada": pd.DataFrame({"u": np.ones(9)}, index=rows)}, bin_width=0.1)
