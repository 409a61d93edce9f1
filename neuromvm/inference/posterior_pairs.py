"""Posteriors of matched trials set side by side: divergences between pairs, and their means over trials."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuromvm.functional.gaussian import Posteriors, kl_divergence, log_density, sample
from neuromvm.functional.mixture import kl_to_mixture

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


class Samples(NamedTuple):
    """Posteriors of the samples of one animal on one side of a split."""

    mean: Tensor  # (sample, latent)
    scale: Tensor  # (sample, latent)
    code: Places  # (sample,) condition, -1 where the sample takes no part
    trial: Places  # (sample,)


class Tuples:
    """One draw of matched tuples, with a sample of every posterior.

    Parameters
    ----------
    animals
        Their samples.
    pairs
        Sample numbers ``(tuple, animal)``, -1 where an animal is absent.
    random
        Of the samples.
    """

    def __init__(self, animals: Sequence[Samples], pairs: Places, random: np.random.Generator) -> None:
        self.present = torch.from_numpy(pairs.T >= 0)  # (animal, tuple)
        self.sample = np.maximum(pairs.T, 0)
        self.trial = [animal.trial[one] for animal, one in zip(animals, self.sample, strict=True)]
        codes = [
            np.where(there, animal.code[one], -1) for animal, one, there in zip(animals, self.sample, pairs.T >= 0, strict=True)
        ]
        self.code: Places = np.max(codes, axis=0)
        mean = torch.stack([animal.mean[one] for animal, one in zip(animals, self.sample, strict=True)])
        scale = torch.stack([animal.scale[one] for animal, one in zip(animals, self.sample, strict=True)])
        self.posteriors = Posteriors(mean, scale)
        self.latents = sample(self.posteriors, torch.from_numpy(random.standard_normal(mean.shape).astype(np.float32)))

    def mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return KL to the mixture and its ceiling [nats], and where there is more than one animal: each ``(animal, tuple)``."""
        available = self.present.float()
        count = available.sum(0)
        rate = kl_to_mixture(self.posteriors, self.latents, available)
        return rate, torch.log(count.clamp(min=1)).expand_as(rate), self.present & (count > 1)

    def pairs(self, partner: Places) -> "Pairs":
        """Set the posterior of every animal beside those of all animals in the partner of its tuple ``(tuple,)``."""
        mean, scale = self.posteriors
        other_mean, other_scale, other_latents = (values[:, partner] for values in (mean, scale, self.latents))
        own = log_density(self.latents, mean, scale)
        under_other = log_density(self.latents[:, None], other_mean[None], other_scale[None])
        under_own = log_density(other_latents[None], mean[:, None], scale[:, None])
        first = own[:, None] - torch.logaddexp(own[:, None], under_other)
        second = own[:, partner][None] - torch.logaddexp(own[:, partner][None], under_own)
        same_sample = torch.from_numpy(self.sample == self.sample[:, partner])
        itself = torch.eye(len(mean), dtype=torch.bool)[..., None] & same_sample[:, None]
        return Pairs(
            kl_divergence(mean[:, None], scale[:, None], other_mean[None], other_scale[None]),
            math.log(2) + (first + second) / 2,
            self.present[:, None] & self.present[None][:, :, partner] & ~itself,
        )


class Pairs(NamedTuple):
    """Divergences [nats] between animals ``(animal, other, tuple)``."""

    kl: Tensor
    jensen_shannon: Tensor  # estimated without bias from one sample of each
    valid: Tensor  # both are present, and not one sample with itself


def same_condition(code: Places, random: np.random.Generator) -> Places:
    """Give every tuple another of the same condition ``(tuple,)``, itself where there is no other.

    Examples
    --------
    >>> same_condition(np.array([0, 1, 0]), np.random.default_rng(0)).tolist()
    [2, 1, 0]
    """
    order = np.lexsort((random.random(len(code)), code))
    start, size = _groups(code[order])
    partner = np.empty_like(order)
    partner[order] = order[start + (np.arange(len(code)) - start + 1) % size]
    return partner


def other_condition(code: Places, random: np.random.Generator) -> Places | None:
    """Give every tuple one of another condition ``(tuple,)``; None if there is one condition only.

    Examples
    --------
    >>> other_condition(np.array([0, 1, 0]), np.random.default_rng(0))[[0, 2]].tolist()
    [1, 1]
    """
    order = np.argsort(code, kind="stable")
    start, size = _groups(code[order])
    others = len(code) - size
    if len(code) == 0 or others.min() == 0:
        return None
    partner = np.empty_like(order)
    partner[order] = order[(start + size + random.integers(others)) % len(code)]
    return partner


def _groups(ordered: Places) -> tuple[Places, Places]:
    """Return the start and the size of the group of each of ordered codes."""
    _, start, place, count = np.unique(ordered, return_index=True, return_inverse=True, return_counts=True)
    return start[place], count[place]


class TrialMeans:
    """Means over trials of each animal, every trial weighing the same however often it was drawn.

    Parameters
    ----------
    trials
        Number of trials of each animal.
    width
        Numbers of a trial.
    """

    def __init__(self, trials: Sequence[int], width: int) -> None:
        self._total = [np.zeros((count, width)) for count in trials]
        self._weight = [np.zeros((count, width)) for count in trials]

    def add(self, animal: int, trial: Places, values: Tensor, valid: Tensor) -> None:
        """Add ``values, valid (width, tuple)`` of trials ``(tuple,)``."""
        weight = valid.numpy().astype(float)
        np.add.at(self._weight[animal], trial, weight.T)
        np.add.at(self._total[animal], trial, np.where(weight > 0, values.numpy(), 0).T)

    def result(self) -> tuple[Numbers, Numbers]:
        """Return mean and standard error over trials ``(animal, width)``; NaN of no trial, or of one."""
        means, errors = [], []
        for total, weight in zip(self._total, self._weight, strict=True):
            each = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
            count = (weight > 0).sum(axis=0)
            unknown = np.full(len(count), np.nan)
            mean = np.divide(each.sum(axis=0), count, out=unknown.copy(), where=count > 0)
            squares = np.where(weight > 0, np.square(each - mean), 0).sum(axis=0)
            means.append(mean)
            errors.append(np.sqrt(np.divide(squares, count * (count - 1.0), out=unknown, where=count > 1)))
        return np.stack(means), np.stack(errors)
