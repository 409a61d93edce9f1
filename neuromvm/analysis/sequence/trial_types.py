"""How well the odor is decoded on each kind of trial, by decoders fitted on correct in-sequence training trials."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.flat_score import NAN, Score, difference
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.decoder import fewest_per_odor, folds_of, read_rightly
from neuromvm.analysis.sequence.means import Draws, line_of, over_animals, resampled_mean, seeds
from neuromvm.analysis.sequence.trials import Animals, SequenceTrials, WindowOptions
from neuromvm.data.features import features
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.windows import sample_spec
from neuromvm.specs import SplitSpec

Trials = NDArray[np.bool_]
KINDS = ("in sequence, correct", "in sequence, incorrect", "out of sequence, correct", "out of sequence, incorrect")


class KindOptions(WindowOptions):
    """The decoder of the odor, and how many trials of a kind it needs."""

    fewest_tested: int = Field(5, ge=2, description="Trials of a kind on which an animal's odor decoder is scored")
    inverse_penalty: float = Field(0.02, gt=0, description="C of decoders, features being scaled to 1 sd")
    folds: int = Field(5, ge=2, description="Folds of trials")


def kinds_of(trials: SequenceTrials) -> list[Trials]:
    """Return the trials of each of ``KINDS``."""
    responses = (trials.correct, ~trials.correct)
    return [sequence & response for sequence in (trials.in_sequence, ~trials.in_sequence) for response in responses]


def odor_by_kind(
    animals: Animals, options: KindOptions, left_out: dict[str, str]
) -> dict[str, tuple[tuple[str, ...], NDArray[np.generic]]]:
    """Score the decoders of every animal; :func:`neuromvm.analysis.sequence.trial_contrasts.contrast` says what is returned.

    ``left_out`` takes the animals and kinds with too few trials, with reasons.
    """
    drawn: list[list[Draws]] = [[] for _ in KINDS]
    apart: list[list[Draws]] = [[] for _ in KINDS]
    counts = np.zeros((len(KINDS), len(animals.trials)), dtype=np.intp)
    spec = SplitSpec(kind="kfold", folds=options.folds, seed=options.seed)
    for column, (name, dataset) in enumerate(schema.animals(animals.samples)):
        trials = animals.trials[name]
        fitted = trials.in_sequence & trials.correct
        fewest = fewest_per_odor(trials, fitted, len(animals.sequence))
        if fewest < options.folds:
            left_out[f"odor, {name}"] = f"{fewest} correct in-sequence trials of an odor, {options.folds} needed"
            continue
        parts = folds_of(name, dataset, trials.odor, fitted, spec)
        window = features(dataset["activity"], sample_spec(animals.samples))[:, 0]
        orders = [np.arange(len(fitted)), *(draw_permutation(name, dataset, n).trial for n in range(1, options.permutations + 1))]
        right, *null = (read_rightly(window[order], trials.odor, fitted, parts, options.inverse_penalty) for order in orders)
        for row, kind in enumerate(kinds_of(trials)):
            if (count := int(kind.sum())) < options.fewest_tested:
                left_out[f"odor on trials {KINDS[row]}, {name}"] = f"{count} trials, {options.fewest_tested} needed"
                continue
            counts[row, column] = count
            # The plain share: with a trial or two of an odor, a mean over odors would have no interval.
            one = Draws(
                right[kind].mean(),
                resampled_mean(right[kind], np.zeros(count, np.intp), options.bootstraps, [*seeds(options.seed, name), row]),
                np.array([values[kind].mean() for values in null]),
            )
            value, draws = _same_odors(right, trials.odor, kind, fitted, name, options)
            drawn[row].append(one)
            apart[row].append(Draws(one.observed - value, one.bootstrap - draws, one.null))
    found: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {"odor_trials": (("kind", "animal"), counts)}
    summaries = [over_animals(one) if one else {} for one in drawn]
    differences = [over_animals(one) if one else {} for one in apart]
    for key in ("value", "low", "high", "null_mean", "null_low", "null_high", "p"):
        found[f"odor_{key}"] = (("kind",), np.array([float(one.get(key, NAN)) for one in summaries]))
    for key, name in (("value", "difference"), ("low", "difference_low"), ("high", "difference_high")):
        # The first kind is what the others are compared with.
        found[f"odor_{name}"] = (("kind",), np.array([NAN, *(float(one.get(key, NAN)) for one in differences[1:])]))
    return found


def _same_odors(
    right: Floats, odor: NDArray[np.intp], kind: Trials, fitted: Trials, name: str, options: KindOptions
) -> tuple[Floats, Floats]:
    """Return the share of right trials among correct in-sequence ones, odors weighing as on trials of a kind, and its draws."""
    observed, drawn = np.zeros(()), np.zeros(options.bootstraps)
    for one in np.unique(odor[kind]):
        members = right[fitted & (odor == one)]
        weight = np.mean(odor[kind] == one)
        seed = [*seeds(options.seed, name), len(KINDS), int(one)]
        observed = observed + weight * members.mean()
        drawn = drawn + weight * resampled_mean(members, np.zeros(len(members), np.intp), options.bootstraps, seed)
    return observed, drawn


def kind_lines(scores: xr.Dataset) -> list[Score]:
    """Return one line for each kind of trial that could be scored."""
    lines = []
    for kind in scores["kind"].values:
        one = scores.sel(kind=kind)
        if not np.isfinite(one["odor_value"]):
            continue
        compared = bool(np.isfinite(one["odor_difference"]))
        label = "odor = position (confounded)" if str(kind).startswith("in ") else "odor"
        lines.append(
            line_of(one, f"share of trials read rightly; decoded: {label}", prefix="odor_")._replace(
                setting=str(kind),
                interval=scores.attrs["odor_interval"],
                null_kind=scores.attrs["odor_floor"],
                null_n=int(scores.attrs["permutations"]),
                chance=float(scores.attrs["odor_chance"]),
                baseline=f"{KINDS[0]}, same odors" if compared else "none: the other kinds are compared with this one",
                **difference(one, "odor_"),
                n_animals=int((one["odor_trials"] > 0).sum()),
                n_trials=int(one["odor_trials"].sum()),
                n_splits=int(scores.attrs["folds"]),
            )
        )
    return lines
