"""Nulls that refit: everything that is fitted, from scaling to decoders, is fitted again on data whose labels are broken.

Pairs are made by label, so a model, and any alignment, has seen the labels of its training trials: permuting those of test
trials alone does not say what such a fit gives on noise. Here activity is carried to other trials
(:mod:`neuromvm.data.permutation`), the same pipeline runs, and its scores are those of chance.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from analysis.baselines.rows import baseline
from analysis.decoders import decode
from analysis.decoding import LATENT_PENALTY, Options
from analysis.representations import Inputs, Latents, Representation
from analysis.scoring import null_scores
from neuromvm.data.permutation import permuted

if TYPE_CHECKING:
    from neuromvm.runs import Study

DECODING = "decoding"


def rows(study: "Study") -> list[str]:
    """Return the baselines of a run's analysis ``decoding`` that its data allow."""
    return [str(name) for name in study.scores(DECODING)["representation"].values if name not in study.models]


def settings(study: "Study", name: str) -> list[str]:
    """Return the settings that a row of the table had in each split, as JSON: those under which it is refitted."""
    return [str(one) for one in study.scores(DECODING)["chosen"].sel(representation=name).values]


def score_latents(study: "Study", model: str, latents: xr.DataTree, within: str | None) -> xr.Dataset:
    """Decode latents of a model fitted to null data; :func:`analysis.scoring.null_scores` says what is returned.

    Parameters
    ----------
    study
        The run.
    model
        One of its models.
    latents
        Of :func:`neuromvm.refits.refit`, with coordinate ``permutation (replica)``.
    within
        Trial label within which activity was permuted.
    """
    penalties = [json.loads(one)[LATENT_PENALTY] for one in settings(study, model)]
    first = next(iter(latents.children.values()))
    predictions = decode(Latents(latents, study.splits, inverse_penalty=penalties), study.samples, study.splits)
    return null_scores(predictions, study.samples, first["permutation"].to_numpy(), null_kind(within))


def score_baseline(study: "Study", name: str, permutations: Sequence[int], within: str | None) -> xr.Dataset:
    """Fit a baseline to null data, and decode it.

    Parameters
    ----------
    study, within
        As above.
    name
        One of :func:`rows`.
    permutations
        Numbers of the null data.
    """
    given = Options.model_validate(study.spec.analyses.get(DECODING, {}))
    options = [given.model_copy(update=json.loads(one)) for one in settings(study, name)]
    found = []
    for number in permutations:
        representation: Representation = baseline(
            name, Inputs(permuted(study.samples, number, within=within), study.splits), options
        )
        predictions = decode(representation, study.samples, study.splits)
        replicas = len(representation.replicas)
        found.append(null_scores(predictions, study.samples, np.full(replicas, number), null_kind(within)))
    return xr.concat(found, dim="permutation", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")


def null_kind(within: str | None) -> str:
    """Say in words what a refit null is.

    Examples
    --------
    >>> null_kind("block")
    'refits: labels permuted among trials of the same block of each animal; all that is fitted is fitted anew, settings kept'
    """
    among = "all trials" if within is None else f"trials of the same {within}"
    return f"refits: labels permuted among {among} of each animal; all that is fitted is fitted anew, settings kept"
