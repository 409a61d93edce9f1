"""Safe reading of ``.npy`` files: numbers only, no pickled objects, and DataFormatError for every error of numpy."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromvm.errors import DataFormatError

MAGIC = b"\x93NUMPY"
NUMBERS = "fiub"
# Errors of numpy for damaged headers, which depend on the damaged byte
NUMPY_ERRORS = (OSError, ValueError, TypeError, SyntaxError, TokenError, EOFError, KeyError, OverflowError, MemoryError)


def open_npy(path: Path, dims: str) -> NDArray[Any]:
    """Return an array of numbers, mapped into memory: values are read when it is sliced, and no code is executed.

    ``dims`` are names such as ``"(trial, unit, bin)"``; the array must have as many dims, all of size 1 or more. DataFormatError
    is raised if the file is not a ``.npy`` file, is damaged, or has objects, text or other dims.
    """
    expected = f"an array of numbers {dims}, saved with numpy.save"
    try:
        with path.open("rb") as stream:
            head = stream.read(len(MAGIC))
        if head != MAGIC:
            raise ValueError(f"not a .npy file, begins with {head!r}")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except NUMPY_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        pointer = "Run 'git lfs pull' or 'datalad get' if it is a pointer, else copy it again from its source"
        raise DataFormatError(str(path), found=f"unreadable ({reason})", expected=expected, next_step=pointer) from error
    if array.dtype.kind not in NUMBERS:
        raise DataFormatError(str(path), found=f"values of type {array.dtype}", expected=expected)
    if array.ndim != dims.count(",") + 1 or not array.size:
        next_step = "Check that the data spec names the right files"
        raise DataFormatError(str(path), found=f"shape {array.shape}", expected=f"{dims}, none empty", next_step=next_step)
    return np.asarray(array)
