"""Features of activity, the input of encoders, decoders and alignments, and their scaling."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.data.activity_kinds import KINDS, transform_of
from neuromvm.data.memory import row_blocks
from neuromvm.specs import SampleSpec

Floats = NDArray[np.float32]
FLOAT = 4  # [bytes] of a feature
SMALLEST_NOISE = 0.05  # [transformed activity] limits the scale factor of units that hardly ever fire


class Rows(Protocol):
    """Features ``(sample, feature)`` that are read in slices of samples: an array, or an object that computes them on demand."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, rows: slice) -> Floats:
        """Return a slice of the samples."""


@dataclass(frozen=True)
class Transform:
    """Map from recorded activity to features, applied to each sample independently.

    ``name``: ``transform`` of the spec, for ``auto`` that of the kind of activity; ``milliseconds``: width of a bin; ``kernel``:
    smoothing matrix ``(bin, bin)``, or None.
    """

    name: str
    milliseconds: float
    kernel: Floats | None

    @classmethod
    def of(cls, activity: xr.DataArray, spec: SampleSpec) -> "Transform":
        """Return the transform of a spec for the activity of an animal; errors are those of :func:`features`."""
        width = float(activity.attrs["bin_width"])
        kernel = None if spec.smooth is None else smoothing(activity.sizes["bin"], spec.smooth / width)
        return cls(transform_of(activity, spec.transform), round(1000 * width, 6), kernel)

    def __call__(self, recorded: NDArray[np.generic]) -> Floats:
        """Return features ``(..., feature)`` of activity as recorded ``(..., feature)``, both bin-major."""
        values = recorded.astype(np.float32)
        match self.name:
            case "sqrt":
                np.sqrt(np.maximum(values, 0, out=values), out=values)
            case "log1p":
                np.log1p(np.maximum(values, 0, out=values), out=values)
            case "per_millisecond":
                np.divide(values, self.milliseconds, out=values)
        if self.kernel is None:
            return values
        bins = len(self.kernel)
        smoothed: Floats = np.einsum("...bu,bc->...cu", values.reshape(*values.shape[:-1], bins, -1), self.kernel)
        return smoothed.reshape(values.shape)


def features(activity: xr.DataArray, spec: SampleSpec) -> Floats:
    """Return the transformed and smoothed activity of each window ``(trial, window, feature)``, feature = bin * units + unit.

    ``activity (trial, window, bin, unit)`` has ``attrs["bin_width"]``. ``spec.transform`` applies to every value: the square root
    makes the variance of Poisson counts nearly constant (Anscombe 1948); ``per_millisecond`` gives the share of samples of 1 ms
    with a spike; ``auto`` is the default of the kind of activity. Then ``spec.smooth`` applies over bins. SchemaError is raised
    if the transform does not fit the kind (:func:`neuromvm.data.activity_kinds.transform_of`).
    """
    return Transform.of(activity, spec)(recorded_features(activity))


def recorded_features(activity: xr.DataArray) -> NDArray[np.generic]:
    """Return activity as recorded ``(trial, window, feature)``, in the feature order of :func:`features`; no copy is made."""
    values = activity.transpose("trial", "window", "bin", "unit").to_numpy()
    return values.reshape(*values.shape[:2], -1)


def smoothing(bins: int, width: float) -> Floats:
    """Return the symmetric square root of a Gaussian kernel over bins, ``(bin, bin)``.

    A linear readout of smoothed features with a ridge penalty has a smooth prior on its weights, with the kernel, of standard
    deviation ``width`` [bins], as covariance over time.
    """
    lag = np.subtract.outer(np.arange(bins), np.arange(bins))
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (lag / width) ** 2))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T, dtype=np.float32)


@dataclass(frozen=True)
class Scaler:
    """Centre and scale each feature; a constant feature becomes 0."""

    center: Floats  # (feature,)
    spread: Floats  # (feature,)
    clip: float | None = None

    @classmethod
    def fit(cls, training: Rows, clip: float | None = None) -> "Scaler":
        """Fit mean and standard deviation of training-side samples ``(sample, feature)``."""
        center = _total(block.sum(axis=0, dtype=np.float64) for _, block in _blocks(training)) / len(training)
        spread = np.sqrt(_total(np.square(block - center).sum(axis=0) for _, block in _blocks(training)) / len(training))
        varies = spread > 1e-6 * np.maximum(1, np.abs(center))  # a constant has a spread of rounding errors
        return cls(center.astype(np.float32), np.where(varies, spread, 1).astype(np.float32), clip)

    @classmethod
    def fit_noise(
        cls, training: Rows, codes: NDArray[np.integer], units: int, clip: float | None = None, shrinkage: float = 0.0
    ) -> "Scaler":
        """Fit the mean, and for each unit the standard deviation within conditions, pooled over bins and conditions.

        ``training (sample, feature)``: bin-major features; ``codes (sample,)``: conditions; samples with a negative code count
        for the mean only; ``clip``: largest absolute scaled value; ``shrinkage``: weight of the median unit's variance.
        """
        known, member = np.unique(codes, return_inverse=True)
        members = np.eye(len(known))[member]  # (sample, condition)
        sums = _total(members[rows].T @ block for rows, block in _blocks(training))
        means = sums / members.sum(axis=0)[:, None]
        counted = codes >= 0
        residuals = ((block.astype(np.float64) - means[member[rows]])[counted[rows]] for rows, block in _blocks(training))
        squares = _total(np.square(residual).sum(axis=0) for residual in residuals)
        free = counted.sum() - (known >= 0).sum()
        variance = squares.reshape(-1, units).mean(axis=0) / max(free, 1)
        variance = (1 - shrinkage) * variance + shrinkage * np.median(variance)
        deviation = np.tile(np.sqrt(variance) + SMALLEST_NOISE, len(squares) // units)
        center = sums.sum(axis=0) / len(training)
        return cls(center.astype(np.float32), deviation.astype(np.float32), clip)

    @classmethod
    def identity(cls, features: int, clip: float | None = None) -> "Scaler":
        """Return a scaler that only clips."""
        return cls(np.zeros(features, np.float32), np.ones(features, np.float32), clip)

    def __call__(self, values: Floats) -> Floats:
        """Scale ``(..., feature)``."""
        scaled = (values - self.center) / self.spread
        return scaled if self.clip is None else np.clip(scaled, -self.clip, self.clip)


def fit_scaler(spec: SampleSpec, training: Rows, codes: NDArray[np.integer], units: int, kind: str) -> Scaler:
    """Fit the scaler of a spec on training-side samples ``(sample, feature)`` with their match codes ``(sample,)``.

    ``kind`` of activity says whether it is scaled at all (:data:`neuromvm.data.activity_kinds.KINDS`).
    """
    match spec.scale if KINDS[kind].scaled else "none":
        case "zscore":
            return Scaler.fit(training, spec.clip)
        case "noise":
            return Scaler.fit_noise(training, codes, units, spec.clip, spec.scale_shrinkage)
        case "none":
            return Scaler.identity(training[:1].shape[1], spec.clip)


def _blocks(training: Rows) -> Iterator[tuple[slice, Floats]]:
    """Yield slices of samples with their features, small enough for copies in double precision."""
    for rows in row_blocks(len(training), training[:1].size * FLOAT):
        yield rows, training[rows]


def _total(parts: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the sum of one or more arrays of equal shape."""
    return reduce(np.add, parts)
