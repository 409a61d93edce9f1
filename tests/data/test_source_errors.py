"""Sources that are damaged, hostile or incomplete end in typed errors that name the place, and nothing is guessed."""

import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nwbinspector import Importance, inspect_nwbfile

from neuromvm.data.convert import convert_recordings
from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.foreign_file import open_npy, read_text_table
from neuromvm.data.loaders.mat import read_mat
from neuromvm.data.loaders.npz import read_npz
from neuromvm.errors import DataFormatError, MissingTableError, NeuromvmError, RunFolderError, SpecError
from neuromvm.schema import animals, dropped
from neuromvm.specs import DataSpec
from tests.data import source_files as files
from tests.data.test_all_sources import CALCIUM, GRID, LAYOUTS, MS, spec_of


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.abort, ()


def load(name, folder, **changes):
    """Load a layout with other settings of its source."""
    layout = LAYOUTS[name]
    return load_recordings(spec_of(layout, source=layout.settings["source"] | changes), folder)


@pytest.fixture
def study(tmp_path):
    def write(name):
        LAYOUTS[name].write(tmp_path)
        return tmp_path

    return write


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    np.savez(tmp_path / "a.npz", st=np.array([Bomb()], dtype=object))
    with pytest.raises(DataFormatError, match="pickled objects"):
        read_npz(tmp_path / "a.npz", ["st"])
    np.save(tmp_path / "a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(DataFormatError, match="Python objects"):
        open_npy(tmp_path / "a.npy", 1)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataFormatError, match="unreadable"):
        open_npy(tmp_path / "b.npy", 1)


def test_sizes_are_counted_before_they_are_read(tmp_path):
    header = (
        b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,), }".ljust(117) + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("st.npy", header)
    with pytest.raises(DataFormatError, match=r"7.2e\+04 GB in memory"):
        read_npz(tmp_path / "a.npz", ["st"])

    variable = struct.pack("<II", 14, 4_000_000_000) + bytes(1000)
    packed = zlib.compress(variable)
    element = struct.pack("<II", 15, len(packed)) + packed
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(header + element)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuromvm.data.loaders.hdf5.free_memory", lambda: 2**32)
        with pytest.raises(DataFormatError, match="4 GB in memory"):
            read_mat(tmp_path / "a.mat", ["x"])


def test_names_that_are_absent_are_listed(tmp_path, study):
    np.savez(tmp_path / "a.npz", spike_times=np.zeros(3))
    with pytest.raises(MissingTableError, match="Did you mean 'spike_times'"):
        read_npz(tmp_path / "a.npz", ["spiketimes"])
    for version in ("mat5", "mat73"):
        folder = study(version)
        path = folder / "ada.mat"
        with pytest.raises(MissingTableError, match="Did you mean 'session'"):
            read_mat(path, ["sesion"])
        with pytest.raises(MissingTableError, match=r"Did you mean '(session\.)?spikes'"):
            read_mat(path, ["session.spike"])
        with pytest.raises(DataFormatError, match=r"numbers or text|Name a field"):
            read_mat(path, ["session"])
        path.unlink()
        (folder / "bob.mat").unlink()
    with pytest.raises(MissingTableError, match=r"no such file.*The folder has"):
        read_mat(tmp_path / "none.mat", ["x"])


def test_matlab_values_keep_type_and_order(tmp_path):
    matrix, text = np.arange(6.0).reshape(2, 3), "a text"
    with h5py.File(tmp_path / "new.mat", "w") as file:
        variables = files.MatlabFile(file)
        variables.write(file, "matrix", matrix)
        variables.write(file, "text", text)
        variables.write(file, "flag", np.array([True, False]))
        empty = file.create_dataset("none", data=np.zeros(2, dtype=np.uint64))
        empty.attrs["MATLAB_empty"] = 1
    scipy.io.savemat(
        tmp_path / "old.mat", {"matrix": matrix, "text": text, "flag": np.array([[True], [False]]), "none": np.empty((0, 0))}
    )
    for name in ("new.mat", "old.mat"):
        values = read_mat(tmp_path / name, ["matrix", "text", "flag", "none"])
        np.testing.assert_array_equal(values["matrix"], matrix)
        assert values["text"].tolist() == [text]
        assert values["flag"].dtype == bool
        assert values["flag"].ravel().tolist() == [True, False]
        assert values["none"].size == 0


def test_links_of_a_matlab_file_lead_nowhere_else(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1.0]
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(DataFormatError, match="a link to another file"):
        read_mat(tmp_path / "a.mat", ["x"])


def test_cells_that_are_no_column_are_refused(tmp_path):
    files.write_mat5(tmp_path)
    arrays = LAYOUTS["mat5"].settings["source"]["arrays"] | {"intervals/trials/scent": "session.spikes"}
    with pytest.raises(DataFormatError, match=r"session.spikes: cells with 80 to 500 values. Expected one value"):
        load("mat5", tmp_path, arrays=arrays)


def test_text_tables_keep_what_is_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("number,rate,name,flag,gap\n1, 0.1,NA,True,NA\n2,,none,False,3\n", "utf-8-sig")
    columns = read_text_table(path)
    assert columns["number"].tolist() == [1, 2]
    assert columns["rate"][0] == 0.1
    assert np.isnan(columns["rate"][1])
    assert columns["name"].tolist() == ["NA", "none"]
    assert columns["flag"].tolist() == [True, False]
    assert np.isnan(columns["gap"][0])
    assert columns["gap"][1] == 3
    path.write_text("a,b\n1,2,3\n")
    with pytest.raises(DataFormatError, match="unreadable"):
        read_text_table(path)
    path.write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(DataFormatError, match="UTF-8"):
        read_text_table(path)
    path.write_text("")
    with pytest.raises(DataFormatError, match="EmptyDataError"):
        read_text_table(path)


def test_spike_tables_say_what_is_missing(study):
    folder = study("csv")
    with pytest.raises(MissingTableError, match=r"no column 'when'.*source.time_column"):
        load("csv", folder, time_column="when")
    with pytest.raises(MissingTableError, match=r"no spikes.tsv beside it.*The folder has: spikes.csv"):
        load("csv", folder, spikes="spikes.tsv")
    with pytest.raises(MissingTableError, match=r"no column 'begin'.*source.trials.names.start_time"):
        load("csv", folder, trials={"names": {"start_time": "begin"}, "clock": MS})
    with pytest.raises(MissingTableError, match=r"trials.csv: /intervals/trials: no column 'smell'"):
        load_recordings(spec_of(LAYOUTS["csv"], trials={"labels": {"odor": "smell"}}), folder)
    units = folder / "ada" / "units.csv"
    units.write_text("id,group\n3,good\n7,good\n11,good\n")
    with pytest.raises(DataFormatError, match=r"80 spikes of units that are not in the table of units, first 20"):
        load("csv", folder)
    units.write_text("id,group\n3,good\n7,good\n11,good\n20,good\n99,good\n")
    assert load("csv", folder)["ada"]["spike_count"].sel(unit=99).sum() == 0  # a silent unit
    (folder / "ada" / "trials.csv").rename(folder / "trials.csv")
    with pytest.raises(MissingTableError, match=r"no trials.csv in .*ada"):
        load_recordings(spec_of(LAYOUTS["csv"], files=["*/spikes.csv"]), folder)


def test_units_may_have_names(study):
    folder = study("csv")
    for animal in files.ANIMALS:
        for name in ("spikes.csv", "units.csv"):
            path = folder / animal / name
            head, *rows = path.read_text().split("\n")
            column = 1 if name == "spikes.csv" else 0
            cells = [row.split(",") for row in rows]
            named = [[f"u{cell}" if number == column else cell for number, cell in enumerate(row)] for row in cells]
            path.write_text("\n".join([head, *map(",".join, named)]))
    dataset = load("csv", folder)["ada"].to_dataset()
    assert dataset["unit_name"].values.tolist() == ["u3", "u7", "u20"]
    assert dataset["unit"].values.tolist() == [0, 1, 3]


def test_a_wrong_clock_is_noticed(study):
    with pytest.raises(NeuromvmError, match=r"seconds"):
        load("csv", study("csv"), clock={"unit": "s"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("sample_rate = 30 * 1000\n", "no sample rates"),
        ("import os\n", "no sample rates"),
        ("sample_rate = 1\nsample_rate = 2\n", "2 sample rates"),
    ],
)
def test_phy_settings_are_read_as_text(settings, message, study):
    folder = study("phy")
    (folder / "ada" / "phy" / "params.py").write_text(settings)
    with pytest.raises(DataFormatError, match=f"{message}.*source.rate"):
        load("phy", folder)
    assert load("phy", folder, rate=30_000)["ada"].sizes["unit"] == 3


def test_phy_groups_are_chosen_and_counted(study):
    folder = study("phy")
    assert load("phy", folder, groups=None)["ada"].sizes["unit"] == 4
    assert load("phy", folder, groups=["good", "noise"])["ada"].sizes["unit"] == 4
    with pytest.raises(SpecError, match=r"activity.keep.group: no file has the value 'mua'.*good, noise"):
        load("phy", folder, groups=["mua"])
    phy = folder / "ada" / "phy"
    (phy / "cluster_info.tsv").write_text("cluster_id\tdepth\tgroup\n3\t10.5\tgood\n7\t20\tgood\n11\t30\t\n")
    tree = load("phy", folder)
    assert tree["ada"]["unit"].values.tolist() == [3, 7]  # cluster 20 has no row, so no group
    assert tree["ada"]["depth"].values.tolist() == [10.5, 20.0]
    np.save(phy / "spike_times.npy", np.array([0.5, 1.5]))
    with pytest.raises(DataFormatError, match="whole numbers"):
        load("phy", folder)


def test_suite2p_files_of_different_runs_are_refused(tmp_path):
    files.write_suite2p(tmp_path)
    spec = DataSpec.model_validate(
        CALCIUM | {"files": ["*/suite2p/plane0/F.npy"], "source": {"kind": "suite2p", "rate": 10, "only_cells": False}}
    )
    assert load_recordings(spec, tmp_path)["ada"].sizes["unit"] == 5
    np.save(tmp_path / "ada" / "suite2p" / "plane0" / "iscell.npy", np.zeros((4, 2)))
    with pytest.raises(DataFormatError, match=r"iscell.npy of shape \(4, 2\)"):
        load_recordings(spec, tmp_path)


def rewrite_behaviour(folder, change):
    """Change the columns of the behaviour matrix of ada."""
    path = folder / "ada" / "ada_BehaviorMatrix.mat"
    content = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
    scipy.io.savemat(path, change(content))


def test_stat_matrices_that_contradict_themselves_are_refused(study):
    folder = study("stat_matrix")
    row = files.recording("ada").trials["odor_time"][2]

    def without_names(content):
        matrix = np.column_stack([content["behavMatrix"], np.zeros((files.DURATION, 2))])
        return {"behavMatrix": matrix}

    before = load("stat_matrix", folder)
    rewrite_behaviour(folder, without_names)
    after = load("stat_matrix", folder)
    np.testing.assert_array_equal(after["ada"]["spike_count"], before["ada"]["spike_count"])

    def without_withdrawal(content):
        poke = content["behavMatrix"][:, 13]
        poke[files.recording("ada").trials["stop_time"][5]] = 0
        return content

    rewrite_behaviour(folder, without_withdrawal)
    lost = load("stat_matrix", folder)["ada"].to_dataset()
    kept = lost["trial"].values.tolist()
    assert 5 not in kept or np.isnan(lost["stop_time"].sel(trial=5))
    assert len(kept) + sum(line.count for line in dropped(lost) if line.what == "trials") == files.TRIALS

    def two_odors(content):
        content["behavMatrix"][row, 1:6] = 1
        return content

    rewrite_behaviour(folder, two_odors)
    with pytest.raises(DataFormatError, match="trial 2 with 5 odors"):
        load("stat_matrix", folder)
    spikes = folder / "bob" / "bob_T2_SM.mat"
    (folder / "bob" / "copy.mat").write_bytes(spikes.read_bytes())
    with pytest.raises(DataFormatError, match=r"unit T2-U1 again.*source.spikes"):
        load_recordings(spec_of(LAYOUTS["stat_matrix"], files=["bob/*_BehaviorMatrix.mat"]), folder)
    with pytest.raises(MissingTableError, match=r"no file \*_XX.mat with statMatrix"):
        load("stat_matrix", folder, spikes="*_XX.mat")


def test_files_beside_a_session_stay_inside_the_root(study, tmp_path):
    folder = study("csv")
    outside = tmp_path.parent / f"{tmp_path.name}_outside.csv"
    outside.write_text((folder / "ada" / "spikes.csv").read_text())
    (folder / "ada" / "spikes.csv").unlink()
    (folder / "ada" / "spikes.csv").symlink_to(outside)
    with pytest.raises(DataFormatError, match="a link that leaves the data folder"):
        load("csv", folder)
    for name in ("../spikes.csv", "/etc/passwd"):
        with pytest.raises(ValueError, match="no plain file name"):
            spec_of(LAYOUTS["csv"], source={"kind": "spike_times", "spikes": name})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "npz", "arrays": {"spikes": "st"}}, "no path of NWB"),
        ({"kind": "npz", "arrays": {"units/../id": "st"}}, "no path of NWB"),
        ({"kind": "npz", "arrays": {"units/id": "st"}, "rates": {"acquisition/lfp": 1.0}}, "rates"),
        ({"kind": "phy", "trials": {"clock": {"unit": "samples"}}}, "give 'rate' with the unit 'samples'"),
        ({"kind": "excel"}, "excel"),
    ],
)
def test_sources_are_checked_before_files_are_opened(source, message):
    with pytest.raises(ValueError, match=message):
        DataSpec.model_validate({"name": "a", "files": ["*"], "grid": GRID, "source": source})


def test_conversion_refuses_what_it_would_lose(study, tmp_path):
    folder = study("csv")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    spec = spec_of(LAYOUTS["csv"])
    with pytest.raises(RunFolderError, match="an empty folder"):
        convert_recordings(spec, tmp_path / "full", folder)
    binned = {"kind": "binned_spikes", "suffix": "_a.npy", "trial_info": "_b.npy", "columns": ["odor"], "window": [-1, 1]}
    spec = DataSpec.model_validate({"name": "a", "files": ["*"], "grid": GRID, "animal": "folder", "activity": binned})
    with pytest.raises(SpecError, match="without times"):
        convert_recordings(spec, tmp_path / "new", folder)


def test_subject_of_the_spec_makes_files_that_archives_take(study, tmp_path):
    folder = study("csv")
    subject = {"species": "Rattus norvegicus", "sex": "M", "age": "P90D"}
    layout = LAYOUTS["csv"]
    spec = spec_of(layout, source=layout.settings["source"] | {"subject": subject})
    assert dict(animals(load_recordings(spec, folder)))["ada"].attrs["species"] == "Rattus norvegicus"
    path, *_ = convert_recordings(spec, tmp_path / "converted", folder)
    assert [
        message.message for message in inspect_nwbfile(nwbfile_path=str(path), importance_threshold=Importance.CRITICAL)
    ] == []


@pytest.mark.parametrize("name", ["npz", "npz_pattern", "mat5", "mat73", "csv", "npy", "phy"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_load_or_end_in_a_typed_error(name, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(name)
    LAYOUTS[name].write(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "ada" in str(path.relative_to(folder)))
    for other in set(folder.rglob("*")) - set(paths):
        if other.is_file():
            other.unlink()
    path = data.draw(st.sampled_from(paths))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        load_recordings(spec_of(LAYOUTS[name]), folder)
    except NeuromvmError as error:
        assert len(str(error)) < 3000  # noqa: PT017


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (struct.pack("<II", 9, 24), struct.pack("<II", 200, 24), "data of type 200"),
        (struct.pack("<II", 9, 24), struct.pack("<II", 9, 2**31), "with 2147483648 bytes"),
        (struct.pack("<IIII", 5, 8, 1, 4), struct.pack("<IIII", 5, 8, 2**30, 2**30), "1152921504606846976 cells"),
    ],
)
def test_matlab_elements_that_crash_scipy_are_refused(before, after, message, compressed, tmp_path):
    path = tmp_path / "a.mat"
    cells = np.array([np.arange(3) + 0.5, "x", np.zeros(2), np.ones(1)], dtype=object)
    scipy.io.savemat(path, {"spikes": cells})
    content = path.read_bytes()
    assert before in content
    content = content.replace(before, after, 1)
    if compressed:
        packed = zlib.compress(content[128:])
        content = content[:128] + struct.pack("<II", 15, len(packed)) + packed
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=message):
        read_mat(path, ["spikes"])


def test_sparse_matrices_with_indices_outside_are_refused(tmp_path):
    matrix = scipy.sparse.csc_array(np.eye(4))
    scipy.io.savemat(tmp_path / "a.mat", {"x": matrix})
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", ["x"])["x"], np.eye(4))
    matrix.indices[2] = 1_000_000
    scipy.io.savemat(tmp_path / "a.mat", {"x": matrix})
    with pytest.raises(DataFormatError, match="unreadable"):
        read_mat(tmp_path / "a.mat", ["x"])
