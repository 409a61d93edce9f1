"""Joint VAEs: one posterior of all modalities together, aggregated from those of each."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from torch import Tensor, nn

from neuromvm.functional import experts
from neuromvm.functional.experts import Experts
from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, sample
from neuromvm.likelihoods import Likelihood
from neuromvm.models.base import Batch, MultimodalVAE, SharedLatents, Sources


class Aggregation(Protocol):
    """From the posteriors of single modalities to the joint one, as components of a mixture.

    ``shares_latents``: whether the joint posterior covers that of each modality, so that they are drawn towards each other.
    """

    shares_latents: ClassVar[bool]

    def components(self, modalities: int) -> int:
        """Return the number of components."""

    def extra_noise(self, modalities: int) -> int:
        """Return how many standard-normal numbers a component needs beyond those of its latents."""

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        """Aggregate ``(modality, batch, latent)``; ``noise (component, batch, extra)``."""


class Average:
    """Mean of means and mean of scales."""

    shares_latents: ClassVar[bool] = False

    def components(self, modalities: int) -> int:
        return 1

    def extra_noise(self, modalities: int) -> int:
        return 0

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        return experts.average(posteriors, available)


class ProductOfExperts(Average):
    """Precision-weighted product, without a prior expert."""

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        return experts.product_of_experts(posteriors, available)


class Hellinger(Average):
    """The Gaussian with the mean and variances of the squared mean of the root densities of the modalities."""

    shares_latents: ClassVar[bool] = True

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        return experts.hellinger(posteriors, available)


class MixtureOfExperts(Average):
    """Uniform mixture of the modalities, every one evaluated."""

    shares_latents: ClassVar[bool] = True

    def components(self, modalities: int) -> int:
        return modalities

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        return experts.mixture_of_experts(posteriors, available)


class MixtureOfProducts:
    """Uniform mixture of the products of all non-empty subsets of modalities.

    Parameters
    ----------
    largest
        All subsets are evaluated where there are no more than this; else this many are drawn for each sample.
    """

    shares_latents: ClassVar[bool] = True

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def components(self, modalities: int) -> int:
        return self.largest if self._draws(modalities) else 2**modalities - 1

    def extra_noise(self, modalities: int) -> int:
        return modalities + 1 if self._draws(modalities) else 0

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        if self._draws(len(available)):
            return experts.sampled_products(posteriors, available, noise)
        return experts.mixture_of_products(posteriors, available)

    def _draws(self, modalities: int) -> bool:
        return bool(2**modalities - 1 > self.largest)


# Name in a spec (neuromvm.specs.model) -> aggregation, given the number of components of a sampled mixture.
AGGREGATIONS: dict[str, Callable[[int], Aggregation]] = {
    "average": lambda components: Average(),
    "product_of_experts": lambda components: ProductOfExperts(),
    "hellinger": lambda components: Hellinger(),
    "mixture_of_experts": lambda components: MixtureOfExperts(),
    "mixture_of_products": MixtureOfProducts,
}


class JointVAE(MultimodalVAE):
    """All modalities are decoded from one latent.

    A joint posterior that is a mixture is evaluated component by component: log-likelihood and rate are averages over its
    components. The average of their KLs is an upper bound of the mixture's KL, by convexity, so the bound stays one.

    Parameters
    ----------
    encoders, decoders, likelihoods
        Modality -> module.
    aggregation
        How the joint posterior is made.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        decoders: Mapping[str, nn.Module],
        likelihoods: Mapping[str, Likelihood],
        aggregation: Aggregation,
    ) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.aggregation = aggregation

    @property
    def shares_latents(self) -> bool:
        return self.aggregation.shares_latents

    @property
    def noise_shape(self) -> tuple[int, int]:
        count = len(self.modalities)
        return self.aggregation.components(count), self.latent + self.aggregation.extra_noise(count)

    @property
    def rate_terms(self) -> tuple[str, ...]:
        return ("joint",)

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        joint, weight = self.aggregation(posteriors, batch.available, noise[..., self.latent :])
        rate = (weight * kl_to_standard_normal(joint)).sum(0, keepdim=True)
        return SharedLatents(rate, sources=Sources(sample(joint, noise[..., : self.latent]), weight))

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the joint posterior of those present."""
        return self.aggregation(posteriors, available, noise[..., self.latent :])
