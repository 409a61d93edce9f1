"""The only place where specs meet classes."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuromvm.likelihoods import Gaussian, Likelihood, Poisson, SquaredError
from neuromvm.models import MMVM, IndependentVAE, MultimodalVAE, PairwiseMMVM
from neuromvm.networks import ConstantScale, Encoder, mlp
from neuromvm.specs.experiment import MLPNetworks, ModelSpec

LIKELIHOODS: dict[str, type[Likelihood]] = {"gaussian": Gaussian, "squared_error": SquaredError, "poisson": Poisson}


def build_model(
    spec: ModelSpec, features: Mapping[str, int], seed: int, training_targets: Mapping[str, Tensor] | None = None
) -> MultimodalVAE:
    """Build a model with weights drawn from a seed.

    Parameters
    ----------
    spec
        What to build.
    features
        Modality -> number of features.
    seed
        Of the initial weights; torch's global generator is left as it was.
    training_targets
        Modality -> training-side activity ``(sample, feature)``, from which likelihoods take starting values.

    Examples
    --------
    >>> model = build_model(ModelSpec(sharing="mmvm"), {"mitt": 104, "stella": 49}, seed=0)
    >>> model.modalities
    ('mitt', 'stella')
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {name: _encoder(spec, width) for name, width in features.items()}
        decoders = {name: _decoder(spec, width) for name, width in features.items()}
        likelihoods = {name: _likelihood(spec, width) for name, width in features.items()}
    for name, target in (training_targets or {}).items():
        likelihoods[name].start_from(target)
    match spec.sharing, spec.rate:
        case "independent", _:
            return IndependentVAE(encoders, decoders, likelihoods)
        case "mmvm", "mixture":
            return MMVM(encoders, decoders, likelihoods, spec.cross_reconstruction)
        case "mmvm", "pairwise":
            return PairwiseMMVM(encoders, decoders, likelihoods, spec.cross_reconstruction)


def scores_counts(spec: ModelSpec) -> bool:
    """Say whether the model's likelihood is of raw counts, not of scaled features."""
    return spec.likelihood.kind == "poisson"


def _hidden(spec: ModelSpec) -> list[int]:
    return spec.networks.hidden if isinstance(spec.networks, MLPNetworks) else []


def _encoder(spec: ModelSpec, features: int) -> Encoder:
    hidden = _hidden(spec)
    width = hidden[-1] if hidden else features
    log_scale = ConstantScale(spec.latent) if spec.scale == "constant" else nn.Linear(width, spec.latent)
    return Encoder(mlp(features, hidden), width, spec.latent, log_scale)


def _decoder(spec: ModelSpec, features: int) -> nn.Module:
    hidden = _hidden(spec)[::-1]
    return nn.Sequential(mlp(spec.latent, hidden), nn.Linear(hidden[-1] if hidden else spec.latent, features))


def _likelihood(spec: ModelSpec, features: int) -> Likelihood:
    kind = LIKELIHOODS[spec.likelihood.kind]
    return kind() if kind is SquaredError else kind(features)
