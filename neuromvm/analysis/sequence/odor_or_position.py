"""Analysis ``odor_or_position``: does a decoder fitted on in-sequence trials decode the odor or the position?

In sequence the two are one variable, so such a decoder cannot be named after either. Out of sequence they differ: the decoded
class is compared with the odor that was presented and with the odor that was due at the position.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Counts, Difference, Interval, Score, saved_interval, score_of
from neuromvm.analysis.sequence import decoder
from neuromvm.analysis.sequence.confounds import Confound, ConfoundError, confounded
from neuromvm.analysis.sequence.means import Draws, over_animals, resampled_mean, seeds, shuffled_within, variables_of
from neuromvm.analysis.sequence.trials import (
    Codes,
    DecoderOptions,
    Mask,
    SequenceTrials,
    cut_sequence,
    read_trials,
    require_animals,
)
from neuromvm.errors import SplitError
from neuromvm.schema import in_sample, is_fitted

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

READ = ("odor", "position", "odor - position")
FLOORS = {
    "refitted": decoder.REFITTED,
    "exchanged": "permutations of latents among the out-of-sequence test trials of each animal, decode-only: neither models nor "
    "decoders refitted",
}
CONDITIONAL = 1000  # permutations of decoded trials within odor or position; decoders are not refitted


class Options(DecoderOptions):
    """Decoder and the trials it is scored on."""

    tested: Literal["out_of_sequence", "in_sequence"] = Field(
        "out_of_sequence", description="in_sequence is refused: odor and position are one variable there"
    )
    fewest: int = Field(5, ge=2, description="Out-of-sequence trials an animal must have to be scored")
    latent_inverse_penalty: float = Field(1.0, gt=0, description="C of decoders of latents, scaled to 1 sd")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Score activity of all recorded trials (``raw``), and latents of each model whose samples have out-of-sequence trials.

    The scores are those of :func:`tell_apart`, with the dim ``representation``; ``left_out`` has the reasons for other models.
    """
    activity = read_trials(cut_sequence(study.recordings, study.spec.samples, options))
    inputs = decoder.inputs_of_activity(activity, options.split, options.inverse_penalty)
    scores, left_out = {"raw": tell_apart(activity.samples, inputs, options)}, {}
    for model in study.models:
        if in_sample(study.splits):
            left_out[model] = "trials that are scored were fitted on"
            continue
        embedded = read_trials(study.samples)
        inputs = decoder.inputs_of_latents(embedded, study.latents(model), study.splits, options.latent_inverse_penalty)
        try:
            scores[model] = tell_apart(embedded.samples, inputs, options, null="exchanged")
        except (ConfoundError, SplitError) as error:
            left_out[model] = str(error)
    return decoder.by_representation(scores, left_out)


def tell_apart(
    samples: xr.DataTree,
    inputs: Mapping[str, decoder.Inputs],
    options: Options,
    *,
    null: Literal["refitted", "exchanged"] = "refitted",
) -> xr.Dataset:
    """Score one representation in trials with labels ``odor, position``: is the odor decoded, or the position?

    Decoders are fitted on correct in-sequence training trials. ``null="refitted"``: activity is permuted among all trials, and
    scalers and decoders are fitted again. ``null="exchanged"``, for a model that is not trained again: decoded odors are permuted
    among scored trials. The model may have memorised the labels of its training trials, so these are not permuted.

    Returns
    -------
    ``value (read)``: share of out-of-sequence test trials that are decoded as the odor that was presented, as the odor that is
    due at the position, and the difference; mean over splits, trials and animals, with ``low, high, null_mean, null_low,
    null_high, p``. ``given_mean, given_low, given_high, given_p (read)``: a null that permutes decoded trials within position
    (odor) or within odor (position), which keeps the effect of the other variable. ``in_sequence``: share of in-sequence test
    trials decoded correctly, which is *odor = position (confounded)*. ``animal_value (animal, read)``, ``trials, exchangeable
    (animal)``.

    ConfoundError is raised if odor and position are one variable on the trials used of every animal, SplitError if no animal has
    enough out-of-sequence test trials, or enough trials of each odor to fit on.
    """
    scored: dict[str, _Scored] = {}
    left_out: dict[str, str] = {}
    confounds: list[Confound] = []
    for name, animal in inputs.items():
        trials, dataset = animal.trials, samples[name].to_dataset()
        tested = animal.scored & (trials.in_sequence == (options.tested == "in_sequence"))
        confound = confounded(dataset, "odor", "position", trials.reference | tested)
        if confound.identical:
            confounds.append(confound)
            left_out[name] = f"{confound.name} on the {confound.trials} trials used"
        elif reason := _too_few(animal, tested, options):
            left_out[name] = reason
        else:
            scored[name] = _score(name, dataset, animal, tested, options, null)
    if not scored and confounds:
        raise ConfoundError(
            "analysis odor_or_position",
            found=f"odor and position determine each other on all {confounds[0].trials} trials used, so what is decoded cannot "
            "be called by one of the names",
            expected="trials on which odor and position differ",
            next_step="Score on out-of-sequence trials: tested=out_of_sequence, and leave in_sequence out of 'keep'. For "
            "in-sequence trials use the analysis sequence, which calls what it reads 'odor = position (confounded)'",
        )
    require_animals("odor_or_position", len(scored), left_out, "Lower 'fewest' or 'folds', or record more trials")
    animals = list(scored.values())
    conditional = over_animals([animal.shares._replace(null=animal.conditional_null) for animal in animals])
    return xr.Dataset(
        {
            **variables_of([animal.shares for animal in animals], ("read",)),
            **{f"given_{key}": (("read",), conditional[f"null_{key}"]) for key in ("mean", "low", "high")},
            "given_p": (("read",), conditional["p"]),
            "in_sequence": ((), np.mean([animal.in_sequence for animal in animals])),
            "splits": ((), max(len(animal.parts) for animal in inputs.values())),
            "animal_value": (("animal", "read"), np.stack([animal.shares.observed for animal in animals])),
            "trials": (("animal",), np.array([animal.trials for animal in animals])),
            "exchangeable": (("animal", "read"), np.array([animal.exchangeable for animal in animals])),
        },
        coords={"read": list(READ), "animal": list(scored)},
        attrs={
            "chance": 1 / (1 + max(int(animal.trials.odor.max()) for animal in inputs.values())),
            "permutations": options.permutations,
            "conditional": CONDITIONAL,
            "interval": f"95 % over {options.bootstraps} bootstrap draws of out-of-sequence test trials within animal",
            "floor": f"{options.permutations} {FLOORS[null]}",
            "left_out": json.dumps(left_out),
        },
    )


class _Scored(NamedTuple):
    """Scores of one animal."""

    shares: Draws  # (read,)
    conditional_null: Floats  # (draw, read)
    in_sequence: np.floating
    trials: int
    exchangeable: list[int]  # for each of READ, trials that share the value of the other label with another trial


def _too_few(inputs: decoder.Inputs, tested: Mask, options: Options) -> str:
    """Return why an animal cannot be scored, '' if it can."""
    trials, count = inputs.trials, int(tested.sum())
    if count < options.fewest:
        return f"{count} out-of-sequence test trials, {options.fewest} needed"
    odors = int(trials.odor.max()) + 1
    rarest = min(decoder.rarest_odor(trials.odor[trials.reference & is_fitted(part)], odors) for part in inputs.parts)
    return "" if rarest >= 2 else f"{rarest} correct in-sequence training trials of an odor, 2 needed in each split"


def _score(name: str, dataset: xr.Dataset, inputs: decoder.Inputs, tested: Mask, options: Options, null: str) -> _Scored:
    """Score one animal."""
    trials, reference = inputs.trials, inputs.trials.reference

    def decoded(order: Codes) -> Floats:
        values = inputs.values[..., order, :]
        return decoder.decoded_shares(values, trials.odor, reference, inputs.parts, inputs.inverse_penalty)

    orders = decoder.trial_orders(name, dataset, options.permutations)
    observed, out = decoded(next(orders)), trials.take(tested)
    if null == "refitted":
        permuted = (decoded(order)[tested] for order in orders)
    else:
        random = np.random.default_rng([*seeds(options.seed, name), 2])
        permuted = (observed[tested][random.permutation(len(out.odor))] for _ in range(options.permutations))
    draws = np.array([_reads(shares, out).mean(axis=0) for shares in permuted])
    reads = _reads(observed[tested], out)
    resampled = resampled_mean(reads, np.zeros(len(reads), dtype=np.intp), options.bootstraps, seeds(options.seed, name))
    random, conditional = np.random.default_rng([*seeds(options.seed, name), 1]), np.full((CONDITIONAL, len(READ)), np.nan)
    for draw in range(CONDITIONAL):
        for read, label in enumerate((out.position, out.odor)):
            order = shuffled_within(label, random)
            conditional[draw, read] = _reads(observed[tested][order], out)[:, read].mean()
    control = inputs.scored & reference
    exchangeable = [int(counts[counts > 1].sum()) for counts in map(np.bincount, (out.position, out.odor))]
    return _Scored(
        Draws(reads.mean(axis=0), resampled, draws),
        conditional,
        np.mean(_reads(observed[control], trials.take(control))[:, 0]),
        int(tested.sum()),
        [*exchangeable, 0],
    )


def _reads(decoded: Floats, trials: SequenceTrials) -> Floats:
    """Return ``(trial, read)`` from the share of splits in which each trial is decoded as each odor, ``(trial, odor)``."""
    trial = np.arange(len(decoded))
    odor, position = decoded[trial, trials.odor], decoded[trial, trials.position]
    return np.stack([odor, position, odor - position], axis=-1)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return, for each representation, the shares decoded as odor and as position, each against both nulls."""
    lines, floors = [], json.loads(scores.attrs["floors"])
    parts = {"resampled": scores.attrs["interval"], "chance": float(scores.attrs["chance"])}
    for representation in scores["representation"].values:
        selected, trials = scores.sel(representation=representation), scores["trials"].sel(representation=representation)
        n = Counts(int(np.isfinite(trials).sum()), int(trials.sum()), 1, int(selected["splits"]))
        contrast = selected.sel(read=READ[2])
        value, (low, high) = float(contrast["value"]), saved_interval(contrast)
        differences = {
            "odor": Difference("share read as position", value, Interval(low, high)),
            "position": Difference("share read as odor", -value, Interval(-high, -low)),
        }
        for read, covariate in (READ[:2], READ[1::-1]):
            share, title = selected.sel(read=read), f"share of out-of-sequence trials read as {read}"
            shared = {**parts, "what": title, "representation": str(representation), "n": n, "difference": differences[read]}
            shared["setting"], floor = "out of sequence", floors[str(representation)]
            lines.append(score_of(share, floor, scores.attrs["permutations"], shared))
            shared["setting"] = f"out of sequence, given the {covariate}"
            floor = f"{CONDITIONAL} permutations of decoded trials within {covariate}, decoders not refitted"
            lines.append(score_of(share, floor, CONDITIONAL, shared, null="given", p="given_p"))
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw what is decoded out of sequence."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"read": figures.odor_or_position(scores)}
