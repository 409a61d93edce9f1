"""Where a training runs, and how it multiplies matrices there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from neuromvm.errors import TrainingError


def choose_device(name: str) -> torch.device:
    """Return the device asked for; ``auto`` takes CUDA, then MPS, then the CPU. Raises TrainingError if it is absent."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [device for device, is_here in is_available.items() if is_here]
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
