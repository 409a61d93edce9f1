"""Memory that a step of training frees stays with the process for the next step.

Steps of a stack ask for the same tens of megabytes again and again. Between them the C library of Linux would give these back to
the kernel, which then hands them out anew page by page: 5 to 20 % of the time of a step.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MEBIBYTE = 2**20
# glibc, malloc.h. It finds its own thresholds, up to these, until it is told; what is told cannot be taken back.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK, LARGEST_REST = 32 * MEBIBYTE, 64 * MEBIBYTE
REST_WHILE_TRAINING = 1024 * MEBIBYTE


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep up to 1 GiB of freed memory, and give it back at the end; nothing happens where the C library is not glibc.

    Blocks above 32 MiB are given back as ever: kept ones would leave gaps that others do not fit into.

    Examples
    --------
    >>> import torch
    >>> with freed_memory_kept():
    ...     total = sum(float(torch.ones(2**20).sum()) for _ in range(3))
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
