"""Squared errors of linear readouts as quadratic functions of the latent.

A model that decodes every animal from the latents of all others scores animals x animals predictions of hundreds of features.
For linear readouts the weighted sum of squared errors over sources depends only on the weighted sums of latents and of their
products, which are small and the same for all animals.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Weighted sums over sources: of weights ``(batch,)``, latents ``(batch, latent)``, products ``(batch, latent, latent)``."""

    total: Tensor
    sum: Tensor
    products: Tensor

    @classmethod
    def of(cls, latents: Tensor, weight: Tensor) -> "Moments":
        """Sum latents ``(source, batch, latent)`` with weights ``(source, batch)``."""
        weighted = latents * weight[..., None]
        return cls(weight.sum(0), weighted.sum(0), weighted.movedim(0, 1).mT @ latents.movedim(0, 1))


class ReadoutErrors(NamedTuple):
    """Squared distance of each modality's target to a linear readout of z: ``z @ curvature @ z + slope @ z + constant``.

    ``curvature (modality, latent, latent)``, ``slope (modality, batch, latent)``, ``constant (modality, batch)``.
    """

    curvature: Tensor
    slope: Tensor
    constant: Tensor

    @classmethod
    def of(cls, readouts: Iterable[tuple[Tensor, Tensor, Tensor]]) -> "ReadoutErrors":
        """Multiply out the distances of targets to ``z @ weight.T + bias``.

        Readouts are weight ``(feature, latent)``, bias ``(feature,)`` and target ``(batch, feature)`` of each modality.

        Examples
        --------
        >>> latents, weight, target = torch.randn(1, 3, 4), torch.randn(50, 4), torch.randn(3, 50)
        >>> direct = (target - latents @ weight.T - 1).square().sum(-1)
        >>> errors = ReadoutErrors.of([(weight, torch.ones(50), target)])
        >>> torch.allclose(errors.at(latents), direct, rtol=1e-4)
        True
        """
        terms = []
        for weight, bias, target in readouts:
            # The bias is subtracted first: a large offset of a feature would otherwise take digits from the sum of squares.
            residual = target - bias
            terms.append((weight.T @ weight, residual @ (-2 * weight), residual.square().sum(-1)))
        return cls(*(torch.stack(values) for values in zip(*terms, strict=True)))

    def at(self, latents: Tensor) -> Tensor:
        """Return the error ``(modality, batch)`` of each modality at its own latent ``(modality, batch, latent)``."""
        slope = latents @ self.curvature + self.slope
        return self.constant + (slope * latents).sum(-1)

    def summed(self, moments: Moments) -> Tensor:
        """Return the weighted sum over sources of the error of each modality ``(modality, batch)``."""
        quadratic = self.curvature.flatten(1) @ moments.products.flatten(1).T
        return quadratic + (self.slope * moments.sum).sum(-1) + self.constant * moments.total
