"""Walk through the structure of HDF5 files named on standard input, one line of answer for each: a process of its own.

The HDF5 library can crash, or never return, on a damaged file. This process then dies, and the one that started it knows from
its end that the file cannot be read. It imports nothing of the package, so that it starts quickly.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5ds, h5f, h5o, h5p, h5s

MEMORY = 2**31  # [bytes]
LONGEST_CALL = 10  # [s] of processor time for one file; the library is then in an endless loop
LONGEST_WALK = 1.0  # [s] of processor time; what is left of a file of very many objects is not walked through
READ_WHOLE = 2**16  # [bytes] arrays up to this size are read; of larger ones the index of chunks
TEXT_ROWS = 4096  # rows of text that are read at a time
UNUSED = b"specifications"  # the schema that NWB files keep of themselves


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, MEMORY)
    for line in sys.stdin:
        used = time.process_time()
        _limit(resource.RLIMIT_CPU, int(used) + LONGEST_CALL + 1)
        answer = "read"
        try:
            walk(json.loads(line), used + LONGEST_WALK)
        except Exception as error:  # the reader of the file meets the same error and explains it
            answer = type(error).__name__
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _limit(kind: int, most: int) -> None:
    """Set a limit of this process, or keep a narrower one that whoever started it has set."""
    narrower = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if narrower == resource.RLIM_INFINITY else min(most, narrower), narrower))


def walk(path: str, deadline: float) -> None:
    """Open every object of a file once, and read what is small."""
    access = h5p.create(h5p.FILE_ACCESS)
    if hasattr(access, "set_file_locking"):
        access.set_file_locking(False, ignore_when_disabled=True)
    file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, fapl=access)
    names: list[tuple[bytes, bool]] = []

    def note(name: bytes, about: Any) -> None:
        if not name.startswith(UNUSED):
            names.append((name, about.type == h5o.TYPE_DATASET))

    _quietly(h5o.visit, file, note, info=True)
    if not h5a.exists(file, b"nwb_version"):  # netCDF, whose readers read all attributes and dimension scales
        _quietly(_read_scales, h5py.File(file))
    for name, is_dataset in names:
        if time.process_time() > deadline:
            break
        _quietly(_read_dataset if is_dataset else _read_group, file, name)
    file.close()


def _quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Call a function that may raise: one damaged object does not end the walk."""
    try:
        function(*arguments, **options)
    except Exception:
        return


def _read_scales(file: h5py.File) -> None:
    nodes = [file]
    file.visititems(lambda _, node: nodes.append(node))
    for node in nodes:
        _quietly(_read_each, node.attrs)
        for dim in range(node.ndim if isinstance(node, h5py.Dataset) else 0):
            _quietly(h5ds.get_num_scales, node.id, dim)
        if isinstance(node, h5py.Dataset):
            _quietly(h5ds.is_scale, node.id)


def _read_each(attributes: h5py.AttributeManager) -> None:
    for name in attributes:
        _quietly(attributes.__getitem__, name)


def _read_group(file: Any, name: bytes) -> None:
    h5a.iterate(h5o.open(file, name), lambda _: None)


def _read_dataset(file: Any, name: bytes) -> None:
    dataset = h5d.open(file, name)
    h5a.iterate(dataset, lambda _: None)
    layout = dataset.get_create_plist().get_layout()
    if layout == h5d.VIRTUAL:
        return  # refused by the reader of the file
    if layout == h5d.CHUNKED:
        dataset.chunk_iter(lambda _: None)
    values = dataset.dtype
    shape = dataset.shape
    if not shape:
        return
    if values.hasobject:
        _read_text(dataset, shape, values)
    elif layout == h5d.CHUNKED and int(np.prod(shape, dtype=float)) * values.itemsize <= READ_WHOLE:
        dataset.read(h5s.ALL, h5s.ALL, np.empty(shape, values))


def _read_text(dataset: Any, shape: tuple[int, ...], values: np.dtype[Any]) -> None:
    for start in range(0, shape[0], TEXT_ROWS):
        block = (min(TEXT_ROWS, shape[0] - start), *shape[1:])
        selected = dataset.get_space()
        selected.select_hyperslab((start,) + (0,) * (len(shape) - 1), block)
        dataset.read(h5s.create_simple(block), selected, np.empty(block, values))


if __name__ == "__main__":
    try:
        main()
    finally:
        sys.stdout.flush()
        os._exit(0)  # the usual end would close what a damaged file left open
