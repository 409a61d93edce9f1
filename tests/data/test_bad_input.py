"""Damaged, foreign and misleading files: each a typed error that says what to do, never a partial result."""

import fcntl
import logging
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from neuromvm.data.loaders import hdf5, load_recordings, nwb_file
from neuromvm.errors import AlignmentError, DataFormatError, MissingTableError, SchemaError, SpecError
from neuromvm.specs import load_data_spec
from tests.data.nwb_files import spike_spec, spike_trains, trial_columns, write_spikes


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> bytes:
    """Return the content of a good file."""
    path = tmp_path_factory.mktemp("whole") / "a.nwb"
    return write_spikes(path, columns={"quality": ["good", "mua", "good"]}, regions=["CA1"] * 3).read_bytes()


@pytest.fixture
def good(tmp_path, whole) -> Path:
    """Return the path of a good file, alone in its folder."""
    path = tmp_path / "a.nwb"
    path.write_bytes(whole)
    return path


def refusal(folder, kind=DataFormatError, **changes) -> str:
    """Return the message with which a folder is refused."""
    with pytest.raises(kind) as caught:
        load_recordings(spike_spec(**changes), folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"MATLAB 5.0 MAT-file", "not HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "git lfs pull"),
        (b"../.git/annex/objects/xx/yy", "datalad get"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "unreadable"),
    ],
)
def test_files_that_are_not_hdf5(tmp_path, content, found):
    (tmp_path / "a.nwb").write_bytes(content)
    message = refusal(tmp_path)
    assert found in message
    assert str(tmp_path / "a.nwb") in message


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_truncated_file(good, share):
    content = good.read_bytes()
    good.write_bytes(content[: int(share * len(content))])
    assert "unreadable" in refusal(good.parent)


def test_random_damage_is_a_typed_error_or_a_read(good):
    (good.parent / "damaged").mkdir()
    repository = Path(__file__).parents[2]
    outcomes: dict[int, str] = {}
    first, last = 0, 30
    while first < last:
        command = [sys.executable, "-m", "tests.data.damaged_reads", str(good), str(first), str(last)]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode <= 0, done.stderr  # negative: HDF5 itself crashed
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        assert lines
        outcomes |= {int(number): outcome for number, _, outcome in lines}
        first = int(lines[-1][0]) + 1
    assert set(outcomes.values()) <= {"read", "refused", ""}
    assert list(outcomes.values()).count("refused") > 2
    assert list(outcomes.values()).count("") < 4


def test_missing_folder_and_files(tmp_path):
    assert "no folder" in refusal(tmp_path / "none")
    assert "The folder has: nothing" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    message = refusal(tmp_path, files=["sub-*.nwb"])
    assert "'sub-*.nwb'" in message
    assert "notes.txt" in message
    (tmp_path / "a.nwb").mkdir()
    assert "Zarr" in refusal(tmp_path)


def test_patterns_and_links_that_leave_the_folder(good):
    with pytest.raises(ValidationError, match="leaves the data folder"):
        spike_spec(files=["../*.nwb"])
    inner = good.parent / "inner"
    inner.mkdir()
    (inner / "b.nwb").symlink_to(good)
    assert "leaves the data folder" in refusal(inner)
    assert "Expected a glob pattern" in refusal(good.parent, SpecError, files=["**.nwb"])


def test_hdf5_that_is_not_nwb_2(tmp_path):
    path = tmp_path / "a.nwb"
    with h5py.File(path, "w") as file:
        file["data"] = 1.0
    assert "without an NWB version; groups ['data']" in refusal(tmp_path)
    with h5py.File(path, "a") as file:
        file["nwb_version"] = "NWB-1.0.6"
    assert "NWB 1.x" in refusal(tmp_path)
    with h5py.File(path, "a") as file:
        file.attrs["nwb_version"] = "3.0.0"
    assert "NWB version 3.0.0" in refusal(tmp_path)


def test_locked_file_is_read_without_a_lock(good, caplog):
    with good.open("rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with caplog.at_level(logging.WARNING):
            assert list(load_recordings(spike_spec(), good.parent).children) == ["rat"]
    assert "reading without a lock" in caplog.text


def test_no_units(good):
    with h5py.File(good, "a") as file:
        del file["units"]
    message = refusal(good.parent, MissingTableError)
    assert "/units: no such table" in message
    assert "intervals/trials (6 rows)" in message


def test_no_trials(tmp_path):
    write_spikes(tmp_path / "a.nwb", table="Odor A ON")
    message = refusal(tmp_path, MissingTableError)
    assert "/intervals/trials: no such table" in message
    assert "intervals/Odor A ON (6 rows), units (3 rows)" in message


@pytest.mark.parametrize("table", ["intervals/trials", "units"])
def test_tables_without_rows(good, table):
    with h5py.File(good, "a") as file:
        for name, column in list(file[table].items()):
            del file[table][name]
            file[table][name] = column[:0]
    assert f"/{table}: a table without rows" in refusal(good.parent)


def test_no_spike_times(good):
    with h5py.File(good, "a") as file:
        del file["units/spike_times_index"]
    assert "no spike_times with spike_times_index" in refusal(good.parent, MissingTableError)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"trials": {"labels": {"odor": "odour"}}}, "trials.labels.odor"),
        ({"trials": {"keep": {"odour": ["A"]}}}, "trials.keep.odour"),
        ({"grid": {"kind": "time", "align": "odour", "window": [0, 1]}}, "grid.align"),
    ],
)
def test_unknown_trial_column(good, changes, setting):
    message = refusal(good.parent, MissingTableError, **changes)
    assert "a.nwb: /intervals/trials: no column 'odour'" in message
    assert "Did you mean 'odor'? There are: cue_time, odor, start_time, stop_time" in message
    assert f"Set {setting} in the data spec" in message


def test_unknown_unit_column(good):
    message = refusal(good.parent, MissingTableError, activity={"keep": {"qualty": ["good"]}})
    assert "Did you mean 'quality'" in message
    assert "activity.keep.qualty" in message


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"trials": {"labels": {"odor": "odor"}, "keep": {"odor": ["A", "b"]}}},
            "trials.keep.odor: no file has the value 'b'",
        ),
        (
            {"trials": {"labels": {"odor": "odor"}, "map": {"odor": {"a": "mint"}}}},
            "trials.map.odor: no file has the value 'a'",
        ),
        (
            {"activity": {"keep": {"quality": ["excellent"]}}},
            "activity.keep.quality: no file has the value 'excellent'",
        ),
        ({"activity": {"regions": ["CA3"]}}, "activity.regions.region: no file has the value 'CA3'"),
    ],
)
def test_filter_values_that_no_file_has(good, changes, found):
    message = refusal(good.parent, SpecError, **changes)
    assert found in message
    assert "Expected one of: " in message


def test_text_that_is_not_utf8(good):
    latin = np.array([b"A"] * 5 + [b"\xe9"])
    with h5py.File(good, "a") as file:
        del file["intervals/trials/odor"]
        file["intervals/trials/odor"] = latin
    message = refusal(good.parent)
    assert "/intervals/trials/odor: text that is not UTF-8" in message


def test_name_that_is_not_utf8(good):
    with h5py.File(good, "a") as file:
        trials = file["intervals/trials"].id
        trials.links.move(b"odor", trials, b"od\xe9r")
    assert "text that is not UTF-8" in refusal(good.parent)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("units/spike_times", np.array([b"x"] * 545)),
        ("units/spike_times_index", np.array([b"x"] * 3)),
        ("units/electrodes", np.array([b"x"] * 3)),
        ("intervals/trials/start_time", np.array([b"x"] * 6)),
    ],
)
def test_text_in_place_of_numbers(good, path, values):
    with h5py.File(good, "a") as file:
        attrs = dict(file[path].attrs)
        del file[path]
        file[path] = values
        file[path].attrs.update(attrs)
    assert f"/{path.removesuffix('/start_time')}" in refusal(good.parent)


def test_copies_of_one_recording(good):
    (good.parent / "b.nwb").write_bytes(good.read_bytes())
    assert "a.nwb and b.nwb are copies" in refusal(good.parent, SchemaError, animal="file")


def test_repeated_ids(tmp_path):
    write_spikes(tmp_path / "a.nwb", ids=[1, 1, 2])
    assert "/units: ids that repeat" in refusal(tmp_path)


def test_broken_index(good):
    with h5py.File(good, "a") as file:
        index = file["units/spike_times_index"]
        index[1] = index[2] + 5
    assert "ends that fall or do not reach the end" in refusal(good.parent)


def test_columns_of_different_length(good):
    with h5py.File(good, "a") as file:
        del file["intervals/trials/odor"]
        file["intervals/trials/odor"] = np.arange(5)
    assert "column 'odor' with 5 rows. Expected 6" in refusal(good.parent)


def test_no_usable_trial(tmp_path):
    write_spikes(tmp_path / "a.nwb", trials=trial_columns(cue_time=np.full(6, np.nan)))
    assert "no usable row among 6: 6 where cue_time is NaN" in refusal(tmp_path)


def test_text_where_times_should_be(tmp_path):
    write_spikes(tmp_path / "a.nwb", trials=trial_columns(cue_time=["early"] * 6))
    assert "column 'cue_time' holds" in refusal(tmp_path)


def test_events_outside_the_recording(tmp_path):
    write_spikes(tmp_path / "a.nwb", trials=trial_columns(cue_time=1000.0 + np.arange(6)))
    message = refusal(tmp_path, AlignmentError)
    assert "recording from 0 to 17" in message
    assert "windows from 999 to 1006" in message


@pytest.mark.parametrize("factor", [1e3, 1e6])
@pytest.mark.parametrize("which", ["spikes", "trials", "both"])
def test_milliseconds_and_microseconds(tmp_path, factor, which):
    of_spikes, of_trials = (factor if which in {name, "both"} else 1 for name in ("spikes", "trials"))
    columns = {name: values * of_trials if name != "odor" else values for name, values in trial_columns().items()}
    trains = [train[::20] * of_spikes for train in spike_trains()]  # about 0.5 Hz
    write_spikes(tmp_path / "a.nwb", trains=trains, trials=columns)
    assert "must be seconds" in refusal(tmp_path, AlignmentError)


def test_links_to_other_files_are_refused(good):
    other = good.parent / "secret.h5"
    with h5py.File(other, "w") as file:
        file["odor"] = np.array([b"A"] * 6)
    with h5py.File(good, "a") as file:
        del file["intervals/trials/odor"]
        file["intervals/trials/odor"] = h5py.ExternalLink("secret.h5", "/odor")
    assert "a link to another file" in refusal(good.parent)
    with h5py.File(good, "a") as file:  # behind a soft link
        file["outside"] = h5py.ExternalLink("secret.h5", "/")
        del file["intervals/trials/odor"]
        file["intervals/trials/odor"] = h5py.SoftLink("/outside/odor")
    assert "a link to another file" in refusal(good.parent)


def test_data_in_other_files_are_refused(good):
    secret = good.parent / "secret.bin"
    secret.write_bytes(np.arange(6.0).tobytes())
    with h5py.File(good, "a") as file:
        del file["intervals/trials/odor"]
        file["intervals/trials"].create_dataset("odor", (6,), "f8", external=[(str(secret), 0, 48)])
    assert "data stored in another file" in refusal(good.parent)
    with h5py.File(good.parent / "source.h5", "w") as file:
        file["odor"] = np.arange(6.0)
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource(str(good.parent / "source.h5"), "odor", (6,))
    with h5py.File(good, "a") as file:
        del file["intervals/trials/odor"]
        file["intervals/trials"].create_virtual_dataset("odor", layout)
    assert "data stored in another file" in refusal(good.parent)


def test_soft_links_inside_the_file_are_followed(good):
    with h5py.File(good, "a") as file:
        file.move("intervals/trials/odor", "elsewhere")
        file["intervals/trials/odor"] = h5py.SoftLink("../nothing")
    assert "a link without a target" in refusal(good.parent, MissingTableError)
    with h5py.File(good, "a") as file:
        del file["intervals/trials/odor"]
        file["intervals/trials/odor"] = h5py.SoftLink("/elsewhere")
    assert load_recordings(spike_spec(), good.parent)["rat"]["odor"].values.tolist() == list("ABABAB")
    with h5py.File(good, "a") as file:
        file["circle"] = h5py.SoftLink("/circle")
        del file["intervals/trials/odor"]
        file["intervals/trials/odor"] = h5py.SoftLink("/circle")
    assert "in a circle" in refusal(good.parent)


def test_small_file_that_unfolds_into_a_large_array(good):
    with h5py.File(good, "a") as file:
        del file["units/quality"]
        file["units"].create_dataset("quality", (2**33,), "f4", chunks=(2**20,), compression="gzip")
    assert "decompress to 34.4 GB" in refusal(good.parent)


def test_more_than_memory_is_refused_before_it_is_read(good, monkeypatch):
    monkeypatch.setattr(hdf5, "free_memory", lambda: 2_000)
    assert "half of what is free" in refusal(good.parent)
    monkeypatch.setattr(hdf5, "free_memory", lambda: 50_000)
    message = refusal(good.parent, grid={"kind": "time", "align": "cue_time", "window": [-1, 1], "bin_width": 1e-4})
    assert "6 trials x 20000 bins x 3 units" in message
    assert "wider bins" in message


def test_an_error_that_is_not_foreseen_names_the_file_and_keeps_its_cause(good, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(nwb_file.NwbFile, "_find", broken)
    with pytest.raises(DataFormatError, match="ZeroDivisionError: by nothing") as caught:
        load_recordings(spike_spec(), good.parent)
    assert str(good) in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_typos_in_a_spec(tmp_path):
    path = tmp_path / "mine.yaml"
    good = "name: mine\nfiles: [a.nwb]\ngrid: {kind: time, window: [0, 1]}\n"
    path.write_text(good)
    assert load_data_spec(str(path)).name == "mine"
    for line, found in [
        ("trials: {labels: {odor: odor}, kep: {}}", "Did you mean 'keep'"),
        ("trials: {labels: {odor: odor}, map: {odour: {A: B}}}", "Did you mean 'odor'"),
        ("trials: {labels: {onset: odor}}", "label 'onset'"),
        ("trials: {keep: {odor: []}}", "at least 1 item"),
        ("min_unit: 3", "Did you mean 'min_units'"),
    ]:
        path.write_text(good + line)
        with pytest.raises(SpecError, match=found):
            load_data_spec(str(path))
