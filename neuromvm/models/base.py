"""What every multimodal VAE has in common: it encodes, shares, decodes and scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuromvm.errors import ShapeError
from neuromvm.functional.experts import Experts, mixture_of_experts
from neuromvm.functional.gaussian import Posteriors
from neuromvm.functional.reconstruction import ReadoutError, moments_pay
from neuromvm.likelihoods import Likelihood
from neuromvm.models.decodable import Across, Decodable, mean_errors, read_together
from neuromvm.networks import Decoder, decoders_hidden, encode_together


class Batch(NamedTuple):
    """Matched samples of all modalities.

    ``inputs`` and ``targets``: modality -> ``(batch, feature)``, what the encoder sees and what the likelihood scores.
    ``available``: ``(modality, batch)``, 1 where the modality is present; values where it is not are never used.
    ``condition``: ``(batch,)``, code of what the samples of a row have in common.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    available: Tensor
    condition: Tensor


class SharedLatents(NamedTuple):
    """What a way of sharing decides: what each modality is decoded from, and the rate.

    ``rate (term, batch)`` [nats], unreduced; its terms are named by :meth:`MultimodalVAE.rate_terms`.
    """

    decodable: Mapping[str, Decodable | Across]
    rate: Tensor


class Objective(NamedTuple):
    """``log_likelihood (modality, batch)`` and ``rate (term, batch)`` [nats], and the scalar ``loss``."""

    log_likelihood: Tensor
    rate: Tensor
    loss: Tensor


class MultimodalVAE(nn.Module, ABC):
    """A VAE with an encoder, a decoder and a likelihood for each modality.

    Reductions are stated once: the loss is the mean over the batch of (beta * sum of rate terms - sum over modalities
    of log-likelihoods, each summed over features). Rows in which no modality is present do not count.

    Parameters
    ----------
    encoders, decoders, likelihoods
        Modality -> module; the same modalities in each. An encoder says how many latents it infers (``latent``).
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], decoders: Mapping[str, nn.Module], likelihoods: Mapping[str, Likelihood]
    ) -> None:
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

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Draws and width of the standard-normal noise ``(draw, batch, width)`` that :meth:`objective` needs."""
        return len(self.modalities), self.latent

    @property
    def shared_latents(self) -> int:
        """How many of the latents, the leading ones, are shared between modalities; the others are private."""
        return self.latent

    @property
    def has_private_latents(self) -> bool:
        """Whether some latents are private to a modality."""
        return self.shared_latents < self.latent

    @property
    def shares_latents(self) -> bool:
        """Whether the posteriors of matched samples of the modalities are drawn towards each other."""
        return True

    @property
    def has_common_space(self) -> bool:
        """Whether a decoder can read the latents of every modality, so that a new modality can start from those of the others."""
        return not self.has_private_latents

    @property
    def rate_terms(self) -> Sequence[str]:
        """Names of the terms of the rate; by default one for each modality."""
        return self.modalities

    def encode(self, inputs: Mapping[str, Tensor]) -> Posteriors:
        """Return the posteriors of all modalities, stacked in the order of ``modalities``."""
        encoders = [self.encoders[name] for name in self.modalities]
        return Posteriors(*encode_together(encoders, [inputs[name] for name in self.modalities]))

    @abstractmethod
    def share(self, posteriors: Posteriors, noise: Tensor, batch: Batch, progress: float) -> SharedLatents:
        """Decide what each modality is decoded from and what it costs.

        Parameters
        ----------
        posteriors
            ``(modality, batch, latent)``.
        noise
            Standard normal, see :attr:`noise_shape`.
        batch
            Says which modalities are present and what the condition of each row is; its values are already encoded.
        progress
            Share of the training done, 0 to 1, for what changes while training goes on.
        """

    def infer_absent(self, posteriors: Posteriors, noise: Tensor, available: Tensor, target: str) -> Experts:
        """Say where the latents of a modality lie that was not recorded, given those present.

        By default anywhere where one of those present lies, each as probable as the other.

        Parameters
        ----------
        posteriors, noise, available
            As in :meth:`share`; of absent modalities anything.
        target
            The modality to be decoded.
        """
        return mixture_of_experts(posteriors, available)

    def likelihood(self, name: str) -> Likelihood:
        """Return the likelihood of a modality."""
        found = self.likelihoods[name]
        assert isinstance(found, Likelihood)
        return found

    def log_likelihoods(self, targets: Mapping[str, Tensor], latents: Mapping[str, Tensor]) -> Tensor:
        """Return the log-likelihood ``(modality, source, batch)`` of each modality given latents ``(source, batch, latent)``."""
        sources, rows = latents[self.modalities[0]].shape[:2]
        flat = [latents[name].reshape(sources * rows, -1) for name in self.modalities]
        decoders = [decoder for decoder in self.decoders.values() if isinstance(decoder, Decoder)]
        each = []
        if len(decoders) < len(flat):
            for name, values in zip(self.modalities, flat, strict=True):
                raw = self.decoders[name](values).reshape(sources, rows, -1)
                each.append(self.likelihood(name).log_prob(raw, targets[name]))
            return torch.stack(each)
        for name, decoder, values in zip(self.modalities, decoders, decoders_hidden(decoders, flat), strict=True):
            hidden, readout = values.reshape(sources, rows, -1), decoder.readout
            each.append(self.likelihood(name).log_prob_of_linear(hidden, readout.weight, readout.bias, targets[name]))
        return torch.stack(each)

    def objective(self, batch: Batch, noise: Tensor, beta: Tensor | float, progress: float = 1.0) -> Objective:
        """Return log-likelihoods, rate terms and the loss of a batch."""
        shared = self.share(self.encode(batch.inputs), noise, batch, progress)
        log_likelihood = self._mean_log_likelihoods(batch, [shared.decodable[name] for name in self.modalities])
        log_likelihood = log_likelihood * batch.available
        per_row = beta * shared.rate.sum(0) - log_likelihood.sum(0)
        return Objective(log_likelihood, shared.rate, mean_over_rows(per_row, batch.available))

    forward = objective

    def _mean_log_likelihoods(self, batch: Batch, decodable: Sequence[Decodable | Across]) -> Tensor:
        """Return the log-likelihood of each modality ``(modality, batch)``, averaged over what it is decoded from."""
        readouts = self._readout_errors(batch.targets, decodable)
        if readouts is None:
            latents = {name: one.latent for name, one in zip(self.modalities, decodable, strict=True)}
            return (self.log_likelihoods(batch.targets, latents) * torch.stack([one.weight for one in decodable])).sum(1)
        each, offsets = zip(*readouts, strict=True)
        errors = ReadoutError(*(torch.stack(same) for same in zip(*each, strict=True)))
        total = torch.stack([one.total for one in decodable])
        return -mean_errors(errors, decodable) - torch.stack(offsets)[:, None] * total

    def _readout_errors(
        self, targets: Mapping[str, Tensor], decodable: Sequence[Decodable | Across]
    ) -> list[tuple[ReadoutError, Tensor]] | None:
        """Return errors and offsets of all readouts; None unless these are linear, read the same latents, and moments pay."""
        features = sum(one.shape[-1] for one in targets.values()) / len(targets)
        if not read_together(decodable) or not moments_pay(len(decodable), decodable[0].latent.shape, features):
            return None
        found = []
        for name, decoder in self.decoders.items():
            if not isinstance(decoder, Decoder) or len(decoder.layers):
                return None
            error = self.likelihood(name).readout_error(decoder.readout.weight, decoder.readout.bias, targets[name])
            if error is None:
                return None
            found.append(error)
        return found


def mean_over_rows(values: Tensor, available: Tensor) -> Tensor:
    """Return the mean ``(batch,)`` -> scalar over rows in which any modality is present."""
    rows = (available.sum(0) > 0).to(values.dtype)
    return (values * rows).sum() / rows.sum().clamp(min=1)
