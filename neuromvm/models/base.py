"""What every multimodal VAE has in common: it encodes, shares latents, decodes, and scores."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuromvm.errors import ShapeError
from neuromvm.functional.experts import Experts, mixture_of_experts
from neuromvm.functional.gaussian import Posteriors
from neuromvm.functional.reconstruction import Moments, ReadoutErrors
from neuromvm.likelihoods import Likelihood, LinearError
from neuromvm.networks import Decoder

Modules = Mapping[str, nn.Module]
Likelihoods = Mapping[str, Likelihood]


class Batch(NamedTuple):
    """Matched samples of all modalities.

    ``inputs`` and ``targets``: modality -> ``(batch, feature)``, what the encoder sees and what the likelihood scores.
    ``available``: ``(modality, batch)``, 1 where the modality is present; values where it is not are never used.
    ``condition``: ``(batch,)``, code of the condition of a row.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    available: Tensor
    condition: Tensor


class Sources(NamedTuple):
    """Latents ``(source, batch, latent)`` from which every modality is decoded, with weights ``(source, batch)``."""

    latents: Tensor
    weight: Tensor


class SharedLatents(NamedTuple):
    """What a way of sharing decides: the latents each modality is decoded from, and the rate.

    The log-likelihood of modality m is ``own_weight * log p(x_m | own_m) + sum over sources s of weight_s * log p(x_m | z_s)``.
    ``rate (term, batch)`` [nats] is unreduced; its terms are named by :attr:`MultimodalVAE.rate_terms`. ``own (modality, batch,
    latent)`` is the latent of each modality itself, None if modalities are decoded from sources alone; ``own_weight`` is
    ``(batch,)`` or 1. ``sources`` are latents that all modalities are decoded from, None if each is decoded from its own latent
    alone.
    """

    rate: Tensor
    own: Tensor | None = None
    own_weight: Tensor | float = 1.0
    sources: Sources | None = None


class Objective(NamedTuple):
    """``log_likelihood (modality, batch)``, ``rate (term, batch)`` before its weight beta [nats], and the minimised ``loss``."""

    log_likelihood: Tensor
    rate: Tensor
    loss: Tensor


class MultimodalVAE(nn.Module):
    """A VAE with an encoder, a decoder and a likelihood for each modality.

    Encoders, decoders and likelihoods map the same modalities to modules, else a ShapeError is raised. An encoder says how many
    latents it infers (``latent``).
    """

    def __init__(self, encoders: Modules, decoders: Modules, likelihoods: Likelihoods) -> None:
        super().__init__()
        if not (set(encoders) == set(decoders) == set(likelihoods)):
            raise ShapeError(
                "MultimodalVAE",
                found=f"encoders of {sorted(encoders)}, decoders of {sorted(decoders)}, likelihoods of {sorted(likelihoods)}",
                expected="the same modalities in each",
            )
        self.modalities: tuple[str, ...] = tuple(encoders)
        # torch types what a module holds as tensor or module; an encoder's number of latents is neither.
        self.latent: int = next(int(encoder.latent) for encoder in encoders.values())  # type: ignore[arg-type]
        self.encoders = nn.ModuleDict(dict(encoders))
        self.decoders = nn.ModuleDict({name: decoders[name] for name in encoders})
        self.likelihoods = nn.ModuleDict({name: likelihoods[name] for name in encoders})
        self.likelihood_weights: dict[str, float] = {}  # of modalities whose log-likelihood has not the weight 1

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Draws and width of the standard-normal noise ``(draw, batch, width)`` that :meth:`objective` needs."""
        return len(self.modalities), self.latent

    @property
    def shared_latents(self) -> int:
        """Number of latents that are shared between modalities: the leading ones; the remaining ones are private."""
        return self.latent

    @property
    def has_private_latents(self) -> bool:
        """Whether some latents are private to a modality."""
        return self.shared_latents < self.latent

    @property
    def shares_latents(self) -> bool:
        """Whether training makes the posteriors of matched samples of different modalities agree."""
        return True

    @property
    def has_common_space(self) -> bool:
        """Whether modalities share all latents, so that a new modality can start from the latents of others."""
        return not self.has_private_latents

    @property
    def rate_terms(self) -> Sequence[str]:
        """Names of the terms of the rate; by default a term for each modality."""
        return self.modalities

    @property
    def changes_with_progress(self) -> bool:
        """Whether the objective depends on how much of the training is done."""
        return False

    def objective(self, batch: Batch, noise: Tensor, beta: Tensor | float, progress: float = 1.0) -> Objective:
        r"""Return log-likelihoods and rates, and the loss: the mean over the batch of rate minus log-likelihood [nats].

        With beta = 1 the loss is the negative evidence lower bound.

        .. math::

            \mathcal{L} = \frac{1}{B} \sum_b \Big( \beta \sum_t \mathrm{rate}_{t}(x_b)
                - \sum_m \mathbb{E}_{q}\big[\log p(x_{b,m} \mid z_m)\big] \Big)

        For the MMVM VAE with the mixture rate, the rate of modality m is KL(q_m || (1/M) sum_k q_k) (Sutter et al., NeurIPS
        2024, eq. 3).
        Log-likelihoods are summed over features. Absent modalities, and rows without any modality, do not count.

        Parameters
        ----------
        batch, noise
            Matched samples, and standard normal noise ``(draw, batch, width)``, see :attr:`noise_shape`.
        beta
            Weight of the rate.
        progress
            Share of the training done, 0 to 1.
        """
        posteriors = self.encode(batch.inputs)
        shared = self.share(posteriors, noise, batch, progress)
        log_likelihood = self.reconstruct(batch.targets, shared) * batch.available
        loss = mean_over_rows(beta * shared.rate.sum(0) - log_likelihood.sum(0), batch.available)
        return Objective(log_likelihood, shared.rate, loss)

    forward = objective

    def encode(self, inputs: Mapping[str, Tensor]) -> Posteriors:
        """Return the posteriors of all modalities, stacked in the order of ``modalities``."""
        means, scales = zip(*(self.encoders[name](inputs[name]) for name in self.modalities), strict=True)
        return Posteriors(torch.stack(means), torch.stack(scales))

    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        """Return the latents that each modality is decoded from, and the rate; models that keep :meth:`objective` implement this.

        Posteriors are ``(modality, batch, latent)``, noise is standard normal (:attr:`noise_shape`); the batch says which
        modalities are present and the condition of each row; progress is the share of the training done, for schedules.
        """
        raise NotImplementedError

    def reconstruct(self, targets: Mapping[str, Tensor], shared: SharedLatents) -> Tensor:
        """Return the log-likelihood of each modality ``(modality, batch)`` [nats] under the latents it is decoded from."""
        if shared.sources is not None and (errors := self._linear_errors(targets)):
            return _reconstruct_linearly(errors, shared, shared.sources)
        log_likelihoods = []
        for index, name in enumerate(self.modalities):
            log_likelihood = torch.zeros_like(shared.rate[0])
            if shared.own is not None:
                log_likelihood = shared.own_weight * self.log_likelihood(name, targets[name], shared.own[index])
            if shared.sources is not None:
                of_sources = self.log_likelihood(name, targets[name], shared.sources.latents)
                log_likelihood = log_likelihood + (of_sources * shared.sources.weight).sum(0)
            log_likelihoods.append(log_likelihood)
        return torch.stack(log_likelihoods)

    def log_likelihood(self, name: str, target: Tensor, latents: Tensor) -> Tensor:
        """Return log p(target | latents) ``(..., batch)`` [nats] of a modality, for latents ``(..., batch, latent)``.

        A weight of the modality in ``likelihood_weights`` multiplies it.
        """
        raw = self.decoders[name](latents.reshape(-1, latents.shape[-1]))
        log_likelihood = self.likelihood(name).log_prob(raw.reshape(*latents.shape[:-1], -1), target)
        return log_likelihood * self.likelihood_weights[name] if name in self.likelihood_weights else log_likelihood

    def _linear_errors(self, targets: Mapping[str, Tensor]) -> list[LinearError]:
        """Return the squared error of each modality, or none unless all decoders are linear with Gaussian errors of weight 1."""
        errors = []
        if self.likelihood_weights:
            return []
        for name, decoder in self.decoders.items():
            if not isinstance(decoder, Decoder) or len(decoder.layers):
                return []
            error = self.likelihood(name).linear_error(decoder.readout.weight, decoder.readout.bias, targets[name])
            if error is None:
                return []
            errors.append(error)
        return errors

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Return the distribution of the latents of the modality ``target``, which was not recorded, given those present.

        By default it is the equal mixture of the posteriors of the modalities present; values of absent ones are not used.
        """
        return mixture_of_experts(posteriors, available)

    def likelihood(self, name: str) -> Likelihood:
        """Return the likelihood of a modality."""
        likelihood = self.likelihoods[name]
        assert isinstance(likelihood, Likelihood)
        return likelihood


def _reconstruct_linearly(errors: Sequence[LinearError], shared: SharedLatents, sources: Sources) -> Tensor:
    """Return what :meth:`MultimodalVAE.reconstruct` does, from the moments of the sources."""
    quadratic = ReadoutErrors.of((error.weight, error.bias, error.target) for error in errors)
    moments = Moments.of(*sources)
    total, weight = quadratic.summed(moments), moments.total
    if shared.own is not None:
        total, weight = total + shared.own_weight * quadratic.at(shared.own), weight + shared.own_weight
    return -total - torch.stack([error.offset for error in errors])[:, None] * weight


def decode_across(latents: Tensor, rate: Tensor, available: Tensor, share: float) -> SharedLatents:
    """Decode every modality from its own latent with weight 1 - share, and from the others present with equal weights.

    The weights of a modality that is present sum to 1; a modality that is alone in its row is decoded from its own latent.
    """
    if share == 0:
        return SharedLatents(rate, own=latents)
    partners = (available.sum(0) - 1).clamp(min=0)  # number of other modalities present (batch,)
    share_of_partners = share * (partners > 0)
    weight = share_of_partners / partners.clamp(min=1)
    # The sources of a modality include its own latent with this weight, so it is subtracted from the weight of the latent.
    return SharedLatents(rate, latents, 1 - share_of_partners - weight, Sources(latents, available * weight))


def mean_over_rows(values: Tensor, available: Tensor) -> Tensor:
    """Return the mean of values ``(batch,)`` over rows in which a modality is present."""
    rows = (available.sum(0) > 0).to(values.dtype)
    return (values * rows).sum() / rows.sum().clamp(min=1)
