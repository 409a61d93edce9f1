"""What is done to the inputs of encoders in training, so that few trials are not learned by heart. Targets stay as they are."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from neuromvm.data.resampling import TrialModel

Draw = Callable[..., Tensor]
Generators = Sequence[torch.Generator]


class Drawing:
    """Random numbers for a stack: each replica draws for its own rows from its own generator, so none shifts another's.

    Parameters
    ----------
    rows
        Rows of each replica that are tuples; the rest is padding and gets zeros.
    padded
        Rows of the batch.
    generators
        One a replica.
    """

    def __init__(self, rows: Sequence[int], padded: int, generators: Generators) -> None:
        self.rows, self.padded, self.generators = rows, padded, generators
        self.device = generators[0].device

    def __call__(self, draw: Draw, widths: Sequence[int]) -> Tensor:
        """Return ``(replica, row, max(widths))``, of which each replica draws its own width."""
        drawn = torch.zeros(len(self.rows), self.padded, max(widths), device=self.device)
        for place, (own, width, generator) in enumerate(zip(self.rows, widths, self.generators, strict=True)):
            drawn[place, :own, :width] = draw(own, width, generator=generator, device=self.device)
        return drawn

    def features(self, draw: Draw, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a number for every input ``(replica, row, feature)``, drawn for all animals at once."""
        widths = [values.shape[2] for values in inputs.values()]
        drawn = self(draw, [sum(widths)] * len(self.rows))
        return dict(zip(inputs, torch.split(drawn, widths, dim=2), strict=True))


def blur(inputs: Mapping[str, Tensor], deviation: float, drawing: Drawing) -> dict[str, Tensor]:
    """Add white noise of a standard deviation [scaled features]."""
    noise = drawing.features(torch.randn, inputs)
    return {name: values + deviation * noise[name] for name, values in inputs.items()}


def hide(inputs: Mapping[str, Tensor], share: float, drawing: Drawing) -> dict[str, Tensor]:
    """Set a share of the features to 0 and scale up the rest, so that sums keep their expectation."""
    drawn = drawing.features(torch.rand, inputs)
    return {name: values * (drawn[name] < 1 - share).float() / (1 - share) for name, values in inputs.items()}


class Resampler:
    """Trials drawn from a :class:`neuromvm.data.resampling.TrialModel` of every animal and replica, in place of recorded ones.

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

    def __call__(self, conditions: Tensor, drawing: Drawing) -> dict[str, Tensor]:
        """Return simulated inputs ``(replica, row, feature)`` for the condition of each row ``(replica, row)``."""
        replicas = torch.arange(len(conditions), device=conditions.device)[:, None]
        simulated = {}
        for name, mean in self._mean.items():
            correlated = drawing(torch.randn, self.samples[name]) @ self._deviations[name]
            white = drawing(torch.randn, [mean.shape[2]] * len(conditions))
            simulated[name] = mean[replicas, conditions.clamp(min=0)] + correlated + self._white[name] * white
        return simulated
