"""Memory that a training step frees stays with the process for the next step.

Else the C library of Linux returns tens of megabytes to the kernel after every step, and gets them back page by page: about a
sixth of the time of a step of the recommended model.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MEBIBYTE = 2**20
# Parameters of glibc's malloc.h. By default glibc adapts its thresholds up to these values.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK, LARGEST_REST = 32 * MEBIBYTE, 64 * MEBIBYTE
REST_WHILE_TRAINING = 1024 * MEBIBYTE


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep up to 1 GiB of freed memory, and return it at the end; without effect where the C library is not glibc.

    Blocks above 32 MiB are still returned when they are freed.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)
    library.mallopt(TRIM_THRESHOLD, REST_WHILE_TRAINING)
    try:
        yield
    finally:
        library.mallopt(TRIM_THRESHOLD, LARGEST_REST)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
