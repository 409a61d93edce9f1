"""NWB files behind URLs and in a dandiset: same recordings, only the needed bytes, typed errors."""

import h5py
import numpy as np
import pytest

from neuromvm.data.loaders import load_recordings, remote
from neuromvm.errors import DataFormatError, SchemaError
from neuromvm.specs import DataSpec
from tests.data.nwb_files import spike_spec, write_spikes
from tests.data.web_server import serve

remfile = pytest.importorskip("remfile")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"sub-{number}"
        folder.mkdir()
        write_spikes(folder / f"sub-{number}_ecephys.nwb", subject=f"rat{number}", columns={"depth": [1.0, 2.0, number]})
    (tmp_path / "dandiset.yaml").write_text("name: x")
    with serve(tmp_path) as running:
        yield running


def without_origin(tree):
    for node in tree.children.values():
        for name in ("sha256", "source_url"):
            node.attrs.pop(name, None)
    return tree


def test_urls_load_to_the_same_recordings(server, tmp_path):
    urls = [f"{server.url}/sub-{number}/sub-{number}_ecephys.nwb" for number in (2, 1)]
    loaded = load_recordings(spike_spec(files=urls), "no/such/folder")
    assert loaded["rat1"].attrs["source_url"] == urls[1]
    assert loaded["rat1"].attrs["source_file"] == "sub-1_ecephys.nwb"
    assert without_origin(loaded).identical(without_origin(load_recordings(spike_spec(files=["*/*.nwb"]), tmp_path)))
    mixed = load_recordings(spike_spec(files=["sub-1/*.nwb", urls[0]], animal="folder"), tmp_path)
    assert list(mixed.children) == ["sub-1", "sub-2"]


def test_a_dandiset_loads_to_the_same_recordings(server, tmp_path):
    dandi = {"dandiset": "000123", "api": f"{server.url}/api"}
    loaded = load_recordings(spike_spec(files=["sub-*.nwb"], dandi=dandi))
    local = load_recordings(spike_spec(files=["*/*.nwb"]), tmp_path)
    assert loaded["rat2"].attrs["sha256"] == local["rat2"].attrs["sha256"]
    assert "secret" not in str(loaded["rat2"].attrs)
    assert without_origin(loaded).identical(without_origin(local))
    assert list(load_recordings(spike_spec(files=["sub-2/*"], dandi=dandi)).children) == ["rat2"]
    with pytest.raises(DataFormatError, match=r"no 'sub-3\*'.*3 assets"):
        load_recordings(spike_spec(files=["sub-3*"], dandi=dandi))
    with pytest.raises(DataFormatError, match="HTTP 404"):
        load_recordings(spike_spec(files=["sub-3*"], dandi=dandi | {"dandiset": "000124"}))


def test_a_page_outside_the_archive_is_refused(server, monkeypatch):
    monkeypatch.setattr(remote, "_json", lambda url: {"results": [], "next": "http://169.254.0.1/api/secret"})
    with pytest.raises(DataFormatError, match="a next page at"):
        load_recordings(spike_spec(files=["*"], dandi={"dandiset": "000123", "api": f"{server.url}/api"}))
    monkeypatch.setattr(remote, "_json", lambda url: {"detail": "no"})
    with pytest.raises(DataFormatError, match="without assets"):
        load_recordings(spike_spec(files=["*"], dandi={"dandiset": "000123", "api": f"{server.url}/api"}))


def test_only_needed_bytes_are_read(server, tmp_path):
    file = tmp_path / "sub-1" / "sub-1_ecephys.nwb"
    with h5py.File(file, "a") as handle:
        handle["acquisition/lick/raw"] = np.random.default_rng(0).random(2_500_000)
    assert file.stat().st_size > 20_000_000
    url = f"{server.url}/sub-1/sub-1_ecephys.nwb"
    loaded = load_recordings(spike_spec(files=[url]))
    assert loaded["rat1"].sizes["trial"] == 6
    assert 0 < server.sent < 0.15 * file.stat().st_size


def test_a_column_with_a_very_long_text_is_refused(server, tmp_path):
    with h5py.File(tmp_path / "sub-1" / "sub-1_ecephys.nwb", "a") as handle:
        del handle["intervals/trials/odor"]
        handle["intervals/trials/odor"] = ["A"] * 5 + ["A" * 20_000_000]
    with pytest.raises(DataFormatError, match="very long text"):
        load_recordings(spike_spec(files=[f"{server.url}/sub-1/sub-1_ecephys.nwb"]))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_http_errors_are_typed(server, status):
    server.failing = status
    with pytest.raises(DataFormatError, match=f"HTTP {status}"):
        load_recordings(spike_spec(files=[f"{server.url}/sub-1/sub-1_ecephys.nwb"]))


def test_an_error_while_reading_is_typed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remfile.RemFile, "_num_request_retries", 0)
    with h5py.File(tmp_path / "sub-1" / "sub-1_ecephys.nwb", "a") as handle:
        handle["acquisition/lick/raw"] = np.random.default_rng(0).random(250_000)
    with remote.open_remote(remote.RemoteFile.from_url(f"{server.url}/sub-1/sub-1_ecephys.nwb")) as nwb:
        server.failing = 500
        with pytest.raises(DataFormatError, match=r"not reachable .*500"):
            nwb.array("acquisition/lick/raw")


def test_a_server_that_does_not_answer_is_a_typed_error(server, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT", 0.2)
    monkeypatch.setattr(remfile.RemFile, "_num_request_retries", 0)
    url = f"{server.url}/sub-1/sub-1_ecephys.nwb"
    server.late = 1.0
    with pytest.raises(DataFormatError, match=r"no answer within 0\.2 s"):
        load_recordings(spike_spec(files=[url]))
    monkeypatch.setattr(remote, "_locate", lambda file: (file.url, 100_000))
    with pytest.raises(DataFormatError, match=r"no answer within 0\.2 s"):
        load_recordings(spike_spec(files=[url]))
    server.late = 0
    with pytest.raises(DataFormatError, match="not reachable"):
        load_recordings(spike_spec(files=["*"], dandi={"dandiset": "000001", "api": "http://127.0.0.1:9"}))


def test_servers_without_ranges_and_other_files_are_refused(server, tmp_path):
    server.ranges = False
    with pytest.raises(DataFormatError, match="whole files only"):
        load_recordings(spike_spec(files=[f"{server.url}/sub-1/sub-1_ecephys.nwb"]))
    server.ranges = True
    with pytest.raises(DataFormatError, match="not HDF5"):
        load_recordings(spike_spec(files=[f"{server.url}/dandiset.yaml"]))


def test_one_url_twice_is_one_recording_and_copies_are_found_by_their_hash(server, tmp_path):
    url = f"{server.url}/sub-1/sub-1_ecephys.nwb"
    assert list(load_recordings(spike_spec(files=[url, url])).children) == ["rat1"]
    (tmp_path / "sub-2" / "sub-2_ecephys.nwb").write_bytes((tmp_path / "sub-1" / "sub-1_ecephys.nwb").read_bytes())
    dandi = {"dandiset": "000123", "api": f"{server.url}/api"}
    with pytest.raises(SchemaError, match="copies of one recording"):
        load_recordings(spike_spec(files=["sub-*.nwb"], dandi=dandi))


def test_missing_package_is_named(server, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "remfile", None)
    with pytest.raises(DataFormatError, match=r"neuromvm\[remote\]"):
        load_recordings(spike_spec(files=[f"{server.url}/sub-1/sub-1_ecephys.nwb"]))


@pytest.mark.parametrize(
    "change",
    [
        {"dandi": {"dandiset": "123"}},
        {"dandi": {"dandiset": "000123", "api": "file:///etc"}},
        {"dandi": {"dandiset": "000123"}, "files": ["http://a/b.nwb"]},
    ],
)
def test_specs_of_remote_files_are_checked(change):
    with pytest.raises(ValueError, match="dandi"):
        DataSpec.model_validate({"name": "x", "files": ["*"], "grid": {"window": [0, 1], "kind": "time"}} | change)
