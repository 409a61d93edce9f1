"""Members of a stack: the split, the seed and the null data on which each is trained."""

from typing import NamedTuple

import numpy as np

# Streams of randomness of a replica: what is drawn from one never shifts another.
PAIRS, NOISE, VALIDATION = range(3)


class Replica(NamedTuple):
    """One member of a stack: which split it is trained on, the seed of its weights, pairs and noise, and what else is its own.

    ``permutation``: number of the null data that it is trained on, within trials of the same label ``within`` (see
    :mod:`neuromvm.data.permutation`); 0 is the data. ``beta``: weight of the rate; None is that of the model's spec.
    """

    split: int
    seed: int
    permutation: int = 0
    within: str | None = None
    beta: float | None = None

    @property
    def stream(self) -> tuple[int, int]:
        """What its randomness depends on: replicas that differ in data or beta alone draw the same pairs and noise."""
        return self.split, self.seed

    def about(self) -> dict[str, object]:
        """Return the fields that are not as they are by default, and split and seed."""
        return {key: value for key, value in self._asdict().items() if value != self._field_defaults.get(key, self)}

    def seed_sequence(self, stream: int, epoch: int) -> np.random.SeedSequence:
        """Return the seed of one stream in one epoch: randomness is a function of the epoch, so a resumed run repeats it."""
        return np.random.SeedSequence([self.seed, self.split, stream, epoch])
