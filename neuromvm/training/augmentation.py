"""What is done to the inputs of encoders in training, so that few trials are not learned by heart. Targets stay as they are."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from neuromvm.data.trial_model import TrialModel

Draw = Callable[..., Tensor]
Generators = Sequence[torch.Generator]


class Streams:
    """Which replicas of a stack draw the same random numbers.

    Parameters
    ----------
    names
        Name of the stream of each replica.

    Attributes
    ----------
    first
        For each stream, the first replica that draws from it.
    of
        For each replica, the number of its stream.
    """

    def __init__(self, names: Sequence[Hashable]) -> None:
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.of = np.array([numbers[name] for name in names])
        self.first = [names.index(name) for name in numbers]

    def spread(self, drawn: Tensor) -> Tensor:
        """Give every replica the numbers of its stream: ``(stream, ...)`` to ``(replica, ...)``."""
        return drawn if len(self.first) == len(self.of) else drawn.index_select(0, torch.from_numpy(self.of).to(drawn.device))


class Drawing:
    """Random numbers for a stack: each stream draws for its own rows from its own generator, so none shifts another's.

    Parameters
    ----------
    rows
        Rows of each stream that are tuples; the rest is padding and gets zeros.
    padded
        Rows of the batch.
    generators
        One a stream.
    streams
        Which replicas draw from which.
    """

    def __init__(self, rows: Sequence[int], padded: int, generators: Generators, streams: Streams) -> None:
        self.rows, self.padded, self.generators, self.streams = rows, padded, generators, streams
        self.device = generators[0].device

    def __call__(self, draw: Draw, widths: Sequence[int]) -> Tensor:
        """Return ``(replica, row, max(widths))``, of which each replica draws its own width."""
        drawn = torch.zeros(len(self.rows), self.padded, max(widths), device=self.device)
        for place, (own, first, generator) in enumerate(zip(self.rows, self.streams.first, self.generators, strict=True)):
            drawn[place, :own, : widths[first]] = draw(own, widths[first], generator=generator, device=self.device)
        return self.streams.spread(drawn)

    def draws(self, draw: Draw, draws: int, width: int) -> Tensor:
        """Return ``(replica, draw, row, width)``."""
        drawn = torch.zeros(len(self.rows), draws, self.padded, width, device=self.device)
        for place, (own, generator) in enumerate(zip(self.rows, self.generators, strict=True)):
            drawn[place, :, :own] = draw(draws, own, width, generator=generator, device=self.device)
        return self.streams.spread(drawn)

    def features(self, draw: Draw, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a number for every input ``(replica, row, feature)``, drawn for all animals at once."""
        widths = [values.shape[2] for values in inputs.values()]
        drawn = self(draw, [sum(widths)] * len(self.streams.of))
        return dict(zip(inputs, torch.split(drawn, widths, dim=2), strict=True))


def blur(inputs: Mapping[str, Tensor], deviation: float, drawing: Drawing) -> dict[str, Tensor]:
    """Add white noise of a standard deviation [scaled features]."""
    noise = drawing.features(torch.randn, inputs)
    return {name: torch.add(values, noise[name], alpha=deviation) for name, values in inputs.items()}


def hide(inputs: Mapping[str, Tensor], share: float, drawing: Drawing) -> dict[str, Tensor]:
    """Set a share of the features to 0 and scale up the rest, so that sums keep their expectation."""
    drawn = drawing.features(torch.rand, inputs)
    return {name: values * drawn[name].lt_(1 - share).div_(1 - share) for name, values in inputs.items()}


class Resampler:
    """Trials drawn from a :class:`neuromvm.data.trial_model.TrialModel` of every animal and replica, in place of recorded ones.

    Parameters
    ----------
    models
        Animal -> one model a replica.
    device
        Where batches live.
    """

    def __init__(self, models: Mapping[str, Sequence[TrialModel]], device: torch.device) -> None:
        self.samples = {name: [len(model.deviations) for model in each] for name, each in models.items()}
        self._mean = {name: torch.from_numpy(np.stack([one.mean for one in each])).to(device) for name, each in models.items()}
        self._deviations = {
            name: torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one.deviations) for one in each], batch_first=True).to(device)
            for name, each in models.items()
        }
        self._white = {
            name: torch.tensor([one.white for one in each], device=device)[:, None, None] for name, each in models.items()
        }

    def only(self, members: Tensor) -> "Resampler":
        """Return the resampler of some of the replicas ``(member,)``."""
        some = copy(self)
        some.samples = {name: [each[one] for one in members.tolist()] for name, each in self.samples.items()}
        for held in ("_mean", "_white"):
            setattr(some, held, {name: values[members] for name, values in getattr(self, held).items()})
        # Padded to the longest of those that are left, as their draws are.
        some._deviations = {name: values[members, : max(some.samples[name])] for name, values in self._deviations.items()}
        return some

    def __call__(self, conditions: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        """Return simulated inputs ``(replica, row, feature)`` for the condition of each row ``(replica, row)``."""
        replicas = torch.arange(len(conditions), device=conditions.device)[:, None]
        simulated = {}
        for name, mean in self._mean.items():
            correlated = drawing(torch.randn, self.samples[name]) @ self._deviations[name]
            white = drawing(torch.randn, [mean.shape[2]] * len(conditions))
            simulated[name] = mean[replicas, conditions.clamp(min=0)] + correlated + self._white[name] * white
        return simulated
