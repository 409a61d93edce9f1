"""The bridge in: samples and splits become tensors on a device, and tuples of sample numbers become batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.build import WindowShape
from neuromvm.data.features import Floats, Scaler, features, fit_scaler
from neuromvm.data.pairing import PAIRINGS
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SplitError
from neuromvm.models import Batch
from neuromvm.schema import Part
from neuromvm.specs import SampleSpec, TrainingSpec

# Streams of randomness of a replica: what is drawn from one never shifts another.
PAIRS, NOISE, VALIDATION = range(3)


class Replica(NamedTuple):
    """One member of a stack: which split it is trained on, and the seed of its weights, pairs and noise."""

    split: int
    seed: int

    def seed_sequence(self, stream: int, epoch: int) -> np.random.SeedSequence:
        """Return the seed of one stream in one epoch: randomness is a function of the epoch, so a resumed run repeats it."""
        return np.random.SeedSequence([self.seed, self.split, stream, epoch])


class AnimalSamples(NamedTuple):
    """The samples of one animal: sample = trial * windows + window."""

    features: Floats  # (sample, feature), transformed, not scaled
    counts: NDArray[np.generic]  # (sample, feature), as recorded
    match: NDArray[np.int16]  # (sample,)
    part: NDArray[np.int8]  # (split, sample)
    units: int

    @classmethod
    def of(cls, samples: xr.Dataset, splits: xr.Dataset, spec: SampleSpec) -> "AnimalSamples":
        """Flatten trials and windows; a window is on the side of its trial."""
        flat = features(samples["activity"], spec)
        trials, windows, width = flat.shape
        counts = features_of_counts(samples["activity"]).reshape(trials * windows, width)
        part = np.repeat(splits["part"].to_numpy(), windows, axis=1)
        return cls(
            flat.reshape(trials * windows, width), counts, samples["match"].to_numpy().reshape(-1), part, samples.sizes["unit"]
        )

    def scaler(self, split: int, spec: SampleSpec) -> Scaler:
        """Fit the scaler on training-side samples of a split."""
        if not self.training_side(split).any():
            raise SplitError(
                f"split {split}",
                found="an animal without training trials",
                expected="training trials of every animal that is encoded",
                next_step="A held-out animal has no encoder of its own: use split.kind=halves or kfold to train one",
            )
        side = self.training_side(split)
        return fit_scaler(spec, self.features[side], self.match[side], self.units)

    def training_side(self, split: int) -> NDArray[np.bool_]:
        """Say which samples are on the training side ``(sample,)``."""
        return np.isin(self.part[split], (Part.TRAIN, Part.VALIDATION))

    def codes(self, split: int, part: Part) -> NDArray[np.int16]:
        """Return the match codes of the samples on one side, -1 elsewhere."""
        return np.where(self.part[split] == part, self.match, np.int16(-1)).astype(np.int16)


def window_shape(samples: xr.Dataset) -> WindowShape:
    """Return the shape of an animal's windows."""
    activity = samples["activity"]
    return WindowShape(activity.sizes["bin"], activity.sizes["unit"], float(activity.attrs["bin_width"]))


def features_of_counts(activity: xr.DataArray) -> NDArray[np.generic]:
    """Return activity as recorded ``(trial, window, feature)``, in the feature order of :func:`features`."""
    values = activity.transpose("trial", "window", "bin", "unit").to_numpy()
    return values.reshape(*values.shape[:2], -1)


class StackBatches:
    """Batches for a stack of replicas, each with its own split, scaling and pairing.

    Parameters
    ----------
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    training
        Batch size, pairing.
    replicas
        The members of the stack.
    counts_are_targets
        Animal -> whether its likelihood scores activity as recorded, in place of scaled features.
    dropout, input_noise
        Share of input features hidden from the encoders in training, and standard deviation of noise added to them.
    device
        Where the data stays; integers stay integers until a step needs them.
    steps
        Steps of an epoch; by default those that the member with most tuples needs. A member trained alone with the same
        number of steps gives the same weights, whatever tuples the others have.
    """

    def __init__(
        self,
        samples: xr.DataTree,
        splits: xr.DataTree,
        training: TrainingSpec,
        replicas: Sequence[Replica],
        *,
        counts_are_targets: Mapping[str, bool],
        dropout: float,
        input_noise: float,
        device: torch.device,
        steps: int | None = None,
    ) -> None:
        spec = sample_spec(samples)
        self.replicas = list(replicas)
        self.device = device
        self.sample_spec, self.clip = spec, spec.clip
        self.dropout, self.input_noise = dropout, input_noise
        self.animals = {
            name: AnimalSamples.of(dataset, splits[name].to_dataset(), spec) for name, dataset in schema.animals(samples)
        }
        self.windows = {name: window_shape(dataset) for name, dataset in schema.animals(samples)}
        self._inputs = {name: torch.from_numpy(animal.features).to(device) for name, animal in self.animals.items()}
        self._counts = {
            name: _integers(animal.counts).to(device) for name, animal in self.animals.items() if counts_are_targets[name]
        }
        self._conditions = {
            name: torch.from_numpy(animal.match.astype(np.int64)).to(device) for name, animal in self.animals.items()
        }
        self.scalers = {
            name: [animal.scaler(replica.split, spec) for replica in replicas] for name, animal in self.animals.items()
        }
        self._center = {
            name: torch.from_numpy(np.stack([s.center for s in each])).to(device) for name, each in self.scalers.items()
        }
        self._spread = {
            name: torch.from_numpy(np.stack([s.spread for s in each])).to(device) for name, each in self.scalers.items()
        }
        make = PAIRINGS[training.pairing]
        self.pairings = [make(self._codes(replica.split, Part.TRAIN)) for replica in replicas]
        for replica, pairing in zip(replicas, self.pairings, strict=True):
            if pairing.rows == 0:
                raise SplitError(f"split {replica.split}", found="no matched training samples", expected="at least one tuple")
        rows = max(pairing.rows for pairing in self.pairings)
        self.steps = -(-rows // training.batch_size) if steps is None else steps
        self.batch_rows = -(-rows // self.steps)
        self.validation_pairs = self._validation_pairs(training)

    def training_targets(self, replica: int) -> dict[str, Tensor]:
        """Return what the likelihoods of a replica score, on its training side: ``(sample, feature)`` for each animal."""
        split = self.replicas[replica].split
        targets = {}
        for name, animal in self.animals.items():
            chosen = torch.from_numpy(np.flatnonzero(animal.training_side(split))).to(self.device)
            if name in self._counts:
                targets[name] = self._counts[name][chosen].float()
            else:
                targets[name] = self._scaled(name, slice(replica, replica + 1), chosen[None])[0]
        return targets

    def epoch_pairs(self, epoch: int) -> NDArray[np.int64]:
        """Return the tuples of an epoch ``(replica, step, row, animal)``; -1 where an animal is absent or a row is padding.

        Every replica spreads its own tuples evenly over the steps; the first rows of a step are tuples, the rest padding.
        """
        table = np.full((len(self.replicas), self.steps, self.batch_rows, len(self.animals)), -1, dtype=np.int64)
        for number, (replica, pairing) in enumerate(zip(self.replicas, self.pairings, strict=True)):
            drawn = pairing.draw(np.random.default_rng(replica.seed_sequence(PAIRS, epoch)))
            for step, rows in enumerate(np.array_split(drawn, self.steps)):
                table[number, step, : len(rows)] = rows
        return table

    def generators(self, epoch: int, stream: int = NOISE) -> list[torch.Generator]:
        """Return one generator a replica for the noise of an epoch."""
        generators = []
        for replica in self.replicas:
            state = int(replica.seed_sequence(stream, epoch).generate_state(1, np.uint64)[0] >> np.uint64(1))
            generators.append(torch.Generator(device=self.device).manual_seed(state))
        return generators

    def batch(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator] | None) -> Batch:
        """Gather tuples ``(replica, row, animal)``; with generators, blur and hide input features."""
        index = torch.from_numpy(pairs).to(self.device)
        available = (index >= 0).movedim(2, 1).float()
        index = index.clamp(min=0)
        everyone = slice(0, len(self.replicas))
        inputs = {name: self._scaled(name, everyone, index[:, :, column]) for column, name in enumerate(self.animals)}
        targets = {
            name: self._counts[name][index[:, :, column]].float() if name in self._counts else inputs[name]
            for column, name in enumerate(self.animals)
        }
        codes = [self._conditions[name][index[:, :, column]] for column, name in enumerate(self.animals)]
        condition = torch.stack(codes).masked_fill(available.movedim(1, 0) == 0, -1).amax(0)
        if generators is not None and self.input_noise > 0:
            inputs = self._blur(inputs, _rows(pairs), generators)
        if generators is not None and self.dropout > 0:
            inputs = self._hide(inputs, _rows(pairs), generators)
        return Batch(inputs, targets, available, condition)

    def noise(self, pairs: NDArray[np.int64], generators: Sequence[torch.Generator], shape: tuple[int, int]) -> Tensor:
        """Draw standard normal noise ``(replica, draw, row, width)`` for tuples, shape = (draw, width); 0 in rows of padding."""
        draws, width = shape
        drawn = torch.zeros(len(self.replicas), draws, pairs.shape[1], width, device=self.device)
        for place, (rows, generator) in enumerate(zip(_rows(pairs), generators, strict=True)):
            drawn[place, :, :rows] = torch.randn(draws, rows, width, generator=generator, device=self.device)
        return drawn

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

    def _scaled(self, name: str, replicas: slice, index: Tensor) -> Tensor:
        """Gather ``index (replica, row)`` and scale with each replica's own statistics: ``(replica, row, feature)``."""
        values = (self._inputs[name][index] - self._center[name][replicas, None]) / self._spread[name][replicas, None]
        return values if self.clip is None else values.clamp(-self.clip, self.clip)

    def _blur(self, inputs: dict[str, Tensor], rows: Sequence[int], generators: Sequence[torch.Generator]) -> dict[str, Tensor]:
        noise = self._draw(torch.randn, inputs, rows, generators)
        return {name: values + self.input_noise * noise[name] for name, values in inputs.items()}

    def _hide(self, inputs: dict[str, Tensor], rows: Sequence[int], generators: Sequence[torch.Generator]) -> dict[str, Tensor]:
        kept = 1 - self.dropout
        drawn = self._draw(torch.rand, inputs, rows, generators)
        return {name: values * (drawn[name] < kept).float() / kept for name, values in inputs.items()}

    def _draw(
        self,
        draw: Callable[..., Tensor],
        inputs: dict[str, Tensor],
        rows: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> dict[str, Tensor]:
        """Draw a number for every input ``(replica, row, feature)``, each replica its own rows from its own generator."""
        widths = [window.features for window in self.windows.values()]
        drawn = torch.zeros(len(self.replicas), next(iter(inputs.values())).shape[1], sum(widths), device=self.device)
        for place, (own, generator) in enumerate(zip(rows, generators, strict=True)):
            drawn[place, :own] = draw(own, drawn.shape[2], generator=generator, device=self.device)
        return dict(zip(inputs, torch.split(drawn, widths, dim=2), strict=True))


def _rows(pairs: NDArray[np.int64]) -> list[int]:
    """Return how many rows of each replica are tuples: ``pairs (replica, row, animal)``."""
    return [int(number) for number in (pairs >= 0).any(axis=2).sum(axis=1)]


def _integers(counts: NDArray[np.generic]) -> Tensor:
    """Keep small counts small; torch lacks arithmetic on wide unsigned integers, so those become int32."""
    if counts.dtype.kind == "u":
        return torch.from_numpy(counts if counts.dtype == np.uint8 else counts.astype(np.int32))
    return torch.from_numpy(counts.astype(np.float32))
