"""Build models from specs: the only module in which specs meet modules."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import torch
import xarray as xr
from torch import Tensor, nn

from neuromvm.data.activity_kinds import check_likelihood
from neuromvm.data.trial_model import TrialModel
from neuromvm.data.windows import WindowShape
from neuromvm.errors import SpecError, did_you_mean
from neuromvm.functional.paths import autoregressive_root, gaussian_process_root
from neuromvm.functional.schedules import Schedule, constant, cosine, linear
from neuromvm.likelihoods import LIKELIHOODS, Likelihood
from neuromvm.models import MMVM, Autoencoder, IndependentVAE, JointVAE, MMVAEPlus, MultimodalVAE, PublishedJointVAE
from neuromvm.models.joint import AGGREGATIONS
from neuromvm.models.mmvm import Rate, mixture_rate, pairwise_rate, pooled_mixture_rate, pooled_pairwise_rate
from neuromvm.models.published import PUBLISHED_AGGREGATIONS
from neuromvm.networks import (
    ConstantScale,
    Decoder,
    Encoder,
    Layout,
    NoScale,
    PathDecoder,
    PathEncoder,
    PredictedScale,
    ResidualSize,
    SimplexMean,
    ToChannels,
    ToFeatures,
    hidden_width,
    mlp,
    own_networks,
    residual_readout,
    residual_trunk,
)
from neuromvm.specs import ModelSpec
from neuromvm.specs.model import (
    AnyNetworks,
    ConvolutionNetworks,
    LinearNetworks,
    MLPNetworks,
    OwnNetworks,
    PublishedNetworks,
    ResidualNetworks,
    ScheduleSpec,
)

RATES: dict[tuple[str, bool], Rate] = {
    ("mixture", False): mixture_rate,
    ("pairwise", False): pairwise_rate,
    ("mixture", True): pooled_mixture_rate,
    ("pairwise", True): pooled_pairwise_rate,
}


class Modules(NamedTuple):
    """Encoder, decoder and likelihood of each animal."""

    encoders: dict[str, nn.Module]
    decoders: dict[str, nn.Module]
    likelihoods: dict[str, Likelihood]


# Kind of sharing (neuromvm.specs.model) -> model, given settings, modules and how many numbers code one latent dimension.
SHARINGS: dict[str, Callable[[Any, Modules, int], MultimodalVAE]] = {
    "independent": lambda sharing, modules, modes: IndependentVAE(*modules),
    "autoencoder": lambda sharing, modules, modes: Autoencoder(*modules, sharing.cross_reconstruction),
    "joint": lambda sharing, modules, modes: JointVAE(*modules, AGGREGATIONS[sharing.aggregation](sharing.components)),
    "published_joint": lambda sharing, modules, modes: PublishedJointVAE(*modules, PUBLISHED_AGGREGATIONS[sharing.aggregation]),
    "mmvae_plus": lambda sharing, modules, modes: MMVAEPlus(*modules, sharing.private * modes, sharing.samples),
    "mmvm": lambda sharing, modules, modes: MMVM(
        *modules, RATES[sharing.rate, sharing.pooled], sharing.cross_reconstruction, _schedule(sharing.standard_normal)
    ),
}


def build_model(
    spec: ModelSpec,
    windows: Mapping[str, WindowShape],
    seed: int,
    training_targets: Callable[[str], Tensor] | None = None,
    trial_models: Mapping[str, TrialModel] | None = None,
) -> MultimodalVAE:
    """Build a model with weights drawn from a seed.

    ``windows`` are the shapes of the windows of each animal. ``training_targets`` returns an animal's training-side activity
    ``(sample, feature)``, from which its likelihood takes starting values if it has some; ``trial_models`` are those of the
    training-side trials of animals whose encoders and decoders start from them. Raises SpecError if ``likelihood_of`` names an
    unknown animal, a likelihood refuses the activity, or there are fewer latents than conditions to start from.

    Examples
    --------
    >>> windows = {"mitt": WindowShape(5, 104, 0.1), "stella": WindowShape(5, 49, 0.1)}
    >>> build_model(ModelSpec(sharing="mmvm"), windows, seed=0).modalities
    ('mitt', 'stella')
    """
    _check_named(spec, windows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = Modules(
            *_networks(spec, windows),
            {animal: _likelihood(spec, animal, window) for animal, window in windows.items()},
        )
    if training_targets is not None:
        _start_likelihoods(modules.likelihoods, training_targets)
    for animal, trials in (trial_models or {}).items():
        _start_from_trials(spec, modules.encoders[animal], modules.decoders[animal], trials)
    root = _path_root(spec, next(iter(windows.values())))
    model = SHARINGS[spec.sharing.kind](spec.sharing, modules, 1 if root is None else root.shape[1])
    model.likelihood_weights = dict(spec.likelihood_weight_of)
    return model


def likelihood_class(spec: ModelSpec, animal: str) -> type[Likelihood]:
    """Return the class of an animal's likelihood: its own, or the common one."""
    return LIKELIHOODS[spec.likelihood_of.get(animal, spec.likelihood).kind]


def _likelihood(spec: ModelSpec, animal: str, window: WindowShape) -> Likelihood:
    """Return the likelihood of an animal, with the scale that the spec fixes, if it does."""
    scale = spec.likelihood_of.get(animal, spec.likelihood).scale
    fixed = {} if scale is None else {"scale": scale}
    return likelihood_class(spec, animal)(window.features, window.units, window.bin_width, **fixed)


def _networks_of(spec: ModelSpec, animal: str) -> AnyNetworks:
    """Return the networks of an animal: its own, or the common ones."""
    return spec.networks_of.get(animal, spec.networks)


def _networks(spec: ModelSpec, windows: Mapping[str, WindowShape]) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Return the encoder and the decoder of each animal; torch's global generator draws their weights, encoders first."""
    encoders: dict[str, nn.Module] = {}
    decoders: dict[str, nn.Module] = {}
    for animal, window in windows.items():
        match _networks_of(spec, animal):
            case OwnNetworks() as networks:
                layout = _layout(window)
                trunk, decoders[animal] = own_networks(networks.name, layout, _latent(spec), networks.settings)
                encoders[animal] = _around(spec, layout, trunk)
                decoders[animal] = nn.Sequential(decoders[animal], ToFeatures())
            case networks:
                encoders[animal] = _encoder(spec, networks, window)
    for animal, window in windows.items():
        if animal not in decoders:
            decoders[animal] = _decoder(spec, _networks_of(spec, animal), window)
    return encoders, {animal: decoders[animal] for animal in windows}


def _layout(window: WindowShape) -> Layout:
    """Return a modality as networks see it: an image, a sequence of bins, or a vector where there is one bin."""
    return Layout(window.units, window.extent or ((window.bins,) if window.bins > 1 else ()))


def _around(spec: ModelSpec, layout: Layout, trunk: nn.Module) -> Encoder:
    """Return an encoder of features: a trunk that sees the modality in its shape, and the heads of the posterior."""
    width, latent = hidden_width(trunk, layout), _latent(spec)
    hidden = nn.Sequential(ToChannels(layout), trunk, nn.Flatten())
    return Encoder(hidden, _mean(spec, width, latent), _scale(spec, width, latent), latent)


def check_likelihoods(spec: ModelSpec, samples: xr.DataTree) -> None:
    """Raise SpecError unless the likelihood of each animal fits its kind of activity."""
    _check_named(spec, samples.children)
    for animal, node in samples.children.items():
        check_likelihood(animal, node.to_dataset()["activity"], spec.likelihood_of.get(animal, spec.likelihood).kind)


def _check_named(spec: ModelSpec, animals: Iterable[str]) -> None:
    """Raise SpecError if a likelihood, its weight or networks are for an unknown animal."""
    known = sorted(animals)
    for setting in ("likelihood_of", "networks_of", "likelihood_weight_of"):
        for animal in getattr(spec, setting):
            if animal not in known:
                raise SpecError(setting, found=f"no animal {animal!r}", next_step=did_you_mean(animal, known))


def _start_likelihoods(likelihoods: Mapping[str, Likelihood], training_targets: Callable[[str], Tensor]) -> None:
    for animal, likelihood in likelihoods.items():
        if type(likelihood).start_from is Likelihood.start_from:
            continue
        try:
            likelihood.start_from(training_targets(animal))
        except SpecError as error:
            raise SpecError(
                f"{error.where} of animal {animal}", found=error.found, expected=error.expected, next_step=error.next_step
            ) from error


def _path_root(spec: ModelSpec, window: WindowShape) -> Tensor | None:
    """Return the root ``(bin, mode)`` of the covariance of latent paths, or None if latents are not paths."""
    networks = spec.networks
    if not isinstance(networks, ConvolutionNetworks):
        return None
    root = {"autoregressive": autoregressive_root, "gaussian_process": gaussian_process_root}[networks.smoothness]
    return root(window.bins, networks.timescale / window.bin_width)


def _latent(spec: ModelSpec) -> int:
    """Return the number of latents that an encoder infers, private ones included."""
    return spec.latent + getattr(spec.sharing, "private", 0)


def _hidden(networks: AnyNetworks, features: int) -> list[int]:
    """Return the widths of the hidden layers of an encoder."""
    match networks:
        case MLPNetworks(hidden=hidden):
            return hidden
        case LinearNetworks():
            return []
        case PublishedNetworks():
            return [features, features]
    raise NotImplementedError(f"networks {networks.kind!r} without a case in neuromvm.build")


def _convolutions(spec: ModelSpec) -> dict[str, int]:
    """Return the size of the convolutions, which encoder and decoder have in common."""
    return spec.networks.model_dump(include={"hidden", "layers", "kernel"})


def _residual_size(networks: ResidualNetworks) -> ResidualSize:
    return ResidualSize(**networks.model_dump(exclude={"kind"}))


def _encoder(spec: ModelSpec, networks: AnyNetworks, window: WindowShape) -> nn.Module:
    """Return the encoder of one animal; torch's global generator draws its weights."""
    root, latent = _path_root(spec, window), _latent(spec)
    if root is not None:
        encoder = PathEncoder(window.units, latent, root, constant_scale=spec.scale == "constant", **_convolutions(spec))
        if spec.sharing.deterministic:
            encoder.scale = NoScale()
        return encoder
    if isinstance(networks, ResidualNetworks):
        layout = _layout(window)
        return _around(spec, layout, residual_trunk(layout, _residual_size(networks)))
    hidden = _hidden(networks, window.features)
    if networks.kind == "published":
        hidden = [*hidden, latent]
    width = [window.features, *hidden][-1]
    scale, mean = _scale(spec, width, latent), _mean(spec, width, latent)
    return Encoder(mlp(window.features, hidden), mean, scale, latent)


def _mean(spec: ModelSpec, width: int, latent: int) -> nn.Module:
    return SimplexMean(width, latent, spec.gain) if spec.code == "simplex" else nn.Linear(width, latent)


def _scale(spec: ModelSpec, width: int, latent: int) -> nn.Module:
    if spec.sharing.deterministic:
        return NoScale()
    if spec.scale == "constant":
        return ConstantScale(torch.full((latent,), math.log(spec.initial_scale)))
    return PredictedScale(width, latent)


def _decoder(spec: ModelSpec, networks: AnyNetworks, window: WindowShape) -> nn.Module:
    root, latent = _path_root(spec, window), _latent(spec)
    if root is not None:
        return PathDecoder(window.units, latent, root, **_convolutions(spec))
    if isinstance(networks, ResidualNetworks):
        return nn.Sequential(residual_readout(_layout(window), _residual_size(networks), latent), ToFeatures())
    return Decoder(latent, _hidden(networks, window.features)[::-1], window.features)


def _start_from_trials(spec: ModelSpec, encoder: nn.Module, decoder: nn.Module, trials: TrialModel) -> None:
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
    readout = cast(Decoder, decoder).readout
    with torch.no_grad():
        readout.weight.copy_(means[torch.arange(readout.in_features) % len(means)].T / spec.gain)
        readout.bias.zero_()


def _schedule(spec: ScheduleSpec) -> Schedule:
    if spec.kind == "constant":
        return constant(spec.stop)
    return {"linear": linear, "cosine": cosine}[spec.kind](spec.start, spec.stop, spec.until)
