"""From the input of one modality to the mean and scale of its posterior."""

import torch
from torch import Tensor, nn

LARGEST_LOG_SCALE = 5.0


def bounded_scale(log_scale: Tensor) -> Tensor:
    """Return exp(log scale), kept between e^-5 and e^5."""
    return torch.exp(log_scale.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE))


class PredictedScale(nn.Module):
    """Posterior scale as an affine function of the hidden values."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.log_scale = nn.Linear(width, latent)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the scale ``(batch, latent)``."""
        return bounded_scale(self.log_scale(hidden))


class ConstantScale(nn.Module):
    """One posterior scale for all samples, learned from a log scale ``start (latent,)``."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(start.clone())

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the scale ``(latent,)``; it broadcasts over the batch."""
        return bounded_scale(self.log_scale)


class NoScale(nn.Module):
    """No uncertainty, for models without noise: the posterior is its mean."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Return 0."""
        return torch.zeros_like(hidden[:, :1])


class SimplexMean(nn.Module):
    """Posterior mean inside a simplex: a softmax of an affine map, times a gain, which the latents add up to.

    Every latent competes with every other, as conditions do for a trial: noise that leaves the winner alone leaves the code
    alone, and animals whose activity differs in strength have codes of the same size.
    """

    def __init__(self, width: int, latent: int, gain: float) -> None:
        super().__init__()
        self.logit = nn.Linear(width, latent)
        self.gain = gain

    @torch.no_grad()
    def start_from(self, means: Tensor, covariance: Tensor) -> None:
        """Start as the posterior probability of conditions, x ~ N(mean of the condition, covariance), each as frequent.

        Latent k starts as condition k of ``means (condition, width)``, further latents as the first conditions again.
        """
        weight = torch.linalg.solve(covariance, means.T).T
        bias = -0.5 * (weight * means).sum(1)
        condition = torch.arange(self.logit.out_features) % len(means)
        self.logit.weight.copy_(weight[condition])
        # Latents that begin as the same condition share its probability.
        self.logit.bias.copy_((bias - torch.log(torch.bincount(condition).to(bias.dtype)))[condition])

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the mean ``(batch, latent)``, positive, with sum ``gain``."""
        return self.gain * torch.softmax(self.logit(hidden), dim=-1)


class Encoder(nn.Module):
    """Input ``(batch, feature)`` to posterior mean and scale ``(batch, latent)``.

    The trunk gives hidden values ``(batch, width)``, from which mean and scale are computed; the scale may broadcast.
    """

    def __init__(self, trunk: nn.Module, mean: nn.Module, scale: nn.Module, latent: int) -> None:
        super().__init__()
        self.trunk, self.mean, self.scale, self.latent = trunk, mean, scale, latent

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale."""
        return self.posterior(self.trunk(inputs))

    def posterior(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale, given hidden values ``(batch, width)``."""
        mean = self.mean(hidden)
        return mean, self.scale(hidden).expand_as(mean)
