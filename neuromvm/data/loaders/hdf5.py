"""Safe reading of HDF5 files: checks of signature, locks and memory, and DataFormatError for every error of h5py."""

import errno
import hashlib
import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from neuromvm.data.loaders.foreign import kind_of_file, kind_of_folder
from neuromvm.errors import DataFormatError, NeuromvmError, shortened
from neuromvm.hdf5_files.structure import structural_damage

LOG = logging.getLogger(__name__)
COPY_AGAIN = "Copy it again from its source and compare sizes or checksums"
UNPACK = (
    "The data are compressed by a filter that is not installed: pip install hdf5plugin, or write the file again with gzip: "
    "h5repack -f GZIP=4"
)
SIGNATURE = b"\x89HDF\r\n\x1a\n"
SIGNATURE_OFFSETS = (0, 512, 1024, 2048)  # HDF5 allows a user block before the signature
LARGEST_SHARE_OF_MEMORY = 0.5
# Errors of h5py for damaged files, which depend on the damaged byte
H5PY_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, UnicodeError, OverflowError, MemoryError)


@contextmanager
def guard(where: str) -> Iterator[None]:
    """Replace errors of h5py by DataFormatError."""
    try:
        yield
    except H5PY_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise DataFormatError(
            where,
            found=f"unreadable ({type(error).__name__}: {reason})",
            expected="an intact NWB file",
            next_step=UNPACK if "filter" in reason or "plugin" in reason else COPY_AGAIN,
        ) from error


@contextmanager
def unforeseen(where: str) -> Iterator[None]:
    """Replace every error that is not one of ours by DataFormatError: what is inside a file may make any code fail."""
    try:
        yield
    except NeuromvmError:
        raise
    except Exception as error:
        raise DataFormatError(
            where,
            found=f"content that the reader does not foresee ({type(error).__name__}: {shortened(str(error), 300)})",
            expected="tables and series as NWB describes them",
            next_step="Check the file: neuromvm data inspect FILE, or nwbinspector. Add --debug for the place of the error",
        ) from error


def open_hdf5(path: Path) -> h5py.File:
    """Return an HDF5 file open for reading, without a lock if it cannot be locked, or raise DataFormatError."""
    with guard(str(path)):
        if (problem := _problem(path)) is not None:
            raise DataFormatError(str(path), found=problem[0], expected="an NWB file", next_step=problem[1])
        if damage := structural_damage(path):
            raise DataFormatError(str(path), found=f"unreadable: {damage}", expected="an intact NWB file", next_step=COPY_AGAIN)
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")  # registers its filters, if it is installed
        try:
            return h5py.File(path, "r")
        except OSError as error:
            locked = isinstance(error, BlockingIOError) or error.errno in {errno.EAGAIN, errno.EACCES}
            if not locked or "lock" not in str(error):
                raise
            LOG.warning(
                "%s is locked (another program has it open, or the file system has no locks): reading without a lock", path
            )
            return h5py.File(path, "r", locking=False)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with guard(str(path)), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def free_memory() -> int:
    """Return the free memory [bytes], or 4 GiB on systems that do not report it."""
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return 2**32


def check_fits_memory(where: str, size: int, next_step: str) -> None:
    """Raise DataFormatError if ``size`` [bytes] exceeds half of the free memory."""
    budget = LARGEST_SHARE_OF_MEMORY * free_memory()
    if size > budget:
        raise DataFormatError(
            where,
            found=f"{size / 1e9:.3g} GB in memory",
            expected=f"at most {budget / 1e9:.3g} GB (half of what is free)",
            next_step=next_step,
        )


def _problem(path: Path) -> tuple[str, str] | None:
    """Return what is at a path and the next step, or None if it is a file that begins like HDF5."""
    if not path.exists():
        return "no such file", "Check the folder and the patterns of the data spec"
    if path.is_dir():
        return kind_of_folder(path)
    with path.open("rb") as stream:
        head = stream.read(SIGNATURE_OFFSETS[-1] + len(SIGNATURE))
    if not head:
        return "an empty file", "Download it again"
    if head.startswith(b"version https://git-lfs") or b"/annex/objects/" in head[:200]:
        return "a pointer of git-lfs or git-annex, not the data", "Run 'git lfs pull' or 'datalad get' in the folder of the file"
    if not any(head[offset:].startswith(SIGNATURE) for offset in SIGNATURE_OFFSETS):
        return kind_of_file(path, head) or (f"not HDF5 (begins with {head[:8]!r})", "Check the file patterns")
    return None
