"""Divergences between the posteriors of matched trials, and their means over trials."""

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
Indices = NDArray[np.int64]


class Samples(NamedTuple):
    """Posteriors of the samples of one animal on one side of a split."""

    mean: Tensor  # (sample, latent)
    scale: Tensor  # (sample, latent)
    code: Indices  # (sample,) condition, -1 where the sample is not compared
    trial: Indices  # (sample,)


class Tuples:
    """One draw of matched tuples ``pairs (tuple, animal)``, -1 where an animal is absent, with a sample of every posterior."""

    def __init__(self, animals: Sequence[Samples], pairs: Indices, random: np.random.Generator) -> None:
        self.present = torch.from_numpy(pairs.T >= 0)  # (animal, tuple)
        self.sample = np.maximum(pairs.T, 0)
        matched = list(zip(animals, self.sample, strict=True))
        self.trial = [animal.trial[sample] for animal, sample in matched]
        codes = np.stack([animal.code[sample] for animal, sample in matched])
        self.code: Indices = np.where(pairs.T >= 0, codes, -1).max(axis=0)
        mean = torch.stack([animal.mean[sample] for animal, sample in matched])
        scale = torch.stack([animal.scale[sample] for animal, sample in matched])
        self.posteriors = Posteriors(mean, scale)
        self.latents = sample(self.posteriors, torch.from_numpy(random.standard_normal(mean.shape).astype(np.float32)))

    def mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return KL to the mixture, its ceiling [nats] and whether a tuple has several animals, each ``(animal, tuple)``."""
        available = self.present.float()
        count = available.sum(0)
        rate = kl_to_mixture(self.posteriors, self.latents, available)
        return rate, torch.log(count.clamp(min=1)).expand_as(rate), self.present & (count > 1)

    def pairs(self, partner: Indices) -> "Pairs":
        """Compare the posterior of every animal with those of all animals in the partner of its tuple ``(tuple,)``."""
        mean, scale = self.posteriors
        partner_mean, partner_scale, partner_latents = (values[:, partner] for values in (mean, scale, self.latents))
        density = log_density(self.latents, mean, scale)
        partner_density = density[:, partner][None]
        under_partner = log_density(self.latents[:, None], partner_mean[None], partner_scale[None])
        partner_under_animal = log_density(partner_latents[None], mean[:, None], scale[:, None])
        from_animal = density[:, None] - torch.logaddexp(density[:, None], under_partner)
        from_partner = partner_density - torch.logaddexp(partner_density, partner_under_animal)
        same_sample = torch.from_numpy(self.sample == self.sample[:, partner])
        identical = torch.eye(len(mean), dtype=torch.bool)[..., None] & same_sample[:, None]
        return Pairs(
            kl_divergence(mean[:, None], scale[:, None], partner_mean[None], partner_scale[None]),
            math.log(2) + (from_animal + from_partner) / 2,
            self.present[:, None] & self.present[None][:, :, partner] & ~identical,
        )


class Pairs(NamedTuple):
    """Divergences [nats] between animals ``(animal, other, tuple)``."""

    kl: Tensor
    jensen_shannon: Tensor  # estimated without bias from one sample of each posterior
    valid: Tensor  # both animals are present, and the two samples differ


def same_condition(code: Indices, random: np.random.Generator) -> Indices:
    """Return for every tuple a partner of the same condition ``(tuple,)``: the tuple itself if its condition has no other."""
    order = np.lexsort((random.random(len(code)), code))
    start, size = _groups(code[order])
    partner = np.empty_like(order)
    partner[order] = order[start + (np.arange(len(code)) - start + 1) % size]
    return partner


def other_condition(code: Indices, random: np.random.Generator) -> Indices | None:
    """Return for every tuple a partner of another condition ``(tuple,)``; None if there is one condition only."""
    order = np.argsort(code, kind="stable")
    start, size = _groups(code[order])
    candidates = len(code) - size
    if len(code) == 0 or candidates.min() == 0:
        return None
    partner = np.empty_like(order)
    partner[order] = order[(start + size + random.integers(candidates)) % len(code)]
    return partner


def _groups(ordered: Indices) -> tuple[Indices, Indices]:
    """Return the start and the size of the group of each of ordered codes."""
    _, start, group, count = np.unique(ordered, return_index=True, return_inverse=True, return_counts=True)
    return start[group], count[group]


class TrialMeans:
    """Means over ``trials`` of each animal, of ``width`` values; a trial has the same weight however often it was drawn."""

    def __init__(self, trials: Sequence[int], width: int) -> None:
        self._total = [np.zeros((count, width)) for count in trials]
        self._weight = [np.zeros((count, width)) for count in trials]

    def add(self, animal: int, trial: Indices, values: Tensor, valid: Tensor) -> None:
        """Add ``values, valid (width, tuple)`` of trials ``(tuple,)``."""
        weight = valid.numpy().astype(float)
        np.add.at(self._weight[animal], trial, weight.T)
        np.add.at(self._total[animal], trial, np.where(weight > 0, values.numpy(), 0).T)

    def result(self) -> tuple[Numbers, Numbers]:
        """Return mean and standard error over trials ``(animal, width)``; NaN of no trial; the error is NaN of one trial."""
        means, errors = [], []
        for total, weight in zip(self._total, self._weight, strict=True):
            averages = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
            count = (weight > 0).sum(axis=0)
            unknown = np.full(len(count), np.nan)
            mean = np.divide(averages.sum(axis=0), count, out=unknown.copy(), where=count > 0)
            squares = np.where(weight > 0, np.square(averages - mean), 0).sum(axis=0)
            means.append(mean)
            errors.append(np.sqrt(np.divide(squares, count * (count - 1.0), out=unknown, where=count > 1)))
        return np.stack(means), np.stack(errors)
