"""Squared errors of linear readouts, in products of matrices as small as the latent."""

from torch import Tensor


def multiplying_out_pays(hidden: tuple[int, ...], features: int) -> bool:
    """Say whether :func:`squared_error_of_linear` is faster than writing the readout out, from multiplications of either way.

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


def squared_error_of_linear(hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Squared distance of ``target`` to ``hidden @ weight.T + bias``, summed over features, multiplied out.

    Activity has hundreds of features and what it is read from has tens: errors of every feature, for every animal that it is read
    from, are the bulk of a step if they are written to memory.

    Parameters
    ----------
    hidden
        ``(source, batch, width)``.
    weight, bias
        ``(feature, width)``, ``(feature,)``.
    target
        ``(batch, feature)``.

    Returns
    -------
    ``(source, batch)``.

    Examples
    --------
    >>> import torch
    >>> hidden, weight, target = torch.randn(2, 3, 4), torch.randn(50, 4), torch.randn(3, 50)
    >>> direct = (target - hidden @ weight.T - 1).square().sum(-1)
    >>> torch.allclose(squared_error_of_linear(hidden, weight, torch.ones(50), target), direct, rtol=1e-4)
    True
    """
    # The bias is taken off first: sums of squares are exact near 0 only, and an offset of a feature would drown the rest of it.
    rest = target - bias
    slope = hidden @ (weight.T @ weight) + rest @ (-2 * weight)
    return (rest.square().sum(-1) + (slope * hidden).sum(-1)).clamp(min=0)
