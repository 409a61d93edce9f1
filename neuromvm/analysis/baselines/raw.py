"""Raw activity read by classifiers other than logistic regression; a decoder sees the animal it was fitted on only."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from neuromvm.analysis.readouts.classifiers import PoissonBayes, ShrinkageDiscriminant, ShrunkMeans
from neuromvm.analysis.readouts.representations import Floats, Inputs, Unaligned


class Discriminants(Unaligned):
    """Scaled features read by shrinkage discriminant analysis."""

    def __init__(self, inputs: Inputs, *, shrinkage: float | Literal["auto"], splits: Sequence[int] | None = None) -> None:
        super().__init__(inputs, partial(ShrinkageDiscriminant, shrinkage), splits)


class ShrunkMeanDiscriminants(Unaligned):
    """Scaled features read by discriminants of shrunk class means."""

    def __init__(self, inputs: Inputs, *, shrinkage: float, splits: Sequence[int] | None = None) -> None:
        super().__init__(inputs, partial(ShrunkMeans, shrinkage, inputs.bins), splits)


class SpikeCounts(Unaligned):
    """Spike counts in every bin, not transformed, smoothed or scaled, read by Poisson naive Bayes."""

    def __init__(self, inputs: Inputs, *, prior_trials: float, splits: Sequence[int] | None = None) -> None:
        super().__init__(inputs, partial(PoissonBayes, prior_trials), splits)

    def own(self, split: int, animal: str) -> Floats:
        """Return the counts of the animal, ``(trial, window, feature)``, the same in every split."""
        return self.inputs.counts(animal).astype(np.float32)
