"""Class means of every animal on both sides of a split, as observed and with test trials permuted.

Of permuted class means only inner products are kept, see :mod:`neuromvm.analysis.consistency.similarity`.
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
    windows: int  # windows that are separate conditions; 1 where labels change within a trial
    repeated: bool  # whether every condition has two trials on each side of every split, to tell noise from means

    @property
    def groups(self) -> NDArray[np.intp]:
        """Return the number of the label of each condition, ``(condition,)``."""
        return np.repeat(np.arange(len(self.labels)), self.windows)

    def conditions(self, labels: NDArray[np.int16]) -> NDArray[np.intp]:
        """Return the condition of each sample, ``(trial, window)``; -1 for a label that is not compared."""
        number = np.searchsorted(self.labels, labels).clip(max=len(self.labels) - 1)
        window = np.arange(labels.shape[1]) if self.windows > 1 else 0
        return np.where(self.labels[number] == labels, number * self.windows + window, -1)

    def relabelled(self, draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Exchange labels, each with all its windows, ``(1 + draws, condition)``; draw 0 is the original order."""
        order = np.tile(np.arange(len(self.labels)), (1 + draws, 1))
        order[1:] = rng.permuted(order[1:], axis=1)
        return np.asarray((order[:, :, None] * self.windows + np.arange(self.windows)).reshape(1 + draws, -1))


class ClassMeans(NamedTuple):
    """Inner products of an animal's class means ``(draw, condition, condition)``; draw 0 is as observed."""

    products: Products  # fitted is (1, condition, condition) where test trials alone were permuted
    apart: Floats  # of held-out trials, over pairs of different trials; NaN where there is no pair
    fitted_apart: Floats  # (condition, condition), the same of fitted trials as observed
    points: tuple[Floats, Floats]  # (condition, feature): fitted and held-out means as observed

    def relabelled(self, order: NDArray[np.intp]) -> "ClassMeans":
        """Return the observed class means with their labels exchanged on both sides, ``(draw, condition)``."""
        rows, columns = order[:, :, None], order[:, None, :]
        products = Products(*(product[0][rows, columns] for product in self.products))
        return self._replace(products=products, apart=self.apart[0][rows, columns])


def layout_of(samples: xr.DataTree, splits: xr.DataTree) -> Layout:
    """Find the labels that every animal has on both sides of every split, which have to be four conditions or more."""
    sides: list[NDArray[np.int16]] = []
    steady, windows = True, 1
    for animal, node in samples.children.items():
        labels = node["label"].to_numpy()
        steady &= bool((labels == labels[:, :1]).all())
        windows = labels.shape[1]
        for split in range(splits[animal].sizes["split"]):
            for side in (training_side(splits, split, animal), held_out(splits, split, animal)):
                if not side.any():
                    raise SplitError(
                        f"split {split}, animal {animal}",
                        found="no trials on one side",
                        expected="training and test trials of every animal, to fit and to score how animals compare",
                        next_step="Use split.kind=halves or kfold, or leave the analysis consistency out",
                    )
                sides.append(labels[side])
    common = set.intersection(*(set(side.ravel().tolist()) for side in sides)) - {-1}
    labels = np.array(sorted(common), dtype=np.intp)
    repeated = all((side == label).any(axis=1).sum() > 1 for side in sides for label in labels)
    layout = Layout(labels, windows if steady else 1, repeated)
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
    animal: str,
    samples: xr.DataTree,
    splits: xr.DataTree,
    layout: Layout,
    draws: int,
) -> ClassMeans:
    """Average an animal's trials of each condition, as observed and for each of ``draws`` permutations of test trials.

    Permutations are the same in all representations. Training trials are not permuted: a model was fitted to their labels, and
    its latents may carry more about them than about the labels of other trials.
    """
    node, split = samples[animal].to_dataset(), representation.replicas[replica]
    values = representation.seen(replica, animal, animal)
    if values is None:
        raise SplitError(f"split {split}, animal {animal}", found="no latents of it", expected="latents of all animals")
    codes, tested = layout.conditions(node["label"].to_numpy()), held_out(splits, split, animal)
    training = training_side(splits, split, animal)
    fitted, held = (Side(values[trials], codes[trials], len(layout.groups)) for trials in (training, tested))
    fitted_means = fitted.means()
    permutations = permute_tested(animal, node, tested, range(1 + draws))
    held_means = [held.means(permutation) for permutation in permutations]
    products = [Products.of(fitted_means, means) for means in held_means]
    return ClassMeans(
        Products(products[0].fitted[None], *(np.stack([getattr(draw, key) for draw in products]) for key in ("cross", "held"))),
        np.stack([held.apart(means, permutation) for means, permutation in zip(held_means, permutations, strict=True)]),
        fitted.apart(fitted_means),
        (fitted_means, held_means[0]),
    )


def permute_tested(animal: str, node: xr.Dataset, tested: NDArray[np.bool_], draws: Iterable[int]) -> list[Permutation]:
    """Permute the activity of an animal's test trials among them; draw 0 changes nothing. Permutations number test trials.

    As :func:`neuromvm.data.permutation.carry`, within the test trials of a split. A trial that is tested in several splits takes
    about the same label in all of them (its rank among trials, in an order that all splits share, is matched to the same rank
    of labels), so that scores of splits are as dependent under the null as they are.
    """
    strata, labels = trial_strata(node)[tested], node["label"].to_numpy()
    labelled = strata >= 0
    members = np.flatnonzero(labelled)
    by_label = members[np.argsort(strata[labelled], kind="stable")]
    shifted = labelled & bool((labels != labels[:, :1]).any())
    permutations = []
    for draw in draws:
        random = np.random.default_rng([draw, zlib.crc32(animal.encode())])
        rank, shift = random.permutation(len(labels))[tested], random.integers(labels.shape[1], size=len(labels))[tested]
        order: NDArray[np.int64] = np.arange(len(rank))
        if draw:
            order[by_label] = members[np.argsort(rank[labelled])]
        permutations.append(Permutation(order, np.where(shifted, shift, 0) if draw else np.zeros_like(order), labels.shape[1]))
    return permutations


class Side:
    """Trials of one side of a split, ``(trial, window, feature)``, averaged by the condition of each sample, -1 for none."""

    def __init__(self, values: Floats, codes: NDArray[np.intp], conditions: int) -> None:
        values = values.astype(np.float64)
        self._flat = values.reshape(-1, values.shape[-1])
        self._member = (codes.reshape(-1) == np.arange(conditions)[:, None]).astype(np.float64)
        self._count = self._member.sum(axis=1)
        self._within = values @ values.swapaxes(1, 2)  # (trial, window, window): products of samples of the same trial
        compared = (codes[:, :, None] >= 0) & (codes[:, None, :] >= 0)
        self._pair = np.where(compared, codes[:, :, None] * conditions + codes[:, None, :], conditions**2).reshape(-1)
        self._pairs = np.outer(self._count, self._count) - self._by_condition(np.ones(len(self._pair)))

    def means(self, permutation: Permutation | None = None) -> Floats:
        """Return the class means, ``(condition, feature)``."""
        flat = self._flat if permutation is None else self._flat[permutation.samples()]
        return np.asarray(self._member @ flat / self._count[:, None])

    def apart(self, means: Floats, permutation: Permutation | None = None) -> Floats:
        """Return the products of class means over pairs of different trials, ``(condition, condition)``; NaN without a pair.

        Products of samples of the same trial, which contain the square of its noise, are left out; so the expectation is the
        product of the true means (Walther et al. 2016).
        """
        within = self._within
        if permutation is not None:
            window = (np.arange(permutation.windows) + permutation.shift[:, None]) % permutation.windows
            within = within[permutation.trial[:, None, None], window[:, :, None], window[:, None, :]]
        sums = means * self._count[:, None]
        products = sums @ sums.T - self._by_condition(within.reshape(-1))
        return np.where(self._pairs > 0, products / np.maximum(self._pairs, 1), np.nan)

    def _by_condition(self, products: Floats) -> Floats:
        """Sum products of samples of the same trial over pairs of conditions, ``(condition, condition)``."""
        size = len(self._count)
        summed = np.bincount(self._pair, weights=products, minlength=size**2 + 1)
        return np.asarray(summed[:-1].reshape(size, size))
