"""Settings of a row, chosen on the other animals: each plays the target in turn. The target's test trials are never used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sharing.problem import Codes, Hidden, Labelled, Problem, balanced_accuracy
from neuromvm.analysis.sharing.rows import Row, Setting


class Pseudo(NamedTuple):
    """A problem whose target is one of the other animals, with the answers."""

    problem: Problem
    answers: Codes  # (trial,)


class Choice(NamedTuple):
    """Settings that were chosen, and what there was to choose from."""

    settings: dict[str, Setting]
    tried: tuple[dict[str, Setting], ...]  # all settings, the default first
    accuracy: Floats  # (settings,) mean over pseudo-targets of the accuracy among their held-out conditions; NaN without any


def pseudo_targets(problem: Problem, held_out: Sequence[Sequence[int]]) -> list[Pseudo]:
    """Return a problem for each other animal and each set of conditions, which that animal then lacks.

    Its other animals are those of ``problem`` but its target and the animal itself. If there is none left, it is the target with
    its labelled trials.

    Parameters
    ----------
    problem
        Whose settings are to be chosen.
    held_out
        Sets of classes, drawn as the held-out conditions of ``problem`` were. Of a set, conditions count that the animal and at
        least one of its other animals have; a set with fewer than two is left out.
    """
    return _pseudo(problem, [partial(_without, conditions=conditions) for conditions in held_out])


def pseudo_few(problem: Problem, trials: int, draws: int) -> list[Pseudo]:
    """Return a problem for each other animal and each draw of a few trials of each condition, which alone keep their labels."""
    return _pseudo(problem, [partial(_with_few, trials=trials, seed=seed) for seed in range(draws)])


def _pseudo(problem: Problem, hide: Sequence[Callable[[Labelled, Codes], Hidden | None]]) -> list[Pseudo]:
    pseudo = []
    for name, animal in problem.others.items():
        sources = {source: trials for source, trials in problem.others.items() if not problem.same_subject(source, name)}
        sources = sources or {problem.target: problem.seen}
        known = np.unique(np.concatenate([trials.classes for trials in sources.values()]))
        for take in hide:
            hidden = take(animal, known)
            if hidden is not None and len(hidden.answers) and len(hidden.seen.classes) > 1:
                pseudo.append(_problem(problem, name, sources, hidden))
    return pseudo


def _without(animal: Labelled, known: Codes, conditions: Sequence[int]) -> Hidden | None:
    """Take the labels of the conditions away that are known to other animals; None with fewer than two."""
    usable = np.intersect1d(np.intersect1d(conditions, known), animal.classes)
    return animal.hold_out(tuple(usable.tolist())) if len(usable) > 1 else None


def _with_few(animal: Labelled, _: Codes, trials: int, seed: int) -> Hidden:
    """Keep the labels of a few random trials of each condition."""
    return animal.keep(trials, seed)


def _problem(problem: Problem, name: str, sources: Mapping[str, Labelled], hidden: Hidden) -> Pseudo:
    labelled = {**sources, name: hidden.seen}
    held_out = np.unique(hidden.answers)
    return Pseudo(replace(problem, target=name, labelled=labelled, test=hidden.test, held_out=held_out), hidden.answers)


def choose(row: Row, pseudo: Sequence[Pseudo]) -> Choice:
    """Choose from a row's grid the settings with the highest mean accuracy; of equals, or without pseudo-targets, the first.

    Accuracy is balanced over the held-out conditions, and the answer is one of them.
    """
    tried = tuple(dict(zip(row.grid, values, strict=True)) for values in product(*row.grid.values()))
    if not pseudo or len(tried) == 1:
        return Choice(tried[0], tried, np.full(len(tried), np.nan))
    accuracy = np.array([_accuracy(row, settings, pseudo) for settings in tried])
    return Choice(tried[int(np.argmax(accuracy))], tried, accuracy)


def _accuracy(row: Row, settings: Mapping[str, Setting], pseudo: Sequence[Pseudo]) -> float:
    return float(
        np.mean(
            [balanced_accuracy(row.read(problem, **settings), answers, among=problem.held_out) for problem, answers in pseudo]
        )
    )
