"""How long the texts of an HDF5 dataset are, known before they are read.

Text of variable length lies in a heap of the file. A dataset has a reference for each text: its length [bytes], the address of a
heap and an index in it (HDF5 File Format Specification, "Variable-Length"). The references are read from the file itself, since
the library has no call that returns lengths without the texts. Several references may name one text: the size of the file says
nothing about the memory that the texts take.
"""

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

LENGTH, INDEX = 4, 4  # bytes of a reference beside the address
DEFLATE, SHUFFLE = 1, 2  # numbers of the filters that are undone here


def longest_text(dataset: h5py.Dataset, path: Path, at_most: int) -> int:
    """Return the length of the longest text of a dataset of text [bytes].

    Where texts must be read to be counted, this ends as soon as texts, padded to the longest so far, exceed ``at_most`` [bytes].
    """
    if dataset.shape is None or not dataset.size:
        return 0
    if h5py.check_string_dtype(dataset.dtype).length is not None:
        return int(dataset.dtype.itemsize)
    lengths = _lengths_in_file(dataset, path)
    return int(lengths.max()) if lengths is not None else _longest_by_reading(dataset, at_most)


def _lengths_in_file(dataset: h5py.Dataset, path: Path) -> NDArray[np.uint32] | None:
    """Return the lengths that the references of a dataset say, or None if its storage is not plain."""
    settings = dataset.id.get_create_plist()
    width = LENGTH + dataset.file.id.get_create_plist().get_sizes()[0] + INDEX
    layout = settings.get_layout()
    if layout == h5py.h5d.CONTIGUOUS and not dataset.external:
        offset = dataset.id.get_offset()
        if offset is None:
            return np.zeros(1, np.uint32)  # never written: every text is ''
        with path.open("rb") as file:
            file.seek(offset)
            stored = file.read(width * dataset.size)
    elif layout == h5py.h5d.CHUNKED:
        filters = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
        if any(number not in {DEFLATE, SHUFFLE} for number in filters):
            return None
        offsets: list[tuple[int, ...]] = []
        dataset.id.chunk_iter(lambda chunk: offsets.append(chunk.chunk_offset))
        longest = width * int(np.prod(dataset.chunks))
        stored = b"".join(_chunk(dataset, offset, filters, width, longest) for offset in offsets)
    else:
        return None
    if not stored or len(stored) % width:
        return np.zeros(1, np.uint32) if not stored else None
    return np.frombuffer(stored, np.uint8).reshape(-1, width)[:, :LENGTH].copy().view("<u4").ravel()


def _chunk(dataset: h5py.Dataset, offset: tuple[int, ...], filters: list[int], width: int, longest: int) -> bytes:
    """Return the references in a chunk, filters undone."""
    skipped, content = dataset.id.read_direct_chunk(offset)
    for position, number in reversed(list(enumerate(filters))):
        if skipped & (1 << position):
            continue
        if number == DEFLATE:
            content = zlib.decompressobj().decompress(content, longest)
        else:
            content = np.frombuffer(content, np.uint8).reshape(width, -1).T.tobytes()
    return bytes(content)


def _longest_by_reading(dataset: h5py.Dataset, at_most: int) -> int:
    """Return the length of the longest text, texts being read one by one until they exceed ``at_most``."""
    longest = 0
    for index in np.ndindex(dataset.shape):
        value: Any = dataset[index]
        longest = max(longest, len(value))
        if longest * dataset.size > at_most:
            break
    return longest
