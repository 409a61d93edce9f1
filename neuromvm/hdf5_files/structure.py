"""Whether the HDF5 library survives a file: each file is walked through in a second process before it is opened in this one."""

import atexit
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import h5py

LOG = logging.getLogger(__name__)
SUSPECT_BYTES, SUSPECT_RATIO = 2**26, 1000  # deflate cannot exceed about 1030 : 1
DIMENSIONS = "DIMENSION_LIST"  # attribute of a dataset: the scales of each of its dims
LONGEST_WAIT = 120.0  # [s] for an answer; an endless loop ends earlier, by its processor time
CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}
PROGRAM = Path(__file__).with_name("reader.py")
MOST_FAILURES = 3  # ends of the second process that no file explains
MOST_ANNOUNCED = 256  # files whose names fit into a pipe


class _State(NamedTuple):
    """A file as it is now; a file that changes is another."""

    path: str
    inode: int
    size: int
    changed: int


def _state(path: Path) -> _State:
    status = path.stat()
    return _State(str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns)


class Reader:
    """The second process, started when the first file is asked for and kept until this one ends."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.answers: dict[_State, str] = {}
        self.asked: list[_State] = []  # not answered yet
        self.failures = 0
        self.suspect: _State | None = None  # a file in whose walk the process has crashed once
        self.process: subprocess.Popen[bytes] | None = None

    def send(self, states: Iterable[_State]) -> None:
        """Ask about files that have not been asked about."""
        new = [state for state in dict.fromkeys(states) if state not in self.answers and state not in self.asked]
        process = self._started() if new else None
        if process is None or process.stdin is None:
            return
        self.asked += new
        try:
            process.stdin.write(b"".join(json.dumps(state.path).encode() + b"\n" for state in new))
            process.stdin.flush()
        except OSError:
            return  # it has ended; the answer that does not come says so

    def answer(self, state: _State) -> str:
        """Return why the library cannot read a file, or ''."""
        while state not in self.answers:
            self.send([state])
            if self.process is None:
                return ""
            self._receive()
        return self.answers[state]

    def _receive(self) -> None:
        """Wait for the next answer, or learn from the end of the process that the file is damaged."""
        assert self.process is not None
        stream = self.process.stdout
        assert stream is not None
        answered, _, _ = select.select([stream], [], [], LONGEST_WAIT)
        if answered and stream.readline():
            self.answers[self.asked.pop(0)] = ""
            return
        if not answered:
            self.process.kill()
        code = self._ended()
        waiting, self.asked = self.asked, []
        if not answered or code == -signal.SIGXCPU:
            self.answers[waiting.pop(0)] = "the HDF5 library does not come to an end"
        elif -code in CRASHES and waiting[0] != self.suspect:
            self.suspect = waiting[0]  # the file before it may have done the damage: ask a new process
        elif -code in CRASHES:
            self.answers[waiting.pop(0)] = f"the HDF5 library crashes ({signal.Signals(-code).name})"
        else:
            self.failures += 1  # ended from outside, or it cannot start here
        self.send(waiting)

    def _started(self) -> "subprocess.Popen[bytes] | None":
        if self.process is None and self.failures < MOST_FAILURES and sys.executable and os.name == "posix":
            folders = os.pathsep.join(folder for folder in sys.path if folder)
            try:
                self.process = subprocess.Popen(  # noqa: S603  # a file of this package
                    [sys.executable, "-P", str(PROGRAM)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    env={**os.environ, "PYTHONPATH": folders},
                )
            except OSError as error:
                LOG.info("files are opened without a look at their structure (%s)", error)
                self.failures = MOST_FAILURES
        return self.process

    def _ended(self) -> int:
        """Wait for the end of the process and return its exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        return process.wait()

    def stop(self) -> None:
        """End the process, if this one started it."""
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self._ended()


_lock = threading.Lock()
_readers = [Reader()]  # the last is of this process; those before it, of processes that this one was forked from


def _reader() -> Reader:
    if _readers[-1].owner != os.getpid():
        _readers.append(Reader())
    return _readers[-1]


def announce(paths: Iterable[Path]) -> None:
    """Begin to walk through files that will be opened, so that :func:`structural_damage` need not wait."""
    with _lock:
        _reader().send(_state(path) for path in list(paths)[:MOST_ANNOUNCED] if path.is_file())


def structural_damage(path: Path) -> str:
    """Return why the HDF5 library cannot read a file without a crash or an endless loop, or '' if it can.

    Errors that the library reports are no such damage: who opens the file meets and explains them.
    """
    with _lock:
        return _reader().answer(_state(path))


def unsafe_content(path: Path) -> str:
    """Return what in a file is not safe to read, or ''.

    That is what leads to another file, groups that lead in circles, small arrays that unfold into large ones, and lists of
    dimensions that are longer than the library expects, which overwrite its memory.
    """
    found: list[str] = []
    groups: set[int] = set()

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if _overflows(item):
            found.append(f"{name}: a list of dimensions that does not fit")
        if item.external or item.is_virtual:
            found.append(f"{name}: values that are stored elsewhere")
        elif item.nbytes > SUSPECT_BYTES and item.nbytes > SUSPECT_RATIO * item.id.get_storage_size():
            found.append(f"{name}: {item.id.get_storage_size()} stored bytes that decompress to {item.nbytes / 1e9:.3g} GB")

    def note_link(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append(f"{name}: a link to another file")
        elif isinstance(node := file.get(name), h5py.Group):
            address = int(h5py.h5o.get_info(node.id).addr)
            if address in groups:
                found.append(f"{name}: a second name of a group")
            groups.add(address)

    with h5py.File(path, "r") as file:
        groups.add(int(h5py.h5o.get_info(file.id).addr))
        file.visititems(note)
        file.visititems_links(note_link)
    return found[0] if found else ""


def _overflows(dataset: h5py.Dataset) -> bool:
    """Return whether the library would read more dimension scales of a dataset than it has memory for."""
    if DIMENSIONS not in dataset.attrs:
        return False
    scales = dataset.attrs.get_id(DIMENSIONS)
    return scales.shape != (dataset.ndim,) or not isinstance(scales.get_type(), h5py.h5t.TypeVlenID)


atexit.register(lambda: _reader().stop())
