"""Analysis ``sequence``: at which time of a trial is the previous, the current or the next odor of the sequence decoded?

A decoder of the current odor is fitted in one window of correct in-sequence training trials and slid over the whole of test
trials. On such trials odor and position are one variable, and the decoded variable is named after both.

References
----------
Shahbaba, B., et al. (2022). Hippocampal ensembles represent sequential relationships among an extended sequence of nonspatial
events. *Nature Communications* 13, 787.
"""

import json
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Counts, Score, score_of
from neuromvm.analysis.sequence.confounds import confounded
from neuromvm.analysis.sequence.decoder import REFITTED, folds_of, probabilities, rarest_odor, shares, trial_orders
from neuromvm.analysis.sequence.means import ACTIVITY, Draws, over_animals, seeds
from neuromvm.analysis.sequence.trials import Codes, DecoderOptions, cut_sequence, read_trials, require_animals
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows
from neuromvm.data.features import features
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

NEIGHBOURS = {"previous": -1, "current": 0, "next": 1}
ASYMMETRY = "next - previous"
RELATIONS = (*NEIGHBOURS, ASYMMETRY)
EXCHANGES = 500  # permutations of decoded trials; decoders are not refitted


class Options(DecoderOptions):
    """The window in which the decoder is fitted, and how it is slid."""

    step: float = Field(0.05, gt=0, description="Step by which the window is slid over the trial [s]")
    measure: Literal["probability", "share"] = Field("probability", description="share: of windows decoded as the odor")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Decode the odor along the trials of a run's recordings; see :func:`follow`."""
    return follow(
        cut_sequence(study.recordings, study.spec.samples, options),
        cut_sequence(study.recordings, study.spec.samples, options, slide=options.step),
        options,
    )


def follow(fitted: xr.DataTree, slid: xr.DataTree, options: Options | None = None) -> xr.Dataset:
    """Decode previous, current and next odor in time.

    ``fitted`` are samples with one window a trial, in which decoders are fitted; ``slid`` are samples of the same trials and
    features, with the window slid over the trial.

    Returns
    -------
    ``value (relation, window)``: probability (or share) of the odor before, at and after the current one in the sequence, minus
    its mean over trials of all odors, plus chance; the mean is subtracted because it does not depend on the odor. Mean over test
    trials of an odor, over the odors that have such a neighbour, and over animals. The relation ``next - previous`` is the
    difference on odors that have both neighbours; confusion of neighbours alone leaves it at 0. With ``low, high`` and two
    nulls: ``null_mean, null_low, null_high``, all refitted on permuted activity, and ``exchanged_mean, exchanged_low,
    exchanged_high``, decoded trials permuted. The second null is needed because a decoder fitted on real activity has more
    variable output in windows without odor than one fitted on permuted activity. ``p`` is the larger of ``null_p`` and
    ``exchanged_p``. ``peak_*, peak_time (relation)``: the same for the maximum over windows, against the maximum of each null
    draw, which corrects for the number of windows. ``animal_value (animal, relation, window)``, ``trials (animal)``. Attribute
    ``label``: the decoded variable; ``left_out``: animals and reasons (JSON). SplitError is raised if every animal has an odor
    with fewer correct in-sequence trials than there are folds.
    """
    options = options or Options()
    spec = sample_spec(fitted)
    animals, slid_animals = read_trials(fitted), read_trials(slid)
    odors = len(animals.sequence)
    followed: dict[str, tuple[Draws, Draws]] = {}
    left_out, labels, trials = {}, set(), []
    for name, dataset in schema.animals(animals.samples):
        windows = slid_animals.samples[name].to_dataset()
        if not np.array_equal(dataset["trial"], windows["trial"]):
            raise SchemaError(f"animal {name}", found="other trials in the slid samples", expected="the same trials")
        used = animals.trials[name].reference
        odor = animals.trials[name].odor[used]
        rarest = rarest_odor(odor, odors)
        if rarest < options.folds:
            left_out[name] = f"{rarest} correct in-sequence trials of an odor, {options.folds} needed"
            continue
        trials.append(len(odor))
        labels.add(confounded(dataset, "odor", "position", used).name)
        decoded = features(windows.isel(trial=used)["activity"], spec)
        followed[name] = _follow_animal(name, dataset.isel(trial=used), animals.activity(name)[used], decoded, odor, options)
    require_animals("sequence", len(followed), left_out, "Use fewer folds, or leave rare odors out with 'keep'")
    centres = next(iter(slid_animals.samples.children.values()))["window"].to_numpy()
    dims = ("relation", "window")
    nulls = [list(draws) for draws in zip(*followed.values(), strict=True)]
    peaks = _larger_p(*(_peak(draws, centres) for draws in nulls))
    return xr.Dataset(
        {
            **{key: (dims, values) for key, values in _larger_p(*map(over_animals, nulls)).items()},
            **{f"peak_{key}": (("relation",), values) for key, values in peaks.items()},
            "animal_value": (("animal", *dims), np.stack([draws.observed for draws in nulls[0]])),
            "trials": (("animal",), np.array(trials)),
        },
        coords={"relation": list(RELATIONS), "window": centres, "animal": list(followed)},
        attrs={
            "label": " or ".join(sorted(labels)),
            "sequence": json.dumps(animals.sequence),
            "measure": options.measure,
            "chance": 1 / odors,
            **{key: getattr(options, key) for key in ("start", "stop", "folds", "permutations")},
            "interval": f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and odor",
            "floor": f"{options.permutations} {REFITTED}",
            "left_out": json.dumps(left_out),
        },
    )


def _follow_animal(
    name: str, dataset: xr.Dataset, window: Floats, decoded: Floats, odor: Codes, options: Options
) -> tuple[Draws, Draws]:
    """Return draws ``(..., relation, window)`` with the null of refitted decoders, and with that of exchanged trials.

    Decoders are fitted in ``window (trial, feature)`` and applied to ``decoded (trial, window, feature)``.
    """
    fitted = np.ones(len(odor), dtype=bool)
    parts = folds_of(name, dataset, odor, fitted, options.split)

    def measure(order: Codes) -> Floats:
        probability = probabilities(window[order], decoded[order], odor, fitted, parts, options.inverse_penalty)
        return over_trials.mean_of_scored(probability if options.measure == "probability" else shares(probability), axis=0)

    labels = np.arange(odor.max() + 1, dtype=np.int16)[:, None]
    rows = LabelRows(labels, odor, shifted=labels.astype(np.intp))
    unchanged = over_trials.as_they_are(rows)
    random = np.random.default_rng(seeds(options.seed, name))
    orders = trial_orders(name, dataset, options.permutations)
    measured = measure(next(orders))
    observed = _relations(measured, unchanged)[0]
    bootstrap = _relations(measured, over_trials.bootstrap(rows, options.bootstraps, random))
    exchanged = _relations(measured, over_trials.permutations(rows, EXCHANGES, random))
    refitted = np.concatenate([_relations(measure(order), unchanged) for order in orders])
    return Draws(observed, bootstrap, refitted), Draws(observed, bootstrap, exchanged)


def _relations(decoded: Floats, assignments: Floats) -> Floats:
    """Return ``(draw, relation, window)``.

    ``decoded`` is ``(trial, window, odor)``; ``assignments (draw, trial, odor)`` says how often a trial counts as one of an odor.
    The mean over trials of all odors is subtracted: activity before a trial resembles no odor, and can still be nearest to one.
    """
    share = assignments / assignments.sum(axis=1, keepdims=True)
    means = np.einsum("dto,twc->dowc", share, decoded, optimize=True)  # (draw, odor of the trial, window, decoded odor)
    means = means - means.mean(axis=1, keepdims=True) + 1 / decoded.shape[-1]
    neighbours = [np.diagonal(means, offset=shift, axis1=1, axis2=3) for shift in NEIGHBOURS.values()]  # (draw, window, odor)
    # "next" begins with the first odor of the sequence and "previous" with the second; odors in the middle have both.
    asymmetry = neighbours[2][..., 1:] - neighbours[0][..., :-1]
    return np.stack([values.mean(axis=-1) for values in (*neighbours, asymmetry)], axis=1)


def _larger_p(refitted: dict[str, Floats], exchanged: dict[str, Floats]) -> dict[str, Floats]:
    """Return the summary against refitted decoders, the null of exchanged trials, and the larger p."""
    nulls = {f"exchanged_{key}": exchanged[f"null_{key}"] for key in ("mean", "low", "high")}
    p = {"null_p": refitted["p"], "exchanged_p": exchanged["p"], "p": np.maximum(refitted["p"], exchanged["p"])}
    return {**refitted, **nulls, **p}


def _peak(draws: list[Draws], centres: Floats) -> dict[str, Floats]:
    """Summarise the maximum over windows of each relation, against the maximum of each null draw."""
    value, bootstrap, null = (np.mean(values, axis=0) for values in zip(*draws, strict=True))
    window = value.argmax(axis=-1)
    peak = Draws(value.max(axis=-1), bootstrap[:, np.arange(len(window)), window], null.max(axis=-1))
    return {**over_animals([peak]), "time": centres[window]}


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return the peak over windows of each relation, against the null that gives the larger p."""
    lines, attrs = [], scores.attrs
    nulls = {
        "null": (attrs["floor"], int(attrs["permutations"])),
        "exchanged": (f"{EXCHANGES} exchanges of decoded trials in each animal, decoders not refitted", EXCHANGES),
    }
    n = Counts(scores.sizes["animal"], int(scores["trials"].sum()), scores.sizes["window"], int(attrs["folds"]))
    shared = {"representation": "raw", "n": n, "difference": ACTIVITY}
    for relation in scores["relation"].values:
        peak = scores.sel(relation=relation)
        null, smaller = ("null", "exchanged") if peak["peak_null_p"] >= peak["peak_exchanged_p"] else ("exchanged", "null")
        null_kind = (
            f"{nulls[null][0]}; the peak over all windows of each draw; p is the larger of two, the other being "
            f"{float(peak[f'peak_{smaller}_p']):.2g} of {nulls[smaller][0]}"
        )
        parts = {
            "what": f"{attrs['measure']} of the {relation} odor; decoded: {attrs['label']}",
            "setting": f"peak at {float(peak['peak_time']):.3g} s",
            "resampled": f"{attrs['interval']}, at the time of the peak, which was chosen by its height",
            "chance": 0.0 if relation == ASYMMETRY else float(attrs["chance"]),
        }
        lines.append(score_of(peak, null_kind, nulls[null][1], {**shared, **parts}, prefix="peak_", null=null))
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw previous, current and next odor against time."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"time": figures.time_course(scores)}
