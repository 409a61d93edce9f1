"""Specs of encoders and decoders."""

from typing import Annotated, Literal

from pydantic import Field

from neuromvm.specs.base import Spec


class LinearNetworks(Spec):
    """One affine map an animal."""

    kind: Literal["linear"] = "linear"


class MLPNetworks(Spec):
    """Hidden layers with a leaky ReLU after each; the decoder mirrors the encoder."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Annotated[int, Field(ge=1)]] = Field([64], min_length=1)


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


AnyNetworks = Annotated[LinearNetworks | MLPNetworks | PublishedNetworks | ConvolutionNetworks, Field(discriminator="kind")]
