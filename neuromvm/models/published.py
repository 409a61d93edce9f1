"""The joint models of the published rat code, oddities included: for reproducing published numbers only."""

from collections.abc import Callable

from torch import Tensor

from neuromvm.functional.experts import Experts, average
from neuromvm.functional.gaussian import Posteriors, sample
from neuromvm.functional.published import published_mixture, published_mixture_of_products, published_product, published_rate
from neuromvm.models.base import Batch, Likelihoods, Modules, MultimodalVAE, SharedLatents


def published_average(posteriors: Posteriors, available: Tensor) -> Posteriors:
    """Mean of means and of scales, ``(modality, batch, latent)`` to ``(batch, latent)``: as in the paper."""
    joint = average(posteriors, posteriors.mean.new_ones(posteriors.mean.shape[:2])).posteriors
    return Posteriors(joint.mean[0], joint.scale[0])


PUBLISHED_AGGREGATIONS: dict[str, Callable[[Posteriors, Tensor], Posteriors]] = {
    "average": published_average,
    "product_of_experts": published_product,
    "mixture_of_experts": published_mixture,
    "mixture_of_products": published_mixture_of_products,
}


class PublishedJointVAE(MultimodalVAE):
    """A joint posterior as the published code computes it; see :mod:`neuromvm.functional.published`.

    Its "mixtures" are slices of the batch, one head is a log scale here and a log variance there, and the joint rate is added
    once for every modality. Batches in which a modality is absent are refused where they are made.
    """

    def __init__(
        self,
        encoders: Modules,
        decoders: Modules,
        likelihoods: Likelihoods,
        aggregation: Callable[[Posteriors, Tensor], Posteriors],
    ) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.aggregation = aggregation

    @property
    def shares_latents(self) -> bool:
        return self.aggregation in (published_mixture, published_mixture_of_products)

    @property
    def rate_terms(self) -> tuple[str, ...]:
        return ("joint",)

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        joint = self.aggregation(posteriors, batch.available)
        # Every modality is decoded from a draw of its own of the joint posterior.
        latents = sample(Posteriors(joint.mean[None], joint.scale[None]), noise)
        rate = published_rate(joint, len(self.modalities)) * batch.available.amax(0)
        return SharedLatents(rate[None], own=latents)

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the correct average of those present: the published functions cannot leave a modality out."""
        return average(posteriors, available)
