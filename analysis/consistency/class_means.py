"""Class means of every animal on both sides of a split, as they are and with activity permuted among trials.

Only their inner products leave this module, but for the means as observed: see :mod:`analysis.consistency.similarity`.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.consistency.similarity import FEWEST_CONDITIONS, Products
from analysis.readouts.representations import Floats, Representation, held_out, training_side
from neuromvm.data.permutation import carry
from neuromvm.data.splits import trial_strata
from neuromvm.errors import SchemaError, SplitError

QUARTERS = 4  # half of the fitted trials, the other half, and the same of the held-out ones


class Layout(NamedTuple):
    """Conditions that are compared, the same in all animals and splits."""

    labels: NDArray[np.intp]  # (label,) codes
    windows: int  # windows that are conditions of their own; 1 where labels change within a trial

    @property
    def groups(self) -> NDArray[np.intp]:
        """Return the number of the label of each condition, ``(condition,)``."""
        return np.repeat(np.arange(len(self.labels)), self.windows)

    def relabelled(self, draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Exchange labels as wholes, windows in their order; the first draw leaves all in place, ``(1 + draws, condition)``."""
        order = np.tile(np.arange(len(self.labels)), (1 + draws, 1))
        order[1:] = rng.permuted(order[1:], axis=1)
        return np.asarray((order[:, :, None] * self.windows + np.arange(self.windows)).reshape(1 + draws, -1))


class ClassMeans(NamedTuple):
    """One animal's class means, by their inner products ``(draw, condition, condition)``; the first draw is as observed."""

    whole: Products
    first: Floats  # held-out with fitted means, of one half of the trials on each side; NaN where a half lacks a condition
    second: Floats
    points: tuple[Floats, Floats]  # (condition, feature): fitted and held-out means as observed

    def relabelled(self, order: NDArray[np.intp]) -> "ClassMeans":
        """Return the observed class means with their labels exchanged, ``(draw, condition)``."""
        rows, columns = order[:, :, None], order[:, None, :]
        whole = Products(*(one[0][rows, columns] for one in self.whole))
        return self._replace(whole=whole, first=self.first[0][rows, columns], second=self.second[0][rows, columns])


def layout_of(samples: xr.DataTree, splits: xr.DataTree) -> Layout:
    """Find the labels that every animal has on both sides of every split.

    Raises
    ------
    SplitError
        If an animal has no training or no test trials in a split.
    SchemaError
        If fewer than four conditions are left.
    """
    common: set[int] | None = None
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
                there = set(labels[side].ravel().tolist()) - {-1}
                common = there if common is None else common & there
    layout = Layout(np.array(sorted(common or ()), dtype=np.intp), windows if steady else 1)
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
    """Average one animal's trials of each condition, as they are and for each permutation of trials.

    Parameters
    ----------
    representation, replica, name
        What is averaged; the animal.
    samples, splits
        Trees of :mod:`neuromvm.schema`.
    layout
        Conditions.
    draws
        Permutations of :func:`neuromvm.data.permutation.carry`, the same in all splits and representations, so that splits that
        share trials are as dependent under the null as they are.
    """
    node, split = samples[name].to_dataset(), representation.replicas[replica]
    seen = representation.seen(replica, name, name)
    if seen is None:
        raise SplitError(f"split {split}, animal {name}", found="no latents of it", expected="latents of all animals")
    trials, windows = seen.shape[:2]
    members = _members(node, (training_side(splits, split, name), held_out(splits, split, name)), layout)
    counts = _by_condition(members.sum(axis=-1), layout)[..., None]
    halves, sides = np.where(counts > 0, counts, np.nan), counts.reshape(2, 2, -1, 1).sum(axis=1)
    flat = seen.reshape(trials * windows, -1).astype(np.float64)
    products: list[list[Floats]] = []
    points = (flat, flat)
    for draw in range(1 + draws):
        moved = flat[carry(name, node, draw).samples()].reshape(trials, windows, -1)
        sums = _by_condition(np.einsum("wqlt,twf->wqlf", members, moved, optimize=True), layout)
        fitted, held = sums.reshape(2, 2, *sums.shape[1:]).sum(axis=1) / sides
        quarters = sums / halves
        products.append([*Products.of(fitted, held), quarters[2] @ quarters[0].T, quarters[3] @ quarters[1].T])
        if draw == 0:
            points = fitted, held
    fields = [np.stack(one) for one in zip(*products, strict=True)]
    return ClassMeans(Products(*fields[:3]), fields[3], fields[4], points)


def _members(node: xr.Dataset, sides: tuple[NDArray[np.bool_], NDArray[np.bool_]], layout: Layout) -> Floats:
    """Say which trials carry which label, in each half of each side, ``(window, quarter, label, trial)``."""
    strata, labels = trial_strata(node), node["label"].to_numpy()
    halves = np.zeros((QUARTERS, len(strata)), dtype=bool)
    for number, side in enumerate(sides):
        for stratum in np.unique(strata[side & (strata >= 0)]):
            members = np.flatnonzero(side & (strata == stratum))
            for half in (0, 1):
                halves[2 * number + half, members[half::2]] = True
    carried = labels.T[:, None, :] == layout.labels[:, None]
    return np.asarray(halves[None, :, None, :] & carried[:, None], dtype=np.float64)


def _by_condition(values: Floats, layout: Layout) -> Floats:
    """Make conditions of labels and windows, ``(window, quarter, label, ...)`` to ``(quarter, condition, ...)``."""
    if layout.windows == 1:
        return np.asarray(values.sum(axis=0))
    return np.asarray(np.moveaxis(values, 0, 2).reshape(values.shape[1], -1, *values.shape[3:]))
