"""The device of a training, and the precision of matrix products on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from neuromvm.errors import TrainingError


def choose_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises
    ------
    TrainingError
        If this machine does not have it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    names = [device for device, present in available.items() if present]
    if name == "auto":
        return torch.device(names[0])
    if name not in names:
        found = f"not on this machine, which has {', '.join(names)}"
        raise TrainingError(f"device {name!r}", found=found, next_step="Set training.device=auto")
    return torch.device(name)


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Set the precision of float32 matrix products; ``tf32`` rounds factors to 10 bits on GPUs that support it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
