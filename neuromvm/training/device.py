"""Where a training runs, and how it multiplies matrices there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from neuromvm.errors import TrainingError


def choose_device(wanted: str) -> torch.device:
    """Return the device asked for; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises
    ------
    TrainingError
        If it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, available in there.items() if available))
    if not there[wanted]:
        names = ", ".join(name for name, available in there.items() if available)
        raise TrainingError(
            f"device {wanted!r}", found=f"not on this machine, which has {names}", next_step="Set training.device=auto"
        )
    return torch.device(wanted)


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Multiply float32 matrices as the training asks; ``tf32`` rounds factors to 10 bits on GPUs that can, nowhere else."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
