"""Data of one animal, as tensors from which batches of a stack of replicas are gathered."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from neuromvm import schema
from neuromvm.data.activity_kinds import kind_of
from neuromvm.data.features import Floats, Scaler, Transform, fit_scaler, recorded_features
from neuromvm.data.replicas import Replica
from neuromvm.errors import SplitError
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec
from neuromvm.training.device_data import DeviceActivity

EVERY = slice(None)


class FeatureRows:
    """Features ``(sample, feature)`` of recorded activity, computed for the rows of a slice when it is indexed."""

    def __init__(self, recorded: NDArray[np.generic], transform: Transform, samples: NDArray[np.int64]) -> None:
        self.recorded, self.transform, self.samples = recorded, transform, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> Floats:
        return self.transform(self.recorded[self.samples[rows]])


class Conditions(NamedTuple):
    """The conditions of an animal's samples: ``match (sample,)`` codes, and their ``part (split, sample)``."""

    match: NDArray[np.int16]
    part: NDArray[np.int8]

    @classmethod
    def of(cls, dataset: xr.Dataset, splits: xr.Dataset) -> "Conditions":
        """Return the conditions of samples; a window is on the side of its trial."""
        part = np.repeat(splits["part"].to_numpy(), dataset.sizes["window"], axis=1)
        return cls(dataset["match"].to_numpy().reshape(-1), part)


class AnimalData:
    """The samples of one animal for every replica of a stack, each with its own split, scaling and null data.

    Samples are numbered trial * windows + window. ``conditions`` holds conditions by the number of an exchange of their names
    (:mod:`neuromvm.data.correspondence`), of which replicas need some. ``scores_recorded`` says whether
    targets are the activity as recorded or scaled features; ``scalers``, one for each replica, are fitted on training-side
    samples by default.
    """

    def __init__(
        self,
        name: str,
        dataset: xr.Dataset,
        conditions: Mapping[int, Conditions],
        spec: SampleSpec,
        replicas: Sequence[Replica],
        device: torch.device,
        *,
        scores_recorded: bool,
        scalers: list[Scaler] | None = None,
    ) -> None:
        self.replicas, self.device, self.scores_recorded, self.clip = list(replicas), device, scores_recorded, spec.clip
        self.units, self._conditions = dataset.sizes["unit"], conditions
        self._recorded = recorded_features(dataset["activity"]).reshape(dataset.sizes["trial"] * dataset.sizes["window"], -1)
        self._transform, self._kind = Transform.of(dataset["activity"], spec), kind_of(dataset["activity"])
        self._activity = DeviceActivity(self._recorded, self._transform, device, scored=scores_recorded)
        codes = np.stack([of_exchange.match.astype(np.int64) for of_exchange in conditions.values()])
        self._codes = torch.from_numpy(codes).to(device)  # (exchange, sample)
        self._exchange = torch.tensor([list(conditions).index(replica.exchange) for replica in replicas], device=device)
        self._source: Tensor | None = None  # (replica, sample): where a sample of null data takes its activity from
        if any(replica.permutation for replica in replicas):
            draws = [replica.null_data(name, dataset) for replica in replicas]
            self._source = torch.from_numpy(np.stack([permutation.samples() for permutation in draws])).to(device)
        self.scalers = scalers or self._fit_scalers(spec)
        self._offset = torch.from_numpy(np.stack([-scaler.center / scaler.spread for scaler in self.scalers])).to(device)
        self._gain = torch.from_numpy(np.stack([1 / scaler.spread for scaler in self.scalers])).to(device)

    def scaled(self, index: Tensor, replicas: slice = EVERY) -> Tensor:
        """Gather ``index (replica, row)`` and scale with the statistics of each replica: ``(replica, row, feature)``."""
        values = self._activity.features(self._sources(index, replicas))
        torch.addcmul(self._offset[replicas, None], values, self._gain[replicas, None], out=values)
        return values if self.clip is None else values.clamp_(-self.clip, self.clip)

    def recorded(self, index: Tensor, replicas: slice = EVERY) -> Tensor:
        """Gather ``index (replica, row)`` of the activity as recorded: ``(replica, row, feature)``."""
        return self._activity.recorded(self._sources(index, replicas))

    def condition(self, index: Tensor) -> Tensor:
        """Return the match codes of the samples ``index (replica, row)``."""
        return self._codes[self._exchange[:, None], index]

    def codes(self, replica: int, part: Part) -> NDArray[np.int16]:
        """Return the match codes of the samples on one side of a replica, TRAIN, VALIDATION or TEST, -1 elsewhere."""
        sides = (part,) if part == Part.VALIDATION else (part, Part.TRAIN_AND_TEST)
        return np.where(np.isin(self._part(replica), sides), self._match(replica), np.int16(-1)).astype(np.int16)

    def training_targets(self, replica: int) -> Tensor:
        """Return the activity that the likelihood scores in the samples that a replica trains on ``(sample, feature)``."""
        index = torch.from_numpy(self._trained_on(replica)).to(self.device)[None]
        gather = self.recorded if self.scores_recorded else self.scaled
        return gather(index, slice(replica, replica + 1))[0]

    def training_samples(self, replica: int) -> tuple[Floats, NDArray[np.int16]]:
        """Return scaled features ``(sample, feature)`` and match codes ``(sample,)`` of what a replica trains on."""
        side = self._trained_on(replica)
        return self.scalers[replica](self._features(replica, side)[:]), self._match(replica)[side]

    def condition_means(self, conditions: int) -> Tensor:
        """Return the mean target of every condition in training samples ``(replica, condition, feature)``."""
        means = []
        for number in range(len(self.replicas)):
            codes = self._codes[self._exchange[number], torch.from_numpy(self._trained_on(number)).to(self.device)]
            member = one_hot(codes.clamp(min=0), conditions) * (codes >= 0)[:, None]
            share = member.float() / member.sum(0).clamp(min=1)
            means.append(share.T @ self.training_targets(number))
        return torch.stack(means)

    def subset(self, replicas: Sequence[int]) -> "AnimalData":
        """Return the data for some of the replicas, given by their indices."""
        data, indices = copy(self), torch.as_tensor(list(replicas), device=self.device)
        data.replicas = [self.replicas[index] for index in replicas]
        data.scalers = [self.scalers[index] for index in replicas]
        data._exchange = self._exchange[indices]
        data._offset, data._gain = self._offset[indices], self._gain[indices]
        data._source = None if self._source is None else self._source[indices]
        return data

    def _trained_on(self, replica: int) -> NDArray[np.int64]:
        """Return the samples that a replica trains on: its training side without validation samples."""
        return np.flatnonzero(np.isin(self._part(replica), (Part.TRAIN, Part.TRAIN_AND_TEST)))

    def _match(self, replica: int) -> NDArray[np.int16]:
        """Return the match codes of the samples ``(sample,)`` of a replica."""
        return self._conditions[self.replicas[replica].exchange].match

    def _part(self, replica: int) -> NDArray[np.int8]:
        """Return the part of each sample ``(sample,)`` in the split of a replica."""
        split, exchange = self.replicas[replica].sides
        part: NDArray[np.int8] = self._conditions[exchange].part[split]
        return part

    def _sources(self, index: Tensor, replicas: slice) -> Tensor:
        """Return the samples from which the samples ``index (replica, row)`` take their activity."""
        return index if self._source is None else self._source[replicas].gather(1, index)

    def _features(self, replica: int, samples: NDArray[np.int64]) -> FeatureRows:
        """Return the features of samples ``(sample,)`` in the data of a replica."""
        sources = samples if self._source is None else self._source[replica].cpu().numpy()[samples]
        return FeatureRows(self._recorded, self._transform, sources)

    def _fit_scalers(self, spec: SampleSpec) -> list[Scaler]:
        """Fit one scaler for each replica on its training side; replicas of the same split and data share it."""
        fitted: dict[tuple[object, ...], Scaler] = {}
        keys = [(replica.sides, replica.permutation, replica.within, replica.rearrangement) for replica in self.replicas]
        for number, key in enumerate(keys):
            if key in fitted:
                continue
            side = np.flatnonzero(schema.is_fitted(self._part(number)))
            if not len(side):
                raise SplitError(
                    f"split {self.replicas[number].split}",
                    found="an animal without training trials",
                    expected="training trials of every animal that is encoded",
                    next_step="A held-out animal has no encoder of its own: use split.kind=halves or kfold; `neuromvm few-shot "
                    "RUN` then leaves out one animal after the other and adapts to it with few trials",
                )
            fitted[key] = fit_scaler(spec, self._features(number, side), self._match(number)[side], self.units, self._kind)
        return [fitted[key] for key in keys]
