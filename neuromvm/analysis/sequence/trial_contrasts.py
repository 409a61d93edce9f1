"""Analysis ``trial_contrasts``: is a trial in or out of sequence, correct or not? And how is the odor read on each kind?

Each contrast is decoded with the other held constant: in against out of sequence on correct trials, correct against incorrect on
in-sequence trials. An odor and a position at which only one side of the contrast occurs (the first item is never out of sequence)
would give it away: their trials are left out, and activity is permuted among trials of the same odor, so that what the odor alone
tells is in the floor.
"""

import json
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.flat_score import NAN, Score
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.decoder import folds_of, read_rightly
from neuromvm.analysis.sequence.means import Draws, balanced_mean, line_of, over_animals, resampled_mean, seeds
from neuromvm.analysis.sequence.trial_types import KINDS, KindOptions, kind_lines, odor_by_kind
from neuromvm.analysis.sequence.trials import (
    Animals,
    SequenceTrials,
    cut_sequence,
    read_trials,
    refuse_without_animals,
)
from neuromvm.data.features import features
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.windows import sample_spec
from neuromvm.specs import SplitSpec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

Codes = NDArray[np.intp]
Trials = NDArray[np.bool_]
NAMES = {
    "in_sequence": "in against out of sequence, correct trials",
    "correct": "correct against incorrect, in-sequence trials",
}


class Options(KindOptions):
    """Contrasts, and how many trials they need."""

    contrasts: tuple[Literal["in_sequence", "correct"], ...] = ("in_sequence", "correct")
    within: Literal["odor", "position"] = Field("odor", description="Activity is permuted among trials that are alike in this")
    fewest: int = Field(10, ge=2, description="Trials that the rarer side of a contrast must have in an animal")


class Pair(NamedTuple):
    """The trials of a contrast, and on which side of it each lies."""

    used: Trials  # (trial,)
    side: Codes  # (trial,) 1 or 0, of all trials


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Contrast the trials of a run's recordings; :func:`contrast` says what is returned."""
    return contrast(cut_sequence(study.recordings, study.spec.samples, options), options)


def contrast(samples: xr.DataTree, options: Options | None = None) -> xr.Dataset:
    """Decode contrasts between trials, and the odor on each kind of trial.

    Parameters
    ----------
    samples
        One window a trial, labels ``odor, position, in_sequence, correct``.
    options
        Contrasts, decoder and resampling.

    Returns
    -------
    ``value (contrast)``: balanced accuracy of the contrast on test trials, mean over animals, with ``low, high, null_mean,
    null_low, null_high, p``; ``pair_trials (contrast, animal, side)``, NaN in ``animal_value (contrast, animal)`` where an animal
    has too few.
    ``odor_value (kind)``: share of test trials of a kind of which the odor is decoded rightly, by decoders fitted on correct
    in-sequence training trials, with ``odor_low, odor_high, odor_null_mean, odor_null_low, odor_null_high, odor_p``;
    ``odor_difference, odor_difference_low, odor_difference_high (kind)`` to correct in-sequence test trials of the same odors;
    ``odor_trials (kind, animal)``. Attribute ``left_out``: contrasts, kinds and animals with reasons (JSON).

    Raises
    ------
    SplitError
        If no animal has enough trials for any contrast.

    Examples
    --------
    >>> contrast(cut_sequence(recordings, spec, options), options)["value"]  # doctest: +SKIP
    """
    options = options or Options()
    animals = read_trials(samples)
    left_out: dict[str, str] = {}
    variables, scored = _contrasts(animals, options, left_out)
    refuse_without_animals("trial_contrasts", scored, left_out, "Lower 'fewest', or record more trials")
    return xr.Dataset(
        {**variables, **odor_by_kind(animals, options, left_out)},
        coords={
            "contrast": list(options.contrasts),
            "kind": list(KINDS),
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


def pair_of(trials: SequenceTrials, contrast: str) -> Pair:
    """Return the trials on which a contrast is decoded.

    The other label is held constant, and odors and positions with one side only are left out until none is left.
    """
    if contrast == "in_sequence":
        used, side = trials.correct.copy(), trials.in_sequence
    else:
        used, side = trials.in_sequence.copy(), trials.correct
    before = -1
    while before != used.sum():
        before = int(used.sum())
        for places in (trials.odor, trials.position):
            for place in np.unique(places[used]):
                here = used & (places == place)
                if len(np.unique(side[here])) < 2:
                    used &= ~here
    return Pair(used, side.astype(np.intp))


def _contrasts(
    animals: Animals, options: Options, left_out: dict[str, str]
) -> tuple[dict[str, tuple[tuple[str, ...], Floats]], int]:
    """Decode each contrast; also return how many (contrast, animal) could be."""
    summaries, values = [], []
    counts: list[list[NDArray[np.intp]]] = []
    for one in options.contrasts:
        drawn: dict[str, Draws] = {}
        counts.append([])
        for name, dataset in schema.animals(animals.samples):
            pair = pair_of(animals.trials[name], one)
            sides = np.bincount(pair.side[pair.used], minlength=2)
            counts[-1].append(sides)
            if sides.min() < max(options.fewest, options.folds):
                left_out[f"{NAMES[one]}, {name}"] = (
                    f"{sides.min()} trials of the rarer side, {max(options.fewest, options.folds)} needed"
                )
                continue
            drawn[name] = _decode_contrast(name, dataset.isel(trial=pair.used), pair.side[pair.used], animals, options)
        summaries.append(over_animals(list(drawn.values())) if drawn else {})
        values.append([float(drawn[name].observed) if name in drawn else NAN for name in animals.samples.children])
    keys = ("value", "low", "high", "null_mean", "null_low", "null_high", "p")
    variables: dict[str, tuple[tuple[str, ...], Floats]] = {
        key: (("contrast",), np.array([float(one.get(key, NAN)) for one in summaries])) for key in keys
    }
    variables["animal_value"] = (("contrast", "animal"), np.array(values))
    variables["pair_trials"] = (("contrast", "animal", "side"), np.array(counts))
    return variables, int(np.isfinite(values).sum())


def _decode_contrast(name: str, dataset: xr.Dataset, side: Codes, animals: Animals, options: Options) -> Draws:
    spec = SplitSpec(kind="kfold", folds=options.folds, seed=options.seed)
    everything = np.ones(len(side), dtype=bool)
    parts = folds_of(name, dataset, side, everything, spec)
    window = features(dataset["activity"], sample_spec(animals.samples))[:, 0]

    def right(order: NDArray[np.integer]) -> Floats:
        return read_rightly(window[order], side, everything, parts, options.inverse_penalty)

    orders = (draw_permutation(name, dataset, n, within=options.within).trial for n in range(1, options.permutations + 1))
    observed = right(np.arange(len(side)))
    return Draws(
        balanced_mean(observed, side),
        resampled_mean(observed, side, options.bootstraps, seeds(options.seed, name)),
        np.array([balanced_mean(right(order), side) for order in orders]),
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each contrast, and one for the odor on each kind of trial."""
    lines = []
    for name in scores["contrast"].values:
        one = scores.sel(contrast=name)
        there = np.isfinite(one["animal_value"])
        if there.any():
            lines.append(
                line_of(one, "balanced accuracy")._replace(
                    setting=NAMES[str(name)],
                    interval=scores.attrs["interval"],
                    null_kind=scores.attrs["floor"],
                    null_n=int(scores.attrs["permutations"]),
                    chance=float(scores.attrs["chance"]),
                    n_animals=int(there.sum()),
                    n_trials=int(one["pair_trials"].where(there).sum()),
                    n_splits=int(scores.attrs["folds"]),
                )
            )
    return lines + kind_lines(scores)


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the contrasts, and the odor on each kind of trial."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"contrasts": figures.contrasts(scores)}
