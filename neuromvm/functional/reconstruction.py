"""Squared errors of linear readouts without writing the readout out: products of matrices as small as the latent."""

from torch import Tensor


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
    # Sums of squares are exact near 0 only: an offset of a feature would drown what is left of it.
    centre = target.mean(0).detach()
    target, bias = target - centre, bias - centre
    projected = target @ weight - bias @ weight
    length = target.square().sum(-1) - 2 * target @ bias + bias @ bias
    error = length - 2 * (hidden * projected).sum(-1) + ((hidden @ (weight.T @ weight)) * hidden).sum(-1)
    return error.clamp(min=0)
