"""Analysis ``lag_distance``: are odors further apart, in activity or latents, the further apart they are in the sequence?

In sequence, lag of odor and lag of position are one variable, and the slope is called so. On out-of-sequence trials they part:
the distance of such a trial to the in-sequence mean of each odor is regressed on both, see
:mod:`neuromvm.analysis.sequence.distances`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.flat_score import NAN, Score
from neuromvm.analysis.sequence.confounds import confounded
from neuromvm.analysis.sequence.distances import by_lag, distances, lag_slope
from neuromvm.analysis.sequence.inputs import View, views_of_latents
from neuromvm.analysis.sequence.means import ACTIVITY, Draws, line_of, over_animals, seeds
from neuromvm.analysis.sequence.test_trials import Rows, parted_draws, relabelled_distances, runs_drawn
from neuromvm.analysis.sequence.trials import WindowOptions, cut_sequence, read_trials, refuse_without_animals, with_runs_of
from neuromvm.data.features import features
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SplitError
from neuromvm.schema import Part, in_sample, is_scored

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

Codes = NDArray[np.intp]
PARTED = ("odor lag", "position lag")


class Options(WindowOptions):
    """The window of activity, and how many out-of-sequence trials are needed. Nothing is fitted but slopes."""

    permutations: int = Field(1000, ge=19, description="Permutations of odors among trials")
    fewest: int = Field(5, ge=2, description="Out-of-sequence trials an animal must have to part odor lag from position lag")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Measure activity of all recorded trials, and the latents of test trials of each model.

    Returns
    -------
    As of :func:`lag_distance`, with ``representation``: activity (``raw``) and models.
    """
    activity = read_trials(cut_sequence(study.recordings, study.spec.samples, options))
    views = {}
    for name, dataset in schema.animals(activity.samples):
        # Nothing is fitted on activity, not even a scale, so that every trial may be used.
        values = features(dataset["activity"], sample_spec(activity.samples))[:, 0]
        views[name] = View(values, activity.trials[name], np.full((1, len(values)), Part.TEST, dtype=np.int8), NAN)
    found = {"raw": lag_distance(activity.samples, views, options, activity.sequence)}
    left_out = {}
    for model in study.models:
        embedded = read_trials(with_runs_of(study.samples, study.recordings))
        views = views_of_latents(embedded, study.latents(model), study.splits, NAN)
        try:
            found[model] = lag_distance(embedded.samples, views, options, embedded.sequence)
        except SplitError as error:
            left_out[model] = str(error)
    for name, one in found.items():
        left_out |= {f"{name}, {animal}": reason for animal, reason in json.loads(one.attrs["left_out"]).items()}
    floors = {name: one.attrs["floor"] + ("" if name == "raw" else ", model not trained again") for name, one in found.items()}
    scores = xr.concat(
        list(found.values()), dim=xr.Variable("representation", list(found)), join="outer", combine_attrs="override"
    )
    scores = scores.reindex(odor=list(activity.sequence), other=list(activity.sequence))
    if in_sample(study.splits):
        floors |= {name: NO_FLOOR for name in found if name != "raw"}
        for prefix in ("", "lag_", "parted_"):
            for key in ("null_mean", "null_low", "null_high", "p"):
                scores[prefix + key] = scores[prefix + key].where(scores["representation"] == "raw")
    return scores.assign_attrs(left_out=json.dumps(left_out), floors=json.dumps(floors), in_sample=int(in_sample(study.splits)))


def lag_distance(samples: xr.DataTree, views: Mapping[str, View], options: Options, sequence: Sequence[str]) -> xr.Dataset:
    """Measure one representation.

    Parameters
    ----------
    samples
        The trials of each animal, labels ``odor, position``.
    views
        Values of each animal; correct in-sequence trials and all out-of-sequence trials are used where they are scored.
    options
        Resampling.
    sequence
        Names of the odors in sequence.

    Returns
    -------
    ``value``: slope of squared distance on lag [squared units of a feature a step], mean over animals; ``lag_value (lag)``: mean
    distance at each lag; ``parted_value (slope)``: on out-of-sequence trials, slope on odor lag given position lag, and the other
    way round. Each with ``low, high, null_mean, null_low, null_high, p``. ``distance (odor, other)``; ``animal_value (animal)``,
    ``parted_animal_value (animal, slope)``, ``trials, parted_trials (animal)``.

    Intervals are over runs through the sequence (and out-of-sequence trials), drawn again. The null of the first two: odors
    permuted among trials. That of ``parted_value``: positions (for position lag) exchanged among out-of-sequence trials of the
    same odor, odors among those of the same position, so that what the other variable explains stays.

    Raises
    ------
    SplitError
        If in no animal every odor has test trials of two runs.
    """
    drawn: dict[str, tuple[Draws, Draws]] = {}
    parted: dict[str, Draws] = {}
    odors = len(sequence)
    matrices, counts, others, names = [], [], {}, set()
    left_out: dict[str, str] = {}
    for name, view in views.items():
        trials, dataset = view.trials, samples[name].to_dataset()
        scored = is_scored(view.parts).any(axis=0)
        due, other = trials.in_sequence & trials.correct, ~trials.in_sequence & scored
        rows = Rows.of(view, due)
        products = rows.times(rows, trials.run)
        matrix = distances(products, trials.odor[rows.trial], odors)
        if not np.isfinite(matrix).all():
            left_out[name] = "an odor without correct in-sequence test trials of two runs"
            continue
        names.add(confounded(dataset, "odor", "position", due & scored).name)
        random = np.random.default_rng(seeds(options.seed, name))
        weight = runs_drawn(trials.run, due & scored, options.bootstraps, random)
        null = relabelled_distances(products, rows, trials.odor, due & scored, dataset, name, odors, options)
        resampled = distances(products, trials.odor[rows.trial], odors, weight[:, rows.trial])
        slope, lags = (Draws(of(matrix)[0], of(resampled), of(null)) for of in (lag_slope, by_lag))
        drawn[name] = slope, lags
        matrices.append(matrix[0])
        counts.append(int((due & scored).sum()))
        others[name] = int(other.sum())
        if other.sum() < options.fewest:
            left_out[f"{name}, out of sequence"] = f"{other.sum()} out-of-sequence test trials, {options.fewest} needed"
            continue
        one = parted_draws(rows, Rows.of(view, other), trials, weight, odors, options, random)
        if np.isfinite(one.observed).all():
            parted[name] = one
        else:
            left_out[f"{name}, out of sequence"] = "out-of-sequence trials do not part odor lag from position lag"
    refuse_without_animals("lag_distance", len(drawn), left_out, "Test on more trials: split.kind=halves")
    slopes, means = zip(*drawn.values(), strict=True)
    nothing = Draws(np.full(2, NAN), np.full((1, 2), NAN), np.full((1, 2), NAN))
    apart = [parted.get(name, nothing) for name in drawn]
    variables = {
        **over_animals(slopes),
        **{f"lag_{key}": (("lag",), values) for key, values in over_animals(means).items()},
        **{f"parted_{key}": (("slope",), values) for key, values in over_animals(list(parted.values()) or [nothing]).items()},
        "distance": (("odor", "other"), np.mean(matrices, axis=0)),
        "animal_value": (("animal",), np.array([one.observed for one in slopes])),
        "parted_animal_value": (("animal", "slope"), np.stack([one.observed for one in apart])),
        "trials": (("animal",), np.array(counts)),
        "parted_trials": (("animal",), np.array([others[name] * (name in parted) for name in drawn])),
        "splits": max(len(view.parts) for view in views.values()),
    }
    return xr.Dataset(
        variables,
        coords={
            "odor": list(sequence),
            "other": list(sequence),
            "lag": np.arange(1, odors),
            "slope": list(PARTED),
            "animal": list(drawn),
        },
        attrs={
            "label": " or ".join(sorted(names)),
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


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return for each representation the slope in sequence, and out of sequence those on odor lag and position lag."""
    lines = []
    floors = json.loads(scores.attrs["floors"])
    for representation in scores["representation"].values:
        one = scores.sel(representation=representation)
        name, seen = str(representation), floors[str(representation)] == NO_FLOOR
        about = {
            "representation": name,
            "n_splits": int(one["splits"]),
            "chance": 0.0,
            "null_n": 0 if seen else int(scores.attrs["permutations"]),
            "in_sample": seen,
            "baseline": ACTIVITY if name == "raw" else "none: distances of latents and of activity have no unit in common",
        }
        lines.append(
            line_of(one, f"slope of squared distance on lag; lag: {scores.attrs['label']}")._replace(
                setting="in sequence",
                interval=scores.attrs["interval"],
                null_kind=floors[name],
                n_animals=int(np.isfinite(one["animal_value"]).sum()),
                n_trials=int(one["trials"].sum()),
                **about,
            )
        )
        for slope, held in (PARTED, PARTED[::-1]):
            line = one.sel(slope=slope)
            there = np.isfinite(line["parted_animal_value"])
            if there.any():
                lines.append(
                    line_of(line, f"slope of squared distance on {slope}, {held} held", prefix="parted_")._replace(
                        setting="out of sequence",
                        interval=scores.attrs["parted_interval"],
                        null_kind=NO_FLOOR if seen else f"{scores.attrs['parted_floor']} within {held.removesuffix(' lag')}",
                        n_animals=int(there.sum()),
                        n_trials=int(line["parted_trials"].sum()),
                        **about,
                    )
                )
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw distance against lag, and the two slopes out of sequence."""
    from neuromvm.analysis.figures import sequence as figures  # here, so that computing needs no plotting library

    return {"lags": figures.lag_distance(scores)}
