"""Augmentation of the inputs of encoders in training, against overfitting of few trials. Targets are not changed."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuromvm.data.trial_model import TrialModel

Draw = Callable[..., Tensor]


class Streams:
    """Which replicas of a stack draw the same random numbers: those with the same name of their stream.

    ``leaders`` is the index of the earliest replica of each stream, ``of_replica`` the number of the stream of each replica.
    """

    def __init__(self, names: Sequence[Hashable]) -> None:
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.of_replica = np.array([numbers[name] for name in names])
        self.leaders = [names.index(name) for name in numbers]

    def spread(self, numbers: Tensor) -> Tensor:
        """Give every replica the numbers of its stream: ``(stream, ...)`` to ``(replica, ...)``."""
        if len(self.leaders) == len(self.of_replica):
            return numbers
        return numbers.index_select(0, torch.from_numpy(self.of_replica).to(numbers.device))


class Drawing:
    """Random numbers for a stack: each stream draws for its own rows from its own generator, independent of the others.

    ``rows`` are the rows of each stream that are tuples; the rest of the ``padded`` rows of the batch is padding and gets
    zeros.
    """

    def __init__(self, rows: Sequence[int], padded: int, generators: Sequence[torch.Generator], streams: Streams) -> None:
        self.rows, self.padded, self.generators, self.streams = rows, padded, generators, streams
        self.device = generators[0].device

    def __call__(self, draw: Draw, widths: Sequence[int]) -> Tensor:
        """Return ``(replica, row, max(widths))``, of which each replica draws its own width."""
        numbers = torch.zeros(len(self.rows), self.padded, max(widths), device=self.device)
        for stream, (rows, leader, generator) in enumerate(zip(self.rows, self.streams.leaders, self.generators, strict=True)):
            numbers[stream, :rows, : widths[leader]] = draw(rows, widths[leader], generator=generator, device=self.device)
        return self.streams.spread(numbers)

    def draws(self, draw: Draw, draws: int, width: int) -> Tensor:
        """Return ``(replica, draw, row, width)``."""
        numbers = torch.zeros(len(self.rows), draws, self.padded, width, device=self.device)
        for stream, (rows, generator) in enumerate(zip(self.rows, self.generators, strict=True)):
            numbers[stream, :, :rows] = draw(draws, rows, width, generator=generator, device=self.device)
        return self.streams.spread(numbers)

    def features(self, draw: Draw, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a number for every input ``(replica, row, feature)``, drawn for all animals at once."""
        widths = [values.shape[2] for values in inputs.values()]
        numbers = self(draw, [sum(widths)] * len(self.streams.of_replica))
        return dict(zip(inputs, torch.split(numbers, widths, dim=2), strict=True))


class Resampler:
    """Trials drawn from a :class:`neuromvm.data.trial_model.TrialModel` for every animal and replica, not recorded ones."""

    def __init__(self, models: Mapping[str, Sequence[TrialModel]], device: torch.device) -> None:
        self.samples = {name: [len(trials.deviations) for trials in replicas] for name, replicas in models.items()}
        self._mean, self._deviations, self._white = {}, {}, {}
        for name, replicas in models.items():
            deviations = [torch.from_numpy(trials.deviations) for trials in replicas]
            self._mean[name] = torch.from_numpy(np.stack([trials.mean for trials in replicas])).to(device)
            self._deviations[name] = pad_sequence(deviations, batch_first=True).to(device)
            self._white[name] = torch.tensor([trials.white for trials in replicas], device=device)[:, None, None]

    def subset(self, replicas: list[int]) -> "Resampler":
        """Return the resampler of some of the replicas, given by their indices."""
        resampler = copy(self)
        resampler.samples = {name: [counts[index] for index in replicas] for name, counts in self.samples.items()}
        resampler._mean = {name: values[replicas] for name, values in self._mean.items()}
        resampler._white = {name: values[replicas] for name, values in self._white.items()}
        # Padded to the longest of the remaining replicas, as their draws are.
        resampler._deviations = {
            name: values[replicas, : max(resampler.samples[name])] for name, values in self._deviations.items()
        }
        return resampler

    def __call__(self, conditions: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        """Return simulated inputs ``(replica, row, feature)`` for the condition of each row ``(replica, row)``."""
        replicas = torch.arange(len(conditions), device=conditions.device)[:, None]
        simulated = {}
        for name, mean in self._mean.items():
            correlated = drawing(torch.randn, self.samples[name]) @ self._deviations[name]
            white = drawing(torch.randn, [mean.shape[2]] * len(conditions))
            simulated[name] = mean[replicas, conditions.clamp(min=0)] + correlated + self._white[name] * white
        return simulated


class Augmentation(NamedTuple):
    """Simulated trials in place of recorded ones, then white noise, then dropout; each only if it is set.

    ``input_noise``: standard deviation [scaled features]; ``dropout``: share of features set to 0, the others being scaled up so
    that sums keep their expectation.
    """

    resampler: Resampler | None = None
    input_noise: float = 0.0
    dropout: float = 0.0

    def __call__(self, inputs: dict[str, Tensor], condition: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        """Return the augmented inputs ``(replica, row, feature)`` of every animal; ``condition (replica, row)``."""
        if self.resampler is not None:
            inputs = self.resampler(condition, drawing)
        if self.input_noise > 0:
            noise = drawing.features(torch.randn, inputs)
            inputs = {name: torch.add(values, noise[name], alpha=self.input_noise) for name, values in inputs.items()}
        if self.dropout > 0:
            uniform, share = drawing.features(torch.rand, inputs), 1 - self.dropout
            inputs = {name: values * uniform[name].lt_(share).div_(share) for name, values in inputs.items()}
        return inputs

    def subset(self, replicas: list[int]) -> "Augmentation":
        """Return the augmentation of some of the replicas, given by their indices."""
        return self if self.resampler is None else self._replace(resampler=self.resampler.subset(replicas))
