"""NWB files that were damaged or made to break their reader: refused with a typed error, or read at no cost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuromvm.data.describe import describe, inspect_file
from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.hdf5 import open_hdf5
from neuromvm.data.loaders.text_length import longest_text
from neuromvm.errors import DataFormatError, RunFolderError
from neuromvm.files import read_tree, write_tree
from neuromvm.hdf5_files import structure
from neuromvm.schema import dropped
from tests.conftest import tuned_recordings
from tests.data.nwb_files import spike_spec, write_spikes

LONG = 30_000_000
TEXT = h5py.string_dtype()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """Return the content of a good file."""
    return write_spikes(tmp_path_factory.mktemp("whole") / "a.nwb", columns={"quality": ["good", "mua", "good"]}).read_bytes()


@pytest.fixture
def file(tmp_path, whole) -> Path:
    """Return the path of a good file, alone in its folder."""
    path = tmp_path / "a.nwb"
    path.write_bytes(whole)
    return path


def refusal(path: Path) -> str:
    """Return the message with which a file is refused: one short paragraph that names it."""
    with pytest.raises(DataFormatError) as caught:
        load_recordings(spike_spec(), path.parent)
    message = str(caught.value)
    assert str(path) in message
    assert len(message) < 2000
    assert "\n" not in message
    return message


def replace(path: Path, name: str, **dataset) -> None:
    """Replace a dataset of a file."""
    with h5py.File(path, "a") as handle:
        attributes = dict(handle[name].attrs) if name in handle else {}
        if name in handle:
            del handle[name]
        handle.create_dataset(name, **dataset).attrs.update(attributes)


def test_a_long_text_is_counted_before_it_is_read(file):
    replace(file, "intervals/trials/odor", data=["A"] * 5 + ["B" * LONG], dtype=TEXT)
    code = (
        "import resource, sys; from neuromvm.data.loaders import load_recordings; from tests.data.nwb_files import spike_spec;"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\nbefore = used()\n"
        "try: load_recordings(spike_spec(), sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, used() - before, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file.parent)], capture_output=True, text=True, check=True)
    kind, megabytes, message = done.stdout.split(" ", 2)
    assert kind == "DataFormatError", done.stderr
    assert f"text of up to {LONG} bytes" in message
    assert int(megabytes) < 100


def test_a_column_that_is_not_needed_costs_nothing(file):
    replace(file, "units/settings", data=["{}", "{}", "B" * LONG], dtype=TEXT)
    replace(file, "intervals/trials/notes", data=["A"] * 5 + ["B" * LONG], dtype=TEXT)
    recordings = load_recordings(spike_spec(), file.parent)
    node = recordings["rat"].to_dataset()
    assert "settings" not in node.coords
    assert node["quality"].to_numpy().tolist() == ["good", "mua", "good"]
    assert ("columns of units", 1) in [(line.what, line.count) for line in dropped(node)]
    table = inspect_file(file).set_index("column")
    assert f"up to {LONG} bytes" in table.loc["settings", "description"]
    assert f"up to {LONG} bytes" in table.loc["notes", "description"]


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (7,)},
        {"chunks": (7,), "compression": "gzip"},
        {"chunks": (7,), "compression": "gzip", "shuffle": True},
        {"chunks": (7,), "compression": "lzf"},
    ],
)
def test_lengths_of_texts_are_those_of_the_texts(tmp_path, storage):
    random = np.random.default_rng(0)
    texts = ["x" * int(length) for length in random.integers(0, 300, 30)]
    with h5py.File(tmp_path / "t.h5", "w") as handle:
        handle.create_dataset("text", data=texts, dtype=TEXT, **storage)
        handle.create_dataset("empty", shape=(9,), dtype=TEXT, **storage)
        handle.create_dataset("fixed", data=np.array([b"abc", b"d"]))
    with h5py.File(tmp_path / "t.h5") as handle:
        assert longest_text(handle["text"], tmp_path / "t.h5", 2**20) == max(map(len, texts))
        assert longest_text(handle["empty"], tmp_path / "t.h5", 2**20) == 0
        assert longest_text(handle["fixed"], tmp_path / "t.h5", 2**20) == 3


def test_many_references_to_one_text_are_counted_each(file):
    with h5py.File(file, "a") as handle:
        del handle["intervals/trials/odor"]
        data = handle["intervals/trials"].create_dataset("odor", data=["B" * 100_000] + [""] * 5, dtype=TEXT)
        offset = data.id.get_offset()
    content = bytearray(file.read_bytes())
    content[offset : offset + 96] = content[offset : offset + 16] * 6
    file.write_bytes(content)
    with h5py.File(file) as handle:
        assert handle["intervals/trials/odor"].asstr()[5] == "B" * 100_000
        assert longest_text(handle["intervals/trials/odor"], file, 2**20) == 100_000


@pytest.mark.parametrize("link", ["hard", "soft", "root"])
def test_inspect_visits_every_object_once(file, link):
    before = inspect_file(file)
    with h5py.File(file, "a") as handle:
        group = handle["acquisition"]
        for name in ("me", "again", "other"):
            group[name] = {"hard": group, "soft": h5py.SoftLink("/acquisition"), "root": handle}[link]
    begin = time.process_time()
    assert len(inspect_file(file)) == len(before)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("chain", [0, 1, 3])
def test_virtual_datasets_that_refer_to_themselves_are_refused(file, chain):
    with h5py.File(file, "a") as handle:
        shape = handle["units/spike_times"].shape
        del handle["units/spike_times"]
        names = ["spike_times", *(f"source{number}" for number in range(chain))]
        for name, source in zip(names, [*names[1:], names[0]], strict=True):
            layout = h5py.VirtualLayout(shape=shape, dtype="f8")
            layout[:] = h5py.VirtualSource(".", f"/units/{source}", shape=shape)
            handle.create_virtual_dataset(f"units/{name}", layout)
    assert "refers to itself" in refusal(file)


def test_virtual_datasets_within_the_file_are_read_and_those_of_nothing_refused(file):
    expected = load_recordings(spike_spec(), file.parent)["rat"].to_dataset()
    with h5py.File(file, "a") as handle:
        shape = handle["units/spike_times"].shape
        handle.move("units/spike_times", "scratch_times")
        layout = h5py.VirtualLayout(shape=shape, dtype="f8")
        layout[:] = h5py.VirtualSource(".", "/scratch_times", shape=shape)
        handle.create_virtual_dataset("units/spike_times", layout)
    found = load_recordings(spike_spec(), file.parent)["rat"].to_dataset()
    np.testing.assert_array_equal(found["spike_count"], expected["spike_count"])
    with h5py.File(file, "a") as handle:
        del handle["scratch_times"]
    assert "without its source" in refusal(file)


def test_a_scalar_in_place_of_spike_times(file):
    replace(file, "units/spike_times", data=1.0)
    refusal(file)


def test_a_large_array_that_was_never_written(file):
    replace(file, "units/quality", shape=(10**8,), dtype="f8")
    assert "decompress to 0.8 GB" in refusal(file)


FAKE = """
import os, signal, sys, time
for line in sys.stdin:
    {action}
    sys.stdout.write("read\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Put another program in place of the one that walks through files."""

    def put(action: str) -> structure.Reader:
        (tmp_path / "fake.py").write_text(FAKE.format(action=action))
        monkeypatch.setattr(structure, "PROGRAM", tmp_path / "fake.py")
        monkeypatch.setattr(structure, "_readers", [structure.Reader()])
        return structure._readers[0]

    yield put
    structure._readers[-1].stop()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_crash_of_the_library_is_a_typed_error_and_other_files_are_read(file, reader, number):
    reader(f"if 'a.nwb' in line: os.kill(os.getpid(), {int(number)})")
    good = file.with_name("good.nwb")
    good.write_bytes(file.read_bytes())
    structure.announce([file, good])
    assert f"crashes ({signal.Signals(number).name})" in refusal(file)
    with open_hdf5(good) as handle:
        assert "units" in handle
    assert "crashes" in refusal(file)  # remembered


def test_a_file_behind_one_that_crashes_late_is_not_blamed(file, reader):
    reader("if os.path.exists('{0}'): os.remove('{0}'); os.kill(os.getpid(), 11)".format(file.parent / "once"))
    (file.parent / "once").touch()
    assert structure.structural_damage(file) == ""


def test_a_loop_of_the_library_is_a_typed_error(file, reader, monkeypatch):
    monkeypatch.setattr(structure, "LONGEST_WAIT", 0.3)
    reader("time.sleep(60)")
    assert "does not come to an end" in refusal(file)


@pytest.mark.parametrize("action", ["sys.exit(1)", f"os.kill(os.getpid(), {int(signal.SIGKILL)})"])
def test_files_are_read_where_the_second_process_cannot_be(file, reader, action):
    reader(action)
    assert load_recordings(spike_spec(), file.parent).children


def test_the_walk_ends_by_its_processor_time(tmp_path, file):
    program = Path(structure.__file__).with_name("reader.py").read_text()
    (tmp_path / "reader.py").write_text(
        program.replace("LONGEST_CALL = 10", "LONGEST_CALL = 0").replace("walk(json", "forever(json")
    )
    with (tmp_path / "reader.py").open("a") as stream:
        stream.write("\n")
    text = (
        (tmp_path / "reader.py")
        .read_text()
        .replace("def walk(", "def forever(*_):\n    while True:\n        pass\n\n\ndef walk(")
    )
    (tmp_path / "reader.py").write_text(text)
    done = subprocess.run([sys.executable, str(tmp_path / "reader.py")], input=f'"{file}"\n', text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGXCPU


def test_the_second_process_ends_with_the_first(tmp_path, file):
    code = (
        "import sys; from pathlib import Path; from neuromvm.hdf5_files import structure;"
        "print(repr(structure.structural_damage(Path(sys.argv[1]))), structure._readers[0].process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    damage, number = done.stdout.split()
    assert damage == "''"
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_describe_of_a_good_file_says_nothing_of_damage(file):
    assert describe(load_recordings(spike_spec(), file.parent)).loc["rat", "dropped"] == ""


def test_virtual_texts_that_refer_to_themselves_do_not_end_the_process(file):
    with h5py.File(file, "a") as handle:
        del handle["units/quality"]
        layout = h5py.VirtualLayout(shape=(3,), dtype=TEXT)
        layout[:] = h5py.VirtualSource(".", "/units/quality", shape=(3,))
        handle.create_virtual_dataset("units/quality", layout)
    table = inspect_file(file).set_index(["table", "column"])
    assert table.loc[("units", "quality"), "type"] == "unreadable"
    assert "refers to itself" in table.loc[("units", "quality"), "description"]


@pytest.mark.parametrize("link", ["hard", "soft", "root"])
def test_groups_of_a_tree_that_lead_in_circles_are_refused(tmp_path, link):
    path = tmp_path / "a.nc"
    write_tree(path, tuned_recordings({"mitt": (2, 6)}))
    with h5py.File(path, "a") as handle:
        handle["mitt/me"] = {"hard": handle["mitt"], "soft": h5py.SoftLink("/mitt"), "root": handle}[link]
    with pytest.raises(RunFolderError, match="mitt/me: a second name of a group"):
        read_tree(path)


@pytest.mark.parametrize("shape", [(6,), (6, 20, 2, 1)])
def test_lists_of_dimensions_that_overwrite_memory_are_refused(tmp_path, shape):
    path = tmp_path / "a.nc"
    write_tree(path, tuned_recordings({"mitt": (2, 6)}))
    with h5py.File(path, "a") as handle:
        scales = handle["mitt/spike_count"].attrs["DIMENSION_LIST"]
        del handle["mitt/spike_count"]
        handle.create_dataset("mitt/spike_count", shape, "u1").attrs["DIMENSION_LIST"] = scales
    assert "mitt/spike_count: a list of dimensions" in structure.unsafe_content(path)


def test_a_limit_of_the_parent_is_kept_by_the_second_process(file):
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (50, 50)); "
        "from pathlib import Path; from neuromvm.hdf5_files import structure; "
        "print(structure.structural_damage(Path(sys.argv[1])) == '', structure._readers[-1].failures)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0"]
