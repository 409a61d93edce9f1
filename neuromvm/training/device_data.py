"""Activity on the device of a training, from which batches are gathered.

Counts stay integers of one or two bytes; a table with an entry for each possible count turns them into features, with the same
bits as :class:`neuromvm.data.features.Transform`. Features without a table (amplitudes, smoothed activity) or of little
activity are computed beforehand. Of mapped activity (:mod:`neuromvm.data.memory`) only the samples of a batch are read.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromvm.data.features import FLOAT, Transform
from neuromvm.data.memory import MemoryBudget, is_mapped, row_blocks

LITTLE = 16 * 2**20  # [bytes] of an animal's features
LARGEST_TABLE = 2**16 - 1  # larger numbers are not spike counts of a bin


class DeviceActivity:
    """Activity ``recorded (sample, feature)`` of one animal, counts or amplitudes, and its features on a device.

    ``scored`` says whether :meth:`recorded` will be called; if not, amplitudes and counts of smoothed features are not stored.
    """

    def __init__(self, recorded: NDArray[np.generic], transform: Transform, device: torch.device, *, scored: bool = True) -> None:
        counts = recorded.dtype.kind == "u" and recorded.dtype.itemsize <= 2 and transform.kernel is None
        looked_up = counts and (is_mapped(recorded) or recorded.size * FLOAT > LITTLE)
        self._recorded = _Gathered(recorded, device) if looked_up or scored else None
        self._features: _Gathered | None = None
        self._table = torch.zeros(0, device=device)
        if looked_up:
            self._table = torch.from_numpy(transform(np.arange(256**recorded.dtype.itemsize))).to(device)
        else:
            blocks = row_blocks(len(recorded), recorded.shape[1] * FLOAT)
            self._features = _Gathered(
                MemoryBudget().concatenate(len(recorded), (transform(recorded[rows]) for rows in blocks)), device
            )

    def recorded(self, samples: Tensor) -> Tensor:
        """Return activity as recorded ``(..., feature)`` of samples ``(...)``, as a new array of floats."""
        assert self._recorded is not None
        return self._recorded(samples).float()

    def features(self, samples: Tensor) -> Tensor:
        """Return features ``(..., feature)`` of samples ``(...)``, as a new array."""
        if self._features is not None:
            return self._features(samples)
        assert self._recorded is not None
        counts = self._recorded(samples).int()
        return self._table.index_select(0, counts.flatten()).view(counts.shape)


class _Gathered:
    """Rows of an array, on a device or in a file, that are copied to the device when called."""

    def __init__(self, values: NDArray[np.generic], device: torch.device) -> None:
        self._device = device
        # torch has no unsigned 16-bit integers: the bits are kept as signed ones, and the sign is removed after gathering.
        self._unsigned = values.dtype == np.uint16
        if self._unsigned:
            values = values.view(np.int16)
        elif values.dtype.kind == "u" and values.dtype.itemsize > 2:
            values = values.astype(np.int64)
        elif values.dtype.kind == "f":
            values = values.astype(np.float32, copy=False)
        self._values = torch.from_numpy(values)
        if not is_mapped(values):
            self._values = self._values.to(device)

    def __call__(self, samples: Tensor) -> Tensor:
        """Return ``(..., feature)`` of samples ``(...)``."""
        rows = self._values.index_select(0, samples.flatten().to(self._values.device)).to(self._device)
        if self._unsigned:
            rows = rows.int().bitwise_and_(LARGEST_TABLE)
        return rows.view(*samples.shape, -1)
