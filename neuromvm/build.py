"""The only place where specs meet classes."""

import math
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from neuromvm import likelihoods
from neuromvm.data.closed_form_start import ClosedFormStart
from neuromvm.data.trial_model import TrialModel
from neuromvm.data.windows import WindowShape
from neuromvm.errors import SpecError, did_you_mean
from neuromvm.functional.paths import autoregressive_root, gaussian_process_root
from neuromvm.functional.schedules import Schedule, constant, cosine, linear
from neuromvm.likelihoods import Likelihood
from neuromvm.models import (
    MMVM,
    Autoencoder,
    Average,
    IndependentVAE,
    JointVAE,
    MixtureOfExperts,
    MixtureOfProducts,
    MMVAEPlus,
    MultimodalVAE,
    ProductOfExperts,
    PublishedJointVAE,
)
from neuromvm.models.joint import Aggregation
from neuromvm.models.mmvm import Rate, mixture_rate, pairwise_rate, pooled_mixture_rate, pooled_pairwise_rate
from neuromvm.models.published import PUBLISHED_AGGREGATIONS
from neuromvm.networks import ConstantScale, Decoder, Encoder, NoScale, PathDecoder, PathEncoder, PredictedScale, SimplexMean, mlp
from neuromvm.specs import ModelSpec
from neuromvm.specs.likelihoods import AnyLikelihood
from neuromvm.specs.networks import ConvolutionNetworks, LinearNetworks, MLPNetworks
from neuromvm.specs.sharing import (
    AutoencoderSharing,
    IndependentSharing,
    JointSharing,
    MMVAEPlusSharing,
    MMVMSharing,
    PublishedJointSharing,
    ScheduleSpec,
)

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "squared_error": likelihoods.SquaredError,
    "gaussian": likelihoods.Gaussian,
    "laplace": likelihoods.Laplace,
    "poisson": likelihoods.Poisson,
    "negative_binomial": likelihoods.NegativeBinomial,
    "zero_inflated_poisson": likelihoods.ZeroInflatedPoisson,
    "zero_inflated_negative_binomial": likelihoods.ZeroInflatedNegativeBinomial,
    "bernoulli": likelihoods.Bernoulli,
    "categorical": likelihoods.Categorical,
}
RATES: dict[tuple[str, bool], Rate] = {
    ("mixture", False): mixture_rate,
    ("pairwise", False): pairwise_rate,
    ("mixture", True): pooled_mixture_rate,
    ("pairwise", True): pooled_pairwise_rate,
}


def build_model(
    spec: ModelSpec,
    windows: Mapping[str, WindowShape],
    seed: int,
    training_targets: Callable[[str], Tensor] | None = None,
    trial_models: Mapping[str, TrialModel] | None = None,
) -> MultimodalVAE:
    """Build a model with weights drawn from a seed.

    Parameters
    ----------
    spec
        What to build.
    windows
        Animal -> shape of its windows.
    seed
        Of the initial weights; torch's global generator is left as it was.
    training_targets
        Returns an animal's training-side activity ``(sample, feature)``, from which its likelihood takes starting values; it is
        asked for one animal after the other, where a likelihood has such values.
    trial_models
        Animal -> model of its training-side trials, from which encoders and decoders start if the spec says so.

    Raises
    ------
    SpecError
        If ``likelihood_of`` names an animal that is not there, or there are fewer latents than conditions to start from.

    Examples
    --------
    >>> windows = {"mitt": WindowShape(5, 104, 0.1), "stella": WindowShape(5, 49, 0.1)}
    >>> build_model(ModelSpec(sharing="mmvm"), windows, seed=0).modalities
    ('mitt', 'stella')
    """
    for animal in spec.likelihood_of:
        if animal not in windows:
            raise SpecError("likelihood_of", found=f"no animal {animal!r}", next_step=did_you_mean(animal, sorted(windows)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {name: build_encoder(spec, window) for name, window in windows.items()}
        decoders = {name: _decoder(spec, window) for name, window in windows.items()}
        scored = {name: _likelihood(likelihood_of(spec, name), window) for name, window in windows.items()}
    for name in windows:
        if training_targets is None or type(scored[name]).start_from is Likelihood.start_from:
            continue
        try:
            scored[name].start_from(training_targets(name))
        except SpecError as error:
            raise SpecError(
                f"{error.where} of animal {name}", found=error.found, expected=error.expected, next_step=error.next_step
            ) from error
    for name, trials in (trial_models or {}).items():
        _start_from(spec, encoders[name], decoders[name], trials)
    match spec.sharing:
        case IndependentSharing():
            return IndependentVAE(encoders, decoders, scored)
        case AutoencoderSharing(cross_reconstruction=across):
            return Autoencoder(encoders, decoders, scored, across)
        case JointSharing() as joint:
            return JointVAE(encoders, decoders, scored, _aggregation(joint))
        case PublishedJointSharing(aggregation=name):
            return PublishedJointVAE(encoders, decoders, scored, PUBLISHED_AGGREGATIONS[name])
        case MMVAEPlusSharing() as plus:
            modes = _modes(spec, next(iter(windows.values())))
            return MMVAEPlus(encoders, decoders, scored, plus.private * modes, plus.samples)
        case MMVMSharing() as mmvm:
            rate, schedule = RATES[mmvm.rate, mmvm.pooled], _schedule(mmvm.standard_normal)
            return MMVM(encoders, decoders, scored, rate, mmvm.cross_reconstruction, schedule)


def likelihood_of(spec: ModelSpec, animal: str) -> AnyLikelihood:
    """Return the likelihood of one animal: its own, or the common one."""
    return spec.likelihood_of.get(animal, spec.likelihood)


def scores_counts(spec: ModelSpec, animal: str) -> bool:
    """Say whether an animal's likelihood is of activity as recorded, not of scaled features."""
    return LIKELIHOODS[likelihood_of(spec, animal).kind].scores_counts


def path_root(spec: ModelSpec, window: WindowShape) -> Tensor | None:
    """Return the root ``(bin, mode)`` of a model's latent paths, or None if its latents are not paths."""
    networks = spec.networks
    if not isinstance(networks, ConvolutionNetworks):
        return None
    root = {"autoregressive": autoregressive_root, "gaussian_process": gaussian_process_root}[networks.smoothness]
    return root(window.bins, networks.timescale / window.bin_width)


def _modes(spec: ModelSpec, window: WindowShape) -> int:
    """Return how many numbers code one latent dimension."""
    root = path_root(spec, window)
    return 1 if root is None else root.shape[1]


def _latent(spec: ModelSpec) -> int:
    """Return the latent dimensions that an encoder infers, private ones included."""
    return spec.latent + (spec.sharing.private if isinstance(spec.sharing, MMVAEPlusSharing) else 0)


def _hidden(spec: ModelSpec, features: int) -> list[int]:
    match spec.networks:
        case MLPNetworks(hidden=hidden):
            return hidden
        case LinearNetworks():
            return []
        case _:
            return [features, features]


def _layers(spec: ModelSpec) -> dict[str, int]:
    """Return the size of the convolutions, the same in encoder and decoder."""
    networks = cast(ConvolutionNetworks, spec.networks)
    return {"hidden": networks.hidden, "layers": networks.layers, "kernel": networks.kernel}


def build_encoder(spec: ModelSpec, window: WindowShape) -> nn.Module:
    """Return the encoder of one animal, its weights drawn with torch's global generator."""
    root, latent = path_root(spec, window), _latent(spec)
    if root is not None:
        encoder = PathEncoder(window.units, latent, root, constant_scale=spec.scale == "constant", **_layers(spec))
        if isinstance(spec.sharing, AutoencoderSharing):
            encoder.scale = NoScale()
        return encoder
    hidden = _hidden(spec, window.features)
    if spec.networks.kind == "published":
        hidden = [*hidden, latent]
    width = hidden[-1] if hidden else window.features
    if isinstance(spec.sharing, AutoencoderSharing):
        scale: nn.Module = NoScale()
    else:
        scale = (
            ConstantScale(torch.full((latent,), math.log(spec.initial_scale)))
            if spec.scale == "constant"
            else PredictedScale(width, latent)
        )
    mean = SimplexMean(width, latent, spec.gain) if spec.code == "simplex" else nn.Linear(width, latent)
    return Encoder(mlp(window.features, hidden), mean, scale, latent)


def _decoder(spec: ModelSpec, window: WindowShape) -> nn.Module:
    root, latent = path_root(spec, window), _latent(spec)
    if root is not None:
        return PathDecoder(window.units, latent, root, **_layers(spec))
    hidden = _hidden(spec, window.features)[::-1]
    return Decoder(latent, hidden, window.features)


def _start_from(spec: ModelSpec, encoder: nn.Module, decoder: nn.Module, trials: TrialModel) -> None:
    """Start an encoder as the Bayes rule of a model of trials, and its decoder at the condition means."""
    means, deviations = torch.from_numpy(trials.mean), torch.from_numpy(trials.deviations)
    if spec.latent < len(means):
        raise SpecError(
            "start",
            found=f"{spec.latent} latents",
            expected=f"at least {len(means)}, one for each condition",
            next_step="Set latent",
        )
    covariance = deviations.T @ deviations + trials.white**2 * torch.eye(means.shape[1])
    cast(SimplexMean, encoder.mean).start_from(means, covariance)
    last = cast(Decoder, decoder).readout
    with torch.no_grad():
        last.weight.copy_(means[torch.arange(last.in_features) % len(means)].T / spec.gain)
        last.bias.zero_()


def starts_from_others(spec: ModelSpec, animal: str) -> bool:
    """Say whether a new animal can start from the latents of others: affine maps of a latent space that they share."""
    sharing = spec.sharing
    if isinstance(sharing, AutoencoderSharing):
        shared = sharing.cross_reconstruction > 0
    else:  # the private latents of mmvae_plus have no counterpart in another animal
        shared = not isinstance(sharing, IndependentSharing | MMVAEPlusSharing)
    return shared and isinstance(spec.networks, LinearNetworks) and not scores_counts(spec, animal)


def weights_of_start(spec: ModelSpec, animal: str, start: ClosedFormStart) -> dict[str, Tensor]:
    """Return the parameters of one animal's encoder, decoder and likelihood, by their names in the model."""
    log_scale = start.log_scale
    match spec:
        case ModelSpec(sharing=AutoencoderSharing()):
            scale = {}
        case ModelSpec(scale="constant"):
            scale = {"scale.log_scale": log_scale}
        case _:
            scale = {"scale.log_scale.weight": np.zeros_like(start.encoder_weight), "scale.log_scale.bias": log_scale}
    mean = "mean.logit" if spec.code == "simplex" else "mean"
    encoder = {f"{mean}.weight": start.encoder_weight, f"{mean}.bias": start.encoder_bias, **scale}
    named = {f"encoders.{animal}.{name}": value for name, value in encoder.items()}
    named |= {f"decoders.{animal}.1.weight": start.decoder_weight, f"decoders.{animal}.1.bias": start.decoder_bias}
    match likelihood_of(spec, animal).kind:
        case "gaussian":
            named[f"likelihoods.{animal}.log_scale"] = np.log(start.noise)
        case "laplace":  # a Laplace density of scale b has the standard deviation sqrt(2) b
            named[f"likelihoods.{animal}.log_scale"] = np.log(start.noise / math.sqrt(2))
    return {name: torch.from_numpy(value).float() for name, value in named.items()}


def _likelihood(spec: AnyLikelihood, window: WindowShape) -> Likelihood:
    kind = LIKELIHOODS[spec.kind]
    if issubclass(kind, likelihoods.CountLikelihood):
        return kind(window.features, units=window.units, exposure=window.bin_width)
    if kind is likelihoods.Categorical:
        return likelihoods.Categorical(window.features, units=window.units)
    return kind(window.features)


def _aggregation(spec: JointSharing) -> Aggregation:
    match spec.aggregation:
        case "average":
            return Average()
        case "product_of_experts":
            return ProductOfExperts()
        case "mixture_of_experts":
            return MixtureOfExperts()
        case "mixture_of_products":
            return MixtureOfProducts(spec.components)


def _schedule(spec: ScheduleSpec) -> Schedule:
    match spec.kind:
        case "constant":
            return constant(spec.stop)
        case "linear":
            return linear(spec.start, spec.stop, spec.until)
        case "cosine":
            return cosine(spec.start, spec.stop, spec.until)
