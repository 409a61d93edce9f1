"""Replicas in a stack: the split, the seed and the null data of each training."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from neuromvm.data.permutation import Permutation, Rearrangement, draw_permutation

# Independent random streams of a replica
PAIRS, NOISE, VALIDATION = range(3)


class Replica(NamedTuple):
    """One training in a stack: its split, the seed of its weights, pairs and noise, and settings that differ from other replicas.

    ``permutation``: number of its null data, in which trials with the same label ``within`` are permuted, or shifted, as
    ``rearrangement`` says (:mod:`neuromvm.data.permutation`); 0: the data. ``exchange``: number of the null data in which the
    names of conditions are exchanged within animals (:mod:`neuromvm.data.correspondence`); 0: as they are. ``beta``: weight of
    the rate; None: that of the model's spec.
    """

    split: int
    seed: int
    permutation: int = 0
    within: str | None = None
    beta: float | None = None
    rearrangement: Rearrangement = "permute"
    exchange: int = 0

    @property
    def stream(self) -> tuple[int, int, int]:
        """Split, seed and exchange. Replicas that differ only in permuted data or beta draw the same pairs and noise."""
        return self.split, self.seed, self.exchange

    @property
    def is_null(self) -> bool:
        """Whether the replica is trained on null data."""
        return bool(self.permutation or self.exchange)

    @property
    def sides(self) -> tuple[int, int]:
        """What the training and test sides of a replica depend on: split and exchange."""
        return self.split, self.exchange

    def null_data(self, name: str, dataset: xr.Dataset) -> Permutation:
        """Return where the samples of an animal take their activity from."""
        return draw_permutation(name, dataset, self.permutation, within=self.within, rearrangement=self.rearrangement)

    def about(self) -> dict[str, object]:
        """Return split and seed, and the fields that differ from their defaults."""
        return {key: value for key, value in self._asdict().items() if value != self._field_defaults.get(key, self)}

    def seed_sequence(self, stream: int, epoch: int) -> np.random.SeedSequence:
        """Return the seed of a stream in an epoch; it depends on the epoch, so a resumed run repeats the same draws."""
        return np.random.SeedSequence([self.seed, self.split, stream, epoch])
