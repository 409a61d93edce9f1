"""Selection of settings without test trials: for every split, the cell that is best on inner folds of its training side.

The selected score is that of the whole procedure: in every split, decoders and latents of the cell chosen in that split.
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
    """Return model -> balanced accuracy of the setting ``metric``, its mean over inner folds for each outer split.

    Latents are of models trained on the splits of :func:`neuromvm.data.splits.inner_splits`, decoders those of the options
    ``decoding``. Raises SpecError if the metric does not exist: ``cross`` and ``others`` need two animals.
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
    """Return the number of the best cell for each split, the lowest one of equals, or -1 if no cell has a score.

    Inner scores are ``(cell, split)``, NaN where a cell has none.

    >>> choose(np.array([[0.4, 0.5], [0.6, np.nan]]))
    array([1, 0])
    """
    best = np.where(np.isnan(inner), -np.inf, inner).argmax(axis=0)
    return np.where(np.isnan(inner).all(axis=0), -1, best)


def selected_scores(
    samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, Sequence[xr.DataTree]], decoding: Mapping[str, Any]
) -> xr.Dataset:
    """Score models whose settings were chosen for each split, see :func:`neuromvm.analysis.decoding.scoring.score`.

    ``latents`` are those of the cell chosen for each split, by model and in the order of the (outer) splits.
    """
    return compare(samples, splits, {name: joined(chosen) for name, chosen in latents.items()}, _options(decoding))


def joined(chosen: Sequence[xr.DataTree]) -> xr.DataTree:
    """Return the latents of split i from the i-th tree (replicas of all splits), without private latents.

    If trees differ in their number of latents, missing ones are zeros, which do not affect decoders.
    """
    dims = ("replica", "trial", "window", "latent")
    nodes = {}
    for name in chosen[0].children:
        of_split = []
        for split, tree in enumerate(chosen):
            mean = tree[name].to_dataset()["latent_mean"].transpose(*dims)
            mean = mean.isel(latent=mean["shared"].to_numpy()) if "shared" in mean.coords else mean
            of_split.append(mean.isel(replica=mean["split"].to_numpy() == split))
        width = max(mean.sizes["latent"] for mean in of_split)
        means = [mean.pad(latent=(0, width - mean.sizes["latent"]), constant_values=0).to_numpy() for mean in of_split]
        splits = np.concatenate([mean["split"].to_numpy() for mean in of_split])
        coords = {"split": ("replica", splits), "window": of_split[0]["window"]}
        nodes[name] = xr.DataTree(xr.Dataset({"latent_mean": (dims, np.concatenate(means))}, coords=coords))
    return xr.DataTree(children=nodes)


def _options(decoding: Mapping[str, Any]) -> Options:
    _, options = options_of("decoding", decoding)
    assert isinstance(options, Options)
    return options
