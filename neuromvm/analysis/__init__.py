"""What latents mean: decoding within and between animals, beside linear baselines, and paths in time."""

from neuromvm.analysis.decoding.decoding import compare
from neuromvm.analysis.judged import values
from neuromvm.analysis.latents.latent_scatter import latent_plane

__all__ = ["compare", "latent_plane", "values"]
