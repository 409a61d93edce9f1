"""Where a training runs, how it multiplies matrices there, and which memory it keeps between steps."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from neuromvm.errors import TrainingError

MEBIBYTE = 2**20
# Parameters of glibc's malloc.h. By default glibc adapts its thresholds up to these values.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK, LARGEST_REST = 32 * MEBIBYTE, 64 * MEBIBYTE
REST_WHILE_TRAINING = 1024 * MEBIBYTE


def choose_device(name: str) -> torch.device:
    """Return the device asked for; ``auto`` takes CUDA, then MPS, then the CPU. Raises TrainingError if it is absent."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [device for device, is_present in is_available.items() if is_present]
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise TrainingError(
            f"device {name!r}",
            found=f"not on this machine, which has {', '.join(available)}",
            next_step="Set training.device=auto",
        )
    return torch.device(name)


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Multiply float32 matrices as the training asks; ``tf32`` rounds factors to 10 bits on GPUs that support it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep up to 1 GiB of freed memory for the next step, and return it at the end; no effect without glibc.

    Else the C library of Linux returns tens of megabytes to the kernel after every step, and gets them back page by page: about a
    sixth of the time of a step of the recommended model. Blocks above 32 MiB are still returned when they are freed.
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
