"""What a modality is decoded from: its own latent, or those of other modalities as well, each with a weight."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuromvm.functional.reconstruction import Moments, ReadoutError


class Decodable(NamedTuple):
    """Latents from which one modality is decoded: ``latent (source, batch, latent)``, ``weight (source, batch)``."""

    latent: Tensor
    weight: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of the weights ``(batch,)``."""
        return self.weight.sum(0)


class Across(NamedTuple):
    """The latents of all modalities, from which one is decoded: its own, and the others, which weigh the same where present.

    ``latent (modality, batch, latent)``, ``available (modality, batch)``; ``own`` and ``other (batch,)`` are the weights of its
    own latent and of that of each other modality, which sum to 1; ``place`` is where its own is.
    """

    latent: Tensor
    available: Tensor
    own: Tensor
    other: Tensor
    place: int

    @property
    def weight(self) -> Tensor:
        """Weight of every latent ``(modality, batch)``."""
        itself = torch.arange(len(self.latent), device=self.latent.device)[:, None] == self.place
        return torch.where(itself, self.own, self.available * self.other)

    @property
    def total(self) -> Tensor:
        """Sum of the weights ``(batch,)``."""
        return torch.ones_like(self.own)


def decode_own(latents: Tensor, modalities: Sequence[str]) -> dict[str, Decodable | Across]:
    """Decode every modality from its own latent ``(modality, batch, latent)``."""
    weight = torch.ones_like(latents[:1, :, 0])
    return {name: Decodable(latents[index : index + 1], weight) for index, name in enumerate(modalities)}


def decode_across(latents: Tensor, modalities: Sequence[str], available: Tensor, across: float) -> dict[str, Decodable | Across]:
    """Decode every modality from its own latent with weight 1 - across, and from those of the others, which share the rest.

    Weights sum to 1 over the modalities present; one that is alone is decoded from its own latent.
    """
    if across == 0:
        return decode_own(latents, modalities)
    others = available.sum(0) - available  # how many, (modality, batch)
    share = across * (others > 0).to(available.dtype)
    own, other = 1 - share, share / others.clamp(min=1)
    return {name: Across(latents, available, own[place], other[place], place) for place, name in enumerate(modalities)}


def read_together(decodable: Sequence[Decodable | Across]) -> bool:
    """Say whether modalities are decoded from the same latents so that :func:`mean_errors` knows how."""
    return all(one is decodable[0] for one in decodable) or all(isinstance(one, Across) for one in decodable)


def mean_errors(errors: ReadoutError, decodable: Sequence[Decodable | Across]) -> Tensor:
    """Return the errors of all modalities ``(modality, batch)``, each summed over the latents that it is decoded from.

    It takes as long as there are modalities, not as there are pairs of them: where each is decoded from all, the others of a
    modality are all but itself, and all together are the same for each.

    Parameters
    ----------
    errors
        Stacked, one of each modality.
    decodable
        Of each modality; :func:`read_together` holds.
    """
    first = decodable[0]
    if not isinstance(first, Across):
        return errors.summed(Moments.of(first.latent, first.weight))
    each = [one for one in decodable if isinstance(one, Across)]
    own, other = torch.stack([one.own for one in each]), torch.stack([one.other for one in each])
    itself, everyone = errors.at(first.latent), errors.summed(Moments.of(first.latent, first.available))
    return own * itself + other * (everyone - first.available * itself).clamp(min=0)
