"""Batches of a stack of replicas: matched tuples of sample numbers become tensors on a device."""

import json
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.data.correspondence import exchanged, exchanged_splits
from neuromvm.data.features import Scaler
from neuromvm.data.pairing import PAIRINGS, PublishedPairing, RedrawnPairing
from neuromvm.data.replicas import NOISE, PAIRS, VALIDATION, Replica
from neuromvm.data.trial_model import TrialModel
from neuromvm.data.windows import sample_spec, window_shape
from neuromvm.errors import SplitError
from neuromvm.models import Batch
from neuromvm.schema import Part
from neuromvm.training.animal_data import AnimalData, Conditions
from neuromvm.training.augmentation import Augmentation, Drawing, Resampler, Streams

Pairing = RedrawnPairing | PublishedPairing


class BatchSettings(NamedTuple):
    """How batches are made of samples.

    ``batch_size``: largest number of tuples in a step. ``pairing``: name in :data:`neuromvm.data.pairing.PAIRINGS`.
    ``recorded_targets``: animals whose targets are the activity as recorded; scaled features otherwise. ``condition_means``:
    targets are means of their condition. ``dropout``, ``input_noise``, ``resample``: augmentation of inputs, as in
    :class:`neuromvm.specs.ModelSpec`. ``needs_all_animals``: tuples in which an animal is absent are refused.
    """

    batch_size: int
    pairing: str = "redrawn"
    recorded_targets: Collection[str] = ()
    condition_means: bool = False
    dropout: float = 0.0
    input_noise: float = 0.0
    resample: float | None = None
    needs_all_animals: bool = False


class StackBatches:
    """Batches for a stack of replicas, each with its own split, scaling and pairing.

    An epoch has ``steps`` steps, by default as many as the replica with most tuples needs. A replica that is trained alone with
    the same number of steps gets the weights it gets in a stack. ``scalers`` are animal -> one fitted scaler for each replica;
    for other animals, scalers are fitted on training-side trials. Raises SplitError if an animal has no training trials, nothing
    can be paired, or an animal is absent where all are needed.
    """

    def __init__(
        self,
        samples: xr.DataTree,
        splits: xr.DataTree,
        settings: BatchSettings,
        replicas: Sequence[Replica],
        *,
        device: torch.device,
        steps: int | None = None,
        scalers: Mapping[str, list[Scaler]] | None = None,
    ) -> None:
        self.replicas, self.device, self.sample_spec = list(replicas), device, sample_spec(samples)
        conditions = _conditions(samples, splits, replicas)
        self.conditions = tuple(json.loads(next(iter(samples.children.values()))["match"].attrs["classes"]))
        self.windows = {name: window_shape(dataset) for name, dataset in schema.animals(samples)}
        self.animals = {
            name: AnimalData(
                name,
                dataset,
                conditions[name],
                self.sample_spec,
                replicas,
                device,
                scores_recorded=name in settings.recorded_targets,
                scalers=(scalers or {}).get(name),
            )
            for name, dataset in schema.animals(samples)
        }
        self._codes = 1 + max(int(node["match"].max()) for node in samples.children.values())
        self._streams = Streams([replica.stream for replica in replicas])
        self._target_means: dict[str, Tensor] = {}
        if settings.condition_means:
            self._target_means = {name: animal.condition_means(self._codes) for name, animal in self.animals.items()}
        resampler = None
        if settings.resample is not None:
            models = [self.trial_models(replica, settings.resample) for replica in range(len(replicas))]
            resampler = Resampler({name: [trials[name] for trials in models] for name in self.animals}, device)
        self._augmentation = Augmentation(resampler, settings.input_noise, settings.dropout)
        self.pairings = self._paired(settings.pairing, Part.TRAIN)
        self._check_pairs(settings.needs_all_animals)
        rows = max(pairing.rows for pairing in self.pairings)
        self.steps = -(-rows // settings.batch_size) if steps is None else steps
        self.batch_rows = -(-rows // self.steps)
        self.validation_pairs = self._draw_validation(self._paired(settings.pairing, Part.VALIDATION))

    @property
    def scalers(self) -> dict[str, list[Scaler]]:
        """Animal -> one scaler for each replica."""
        return {name: animal.scalers for name, animal in self.animals.items()}

    def training_targets(self, replica: int, name: str) -> Tensor:
        """Return the activity of an animal that its likelihood scores in the samples that a replica trains on."""
        return self.animals[name].training_targets(replica)

    def trial_models(self, replica: int, covariance_shrinkage: float) -> dict[str, TrialModel]:
        """Fit a model of trials of every animal to what a replica trains on; validation trials take no part."""
        return {
            name: TrialModel.fit(*animal.training_samples(replica), animal.units, self._codes, covariance_shrinkage)
            for name, animal in self.animals.items()
        }

    def epoch_pairs(self, epoch: int) -> NDArray[np.int64]:
        """Return the tuples of an epoch ``(replica, step, row, animal)``; -1 where an animal is absent or a row is padding.

        Every replica spreads its own tuples evenly over the steps; the leading rows of a step are tuples, the rest padding.
        """
        table = np.full((len(self._streams.leaders), self.steps, self.batch_rows, len(self.animals)), -1, dtype=np.int64)
        for stream, leader in enumerate(self._streams.leaders):
            pairs = self.pairings[leader].draw(np.random.default_rng(self.replicas[leader].seed_sequence(PAIRS, epoch)))
            for step, rows in enumerate(np.array_split(pairs, self.steps)):
                table[stream, step, : len(rows)] = rows
        return np.asarray(table[self._streams.of_replica])

    def generators(self, epoch: int, stream: int = NOISE) -> list[torch.Generator]:
        """Return the generators for the noise of an epoch, one for each stream of random numbers."""
        generators = []
        for leader in self._streams.leaders:
            seed = self.replicas[leader].seed_sequence(stream, epoch).generate_state(1, np.uint64)[0] >> np.uint64(1)
            generators.append(torch.Generator(device=self.device).manual_seed(int(seed)))
        return generators

    def batch(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator] | None) -> Batch:
        """Gather tuples ``(replica, row, animal)``; with generators, inputs are augmented."""
        index = torch.from_numpy(pairs).to(self.device)
        available = (index >= 0).movedim(2, 1).float()
        rows = dict(zip(self.animals, index.clamp(min=0).unbind(2), strict=True))
        inputs = {name: animal.scaled(rows[name]) for name, animal in self.animals.items()}
        codes = torch.stack([animal.condition(rows[name]) for name, animal in self.animals.items()])
        condition = codes.masked_fill(available.movedim(1, 0) == 0, -1).amax(0)
        if self._target_means:
            replicas = torch.arange(len(self.replicas), device=self.device)[:, None]
            targets = {name: means[replicas, condition.clamp(min=0)] for name, means in self._target_means.items()}
        else:
            targets = {
                name: animal.recorded(rows[name]) if animal.scores_recorded else inputs[name]
                for name, animal in self.animals.items()
            }
        if generators is not None:
            inputs = self._augmentation(inputs, condition, self._drawing(pairs, generators))
        return Batch(inputs, targets, available, condition)

    def noise(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator], shape: tuple[int, int]) -> Tensor:
        """Draw standard normal noise ``(replica, draw, row, width)`` for tuples, shape = (draw, width); 0 in rows of padding."""
        draws, width = shape
        return self._drawing(pairs, generators).draws(torch.randn, draws, width)

    def only(self, replicas: Sequence[int]) -> "StackBatches":
        """Return the batches of some of the replicas, with the same steps and random numbers as in the whole stack."""
        batches, indices = copy(self), list(replicas)
        batches.replicas = [self.replicas[index] for index in indices]
        batches.pairings = [self.pairings[index] for index in indices]
        batches.animals = {name: animal.subset(indices) for name, animal in self.animals.items()}
        batches._streams = Streams([replica.stream for replica in batches.replicas])
        batches._target_means = {name: means[indices] for name, means in self._target_means.items()}
        batches._augmentation = self._augmentation.subset(indices)
        batches.validated = self.validated[indices]
        batches.validation_pairs = None if self.validation_pairs is None else self.validation_pairs[indices]
        return batches

    def _drawing(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator]) -> Drawing:
        rows = [int(number) for number in (pairs[self._streams.leaders] >= 0).any(axis=2).sum(axis=1)]
        return Drawing(rows, pairs.shape[1], generators, self._streams)

    def _paired(self, name: str, part: Part) -> list[Pairing]:
        """Return the pairing of each replica; replicas with the same sides share it."""
        with_sides = {replica.sides: number for number, replica in enumerate(self.replicas)}
        pairing_of = {
            sides: PAIRINGS[name]([animal.codes(number, part) for animal in self.animals.values()])
            for sides, number in with_sides.items()
        }
        return [pairing_of[replica.sides] for replica in self.replicas]

    def _check_pairs(self, needs_all_animals: bool) -> None:
        for replica, pairing in zip(self.replicas, self.pairings, strict=True):
            if pairing.rows == 0:
                raise SplitError(f"split {replica.split}", found="no matched training samples", expected="at least one tuple")
            if needs_all_animals and (pairing.draw(np.random.default_rng(0)) < 0).any():
                raise SplitError(
                    f"sharing published_joint, split {replica.split}",
                    found="tuples in which an animal is absent",
                    expected="all animals in every tuple: the published functions cannot leave an animal out",
                    next_step="Set training.pairing=published, or use sharing joint",
                )

    def _draw_validation(self, pairings: Sequence[Pairing]) -> NDArray[np.int64] | None:
        """Return the validation tuples ``(replica, row, animal)``, None without any; sets which replicas have some."""
        self.validated = np.array([pairing.rows > 0 for pairing in pairings])
        if not self.validated.any():
            return None
        table = np.full((len(pairings), max(pairing.rows for pairing in pairings), len(self.animals)), -1, dtype=np.int64)
        for number, (replica, pairing) in enumerate(zip(self.replicas, pairings, strict=True)):
            pairs = pairing.draw(np.random.default_rng(replica.seed_sequence(VALIDATION, 0)))
            table[number, : len(pairs)] = pairs
        return table


def _conditions(samples: xr.DataTree, splits: xr.DataTree, replicas: Sequence[Replica]) -> dict[str, dict[int, Conditions]]:
    """Return the conditions of each animal in every exchange of names that replicas need."""
    conditions: dict[str, dict[int, Conditions]] = {name: {} for name in samples.children}
    for number in {replica.exchange for replica in replicas}:
        renamed = exchanged(samples, number)
        divided = exchanged_splits(renamed, splits) if number else splits
        for name, dataset in schema.animals(renamed):
            conditions[name][number] = Conditions.of(dataset, divided[name].to_dataset())
    return conditions
