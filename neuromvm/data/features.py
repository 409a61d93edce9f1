"""From activity to the numbers that encoders, decoders and alignments see."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def features(activity: xr.DataArray, transform: Literal["none", "sqrt", "log1p"] = "sqrt") -> Floats:
    """Return the transformed activity of each window as one vector, bin-major.

    Parameters
    ----------
    activity
        ``(trial, window, bin, unit)``, counts or amplitudes.
    transform
        Applied to every number; the square root makes the variance of Poisson counts nearly constant (Anscombe 1948).

    Returns
    -------
    ``(trial, window, feature)``, feature = bin * units + unit.
    """
    values = activity.transpose("trial", "window", "bin", "unit").to_numpy().astype(np.float32)
    flat = values.reshape(*values.shape[:2], -1)
    match transform:
        case "sqrt":
            return np.sqrt(np.maximum(flat, 0, out=flat), out=flat)
        case "log1p":
            return np.log1p(np.maximum(flat, 0, out=flat), out=flat)
        case "none":
            return flat


@dataclass(frozen=True)
class Scaler:
    """Shift and divide each feature; a feature that never varies is divided by 1, so it becomes 0."""

    center: Floats  # (feature,)
    spread: Floats  # (feature,)
    clip: float | None = None

    @classmethod
    def fit(cls, training: Floats, clip: float | None = None) -> "Scaler":
        """Take mean and standard deviation over training-side samples ``(sample, feature)``."""
        spread = training.std(axis=0)
        return cls(training.mean(axis=0), np.where(spread > 0, spread, 1).astype(np.float32), clip)

    @classmethod
    def identity(cls, features: int, clip: float | None = None) -> "Scaler":
        """Leave features as they are, but for the clip."""
        return cls(np.zeros(features, np.float32), np.ones(features, np.float32), clip)

    def __call__(self, values: Floats) -> Floats:
        """Scale ``(..., feature)``.

        Examples
        --------
        >>> import numpy as np
        >>> scaler = Scaler.fit(np.array([[0.0, 1.0], [2.0, 1.0]], np.float32))
        >>> scaler(np.array([[4.0, 1.0]], np.float32)).tolist()
        [[3.0, 0.0]]
        """
        scaled = (values - self.center) / self.spread
        return scaled if self.clip is None else np.clip(scaled, -self.clip, self.clip)
