"""Data of one animal: its samples as arrays, and as tensors from which batches of a stack of replicas are gathered."""

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.data.features import Floats, Scaler, Transform, fit_scaler, recorded_features
from neuromvm.data.permutation import carry
from neuromvm.data.replicas import Replica
from neuromvm.errors import SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec
from neuromvm.training.device_data import DeviceActivity

EVERY = slice(None)


class AnimalSamples(NamedTuple):
    """The samples of one animal: sample = trial * windows + window."""

    recorded: NDArray[np.generic]  # (sample, feature)
    transform: Transform
    match: NDArray[np.int16]  # (sample,)
    part: NDArray[np.int8]  # (split, sample)
    units: int

    @classmethod
    def of(cls, samples: xr.Dataset, splits: xr.Dataset, spec: SampleSpec) -> "AnimalSamples":
        """Flatten trials and windows; a window is on the side of its trial."""
        recorded = recorded_features(samples["activity"])
        trials, windows, width = recorded.shape
        return cls(
            recorded.reshape(trials * windows, width),
            Transform.of(samples["activity"], spec),
            samples["match"].to_numpy().reshape(-1),
            np.repeat(splits["part"].to_numpy(), windows, axis=1),
            samples.sizes["unit"],
        )

    def features(self, samples: NDArray[np.int64]) -> "FeatureRows":
        """Return the features of some samples ``(sample,)``, computed when they are indexed."""
        return FeatureRows(self, samples)

    def scaler(self, split: int, spec: SampleSpec, source: NDArray[np.int64]) -> Scaler:
        """Fit the scaler on training-side samples of a split, the activity of sample i being that of ``source[i]``."""
        side = np.flatnonzero(schema.is_fitted(self.part[split]))
        if not len(side):
            raise SplitError(
                f"split {split}",
                found="an animal without training trials",
                expected="training trials of every animal that is encoded",
                next_step="A held-out animal has no encoder of its own: use split.kind=halves or kfold; `neuromvm few-shot RUN` "
                "then leaves out one animal after the other and adapts to it with few trials",
            )
        return fit_scaler(spec, self.features(source[side]), self.match[side], self.units)

    def trained_on(self, split: int) -> NDArray[np.int64]:
        """Return the samples that models train on: the training side without validation samples."""
        return np.flatnonzero(np.isin(self.part[split], (Part.TRAIN, Part.TRAIN_AND_TEST)))

    def codes(self, split: int, part: Part) -> NDArray[np.int16]:
        """Return the match codes of the samples on one side, TRAIN, VALIDATION or TEST, -1 elsewhere."""
        sides = (part,) if part == Part.VALIDATION else (part, Part.TRAIN_AND_TEST)
        return np.where(np.isin(self.part[split], sides), self.match, np.int16(-1)).astype(np.int16)


class FeatureRows:
    """Features ``(sample, feature)`` of some samples of an animal; a slice of it is an array."""

    def __init__(self, animal: AnimalSamples, samples: NDArray[np.int64]) -> None:
        self.animal, self.samples = animal, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> Floats:
        return self.animal.transform(self.animal.recorded[self.samples[rows]])


class AnimalData:
    """The samples of one animal for every replica of a stack, each with its own split, scaling and null data.

    Parameters
    ----------
    name
        The animal.
    dataset, splits
        Its samples, and the side of its trials.
    spec
        Of the samples.
    replicas
        The members of the stack.
    device
        Of the tensors.
    scores_recorded
        Whether targets are the activity as recorded; scaled features otherwise.
    scalers
        One for each replica; by default they are fitted on training-side samples.
    """

    def __init__(
        self,
        name: str,
        dataset: xr.Dataset,
        splits: xr.Dataset,
        spec: SampleSpec,
        replicas: Sequence[Replica],
        device: torch.device,
        *,
        scores_recorded: bool,
        scalers: list[Scaler] | None = None,
    ) -> None:
        self.samples = AnimalSamples.of(dataset, splits, spec)
        self.replicas, self.scores_recorded, self.clip, self.device = list(replicas), scores_recorded, spec.clip, device
        self.condition = torch.from_numpy(self.samples.match.astype(np.int64)).to(device)
        self._activity = DeviceActivity(self.samples.recorded, self.samples.transform, device, scored=scores_recorded)
        # (replica, sample): the sample from which a sample of null data takes its activity
        self._source: Tensor | None = None
        if any(replica.permutation for replica in replicas):
            sources = [carry(name, dataset, replica.permutation, within=replica.within).samples() for replica in replicas]
            self._source = torch.from_numpy(np.stack(sources)).to(device)
        self.scalers = scalers or self._fit_scalers(spec)
        self._offset, self._gain = (
            torch.from_numpy(np.stack(values)).to(device)
            for values in zip(*((-scaler.center / scaler.spread, 1 / scaler.spread) for scaler in self.scalers), strict=True)
        )

    def scaled(self, index: Tensor, replicas: slice = EVERY) -> Tensor:
        """Gather ``index (replica, row)`` and scale with the statistics of each replica: ``(replica, row, feature)``."""
        values = self._activity.features(self._sources(index, replicas))
        torch.addcmul(self._offset[replicas, None], values, self._gain[replicas, None], out=values)
        return values if self.clip is None else values.clamp_(-self.clip, self.clip)

    def recorded(self, index: Tensor, replicas: slice = EVERY) -> Tensor:
        """Gather ``index (replica, row)`` of the activity as recorded: ``(replica, row, feature)``."""
        return self._activity.recorded(self._sources(index, replicas))

    def training_targets(self, replica: int) -> Tensor:
        """Return the activity that the likelihood scores in the samples that a replica trains on ``(sample, feature)``."""
        index = torch.from_numpy(self._trained_on(replica)).to(self.device)[None]
        gather = self.recorded if self.scores_recorded else self.scaled
        return gather(index, slice(replica, replica + 1))[0]

    def training_samples(self, replica: int) -> tuple[Floats, NDArray[np.int16]]:
        """Return scaled features ``(sample, feature)`` and match codes ``(sample,)`` of what a replica trains on."""
        side = self._trained_on(replica)
        features = self.samples.features(self._source_of(replica)[side])
        return self.scalers[replica](features[:]), self.samples.match[side]

    def condition_means(self, conditions: int) -> Tensor:
        """Return the mean target of every condition in training samples ``(replica, condition, feature)``."""
        means = []
        for number in range(len(self.replicas)):
            codes = self.condition[torch.from_numpy(self._trained_on(number)).to(self.device)]
            member = torch.nn.functional.one_hot(codes.clamp(min=0), conditions) * (codes >= 0)[:, None]
            share = member.float() / member.sum(0).clamp(min=1)
            means.append(share.T @ self.training_targets(number))
        return torch.stack(means)

    def subset(self, replicas: Sequence[int]) -> "AnimalData":
        """Return the data for some of the replicas, given by their indices."""
        data, indices = copy(self), torch.as_tensor(list(replicas), device=self.device)
        data.replicas = [self.replicas[index] for index in replicas]
        data.scalers = [self.scalers[index] for index in replicas]
        data._offset, data._gain = self._offset[indices], self._gain[indices]
        data._source = None if self._source is None else self._source[indices]
        return data

    def _trained_on(self, replica: int) -> NDArray[np.int64]:
        return self.samples.trained_on(self.replicas[replica].split)

    def _sources(self, index: Tensor, replicas: slice) -> Tensor:
        """Return the samples from which the samples ``index (replica, row)`` take their activity."""
        return index if self._source is None else self._source[replicas].gather(1, index)

    def _source_of(self, replica: int) -> NDArray[np.int64]:
        """Return the samples from which the samples of a replica take their activity ``(sample,)``."""
        return np.arange(len(self.samples.match)) if self._source is None else self._source[replica].cpu().numpy()

    def _fit_scalers(self, spec: SampleSpec) -> list[Scaler]:
        """Fit one scaler for each replica; replicas of the same split and data share it."""
        fitted: dict[tuple[object, ...], Scaler] = {}
        for number, replica in enumerate(self.replicas):
            data = (replica.split, replica.permutation, replica.within)
            if data not in fitted:
                fitted[data] = self.samples.scaler(replica.split, spec, self._source_of(number))
        return [fitted[replica.split, replica.permutation, replica.within] for replica in self.replicas]
