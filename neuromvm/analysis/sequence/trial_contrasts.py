"""Analysis ``trial_contrasts``: is a trial in or out of sequence, correct or not? And how well is the odor decoded on each type?

Each contrast is decoded with the other label held constant: in against out of sequence on correct trials, correct against
incorrect on in-sequence trials. An odor or position at which only one side of the contrast occurs (the first item is never out of
sequence) would reveal the side, so its trials are left out. Activity is permuted among trials of the same odor, so that the null
contains what the odor alone reveals.
"""

import json
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Counts, Score, score_of
from neuromvm.analysis.sequence.decoder import folds_of, share_correct, trial_orders
from neuromvm.analysis.sequence.means import ACTIVITY, NAN, Draws, Variable, balanced_mean, over_animals, resampled_mean, seeds
from neuromvm.analysis.sequence.trial_types import TRIAL_TYPES, TrialTypeOptions, odor_by_trial_type, trial_type_lines
from neuromvm.analysis.sequence.trials import (
    Animals,
    Codes,
    Mask,
    SequenceTrials,
    cut_sequence,
    read_trials,
    require_animals,
)

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

NAMES = {
    "in_sequence": "in against out of sequence, correct trials",
    "correct": "correct against incorrect, in-sequence trials",
}


class Options(TrialTypeOptions):
    """Contrasts, and how many trials they need."""

    contrasts: tuple[Literal["in_sequence", "correct"], ...] = ("in_sequence", "correct")
    within: Literal["odor", "position"] = Field("odor", description="Activity is permuted among trials that are alike in this")
    fewest: int = Field(10, ge=2, description="Trials that the rarer side of a contrast must have in an animal")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Contrast the trials of a run's recordings; see :func:`contrast`."""
    return contrast(cut_sequence(study.recordings, study.spec.samples, options), options)


def contrast(samples: xr.DataTree, options: Options | None = None) -> xr.Dataset:
    """Decode contrasts between trials, and the odor on each type of trial.

    Parameters
    ----------
    samples
        One window a trial, labels ``odor, position, in_sequence, correct``.
    options
        Contrasts, decoder and resampling.

    Returns
    -------
    ``value (contrast)``: balanced accuracy of the contrast on test trials, mean over animals, with ``low, high, null_mean,
    null_low, null_high, p``; ``pair_trials (contrast, animal, side)``; ``animal_value (contrast, animal)``, NaN where an animal
    has too few trials. ``odor_value (kind)``: share of test trials of a type of which the odor is decoded correctly, by decoders
    fitted on correct in-sequence training trials, with ``odor_low, odor_high, odor_null_mean, odor_null_low, odor_null_high,
    odor_p``; ``odor_difference, odor_difference_low, odor_difference_high (kind)`` to correct in-sequence test trials of the same
    odors; ``odor_trials (kind, animal)``. Attribute ``left_out``: contrasts, types and animals with reasons (JSON).

    Raises
    ------
    SplitError
        If no animal has enough trials for any contrast.
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
            "within": options.within,
            "fewest": options.fewest,
            "folds": options.folds,
            "permutations": options.permutations,
            "interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and side of the contrast",
            "odor_interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal",
            "floor": f"{options.permutations} permutations of activity among trials of the same {options.within} in each animal, "
            "scalers and decoders refitted",
            "odor_floor": f"{options.permutations} permutations of activity among the trials of each animal, "
            "scalers and decoders refitted",
            "left_out": json.dumps(left_out),
        },
    )


def pair_of(trials: SequenceTrials, contrast: str) -> tuple[Mask, Codes]:
    """Return the trials on which a contrast is decoded, ``(trial,)``, and the side of every trial, 0 or 1.

    The other label is held constant, and odors and positions that have only one side are removed until every one has both.
    """
    if contrast == "in_sequence":
        used, side = trials.correct.copy(), trials.in_sequence
    else:
        used, side = trials.in_sequence.copy(), trials.correct
    before = -1
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
