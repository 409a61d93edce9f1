"""The bridge in: samples and splits become tensors on a device, and tuples of sample numbers become batches."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.build import scores_counts
from neuromvm.data.features import Floats, Scaler, Transform, fit_scaler, recorded_features
from neuromvm.data.pairing import PAIRINGS
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.replicas import NOISE, PAIRS, VALIDATION, Replica
from neuromvm.data.trial_model import TrialModel
from neuromvm.data.windows import sample_spec, window_shape
from neuromvm.errors import SplitError
from neuromvm.models import Batch
from neuromvm.schema import Part
from neuromvm.specs import ModelSpec, SampleSpec, TrainingSpec
from neuromvm.specs.sharing import PublishedJointSharing
from neuromvm.training.augmentation import Drawing, Resampler, Streams, blur, hide
from neuromvm.training.device_data import ResidentActivity


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

    def features(self, chosen: NDArray[np.int64]) -> "Features":
        """Return the features of some samples ``(sample,)``, made when they are looked at."""
        return Features(self, chosen)

    def scaler(self, split: int, spec: SampleSpec, source: NDArray[np.int64] | None = None) -> Scaler:
        """Fit the scaler on training-side samples of a split; of null data, whose activity is that of ``source (sample,)``."""
        side = np.flatnonzero(self.training_side(split))
        if not len(side):
            raise SplitError(
                f"split {split}",
                found="an animal without training trials",
                expected="training trials of every animal that is encoded",
                next_step="A held-out animal has no encoder of its own: use split.kind=halves or kfold; `neuromvm few-shot RUN` "
                "then leaves out one animal after the other and adapts to it with few trials",
            )
        return fit_scaler(spec, self.features(side if source is None else source[side]), self.match[side], self.units)

    def training_side(self, split: int) -> NDArray[np.bool_]:
        """Say which samples are on the training side ``(sample,)``."""
        return schema.is_fitted(self.part[split])

    def trained_on(self, split: int) -> NDArray[np.bool_]:
        """Say which samples models train on ``(sample,)``: the training side without validation samples."""
        return np.isin(self.part[split], (Part.TRAIN, Part.TRAIN_AND_TEST))

    def codes(self, split: int, part: Part) -> NDArray[np.int16]:
        """Return the match codes of the samples on one side, TRAIN, VALIDATION or TEST, -1 elsewhere."""
        sides = (part,) if part == Part.VALIDATION else (part, Part.TRAIN_AND_TEST)
        return np.where(np.isin(self.part[split], sides), self.match, np.int16(-1)).astype(np.int16)


class Features:
    """Features ``(sample, feature)`` of some samples of an animal; a slice of it is an array."""

    def __init__(self, animal: AnimalSamples, chosen: NDArray[np.int64]) -> None:
        self.animal, self.chosen = animal, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: slice) -> Floats:
        return self.animal.transform(self.animal.recorded[self.chosen[rows]])


class StackBatches:
    """Batches for a stack of replicas, each with its own split, scaling and pairing.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    model
        What each likelihood scores, and what is done to the inputs of encoders in training.
    training
        Batch size, pairing.
    replicas
        The members of the stack.
    device
        Where the data stays; integers stay integers until a step needs them.
    steps
        Steps of an epoch; by default those that the member with most tuples needs. A member trained alone with the same
        number of steps gives the same weights, whatever tuples the others have.
    scalers
        Animal -> one scaler a replica, already fitted; those of other animals are fitted on training-side trials.
    """

    def __init__(
        self,
        samples: xr.DataTree,
        splits: xr.DataTree,
        model: ModelSpec,
        training: TrainingSpec,
        replicas: Sequence[Replica],
        *,
        device: torch.device,
        steps: int | None = None,
        scalers: Mapping[str, list[Scaler]] | None = None,
    ) -> None:
        spec = sample_spec(samples)
        self.replicas = list(replicas)
        self.device = device
        self.sample_spec, self.clip = spec, spec.clip
        self.model = model
        self.animals = {
            name: AnimalSamples.of(dataset, splits[name].to_dataset(), spec) for name, dataset in schema.animals(samples)
        }
        self.conditions = tuple(json.loads(next(iter(samples.children.values()))["match"].attrs["classes"]))
        self.windows = {name: window_shape(dataset) for name, dataset in schema.animals(samples)}
        self._scores_counts = {name: scores_counts(model, name) for name in self.animals}
        self._activity = {
            name: ResidentActivity(animal.recorded, animal.transform, device, scored=self._scores_counts[name])
            for name, animal in self.animals.items()
        }
        self._conditions = {
            name: torch.from_numpy(animal.match.astype(np.int64)).to(device) for name, animal in self.animals.items()
        }
        self._conditions_known = 1 + max(int(animal.match.max(initial=0)) for animal in self.animals.values())
        self._carried = {name: self._sources(name, samples[name].to_dataset()) for name in self._null_data()}
        self._streams = Streams([replica.stream for replica in replicas])
        given = scalers or {}
        self.scalers = {name: given[name] if name in given else self._fit_scalers(name, spec) for name in self.animals}
        self._offset = {
            name: torch.from_numpy(np.stack([-s.center / s.spread for s in each])).to(device)
            for name, each in self.scalers.items()
        }
        self._gain = {
            name: torch.from_numpy(np.stack([1 / s.spread for s in each])).to(device) for name, each in self.scalers.items()
        }
        self._resampler = self._make_resampler(model.resample) if model.resample is not None else None
        self._target_means = self._condition_means() if model.targets == "condition_means" else {}
        make = PAIRINGS[training.pairing]
        of_split = {split: make(self._codes(split, Part.TRAIN)) for split in {replica.split for replica in replicas}}
        self.pairings = [of_split[replica.split] for replica in replicas]
        for replica, pairing in zip(replicas, self.pairings, strict=True):
            if pairing.rows == 0:
                raise SplitError(f"split {replica.split}", found="no matched training samples", expected="at least one tuple")
        if isinstance(model.sharing, PublishedJointSharing):
            self._refuse_absent()
        rows = max(pairing.rows for pairing in self.pairings)
        self.steps = -(-rows // training.batch_size) if steps is None else steps
        self.batch_rows = -(-rows // self.steps)
        self.validation_pairs = self._validation_pairs(training)

    def _refuse_absent(self) -> None:
        """The published functions cannot leave an animal out: what stands in its place would enter the joint posterior."""
        for replica, pairing in zip(self.replicas, self.pairings, strict=True):
            if (pairing.draw(np.random.default_rng(0)) < 0).any():
                raise SplitError(
                    f"sharing published_joint, split {replica.split}",
                    found="tuples in which an animal is absent",
                    expected="all animals in every tuple",
                    next_step="Set training.pairing=published, or use sharing joint",
                )

    def training_targets(self, replica: int, name: str) -> Tensor:
        """Return what the likelihood of an animal scores in the samples that a replica trains on ``(sample, feature)``."""
        chosen = np.flatnonzero(self.animals[name].trained_on(self.replicas[replica].split))
        return self._targets(name, slice(replica, replica + 1), torch.from_numpy(chosen).to(self.device)[None])[0]

    def training_samples(self, replica: int, name: str) -> tuple[Floats, NDArray[np.int16]]:
        """Return scaled features ``(sample, feature)`` and match codes of what a replica trains on of an animal."""
        animal, source = self.animals[name], self._source(name, replica)
        side = np.flatnonzero(animal.trained_on(self.replicas[replica].split))
        chosen = animal.features(side if source is None else source[side])
        return self.scalers[name][replica](chosen[:]), animal.match[side]

    def trial_models(self, replica: int, covariance_shrinkage: float) -> dict[str, TrialModel]:
        """Fit a model of trials to what a replica trains on, for every animal; validation trials stay out, to stop on."""
        return {
            name: TrialModel.fit(
                *self.training_samples(replica, name), animal.units, self._conditions_known, covariance_shrinkage
            )
            for name, animal in self.animals.items()
        }

    def epoch_pairs(self, epoch: int) -> NDArray[np.int64]:
        """Return the tuples of an epoch ``(replica, step, row, animal)``; -1 where an animal is absent or a row is padding.

        Every replica spreads its own tuples evenly over the steps; the first rows of a step are tuples, the rest padding.
        """
        table = np.full((len(self._streams.first), self.steps, self.batch_rows, len(self.animals)), -1, dtype=np.int64)
        for number, first in enumerate(self._streams.first):
            drawn = self.pairings[first].draw(np.random.default_rng(self.replicas[first].seed_sequence(PAIRS, epoch)))
            for step, rows in enumerate(np.array_split(drawn, self.steps)):
                table[number, step, : len(rows)] = rows
        return np.asarray(table[self._streams.of])

    def generators(self, epoch: int, stream: int = NOISE) -> list[torch.Generator]:
        """Return the generators for the noise of an epoch, one for each stream of randomness."""
        generators = []
        for first in self._streams.first:
            replica = self.replicas[first]
            state = int(replica.seed_sequence(stream, epoch).generate_state(1, np.uint64)[0] >> np.uint64(1))
            generators.append(torch.Generator(device=self.device).manual_seed(state))
        return generators

    def batch(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator] | None) -> Batch:
        """Gather tuples ``(replica, row, animal)``; with generators, resample, blur and hide input features."""
        index = torch.from_numpy(pairs).to(self.device)
        available = (index >= 0).movedim(2, 1).float()
        index = index.clamp(min=0)
        everyone = slice(0, len(self.replicas))
        inputs = {name: self._scaled(name, everyone, index[:, :, column]) for column, name in enumerate(self.animals)}
        codes = [self._conditions[name][index[:, :, column]] for column, name in enumerate(self.animals)]
        condition = torch.stack(codes).masked_fill(available.movedim(1, 0) == 0, -1).amax(0)
        if self._target_means:
            replicas = torch.arange(len(self.replicas), device=self.device)[:, None]
            targets = {name: means[replicas, condition.clamp(min=0)] for name, means in self._target_means.items()}
        else:
            targets = {
                name: self._recorded(name, everyone, index[:, :, column]) if self._scores_counts[name] else inputs[name]
                for column, name in enumerate(self.animals)
            }
        if generators is not None:
            inputs = self._corrupted(inputs, condition, self._drawing(pairs, generators))
        return Batch(inputs, targets, available, condition)

    def noise(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator], shape: tuple[int, int]) -> Tensor:
        """Draw standard normal noise ``(replica, draw, row, width)`` for tuples, shape = (draw, width); 0 in rows of padding."""
        draws, width = shape
        return self._drawing(pairs, generators).draws(torch.randn, draws, width)

    def only(self, chosen: Sequence[int]) -> "StackBatches":
        """Return the batches of some of the replicas, with the steps of all; they draw what they drew in the whole stack."""
        some = copy(self)
        members = torch.as_tensor(list(chosen), device=self.device)
        some.replicas = [self.replicas[one] for one in chosen]
        some.pairings = [self.pairings[one] for one in chosen]
        some.scalers = {name: [each[one] for one in chosen] for name, each in self.scalers.items()}
        some._streams = Streams([replica.stream for replica in some.replicas])
        for held in ("_carried", "_offset", "_gain", "_target_means"):
            setattr(some, held, {name: values[members] for name, values in getattr(self, held).items()})
        some._resampler = None if self._resampler is None else self._resampler.only(members)
        some.validated = self.validated[list(chosen)]
        some.validation_pairs = None if self.validation_pairs is None else self.validation_pairs[list(chosen)]
        return some

    def _drawing(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator]) -> Drawing:
        rows = [int(number) for number in (pairs[self._streams.first] >= 0).any(axis=2).sum(axis=1)]
        return Drawing(rows, pairs.shape[1], generators, self._streams)

    def _source(self, name: str, replica: int) -> NDArray[np.int64] | None:
        """Return from where a replica's samples take their activity ``(sample,)``; None where that is themselves."""
        if not self._carried:
            return None
        source: NDArray[np.int64] = self._carried[name][replica].cpu().numpy()
        return source

    def _null_data(self) -> Sequence[str]:
        """Return the animals whose activity is carried: all or none."""
        return list(self.animals) if any(replica.permutation for replica in self.replicas) else []

    def _sources(self, name: str, dataset: xr.Dataset) -> Tensor:
        """Return from where each replica's samples take their activity ``(replica, sample)``."""
        each = [draw_permutation(name, dataset, one.permutation, within=one.within).samples() for one in self.replicas]
        return torch.from_numpy(np.stack(each)).to(self.device)

    def _fit_scalers(self, name: str, spec: SampleSpec) -> list[Scaler]:
        """Fit one scaler a replica; replicas of the same split and data share it."""
        fitted: dict[tuple[object, ...], Scaler] = {}
        for number, one in enumerate(self.replicas):
            key = (one.split, one.permutation, one.within)
            if key not in fitted:
                fitted[key] = self.animals[name].scaler(one.split, spec, self._source(name, number))
        return [fitted[one.split, one.permutation, one.within] for one in self.replicas]

    def _codes(self, split: int, part: Part) -> list[NDArray[np.int16]]:
        return [animal.codes(split, part) for animal in self.animals.values()]

    def _validation_pairs(self, training: TrainingSpec) -> NDArray[np.int64] | None:
        pairings = [PAIRINGS[training.pairing](self._codes(replica.split, Part.VALIDATION)) for replica in self.replicas]
        self.validated = np.array([pairing.rows > 0 for pairing in pairings])
        rows = max(pairing.rows for pairing in pairings)
        if rows == 0:
            return None
        table = np.full((len(self.replicas), rows, len(self.animals)), -1, dtype=np.int64)
        for number, (replica, pairing) in enumerate(zip(self.replicas, pairings, strict=True)):
            drawn = pairing.draw(np.random.default_rng(replica.seed_sequence(VALIDATION, 0)))
            table[number, : len(drawn)] = drawn
        return table

    def _targets(self, name: str, replicas: slice, index: Tensor) -> Tensor:
        """Gather ``index (replica, row)`` of what the likelihood of an animal scores: ``(replica, row, feature)``."""
        gather = self._recorded if self._scores_counts[name] else self._scaled
        return gather(name, replicas, index)

    def _scaled(self, name: str, replicas: slice, index: Tensor) -> Tensor:
        """Gather ``index (replica, row)`` and scale with each replica's own statistics: ``(replica, row, feature)``."""
        values = self._activity[name].features(self._from(name, replicas, index))
        torch.addcmul(self._offset[name][replicas, None], values, self._gain[name][replicas, None], out=values)
        return values if self.clip is None else values.clamp_(-self.clip, self.clip)

    def _recorded(self, name: str, replicas: slice, index: Tensor) -> Tensor:
        """Gather ``index (replica, row)`` of the activity as recorded: ``(replica, row, feature)``."""
        return self._activity[name].recorded(self._from(name, replicas, index))

    def _from(self, name: str, replicas: slice, index: Tensor) -> Tensor:
        """Return the samples whose activity the samples ``index (replica, row)`` take."""
        return self._carried[name][replicas].gather(1, index) if self._carried else index

    def _corrupted(self, inputs: dict[str, Tensor], condition: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        if self._resampler is not None:
            inputs = self._resampler(condition, drawing)
        if self.model.input_noise > 0:
            inputs = blur(inputs, self.model.input_noise, drawing)
        if self.model.dropout > 0:
            inputs = hide(inputs, self.model.dropout, drawing)
        return inputs

    def _make_resampler(self, covariance_shrinkage: float) -> Resampler:
        numbers = range(len(self.replicas))
        each = [self.trial_models(number, covariance_shrinkage) for number in numbers]
        return Resampler({name: [one[name] for one in each] for name in self.animals}, self.device)

    def _condition_means(self) -> dict[str, Tensor]:
        """Return the mean target of every condition in training samples ``(replica, condition, feature)``."""
        means: dict[str, Tensor] = {}
        for name, animal in self.animals.items():
            each = []
            for number, replica in enumerate(self.replicas):
                codes = torch.from_numpy(animal.match[animal.trained_on(replica.split)].astype(np.int64)).to(self.device)
                member = torch.nn.functional.one_hot(codes.clamp(min=0), self._conditions_known) * (codes >= 0)[:, None]
                share = member.float() / member.sum(0).clamp(min=1)
                each.append(share.T @ self.training_targets(number, name))
            means[name] = torch.stack(each)
        return means
