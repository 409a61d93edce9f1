"""Analysis ``odor_or_position``: does a decoder fitted on in-sequence trials read the odor or the position?

In sequence the two are one variable, so such a decoder may be called after neither. Out of sequence they part: its class is
compared with the odor that was presented and with the odor that was due at the position.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.flat_score import Score
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.confounds import Confound, ConfoundError, confounded, refuse_confounded
from neuromvm.analysis.sequence.decoder import fewest_per_odor, probabilities, shares
from neuromvm.analysis.sequence.inputs import View, views_of_activity, views_of_latents
from neuromvm.analysis.sequence.means import Draws, line_of, over_animals, resampled_mean, seeds, shuffled_within
from neuromvm.analysis.sequence.trials import SequenceTrials, WindowOptions, cut_sequence, read_trials, refuse_without_animals
from neuromvm.analysis.statistics import over_trials
from neuromvm.data.permutation import draw_permutation
from neuromvm.errors import SplitError
from neuromvm.schema import in_sample, is_fitted, is_scored
from neuromvm.specs import SplitSpec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

Codes = NDArray[np.intp]
READ = ("odor", "position", "odor - position")
FLOORS = {
    "refitted": "permutations of activity among the trials of each animal, scalers and decoders refitted",
    "exchanged": "permutations of latents among the out-of-sequence test trials of each animal, decode-only: neither models nor "
    "decoders refitted",
}
CONDITIONAL = 1000  # permutations of decoded trials within odor or position; nothing is fitted on them

REMEDY = (
    "Score on out-of-sequence trials: tested=out_of_sequence, and leave in_sequence out of 'keep'. "
    "For in-sequence trials use the analysis sequence, which calls what it reads 'odor = position (confounded)'"
)


class Options(WindowOptions):
    """Decoder and the trials it is scored on."""

    tested: Literal["out_of_sequence", "in_sequence"] = Field(
        "out_of_sequence", description="in_sequence is refused: odor and position are one variable there"
    )
    fewest: int = Field(5, ge=2, description="Out-of-sequence trials an animal must have to be scored")
    inverse_penalty: float = Field(0.02, gt=0, description="C of decoders of activity, features being scaled to 1 sd")
    latent_inverse_penalty: float = Field(1.0, gt=0, description="C of decoders of latents, scaled to 1 sd")
    folds: int = Field(5, ge=2, description="Folds of in-sequence trials, for activity; latents have the splits of the run")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Score activity of all recorded trials, and latents of each model whose samples have out-of-sequence trials.

    Returns
    -------
    As of :func:`tell_apart`, with ``representation``: activity (``raw``) and models. Models that cannot be scored are
    accounted for in the attribute ``left_out``.
    """
    activity = read_trials(cut_sequence(study.recordings, study.spec.samples, options))
    folds = SplitSpec(kind="kfold", folds=options.folds, seed=options.seed)
    found = {
        "raw": tell_apart(
            activity.samples,
            views_of_activity(activity, folds, options.inverse_penalty),
            options,
        )
    }
    left_out = {}
    for model in study.models:
        if in_sample(study.splits):
            left_out[model] = "trials that are scored were fitted on"
            continue
        embedded = read_trials(study.samples)
        views = views_of_latents(embedded, study.latents(model), study.splits, options.latent_inverse_penalty)
        try:
            found[model] = tell_apart(embedded.samples, views, options, null="exchanged")
        except (ConfoundError, SplitError) as error:
            left_out[model] = str(error)
    left_out |= {
        f"{name}, {animal}": why for name, one in found.items() for animal, why in json.loads(one.attrs["left_out"]).items()
    }
    return xr.concat(
        list(found.values()), dim=xr.Variable("representation", list(found)), join="outer", combine_attrs="override"
    ).assign_attrs(left_out=json.dumps(left_out), floors=json.dumps({name: one.attrs["floor"] for name, one in found.items()}))


def tell_apart(
    samples: xr.DataTree,
    views: Mapping[str, View],
    options: Options,
    *,
    null: Literal["refitted", "exchanged"] = "refitted",
) -> xr.Dataset:
    """Score one representation: is the odor read, or the position?

    Parameters
    ----------
    samples
        The trials of each animal, labels ``odor, position``.
    views
        What decoders see. They are fitted on correct in-sequence training trials.
    options
        Decoder and resampling.
    null
        ``refitted``: activity is permuted among all trials, and scalers and decoders are fitted again. ``exchanged``, of a model
        that is not trained again: scored trials take each other's decoded odors. It may have learnt the labels of its
        training trials by heart, so that these cannot change places with others.

    Returns
    -------
    ``value (read)``: share of out-of-sequence test trials that are decoded as the odor that was presented, as the odor that is
    due at the position, and the difference; mean over splits, trials and animals, with ``low, high``, and the null
    ``null_mean, null_low, null_high, p``. ``given_mean, given_low, given_high, given_p (read)``: the same share if decoded trials
    are exchanged within position (odor) or within odor (position), so that what the other variable explains is in the floor;
    decode only. ``in_sequence``: share of in-sequence test trials decoded rightly, which is *odor = position (confounded)*.
    ``animal_value (animal, read)``, ``trials, exchangeable (animal)``.

    Raises
    ------
    ConfoundError
        If odor and position are one variable on the trials used of every animal.
    SplitError
        If no animal has enough out-of-sequence test trials, or enough trials of each odor to fit on.
    """
    drawn, given, control, counts, exchangeable = {}, [], [], [], []
    left_out: dict[str, str] = {}
    same: list[Confound] = []
    for name, view in views.items():
        trials = view.trials
        fitted = trials.in_sequence & trials.correct
        tested = is_scored(view.parts).any(axis=0) & (trials.in_sequence == (options.tested == "in_sequence"))
        dataset = samples[name].to_dataset()
        if not (one := confounded(dataset, "odor", "position", fitted | tested)).same:
            reason = _too_few(view, fitted, tested, options)
        else:
            same.append(one)
            reason = f"{one.name} on the {one.trials} trials used"
        if reason:
            left_out[name] = reason
            continue
        observed = _decoded(view, np.arange(len(fitted)), fitted)
        if null == "refitted":
            orders = (draw_permutation(name, dataset, number).trial for number in range(1, options.permutations + 1))
            broken = [_read(_decoded(view, order, fitted), trials, tested).mean(axis=0) for order in orders]
        else:
            broken = _exchanged(observed[tested], trials.take(tested), options, name)
        each = _read(observed, trials, tested)
        whole = np.zeros(len(each), dtype=np.intp)
        resampled = resampled_mean(each, whole, options.bootstraps, seeds(options.seed, name))
        drawn[name] = Draws(each.mean(axis=0), resampled, np.array(broken))
        given.append(_given(observed[tested], trials.take(tested), options, name))
        within = is_scored(view.parts).any(axis=0) & fitted
        control.append(np.mean(_read(observed, trials, within)[:, 0]))
        counts.append(int(tested.sum()))
        exchangeable.append([_exchangeable(trials.position[tested]), _exchangeable(trials.odor[tested]), 0])
    if not drawn and same:
        refuse_confounded("analysis odor_or_position", same[0], REMEDY)
    refuse_without_animals("odor_or_position", len(drawn), left_out, "Lower 'fewest' or 'folds', or record more trials")
    summary = over_animals(list(drawn.values()))
    conditional = over_animals(
        [Draws(one.observed, one.bootstrap, within) for one, within in zip(drawn.values(), given, strict=True)]
    )
    return xr.Dataset(
        {
            **{key: (("read",), values) for key, values in summary.items()},
            **{key.replace("null", "given"): (("read",), conditional[key]) for key in ("null_mean", "null_low", "null_high")},
            "given_p": (("read",), conditional["p"]),
            "in_sequence": ((), np.mean(control)),
            "splits": ((), max(len(view.parts) for view in views.values())),
            "animal_value": (("animal", "read"), np.stack([one.observed for one in drawn.values()])),
            "trials": (("animal",), np.array(counts)),
            "exchangeable": (("animal", "read"), np.array(exchangeable)),
        },
        coords={"read": list(READ), "animal": list(drawn)},
        attrs={
            "chance": 1 / (1 + max(int(view.trials.odor.max()) for view in views.values())),
            "permutations": options.permutations,
            "conditional": CONDITIONAL,
            "interval": f"95 % over {options.bootstraps} bootstrap draws of out-of-sequence test trials within animal",
            "floor": f"{options.permutations} {FLOORS[null]}",
            "left_out": json.dumps(left_out),
        },
    )


def _too_few(view: View, fitted: NDArray[np.bool_], tested: NDArray[np.bool_], options: Options) -> str:
    """Return why an animal cannot be scored, '' if it can."""
    if (count := int(tested.sum())) < options.fewest:
        return f"{count} out-of-sequence test trials, {options.fewest} needed"
    odors = int(view.trials.odor.max()) + 1
    rarest = min(fewest_per_odor(view.trials, fitted & is_fitted(part), odors) for part in view.parts)
    return "" if rarest >= 2 else f"{rarest} correct in-sequence training trials of an odor, 2 needed in each split"


def _decoded(view: View, order: Codes, fitted: NDArray[np.bool_]) -> Floats:
    """Return the share of splits in which each trial is decoded as each odor, ``(trial, odor)``, NaN where not tested."""
    values = view.values[..., order, :]
    found = probabilities(values, values[..., None, :], view.trials.odor, fitted, view.parts, view.inverse_penalty)
    return over_trials.mean_of_scored(shares(found), axis=0)[:, 0]


def _read(decoded: Floats, trials: SequenceTrials, tested: NDArray[np.bool_]) -> Floats:
    """Return ``(tested trial, read)``."""
    row = np.flatnonzero(tested)
    odor, position = decoded[row, trials.odor[row]], decoded[row, trials.position[row]]
    return np.stack([odor, position, odor - position], axis=-1)


def _exchanged(decoded: Floats, trials: SequenceTrials, options: Options, name: str) -> list[Floats]:
    """Return null draws ``(permutation, read)``: scored trials take each other's decoded odors."""
    random = np.random.default_rng([*seeds(options.seed, name), 2])
    everything = np.ones(len(decoded), dtype=bool)
    orders = (random.permutation(len(decoded)) for _ in range(options.permutations))
    return [_read(decoded[order], trials, everything).mean(axis=0) for order in orders]


def _given(decoded: Floats, trials: SequenceTrials, options: Options, name: str) -> Floats:
    """Return null draws ``(permutation, read)``: decoded trials exchanged among those with the same value of the other label."""
    random = np.random.default_rng([*seeds(options.seed, name), 1])
    everything = np.ones(len(decoded), dtype=bool)
    null = np.full((CONDITIONAL, len(READ)), np.nan)
    for draw in range(CONDITIONAL):
        for place, other in enumerate((trials.position, trials.odor)):
            order = shuffled_within(other, random)
            null[draw, place] = _read(decoded[order], trials, everything)[:, place].mean()
    return null


def _exchangeable(codes: Codes) -> int:
    """Return how many trials share their code with another."""
    counts = np.bincount(codes)
    return int(counts[counts > 1].sum())


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return, for each representation, the share read as odor and as position against both nulls, and the in-sequence control."""
    lines = []
    floors = json.loads(scores.attrs["floors"])
    for representation in scores["representation"].values:
        one = scores.sel(representation=representation)
        there = np.isfinite(one["trials"])
        apart = one.sel(read=READ[2])
        for read, other in (READ[:2], READ[1::-1]):
            line = one.sel(read=read)
            difference, low, high = (float(apart[key]) for key in ("value", "low", "high"))
            if read == "position":
                difference, low, high = -difference, -high, -low
            refitted = "null", "p", floors[str(representation)], int(scores.attrs["permutations"]), "out of sequence"
            within = f"{CONDITIONAL} permutations of decoded trials within {other}, decoders not refitted"
            given = "given", "given_p", within, CONDITIONAL, f"out of sequence, given the {other}"
            for prefix, p, kind, number, setting in (refitted, given):
                lines.append(
                    line_of(line, f"share of out-of-sequence trials read as {read}", null=prefix, p=p)._replace(
                        representation=str(representation),
                        setting=setting,
                        interval=scores.attrs["interval"],
                        null_kind=kind,
                        null_n=number,
                        chance=float(scores.attrs["chance"]),
                        baseline=f"share read as {other}",
                        difference=difference,
                        difference_low=low,
                        difference_high=high,
                        n_animals=int(there.sum()),
                        n_trials=int(one["trials"].sum()),
                        n_splits=int(one["splits"]),
                    )
                )
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw what is read out of sequence."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"read": figures.odor_or_position(scores)}
