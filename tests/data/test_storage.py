"""Recordings in one file: identical after a round trip, read when used, quick to open, typed errors for damage."""

import json
import time

import h5netcdf
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuromvm.data import storage
from neuromvm.data.storage import open_recordings, save_recordings
from neuromvm.errors import DataFormatError, NeuromvmError, SchemaError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
LABEL_TYPES = st.sampled_from(["<i8", "<f8", "<f4", "?", "<u2", "i1", ">i4", "<M8[ns]", "<m8[ns]"])
SCALARS = st.one_of(TEXT, st.integers(-(2**60), 2**60), st.floats(), st.booleans())
ATTRS = st.dictionaries(
    TEXT, st.one_of(SCALARS, st.lists(SCALARS, max_size=3), hnp.arrays("<f4", 3), TEXT.map(np.str_)), max_size=3
)


@st.composite
def labels(draw, length):
    if draw(st.booleans()):
        return np.array(draw(st.lists(TEXT, min_size=length, max_size=length)), dtype=str).reshape(length)
    return draw(hnp.arrays(draw(LABEL_TYPES), length))


@st.composite
def animal(draw, bins):
    trials, units = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    name, dtype = draw(
        st.sampled_from([("spike_count", "u1"), ("spike_count", "<u4"), ("event_amplitude", "<f4"), ("event_amplitude", "<f8")])
    )
    elements = {"min_value": -(2.0**99), "max_value": 2.0**99} if name == "event_amplitude" else None
    values = draw(hnp.arrays(dtype, (trials, bins, units), elements=elements))
    coords = {
        "trial": np.arange(trials),
        "unit": draw(st.sampled_from([np.arange(units), np.array([f"é{u}" for u in range(units)], "U3")])),
    }
    for dim, length in (("trial", trials), ("unit", units)):
        for label in draw(st.sets(st.sampled_from(["odor", "région", "on/off", "Größe"]), max_size=2)):
            coords[f"{label} {dim}".replace("/", "_")] = (dim, draw(labels(length)), draw(ATTRS))
    variables = {name: (("trial", "time", "unit"), values, draw(ATTRS))}
    if draw(st.booleans()):
        variables["theta_phase"] = (("trial", "time"), draw(hnp.arrays("<f8", (trials, bins))))
    return xr.Dataset(variables, coords, draw(ATTRS))


@st.composite
def recordings(draw):
    bins = draw(st.integers(1, 3))
    nodes = {name: draw(animal(bins)) for name in draw(st.sets(st.sampled_from(["ada", "Bob-2", "c_3"]), min_size=1))}
    root = xr.Dataset(coords={"time": ("time", np.arange(bins) * 0.1, {"bin_width": 0.1})}, attrs=draw(ATTRS))
    return xr.DataTree.from_dict({"/": root, **nodes})


def types(tree):
    return {(node.path, str(name)): values.dtype for node in tree.subtree for name, values in node.variables.items()}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=recordings())
def test_round_trips_are_identical(tmp_path, tree):
    file = save_recordings(tree, tmp_path / "r.nc")
    back = open_recordings(file)
    assert back.identical(tree)
    assert types(back) == types(tree)
    assert list(back.children) == list(tree.children)
    assert [path.name for path in tmp_path.iterdir()] == ["r.nc"]


def many(animals, trials=20, bins=20, units=30):
    rng = np.random.default_rng(0)
    nodes = {"/": xr.Dataset(coords={"time": ("time", np.arange(bins) * 0.05, {"bin_width": 0.05})})}
    for number in range(animals):
        coords = {"trial": np.arange(trials), "unit": np.arange(units), "odor": ("trial", rng.choice(list("ABCDE"), trials))}
        coords |= {name: ("trial", np.arange(trials) * 3.0) for name in ("onset", "start_time", "stop_time")}
        coords |= {name: ("unit", np.full(units, "CA1")) for name in ("region", "quality")}
        counts = rng.poisson(0.3, (trials, bins, units)).astype(np.uint8)
        nodes[f"rat{number}"] = xr.Dataset({"spike_count": (("trial", "time", "unit"), counts)}, coords, {"source_file": "a.nwb"})
    return xr.DataTree.from_dict(nodes)


def test_200_animals_open_in_under_two_seconds(tmp_path):
    tree = many(200)
    file = save_recordings(tree, tmp_path / "r.nc")
    start = time.process_time()
    back = open_recordings(file)
    assert time.process_time() - start < 2  # .4 s; one group an animal takes 20 s
    assert back.identical(tree)


def test_only_the_trials_that_are_asked_for_are_read(tmp_path, monkeypatch):
    tree = many(3, trials=6)
    file = save_recordings(tree, tmp_path / "r.nc")
    read = []
    restored = storage._restored
    monkeypatch.setattr(storage, "_restored", lambda values, dtype: read.append(values.size) or restored(values, dtype))
    back = open_recordings(file)
    read.clear()  # labels
    stored, counts = back["rat1"]["spike_count"], tree["rat1"]["spike_count"].values
    assert stored.shape == (6, 20, 30)
    assert read == []
    for selection in (2, slice(1, 4), slice(None, None, -2), slice(5, 1, -3), [3, 0, 0], -1, slice(4, 4)):
        np.testing.assert_array_equal(stored.isel(trial=selection), counts[selection])
    np.testing.assert_array_equal(stored.isel(trial=2, unit=[3, 1], time=slice(None, None, 2)), counts[2, ::2][:, [3, 1]])
    np.testing.assert_array_equal(stored.isel(unit=-1), counts[..., -1])
    assert read[:2] == [600, 1800]
    assert back["rat0"].to_dataset().load().identical(tree["rat0"].to_dataset())


@pytest.mark.parametrize("block", [1, 1000, 10**9])
def test_files_are_the_same_whatever_is_written_at_once(tmp_path, monkeypatch, block):
    monkeypatch.setattr(storage, "BLOCK", block)
    tree = many(3, trials=5)
    assert open_recordings(save_recordings(tree, tmp_path / "r.nc")).identical(tree)


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    file = save_recordings(many(1), tmp_path / "r.nc")
    old = file.read_bytes()

    def fail(arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_blocks", fail)
    with pytest.raises(OSError, match="No space"):
        save_recordings(many(2), file)
    assert [path.name for path in tmp_path.iterdir()] == ["r.nc"]
    assert file.read_bytes() == old


def test_the_file_is_netcdf_and_not_kept_open(tmp_path):
    file = save_recordings(many(2), tmp_path / "new" / "r.nc")
    back = open_recordings(str(file))
    with xr.open_dataset(file, engine="h5netcdf") as dataset:
        assert dataset["data_uint8"].size == 2 * 20 * 20 * 30
    save_recordings(many(3), file)
    with pytest.raises(DataFormatError, match="changed since it was opened"):
        back["rat0"]["spike_count"].load()


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path):
    for change in (
        {"attrs": {"made": object()}},
        {"coords": {"wave": ("unit", np.ones(30, complex))}},
        {"coords": {"mixed": ("unit", np.array([1, "a"] * 15, dtype=object))}},
        {"coords": {"text": ("unit", np.full(30, "\ud800"))}},
        {"coords": {7: ("unit", np.ones(30))}},
    ):
        tree = many(2)
        tree["rat1"].attrs.update(change.get("attrs", {}))
        tree["rat1"].coords.update(change.get("coords", {}))
        with pytest.raises(SchemaError, match="recordings"):
            save_recordings(tree, tmp_path / "r.nc")
    with pytest.raises(NeuromvmError, match="argument 'tree'"):
        save_recordings(many(1).to_dataset(), tmp_path / "r.nc")
    assert not list(tmp_path.iterdir())


def test_damage_is_a_typed_error(tmp_path):
    file = save_recordings(many(2), tmp_path / "r.nc")
    good = file.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            damaged[place] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged[: int(rng.choice([len(good), len(good) // 2]))])
        try:
            open_recordings(file).to_dict()["/rat0"].load()
            outcomes.add("read")
        except NeuromvmError as error:
            outcomes.add(type(error).__name__)
    assert "DataFormatError" in outcomes
    file.write_bytes(b"")
    with pytest.raises(DataFormatError, match="unreadable"):
        open_recordings(file)


@pytest.mark.parametrize(
    "change", [{"start": -1}, {"start": 10**9}, {"shape": [10**9, 20, 30]}, {"shape": [-1, 20, 30]}, {"dtype": "|O"}, {"size": 3}]
)
def test_an_index_that_does_not_fit_is_refused(tmp_path, change):
    file = save_recordings(many(1), tmp_path / "r.nc")
    with h5netcdf.File(file) as handle:
        index = json.loads(handle["index"][...].tobytes())
        values = handle["data_uint8"][...]
    index["nodes"]["rat0"]["variables"]["spike_count"].update(change)
    (tmp_path / "r.nc").unlink()
    storage._write(file, json.dumps(index).encode(), {"data_uint8": [values]})
    with pytest.raises(DataFormatError):
        open_recordings(file)
