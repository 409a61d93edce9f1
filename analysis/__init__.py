"""What latents mean: decoding within and between animals, beside linear baselines, and paths in time."""

from analysis.decoding import compare

__all__ = ["compare"]
