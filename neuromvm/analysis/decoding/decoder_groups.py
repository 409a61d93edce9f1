"""Balanced accuracies of groups of decoders on one animal, for any resampling of its trials."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.decoders import OTHERS, POOLED
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows, Tally

SETTINGS = ("within", "cross", OTHERS, POOLED)


class Panels(NamedTuple):
    """The decoders of one target, by setting and one by one."""

    settings: "Panel"
    sources: "Panel"
    rows: LabelRows

    @classmethod
    def of(cls, predicted: xr.Dataset, labels: NDArray[np.int16], target: str) -> "Panels":
        """Group what :func:`neuromvm.analysis.readouts.decoders.decode` gives of a target by setting; ``labels (trial,
        window)``.
        """
        codes, split = predicted["predicted"].to_numpy(), predicted["split"].to_numpy()
        used = predicted_at_all(codes).any(axis=(0, 1))
        codes, rows = codes[:, :, used], LabelRows.of(labels[used])
        decoders = predicted["decoder"].to_numpy().tolist()
        animals = [name for name in decoders if name not in (OTHERS, POOLED)]
        groups = {
            "within": [target],
            "cross": [name for name in animals if name != target],
            OTHERS: [OTHERS],
            POOLED: [POOLED],
        }
        common: NDArray[np.bool_] = np.asarray(predicted["common"].any("replica"))
        return cls(
            Panel([[decoders.index(name) for name in groups[setting]] for setting in SETTINGS], codes, split, common, rows),
            Panel([[decoders.index(name)] for name in animals], codes, split, common, rows),
            rows,
        )


class Panel:
    """Scores of groups of decoders on one target, each the mean over the decoders that exist.

    Decoders that share the same classes with the target are tallied together, seeds of a split too; there is more than one
    such party in a group only where animals lack classes.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        codes: NDArray[np.int16],
        split: NDArray[np.intp],
        common: NDArray[np.bool_],
        rows: LabelRows,
    ) -> None:
        self._splits = int(split.max()) + 1
        parties: dict[tuple[int, bytes], list[int]] = {}
        for place, group in enumerate(groups):
            for member in group:
                if common[member].any():
                    parties.setdefault((place, common[member].tobytes()), []).append(member)
        # How much each party counts in each group, (group, party).
        self._weight = np.zeros((len(groups), len(parties)))
        for number, ((place, _), members) in enumerate(parties.items()):
            self._weight[place, number] = len(members)
        counted = np.array([common[members[0]] for members in parties.values()]).reshape(len(parties), common.shape[1])
        chances = self._weight @ (1 / np.maximum(counted.sum(axis=1), 1))
        total = self._weight.sum(axis=1)
        self.chance: Floats = np.where(total > 0, chances / np.maximum(total, 1), np.nan)
        self._tally = _tally(codes, split, list(parties.values()), counted, rows) if parties else None

    def scores(self, assignments: Floats) -> Floats:
        """Return balanced accuracies ``(draw, split, group)``, NaN where no decoder exists."""
        if self._tally is None:
            return np.full((len(assignments), self._splits, len(self._weight)), np.nan)
        each = self._tally.balanced_accuracy(assignments).reshape(len(assignments), self._splits, 1, -1)
        weight = np.where(np.isnan(each), 0, self._weight)
        total = weight.sum(axis=-1)
        summed = (weight * np.where(np.isnan(each), 0, each)).sum(axis=-1)
        return np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)


def _tally(
    codes: NDArray[np.int16],
    split: NDArray[np.intp],
    parties: Sequence[Sequence[int]],
    counted: NDArray[np.bool_],
    rows: LabelRows,
) -> Tally:
    """Tally the votes of parties of decoders; scores are ordered (split, party)."""
    splits, (trials, windows), classes = int(split.max()) + 1, codes.shape[2:], counted.shape[1]
    votes = np.zeros((splits * len(parties), trials, windows, classes), dtype=np.float32)
    tested = np.zeros((splits * len(parties), trials), dtype=bool)
    for number in range(splits):
        for place, party in enumerate(parties):
            members = codes[split == number][:, list(party)]
            voters = members.reshape(members.shape[0] * members.shape[1], trials, windows)
            voters = voters[predicted_at_all(voters).any(axis=-1)]
            if len(voters):
                votes[number * len(parties) + place] = (voters[..., None] == np.arange(classes)).mean(axis=0, dtype=np.float32)
                tested[number * len(parties) + place] = predicted_at_all(voters).any(axis=0)
    return Tally.of(votes, tested, np.tile(counted, (splits, 1)), rows)


def predicted_at_all(codes: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return ``(..., trial)``: whether any window of the trial was predicted."""
    return np.asarray((codes >= 0).any(axis=-1))
