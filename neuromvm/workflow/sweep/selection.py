"""Choosing settings without the test trials: for every split the cell that is best on inner folds of its training side.

The score of what is chosen is that of a procedure, settings and training together: in every split, the decoders and latents of
the cell chosen there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding.decoding import Options, compare
from neuromvm.analysis.decoding.scoring import Resampling, score
from neuromvm.analysis.pipeline import options_of
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Latents
from neuromvm.errors import SpecError

Floats = NDArray[np.floating]


def inner_scores(
    samples: xr.DataTree, inner: xr.DataTree, latents: Mapping[str, xr.DataTree], metric: str, decoding: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Score models on inner test trials.

    Parameters
    ----------
    samples
        All samples; those that are unused in ``inner`` are neither fitted nor scored.
    inner
        Of :func:`neuromvm.data.inner_splits.inner_splits`.
    latents
        Model -> latents of models trained on the inner splits.
    metric
        Setting of :mod:`neuromvm.analysis.decoding.scoring` whose balanced accuracy counts.
    decoding
        Options of the analysis decoding, for its decoders of latents.

    Returns
    -------
    Model -> mean over inner folds, for each outer split.

    Raises
    ------
    SpecError
        If the metric cannot be had: ``cross`` and ``others`` need two animals.

    Examples
    --------
    >>> inner_scores(samples, inner, {"mmvm": fitted.embed(samples)}, "cross", {})  # doctest: +SKIP
    {'mmvm': [0.52, 0.49]}
    """
    options = _options(decoding)
    predictions = {
        name: decode(Latents(tree, inner, inverse_penalty=options.latent_inverse_penalty), samples, inner)
        for name, tree in latents.items()
    }
    scored = score(predictions, samples, Resampling(bootstraps=2, permutations=0), reference="")
    values = scored["split_value"].sel(setting=metric)
    if not np.isfinite(values).all():
        raise SpecError("select.metric", found=f"no {metric!r} score on every inner fold", next_step="Set select.metric=within")
    outer = next(iter(inner.children.values()))["outer"].to_numpy()
    means = values.groupby(xr.DataArray(outer, dims="split", name="outer")).mean()
    return {name: means.sel(representation=name).to_numpy().tolist() for name in latents}


def choose(inner: Floats) -> NDArray[np.intp]:
    """Return the number of the best cell for each split; the first of equals, -1 where no cell has a score.

    Parameters
    ----------
    inner
        Inner scores ``(cell, split)``, NaN where a cell has none.

    Examples
    --------
    >>> choose(np.array([[0.4, 0.5], [0.6, np.nan]]))
    array([1, 0])
    """
    best = np.where(np.isnan(inner), -np.inf, inner).argmax(axis=0)
    return np.where(np.isnan(inner).all(axis=0), -1, best)


def selected_scores(
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Mapping[str, Sequence[xr.DataTree]],
    decoding: Mapping[str, Any],
) -> xr.Dataset:
    """Score models whose settings were chosen for each split, with the intervals, floors and baselines of the analysis decoding.

    Parameters
    ----------
    samples, splits
        The samples and the outer splits, which all cells share.
    latents
        Model -> latents of the cell that is chosen for each split, in the order of the splits.
    decoding
        Options of the analysis decoding.

    Returns
    -------
    See :func:`neuromvm.analysis.decoding.scoring.score`.
    """
    return compare(samples, splits, {name: joined(chosen) for name, chosen in latents.items()}, _options(decoding))


def joined(chosen: Sequence[xr.DataTree]) -> xr.DataTree:
    """Return the latents of each split from the tree that is given for it.

    Where trees differ in their number of latents, those that are missing are zeros, which no decoder sees; private latents are
    left out.

    Parameters
    ----------
    chosen
        Trees of latents, the i-th for split i; each holds replicas of all splits.
    """
    nodes = {}
    for name in chosen[0].children:
        of_split = [_shared(tree[name].to_dataset()) for tree in chosen]
        own = [node.isel(replica=node["split"].to_numpy() == split) for split, node in enumerate(of_split)]
        width = max(node.sizes["latent"] for node in own)
        means = [
            np.pad(node["latent_mean"].to_numpy(), [(0, 0)] * 3 + [(0, width - node.sizes["latent"])])
            for node in (one.transpose("replica", "trial", "window", "latent") for one in own)
        ]
        coords = {"split": ("replica", np.concatenate([node["split"].to_numpy() for node in own])), "window": own[0]["window"]}
        dims = ("replica", "trial", "window", "latent")
        nodes[name] = xr.DataTree(xr.Dataset({"latent_mean": (dims, np.concatenate(means))}, coords=coords))
    return xr.DataTree(children=nodes)


def _shared(node: xr.Dataset) -> xr.Dataset:
    node = node[["latent_mean"]]
    return node.isel(latent=node["shared"].to_numpy()) if "shared" in node.coords else node


def _options(decoding: Mapping[str, Any]) -> Options:
    _, options = options_of("decoding", decoding)
    assert isinstance(options, Options)
    return options
