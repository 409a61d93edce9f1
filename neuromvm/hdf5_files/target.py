"""A file to write HDF5 into, which takes everything even when the disk is full.

The HDF5 library crashes when it closes a file whose writes have failed. Here it never sees a failure: the first error is kept,
what is written after it is dropped, and the error is raised when the library has closed.
"""

import io
import os
from pathlib import Path
from types import TracebackType

KEPT = 2**16  # [bytes] writes up to this size are kept in memory after an error, since the library may read them again


class Target(io.RawIOBase):
    """A new file at a path, written by the HDF5 library through Python; as a context it raises OSError if a write failed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None
        self._position, self._size = 0, 0
        self._kept: dict[int, bytes] = {}

    def __enter__(self) -> "Target":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Write to the disk and close, or raise the error of the first write that failed."""
        try:
            if self._error is not None:
                raise self._error
            if error is None:
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def readable(self) -> bool:
        """Return True: the library reads what it wrote."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set and return the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        self._size = self._position if size is None else size
        self._attempt(lambda: self._file.truncate(self._size))
        return self._size

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Fill a buffer with what was written, or with zeros where it was dropped."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        content = self._kept.get(self._position, b"")[:wanted]
        if len(content) < wanted:
            content = os.pread(self._file.fileno(), wanted, self._position)
        view[:wanted] = content.ljust(wanted, b"\0")
        self._position += wanted
        return wanted

    def write(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Write a buffer, or keep its error."""
        view = memoryview(buffer).cast("B")
        if self._error is None:
            self._attempt(lambda: self._write_all(view))
        if self._error is not None and len(view) <= KEPT:
            self._kept[self._position] = bytes(view)
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def flush(self) -> None:
        """Do nothing: the file has no buffer of its own."""

    def _write_all(self, view: memoryview) -> None:
        written = 0
        while written < len(view):
            written += os.pwrite(self._file.fileno(), view[written:], self._position + written)

    def _attempt(self, write) -> None:  # type: ignore[no-untyped-def]
        try:
            write()
        except OSError as error:
            self._error = self._error or error
