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

from neuromvm.analysis.baselines.catalogue import BASELINES, baseline, require
from neuromvm.analysis.decoding.decoding import LATENT_PENALTY, Options
from neuromvm.analysis.decoding.scoring import null_scores, shifted
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents, Representation
from neuromvm.data.permutation import permuted

if TYPE_CHECKING:
    from neuromvm.folders.study import Study

DECODING = "decoding"


def options(study: "Study") -> Options:
    """Return the options under which the table of a run was computed last."""
    return Options.model_validate(study.summary["analyses"][DECODING]["options"])


def rows(study: "Study") -> dict[str, bool]:
    """Return the baselines of a run's analysis ``decoding`` that its data allow, and whether each is refitted unasked."""
    names = [str(name) for name in study.scores(DECODING)["representation"].values]
    return {name: BASELINES[name].require is None for name in names if name not in study.models}


def settings_of(study: "Study", name: str) -> list[str]:
    """Return the settings that a row of the table had in each split, as JSON: those under which it is refitted.

    Raises
    ------
    SpecError
        If the row needs a package that is not installed.
    """
    require([name])
    return [str(one) for one in study.scores(DECODING)["chosen"].sel(representation=name).values]


def score_latents(study: "Study", settings: Sequence[str], latents: xr.DataTree, within: str | None) -> xr.Dataset:
    """Decode latents of a model fitted to null data; :func:`neuromvm.analysis.decoding.scoring.null_scores` says what is
    returned.

    Parameters
    ----------
    study
        The run.
    settings
        Those of the model, of :func:`settings_of`.
    latents
        Of :func:`neuromvm.workflow.refits.refit`, with coordinate ``permutation (replica)``.
    within
        Trial label within which activity was permuted.
    """
    penalties = [json.loads(one)[LATENT_PENALTY] for one in settings]
    first = next(iter(latents.children.values()))
    predictions = decode(Latents(latents, study.splits, inverse_penalty=penalties), study.samples, study.splits)
    return null_scores(predictions, study.samples, first["permutation"].to_numpy(), null_kind(study, within))


def score_baseline(
    study: "Study", name: str, settings: Sequence[str], permutations: Sequence[int], within: str | None
) -> xr.Dataset:
    """Fit a baseline to null data, and decode it.

    Parameters
    ----------
    study, within
        As above.
    name, settings
        One of :func:`rows`, and its own.
    permutations
        Numbers of the null data.
    """
    given, found = options(study), []
    of_split = [given.model_copy(update=json.loads(one)) for one in settings]
    for number in permutations:
        null = Inputs(permuted(study.samples, number, within=within), study.splits)
        representation: Representation = baseline(name, null, of_split)
        predictions = decode(representation, study.samples, study.splits)
        numbers = np.full(len(representation.replicas), number)
        found.append(null_scores(predictions, study.samples, numbers, null_kind(study, within)))
    return xr.concat(found, dim="permutation", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")


def without_score(study: "Study", number: int, within: str | None) -> xr.Dataset:
    """Return what stands for a null data set on which nothing could be fitted: it counts as reaching every score."""
    table = study.scores(DECODING)
    sizes = {"permutation": 1, **table.sizes}
    dims = {"value": ("permutation", "split", "setting", "target"), "accuracy": ("permutation", "split", "source", "target")}
    values = {key: (names, np.full([sizes[name] for name in names], np.nan)) for key, names in dims.items()}
    coords = {name: table[name].to_numpy() for name in ("setting", "source", "target")}
    return xr.Dataset(values, {"permutation": [number], **coords}, {"null_kind": null_kind(study, within)})


def null_kind(study: "Study", within: str | None) -> str:
    """Say in words what a refit null of a run is."""
    among = "all trials" if within is None else f"trials of the same {within}"
    permuted_labels = f"labels permuted among {among} of each animal{shifted(study.samples)}"
    return f"refits: {permuted_labels}; all that is fitted is fitted anew, settings kept"
