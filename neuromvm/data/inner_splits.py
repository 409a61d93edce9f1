"""Splits of the training side of splits, to choose settings by: no test trial takes part."""

import numpy as np
import xarray as xr

from neuromvm import schema
from neuromvm.data.splits import make_splits
from neuromvm.errors import SplitError
from neuromvm.schema import is_fitted
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
    outer = next(iter(splits.children.values())).sizes["split"]
    kind = "blocks" if spec.kind in IN_TIME else "kfold"
    found = []
    for number in range(outer):
        among = {name: is_fitted(node["part"].to_numpy()[number]) for name, node in splits.children.items()}
        own = SplitSpec(kind=kind, folds=folds, seed=seed + number, validation=spec.validation, order=spec.order)
        found.append(make_splits(samples, own, among=among))
    children = {}
    for name, node in found[0].children.items():
        parts = np.concatenate([one[name]["part"].to_numpy() for one in found])
        coords = {"split": np.arange(len(parts)), "outer": ("split", np.repeat(np.arange(outer), folds))}
        dataset = xr.Dataset(
            {"part": (("split", "trial"), parts, node["part"].attrs)}, {**coords, "trial": node["trial"].to_numpy()}
        )
        children[name] = xr.DataTree(dataset)
    return xr.DataTree(dataset=xr.Dataset(attrs=found[0].attrs), children=children)
