"""Analysis ``sequence``: at which time of a trial is the previous, the current or the next odor of the sequence decoded?

A decoder of the current odor is fitted in one window of correct in-sequence training trials and slid over the whole of test
trials. On such trials odor and position are one variable, and what is decoded is called so.

References
----------
Shahbaba, B., et al. (2022). Hippocampal ensembles represent sequential relationships among an extended sequence of nonspatial
events. *Nature Communications* 13, 787.
"""

import json
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.flat_score import Score
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.sequence.confounds import confounded
from neuromvm.analysis.sequence.decoder import fewest_per_odor, folds_of, probabilities, shares
from neuromvm.analysis.sequence.means import Draws, line_of, over_animals, seeds
from neuromvm.analysis.sequence.trials import WindowOptions, cut_sequence, read_trials, refuse_without_animals
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows
from neuromvm.data.features import features
from neuromvm.data.permutation import draw_permutation
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError
from neuromvm.specs import SplitSpec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

Codes = NDArray[np.intp]
NEIGHBOURS = {"previous": -1, "current": 0, "next": 1}
ASYMMETRY = "next - previous"
RELATIONS = (*NEIGHBOURS, ASYMMETRY)
EXCHANGES = 500  # of decoded trials; nothing is fitted on them


class Options(WindowOptions):
    """The window that the decoder is fitted in, and how it is slid."""

    step: float = Field(0.05, gt=0, description="Step by which the window is slid over the trial [s]")
    measure: Literal["probability", "share"] = Field("probability", description="share: of windows decoded as the odor")
    inverse_penalty: float = Field(0.02, gt=0, description="C of the decoder, features being scaled to 1 sd")
    folds: int = Field(5, ge=2, description="Folds of trials")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Follow the odor through the trials of a run's recordings; :func:`follow` says what is returned."""
    return follow(
        cut_sequence(study.recordings, study.spec.samples, options),
        cut_sequence(study.recordings, study.spec.samples, options, slide=options.step),
        options,
    )


def follow(fitted: xr.DataTree, slid: xr.DataTree, options: Options | None = None) -> xr.Dataset:
    """Decode previous, current and next odor in time.

    Parameters
    ----------
    fitted
        Samples with one window a trial: the one that decoders are fitted in.
    slid
        Samples of the same trials and features, the window slid over the trial.
    options
        Decoder, folds and resampling.

    Returns
    -------
    ``value (relation, window)``: probability (or share) of the odor before, at and after the current one in the sequence, less
    its mean over trials of all odors, plus chance: what is decoded whatever the odor counts nothing. Mean over test trials of an
    odor, over the odors that have such a neighbour, and over animals. The relation ``next - previous`` is the difference on odors
    that have both, which mere confusion of neighbours leaves at 0. With ``low, high`` and two nulls: ``null_mean, null_low,
    null_high``, all refitted on permuted activity, and ``exchanged_mean, exchanged_low, exchanged_high``, decoded trials
    exchanged. The second is needed because a decoder that has learnt something scatters more on windows without odor than one
    fitted on permuted activity. ``p`` is the larger of both, ``null_p`` and ``exchanged_p``. ``peak_*, peak_time (relation)``:
    the same for the largest value over windows, against the largest of each null draw, so that having looked at all windows is
    paid for. ``animal_value (animal, relation, window)``, ``trials (animal)``. Attribute ``label``: what is decoded;
    ``left_out``: animals and reasons (JSON).

    Raises
    ------
    SplitError
        If every animal has an odor with fewer correct in-sequence trials than there are folds.

    Examples
    --------
    >>> scores = follow(cut_sequence(recordings, spec, options), cut_sequence(recordings, spec, options, slide=0.05))
    ... # doctest: +SKIP
    """
    options = options or Options()
    spec = sample_spec(fitted)
    window_of, slid_of = read_trials(fitted), read_trials(slid)
    odors = len(window_of.sequence)
    drawn: dict[str, Followed] = {}
    left_out, names, counts = {}, set(), []
    for name, dataset in schema.animals(window_of.samples):
        other = slid_of.samples[name].to_dataset()
        if not np.array_equal(dataset["trial"], other["trial"]):
            raise SchemaError(f"animal {name}", found="other trials in the slid samples", expected="the same trials")
        used = window_of.trials[name].in_sequence & window_of.trials[name].correct
        trials = window_of.trials[name].take(used)
        fewest = fewest_per_odor(trials, np.ones(len(trials.odor), bool), odors)
        if fewest < options.folds:
            left_out[name] = f"{fewest} correct in-sequence trials of an odor, {options.folds} needed"
            continue
        names.add(confounded(dataset, "odor", "position", used).name)
        counts.append(int(used.sum()))
        dataset, other = dataset.isel(trial=used), other.isel(trial=used)
        window = features(dataset["activity"], spec)[:, 0]
        drawn[name] = _follow_one(name, dataset, window, features(other["activity"], spec), trials.odor, options)
    refuse_without_animals("sequence", len(drawn), left_out, "Use fewer folds, or leave rare odors out with 'keep'")
    centres = next(iter(slid_of.samples.children.values()))["window"]
    dims = ("relation", "window")
    nulls = [one.refitted for one in drawn.values()], [one.exchanged for one in drawn.values()]
    peaks = _larger_p(*(_peak(draws, centres.to_numpy()) for draws in nulls))
    return xr.Dataset(
        {
            **{key: (dims, values) for key, values in _larger_p(*map(over_animals, nulls)).items()},
            **{f"peak_{key}": (("relation",), values) for key, values in peaks.items()},
            "animal_value": (("animal", *dims), np.stack([one.refitted.observed for one in drawn.values()])),
            "trials": (("animal",), np.array(counts)),
        },
        coords={"relation": list(RELATIONS), "window": centres.to_numpy(), "animal": list(drawn)},
        attrs={
            "label": " or ".join(sorted(names)),
            "sequence": json.dumps(window_of.sequence),
            "measure": options.measure,
            "chance": 1 / odors,
            "start": options.start,
            "stop": options.stop,
            "folds": options.folds,
            "permutations": options.permutations,
            "interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and odor",
            "floor": f"{options.permutations} permutations of activity among the trials of each animal, "
            "scalers and decoders refitted",
            "left_out": json.dumps(left_out),
        },
    )


class Followed(NamedTuple):
    """What was decoded of one animal, ``(..., relation, window)``, and two nulls of it."""

    refitted: Draws
    exchanged: Draws


def _follow_one(name: str, dataset: xr.Dataset, window: Floats, seen: Floats, odor: Codes, options: Options) -> Followed:
    everything = np.ones(len(odor), dtype=bool)
    parts = folds_of(name, dataset, odor, everything, SplitSpec(kind="kfold", folds=options.folds, seed=options.seed))

    def decoded(order: NDArray[np.integer]) -> Floats:
        found = probabilities(window[order], seen[order], odor, everything, parts, options.inverse_penalty)
        return over_trials.mean_of_scored(found if options.measure == "probability" else shares(found), axis=0)

    labels = np.arange(odor.max() + 1, dtype=np.int16)[:, None]
    rows = LabelRows(labels, odor, shifted=labels.astype(np.intp))
    once = over_trials.as_they_are(rows)
    random = np.random.default_rng(seeds(options.seed, name))
    found = decoded(np.arange(len(odor)))
    observed = _relations(found, once)[0]
    bootstrap = _relations(found, over_trials.bootstrap(rows, options.bootstraps, random))
    exchanged = _relations(found, over_trials.permutations(rows, EXCHANGES, random))
    orders = (draw_permutation(name, dataset, permutation).trial for permutation in range(1, options.permutations + 1))
    refitted = np.concatenate([_relations(decoded(order), once) for order in orders])
    return Followed(Draws(observed, bootstrap, refitted), Draws(observed, bootstrap, exchanged))


def _relations(decoded: Floats, assignments: Floats) -> Floats:
    """Return ``(draw, relation, window)``.

    What is decoded whatever the odor of the trial is taken out: activity before a trial is like that of no odor, and may still be
    nearer to one of them.

    Parameters
    ----------
    decoded
        ``(trial, window, odor)``.
    assignments
        ``(draw, trial, odor)``: how often a trial counts as one of an odor.
    """
    share = assignments / assignments.sum(axis=1, keepdims=True)
    means = np.einsum("dto,twc->dowc", share, decoded, optimize=True)  # of trials of odor o, how much of odor c
    means = means - means.mean(axis=1, keepdims=True) + 1 / decoded.shape[-1]
    single = {
        name: np.diagonal(means, offset=shift, axis1=1, axis2=3) for name, shift in NEIGHBOURS.items()
    }  # (draw, window, odor)
    # Odors in the middle of the sequence have both neighbours: all but the first of previous, which begins with the second odor.
    asymmetry = single["next"][..., 1:] - single["previous"][..., :-1]
    return np.stack([*(one.mean(axis=-1) for one in single.values()), asymmetry.mean(axis=-1)], axis=1)


def _larger_p(found: dict[str, Floats], exchanged: dict[str, Floats]) -> dict[str, Floats]:
    """Return a summary with the second null beside the first, and the larger p of both."""
    second = {f"exchanged_{key}": exchanged[f"null_{key}"] for key in ("mean", "low", "high")}
    p = {"null_p": found["p"], "exchanged_p": exchanged["p"]}
    return {**found, **second, **p, "p": np.maximum(found["p"], exchanged["p"])}


def _peak(draws: list[Draws], centres: Floats) -> dict[str, Floats]:
    """Summarise the largest value over windows of each relation, against the largest of each null draw."""
    value, bootstrap, null = (np.mean([one[place] for one in draws], axis=0) for place in range(3))
    at = value.argmax(axis=-1)
    peak = Draws(value.max(axis=-1), bootstrap[:, np.arange(len(at)), at], null.max(axis=-1))
    return {**over_animals([peak]), "time": centres[at]}


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each relation: its peak over the windows of a trial, against the null that gives the larger p."""
    lines = []
    nulls = {
        "null": (scores.attrs["floor"], int(scores.attrs["permutations"])),
        "exchanged": (f"{EXCHANGES} exchanges of decoded trials in each animal, decoders not refitted", EXCHANGES),
    }
    what = f"{scores.attrs['measure']} of the {{}} odor; decoded: {scores.attrs['label']}"
    for relation in scores["relation"].values:
        one = scores.sel(relation=relation)
        refits = bool(one["peak_null_p"] >= one["peak_exchanged_p"])
        null, other = ("null", "exchanged") if refits else ("exchanged", "null")
        lines.append(
            line_of(one, what.format(relation), prefix="peak_", null=null)._replace(
                setting=f"peak at {float(one['peak_time']):.3g} s",
                interval=scores.attrs["interval"] + ", at the time of the peak, which was chosen by its height",
                null_kind=f"{nulls[null][0]}; the peak over all windows of each draw; p is the larger of two, the other being "
                f"{float(one[f'peak_{other}_p']):.2g} of {nulls[other][0]}",
                null_n=nulls[null][1],
                chance=0.0 if relation == ASYMMETRY else float(scores.attrs["chance"]),
                n_animals=scores.sizes["animal"],
                n_trials=int(scores["trials"].sum()),
                n_windows=scores.sizes["window"],
                n_splits=int(scores.attrs["folds"]),
            )
        )
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw previous, current and next odor against time."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"time": figures.time_course(scores)}
