"""Nulls that refit: scaling, models, alignments and decoders are fitted again on data whose labels are broken.

Pairs are made by label, so a model, and any alignment, has seen the labels of its training trials: permuting those of test
trials alone does not say what such a fit gives on noise. For the null ``labels`` activity is permuted among trials
(:mod:`neuromvm.data.permutation`), the same pipeline runs, and its scores are those of chance. For the null ``scrambled
correspondence`` each animal keeps what its trials tell, and only the names of conditions are exchanged between animals
(:mod:`neuromvm.data.correspondence`), on both sides of a split.
"""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neuromvm.analysis.baselines.catalogue import BASELINES, baseline, require
from neuromvm.analysis.decoding.decoder_groups import SETTINGS
from neuromvm.analysis.decoding.decoding import LATENT_PENALTY, Options
from neuromvm.analysis.decoding.scoring import null_scores, shifted
from neuromvm.analysis.judged import ALL_ANIMALS, LABELS, check_judged, value_of
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents, Representation
from neuromvm.data.correspondence import CORRESPONDENCE, exchanged, exchanged_splits
from neuromvm.data.permutation import distinct_shifts, permuted
from neuromvm.schema import animals

if TYPE_CHECKING:
    from neuromvm.folders.study import Study

DECODING = "decoding"
NUMBER = {LABELS: "permutation", CORRESPONDENCE: "exchange"}  # null -> the field of a replica that numbers its null data
EXCHANGED_KIND = (
    "refits: the names of the conditions exchanged within each animal, independently of other animals; all that is fitted is "
    "fitted anew, settings kept"
)


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


def reads_others(study: "Study", name: str) -> bool:
    """Say whether a row of the table has decoders of other animals; if not, it has no correspondence to lose."""
    cross = _scores(study)["score"].sel(representation=name, setting="cross", target=ALL_ANIMALS)
    return bool(np.isfinite(value_of(cross)))


def answers(study: "Study", null: str, number: int) -> tuple[xr.DataTree, xr.DataTree]:
    """Return the samples and splits by which a null data set is scored: names of conditions may have been exchanged."""
    if null != CORRESPONDENCE:
        return study.samples, study.splits
    renamed = exchanged(study.samples, number)
    return renamed, exchanged_splits(renamed, study.splits)


def score_latents(study: "Study", settings: Sequence[str], latents: xr.DataTree, null: str = LABELS) -> xr.Dataset:
    """Decode ``latents (..., replica)`` of a model fitted to null data, numbered by the coordinate of the null along ``replica``.

    ``settings`` are those of :func:`settings_of`. Return what :func:`neuromvm.analysis.decoding.scoring.null_scores` returns.
    """
    penalties = [json.loads(of_split)[LATENT_PENALTY] for of_split in settings]
    scores = []
    for number, of_number in by_number(latents, null):
        samples, splits = answers(study, null, number)
        predictions = decode(Latents(of_number, splits, inverse_penalty=penalties), samples, splits)
        scores.append(_scored(study, predictions, samples, number, null))
    return _joined(scores)


def by_number(latents: xr.DataTree, null: str) -> Iterator[tuple[int, xr.DataTree]]:
    """Yield the number of each null data set and its latents."""
    numbers = next(iter(latents.children.values()))[NUMBER[null]].to_numpy()
    for number in np.unique(numbers):
        nodes = {name: node.to_dataset().isel(replica=numbers == number) for name, node in latents.children.items()}
        yield int(number), xr.DataTree.from_dict({"/": latents.to_dataset(), **nodes})


def score_baseline(study: "Study", name: str, settings: Sequence[str], numbers: Sequence[int], null: str = LABELS) -> xr.Dataset:
    """Fit a baseline of :func:`rows` to null data of these numbers and decode it, as :func:`score_latents` does for a model."""
    table_options, nulls, scores = options(study), study.spec.nulls, []
    of_split = [table_options.model_copy(update=json.loads(chosen)) for chosen in settings]
    for number in numbers:
        samples, splits = answers(study, null, number)
        fitted = samples
        if null == LABELS:
            fitted = permuted(samples, number, within=nulls.within, rearrangement=nulls.rearrangement)
        representation: Representation = baseline(name, Inputs(fitted, splits), of_split)
        scores.append(_scored(study, decode(representation, samples, splits), samples, number, null))
    return _joined(scores)


def _scored(study: "Study", predictions: xr.DataTree, samples: xr.DataTree, number: int, null: str) -> xr.Dataset:
    replicas = next(iter(predictions.children.values())).sizes["replica"]
    return null_scores(predictions, samples, np.full(replicas, number), null_kind(study, null))


def _joined(scores: Sequence[xr.Dataset]) -> xr.Dataset:
    return xr.concat(
        scores, dim="permutation", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override"
    )


def without_score(study: "Study", number: int, null: str = LABELS) -> xr.Dataset:
    """Return NaN scores for a null data set on which fitting failed: it counts as reaching every score."""
    animals = list(study.samples.children)
    shape = (1, _scores(study).sizes["split"])
    values = {
        "value": (("permutation", "split", "setting", "target"), np.full((*shape, len(SETTINGS), len(animals)), np.nan)),
        "accuracy": (("permutation", "split", "source", "target"), np.full((*shape, len(animals), len(animals)), np.nan)),
    }
    coords = {"permutation": [number], "setting": list(SETTINGS), "source": animals, "target": animals}
    return xr.Dataset(values, coords, {"null_kind": null_kind(study, null)})


def null_kind(study: "Study", null: str = LABELS) -> str:
    """Say in words what a refit null of a run is, and the smallest p where labels have few places to move to."""
    if null == CORRESPONDENCE:
        return f"{EXCHANGED_KIND}; p of within - cross says how often as little or less is lost"
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
