"""Nulls that refit: scaling, models, alignments and decoders are fitted again on data whose labels are broken.

Pairs are made by label, so a model, and any alignment, has seen the labels of its training trials: permuting those of test
trials alone does not say what such a fit gives on noise. Here activity is permuted among trials
(:mod:`neuromvm.data.permutation`), the same pipeline runs, and its scores are those of chance.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neuromvm.analysis.baselines.catalogue import BASELINES, baseline, require
from neuromvm.analysis.decoding.decoder_groups import SETTINGS
from neuromvm.analysis.decoding.decoding import LATENT_PENALTY, Options
from neuromvm.analysis.decoding.scoring import null_scores, shifted
from neuromvm.analysis.judged import check_judged
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents, Representation
from neuromvm.data.permutation import distinct_shifts, permuted
from neuromvm.schema import animals

if TYPE_CHECKING:
    from neuromvm.folders.study import Study

DECODING = "decoding"


def options(study: "Study") -> Options:
    """Return the options under which the table of a run was computed last."""
    return Options.model_validate(study.summary["analyses"][DECODING]["options"])


def rows(study: "Study") -> dict[str, bool]:
    """Return the baselines of a run's analysis ``decoding``, and whether each is refitted unless rows are named."""
    names = [str(name) for name in _scores(study)["representation"].values]
    return {name: BASELINES[name].default for name in names if name not in study.models}


def settings_of(study: "Study", name: str) -> list[str]:
    """Return the settings of a representation in each split, as JSON, under which it is refitted.

    SpecError if it needs a package that is not installed, RunFolderError if the scores were saved by an earlier version.
    """
    require([name])
    return [str(settings) for settings in _scores(study)["chosen"].sel(representation=name).values]


def score_latents(study: "Study", settings: Sequence[str], latents: xr.DataTree) -> xr.Dataset:
    """Decode ``latents (..., replica)`` of a model fitted to null data, with coordinate ``permutation (replica)``.

    ``settings`` are those of :func:`settings_of`. Return what :func:`neuromvm.analysis.decoding.scoring.null_scores` returns.
    """
    penalties = [json.loads(of_split)[LATENT_PENALTY] for of_split in settings]
    permutation = next(iter(latents.children.values()))["permutation"].to_numpy()
    predictions = decode(Latents(latents, study.splits, inverse_penalty=penalties), study.samples, study.splits)
    return null_scores(predictions, study.samples, permutation, null_kind(study))


def score_baseline(study: "Study", name: str, settings: Sequence[str], permutations: Sequence[int]) -> xr.Dataset:
    """Fit a baseline of :func:`rows` to null data of these numbers and decode it, as :func:`score_latents` does for a model."""
    table_options, nulls, scores = options(study), study.spec.nulls, []
    of_split = [table_options.model_copy(update=json.loads(chosen)) for chosen in settings]
    for number in permutations:
        null = Inputs(permuted(study.samples, number, within=nulls.within, rearrangement=nulls.rearrangement), study.splits)
        representation: Representation = baseline(name, null, of_split)
        predictions = decode(representation, study.samples, study.splits)
        numbers = np.full(len(representation.replicas), number)
        scores.append(null_scores(predictions, study.samples, numbers, null_kind(study)))
    return xr.concat(
        scores, dim="permutation", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override"
    )


def without_score(study: "Study", number: int) -> xr.Dataset:
    """Return NaN scores for a null data set on which fitting failed: it counts as reaching every score."""
    animals = list(study.samples.children)
    shape = (1, _scores(study).sizes["split"])
    values = {
        "value": (("permutation", "split", "setting", "target"), np.full((*shape, len(SETTINGS), len(animals)), np.nan)),
        "accuracy": (("permutation", "split", "source", "target"), np.full((*shape, len(animals), len(animals)), np.nan)),
    }
    coords = {"permutation": [number], "setting": list(SETTINGS), "source": animals, "target": animals}
    return xr.Dataset(values, coords, {"null_kind": null_kind(study)})


def null_kind(study: "Study") -> str:
    """Say in words what a refit null of a run is, and the smallest p where labels have few places to move to."""
    nulls = study.spec.nulls
    among = "all trials" if nulls.within is None else f"trials of the same {nulls.within}"
    if nulls.rearrangement == "permute":
        broken = f"labels permuted among {among} of each animal{shifted(study.samples)}"
    else:
        shifts = fewest_shifts(study)
        along = f"labels moved together along {among} of each animal, circularly in order of onset{shifted(study.samples)}"
        broken = f"{along} ({shifts} distinct shifts of the animal with fewest, p is at least {1 / (shifts + 1):.2g})"
    return f"refits: {broken}; all that is fitted is fitted anew, settings kept"


def fewest_shifts(study: "Study") -> int:
    """Return how many shifts along its session the animal with the fewest trials has; more refits would repeat them."""
    return min(distinct_shifts(name, node, study.spec.nulls.within) for name, node in animals(study.samples))


def _scores(study: "Study") -> xr.Dataset:
    scores = study.scores(DECODING)
    check_judged(scores, DECODING)
    return scores
