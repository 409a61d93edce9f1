"""Splits of the training side of splits, to choose settings by: no test trial takes part."""

import numpy as np
import xarray as xr

from neuromvm import schema
from neuromvm.data.splits import make_splits
from neuromvm.errors import SplitError
from neuromvm.schema import Part, is_fitted
from neuromvm.specs import SplitSpec

IN_TIME = ("chronological", "blocks")


def inner_splits(samples: xr.DataTree, splits: xr.DataTree, spec: SplitSpec, folds: int, seed: int = 0) -> xr.DataTree:
    """Divide the training side of every split into folds.

    Parameters
    ----------
    samples, splits
        The samples and the outer splits.
    spec
        What the outer splits were made by: inner folds follow time where they do, and keep the same share for validation.
    folds
        Inner folds of each outer split.
    seed
        Of the inner folds.

    Returns
    -------
    A tree of splits as any other, ``part (split, trial)``, the folds of the first outer split first. Trials that are not on the
    training side of the outer split, its test trials among them, are unused. Coordinate ``outer (split)`` names the outer split.

    Raises
    ------
    SplitError
        If an animal has no training side (a left-out animal), test trials are those that train, or a class has too few trials.

    Examples
    --------
    >>> inner = inner_splits(samples, splits, SplitSpec(kind="kfold"), folds=3)  # doctest: +SKIP
    >>> inner["mitt"]["outer"].values  # doctest: +SKIP
    array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4])
    """
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    schema.check_same_trials(samples, splits)
    if spec.kind in ("published", "leave_one_animal_out"):
        raise SplitError(
            f"split.kind={spec.kind}",
            found="no inner folds",
            expected="test trials apart from training trials, in every animal",
            next_step="Use split.kind=halves or kfold to choose settings",
        )
    kind = "blocks" if spec.kind in IN_TIME else "kfold"
    own = SplitSpec(kind=kind, folds=folds, seed=seed, validation=spec.validation, order=spec.order)
    return divide_training_sides(samples, splits, own)


def divide_training_sides(samples: xr.DataTree, splits: xr.DataTree, spec: SplitSpec) -> xr.DataTree:
    """Divide the training side of every split by a spec, whose seed is one more for each split.

    Parameters
    ----------
    samples, splits
        The samples and the outer splits.
    spec
        How each training side is divided.

    Returns
    -------
    As of :func:`inner_splits`. Of an animal without training side in a split, all trials are unused.
    """
    outer = next(iter(splits.children.values())).sizes["split"]
    found = []
    for number in range(outer):
        sides = {name: is_fitted(splits[name]["part"].to_numpy()[number]) for name in samples.children}
        among = {name: side for name, side in sides.items() if side.any()}
        nodes = {name: xr.DataTree(samples[name].to_dataset()) for name in among}
        there = xr.DataTree(dataset=samples.to_dataset(), children=nodes)
        found.append(make_splits(there, spec.model_copy(update={"seed": spec.seed + number}), among=among))
    folds = next(iter(found[0].children.values())).sizes["split"]
    children = {}
    for name in samples.children:
        unused = np.full((folds, splits[name].sizes["trial"]), Part.UNUSED, dtype=np.int8)
        parts = np.concatenate([one[name]["part"].to_numpy() if name in one.children else unused for one in found])
        coords = {"split": np.arange(len(parts)), "outer": ("split", np.repeat(np.arange(outer), folds))}
        part = {"part": (("split", "trial"), parts, splits[name]["part"].attrs)}
        children[name] = xr.DataTree(xr.Dataset(part, {**coords, "trial": splits[name]["trial"].to_numpy()}))
    return xr.DataTree(dataset=xr.Dataset(attrs=found[0].attrs), children=children)
