"""Files that are either whole or absent: written under a temporary name, then renamed."""

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from neuromvm.errors import NeuromvmError, RunFolderError, shortened
from neuromvm.hdf5_files.structure import structural_damage, unsafe_content
from neuromvm.hdf5_files.target import Target

RESUME = "Finish the run: neuromvm run EXPERIMENT.yaml --out RUN --resume"
DELETE = f"Delete it. {RESUME}"
LARGEST_JSON = 2**28  # [bytes]
CHECKED_AT_ONCE = 2**24  # [bytes]
TEMPORARY = re.compile(r"\..+\.[0-9]+\.tmp")  # names of temporary_path
CONTENTS = "contents"  # attribute of a file: dims, shape and checksum of each of its variables


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process and create it if necessary; RunFolderError if another process holds it.

    Temporary files that killed processes have left in it or below are removed.
    """
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunFolderError(
                str(folder), found="another process at work in it", next_step="Wait until it has ended, or choose another --out"
            ) from error
    try:
        remove_temporaries(folder.rglob(".*.tmp"))
        yield
    finally:
        lock.release()


@contextmanager
def locked_in_turn(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, after other processes have released it, and create it if necessary."""
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def temporary_path(path: Path) -> Path:
    """Return where this process writes a file or folder before it is renamed to ``path``."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def remove_temporaries(paths: Iterable[Path]) -> None:
    """Remove the files and folders among ``paths`` that :func:`temporary_path` has named; no other process may write them."""
    for path in [path for path in paths if TEMPORARY.fullmatch(path.name)]:
        with writable(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def is_empty(folder: Path) -> bool:
    """Return whether a folder does not exist or has hidden files alone, or raise RunFolderError for a file."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(str(folder), found="a file", expected="a folder to make", next_step="Choose another --out")
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Replace an error of the system while a file is written, such as a full disk, by RunFolderError."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            str(path),
            found=f"not written ({error.strerror or shortened(str(error), 200)})",
            expected="a folder on a disk with free space, in which files may be written",
            next_step="Free space or choose another folder, then repeat the command, a run with --resume",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path, which becomes ``path`` at the end of the block and is removed if the block fails."""
    temporary = temporary_path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def readable(path: Path, next_step: str = "") -> Iterator[None]:
    """Replace every error that is not one of ours while a file of a run folder is read by RunFolderError."""
    try:
        yield
    except NeuromvmError:
        raise
    except FileNotFoundError as error:
        raise RunFolderError(str(path), found="no such file", next_step=RESUME) from error
    except ValidationError as error:
        problem = error.errors()[0]
        setting = ".".join(map(str, problem["loc"]))
        raise RunFolderError(str(path), found=f"{setting}: {problem['msg']}", next_step=next_step or DELETE) from error
    except Exception as error:
        reason = f"damaged or of another kind ({type(error).__name__}: {shortened(str(error), 300)})"
        raise RunFolderError(str(path), found=reason, next_step=next_step or DELETE) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers, also after a crash, see either the old file or the complete new one."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented, atomically."""
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def kept_tree(file: Path, make: Callable[[], xr.DataTree], read: Callable[[Path], xr.DataTree] | None = None) -> xr.DataTree:
    """Return the tree in a file, by default read by :func:`read_tree`, or make and write it if the file does not exist."""
    if file.is_file():
        return read_tree(file) if read is None else read(file)
    tree = make()
    write_tree(file, tree)
    return tree


def claim(file: Path, settings: dict[str, Any], contents: str, next_step: str) -> None:
    """Write the settings of the contents of a folder, or raise RunFolderError if the file has other settings.

    ``contents`` and ``next_step`` say in the error what the folder holds and what to do.
    """
    if not file.is_file():
        write_json(file, settings)
        return
    written = read_json(file, dict[str, Any])
    differing = [key for key in settings if written.get(key) != settings[key]]
    if differing:
        description = f"{contents} with other {' and '.join(differing)}"
        raise RunFolderError(str(file.parent), found=description, expected="the same settings", next_step=next_step)


def read_json(path: Path, kind: Any = None, next_step: str = "") -> Any:
    """Return the content of a JSON file that pydantic accepts as ``kind``; RunFolderError if it is missing or damaged."""
    with readable(path, next_step):
        if path.stat().st_size > LARGEST_JSON:
            raise RunFolderError(str(path), found="more than 256 MB of JSON", next_step=next_step or DELETE)
        content = json.loads(path.read_text("utf-8"))
        if kind is not None:
            TypeAdapter(kind).validate_python(content)
        return content


def read_lines(path: Path, kind: Any, next_step: str = "") -> list[Any]:
    """Return the content of a file of JSON lines, each accepted as ``kind``; the last one is left out if it is not whole."""
    with readable(path, next_step):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        content = [json.loads(line) for line in lines if line.endswith("\n")]
        TypeAdapter(list[kind]).validate_python(content)
        return content


def write_tree(path: Path, tree: xr.DataTree | xr.Dataset) -> None:
    """Write a tree or dataset as compressed netCDF, atomically, with a table of its contents in an attribute."""
    compression = {"zlib": True, "complevel": 4, "shuffle": True}
    with replacing(path) as temporary, Target(temporary) as target:
        if isinstance(tree, xr.DataTree):
            tree = tree.copy(deep=False)
            tree.attrs = {**tree.attrs, CONTENTS: json.dumps(_contents(tree))}
            compressed = {node.path: [name for name, values in node.data_vars.items() if values.ndim] for node in tree.subtree}
            encoding = {path: dict.fromkeys(names, compression) for path, names in compressed.items() if names}
            tree.to_netcdf(target, engine="h5netcdf", encoding=encoding)
        else:
            tree = tree.assign_attrs({CONTENTS: json.dumps(_contents(tree))})
            names = [name for name, values in tree.data_vars.items() if values.ndim and values.dtype.kind != "U"]
            tree.to_netcdf(target, engine="h5netcdf", encoding=dict.fromkeys(names, compression))


def read_tree(path: Path, variables: Mapping[str, tuple[str, ...]] | None = None, *, finite: bool = False) -> xr.DataTree:
    """Read a tree into memory and close its file.

    Parameters
    ----------
    path
        The file.
    variables
        Variable -> dims that every animal has.
    finite
        Whether these variables have neither NaN nor infinity.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged, has other variables, or values that are not finite.
    """
    tree: xr.DataTree = read_netcdf(path, xr.open_datatree)
    for animal, node in tree.children.items() if variables is not None else ():
        check_variables(path, node.to_dataset(), variables or {}, animal, finite=finite)
    if variables is not None and not tree.children:
        raise RunFolderError(str(path), found="no animals", expected="a group for each", next_step=DELETE)
    return tree


def check_variables(
    path: Path, dataset: xr.Dataset, variables: Mapping[str, tuple[str, ...]], group: str = "", *, finite: bool = False
) -> None:
    """Raise RunFolderError unless a dataset from a file has these variables with these dims, of numbers, finite if asked for."""
    for name, dims in variables.items():
        where = f"{group}/{name}".strip("/")
        if name not in dataset.variables or dataset[name].dims != dims or dataset[name].dtype.kind not in "biuf":
            problem = f"{dataset[name].dtype} with dims {dataset[name].dims}" if name in dataset.variables else "not there"
            raise RunFolderError(str(path), found=f"{where}: {problem}", expected=f"numbers {dims}", next_step=DELETE)
        if finite and not np.isfinite(dataset[name].to_numpy()).all():
            number = int((~np.isfinite(dataset[name].to_numpy())).sum())
            problem = f"{where}: {number} of {dataset[name].size} values are NaN or infinite"
            raise RunFolderError(str(path), found=problem, expected="finite numbers", next_step=DELETE)


def read_dataset(path: Path) -> xr.Dataset:
    """Read a dataset into memory and close its file; raises like :func:`read_tree`."""
    dataset: xr.Dataset = read_netcdf(path, xr.open_dataset)
    return dataset


def read_netcdf(path: Path, opener: Any, load: Callable[[Any], Any] = lambda opened: opened.load()) -> Any:
    """Open a netCDF file, load what it holds and close it.

    RunFolderError if it is missing or damaged, refers to other files, would fill the memory, or differs from the table of
    contents written with it.
    """
    if not path.is_file():
        raise RunFolderError(str(path), found="no such file", next_step=RESUME)
    with readable(path, DELETE):
        if damage := structural_damage(path) or unsafe_content(path):
            raise RunFolderError(str(path), found=damage, next_step=DELETE)
        with opener(path, engine="h5netcdf") as opened:
            loaded = load(opened)
        stated = loaded.attrs.pop(CONTENTS, None)
        if stated is not None:
            expected, found = json.loads(stated), _contents(loaded)
            differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            if differing:
                problem = f"{', '.join(differing)} is not what was written"
                raise RunFolderError(str(path), found=problem, expected="a file as the run wrote it", next_step=DELETE)
        return loaded


def _datasets(tree: xr.DataTree | xr.Dataset) -> dict[str, xr.Dataset]:
    if isinstance(tree, xr.Dataset):
        return {"": tree}
    return {node.path.strip("/"): node.to_dataset(inherit=False) for node in tree.subtree}


def _contents(tree: xr.DataTree | xr.Dataset) -> dict[str, list[Any]]:
    """Return the dims, shape and checksum of every variable, by group and name."""
    return {
        f"{group}/{name}".strip("/"): [list(values.dims), list(values.shape), _checksum(values)]
        for group, dataset in _datasets(tree).items()
        for name, values in dataset.variables.items()
    }


def _checksum(variable: xr.Variable) -> int:
    """Return the CRC-32 of the values of a variable; text as UTF-8."""
    values = variable.to_numpy()
    if values.dtype.kind not in "biufcmM":
        return zlib.crc32("\0".join(map(str, values.ravel().tolist())).encode("utf-8", "surrogatepass"))
    rows = max(1, CHECKED_AT_ONCE // max(1, values.nbytes // max(1, len(values)))) if values.ndim else 1
    code = 0
    for start in range(0, len(values) if values.ndim else 1, rows):
        block = np.ascontiguousarray(values[start : start + rows] if values.ndim else values)
        code = zlib.crc32(block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes(), code)
    return code
