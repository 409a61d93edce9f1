"""Activity where batches are made of it: counts as recorded, a byte or two each, turned into features in the step that asks.

What makes a feature of a count is a table of the few counts there are, so that features are bit for bit those of
:class:`neuromvm.data.features.Transform`. Looking them up takes up to a tenth of a step of a stack of small networks: those of
an animal with little activity in memory are made beforehand, as are features of amplitudes and smoothed ones, which no table has.
Mapped activity (:mod:`neuromvm.data.memory`) stays in its file, of which samples asked for alone are read and moved to the
device.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromvm.data.features import FLOAT, Transform
from neuromvm.data.memory import MemoryBudget, is_mapped, row_blocks

LITTLE = 16 * 2**20  # [bytes] of an animal's features
LARGEST_TABLE = 2**16 - 1  # counts above it are no counts of spikes in a bin


class ResidentActivity:
    """Activity of one animal.

    Parameters
    ----------
    recorded
        ``(sample, feature)``, counts or amplitudes.
    transform
        What makes features of them.
    device
        Where batches are.
    scored
        Whether :meth:`recorded` will be asked for; if not, amplitudes and counts of smoothed features are not kept beside these.
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
        """Return activity as recorded ``(..., feature)`` of samples ``(...)``, as floats of its own."""
        assert self._recorded is not None
        return self._recorded(samples).float()

    def features(self, samples: Tensor) -> Tensor:
        """Return features ``(..., feature)`` of samples ``(...)``, in memory of their own."""
        if self._features is not None:
            return self._features(samples)
        assert self._recorded is not None
        counts = self._recorded(samples).int()
        return self._table.index_select(0, counts.flatten()).view(counts.shape)


class _Gathered:
    """Rows of an array, on a device or in a file, that are copied to the device when asked for."""

    def __init__(self, values: NDArray[np.generic], device: torch.device) -> None:
        self._device = device
        # torch counts with sign: two bytes without one are kept as two bytes with one, and the sign is taken off what is copied.
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
        chosen = self._values.index_select(0, samples.flatten().to(self._values.device)).to(self._device)
        if self._unsigned:
            chosen = chosen.int().bitwise_and_(LARGEST_TABLE)
        return chosen.view(*samples.shape, -1)
