"""Structure of MATLAB files of version 5, checked before scipy reads them: it crashes on types that do not exist.

Layout as of "MAT-File Format" (MathWorks): an element is a tag (type, bytes) and its data, padded to 8 bytes; up to 4 bytes of
data may lie in the tag. A matrix element holds flags, dims, name and then numbers or, of cells and structs, further elements.
"""

import mmap
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from neuromvm.data.loaders.hdf5 import check_fits_memory
from neuromvm.errors import DataFormatError

HEADER_BYTES, HEAD_BYTES, DEEPEST = 128, 4096, 64
INT8, INT32, UINT32, MATRIX, COMPRESSED, UTF8 = 1, 5, 6, 14, 15, 16
TYPES = {*range(1, 8), 9, 12, 13, 16, 17, 18}  # of data: numbers and text
CELL, STRUCT, OBJECT, CHAR, SPARSE, FIRST_NUMBER, LAST_NUMBER, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 6, 15, 16, 17
COMPLEX = 0x800
LARGER = "Save only the variables that are needed, or use a machine with more memory"


class DamagedError(ValueError):
    """An element is not what the format allows."""


class Tag(NamedTuple):
    """Type, place and size [bytes] of the data of an element, and where the next element begins."""

    kind: int
    start: int
    size: int
    following: int


def check_structure(path: Path) -> None:
    """Raise DataFormatError for elements that the format does not have, and for variables that exceed the memory."""
    with path.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
        if header[126:] not in {b"IM", b"MI"}:
            return  # version 4: numbers and text alone, uncompressed
        order = "<" if header[126:] == b"IM" else ">"
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                position = HEADER_BYTES
                while position + 8 <= len(content):
                    position = _variable(str(path), content, position, order)
            except (DamagedError, struct.error, zlib.error) as error:
                raise DataFormatError(
                    str(path),
                    found=f"damaged near byte {position} ({error})",
                    expected="an intact MATLAB file of version 5",
                    next_step="Copy it again from its source, or save it again in MATLAB",
                ) from error


def _variable(where: str, content: mmap.mmap, position: int, order: str) -> int:
    """Check the variable at a position, and return where the next one begins."""
    kind, size = (int(number) for number in struct.unpack_from(f"{order}II", content, position))
    start, end = position + 8, position + 8 + size
    if end > len(content):
        raise DamagedError("the file ends within a variable")
    if kind == MATRIX:
        _Elements(content, order).matrix(start, end, 0)
    elif kind == COMPRESSED:
        packed = content[start : min(end, start + HEAD_BYTES)]
        head = zlib.decompressobj().decompress(packed, HEAD_BYTES)
        inner, bytes_in_memory = (int(number) for number in struct.unpack_from(f"{order}II", head))
        check_fits_memory(where, bytes_in_memory, LARGER)
        if inner != MATRIX:
            raise DamagedError(f"compressed data of type {inner}")
        if _needs_all(head, order):
            head = zlib.decompressobj().decompress(content[start:end], bytes_in_memory + 8)
        _Elements(head, order).matrix(8, 8 + bytes_in_memory, 0)
    return end


def _needs_all(head: bytes, order: str) -> bool:
    """Return whether the elements of a variable are not all within its first bytes, as those of numbers and text are."""
    flags = struct.unpack_from(f"{order}I", head, 16)[0] if len(head) >= 20 else 0
    return flags & 0xFF in {CELL, STRUCT, OBJECT, SPARSE} or bool(flags & COMPLEX)


class _Elements:
    """Elements in bytes, of which the tags are checked and the data are not read."""

    def __init__(self, content: mmap.mmap | bytes, order: str) -> None:
        self.content, self.order = content, order

    def matrix(self, start: int, end: int, depth: int) -> None:
        """Check the matrix element with data from ``start`` to ``end``."""
        if start == end:
            return  # an empty cell or field
        if depth > DEEPEST:
            raise DamagedError(f"more than {DEEPEST} cells or structs within each other")
        flags_tag = self.tag(start, end, {UINT32})
        flags = self.numbers(flags_tag, 2)[0]
        kind = flags & 0xFF
        if kind in {FUNCTION, OPAQUE}:
            return  # refused by the reader, which does not look into them
        dims_tag = self.tag(flags_tag.following, end, {INT32, UINT32})
        dims = self.numbers(dims_tag, dims_tag.size // 4)
        count = 1
        for length in dims:
            count *= length
        name = self.tag(dims_tag.following, end, {INT8, UTF8})
        if not 2 <= len(dims) <= 32 or max(dims) >= 2**31:
            raise DamagedError(f"dims {dims}")
        if kind == CELL:
            self.children(name.following, end, count, depth)
        elif kind in {STRUCT, OBJECT}:
            self.structs(name.following if kind == STRUCT else self.tag(name.following, end, {INT8}).following, end, count, depth)
        elif kind in {CHAR, SPARSE} or FIRST_NUMBER <= kind <= LAST_NUMBER:
            position = name.following
            for _ in range((3 if kind == SPARSE else 1) + bool(flags & COMPLEX)):
                position = self.tag(position, end, TYPES).following
        else:
            raise DamagedError(f"a variable of class {kind}")

    def structs(self, position: int, end: int, count: int, depth: int) -> None:
        """Check the fields of ``count`` structs."""
        length_tag = self.tag(position, end, {INT32})
        length = self.numbers(length_tag, 1)[0]
        names = self.tag(length_tag.following, end, {INT8})
        if not 0 < length < 2**16 or names.size % length:
            raise DamagedError(f"{names.size} bytes of field names of {length} bytes")
        self.children(names.following, end, count * (names.size // length), depth)

    def children(self, position: int, end: int, count: int, depth: int) -> None:
        """Check ``count`` matrix elements."""
        if count > (end - position) // 8:
            raise DamagedError(f"{count} cells in {end - position} bytes")
        for _ in range(count):
            tag = self.tag(position, end, {MATRIX})
            self.matrix(tag.start, tag.start + tag.size, depth + 1)
            position = tag.following

    def tag(self, position: int, end: int, kinds: set[int]) -> Tag:
        """Return the tag at a position, which is of one of the types ``kinds`` and whose data end before ``end``."""
        if position + 8 > end:
            raise DamagedError("a variable without data")
        word, size = struct.unpack_from(f"{self.order}II", self.content, position)
        if word >> 16:
            tag = Tag(word & 0xFFFF, position + 4, word >> 16, position + 8)
        else:
            tag = Tag(word, position + 8, size, position + 8 + size + (-size % 8))
        if tag.kind not in kinds or (word >> 16 and tag.size > 4) or tag.start + tag.size > end:
            raise DamagedError(f"data of type {tag.kind} with {tag.size} bytes")
        return tag

    def numbers(self, tag: Tag, count: int) -> tuple[int, ...]:
        """Return whole numbers of 4 bytes."""
        if tag.size != 4 * count:
            raise DamagedError(f"{tag.size} bytes for {count} numbers")
        return struct.unpack_from(f"{self.order}{count}I", self.content, tag.start)
