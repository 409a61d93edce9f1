"""Simulated animals with condition means that are shared or private, and problems in which a target lacks conditions."""

import numpy as np

from neuromvm.analysis.sharing.problem import Hidden, Labelled, Problem

CLASSES, DIMENSIONS = 10, 3


def animals(
    rng: np.random.Generator, *, shared: bool, names: str = "abcd", units: int = 25, trials: int = 8, signal: float = 1.0
) -> dict[str, Labelled]:
    """Draw labelled trials of animals whose units mix the latents of a condition; latents are the same in all, or private."""
    latents = rng.standard_normal((CLASSES, DIMENSIONS))
    drawn = {}
    for name in names:
        places = latents if shared else rng.standard_normal((CLASSES, DIMENSIONS))
        means = signal * places @ rng.standard_normal((DIMENSIONS, units)) / np.sqrt(DIMENSIONS)
        codes = np.repeat(np.arange(CLASSES), trials)
        drawn[name] = Labelled(means[codes] + rng.standard_normal((len(codes), units)), codes)
    return drawn


def problem(
    labelled: dict[str, Labelled], target: str, held_out: tuple[int, ...], coordinates: np.ndarray | None = None
) -> tuple[Problem, Hidden]:
    """Take the labels of ``held_out`` from the target."""
    hidden = labelled[target].hold_out(held_out)
    others = {name: animal for name, animal in labelled.items() if name != target}
    posed = Problem(target, {**others, target: hidden.seen}, hidden.test, np.array(held_out), CLASSES, coordinates)
    return posed, hidden
