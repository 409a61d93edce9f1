"""Specs of ways of sharing latents between animals."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from neuromvm.specs.base import Spec


class ScheduleSpec(Spec):
    """A number that moves from ``start`` to ``stop`` while training goes on, and then stays."""

    kind: Literal["constant", "linear", "cosine"] = Field("constant", description="constant: stop throughout")
    start: float = Field(1.0, ge=0, le=1)
    stop: float = Field(0.0, ge=0, le=1)
    until: float = Field(1.0, gt=0, le=1, description="Share of the training after which it has arrived")


class Sharing(Spec):
    """Base class of the settings of a way of sharing."""

    deterministic: ClassVar[bool] = False  # latents are posterior means, without noise
    needs_all_animals: ClassVar[bool] = False  # a matched sample in which an animal is absent is refused


class IndependentSharing(Sharing):
    """Nothing is shared: one VAE for each animal."""

    kind: Literal["independent"] = "independent"


class AutoencoderSharing(Sharing):
    """No noise and no rate: minus its reconstruction error is an upper bound of the objective of every VAE."""

    deterministic: ClassVar[bool] = True
    kind: Literal["autoencoder"] = "autoencoder"
    cross_reconstruction: float = Field(0.0, ge=0, le=1, description="As in mmvm")


class JointSharing(Sharing):
    """One posterior of all animals together."""

    kind: Literal["joint"] = "joint"
    aggregation: Literal["average", "product_of_experts", "hellinger", "mixture_of_experts", "mixture_of_products"]
    components: int = Field(
        15, ge=1, description="mixture_of_products: subsets drawn for each sample where all of them are more than this"
    )


class PublishedJointSharing(Sharing):
    """The joint models of the published rat code, oddities included: for reproducing published numbers only."""

    needs_all_animals: ClassVar[bool] = True
    kind: Literal["published_joint"] = "published_joint"
    aggregation: Literal["average", "product_of_experts", "mixture_of_experts", "mixture_of_products"]


class MMVMSharing(Sharing):
    """The mixture prior: every posterior is drawn towards those of all animals in the matched sample."""

    kind: Literal["mmvm"] = "mmvm"
    rate: Literal["mixture", "pairwise"] = Field("mixture", description="The published loss trains 'pairwise'")
    pooled: bool = Field(
        False, description="The mixture runs over all posteriors of the same condition in the batch, several trials an animal"
    )
    standard_normal: ScheduleSpec = Field(ScheduleSpec(), description="Share of N(0, I) in the mixture as training goes on")
    cross_reconstruction: float = Field(
        0.0, ge=0, le=1, description="Share of the reconstruction taken from other animals' latents of a matched sample"
    )

    @model_validator(mode="after")
    def _not_both(self) -> "MMVMSharing":
        if self.pooled and self.standard_normal != ScheduleSpec():
            raise ValueError("the condition-pooled mixture has no standard-normal part: leave out 'pooled' or 'standard_normal'")
        return self


class MMVAEPlusSharing(Sharing):
    """A shared and a private part of every latent, the private one never used across animals."""

    kind: Literal["mmvae_plus"] = "mmvae_plus"
    private: int = Field(2, ge=1, description="Private dimensions of each animal, beside the shared ones (latent)")
    samples: int = Field(4, ge=1, description="Importance samples of the bound; 1 is the evidence lower bound")


AnySharing = Annotated[
    IndependentSharing | AutoencoderSharing | JointSharing | PublishedJointSharing | MMVMSharing | MMVAEPlusSharing,
    Field(discriminator="kind"),
]
