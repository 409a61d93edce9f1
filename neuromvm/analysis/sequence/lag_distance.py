"""Analysis ``lag_distance``: does the distance between odors, in activity or latents, grow with their lag in the sequence?

In sequence, lag of odor and lag of position are one variable, and the slope is named after both. Out-of-sequence trials separate
them: the distance of such a trial to the in-sequence mean of each odor is regressed on both lags, see
:mod:`neuromvm.analysis.sequence.distances`.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Absent, Counts, Score, score_of
from neuromvm.analysis.sequence.confounds import confounded
from neuromvm.analysis.sequence.decoder import Inputs, by_representation, inputs_of_latents
from neuromvm.analysis.sequence.distances import (
    ScoredTrials,
    by_lag,
    distances,
    lag_slope,
    parted_draws,
    relabelled_distances,
    runs_drawn,
)
from neuromvm.analysis.sequence.means import ACTIVITY, NAN, Draws, seeds, variables_of
from neuromvm.analysis.sequence.trials import WindowOptions, cut_sequence, read_trials, require_animals, with_runs_of
from neuromvm.errors import SplitError
from neuromvm.schema import Part, in_sample

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

PARTED = ("odor lag", "position lag")
UNITS = Absent("distances of latents and of activity have no unit in common")


class Options(WindowOptions):
    """The window of activity, and how many out-of-sequence trials are needed. Only slopes are fitted."""

    permutations: int = Field(1000, ge=19, description="Permutations of odors among trials")
    fewest: int = Field(5, ge=2, description="Out-of-sequence trials an animal must have to part odor lag from position lag")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Measure activity of all recorded trials (``raw``), and the latents of test trials of each model: :func:`lag_distance`."""
    activity = read_trials(cut_sequence(study.recordings, study.spec.samples, options))
    inputs = {}
    for name, trials in activity.trials.items():
        # Nothing is fitted on activity, not even a scale, so every trial can be used.
        parts = np.full((1, len(trials.odor)), Part.TEST, dtype=np.int8)
        inputs[name] = Inputs(activity.activity(name), trials, parts, NAN)
    scores = {"raw": lag_distance(activity.samples, inputs, options, activity.sequence)}
    left_out, fitted_on_test = {}, in_sample(study.splits)
    for model in study.models:
        embedded = read_trials(with_runs_of(study.samples, study.recordings))
        inputs = inputs_of_latents(embedded, study.latents(model), study.splits, NAN)
        try:
            scored = lag_distance(embedded.samples, inputs, options, embedded.sequence)
        except SplitError as error:
            left_out[model] = str(error)
            continue
        floor = f"{scored.attrs['floor']}, model not trained again"
        if fitted_on_test:
            nulls = itertools.product(("", "lag_", "parted_"), ("null_mean", "null_low", "null_high", "p"))
            scored, floor = scored.assign({name: scored[name].where(False) for name in map("".join, nulls)}), NO_FLOOR
        scores[model] = scored.assign_attrs(floor=floor)
    joined = by_representation(scores, left_out).reindex(odor=list(activity.sequence), other=list(activity.sequence))
    return joined.assign_attrs(in_sample=int(fitted_on_test))


def lag_distance(samples: xr.DataTree, inputs: Mapping[str, Inputs], options: Options, sequence: Sequence[str]) -> xr.Dataset:
    """Measure one representation in trials with labels ``odor, position``; ``sequence`` names the odors in sequence.

    Of the ``inputs`` of each animal, correct in-sequence trials and all out-of-sequence trials are used where they are scored.

    Returns
    -------
    ``value``: slope of squared distance on lag [squared units of a feature per step], mean over animals; ``lag_value (lag)``:
    mean distance at each lag; ``parted_value (slope)``: slopes on odor lag and on position lag of out-of-sequence trials, fitted
    jointly. Each with ``low, high, null_mean, null_low, null_high, p``. ``distance (odor, other)``; ``animal_value (animal)``,
    ``parted_animal_value (animal, slope)``, ``trials, parted_trials (animal)``.

    Intervals resample runs through the sequence, and out-of-sequence trials. The null of ``value`` and ``lag_value`` permutes
    odors among trials; that of ``parted_value`` permutes odors among out-of-sequence trials of the same position (odor lag), and
    positions among those of the same odor (position lag), which keeps the effect of the other lag. SplitError is raised if in no
    animal every odor has test trials of two runs.
    """
    left_out: dict[str, str] = {}
    measured = {}
    for name in inputs:
        if animal := _measure(name, samples[name].to_dataset(), inputs[name], len(sequence), options, left_out):
            measured[name] = animal
    require_animals("lag_distance", len(measured), left_out, "Test on more trials: split.kind=halves")
    animals = list(measured.values())
    parted = [animal.parted for animal in animals if animal.parted_trials]
    return xr.Dataset(
        {
            **variables_of([animal.slope for animal in animals]),
            **variables_of([animal.by_lag for animal in animals], ("lag",), "lag_"),
            **variables_of(parted or [Draws.missing(2)], ("slope",), "parted_"),
            "distance": (("odor", "other"), np.mean([animal.distance for animal in animals], axis=0)),
            "animal_value": (("animal",), np.array([animal.slope.observed for animal in animals])),
            "parted_animal_value": (("animal", "slope"), np.stack([animal.parted.observed for animal in animals])),
            "trials": (("animal",), np.array([animal.trials for animal in animals])),
            "parted_trials": (("animal",), np.array([animal.parted_trials for animal in animals])),
            "splits": max(len(values.parts) for values in inputs.values()),
        },
        coords={
            "odor": list(sequence),
            "other": list(sequence),
            "lag": np.arange(1, len(sequence)),
            "slope": list(PARTED),
            "animal": list(measured),
        },
        attrs={
            "label": " or ".join(sorted({animal.label for animal in animals})),
            "permutations": options.permutations,
            "interval": f"95 % over {options.bootstraps} bootstrap draws of runs through the sequence within animal",
            "parted_interval": f"95 % over {options.bootstraps} bootstrap draws of runs and out-of-sequence trials within animal",
            "floor": f"{options.permutations} permutations of odors among the correct in-sequence test trials of each animal, "
            "distances computed again",
            "parted_floor": f"{options.permutations} permutations among out-of-sequence test trials of each animal, "
            "means of in-sequence trials as they are,",
            "left_out": json.dumps(left_out),
        },
    )


class _Measured(NamedTuple):
    """Distances of one animal."""

    label: str  # name of what differs between odors
    distance: Floats  # (odor, odor)
    slope: Draws
    by_lag: Draws  # (lag,)
    parted: Draws  # (slope,)
    trials: int
    parted_trials: int  # 0 if the slopes cannot be separated


def _measure(
    name: str, dataset: xr.Dataset, inputs: Inputs, odors: int, options: Options, left_out: dict[str, str]
) -> _Measured | None:
    """Measure one animal; None if an odor has too few trials. ``left_out`` takes the reason."""
    trials = inputs.trials
    reference, out = trials.reference & inputs.scored, ~trials.in_sequence & inputs.scored
    rows = ScoredTrials.of(inputs, reference)
    products, odor = rows.times(rows, trials.run), trials.odor[rows.trial]
    distance = distances(products, odor, odors)
    if not np.isfinite(distance).all():
        left_out[name] = "an odor without correct in-sequence test trials of two runs"
        return None
    random = np.random.default_rng(seeds(options.seed, name))
    weight = runs_drawn(trials.run, reference, options.bootstraps, random)
    null = relabelled_distances(products, rows, trials.odor, name, dataset, odors, options.permutations)
    resampled = distances(products, odor, odors, weight[:, rows.trial])
    slope, lags = (Draws(measure(distance)[0], measure(resampled), measure(null)) for measure in (lag_slope, by_lag))
    parted, count = Draws.missing(2), int(out.sum())
    if count < options.fewest:
        left_out[f"{name}, out of sequence"] = f"{count} out-of-sequence test trials, {options.fewest} needed"
    else:
        parted = parted_draws(rows, ScoredTrials.of(inputs, out), trials, weight, odors, options.permutations, random)
        if not np.isfinite(parted.observed).all():
            left_out[f"{name}, out of sequence"] = "out-of-sequence trials do not part odor lag from position lag"
            parted = Draws.missing(2)
    separated = bool(np.isfinite(parted.observed).all())
    label = confounded(dataset, "odor", "position", reference).name
    return _Measured(label, distance[0], slope, lags, parted, int(reference.sum()), count * separated)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return for each representation the slope in sequence, and the slopes on odor lag and position lag out of sequence."""
    lines, attrs = [], scores.attrs
    floors, draws = json.loads(attrs["floors"]), int(attrs["permutations"])
    for representation in scores["representation"].values:
        selected, name = scores.sel(representation=representation), str(representation)
        in_sample, splits = floors[name] == NO_FLOOR, int(selected["splits"])
        shared: dict[str, Any] = {"representation": name, "chance": 0.0, "in_sample": in_sample}
        shared["difference"] = ACTIVITY if name == "raw" else UNITS
        parts = {
            "what": f"slope of squared distance on lag; lag: {attrs['label']}",
            "setting": "in sequence",
            "n": Counts(int(np.isfinite(selected["animal_value"]).sum()), int(selected["trials"].sum()), 1, splits),
            "resampled": attrs["interval"],
        }
        lines.append(score_of(selected, floors[name], draws, {**shared, **parts}))
        for slope, held in (PARTED, PARTED[::-1]):
            parted = selected.sel(slope=slope)
            animals = int(np.isfinite(parted["parted_animal_value"]).sum())
            if not animals:
                continue
            floor = NO_FLOOR if in_sample else f"{attrs['parted_floor']} within {held.removesuffix(' lag')}"
            parts = {
                "what": f"slope of squared distance on {slope}, {held} held",
                "setting": "out of sequence",
                "n": Counts(animals, int(parted["parted_trials"].sum()), 1, splits),
                "resampled": attrs["parted_interval"],
            }
            lines.append(score_of(parted, floor, draws, {**shared, **parts}, prefix="parted_"))
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw distance against lag, and the two slopes out of sequence."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"lags": figures.lag_distance(scores)}
