"""Files that are either whole or absent: written under a temporary name, then renamed."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
from filelock import FileLock, Timeout

from neuromvm.errors import RunFolderError

RESUME = "Finish the run: neuromvm run EXPERIMENT.yaml --out RUN --resume"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process and create it if necessary; RunFolderError if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(
            str(folder), found="another process at work in it", next_step="Wait until it has ended, or choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_empty(folder: Path) -> bool:
    """Return whether a folder does not exist or has hidden files alone, or raise RunFolderError for a file."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(str(folder), found="a file", expected="a folder to make", next_step="Choose another --out")
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers, also after a crash, see either the old file or the complete new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented, atomically."""
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def kept_tree(file: Path, make: Callable[[], xr.DataTree]) -> xr.DataTree:
    """Return the tree in a file, or make and write it if the file does not exist."""
    if file.is_file():
        return read_tree(file)
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
    written = read_json(file)
    differing = [key for key in settings if written.get(key) != settings[key]]
    if differing:
        description = f"{contents} with other {' and '.join(differing)}"
        raise RunFolderError(str(file.parent), found=description, expected="the same settings", next_step=next_step)


def read_json(path: Path) -> Any:
    """Read JSON; RunFolderError if the file is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(str(path), found="no such file", next_step=RESUME) from error
    except ValueError as error:
        raise RunFolderError(str(path), found=f"damaged JSON ({error})", next_step=f"Delete it. {RESUME}") from error


def write_tree(path: Path, tree: xr.DataTree | xr.Dataset) -> None:
    """Write a tree or dataset as compressed netCDF, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    compression = {"zlib": True, "complevel": 4, "shuffle": True}
    if isinstance(tree, xr.DataTree):
        compressed = {node.path: [name for name, values in node.data_vars.items() if values.ndim] for node in tree.subtree}
        encoding = {path: dict.fromkeys(names, compression) for path, names in compressed.items() if names}
        tree.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
    else:
        names = [name for name, values in tree.data_vars.items() if values.ndim and values.dtype.kind != "U"]
        tree.to_netcdf(temporary, engine="h5netcdf", encoding=dict.fromkeys(names, compression))
    temporary.replace(path)


def read_tree(path: Path) -> xr.DataTree:
    """Read a tree into memory and close its file; RunFolderError if the file is missing or damaged."""
    tree: xr.DataTree = read_netcdf(path, xr.open_datatree)
    return tree


def read_dataset(path: Path) -> xr.Dataset:
    """Read a dataset into memory and close its file; raises like :func:`read_tree`."""
    dataset: xr.Dataset = read_netcdf(path, xr.open_dataset)
    return dataset


def read_netcdf(path: Path, opener: Any, load: Callable[[Any], Any] = lambda opened: opened.load()) -> Any:
    """Open a netCDF file, load what it holds and close it; RunFolderError if the file is missing or damaged."""
    if not path.is_file():
        raise RunFolderError(str(path), found="no such file", next_step=RESUME)
    try:
        with opener(path, engine="h5netcdf") as opened:
            return load(opened)
    except (OSError, ValueError, KeyError) as error:
        raise RunFolderError(str(path), found=f"not readable ({error})", next_step="Delete it and resume the run") from error
