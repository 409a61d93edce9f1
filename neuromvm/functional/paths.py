"""Smoothness priors of latent paths, as square roots of their covariance over time.

A path z = root @ code with a standard-normal code is a draw of the prior. Divergences between paths are those between their
codes, so every way of sharing works on codes as it does on vectors, and is exact for the paths.
"""

import torch
from torch import Tensor

NEGLIGIBLE = 1e-4  # share of the largest variance below which a mode is left out


def autoregressive_root(bins: int, timescale: float) -> Tensor:
    """Cholesky factor of the stationary AR(1) covariance exp(-lag / timescale), ``(bin, mode)``; code = innovations.

    ``timescale`` [bins] is the lag at which the correlation is 1/e.

    Examples
    --------
    >>> root = autoregressive_root(3, timescale=2.0)
    >>> bool(torch.allclose((root @ root.T)[0], torch.exp(-torch.arange(3) / 2.0)))
    True
    """
    root: Tensor = torch.linalg.cholesky(torch.exp(-_lags(bins) / timescale))
    return root.float()


def gaussian_process_root(bins: int, timescale: float) -> Tensor:
    """Leading modes of the squared-exponential covariance exp(-(lag / timescale)^2 / 2), ``(bin, mode)``.

    Modes that carry less than a ten-thousandth of the largest variance are left out; the rest are scaled so that every bin
    keeps variance 1.

    Examples
    --------
    >>> root = gaussian_process_root(20, timescale=5.0)
    >>> root.shape[1] < 20, bool(torch.allclose(root.square().sum(1), torch.ones(20)))
    (True, True)
    """
    values, vectors = torch.linalg.eigh(torch.exp(-0.5 * (_lags(bins) / timescale).square()))
    leading = values > NEGLIGIBLE * values.max()
    root: Tensor = (vectors[:, leading] * values[leading].sqrt()).flip(1)
    return (root / root.square().sum(1, keepdim=True).sqrt()).float()


def _lags(bins: int) -> Tensor:
    index = torch.arange(bins, dtype=torch.float64)
    return (index[:, None] - index[None]).abs()
