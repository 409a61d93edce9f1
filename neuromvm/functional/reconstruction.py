"""Squared errors of linear readouts as quadratic functions of what is read: products of matrices as small as the latent.

Activity has hundreds of features and what it is read from has tens: errors of every feature, for everything that it is read from,
are the bulk of a step if they are written to memory.
"""

from typing import NamedTuple

from torch import Tensor


class Moments(NamedTuple):
    """Weighted sums over sources of 1, of latents and of their products: all that a mean squared error asks of them.

    ``total (batch,)``, ``first (batch, width)``, ``second (batch, width, width)``.
    """

    total: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, latents: Tensor, weight: Tensor) -> "Moments":
        """Sum latents ``(source, batch, width)`` with weights ``(source, batch)``.

        Examples
        --------
        >>> import torch
        >>> moments = Moments.of(torch.full((2, 1, 3), 2.0), torch.ones(2, 1))
        >>> moments.total.tolist(), moments.first.tolist(), moments.second[0, 0].tolist()
        ([2.0], [[4.0, 4.0, 4.0]], [8.0, 8.0, 8.0])
        """
        weighted = latents * weight[..., None]
        rows, weighted_rows = latents.movedim(0, 1), weighted.movedim(0, 1)
        return cls(weight.sum(0), weighted.sum(0), weighted_rows.mT @ rows)


class ReadoutError(NamedTuple):
    """Squared distance of a target to a linear readout of h, summed over features: ``h @ curvature @ h + slope @ h + constant``.

    ``curvature (width, width)``, ``slope (batch, width)``, ``constant (batch,)``; leading dims are readouts.
    """

    curvature: Tensor
    slope: Tensor
    constant: Tensor

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, target: Tensor) -> "ReadoutError":
        """Multiply out the distance of ``target (batch, feature)`` to ``h @ weight.T + bias``.

        Parameters
        ----------
        weight, bias
            ``(feature, width)``, ``(feature,)``.
        target
            ``(batch, feature)``.

        Examples
        --------
        >>> import torch
        >>> hidden, weight, target = torch.randn(2, 3, 4), torch.randn(50, 4), torch.randn(3, 50)
        >>> direct = (target - hidden @ weight.T - 1).square().sum(-1)
        >>> torch.allclose(ReadoutError.of(weight, torch.ones(50), target).at(hidden), direct, rtol=1e-4)
        True
        """
        # The bias is taken off first: sums of squares are exact near 0 only, and an offset of a feature would drown the rest.
        rest = target - bias
        return cls(weight.T @ weight, rest @ (-2 * weight), rest.square().sum(-1))

    def at(self, hidden: Tensor) -> Tensor:
        """Return the error ``(..., batch)`` at ``hidden (..., batch, width)``; more leading dims are sources."""
        slope = hidden @ self.curvature + self.slope
        return (self.constant + (slope * hidden).sum(-1)).clamp(min=0)

    def summed(self, moments: Moments) -> Tensor:
        """Return the weighted sum of errors over sources ``(readout, batch)``, for as many readouts as are stacked here."""
        quadratic = self.curvature.flatten(1) @ moments.second.flatten(1).T
        linear = (self.slope * moments.first).sum(-1)
        return (quadratic + linear + self.constant * moments.total).clamp(min=0)


def multiplying_out_pays(hidden: tuple[int, ...], features: float) -> bool:
    """Say whether :class:`ReadoutError` is faster than writing the readout out, from multiplications of either way.

    Parameters
    ----------
    hidden
        Shape of what the readout reads: sources, rows, width.
    features
        Of the target.

    Examples
    --------
    >>> multiplying_out_pays((5, 128, 24), 400), multiplying_out_pays((1, 128, 24), 400)
    (True, False)
    """
    # Forward and backward; 0.7 because its many small products are slower a multiplication than one large.
    sources, rows, width = hidden
    written_out = 3 * sources * rows * width * features
    multiplied_out = 2 * rows * width * features + 3 * features * width**2 + 3 * sources * rows * width**2
    return multiplied_out < 0.7 * written_out


def moments_pay(readouts: int, latents: tuple[int, ...], features: float) -> bool:
    """Say whether :class:`Moments`, made once for all readouts, are faster than the error of each readout at every source.

    Parameters
    ----------
    readouts
        That read the same latents.
    latents
        Their shape: sources, rows, width.
    features
        Of a readout, in the mean.

    Examples
    --------
    >>> moments_pay(9, (9, 75, 24), 90), moments_pay(5, (5, 75, 24), 90), moments_pay(9, (9, 75, 128), 90)
    (True, False, False)
    """
    # Numbers a row that are written to memory, either way; fitted to what 5 to 15 sources of 8 to 180 latents took.
    sources, _, width = latents
    written = width if multiplying_out_pays(latents, features) else 0.6 * features
    return readouts * sources * written > 1.2 * width * (sources + readouts + width)
