"""Condition-matched samples of different animals, which have no trials in common: tuples that are drawn in each epoch, or fixed.

A tuple consists of one sample of every animal that has the condition; an animal without it is absent from the tuple (-1).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.specs import ModelSpec

Codes = NDArray[np.integer]
Pairs = NDArray[np.int64]


class RedrawnPairing:
    """New tuples at every draw, in which every sample of every animal occurs.

    A condition has as many tuples as the animal with most samples of it; the samples of other animals are repeated, in a new
    order in each round. ``codes``: for each animal the condition of each sample; samples with a negative code are left out.
    """

    def __init__(self, codes: Sequence[Codes]) -> None:
        samples, rounds, positions = [], [], []
        groups = [_by_code(animal) for animal in codes]
        conditions = sorted(set().union(*groups)) if groups else []
        longest = {code: max(len(group.get(code, ())) for group in groups) for code in conditions}
        self.rows = sum(longest.values())
        offset = next_round = 0
        for group in groups:
            position = np.full(self.rows, -1, dtype=np.int64)
            row = 0
            for code in conditions:
                if code in group:
                    members, needed = group[code], longest[code]
                    times = -(-needed // len(members))
                    samples.append(np.tile(members, times))
                    rounds.append(np.repeat(np.arange(next_round, next_round + times), len(members)))
                    position[row : row + needed] = offset + np.arange(needed)
                    offset, next_round = offset + times * len(members), next_round + times
                row += longest[code]
            positions.append(position)
        self._samples = np.concatenate(samples) if samples else np.zeros(0, dtype=np.int64)
        self._rounds = np.concatenate(rounds).astype(float) if rounds else np.zeros(0)
        self._positions = np.stack(positions, axis=1) if positions else np.zeros((0, 0), dtype=np.int64)

    def draw(self, random: np.random.Generator) -> Pairs:
        """Return sample numbers ``(tuple, animal)``, -1 where an animal lacks the condition; tuples in random order."""
        # Sorting round number + uniform noise shuffles the samples inside every round at once.
        order = np.argsort(self._rounds + random.random(len(self._rounds)))
        shuffled = self._samples[order]
        pairs = np.where(self._positions >= 0, shuffled[self._positions], -1) if len(shuffled) else self._positions
        return np.asarray(random.permutation(pairs, axis=0), dtype=np.int64)


class PublishedPairing:
    """The published pairing: i-th samples of a condition, as many as every animal has, the same tuples in each epoch."""

    def __init__(self, codes: Sequence[Codes]) -> None:
        pairs = in_order(codes)
        self._pairs = pairs[(pairs >= 0).all(axis=1)]
        self.rows = len(self._pairs)

    def draw(self, random: np.random.Generator) -> Pairs:
        """Return the fixed tuples ``(tuple, animal)`` in random order."""
        return np.asarray(random.permutation(self._pairs, axis=0), dtype=np.int64)


def in_order(codes: Sequence[Codes]) -> Pairs:
    """Return the i-th samples of each condition ``(tuple, animal)``, sorted by condition; -1 where an animal has fewer."""
    groups = [_by_code(animal) for animal in codes]
    tuples = []
    for code in sorted(set().union(*groups)):
        members = [group.get(code, np.zeros(0, dtype=np.int64)) for group in groups]
        rows = np.full((max(map(len, members)), len(codes)), -1, dtype=np.int64)
        for column, numbers in enumerate(members):
            rows[: len(numbers), column] = numbers
        tuples.append(rows)
    return np.concatenate(tuples) if tuples else np.zeros((0, len(codes)), dtype=np.int64)


PAIRINGS: Mapping[str, type[RedrawnPairing] | type[PublishedPairing]] = {"redrawn": RedrawnPairing, "published": PublishedPairing}


def _by_code(codes: Codes) -> dict[int, NDArray[np.int64]]:
    return {int(code): np.flatnonzero(codes == code) for code in np.unique(codes) if code >= 0}


def simplex_conditions(samples: xr.DataTree, model: ModelSpec) -> int | None:
    """Return how many conditions the simplex code of a model has; None if its code is free."""
    return condition_count(samples) if model.code == "simplex" else None


def condition_count(samples: xr.DataTree) -> int:
    """Return the number of conditions that samples of any animal have; pairs of animals share a condition."""
    codes = [node["match"].to_numpy().ravel() for node in samples.children.values()]
    unique = np.unique(np.concatenate(codes))
    return int((unique >= 0).sum())
