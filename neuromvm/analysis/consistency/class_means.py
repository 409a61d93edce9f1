"""Class means of every animal on both sides of a split, as they are and with test trials permuted.

Only their inner products leave this module, but for the means as observed: see :mod:`neuromvm.analysis.consistency.similarity`.
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.consistency.similarity import FEWEST_CONDITIONS, Products
from neuromvm.analysis.readouts.representations import Floats, Representation, held_out, training_side
from neuromvm.data.permutation import Permutation
from neuromvm.data.splits import trial_strata
from neuromvm.errors import SchemaError, SplitError


class Layout(NamedTuple):
    """Conditions that are compared, the same in all animals and splits."""

    labels: NDArray[np.intp]  # (label,) codes
    windows: int  # windows that are conditions of their own; 1 where labels change within a trial
    repeated: bool  # whether every condition has two trials on each side of every split, so that noise can be told from means

    @property
    def groups(self) -> NDArray[np.intp]:
        """Return the number of the label of each condition, ``(condition,)``."""
        return np.repeat(np.arange(len(self.labels)), self.windows)

    def conditions(self, labels: NDArray[np.int16]) -> NDArray[np.intp]:
        """Return the condition of each sample, ``(trial, window)``; -1 where it is of none."""
        place = np.searchsorted(self.labels, labels).clip(max=len(self.labels) - 1)
        window = np.arange(labels.shape[1]) if self.windows > 1 else 0
        return np.where(self.labels[place] == labels, place * self.windows + window, -1)

    def relabelled(self, draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Exchange labels as wholes, windows in their order; the first draw leaves all in place, ``(1 + draws, condition)``."""
        order = np.tile(np.arange(len(self.labels)), (1 + draws, 1))
        order[1:] = rng.permuted(order[1:], axis=1)
        return np.asarray((order[:, :, None] * self.windows + np.arange(self.windows)).reshape(1 + draws, -1))


class ClassMeans(NamedTuple):
    """One animal's class means, by their inner products ``(draw, condition, condition)``; the first draw is as observed."""

    products: Products  # fitted is (1, condition, condition) where only held-out trials were drawn again
    apart: Floats  # of held-out trials, over pairs of different trials; NaN where there is no pair
    fitted_apart: Floats  # (condition, condition), the same of fitted trials as observed
    points: tuple[Floats, Floats]  # (condition, feature): fitted and held-out means as observed

    def relabelled(self, order: NDArray[np.intp]) -> "ClassMeans":
        """Return the observed class means with their labels exchanged on both sides, ``(draw, condition)``."""
        rows, columns = order[:, :, None], order[:, None, :]
        products = Products(*(one[0][rows, columns] for one in self.products))
        return self._replace(products=products, apart=self.apart[0][rows, columns])


def layout_of(samples: xr.DataTree, splits: xr.DataTree) -> Layout:
    """Find the labels that every animal has on both sides of every split.

    Raises
    ------
    SplitError
        If an animal has no training or no test trials in a split.
    SchemaError
        If fewer than four conditions are left.
    """
    sides: list[NDArray[np.int16]] = []
    steady, windows = True, 1
    for name, node in samples.children.items():
        labels = node["label"].to_numpy()
        steady &= bool((labels == labels[:, :1]).all())
        windows = labels.shape[1]
        for split in range(splits[name].sizes["split"]):
            for side in (training_side(splits, split, name), held_out(splits, split, name)):
                if not side.any():
                    raise SplitError(
                        f"split {split}, animal {name}",
                        found="no trials on one side",
                        expected="training and test trials of every animal, to fit and to score how animals compare",
                        next_step="Use split.kind=halves or kfold, or leave the analysis consistency out",
                    )
                sides.append(labels[side])
    common = set.intersection(*(set(side.ravel().tolist()) for side in sides)) - {-1}
    labels = np.array(sorted(common), dtype=np.intp)
    twice = all((side == label).any(axis=1).sum() > 1 for side in sides for label in labels)
    layout = Layout(labels, windows if steady else 1, twice)
    if len(layout.groups) < FEWEST_CONDITIONS or len(layout.labels) < 2:
        raise SchemaError(
            "analysis consistency",
            found=f"{len(layout.labels)} labels by {layout.windows} windows on both sides of every split in all animals",
            expected=f"at least 2 labels and {FEWEST_CONDITIONS} conditions",
            next_step="Set samples.label to a finer label, or samples.width to several windows a trial",
        )
    return layout


def class_means(
    representation: Representation,
    replica: int,
    name: str,
    samples: xr.DataTree,
    splits: xr.DataTree,
    layout: Layout,
    draws: int,
) -> ClassMeans:
    """Average one animal's trials of each condition, as they are and for each permutation of test trials.

    Training trials stay as they are: a model has seen their labels, and may hold more of these than of those of other trials.

    Parameters
    ----------
    representation, replica, name
        What is averaged; the animal.
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    layout
        Conditions.
    draws
        Permutations of :func:`carry_tested`, the same in all representations.
    """
    node, split = samples[name].to_dataset(), representation.replicas[replica]
    seen = representation.seen(replica, name, name)
    if seen is None:
        raise SplitError(f"split {split}, animal {name}", found="no latents of it", expected="latents of all animals")
    codes, tested = layout.conditions(node["label"].to_numpy()), held_out(splits, split, name)
    training = training_side(splits, split, name)
    fitted, held = (Side(seen[side], codes[side], len(layout.groups)) for side in (training, tested))
    own = fitted.means()
    drawn = carry_tested(name, node, tested, range(1 + draws))
    points = [held.means(one) for one in drawn]
    found = [Products.of(own, one) for one in points]
    cross, other = (np.stack([getattr(one, field) for one in found]) for field in ("cross", "held"))
    apart = np.stack([held.apart(mean, one) for mean, one in zip(points, drawn, strict=True)])
    return ClassMeans(Products(found[0].fitted[None], cross, other), apart, fitted.apart(own), (own, points[0]))


def carry_tested(name: str, node: xr.Dataset, tested: NDArray[np.bool_], draws: Iterable[int]) -> list[Permutation]:
    """Draw from where each test trial of an animal takes what it has, among its test trials; draw 0 leaves all in place.

    As :func:`neuromvm.data.permutation.draw_permutation`, within test trials of a split. A trial tested in several splits goes
    to about the same label in all of them (its rank among trials, in an order that all splits share, to the same rank of
    labels), so that scores of splits are as dependent under the null as they are.

    Returns
    -------
    One for each draw. Numbers are of test trials, not of all.
    """
    strata, labels = trial_strata(node), node["label"].to_numpy()
    used = strata[tested] >= 0
    members = np.flatnonzero(used)
    by_label = members[np.argsort(strata[tested][used], kind="stable")]
    shifts = used & bool((labels != labels[:, :1]).any())
    found = []
    for draw in draws:
        random = np.random.default_rng([draw, zlib.crc32(name.encode())])
        rank, shift = random.permutation(len(labels))[tested], random.integers(labels.shape[1], size=len(labels))[tested]
        order: NDArray[np.int64] = np.arange(len(rank))
        if draw:
            order[by_label] = members[np.argsort(rank[used])]
        found.append(Permutation(order, np.where(shifts, shift, 0) if draw else np.zeros_like(order), labels.shape[1]))
    return found


class Side:
    """Trials of one side of a split, to be averaged by condition.

    Parameters
    ----------
    values
        ``(trial, window, feature)``.
    codes
        ``(trial, window)``: the condition of each sample, -1 for none.
    conditions
        Number of conditions.
    """

    def __init__(self, values: Floats, codes: NDArray[np.intp], conditions: int) -> None:
        values = values.astype(np.float64)
        self._flat = values.reshape(-1, values.shape[-1])
        self._member = (codes.reshape(-1) == np.arange(conditions)[:, None]).astype(np.float64)
        self._count = self._member.sum(axis=1)
        self._within = values @ values.swapaxes(1, 2)  # (trial, window, window): products of samples of one trial
        there = (codes[:, :, None] >= 0) & (codes[:, None, :] >= 0)
        self._pair = np.where(there, codes[:, :, None] * conditions + codes[:, None, :], conditions**2).reshape(-1)
        self._pairs = np.outer(self._count, self._count) - self._by_condition(np.ones(len(self._pair)))

    def means(self, carried: Permutation | None = None) -> Floats:
        """Return the class means, ``(condition, feature)``."""
        flat = self._flat if carried is None else self._flat[carried.samples()]
        return np.asarray(self._member @ flat / self._count[:, None])

    def apart(self, means: Floats, carried: Permutation | None = None) -> Floats:
        """Return the products of class means over pairs of different trials, ``(condition, condition)``; NaN without a pair.

        Products of samples of one trial, which hold the square of its noise, are left out; so their mean is the product of
        the true means (Walther et al. 2016).
        """
        within = self._within
        if carried is not None:
            window = (np.arange(carried.windows) + carried.shift[:, None]) % carried.windows
            within = within[carried.trial[:, None, None], window[:, :, None], window[:, None, :]]
        sums = means * self._count[:, None]
        left = sums @ sums.T - self._by_condition(within.reshape(-1))
        return np.where(self._pairs > 0, left / np.maximum(self._pairs, 1), np.nan)

    def _by_condition(self, products: Floats) -> Floats:
        size = len(self._count)
        summed = np.bincount(self._pair, weights=products, minlength=size**2 + 1)
        return np.asarray(summed[:-1].reshape(size, size))
