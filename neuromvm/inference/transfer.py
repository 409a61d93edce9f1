"""Activity decoded across animals: every encoder with every decoder, on test trials."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from neuromvm import schema
from neuromvm.errors import SplitError
from neuromvm.functional.gaussian import Posteriors, sample
from neuromvm.inference.decoded import kind_of, unscaled, without_private
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.inference.imputation import impute

IMPUTATION_DRAWS = 100


class Rows(NamedTuple):
    """The test trials of one animal, split after split: ``replica, split, trial (row,)``; ``trial`` is an index."""

    replica: NDArray[np.int64]
    split: NDArray[np.int64]
    trial: NDArray[np.int64]


@torch.no_grad()
def transfer(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree, *, seed: int = 0) -> xr.DataTree:
    """Decode the test samples of every animal by the decoder of every animal, from the posterior mean.

    Of several replicas of a split, the first is taken; ``seed`` is that of the draws of ``drawn``.

    Returns
    -------
    One node a source, ``tree[source]``, with its test trials: coordinates ``split, trial, replica (row)``, and ``label, match
    (row, window)``. In it one node a target, ``tree[source][target]``: ``activity (row, window, bin, unit)``, float32, the
    expectation of the target's decoder; ``attrs["kind"]`` is that of :func:`neuromvm.inference.imputation.impute`. Where source
    and target are the same animal and its likelihood scores activity as recorded, also ``drawn``: one draw of activity for each
    sample, from a draw of its posterior.

    Raises
    ------
    SplitError
        If no animal has a test trial.

    Notes
    -----
    The posterior is that of the source alone: joint models are decoded from the unimodal posterior, not from the aggregated one,
    since the other animals' trials are other trials. Latents that are private to an animal (MMVAE+) are at 0, the mean of the
    auxiliary prior, when another animal is decoded.
    """
    schema.expect_samples_with_splits(samples, splits)
    fitted = first_of_each_split(fitted)
    rows = {name: _rows(fitted, splits, name) for name in fitted.scalers}
    if not any(len(tested.trial) for tested in rows.values()):
        raise SplitError("splits", found="no test trial of any animal", expected="at least one")
    generated: dict[tuple[str, str], dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    kinds: dict[str, str] = {}
    for number in range(len(fitted.replicas)):
        model = fitted.member(number)
        generator = torch.Generator().manual_seed(seed + number)
        kinds = {name: kind_of(fitted, model.likelihood(name)) for name in rows}
        for source, chosen in rows.items():
            values = fitted.scaled(samples, source, number)[torch.from_numpy(chosen.trial[chosen.replica == number])]
            posteriors = Posteriors(*model.encoders[source](values.flatten(0, 1)))
            for target in rows:
                latents = posteriors.mean if source == target else without_private(model, posteriors.mean)
                raw = model.decoders[target](latents)
                expected = unscaled(fitted, model.likelihood(target), target, number, model.likelihood(target).mean(raw))
                generated[source, target]["activity"].append(_windows(fitted, expected, target, values.shape[1]))
            if model.likelihood(source).scores_recorded():
                latent = sample(posteriors, torch.randn(posteriors.mean.shape, generator=generator))
                activity = model.likelihood(source).sample(model.decoders[source](latent), generator)
                generated[source, source]["drawn"].append(_windows(fitted, activity, source, values.shape[1]))
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs=dict(samples.attrs))}
    for source, chosen in rows.items():
        nodes[source] = _labels(samples[source].to_dataset(), chosen)
        for target in rows:
            nodes[f"{source}/{target}"] = _generated(samples, target, generated[source, target], kinds[target])
    return xr.DataTree.from_dict(nodes)


def impute_each(fitted: FittedStack, samples: xr.DataTree, splits: xr.DataTree) -> xr.DataTree:
    """Impute the test samples of every animal from all others, see :func:`neuromvm.inference.imputation.impute`.

    Each target has a node: ``mean (replica, tuple, bin, unit)`` of the first replica of each split, and what it was decoded
    from.
    """
    fitted = first_of_each_split(fitted)
    nodes = {
        target: impute(fitted, samples, splits, target, draws=IMPUTATION_DRAWS).drop_vars(["low", "high"])
        for target in (fitted.scalers if len(fitted.scalers) > 1 else ())
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(samples.attrs)), **nodes})


def first_of_each_split(fitted: FittedStack) -> FittedStack:
    """Return a stack of the first replica of each split that was trained on the data as they are."""
    index_of_split: dict[int, int] = {}
    for index, replica in enumerate(fitted.replicas):
        if not replica.is_null:
            index_of_split.setdefault(replica.split, index)
    return fitted.subset(list(index_of_split.values()))


def _rows(fitted: FittedStack, splits: xr.DataTree, name: str) -> Rows:
    part = splits[name]["part"].to_numpy()
    tested = [np.flatnonzero(schema.is_scored(part[replica.split])) for replica in fitted.replicas]
    counts = [len(trials) for trials in tested]
    numbers = np.repeat(np.arange(len(tested)), counts)
    split = np.repeat([replica.split for replica in fitted.replicas], counts)
    return Rows(numbers, split, np.concatenate(tested))


def _windows(fitted: FittedStack, values: Tensor, target: str, windows: int) -> Tensor:
    """Part ``(sample, feature)`` into ``(trial, window, bin, unit)``."""
    shape = fitted.windows[target]
    return values.reshape(-1, windows, shape.bins, shape.units)


def _labels(dataset: xr.Dataset, rows: Rows) -> xr.Dataset:
    """Return the labels of test trials, row by row."""
    return xr.Dataset(
        {
            key: (("row", "window"), dataset[key].to_numpy()[rows.trial], {"classes": dataset[key].attrs["classes"]})
            for key in ("label", "match")
        },
        coords={
            "window": dataset["window"],
            "replica": ("row", rows.replica),
            "split": ("row", rows.split),
            "trial": ("row", dataset["trial"].to_numpy()[rows.trial]),
        },
    )


def _generated(samples: xr.DataTree, target: str, values: dict[str, list[Tensor]], kind: str) -> xr.Dataset:
    dims = ("row", "window", "bin", "unit")
    return xr.Dataset(
        {variable: (dims, torch.cat(replicas).numpy()) for variable, replicas in values.items()},
        coords={"unit": samples[target]["unit"].to_numpy()} if "unit" in samples[target].coords else {},
        attrs={"kind": kind},
    )
