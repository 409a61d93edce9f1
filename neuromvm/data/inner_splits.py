"""Splits of the training sides of other splits, for choosing settings without test trials."""

import numpy as np
import xarray as xr

from neuromvm import schema
from neuromvm.data.splits import SPLIT_KINDS, make_splits
from neuromvm.errors import SplitError
from neuromvm.schema import Part, is_fitted
from neuromvm.specs import SplitSpec


def inner_splits(samples: xr.DataTree, splits: xr.DataTree, spec: SplitSpec, folds: int, seed: int = 0) -> xr.DataTree:
    """Divide the training side of every outer split into ``folds``, with ``seed``.

    ``spec`` is that of the outer splits: inner folds are blocks in time if the outer kind divides by time, with its validation
    share. The result has ``part (split, trial)``, with the folds of the first outer split first; trials outside the training side
    of the outer split are unused. The coordinate ``outer (split)`` is the number of the outer split.

    Raises
    ------
    SplitError
        If the kind of split has no inner folds (an animal without a training side, or test trials that train), or a class has too
        few trials.
    """
    schema.expect_samples_with_splits(samples, splits)
    kind = SPLIT_KINDS[spec.kind].inner
    if kind is None:
        raise SplitError(
            f"split.kind={spec.kind}",
            found="no inner folds",
            expected="test trials apart from training trials, in every animal",
            next_step="Use split.kind=halves or kfold to choose settings",
        )
    inner = SplitSpec(kind=kind, folds=folds, seed=seed, validation=spec.validation, order=spec.order)
    return divide_training_sides(samples, splits, inner)


def divide_training_sides(samples: xr.DataTree, splits: xr.DataTree, spec: SplitSpec) -> xr.DataTree:
    """Return inner splits, see :func:`inner_splits`, made by ``spec`` with the number of the outer split added to its seed.

    All trials of an animal without a training side in an outer split are unused.
    """
    splits_of_side = []
    for split in range(next(iter(splits.children.values())).sizes["split"]):
        sides = {name: is_fitted(splits[name]["part"].to_numpy()[split]) for name in samples.children}
        among = {name: side for name, side in sides.items() if side.any()}
        trained = xr.DataTree.from_dict({"/": samples.to_dataset(), **{name: samples[name].to_dataset() for name in among}})
        splits_of_side.append(make_splits(trained, spec.model_copy(update={"seed": spec.seed + split}), among=among))
    folds = next(iter(splits_of_side[0].children.values())).sizes["split"]
    nodes = {}
    for name in samples.children:
        unused = np.full((folds, splits[name].sizes["trial"]), Part.UNUSED, dtype=np.int8)
        parts = np.concatenate([inner[name]["part"].to_numpy() if name in inner.children else unused for inner in splits_of_side])
        outer = np.repeat(np.arange(len(splits_of_side)), folds)
        coords = {"split": np.arange(len(parts)), "outer": ("split", outer), "trial": splits[name]["trial"].to_numpy()}
        nodes[name] = xr.Dataset({"part": (("split", "trial"), parts, splits[name]["part"].attrs)}, coords)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=splits_of_side[0].attrs), **nodes})
