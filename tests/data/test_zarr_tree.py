"""NWB-Zarr folders are read as the same recording in HDF5 is, and refused where they are hostile or damaged."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.nwb_file import open_nwb
from neuromvm.data.loaders.zarr_tree import folder_sha256, open_zarr
from neuromvm.errors import DataFormatError, MissingTableError
from tests.data import nwb_files
from tests.data.nwb_files import calcium_spec, spike_spec, write_calcium, write_spikes

hdmf_zarr = pytest.importorskip("hdmf_zarr")
zarr = pytest.importorskip("zarr")


def write_zarr(nwb, path: Path) -> Path:
    with hdmf_zarr.NWBZarrIO(str(path), "w") as io:
        io.write(nwb)
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One recording as HDF5 and as Zarr."""
    folder = tmp_path_factory.mktemp("both")
    columns = {"quality": ["good", "müa", "good"], "isolated": [True, False, True], "snr": np.array([1.5, 2, 3], np.float32)}
    content = {"columns": columns, "regions": ["CA1", "CA3", "CA1"], "observed": [[[0, 20]], [[0, 5], [6, 20]], [[0, 20]]]}
    write_spikes(folder / "a.nwb", **content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nwb_files, "_write", write_zarr)
        write_spikes(folder / "a.nwb.zarr", **content)
    return folder


@pytest.fixture
def folder(both, tmp_path):
    """A copy of the Zarr folder that a test may damage."""
    return Path(shutil.copytree(both / "a.nwb.zarr", tmp_path / "a.nwb.zarr"))


def compare(path, hdf5, tree):
    """Compare all that two sources say about a path and what is below it."""
    assert hdf5.is_group(path) == tree.is_group(path), path
    if hdf5.is_group(path):
        assert hdf5.children(path) == tree.children(path), path
        return 1 + sum(
            compare(f"{path}/{name}".strip("/"), hdf5, tree) for name in hdf5.children(path) if name != "specifications"
        )
    if hdf5.kind(path) == "other":
        assert tree.kind(path) == "other"
        return 1
    assert (hdf5.kind(path), hdf5.shape(path)) == (tree.kind(path), tree.shape(path)), path
    if path not in {"identifier", "file_create_date"}:
        np.testing.assert_array_equal(hdf5.array(path), tree.array(path), strict=True)
    for name in ("description", "unit", "rate", "resolution", "table", "target"):
        if path != "units/spike_times" or name != "resolution":
            left, right = hdf5.attribute(path, name), tree.attribute(path, name)
            assert np.array_equal(left, right), (path, name)
    return 1


def test_every_path_says_the_same_as_in_hdf5(both):
    with open_nwb(both / "a.nwb") as hdf5, open_zarr(both / "a.nwb.zarr") as tree:
        assert compare("", hdf5, tree) > 40
        assert tree.attribute("units/electrodes", "table") == "general/extracellular_ephys/electrodes"
        assert tree.attribute("units", "colnames").tolist() == hdf5.attribute("units", "colnames").tolist()
        assert tree.text("general/subject/subject_id") == "rat"
        assert tree.longest_text("units/quality") == 4
        assert tree.address("units") == tree.address("/units/") != tree.address("intervals")
        assert tree.address("nothing") == -1
        assert "units/nothing" not in tree
        assert "units/../units" not in tree
        np.testing.assert_array_equal(tree.array("units/obs_intervals", 1), hdf5.array("units/obs_intervals", 1))
        with pytest.raises(MissingTableError, match="quality"):
            tree.array("units/qualiti")


def without_origin(tree):
    """Return recordings without the attributes that name the file."""
    for node in tree.children.values():
        for name in ("source_file", "sha256", "identifier"):
            node.attrs.pop(name)
    return tree


@pytest.mark.parametrize("pattern", ["*.nwb.zarr", "*.zarr"])
def test_loads_to_the_same_recordings(both, pattern):
    settings = {"activity": {"keep": {"quality": ["good", "müa"]}, "regions": ["CA1", "CA3"]}}
    hdf5 = load_recordings(spike_spec(**settings), both)
    loaded = load_recordings(spike_spec(files=[pattern], **settings), both)
    assert loaded["rat"].attrs["source_file"] == "a.nwb.zarr"
    assert loaded["rat"].attrs["sha256"] == folder_sha256(both / "a.nwb.zarr")
    assert without_origin(loaded).identical(without_origin(hdf5))


def test_animals_named_after_files_have_no_ending(both):
    assert list(load_recordings(spike_spec(files=["*.zarr"], animal="file"), both).children) == ["a"]


def test_loads_calcium(tmp_path, monkeypatch):
    activity, position = np.random.default_rng(0).random((180, 4)).astype(np.float32), np.linspace(0, 1, 180)
    spec = calcium_spec({"kind": "time", "window": [0, 1], "bin_width": 0.5})
    write_calcium(tmp_path / "hdf5.nwb", activity=activity, position=position, conversion=2.0)
    hdf5 = load_recordings(spec, tmp_path)
    monkeypatch.setattr(nwb_files, "_write", write_zarr)
    write_calcium(tmp_path / "zarr.nwb.zarr", activity=activity, position=position, conversion=2.0)
    loaded = load_recordings(spec.model_copy(update={"files": ["*.zarr"]}), tmp_path)
    assert without_origin(loaded).identical(without_origin(hdf5))


def test_soft_links_are_followed_inside_the_folder_only(folder):
    link = {"name": "others", "source": ".", "path": "/intervals/trials", "object_id": None, "source_object_id": None}
    (folder / "intervals" / ".zattrs").write_text(json.dumps({"zarr_link": [link]}))
    spec = spike_spec(files=["*.zarr"], trials={"table": "others", "labels": {"odor": "odor"}})
    assert load_recordings(spec, folder.parent)["rat"].sizes["trial"] == 6
    circle = link | {"path": "/intervals/others"}
    (folder / "intervals" / ".zattrs").write_text(json.dumps({"zarr_link": [circle]}))
    with pytest.raises(DataFormatError, match="circle"):
        load_recordings(spec, folder.parent)
    outside = link | {"source": "../secret.zarr"}
    (folder / "intervals" / ".zattrs").write_text(json.dumps({"zarr_link": [outside]}))
    with pytest.raises(DataFormatError, match=r"another file, '../secret\.zarr'"):
        load_recordings(spec, folder.parent)


def test_links_of_the_file_system_are_refused(folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "units" / "id" / "0").unlink()
    (folder / "units" / "id" / "0").symlink_to(tmp_path / "secret")
    with pytest.raises(DataFormatError, match="symbolic link"):
        load_recordings(spike_spec(files=["*.zarr"]), tmp_path)


class Trap:
    """An object that runs code when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_pickled_objects_are_never_read(folder, tmp_path, monkeypatch):
    from numcodecs import Pickle, pickles

    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)  # newer versions refuse by themselves
    group = zarr.open_group(str(folder), mode="a")
    values = np.array([Trap(tmp_path / "run")] * 6, dtype=object)
    array = group["intervals/trials"].create_dataset("odor", data=values, dtype=object, object_codec=Pickle(), overwrite=True)
    array.attrs["zarr_dtype"] = "str"
    with pytest.raises(DataFormatError, match="pickled objects"):
        load_recordings(spike_spec(files=["*.zarr"]), tmp_path)
    assert not (tmp_path / "run").exists()
    with contextlib.suppress(ValueError, TypeError):
        array[...]
    assert (tmp_path / "run").exists()  # the trap works


def test_small_folders_with_large_arrays_are_refused(folder, tmp_path):
    file = folder / "units" / "spike_times" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [10**12]}))
    with pytest.raises(DataFormatError, match=r"decompress to 8e\+03 GB"):
        load_recordings(spike_spec(files=["*.zarr"]), tmp_path)


def test_a_folder_that_was_copied_in_part_is_refused(folder, tmp_path):
    (folder / "units" / "spike_times" / "0").unlink()
    with pytest.raises(DataFormatError, match=r"spike_times: 1 of 1 chunks are not there and would be read as 0\.0"):
        load_recordings(spike_spec(files=["*.zarr"]), tmp_path)


def test_a_table_without_rows_has_no_chunks(folder):
    group = zarr.open_group(str(folder), mode="a")
    group["units"].create_dataset("nothing", shape=(0,), chunks=(1,), dtype="f8")
    with open_zarr(folder) as tree:
        assert tree.array("units/nothing").shape == (0,)


def test_a_column_with_a_very_long_text_is_refused(folder, tmp_path):
    group = zarr.open_group(str(folder), mode="a")
    texts = np.array(["A"] * 5 + ["A" * 20_000_000], dtype=object)
    group["intervals/trials"].create_dataset("odor", data=texts, dtype=str, overwrite=True).attrs["zarr_dtype"] = "str"
    with pytest.raises(DataFormatError, match="20000000 characters in one of 6 cells"):
        load_recordings(spike_spec(files=["*.zarr"]), tmp_path)


@pytest.mark.parametrize("name", [".zarray", ".zattrs", "0"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2", bytes(range(200))])
def test_damage_is_a_typed_error(folder, name, content):
    (folder / "units" / "spike_times" / name).write_bytes(content)
    if (name, content) == (".zattrs", b"{}"):
        return
    with pytest.raises(DataFormatError, match="spike_times"):
        load_recordings(spike_spec(files=["*.zarr"]), folder.parent)


def test_other_folders_say_what_they_are(folder, tmp_path):
    (folder / ".zgroup").unlink()
    with pytest.raises(DataFormatError, match="none of phy, suite2p or Zarr"):
        load_recordings(spike_spec(files=["*.zarr"]), tmp_path)


def test_missing_package_is_named(both, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(DataFormatError, match=r"neuromvm\[zarr\]"):
        load_recordings(spike_spec(files=["*.zarr"]), both)
