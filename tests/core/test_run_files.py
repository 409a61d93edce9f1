"""Files of run folders: whole or absent on a full disk, and refused where they are damaged, changed or not finite."""

import json
import os
import resource
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file, save_file

from neuromvm.errors import RunFolderError
from neuromvm.files import (
    locked,
    locked_in_turn,
    read_dataset,
    read_json,
    read_lines,
    read_tree,
    replacing,
    temporary_path,
    write_atomically,
    write_json,
    write_tree,
)
from neuromvm.folders.records import Epoch, Summary, TrainingRecord
from neuromvm.folders.study import Study, read_splits
from neuromvm.folders.tensors import read_tensors, write_tensors
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.training.checkpoints import load_latest_checkpoint, remove_other_checkpoints

RUN = Path(__file__).parents[1] / "committed_runs" / "0.1.0"


def small_tree(values: int = 4000) -> xr.DataTree:
    """Return a tree of three animals with numbers, counts and text."""
    random = np.random.default_rng(0)
    return xr.DataTree.from_dict(
        {
            f"/{animal}": xr.Dataset(
                {
                    "rate": (("trial", "unit"), random.random((20, values // 20), dtype="f4")),
                    "count": ("trial", random.poisson(1, 20)),
                },
                coords={"odor": ("trial", np.array(["A", "BC"] * 10)), "correct": ("trial", np.arange(20) % 2 == 0)},
            )
            for animal in "abc"
        }
    )


@pytest.fixture
def run(tmp_path) -> Path:
    """Return a copy of a finished run."""
    shutil.copytree(RUN, tmp_path / "run")
    return tmp_path / "run"


def in_child(limit: int, write) -> int:
    """Call a function in a process whose files may have ``limit`` bytes; return 0 if it returned, 1 for a RunFolderError."""
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = 2
        try:
            write()
            code = 0
        except RunFolderError as error:
            code = 1 if "not written" in str(error) else 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_a_tree_is_whole_or_absent_wherever_the_space_ends(tmp_path):
    tree = small_tree()
    write_tree(tmp_path / "whole.nc", tree)
    size = (tmp_path / "whole.nc").stat().st_size
    target = tmp_path / "out" / "tree.nc"
    target.parent.mkdir()
    for limit in [0, 1, 50, 600, 2048, *np.linspace(3000, size - 1, 12).astype(int).tolist()]:
        assert in_child(limit, lambda: write_tree(target, tree)) == 1, limit
        assert not list(target.parent.iterdir())
    assert in_child(size, lambda: write_tree(target, tree)) == 0
    assert read_tree(target).equals(tree)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "write",
    [
        lambda file: write_json(file, {"a": ["b"] * 2000}),
        lambda file: write_atomically(file, bytes(9000)),
        lambda file: write_tensors(file, {"weight": np.ones(3000, "f4")}),
        lambda file: write_tree(file, xr.Dataset({"a": ("i", np.random.default_rng(0).random(5000))})),
    ],
    ids=["json", "bytes", "tensors", "dataset"],
)
def test_an_old_file_stays_when_the_new_one_has_no_space(tmp_path, write):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    assert in_child(5000, lambda: write(file)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"old"
    assert in_child(10**6, lambda: write(file)) == 0
    assert file.read_bytes() != b"old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.parametrize("kilobytes", [8, 64, 400])
def test_a_full_file_system(tmp_path, kilobytes):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(RunFolderError, match="No space left"):
            write_tree(tmp_path / "x.nc", small_tree(400_000))
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_tree_comes_back_as_it_was_without_its_table_of_contents(tmp_path):
    tree = small_tree()
    tree.attrs["name"] = "mine"
    write_tree(tmp_path / "x.nc", tree)
    assert read_tree(tmp_path / "x.nc").identical(tree)
    assert "contents" not in tree.attrs


@pytest.mark.parametrize("part", ["a/rate", "a/odor", "a/count"])
def test_values_that_changed_since_they_were_written_are_refused(tmp_path, part):
    file = tmp_path / "x.nc"
    write_tree(file, small_tree())
    with h5py.File(file, "a") as handle:
        handle[part][3] = "Z" if part == "a/odor" else 7
    with pytest.raises(RunFolderError, match=f"x.nc: {part} is not what was written"):
        read_tree(file)


def test_variables_that_are_gone_or_have_other_dims_are_refused(tmp_path):
    file = tmp_path / "x.nc"
    write_tree(file, small_tree())
    with h5py.File(file, "a") as handle:
        del handle["b/rate"]
    with pytest.raises(RunFolderError, match="b/rate"):
        read_tree(file)
    small_tree().to_netcdf(file, engine="h5netcdf")  # by other programs: no table of contents
    assert read_tree(file).equals(small_tree())
    with pytest.raises(RunFolderError, match=r"a/rate: float32 with dims \('trial', 'unit'\). Expected numbers"):
        read_tree(file, {"rate": ("unit", "trial")})
    with pytest.raises(RunFolderError, match="a/part: not there"):
        read_splits(file)


def test_links_to_other_files_and_bombs_are_refused(tmp_path):
    file, other = tmp_path / "x.nc", tmp_path / "other.nc"
    write_tree(other, small_tree())
    for change, words in (
        (lambda handle: handle.__setitem__("z", h5py.ExternalLink(str(other), "/a")), "a link to another file"),
        (lambda handle: handle.create_dataset("z", (2**33,), "f4", chunks=(2**20,), compression="gzip"), "decompress to 34.4 GB"),
    ):
        write_tree(file, small_tree())
        with h5py.File(file, "a") as handle:
            change(handle)
        with pytest.raises(RunFolderError, match=words):
            read_tree(file)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(300), b"text", None])
def test_files_that_are_not_netcdf(tmp_path, content):
    file = tmp_path / "x.nc"
    if content is not None:
        file.write_bytes(content)
    for read in (read_tree, read_dataset):
        with pytest.raises(RunFolderError, match=r"x\.nc"):
            read(file)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ("", None, "JSONDecodeError"),
        ("[" * 100_000, None, "RecursionError"),
        ("9" * 5000, None, "ValueError"),
        ("[1]", dict, "dict"),
        ('{"experiment": "x"}', Summary, "analyses: Field required"),
        ('{"experiment": 3, "analyses": {}}', Summary, "experiment: Input should be a valid string"),
        (
            '{"model": {}, "training": {}, "replicas": [{"split": "a", "seed": 0}], "rate_terms": []}',
            TrainingRecord,
            "replicas.0.split",
        ),
    ],
)
def test_json_is_read_through_a_schema(tmp_path, content, kind, words):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(RunFolderError, match=words) as caught:
        read_json(file, kind)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(RunFolderError, match="UnicodeDecodeError"):
        read_json(file, kind)


def test_lines_of_metrics_are_read_through_a_schema(run):
    file = run / "models" / "mmvm" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines) + '\n{"epoch": 3, "lo')
    assert [epoch["epoch"] for epoch in Study(run).metrics("mmvm")] == [1, 2]  # the last line is not whole
    for wrong in ("7", "{}", json.dumps({**json.loads(lines[1]), "loss": "x"}), '{"epoch": 3, "lo'):
        file.write_text(f"{lines[0]}\n{wrong}\n")
        with pytest.raises(RunFolderError, match=r"metrics\.jsonl"):
            read_lines(file, Epoch)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("tensor", ["weight/encoders.mitt", "center/mitt"])
def test_weights_that_are_not_finite_are_refused_by_everything_that_uses_them(run, value, tensor):
    file = run / "models" / "mmvm" / "weights.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.startswith(tensor))
    tensors[name].flat[-1] = value
    save_file(tensors, file)
    for use in (lambda: FittedStack.load(file.parent), lambda: Study(run).latents("mmvm")):
        with pytest.raises(RunFolderError, match=f"weights.safetensors: tensor '{name}': 1 of") as caught:
            use()
        assert "resume the run" in str(caught.value)
    assert Study(run).latents("mmvae_plus").children


@pytest.mark.parametrize("change", ["renamed", "shorter", "absent", "more"])
def test_weights_of_another_model_are_refused(run, change):
    file = run / "models" / "mmvm" / "weights.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.startswith("weight/encoders.mitt"))
    values = tensors.pop(name) if change != "more" else tensors[name]
    if change in ("renamed", "more"):
        tensors[f"{name}_"] = values
    elif change == "shorter":
        tensors[name] = values[:1]
    save_file(tensors, file)
    with pytest.raises(RunFolderError, match=name.removeprefix("weight/")):
        FittedStack.load(file.parent)


def test_weights_whose_bytes_changed_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    write_tensors(file, {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array(3)})
    np.testing.assert_array_equal(read_tensors(file)["a"], np.arange(6).reshape(2, 3))
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunFolderError, match="not what was written"):
        read_tensors(file)
    for cut in (0, 4, 20, len(content) - 1):
        file.write_bytes(content[:cut])
        with pytest.raises(RunFolderError, match=r"weights\.safetensors"):
            read_tensors(file)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_latents_that_are_not_finite_are_refused(run, value):
    file = run / "models" / "mmvm" / "latents.nc"
    latents = Study(run).latents("mmvm")
    latents["stella"]["latent_scale"][0, 0, 0, 0] = value
    write_tree(file, latents)
    with pytest.raises(RunFolderError, match=r"latents\.nc: stella/latent_scale: 1 of \d+ values are NaN or infinite"):
        Study(run).latents("mmvm")


def test_splits_with_parts_that_do_not_exist_are_refused(run):
    splits = Study(run).splits
    splits["mitt"]["part"][0, 0] = 9
    write_tree(run / "splits.nc", splits)
    with pytest.raises(RunFolderError, match="mitt/part"):
        _ = Study(run).splits


def test_checkpoints_that_are_damaged_are_refused(run):
    folder = run / "models" / "mmvm" / "checkpoints"
    assert load_latest_checkpoint(folder) is not None
    state = folder / "epoch-000002" / "state.json"
    for content in ("{}", "[]", '{"epoch": "x", "best_loss": [], "best_epoch": []}'):
        state.write_text(content)
        with pytest.raises(RunFolderError, match=r"Delete the folder of this checkpoint"):
            load_latest_checkpoint(folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_what_a_killed_process_left_is_removed_by_the_next_that_locks_the_folder(tmp_path):
    others = [tmp_path / "models" / name for name in (".notes.tmp", ".a.b.12.tmp.txt", "weights.7.tmp", ".hidden")]
    process = os.fork()
    if process == 0:
        (tmp_path / "models" / "mmvm").mkdir(parents=True)
        temporary_path(tmp_path / "models" / "mmvm").mkdir()
        (temporary_path(tmp_path / "models" / "mmvm") / "pairs.nc").write_bytes(b"x")
        for file in others:
            file.write_bytes(b"of the user")
        with replacing(tmp_path / "summary.json") as temporary:
            temporary.write_bytes(b"{")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert {path.name for path in tmp_path.rglob(f".*.{process}.tmp")} == {f".summary.json.{process}.tmp", f".mmvm.{process}.tmp"}
    with locked_in_turn(tmp_path):
        assert list(tmp_path.rglob(f".*.{process}.tmp")), "processes that take turns may be writing other files"
    with locked(tmp_path):
        assert not list(tmp_path.rglob(f".*.{process}.tmp"))
    assert sorted(path for path in (tmp_path / "models").iterdir() if path.is_file()) == sorted(others)
    assert (tmp_path / "models" / "mmvm").is_dir()


def test_a_folder_that_is_taken_in_turn_is_waited_for(tmp_path):
    entered = threading.Event()

    def enter() -> None:
        with locked_in_turn(tmp_path):
            entered.set()

    thread = threading.Thread(target=enter)
    with locked_in_turn(tmp_path):
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(20)
    thread.join()


def test_checkpoints_written_or_removed_in_part_do_not_stay(run):
    folder = run / "models" / "mmvm" / "checkpoints"
    whole = folder / "epoch-000002"
    for name in ("epoch-000001", "epoch-000003", "epoch-000004"):
        shutil.copytree(whole, folder / name)
    (folder / "epoch-000004" / "state.json").unlink()  # killed while it was written
    (folder / "epoch-000001" / "state.json").unlink()  # killed while it was removed
    (folder / "epoch-12").mkdir()  # not a checkpoint
    remove_other_checkpoints(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-000002", "epoch-000003", "epoch-12"]
    shutil.copytree(whole, folder / "epoch-000005")
    remove_other_checkpoints(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-000003", "epoch-000005", "epoch-12"]
