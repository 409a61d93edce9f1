"""The MMVM VAE: every posterior is drawn towards the mixture of all of them (Sutter et al., NeurIPS 2024)."""

from collections.abc import Mapping

from torch import Tensor, nn

from neuromvm.functional.gaussian import Posteriors, sample
from neuromvm.functional.mixture import kl_to_mixture, mean_pairwise_kl
from neuromvm.likelihoods import Likelihood
from neuromvm.models.base import MultimodalVAE, SharedLatents, decode_across, decode_own


class MMVM(MultimodalVAE):
    """Mixture-of-experts prior with the exact rate, KL(q_m || (1/M) sum_k q_k), estimated without bias.

    Parameters
    ----------
    encoders, decoders, likelihoods
        Modality -> module.
    cross_reconstruction
        Share of each modality's reconstruction taken from the latents of other modalities in the matched sample; 0 is
        the published model, above 0 is our extension.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        decoders: Mapping[str, nn.Module],
        likelihoods: Mapping[str, Likelihood],
        cross_reconstruction: float = 0.0,
    ) -> None:
        super().__init__(encoders, decoders, likelihoods)
        self.cross_reconstruction = cross_reconstruction

    def rate(self, posteriors: Posteriors, latents: Tensor, available: Tensor) -> Tensor:
        """Return the rate of each modality ``(modality, batch)`` [nats]."""
        return kl_to_mixture(posteriors, latents, available)

    def share(self, posteriors: Posteriors, noise: Tensor, available: Tensor) -> SharedLatents:
        latents = sample(posteriors, noise)
        if self.cross_reconstruction == 0:
            decodable = decode_own(latents, self.modalities)
        else:
            decodable = decode_across(latents, self.modalities, available, self.cross_reconstruction)
        return SharedLatents(decodable, self.rate(posteriors, latents, available))


class PairwiseMMVM(MMVM):
    """The rate of the published code: the mean of closed-form KLs between all pairs, an upper bound of the exact one."""

    def rate(self, posteriors: Posteriors, latents: Tensor, available: Tensor) -> Tensor:
        return mean_pairwise_kl(posteriors, available)
