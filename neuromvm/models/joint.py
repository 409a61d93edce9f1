"""Joint VAEs: one posterior of all modalities together, aggregated from those of each."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from neuromvm.functional import experts
from neuromvm.functional.experts import Experts
from neuromvm.functional.gaussian import Posteriors, kl_to_standard_normal, sample
from neuromvm.models.base import Batch, Likelihoods, Modules, MultimodalVAE, SharedLatents, Sources


class Aggregation:
    """From the posteriors of single modalities to the joint one, as components of a mixture.

    ``shares_latents``: whether the joint posterior covers that of each modality, so that they are drawn towards each other.
    """

    shares_latents: ClassVar[bool] = True

    @staticmethod
    def formula(posteriors: Posteriors, available: Tensor) -> Experts:
        """Aggregate posteriors ``(modality, batch, latent)`` of the modalities present ``(modality, batch)``."""
        raise NotImplementedError

    def components(self, modalities: int) -> int:
        """Return the number of components."""
        return 1

    def extra_noise(self, modalities: int) -> int:
        """Return how many standard-normal numbers a component needs beyond those of its latents."""
        return 0

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        """Return :meth:`formula`, or draw components with ``noise (component, batch, extra)``."""
        return self.formula(posteriors, available)


class Average(Aggregation):
    """Mean of means and mean of scales."""

    shares_latents = False
    formula = staticmethod(experts.average)


class ProductOfExperts(Aggregation):
    """Precision-weighted product, without a prior expert."""

    shares_latents = False
    formula = staticmethod(experts.product_of_experts)


class Hellinger(Aggregation):
    """The Gaussian with the mean and variances of the squared mean of the root densities of the modalities."""

    formula = staticmethod(experts.hellinger)


class MixtureOfExperts(Aggregation):
    """Uniform mixture of the modalities, every one evaluated."""

    formula = staticmethod(experts.mixture_of_experts)

    def components(self, modalities: int) -> int:
        return modalities


class MixtureOfProducts(Aggregation):
    """Uniform mixture of the products of all non-empty subsets of modalities, or of ``largest`` of them drawn for each sample."""

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def components(self, modalities: int) -> int:
        return min(self.largest, int(2**modalities - 1))

    def extra_noise(self, modalities: int) -> int:
        return modalities + 1 if 2**modalities - 1 > self.largest else 0

    def __call__(self, posteriors: Posteriors, available: Tensor, noise: Tensor) -> Experts:
        if self.extra_noise(len(available)):
            return experts.sampled_products(posteriors, available, noise)
        return experts.mixture_of_products(posteriors, available)


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
    """

    def __init__(self, encoders: Modules, decoders: Modules, likelihoods: Likelihoods, aggregation: Aggregation) -> None:
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
