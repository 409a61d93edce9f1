"""Balanced accuracies of groups of decoders on one animal, for any resampling of its trials."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.decoders import OTHERS, POOLED
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows, Tally

SETTINGS = ("within", "cross", OTHERS, POOLED)


class TargetDecoders(NamedTuple):
    """The decoders that read one target, grouped by setting and one by one."""

    by_setting: "DecoderGroups"
    by_source: "DecoderGroups"
    rows: LabelRows

    @classmethod
    def of(cls, predicted: xr.Dataset, labels: NDArray[np.int16], target: str) -> "TargetDecoders":
        """Group the predictions of a target, its node of :func:`~neuromvm.analysis.readouts.decoders.decode`.

        ``labels (trial, window)`` are the true class codes.
        """
        codes, split = predicted["predicted"].to_numpy(), predicted["split"].to_numpy()
        tested = any_predicted(codes).any(axis=(0, 1))
        codes, rows = codes[:, :, tested], LabelRows.of(labels[tested])
        decoders = predicted["decoder"].to_numpy().tolist()
        animals = [name for name in decoders if name not in (OTHERS, POOLED)]
        common: NDArray[np.bool_] = np.asarray(predicted["common"].any("replica"))
        return cls(
            DecoderGroups(decoders_of_settings(target, decoders), codes, split, common, rows),
            DecoderGroups([[decoders.index(name)] for name in animals], codes, split, common, rows),
            rows,
        )


def decoders_of_settings(target: str, decoders: Sequence[str]) -> list[list[int]]:
    """Return the numbers of the decoders that read a target in each of :data:`SETTINGS`, of those that there are."""
    animals = [name for name in decoders if name not in (OTHERS, POOLED)]
    groups = [[target], [name for name in animals if name != target], [OTHERS], [POOLED]]
    return [[decoders.index(name) for name in group if name in decoders] for group in groups]


class DecoderGroups:
    """Scores of groups of decoders on one target, each the mean over the decoders that exist.

    Decoders of a group that share the same classes with the target are tallied at once, with all seeds of a split. A group has
    several such subgroups only where animals lack classes. ``chance (group,)`` is what guessing gives, NaN without decoders.
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
        subgroups: dict[tuple[int, bytes], list[int]] = {}
        for number, group in enumerate(groups):
            for decoder in group:
                if common[decoder].any():
                    subgroups.setdefault((number, common[decoder].tobytes()), []).append(decoder)
        self._weight = np.zeros((len(groups), len(subgroups)))  # decoders of each subgroup in each group
        for column, ((number, _), decoders) in enumerate(subgroups.items()):
            self._weight[number, column] = len(decoders)
        counted = np.array([common[decoders[0]] for decoders in subgroups.values()]).reshape(len(subgroups), common.shape[1])
        chances = self._weight @ (1 / np.maximum(counted.sum(axis=1), 1))
        total = self._weight.sum(axis=1)
        self.chance: Floats = np.where(total > 0, chances / np.maximum(total, 1), np.nan)
        self._tally = _tally(codes, split, list(subgroups.values()), counted, rows) if subgroups else None

    def scores(self, assignments: Floats) -> Floats:
        """Return balanced accuracies ``(draw, split, group)``, NaN where no decoder exists."""
        if self._tally is None:
            return np.full((len(assignments), self._splits, len(self._weight)), np.nan)
        accuracy = self._tally.balanced_accuracy(assignments).reshape(len(assignments), self._splits, 1, -1)
        weight = np.where(np.isnan(accuracy), 0, self._weight)
        total = weight.sum(axis=-1)
        summed = (weight * np.where(np.isnan(accuracy), 0, accuracy)).sum(axis=-1)
        return np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)


def _tally(
    codes: NDArray[np.int16],
    split: NDArray[np.intp],
    subgroups: Sequence[Sequence[int]],
    counted: NDArray[np.bool_],
    rows: LabelRows,
) -> Tally:
    """Tally the votes of subgroups of decoders; scores are ordered (split, subgroup)."""
    splits, (trials, windows), classes = int(split.max()) + 1, codes.shape[2:], counted.shape[1]
    votes = np.zeros((splits * len(subgroups), trials, windows, classes), dtype=np.float32)
    tested = np.zeros((splits * len(subgroups), trials), dtype=bool)
    for number in range(splits):
        for column, decoders in enumerate(subgroups):
            voters = codes[split == number][:, list(decoders)].reshape(-1, trials, windows)
            voters = voters[any_predicted(voters).any(axis=-1)]
            if len(voters):
                score = number * len(subgroups) + column
                votes[score] = (voters[..., None] == np.arange(classes)).mean(axis=0, dtype=np.float32)
                tested[score] = any_predicted(voters).any(axis=0)
    return Tally.of(votes, tested, np.tile(counted, (splits, 1)), rows)


def any_predicted(codes: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return ``(..., trial)``: whether any window of the trial was predicted."""
    return np.asarray((codes >= 0).any(axis=-1))
