"""Analysis ``trial_contrasts``: is a trial in or out of sequence, correct or not? And how well is the odor decoded on each type?

Each contrast is decoded with the other label held constant: in against out of sequence on correct trials, correct against
incorrect on in-sequence trials. An odor or position at which only one side of the contrast occurs (the first item is never out of
sequence) would reveal the side, so its trials are left out. Activity is permuted among trials of the same odor, so that the null
contains what the odor alone reveals.
"""

import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Absent, Counts, Difference, Score, saved_interval, score_of
from neuromvm.analysis.sequence.decoder import REFITTED, folds_of, rarest_odor, share_correct, trial_orders
from neuromvm.analysis.sequence.means import ACTIVITY, NAN, Draws, Variable, balanced_mean, over_animals, resampled_mean, seeds
from neuromvm.analysis.sequence.trials import (
    Animals,
    Codes,
    DecoderOptions,
    Mask,
    SequenceTrials,
    cut_sequence,
    read_trials,
    require_animals,
)

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

TRIAL_TYPES = ("in sequence, correct", "in sequence, incorrect", "out of sequence, correct", "out of sequence, incorrect")
NAMES = {"in_sequence": "in against out of sequence, correct trials", "correct": "correct against incorrect, in-sequence trials"}


class Options(DecoderOptions):
    """Contrasts, the decoder of the odor, and how many trials they need."""

    fewest_tested: int = Field(5, ge=2, description="Trials of a kind on which an animal's odor decoder is scored")
    contrasts: tuple[Literal["in_sequence", "correct"], ...] = ("in_sequence", "correct")
    within: Literal["odor", "position"] = Field("odor", description="Activity is permuted among trials that are alike in this")
    fewest: int = Field(10, ge=2, description="Trials that the rarer side of a contrast must have in an animal")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Contrast the trials of a run's recordings; see :func:`contrast`."""
    return contrast(cut_sequence(study.recordings, study.spec.samples, options), options)


def contrast(samples: xr.DataTree, options: Options | None = None) -> xr.Dataset:
    """Decode contrasts between trials, and the odor on each type of trial.

    ``samples`` have one window a trial and the labels ``odor, position, in_sequence, correct``.

    Returns
    -------
    ``value (contrast)``: balanced accuracy of the contrast on test trials, mean over animals, with ``low, high, null_mean,
    null_low, null_high, p``; ``pair_trials (contrast, animal, side)``; ``animal_value (contrast, animal)``, NaN where an animal
    has too few trials. ``odor_value (kind)``: share of test trials of a type of which the odor is decoded correctly, by decoders
    fitted on correct in-sequence training trials, with ``odor_low, odor_high, odor_null_mean, odor_null_low, odor_null_high,
    odor_p``; ``odor_difference, odor_difference_low, odor_difference_high (kind)`` to correct in-sequence test trials of the same
    odors; ``odor_trials (kind, animal)``. Attribute ``left_out``: contrasts, types and animals with reasons (JSON). SplitError is
    raised if no animal has enough trials for any contrast.
    """
    options = options or Options()
    animals = read_trials(samples)
    left_out: dict[str, str] = {}
    variables = _contrasts(animals, options, left_out)
    scored = int(np.isfinite(variables["animal_value"][1]).sum())
    require_animals("trial_contrasts", scored, left_out, "Lower 'fewest', or record more trials")
    return xr.Dataset(
        {**variables, **odor_by_trial_type(animals, options, left_out)},
        coords={
            "contrast": list(options.contrasts),
            "kind": list(TRIAL_TYPES),
            "animal": list(animals.samples.children),
            "side": ["rejected", "asserted"],
        },
        attrs={
            "chance": 0.5,
            "odor_chance": 1 / len(animals.sequence),
            **{key: getattr(options, key) for key in ("within", "fewest", "folds", "permutations")},
            "interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and side of the contrast",
            "odor_interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal",
            "floor": f"{options.permutations} permutations of activity among trials of the same {options.within} in each animal, "
            "scalers and decoders refitted",
            "odor_floor": f"{options.permutations} {REFITTED}",
            "left_out": json.dumps(left_out),
        },
    )


def pair_of(trials: SequenceTrials, contrast: str) -> tuple[Mask, Codes]:
    """Return the trials on which a contrast is decoded, ``(trial,)``, and the side of every trial, 0 or 1.

    The other label is held constant, and odors and positions that have only one side are removed until every one has both.
    """
    held, side = (trials.correct, trials.in_sequence) if contrast == "in_sequence" else (trials.in_sequence, trials.correct)
    used, before = held.copy(), -1
    while before != used.sum():
        before = int(used.sum())
        for codes in (trials.odor, trials.position):
            for code in np.unique(codes[used]):
                members = used & (codes == code)
                if len(np.unique(side[members])) < 2:
                    used &= ~members
    return used, side.astype(np.intp)


def _contrasts(animals: Animals, options: Options, left_out: dict[str, str]) -> dict[str, Variable]:
    """Decode each contrast."""
    summaries, values, counts = [], [], []
    needed = max(options.fewest, options.folds)
    for name in options.contrasts:
        draws: dict[str, Draws] = {}
        for animal, dataset in schema.animals(animals.samples):
            used, side = pair_of(animals.trials[animal], name)
            side = side[used]
            sides = np.bincount(side, minlength=2)
            counts.append(sides)
            if sides.min() < needed:
                left_out[f"{NAMES[name]}, {animal}"] = f"{sides.min()} trials of the rarer side, {needed} needed"
            else:
                window = animals.activity(animal)[used]
                draws[animal] = _decode_contrast(animal, dataset.isel(trial=used), window, side, options)
        summaries.append(over_animals(list(draws.values()) or [Draws.missing()]))
        values.append([float(draws[animal].observed) if animal in draws else NAN for animal in animals.samples.children])
    shape = (len(options.contrasts), len(animals.trials), 2)
    return {
        **{key: (("contrast",), np.array([float(row[key]) for row in summaries])) for key in summaries[0]},
        "animal_value": (("contrast", "animal"), np.array(values)),
        "pair_trials": (("contrast", "animal", "side"), np.array(counts).reshape(shape)),
    }


def _decode_contrast(name: str, dataset: xr.Dataset, window: Floats, side: Codes, options: Options) -> Draws:
    fitted = np.ones(len(side), dtype=bool)
    parts = folds_of(name, dataset, side, fitted, options.split)
    observed, *null = (
        share_correct(window[order], side, fitted, parts, options.inverse_penalty)
        for order in trial_orders(name, dataset, options.permutations, options.within)
    )
    return Draws(
        balanced_mean(observed, side),
        resampled_mean(observed, side, options.bootstraps, seeds(options.seed, name)),
        np.array([balanced_mean(values, side) for values in null]),
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each contrast, and one for the odor on each type of trial."""
    lines, attrs = [], scores.attrs
    for name in scores["contrast"].values:
        selected = scores.sel(contrast=name)
        scored = np.isfinite(selected["animal_value"])
        if not scored.any():
            continue
        trials = int(selected["pair_trials"].where(scored).sum())
        n = Counts(int(scored.sum()), trials, 1, int(scores.attrs["folds"]))
        named = {"what": "balanced accuracy", "representation": "raw", "setting": NAMES[str(name)]}
        parts = {"n": n, "resampled": attrs["interval"], "chance": float(attrs["chance"]), "difference": ACTIVITY}
        lines.append(score_of(selected, attrs["floor"], attrs["permutations"], {**named, **parts}))
    return lines + trial_type_lines(scores)


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the contrasts, and the odor on each type of trial."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"contrasts": figures.contrasts(scores)}


def odor_by_trial_type(animals: Animals, options: Options, left_out: dict[str, str]) -> dict[str, Variable]:
    """Score the decoder of the odor of every animal; ``left_out`` takes the reasons where there are too few trials."""
    shares: dict[str, list[Draws]] = {trial_type: [] for trial_type in TRIAL_TYPES}
    differences: dict[str, list[Draws]] = {trial_type: [] for trial_type in TRIAL_TYPES}
    counts = np.zeros((len(TRIAL_TYPES), len(animals.trials)), dtype=np.intp)
    for column, (name, dataset) in enumerate(schema.animals(animals.samples)):
        trials = animals.trials[name]
        rarest = rarest_odor(trials.odor[trials.reference], len(animals.sequence))
        if rarest < options.folds:
            left_out[f"odor, {name}"] = f"{rarest} correct in-sequence trials of an odor, {options.folds} needed"
            continue
        parts, window = folds_of(name, dataset, trials.odor, trials.reference, options.split), animals.activity(name)
        correct, *null = (
            share_correct(window[order], trials.odor, trials.reference, parts, options.inverse_penalty)
            for order in trial_orders(name, dataset, options.permutations)
        )
        sides = ((label, ~label) for label in (trials.in_sequence, trials.correct))
        for row, (trial_type, (sequence, response)) in enumerate(zip(TRIAL_TYPES, itertools.product(*sides), strict=True)):
            members = sequence & response
            count = int(members.sum())
            if count < options.fewest_tested:
                left_out[f"odor on trials {trial_type}, {name}"] = f"{count} trials, {options.fewest_tested} needed"
                continue
            counts[row, column] = count
            # The mean over trials: with one or two trials of an odor, a mean over odors would have no interval.
            resampled = _resampled_mean(correct[members], options, name, row)
            share = Draws(correct[members].mean(), resampled, np.stack(null)[:, members].mean(axis=1))
            reference, reference_draws = _reference_share(correct, trials, members, name, options)
            shares[trial_type].append(share)
            differences[trial_type].append(Draws(share.observed - reference, resampled - reference_draws, share.null))
    differences[TRIAL_TYPES[0]] = []  # the reference of the other types
    return {"odor_trials": (("kind", "animal"), counts), **_odor_variables(shares, differences)}


def _odor_variables(shares: Mapping[str, list[Draws]], differences: Mapping[str, list[Draws]]) -> dict[str, Variable]:
    """Average over animals the shares of each trial type and their differences to the first type."""
    summaries, compared = ([over_animals(draws or [Draws.missing()]) for draws in by.values()] for by in (shares, differences))
    variables: dict[str, Variable] = {
        f"odor_{key}": (("kind",), np.array([float(row[key]) for row in summaries])) for key in summaries[0]
    }
    names = {"odor_difference": "value", "odor_difference_low": "low", "odor_difference_high": "high"}
    return variables | {name: (("kind",), np.array([float(row[key]) for row in compared])) for name, key in names.items()}


def _resampled_mean(values: Floats, options: Options, name: str, *seed: int) -> Floats:
    """Return bootstrap draws of the mean over trials, ``(draw,)``."""
    return resampled_mean(values, np.zeros(len(values), np.intp), options.bootstraps, [*seeds(options.seed, name), *seed])


def _reference_share(
    correct: Floats, trials: SequenceTrials, members: Mask, name: str, options: Options
) -> tuple[Floats, Floats]:
    """Return the share decoded correctly of reference trials, odors weighted as among ``members (trial,)``, and its draws."""
    observed, draws = np.zeros(()), np.zeros(options.bootstraps)
    for odor in np.unique(trials.odor[members]):
        values = correct[trials.reference & (trials.odor == odor)]
        weight = np.mean(trials.odor[members] == odor)
        observed = observed + weight * values.mean()
        draws = draws + weight * _resampled_mean(values, options, name, len(TRIAL_TYPES), int(odor))
    return observed, draws


def trial_type_lines(scores: xr.Dataset) -> list[Score]:
    """Return a line for each type of trial that could be scored."""
    lines, attrs = [], scores.attrs
    for trial_type in scores["kind"].values:
        selected = scores.sel(kind=trial_type)
        if not np.isfinite(selected["odor_value"]):
            continue
        label = "odor = position (confounded)" if str(trial_type).startswith("in ") else "odor"
        difference: Difference | Absent = Absent("the other kinds are compared with this one")
        if np.isfinite(selected["odor_difference"]):
            interval = saved_interval(selected, "odor_difference_")
            difference = Difference(f"{TRIAL_TYPES[0]}, same odors", float(selected["odor_difference"]), interval)
        trials = selected["odor_trials"]
        n = Counts(int((trials > 0).sum()), int(trials.sum()), 1, int(attrs["folds"]))
        title = f"share of trials read rightly; decoded: {label}"
        named = {"what": title, "representation": "raw", "setting": str(trial_type), "n": n}
        parts = {"resampled": attrs["odor_interval"], "chance": float(attrs["odor_chance"]), "difference": difference}
        lines.append(score_of(selected, attrs["odor_floor"], attrs["permutations"], {**named, **parts}, prefix="odor_"))
    return lines
