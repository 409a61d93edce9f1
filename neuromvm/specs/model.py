"""Specs of models: networks, likelihoods and ways of sharing latents between animals."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from neuromvm.specs.base import Spec


class LinearNetworks(Spec):
    """One affine map an animal."""

    kind: Literal["linear"] = "linear"


class MLPNetworks(Spec):
    """Hidden layers with a leaky ReLU after each; the decoder mirrors the encoder."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Annotated[int, Field(ge=1)]] = Field([64], min_length=1, description="Units of each hidden layer of the encoder")


class PublishedNetworks(Spec):
    """The published rat networks: d -> d -> d -> latent, a leaky ReLU after every layer, then latent -> latent heads."""

    kind: Literal["published"] = "published"


class ConvolutionNetworks(Spec):
    """Convolutions over the bins of a window; the latent is a path in time, smooth a priori."""

    kind: Literal["convolution"] = "convolution"
    hidden: int = Field(32, ge=1, description="Channels of the hidden layers")
    layers: int = Field(2, ge=1, description="Hidden layers of the encoder and of the decoder")
    kernel: int = Field(5, ge=1, description="Width of a convolution [bins]")
    smoothness: Literal["autoregressive", "gaussian_process"] = Field(
        "gaussian_process", description="Prior of the path: AR(1), whose correlation falls as exp(-lag/timescale), or a smooth GP"
    )
    timescale: float = Field(0.2, gt=0, description="Of the prior [s, or units of the position grid]")


class ResidualNetworks(Spec):
    """Residual convolutions over the pixels of an image or the positions of a text; the defaults are the published size."""

    kind: Literal["residual"] = "residual"
    channels: int = Field(64, ge=1, description="Of the first block; each halving of the sides doubles them")
    most_channels: int = Field(512, ge=1, description="Of any block")
    patch: int = Field(1, ge=1, description="Pixels, or positions, of a side that the first convolution merges; above 1: faster")
    smallest: int = Field(7, ge=1, description="Halving stops before a side would be smaller")


class OwnNetworks(Spec):
    """Modules of your own, made known by ``neuromvm.register_networks`` or an entry point of the group neuromvm.networks."""

    kind: Literal["own"] = "own"
    name: str = Field(..., min_length=1, description="Under which they were made known")
    settings: dict[str, Any] = Field({}, description="Passed to the function that makes them")


AnyNetworks = Annotated[
    LinearNetworks | MLPNetworks | PublishedNetworks | ConvolutionNetworks | ResidualNetworks | OwnNetworks,
    Field(discriminator="kind"),
]


class LikelihoodSpec(Spec):
    """A likelihood by its name in :data:`neuromvm.likelihoods.LIKELIHOODS`.

    Of scaled features: ``squared_error``, the published choice; ``gaussian``, a variance learned for each feature; ``laplace``, a
    scale learned for each feature, so that large deviations weigh less.

    Of spike counts, the decoder giving the log rate of each unit and bin: ``poisson``; ``negative_binomial``, which varies more,
    with a dispersion learned for each unit; both ``zero_inflated_...``, with a probability of extra zeros learned for each unit.

    Of recorded events: ``bernoulli``, 0 or 1 in every bin; ``categorical``, one-hot categories or counts of them.

    Of positive amplitudes such as LFP power: ``gamma``, a shape learned for each feature.
    """

    kind: Literal[
        "squared_error",
        "gaussian",
        "laplace",
        "poisson",
        "negative_binomial",
        "zero_inflated_poisson",
        "zero_inflated_negative_binomial",
        "bernoulli",
        "categorical",
        "gamma",
    ]
    scale: float | None = Field(
        None, gt=0, description="gaussian and laplace: this scale for all features, in place of one learned for each"
    )

    @model_validator(mode="after")
    def _has_scale(self) -> "LikelihoodSpec":
        if self.scale is not None and self.kind not in ("gaussian", "laplace"):
            raise ValueError(f"likelihood {self.kind} has no scale: leave it out, or use gaussian or laplace")
        return self


class ScheduleSpec(Spec):
    """A number that moves from ``start`` to ``stop`` while training goes on, and then stays."""

    kind: Literal["constant", "linear", "cosine"] = Field("constant", description="constant: stop throughout")
    start: float = Field(1.0, ge=0, le=1, description="Value at the start of training")
    stop: float = Field(0.0, ge=0, le=1, description="Value at the end")
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
    aggregation: Literal["average", "product_of_experts", "hellinger", "mixture_of_experts", "mixture_of_products"] = Field(
        ..., description="How the posteriors of animals become one"
    )
    components: int = Field(
        15, ge=1, description="mixture_of_products: subsets drawn for each sample where all of them are more than this"
    )


class PublishedJointSharing(Sharing):
    """The joint models of the published rat code, oddities included: for reproducing published numbers only."""

    needs_all_animals: ClassVar[bool] = True
    kind: Literal["published_joint"] = "published_joint"
    aggregation: Literal["average", "product_of_experts", "mixture_of_experts", "mixture_of_products"] = Field(
        ..., description="How the posteriors of animals become one"
    )


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


class ModelSpec(Spec):
    """A model = networks + likelihoods + one way of sharing.

    ``sharing``, ``networks`` and ``likelihood`` may be given by name alone (``sharing: mmvm``), with default settings.
    """

    sharing: AnySharing = Field(..., description="What animals share; a kind alone, as sharing: mmvm, has default settings")
    latent: int = Field(2, ge=1, description="Latent dimensions of each animal; of its shared part in mmvae_plus")
    beta: float = Field(1.0, ge=0, description="Weight of the rate")
    networks: AnyNetworks = Field(
        MLPNetworks(), description="Encoder and decoder of each animal; a kind alone has default settings"
    )
    networks_of: dict[str, AnyNetworks] = Field({}, description="Animal -> its own networks, in place of the common ones")
    scale: Literal["predicted", "constant"] = Field("predicted", description="Posterior scale: from the input, or learned once")
    likelihood: LikelihoodSpec = Field(LikelihoodSpec(kind="squared_error"), description="Of activity given latents, by its name")
    likelihood_of: dict[str, LikelihoodSpec] = Field({}, description="Animal -> its own likelihood, in place of the common one")
    likelihood_weight_of: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="Animal -> weight of its log-likelihood in the objective; default: 1"
    )
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
        if any((of.kind == "convolution") != (self.networks.kind == "convolution") for of in self.networks_of.values()):
            raise ValueError("networks convolution infer paths, which all animals need: give them to all, or to none")
        if self.code == "simplex" and self.networks.kind == "convolution":
            raise ValueError("code 'simplex' is for networks that infer vectors; a path has no winner: leave it out")
        if self.code == "simplex" and self.sharing.kind == "mmvae_plus":
            raise ValueError("code 'simplex' has no private part: use another sharing than mmvae_plus")
        if self.networks.kind == "convolution" and self.initial_scale != 1:
            raise ValueError("initial_scale: paths start at the posterior scale of a path seen through noise of variance 1")
        if self.start == "bayes":
            if self.code != "simplex" or {of.kind for of in (self.networks, *self.networks_of.values())} != {"linear"}:
                raise ValueError("start 'bayes' is for linear networks with code 'simplex'")
            kinds = {likelihood.kind for likelihood in (self.likelihood, *self.likelihood_of.values())}
            if not kinds <= {"squared_error", "gaussian", "laplace"}:
                raise ValueError("start 'bayes' is for likelihoods of scaled features: squared_error, gaussian or laplace")
        return self

    @field_validator("sharing", "networks", "likelihood", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("likelihood_of", "networks_of", mode="before")
    @classmethod
    def _each_by_name(cls, value: Any) -> Any:
        return {animal: cls._by_name(of_animal) for animal, of_animal in value.items()} if isinstance(value, dict) else value
