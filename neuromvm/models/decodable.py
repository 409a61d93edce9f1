"""What a modality is decoded from: its own latent, or those of other modalities as well, each with a weight."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuromvm.functional.reconstruction import Moments, ReadoutError


class Decodable(NamedTuple):
    """Latents from which one modality is decoded: ``latent (source, batch, latent)``, ``weight (source, batch)``.

    ``own``: the source that is the modality itself, if sources are all modalities and the others weigh the same wherever they are
    present; None if they are anything else.
    """

    latent: Tensor
    weight: Tensor
    own: int | None = None


def decode_own(latents: Tensor, modalities: Sequence[str]) -> dict[str, Decodable]:
    """Decode every modality from its own latent ``(modality, batch, latent)``."""
    weight = torch.ones_like(latents[:1, :, 0])
    return {name: Decodable(latents[index : index + 1], weight) for index, name in enumerate(modalities)}


def decode_across(latents: Tensor, modalities: Sequence[str], available: Tensor, across: float) -> dict[str, Decodable]:
    """Decode every modality from its own latent with weight 1 - across, and from those of the others, which share the rest.

    Weights sum to 1 over the modalities present; one that is alone is decoded from its own latent.
    """
    if across == 0:
        return decode_own(latents, modalities)
    own = torch.eye(len(modalities), device=latents.device)[..., None]  # (modality, source, 1)
    others = available * (1 - own)
    count = others.sum(1, keepdim=True)
    share = torch.where(count > 0, torch.full_like(count, across), torch.zeros_like(count))
    weight = own * (1 - share) + others * share / count.clamp(min=1)
    return {name: Decodable(latents, weight[index], index) for index, name in enumerate(modalities)}


def read_together(decodable: Sequence[Decodable]) -> bool:
    """Say whether modalities are decoded from the same latents so that :func:`mean_errors` knows how."""
    return all(one is decodable[0] for one in decodable) or all(one.own is not None for one in decodable)


def mean_errors(errors: ReadoutError, decodable: Sequence[Decodable], available: Tensor) -> Tensor:
    """Return the errors of all modalities ``(modality, batch)``, each averaged over the latents that it is decoded from.

    It takes as long as there are modalities, not as there are pairs of them: where each is decoded from all, the others of a
    modality are all but itself, and all together are the same for each.

    Parameters
    ----------
    errors
        Stacked, one of each modality.
    decodable
        Of each modality; :func:`read_together` holds.
    available
        ``(modality, batch)``.
    """
    latents = decodable[0].latent
    if decodable[0].own is None:
        return errors.summed(Moments.of(latents, decodable[0].weight))
    weight = torch.stack([one.weight for one in decodable])  # (modality, source, batch)
    own, own_weight = errors.at(latents), weight.diagonal().T
    others = (errors.summed(Moments.of(latents, available)) - available * own).clamp(min=0)
    count = available.sum(0) - available
    return own_weight * own + (weight.sum(1) - own_weight) / count.clamp(min=1) * others
