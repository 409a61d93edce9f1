"""Named arrays in safetensors files, with a checksum, read with a check of names, shapes and values, and without torch."""

import json
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from neuromvm.errors import RunFolderError
from neuromvm.files import readable, write_atomically

CHECKSUM = "crc32"
TRAIN_AGAIN = "Delete fitted.json beside it and resume the run: training goes on from its last checkpoint"


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays atomically."""
    stored = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    write_atomically(path, save(stored, metadata={CHECKSUM: str(_checksum(stored))}))


def read_tensors(path: Path, next_step: str = TRAIN_AGAIN, incomplete: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file, or raise RunFolderError if it is missing, damaged, or has NaN or infinity.

    Arrays named in ``incomplete`` may have NaN where there is nothing to say.
    """
    with readable(path, next_step):
        content = path.read_bytes()
        tensors = {name: values.copy() for name, values in load(content).items()}
        for name, values in tensors.items():
            if name not in incomplete and values.dtype.kind == "f" and not np.isfinite(values).all():
                problem = f"tensor {name!r}: {int((~np.isfinite(values)).sum())} of {values.size} values are NaN or infinite"
                raise RunFolderError(str(path), found=problem, expected="finite numbers", next_step=next_step)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        stated = header.get("__metadata__", {}).get(CHECKSUM)
        if stated is not None and stated != str(_checksum(tensors)):
            raise RunFolderError(str(path), found="tensors that are not what was written", next_step=next_step)
        return tensors


def check_shapes(path: Path, tensors: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise RunFolderError unless the arrays from a file have exactly these names and shapes."""
    for name in sorted(tensors.keys() | shapes.keys()):
        found = tensors[name].shape if name in tensors else None
        if found != shapes.get(name):
            problem = f"tensor {name!r}: {'not there' if found is None else f'of shape {found}'}"
            expected = f"shape {shapes[name]}" if name in shapes else "no such tensor in this model"
            raise RunFolderError(str(path), found=problem, expected=expected, next_step=TRAIN_AGAIN)


def _checksum(tensors: Mapping[str, NDArray[Any]]) -> int:
    code = 0
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        code = zlib.crc32(f"{name}{values.shape}{values.dtype}".encode(), code)
        code = zlib.crc32(values.tobytes(), code)
    return code
