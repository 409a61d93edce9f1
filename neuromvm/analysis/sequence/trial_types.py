"""Accuracy of the odor on each type of trial, by decoders fitted on correct in-sequence training trials."""

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Absent, Counts, Difference, Score, interval_of, score_of
from neuromvm.analysis.sequence.decoder import folds_of, rarest_odor, share_correct, trial_orders
from neuromvm.analysis.sequence.means import Draws, Variable, over_animals, resampled_mean, seeds
from neuromvm.analysis.sequence.trials import Animals, DecoderOptions, Mask, SequenceTrials

TRIAL_TYPES = ("in sequence, correct", "in sequence, incorrect", "out of sequence, correct", "out of sequence, incorrect")


class TrialTypeOptions(DecoderOptions):
    """The decoder of the odor, and how many trials of a type are needed to score it."""

    fewest_tested: int = Field(5, ge=2, description="Trials of a kind on which an animal's odor decoder is scored")


def trials_by_type(trials: SequenceTrials) -> dict[str, Mask]:
    """Return the trials ``(trial,)`` of each of ``TRIAL_TYPES``."""
    responses = (trials.correct, ~trials.correct)
    masks = [sequence & response for sequence in (trials.in_sequence, ~trials.in_sequence) for response in responses]
    return dict(zip(TRIAL_TYPES, masks, strict=True))


def odor_by_trial_type(animals: Animals, options: TrialTypeOptions, left_out: dict[str, str]) -> dict[str, Variable]:
    """Score the decoders of every animal; see :func:`neuromvm.analysis.sequence.trial_contrasts.contrast`.

    ``left_out`` takes the reasons for animals and types with too few trials.
    """
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
        for row, (trial_type, members) in enumerate(trials_by_type(trials).items()):
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
    # The first type is the reference of the others.
    differences[TRIAL_TYPES[0]] = []
    summaries, compared = ([over_animals(draws or [Draws.missing()]) for draws in by.values()] for by in (shares, differences))
    names = {"value": "odor_difference", "low": "odor_difference_low", "high": "odor_difference_high"}
    return {
        "odor_trials": (("kind", "animal"), counts),
        **{f"odor_{key}": (("kind",), np.array([float(summary[key]) for summary in summaries])) for key in summaries[0]},
        **{name: (("kind",), np.array([float(summary[key]) for summary in compared])) for key, name in names.items()},
    }


def _resampled_mean(values: Floats, options: TrialTypeOptions, name: str, *seed: int) -> Floats:
    """Return bootstrap draws of the mean over trials, ``(draw,)``."""
    return resampled_mean(values, np.zeros(len(values), np.intp), options.bootstraps, [*seeds(options.seed, name), *seed])


def _reference_share(
    correct: Floats, trials: SequenceTrials, members: Mask, name: str, options: TrialTypeOptions
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
            interval = interval_of(selected, "odor_difference_")
            difference = Difference(f"{TRIAL_TYPES[0]}, same odors", float(selected["odor_difference"]), interval)
        trials = selected["odor_trials"]
        n = Counts(int((trials > 0).sum()), int(trials.sum()), 1, int(attrs["folds"]))
        title = f"share of trials read rightly; decoded: {label}"
        named = {"what": title, "representation": "raw", "setting": str(trial_type), "n": n}
        parts = {"resampled": attrs["odor_interval"], "chance": float(attrs["odor_chance"]), "difference": difference}
        lines.append(score_of(selected, attrs["odor_floor"], attrs["permutations"], {**named, **parts}, prefix="odor_"))
    return lines
