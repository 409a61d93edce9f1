"""What files contain is read right, or left out and counted, or refused with a typed error: never a wrong number in silence."""

import logging
from functools import partial

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.clocks import overlap, silences, starts_again
from neuromvm.data.loaders.sessions import safe_names
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError, SpecError
from neuromvm.schema import dropped, is_animal_name
from tests.data.plain_files import STARTS, STIMULI, TRIALS, plain_spec, poisson_trains, replace, write_plain

WINDOW = 2.0


def load(folder, animal="m1", **changes):
    return load_recordings(plain_spec(**changes), folder)[animal].to_dataset()


def reasons(dataset) -> dict[str, int]:
    return {line.reason: line.count for line in dropped(dataset)}


def with_labels(name="c", **more):
    return {"labels": {"c": name}, **more}


def add_column(file, values, name="c", table="intervals/trials", **attrs):
    text = isinstance(values, list) and values and isinstance(values[0], str)
    column = file[table].create_dataset(name, data=values, **({"dtype": h5py.string_dtype()} if text else {}))
    column.attrs.update(attrs)
    return column


def add_invalid(file, starts, stops, tags=None):
    group = file.create_group("intervals/invalid_times")
    group["id"], group["start_time"], group["stop_time"] = np.arange(len(starts)), np.array(starts, float), np.array(stops, float)
    if tags:
        group.create_dataset("tags", data=tags, dtype=h5py.string_dtype())
        group["tags_index"] = np.arange(1, len(tags) + 1)


# trials that are not to be used


@pytest.mark.parametrize(("hole", "tags"), [(None, None), ((60, 100), ["artefact", "probe B"])])
def test_trials_in_invalid_times_are_dropped_and_counted(tmp_path, hole, tags):
    trains = poisson_trains()
    if hole:
        trains = [train[(train < hole[0]) | (train >= hole[1])] for train in trains]
    write_plain(tmp_path / "a.nwb", partial(add_invalid, starts=[60, 150.0], stops=[100, 150.5], tags=tags), trains)
    outside = [
        trial for trial, start in enumerate(STARTS) if not any(a < start + 2 and b > start for a, b in ((60, 100), (150, 150.5)))
    ]
    data = load(tmp_path)
    assert data["trial"].values.tolist() == outside
    ((reason, count),) = reasons(data).items()
    assert count == TRIALS - len(outside)
    assert reason == "in intervals/invalid_times" + (" (artefact, probe B)" if tags else "")
    if not hole:
        kept = load(tmp_path, trials={"labels": {"stim": "stim"}, "invalid_times": "keep"})
        assert kept.sizes["trial"] == TRIALS


def test_invalid_times_of_unknown_end_reach_to_the_end_and_impossible_ones_are_refused(tmp_path):
    write_plain(tmp_path / "a.nwb", partial(add_invalid, starts=[100], stops=[np.nan]))
    assert load(tmp_path)["onset"].max() + WINDOW <= 100
    write_plain(tmp_path / "a.nwb", partial(add_invalid, starts=[100], stops=[90]))
    with pytest.raises(DataFormatError, match="ends before it begins"):
        load(tmp_path)


@pytest.mark.parametrize("holes", [[(60, 100)], [(30, 40), (80, 95), (120, 122)], [(20, 130)]])
@pytest.mark.parametrize(("units", "rate"), [(6, 8.0), (40, 20.0)])
def test_trials_in_a_hole_of_all_units_are_dropped_with_a_warning(tmp_path, caplog, holes, units, rate):
    trains = poisson_trains(units, rate)
    for begin, end in holes:
        trains = [train[(train < begin) | (train >= end)] for train in trains]
    write_plain(tmp_path / "a.nwb", trains=trains)
    shares = [sum(max(0, min(start + 2, end) - max(start, begin)) for begin, end in holes) for start in STARTS]
    silent = [trial for trial, share in enumerate(shares) if share >= 1.0]
    data = load(tmp_path)
    assert set(silent) & set(data["trial"].values.tolist()) == set()
    assert {trial for trial, share in enumerate(shares) if not share} <= set(data["trial"].values.tolist())
    assert reasons(data)["in a silence of all units"] >= len(silent)
    assert "silences of all units" in caplog.text
    assert load(tmp_path, trials={"labels": {"stim": "stim"}, "silences": "keep"}).sizes["trial"] == TRIALS


def test_holes_that_obs_intervals_say_were_observed_are_silence(tmp_path):
    trains = [train[(train < 60) | (train >= 100)] for train in poisson_trains()]

    def change(file):
        file["units/obs_intervals"] = np.tile([[0.0, 200.0]], (6, 1))
        file["units/obs_intervals_index"] = np.arange(1, 7)

    write_plain(tmp_path / "a.nwb", change, trains)
    assert load(tmp_path).sizes["trial"] == TRIALS


@pytest.mark.parametrize("rate", [0.05, 1.0, 30.0])
def test_chance_makes_no_holes(rate):
    for seed in range(60):
        pooled = np.sort(np.concatenate(poisson_trains(3, rate, 1000.0, seed)))
        assert not len(silences(pooled).holes)


def test_silences_that_recur_are_said_but_kept(tmp_path, caplog):
    # three units that fire only on the first 3 s of every trial
    trains = [train[(train - 5) % 9 < 3] for train in poisson_trains(3, 60.0)]
    write_plain(tmp_path / "a.nwb", trains=trains)
    grid = {"kind": "time", "window": [0, 8], "bin_width": 1}
    data = load(tmp_path, grid=grid)
    assert data.sizes["trial"] == TRIALS
    assert "are kept" in caplog.text


def test_holes_do_not_depend_on_the_number_of_spikes():
    pooled = np.r_[np.arange(0, 50, 0.01), np.arange(80, 200, 0.01)]
    found = silences(pooled)
    np.testing.assert_allclose(found.holes, [[49.99, 80]])
    assert not found.recurring
    assert not len(silences(pooled[:1]).holes)
    assert not len(silences(np.zeros(50)).holes)


def test_repeated_trials(tmp_path, caplog):
    starts = STARTS.copy()
    starts[5], starts[8] = starts[3], starts[1] - 0.0  # 5 repeats 3 (B, B); 8 (A) contradicts 1 (B)
    write_plain(tmp_path / "a.nwb", lambda file: replace(file["intervals/trials"], "start_time", starts))
    data = load(tmp_path)
    assert data["trial"].values.tolist() == [trial for trial in range(TRIALS) if trial not in (5, 8, 1)]
    assert reasons(data) == {
        "other trials have the same time and other labels": 2,
        "an earlier trial has the same time": 1,
    }
    assert "3 of 20 trials have the time of another trial" in caplog.text


def test_trials_that_all_have_one_time_are_refused(tmp_path):
    write_plain(tmp_path / "a.nwb", lambda file: replace(file["intervals/trials"], "start_time", np.full(TRIALS, 5.0)))
    with pytest.raises(DataFormatError, match="20 trials in 1 different times"):
        load(tmp_path)


def test_windows_that_reach_into_other_trials_are_said(tmp_path, caplog):
    write_plain(tmp_path / "a.nwb")
    with caplog.at_level(logging.WARNING):
        load(tmp_path, grid={"kind": "time", "window": [0, 9], "bin_width": 1})
        assert not caplog.text
        load(tmp_path, grid={"kind": "time", "window": [-6, 2], "bin_width": 1})  # the trial before ends 5 s before
    assert "reach into other trials (m1 18 of 19)" in caplog.text  # the first window begins before the recording


# clocks


def test_starts_again():
    random = np.random.default_rng(0)
    rising = np.sort(random.uniform(0, 100, 200))
    assert starts_again(np.r_[rising, rising])
    assert starts_again(np.r_[rising, rising, rising[:40]])
    assert starts_again(np.r_[5.0, 6, 7, 8, 1, 2, 3])
    assert not starts_again(rising)
    assert not starts_again(rising[::-1])
    assert not starts_again(random.permutation(rising))
    swapped = rising.copy()
    swapped[[20, 21]] = swapped[[21, 20]]
    assert not starts_again(swapped)


def test_spike_times_that_start_again_are_refused(tmp_path):
    trains = [np.r_[train[train < 100], train[train >= 100] - 100] for train in poisson_trains()]
    write_plain(tmp_path / "a.nwb", trains=trains)
    with pytest.raises(AlignmentError, match="rise, fall back and rise again, in 6 of 6 units"):
        load(tmp_path)


def test_a_unit_that_starts_again_is_sorted_and_said(tmp_path, caplog):
    trains = poisson_trains()
    trains[2] = np.r_[trains[2][::2], trains[2][1::2]]  # merged from two clusters
    write_plain(tmp_path / "a.nwb", trains=trains)
    data = load(tmp_path)
    expected = [[((trains[2] >= s + b) & (trains[2] < s + b + 0.5)).sum() for b in (0, 0.5, 1, 1.5)] for s in STARTS]
    np.testing.assert_array_equal(data["spike_count"][:, :, 2], expected)
    assert "spike times of 1 units rise, fall back" in caplog.text


def few_spikes(file):
    random = np.random.default_rng(1)
    trains = [np.sort(random.uniform(0, 3600, number)) for number in (14, 20, 28, 18, 32, 10)]
    replace(file["units"], "spike_times", np.concatenate(trains))
    replace(file["units"], "spike_times_index", np.cumsum([len(train) for train in trains]))
    file["intervals/trials/start_time"][:] = np.arange(20) * 170.0 + 5
    file["intervals/trials/stop_time"][:] = np.arange(20) * 170.0 + 9


def test_the_clock_check_says_what_it_saw_and_can_be_overridden(tmp_path):
    write_plain(tmp_path / "a.nwb", few_spikes)
    with pytest.raises(AlignmentError, match=r"fires 19 times \(median\) in 35\d\d.* s, at 0.005.* Hz.*clock: trust"):
        load(tmp_path)
    assert load(tmp_path, clock="trust").sizes["unit"] == 6


@pytest.mark.parametrize("values", ["nan", "start", "absent", "before"])
def test_a_time_grid_needs_no_stop_time(tmp_path, values):
    def change(file):
        trials = file["intervals/trials"]
        if values == "absent":
            del trials["stop_time"]
        else:
            replace(trials, "stop_time", {"nan": STARTS * np.nan, "start": STARTS, "before": STARTS - 1}[values])

    write_plain(tmp_path / "a.nwb", change)
    expected = write_plain(tmp_path / "a.nwb") and load(tmp_path)["spike_count"]
    write_plain(tmp_path / "a.nwb", change)
    np.testing.assert_array_equal(load(tmp_path)["spike_count"], expected)


def test_trials_whose_times_start_again_are_said(tmp_path, caplog):
    starts = np.r_[STARTS[:10], STARTS[:10] + 4.5]
    write_plain(tmp_path / "a.nwb", lambda file: replace(file["intervals/trials"], "start_time", starts))
    assert load(tmp_path).sizes["trial"] == TRIALS
    assert "times of trials rise, fall back and rise again" in caplog.text
    caplog.clear()

    def sort(file):
        replace(file["intervals/trials"], "start_time", np.r_[STARTS[::2], STARTS[1::2]])
        add_column(file, ["first"] * 10 + ["second"] * 10)

    write_plain(tmp_path / "a.nwb", sort)  # a table sorted by a label
    load(tmp_path, trials=with_labels())
    assert "fall back" not in caplog.text


# spike times


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
def test_spike_times_in_one_column_or_row(tmp_path, shape):
    write_plain(tmp_path / "a.nwb")
    expected = load(tmp_path)["spike_count"]
    write_plain(
        tmp_path / "a.nwb", lambda file: replace(file["units"], "spike_times", file["units/spike_times"][()].reshape(shape))
    )
    np.testing.assert_array_equal(load(tmp_path)["spike_count"], expected)


@pytest.mark.parametrize(
    "values",
    [
        1.0,
        np.zeros((100, 2)),
        np.zeros((4, 5, 2)),
        np.array([(1.0, 2.0)] * 9, dtype=[("time", float), ("amplitude", float)]),
        np.array([1 + 2j] * 9),
    ],
)
def test_spike_times_that_are_no_list_of_numbers_are_refused(tmp_path, values):
    write_plain(tmp_path / "a.nwb", lambda file: replace(file["units"], "spike_times", values))
    with pytest.raises(DataFormatError, match="spike_times"):
        load(tmp_path)


@pytest.mark.parametrize("change", ["nan", "double", "half"])
def test_a_broken_index_is_refused(tmp_path, change):
    def edit(file):
        ends = file["units/spike_times_index"][()].astype(float)
        if change == "double":
            file["units/spike_times_index_index"] = np.arange(1, 7)
        else:
            ends[2] = np.nan if change == "nan" else ends[2] + 0.5
            replace(file["units"], "spike_times_index", ends)

    write_plain(tmp_path / "a.nwb", edit)
    with pytest.raises(DataFormatError, match="spike_times_index"):
        load(tmp_path)


# columns


def test_float32_labels_are_short_and_kept_by_their_text(tmp_path):
    write_plain(tmp_path / "a.nwb", lambda file: add_column(file, np.array([0.1, 0.2] * 10, "f4")))
    data = load(tmp_path, trials=with_labels(keep={"c": [0.1]}))
    assert data["c"].values.tolist() == [0.1] * 10
    assert data["trial"].values.tolist() == list(range(0, 20, 2))


@pytest.mark.parametrize("texts", [("True", "False"), ("true", "false"), ("TRUE", "FALSE"), (True, False), (1, 0), (1.0, 0.0)])
@pytest.mark.parametrize("kept", [True, False])
def test_flags_in_any_spelling_are_kept_by_bools(tmp_path, texts, kept):
    write_plain(tmp_path / "a.nwb", lambda file: add_column(file, list(texts) * 10))
    data = load(tmp_path, trials=with_labels(keep={"c": [kept]}))
    assert data["trial"].values.tolist() == list(range(0 if kept else 1, 20, 2))


def enum_data(file, codes=(0, 1), names=("left", "right"), link=True):
    add_column(file, np.array(list(codes) * 10, "u1"), neurodata_type="EnumData")
    elements = add_column(file, list(names), "c_elements")
    if link:
        file["intervals/trials/c"].attrs["elements"] = elements.ref


@pytest.mark.parametrize("link", [True, False])
def test_codes_of_enumerations_are_read_as_their_names(tmp_path, link):
    write_plain(tmp_path / "a.nwb", partial(enum_data, link=link))
    assert load(tmp_path, trials=with_labels())["c"].values.tolist() == ["left", "right"] * 10
    assert load(tmp_path, trials=with_labels(keep={"c": ["right"]}))["trial"].values.tolist() == list(range(1, 20, 2))
    write_plain(tmp_path / "a.nwb", partial(enum_data, codes=(0, 2)))
    with pytest.raises(DataFormatError, match="codes without a name"):
        load(tmp_path, trials=with_labels())


def test_enumerated_types_of_hdf5_are_read_as_their_names(tmp_path):
    dtype = h5py.enum_dtype({"go": 3, "nogo": 7}, basetype="i4")

    def change(file):
        file["intervals/trials"].create_dataset("c", data=np.array([3, 7] * 10), dtype=dtype)

    write_plain(tmp_path / "a.nwb", change)
    assert load(tmp_path, trials=with_labels())["c"].values.tolist() == ["go", "nogo"] * 10


def ragged(file, counts, values):
    add_column(file, values)
    file["intervals/trials/c_index"] = np.cumsum(counts)


def test_ragged_labels_with_at_most_one_value_a_row_are_read(tmp_path):
    write_plain(tmp_path / "a.nwb", partial(ragged, counts=[1] * 20, values=["x", "y"] * 10))
    assert load(tmp_path, trials=with_labels())["c"].values.tolist() == ["x", "y"] * 10
    write_plain(tmp_path / "a.nwb", partial(ragged, counts=[1, 0] * 10, values=["x", "y"] * 5))
    assert load(tmp_path, trials=with_labels())["c"].values.tolist() == ["x", "", "y", ""] * 5


def compound(file):
    add_column(file, np.array([(1, 2)] * 20, dtype=[("a", "i4"), ("b", "i4")]))


def references(file):
    target = file["intervals/trials"].ref
    file["intervals/trials"].create_dataset("c", data=[target] * 20, dtype=h5py.ref_dtype)


def region(file):
    add_column(file, np.arange(20) % 2, neurodata_type="DynamicTableRegion").attrs["table"] = file["units"].ref


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (partial(ragged, counts=[2] * 20, values=["x", "y"] * 20), "is ragged"),
        (lambda file: add_column(file, np.zeros((20, 2))), r"has the shape \(20, 2\)"),
        (lambda file: add_column(file, 1.0), r"has the shape \(\)"),
        (compound, "compound"),
        (references, "references"),
        (region, "rows of the table units"),
        (lambda file: file["intervals/trials"].create_group("c"), "is a group"),
    ],
)
def test_columns_without_one_value_a_row_are_refused_by_name(tmp_path, change, found):
    write_plain(tmp_path / "a.nwb", change)
    for trials in (with_labels(), {"labels": {"stim": "stim"}, "keep": {"c": [1]}}):
        with pytest.raises(MissingTableError, match=f"'c' .*{found}|{found}"):
            load(tmp_path, trials=trials)
    assert load(tmp_path).sizes["trial"] == TRIALS  # what is not named does no harm


@pytest.mark.parametrize("path", ["processing/behavior/trials", "acquisition/tasks/trials"])
@pytest.mark.parametrize("named", ["trials", "path"])
def test_tables_elsewhere_are_read(tmp_path, path, named):
    write_plain(tmp_path / "a.nwb", lambda file: file.move("intervals/trials", path))
    table = path if named == "path" else "trials"
    assert load(tmp_path, trials={"table": table, "labels": {"stim": "stim"}})["stim"].values.tolist() == STIMULI
    with pytest.raises(MissingTableError, match=f"The file has: {path}"):
        load(tmp_path, trials={"table": "epochs"})


DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "u1", "i4", "i8", "u8", "bool", "text", "bytes"])
LAYOUTS = st.sampled_from(["flat", "column", "row", "ragged", "enum", "elsewhere"])


@settings(max_examples=40, deadline=None)
@given(DTYPES, LAYOUTS, st.data())
def test_labels_of_all_types_and_layouts_are_those_that_were_written(tmp_path_factory, dtype, layout, data):
    """Compare labels, kept trials and counts with those computed from what was written, by numpy alone."""
    folder = tmp_path_factory.mktemp("labels")
    if dtype in ("text", "bytes"):
        values = np.array(data.draw(st.lists(st.sampled_from(["A", "B b", "7", "x.5"]), min_size=TRIALS, max_size=TRIALS)))
        stored = values.astype("S") if dtype == "bytes" else values.astype(object)
    elif dtype == "bool":
        values = stored = np.array(data.draw(st.lists(st.booleans(), min_size=TRIALS, max_size=TRIALS)))
    else:
        numbers = [0, 1, 7, 100] if np.dtype(dtype).kind in "iu" else [0.1, 0.5, -3.25, 12.0]
        values = stored = np.array(data.draw(st.lists(st.sampled_from(numbers), min_size=TRIALS, max_size=TRIALS)), dtype=dtype)

    def change(file):
        trials = file["intervals/trials"]
        shape = {"column": (-1, 1), "row": (1, -1)}.get(layout, (-1,))
        kind = {"dtype": h5py.string_dtype()} if dtype == "text" else {}
        if layout == "enum":
            names, codes = np.unique(stored, return_inverse=True)
            trials.create_dataset("c_elements", data=names, **kind)
            column = trials.create_dataset("c", data=codes.astype("u1"))
            column.attrs.update(neurodata_type="EnumData", elements=trials["c_elements"].ref)
        else:
            trials.create_dataset("c", data=stored.reshape(shape), **kind)
        if layout == "ragged":
            trials["c_index"] = np.arange(1, TRIALS + 1)
        if layout == "elsewhere":
            file.move("intervals/trials", "processing/task/trials")

    trains = poisson_trains(3)
    write_plain(folder / "a.nwb", change, trains)
    # the shortest text of a number is what a person reads and writes, whatever its precision
    short = [float(str(value)) if values.dtype.kind == "f" else value for value in values]
    kept = data.draw(st.sampled_from(sorted(set(short))))
    kept = kept.item() if isinstance(kept, np.generic) else kept
    data_of = load(folder, trials=with_labels(keep={"c": [kept]}), min_trials=1)
    rows = [row for row, value in enumerate(short) if value == kept]
    assert data_of["trial"].values.tolist() == rows
    assert {str(value) for value in data_of["c"].values.tolist()} <= {
        str(kept),
        f"{kept:g}" if not isinstance(kept, str) else kept,
    }
    counts = [
        [[((t >= STARTS[r] + b) & (t < STARTS[r] + b + 0.5)).sum() for t in trains] for b in (0, 0.5, 1, 1.5)] for r in rows
    ]
    np.testing.assert_array_equal(data_of["spike_count"], counts)


# series


def add_lfp(file, data, channel_conversion=None, timestamps=None, **attrs):
    group = file.create_group("acquisition/lfp")
    group.attrs["neurodata_type"] = "ElectricalSeries"
    group.create_dataset("data", data=data).attrs.update(attrs)
    if timestamps is None:
        group.create_dataset("starting_time", data=0.0).attrs["rate"] = 250.0
    else:
        group["timestamps"] = timestamps
    if channel_conversion is not None:
        group["channel_conversion"] = channel_conversion


WAVE = (np.sin(2 * np.pi * 8 * np.arange(250 * 200) / 250) * 1e4).astype("i2")
POWER = {"kind": "lfp_power", "bands": [[4, 12]]}


def test_channel_conversion_scales_its_channel(tmp_path):
    write_plain(
        tmp_path / "a.nwb", partial(add_lfp, data=np.stack([WAVE, WAVE], 1), channel_conversion=[1.0, 2.0], conversion=1e-8)
    )
    power = load(tmp_path, activity=POWER)["event_amplitude"].mean(("trial", "time"))
    np.testing.assert_allclose(power[1] / power[0], 4, rtol=1e-5)
    # half the squared amplitude, 1e4 * 1e-8 V: 100 uV
    np.testing.assert_allclose(power[0], 100**2 / 2, rtol=0.02)


@pytest.mark.parametrize("factors", [[1.0], [1.0, np.nan], [1.0, 2.0, 3.0]])
def test_channel_conversion_that_does_not_fit_is_refused(tmp_path, factors):
    write_plain(tmp_path / "a.nwb", partial(add_lfp, data=np.stack([WAVE, WAVE], 1), channel_conversion=factors))
    with pytest.raises(DataFormatError, match="channel_conversion"):
        load(tmp_path, activity=POWER)


@pytest.mark.parametrize(
    ("conversion", "message"), [(0.0, "makes all values 0"), (np.nan, "finite"), (np.array([1.0, 2]), "finite")]
)
def test_an_impossible_conversion_is_refused(tmp_path, conversion, message):
    write_plain(tmp_path / "a.nwb", partial(add_lfp, data=np.stack([WAVE, WAVE], 1), conversion=conversion))
    with pytest.raises(DataFormatError, match=message):
        load(tmp_path, activity=POWER)


def test_timestamps_that_start_again_are_refused(tmp_path):
    times = np.arange(len(WAVE)) / 250 % 100
    write_plain(tmp_path / "a.nwb", partial(add_lfp, data=WAVE, timestamps=times))
    with pytest.raises(AlignmentError, match="timestamps that rise, fall back"):
        load(tmp_path, activity=POWER)


def add_cells(file, values, channel_conversion=None, **attrs):
    table = file.create_group("processing/ophys/ImageSegmentation/PlaneSegmentation")
    table["id"] = [10, 11, 12, 13]
    table["accepted"] = np.array([1, 0, 1, 1])
    table.create_dataset("kind", data=["soma", "soma", "glia", "soma"], dtype=h5py.string_dtype())
    series = file.create_group("processing/ophys/events")
    series.create_dataset("data", data=values).attrs.update(attrs)
    series.create_dataset("starting_time", data=0.0).attrs["rate"] = 10.0
    series.create_dataset("rois", data=[3, 1, 0, 2]).attrs["table"] = table.ref
    if channel_conversion is not None:
        series["channel_conversion"] = channel_conversion


def test_cells_are_kept_by_columns_of_their_table(tmp_path):
    values = np.random.default_rng(0).normal(size=(2000, 4)).astype("f4")
    write_plain(
        tmp_path / "a.nwb", partial(add_cells, values=values, conversion=2.0, offset=1.0, channel_conversion=[1, 2, 3, 4.0])
    )
    activity = {"kind": "roi_response", "series": "processing/ophys/events", "keep": {"accepted": [True], "kind": ["soma"]}}
    data = load(tmp_path, activity=activity)
    assert data["unit"].values.tolist() == [13, 10]  # columns 0 and 2 of the data
    assert reasons(data) == {"accepted is none of True": 1, "kind is none of soma": 1}
    scaled = values[:, [0, 2]] * 2.0 * np.array([1, 3.0]) + 1.0
    expected = [[scaled[round((s + b) * 10) : round((s + b) * 10) + 5].mean(0) for b in (0, 0.5, 1, 1.5)] for s in STARTS]
    np.testing.assert_allclose(data["event_amplitude"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(SpecError, match="no file has the value 'neuron'"):
        load(tmp_path, activity=activity | {"keep": {"kind": ["neuron"]}}, min_units=1)
    with pytest.raises(MissingTableError, match="no column 'iscell'"):
        load(tmp_path, activity=activity | {"keep": {"iscell": [1]}})


ROI = {"kind": "roi_response", "series": "processing/ophys/events"}


@pytest.mark.parametrize("frozen", [0.0, 1.5])
def test_trials_in_frames_that_do_not_change_are_dropped(tmp_path, frozen, caplog):
    values = np.random.default_rng(0).gamma(0.3, size=(2000, 4)).astype("f4")
    values[values < 0.5] = 0  # events
    write_plain(tmp_path / "a.nwb", partial(add_cells, values=values))
    assert load(tmp_path, activity=ROI).sizes["trial"] == TRIALS
    values[600:1000] = frozen
    write_plain(tmp_path / "a.nwb", partial(add_cells, values=values))
    data = load(tmp_path, activity=ROI)
    assert data["trial"].values.tolist() == [trial for trial, s in enumerate(STARTS) if s + 1 <= 60 - 0.5 or s + 1 > 100]
    assert "are left out" in caplog.text
    assert load(tmp_path, activity=ROI, trials={"silences": "keep"}).sizes["trial"] == TRIALS


def test_laps_in_invalid_times_or_without_a_stop_are_dropped(tmp_path):
    values = np.random.default_rng(0).normal(size=(2000, 4)).astype("f4")

    def change(file):
        add_cells(file, values)
        place = file.create_group("processing/behavior/place")
        place["data"] = (np.arange(2000) / 10 - 5) % 9 / 4 * 50  # 0 to 50 cm within the 4 s of a lap, stored as halves
        place["data"].attrs.update(conversion=2.0, unit="cm")
        place.create_dataset("starting_time", data=0.0).attrs["rate"] = 10.0
        add_invalid(file, [17.5], [25])  # the end of the second lap, the third
        file["intervals/trials/stop_time"][5] = np.nan

    write_plain(tmp_path / "a.nwb", change)
    grid = {"kind": "position", "series": "processing/behavior/place", "range": [0, 100], "bins": 4}
    data = load(tmp_path, activity=ROI, grid=grid)
    assert reasons(data) == {"start_time or stop_time is NaN": 1, "in intervals/invalid_times": 2}
    assert data["trial"].values.tolist() == [0, 3, 4, *range(6, 20)]
    begins = [round(start * 10) for start in STARTS[data["trial"].values]]
    expected = [values[begin : begin + 40].reshape(4, 10, 4).mean(1) for begin in begins]
    np.testing.assert_allclose(data["event_amplitude"], expected, rtol=1e-4, atol=1e-6)


# animals


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6))
def test_safe_names_are_safe_and_differ(names):
    safe = safe_names(names)
    assert list(safe) == list(dict.fromkeys(names))
    assert all(map(is_animal_name, safe.values()))
    assert all(safe[name] == name for name in names if is_animal_name(name))
    changed = [name for name in safe if safe[name] != name]
    assert len({safe[name].casefold() for name in changed}) == len(changed)
    assert not {safe[name] for name in changed} & {name for name in names if is_animal_name(name)}


def test_units_of_sessions_are_matched_only_if_the_spec_says_how(tmp_path):
    columns = {"a": [30, 10, 20, 50, 60, 70], "b": [10, 20, 30, 40, 80, 90]}
    for number, (name, values) in enumerate(columns.items()):
        trains = poisson_trains(seed=number)
        write_plain(tmp_path / f"{name}.nwb", lambda file, v=values: add_column(file, v, "cell", "units"), trains)
    with pytest.raises(DataFormatError, match=r"units numbered by row in a\.nwb, b\.nwb.*match_units"):
        load(tmp_path, sessions="concatenate")
    assert load(tmp_path, sessions="concatenate", match_units="id")["unit"].values.tolist() == list(range(6))
    data = load(tmp_path, sessions="concatenate", match_units="cell")
    assert data["unit"].values.tolist() == [10, 20, 30]
    train = poisson_trains(seed=0)[0]  # cell 30 is the first unit of a, the third of b
    expected = [[((train >= s + b) & (train < s + b + 0.5)).sum() for b in (0, 0.5, 1, 1.5)] for s in STARTS]
    np.testing.assert_array_equal(data["spike_count"][:TRIALS].sel(unit=30), expected)
    train = poisson_trains(seed=1)[2]
    expected = [[((train >= s + b) & (train < s + b + 0.5)).sum() for b in (0, 0.5, 1, 1.5)] for s in STARTS]
    np.testing.assert_array_equal(data["spike_count"][TRIALS:].sel(unit=30), expected)
    with pytest.raises(MissingTableError, match="no column 'cluster' of units"):
        load(tmp_path, sessions="concatenate", match_units="cluster")


def test_ids_that_units_left_out_make_gaps_in_are_still_row_numbers(tmp_path):
    for name in "ab":
        write_plain(
            tmp_path / f"{name}.nwb",
            lambda file: add_column(file, [0, 1, 1, 0, 1, 1], "good", "units"),
            poisson_trains(seed=ord(name)),
        )
    with pytest.raises(DataFormatError, match="numbered by row"):
        load(tmp_path, sessions="concatenate", activity={"kind": "spikes", "keep": {"good": [1]}})


# other formats


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.nwb", b"MATLAB 5.0 MAT-file, Platform", r"\.mat file of version 5.*neuromvm data convert"),
        ("a.npz", b"PK\x03\x04....", r"\.npz"),
        ("a.npy", b"\x93NUMPY\x01\x00", r"a \.npy file"),
        ("a.csv", b"unit,time\n1,2\n", r"text file \.csv"),
        ("sorting", {"params.py": b"", "spike_times.npy": b""}, "a folder of phy or kilosort"),
        ("suite2p", {"plane0/stat.npy": b"", "plane0/F.npy": b""}, "a folder of suite2p"),
        ("empty", {"notes.md": b""}, "a folder, and none of.*patterns"),
    ],
)
def test_other_formats_are_named_with_the_next_step(tmp_path, name, content, found):
    for part, data in ({"": content} if isinstance(content, bytes) else content).items():
        path = tmp_path / name / part if part else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(DataFormatError, match=found):
        load(tmp_path, files=[name])


def test_hdf5_of_matlab_and_old_nwb_are_named(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file["#refs#/a"] = 1.0
    with pytest.raises(DataFormatError, match=r"\.mat file of version 7\.3"):
        load(tmp_path)
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file["nwb_version"] = "NWB-1.0.6"
    with pytest.raises(DataFormatError, match=r"NWB 1\.x.*Write it as NWB 2"):
        load(tmp_path)


def test_a_missing_filter_is_named(tmp_path):
    def change(file):
        times = file["units/spike_times"][()]
        del file["units/spike_times"]
        space = h5py.h5s.create_simple((len(times),))
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_chunk((len(times),))
        layout.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, ())  # a number that no filter has
        dataset = h5py.h5d.create(file["units"].id, b"spike_times", h5py.h5t.IEEE_F64LE, space, layout)
        dataset.write_direct_chunk((0,), times.tobytes())

    write_plain(tmp_path / "a.nwb", change)
    with pytest.raises(DataFormatError, match="hdf5plugin"):
        load(tmp_path)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20)), max_size=5), st.floats(0, 60))
def test_overlap_is_that_of_a_fine_raster(intervals, start):
    found = overlap(np.array([start]), np.array([start + WINDOW]), np.array([(a, a + b) for a, b in intervals]).reshape(-1, 2))
    inside = [a < start + WINDOW - 1e-6 and a + b > start + 1e-6 for a, b in intervals]
    assert found.tolist() == [any(inside)]
