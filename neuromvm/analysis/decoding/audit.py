"""Test whether scores of data without signal stay at chance."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from scipy import stats

from neuromvm.analysis.decoding.decoding import Options, predict
from neuromvm.analysis.decoding.scoring import null_scores
from neuromvm.specs import ExperimentSpec

SAME = 1e-6  # scores are sums of 32-bit numbers
LEVEL = 0.01  # family-wise, over all scores of an audit


def scores_without_signal(
    spec: ExperimentSpec, samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, xr.DataTree]
) -> xr.Dataset:
    """Score models and baselines as the analysis ``decoding`` of the experiment would, on samples without signal.

    Return ``value, chance (representation, setting)``, balanced accuracy averaged over splits and targets.
    """
    options = Options.model_validate(spec.analyses.get("decoding", {}))
    predictions, _, _ = predict(samples, splits, latents, options)
    scores = []
    for tree in predictions.values():
        replicas = next(iter(tree.children.values())).sizes["replica"]
        by_target = null_scores(tree, samples, np.zeros(replicas, dtype=int), "").isel(permutation=0, drop=True)
        scores.append(by_target[["value", "chance"]].mean(["split", "target"]))
    return xr.concat(scores, dim=xr.DataArray(list(predictions), dims="representation"))


def verdicts(drawn: xr.Dataset) -> xr.Dataset:
    """Compare scores on data without signal, ``value, chance (kind, draw, representation, setting)``, with chance.

    Return ``mean, chance, low, high, p, fails (kind, representation, setting)``: the mean over draws with its 95 % t interval, p
    of a one-sided t test against chance, and whether it is below .01, corrected over all scores (Holm 1979). The expected
    balanced accuracy of predictions that know nothing of the label is 1 / classes, however they are distributed.
    """
    value, chance = drawn["value"], drawn["chance"].mean("draw")
    draws = drawn.sizes["draw"]
    error = value.std("draw", ddof=1) / np.sqrt(draws)
    mean = value.mean("draw")
    reach = stats.t.ppf(0.975, draws - 1) * error
    above = mean - chance
    p = above.copy(data=stats.t.sf(above / error.where(error > SAME), draws - 1))
    # Draws that are all alike leave chance, or they do not.
    p = p.where(error > SAME, (above <= SAME).astype(float)).where(above > SAME, np.maximum(p, 0.5)).where(mean.notnull())
    return xr.Dataset(
        {
            "mean": mean,
            "chance": chance,
            "low": mean - reach,
            "high": mean + reach,
            "p": p,
            "fails": (p.dims, _holm(p.to_numpy()) < LEVEL),
        },
        attrs={"draws": draws},
    )


def _holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values of one-sided tests over all of them (Holm 1979); NaN stays NaN."""
    flat = p.ravel()
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known])]
    corrected = np.full(flat.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(flat[order] * np.arange(len(order), 0, -1)), 1)
    return corrected.reshape(p.shape)
