"""Tensors in safetensors files, with a checksum, read with a check of names, shapes and values."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from neuromvm.errors import RunFolderError
from neuromvm.files import readable, write_atomically

CHECKSUM = "crc32"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors atomically."""
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(stored, metadata={CHECKSUM: str(_checksum(stored))}))


def read_tensors(path: Path, next_step: str) -> dict[str, Tensor]:
    """Return the tensors in a file, or raise RunFolderError if it is missing, damaged, or has NaN or infinity."""
    with readable(path, next_step):
        content = path.read_bytes()
        tensors: dict[str, Tensor] = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        stated = header.get("__metadata__", {}).get(CHECKSUM)
        for name, value in tensors.items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                number = int((~torch.isfinite(value)).sum())
                problem = f"tensor {name!r}: {number} of {value.numel()} values are NaN or infinite"
                raise RunFolderError(str(path), found=problem, expected="finite numbers", next_step=next_step)
        if stated is not None and stated != str(_checksum(tensors)):
            raise RunFolderError(str(path), found="tensors that are not what was written", next_step=next_step)
        return tensors


def check_shapes(path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], next_step: str) -> None:
    """Raise RunFolderError unless tensors have exactly these names and shapes, and are numbers."""
    for name in sorted(tensors.keys() | shapes.keys()):
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shapes.get(name):
            problem = f"tensor {name!r}: {'not there' if found is None else f'of shape {found}'}"
            expected = f"shape {shapes[name]}" if name in shapes else "no such tensor in this model"
            raise RunFolderError(str(path), found=problem, expected=expected, next_step=next_step)


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    code = 0
    for name in sorted(tensors):
        value = tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy()
        code = zlib.crc32(value, zlib.crc32(f"{name}{tuple(tensors[name].shape)}".encode(), code))
    return code
