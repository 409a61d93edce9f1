"""Spec of a model: networks, likelihoods and one way of sharing."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.specs.base import Spec
from neuromvm.specs.likelihoods import LikelihoodSpec
from neuromvm.specs.networks import AnyNetworks, MLPNetworks
from neuromvm.specs.sharing import AnySharing


class ModelSpec(Spec):
    """A model = networks + likelihoods + one way of sharing.

    ``sharing``, ``networks`` and ``likelihood`` may be given by name alone (``sharing: mmvm``), with default settings.
    """

    sharing: AnySharing
    latent: int = Field(2, ge=1, description="Latent dimensions of each animal; of its shared part in mmvae_plus")
    beta: float = Field(1.0, ge=0, description="Weight of the rate")
    networks: AnyNetworks = MLPNetworks()
    scale: Literal["predicted", "constant"] = Field("predicted", description="Posterior scale: from the input, or learned once")
    likelihood: LikelihoodSpec = LikelihoodSpec(kind="squared_error")
    likelihood_of: dict[str, LikelihoodSpec] = Field({}, description="Animal -> its own likelihood, in place of the common one")
    code: Literal["free", "simplex"] = Field(
        "free",
        description="Posterior means: any values, or a softmax that adds up to 'gain', so that latents compete as conditions do",
    )
    gain: float = Field(4.0, gt=0, description="code simplex: what the latents add up to")
    targets: Literal["trials", "condition_means"] = Field(
        "trials", description="What is reconstructed: the trial, or the training side's mean of its condition"
    )
    resample: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Train encoders on simulated trials: shrunk condition means and noise of the covariance within conditions, "
        "of which this share is white",
    )
    start: Literal["random", "bayes"] = Field(
        "random",
        description="Weights before training: drawn, or for a linear simplex code the Bayes rule of the model of trials that "
        "'resample' describes: latent k is the probability of condition k",
    )
    start_shrinkage: float = Field(0.85, gt=0, le=1, description="start bayes: share of the covariance that is white")
    initial_scale: float = Field(1.0, gt=0, description="scale constant: where the posterior scale starts")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of input features hidden from the encoder in training")
    input_noise: float = Field(
        0.0, ge=0, description="Standard deviation of noise added to what the encoder sees in training [scaled features]"
    )

    @model_validator(mode="after")
    def _code_and_start_fit(self) -> "ModelSpec":
        if self.code == "simplex" and self.networks.kind == "convolution":
            raise ValueError("code 'simplex' is for networks that infer vectors; a path has no winner: leave it out")
        if self.code == "simplex" and self.sharing.kind == "mmvae_plus":
            raise ValueError("code 'simplex' has no private part: use another sharing than mmvae_plus")
        if self.networks.kind == "convolution" and self.initial_scale != 1:
            raise ValueError("initial_scale: paths start at the posterior scale of a path seen through noise of variance 1")
        if self.start == "bayes":
            if self.code != "simplex" or self.networks.kind != "linear":
                raise ValueError("start 'bayes' is for linear networks with code 'simplex'")
            kinds = {likelihood.kind for likelihood in (self.likelihood, *self.likelihood_of.values())}
            if not kinds <= {"squared_error", "gaussian", "laplace"}:
                raise ValueError("start 'bayes' is for likelihoods of scaled features: squared_error, gaussian or laplace")
        return self

    @field_validator("sharing", "networks", "likelihood", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("likelihood_of", mode="before")
    @classmethod
    def _each_by_name(cls, value: Any) -> Any:
        return {animal: cls._by_name(likelihood) for animal, likelihood in value.items()} if isinstance(value, dict) else value
