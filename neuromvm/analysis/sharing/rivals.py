"""Published methods that are not linear, as rows of the table of sharing; they are slow, and computed only if they are named."""

from collections.abc import Mapping
from functools import lru_cache

from neuromvm.analysis.baselines.cebra import Contrast, Embedded, contrastive_embedding, read_by_others
from neuromvm.analysis.baselines.dynamical_alignment import AlignedDynamics, Sequences, aligned_dynamics, class_scores, in_bins
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sharing.problem import Labelled, Problem

Animals = tuple[tuple[str, Labelled], ...]


# In one split all targets have the same labelled trials, and follow each other: the last fit is kept.
@lru_cache(maxsize=1)
def fitted_dynamics(labelled: Animals, bins: int, dimensions: int, steps: int) -> AlignedDynamics:
    """Fit the aligned mixture of latent dynamical systems to the labelled trials of all animals."""
    return aligned_dynamics(
        {name: Sequences.of(animal.features, animal.codes, bins) for name, animal in labelled}, dimensions, steps
    )


def dynamics_read(problem: Problem, *, dimensions: int, steps: int) -> Floats:
    """Return the log-likelihood of the target's trials under every class."""
    model = fitted_dynamics(tuple(problem.labelled.items()), problem.bins, dimensions, steps)
    return class_scores(model, problem.target, in_bins(problem.test, problem.bins), problem.classes)


@lru_cache(maxsize=1)
def embeddings(labelled: Animals, settings: Contrast) -> Mapping[str, Embedded]:
    """Fit the networks of CEBRA to the labelled trials of all animals."""
    return contrastive_embedding({name: animal.training for name, animal in labelled}, settings)


def cebra_read(problem: Problem, *, dimensions: int, iterations: int, unified: bool = False) -> Floats:
    """Read the target's embedded trials with a decoder of the others' embeddings."""
    maps = embeddings(tuple(problem.labelled.items()), Contrast(dimensions, iterations, unified=unified))
    training = {name: animal.training for name, animal in problem.labelled.items()}
    return read_by_others(maps, training, problem.target, problem.test, inverse_penalty=0.1, classes=problem.classes)
