"""Cross-reconstruction: a modality is decoded from its own latent and from those of the other modalities."""

from torch import Tensor

from neuromvm.models.base import SharedLatents, Sources


def decode_across(latents: Tensor, rate: Tensor, available: Tensor, share: float) -> SharedLatents:
    """Decode every modality from its own latent with weight 1 - share, and from the others present with equal weights.

    The weights of a modality that is present sum to 1; a modality that is alone in its row is decoded from its own latent.
    """
    if share == 0:
        return SharedLatents(rate, own=latents)
    partners = (available.sum(0) - 1).clamp(min=0)  # number of other modalities present (batch,)
    share_of_partners = share * (partners > 0)
    weight = share_of_partners / partners.clamp(min=1)
    # Sources are the same for all modalities, so each is among its own sources: its own weight makes up for that.
    return SharedLatents(
        rate, own=latents, own_weight=1 - share_of_partners - weight, sources=Sources(latents, available * weight)
    )
