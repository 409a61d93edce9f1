"""Analysis ``time_resolved``: when, relative to an event, does the activity of an animal carry the label of the trial?

A window slides over the whole grid of the recordings. In each window a decoder is fitted on training-side trials and applied to
test trials of the same window (the curve) and of every other window (temporal generalization). Inputs are raw features and the
latents of models that were embedded along the grid. The null of activity refits everything on permuted trials, that of an
animal's own latents permutes test trials, and that of latents decoded by decoders of other animals renames classes. Between
different windows classes are renamed in every setting.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm import schema
from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.scores import Absent, Counts, Interval, Null, Score, saved_interval, score_of
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.time.curves import ONSETS, Draws, between_windows, onsets
from neuromvm.analysis.time.sliding import (
    BETWEEN_WINDOWS,
    RENAMED_NULL,
    Decoded,
    Followed,
    decode_windows,
    follow_features,
    follow_latents,
)
from neuromvm.data.windows import make_samples, sample_spec
from neuromvm.errors import SpecError, SplitError
from neuromvm.progress import steps
from neuromvm.schema import check_same_trials, grid_dim, in_sample
from neuromvm.specs import SampleSpec
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

RAW, WITHIN = "raw", "within"
WINDOWS_OF_GRID = 16  # default width: the grid divided by this; consecutive windows overlap by half
MANY = 1000  # ways to rename classes, above which their number is not written
PERIODS = {"whole": "over the whole grid", "before": "before the event", "after": "after the event"}

Variable = tuple[tuple[str, ...], Floats]


class Options(Spec):
    """Windows, label and resampling. The defaults take a few minutes for five animals of 100 units and 200 trials."""

    label: str | list[str] | None = Field(None, description="Trial labels to decode, joined; default: those that the run decodes")
    width: float | None = Field(None, gt=0, description="Of a window [s or position]; default: a sixteenth of the grid")
    step: float | None = Field(None, gt=0, description="Between windows; default: half the width")
    bin_width: float | None = Field(None, gt=0, description="Bins inside a window; default: the whole window, one count a unit")
    permutations: int = Field(200, ge=20, description="Draws of the null; the smallest p is 1 / (permutations + 1)")
    permute_within: str | None = Field(None, description="Trial label (block, session) within which trials are exchangeable")
    level: float = Field(0.05, gt=0, lt=0.5, description="Of single windows in clusters, and of what is called significant")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    seed: int = Field(0, ge=0, description="Of the resamples")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Decode the windows of a run; see :func:`decode_in_time`."""
    paths = {model: tree for model in study.models if (tree := study.paths(model)) is not None}
    whole_trial = [model for model in paths if study.spec.models[model].networks.kind == "convolution"]
    return decode_in_time(study.recordings, study.samples, study.splits, paths, options, whole_trial=whole_trial)


def decode_in_time(
    recordings: xr.DataTree,
    samples: xr.DataTree,
    splits: xr.DataTree,
    paths: Mapping[str, xr.DataTree] | None = None,
    options: Options | None = None,
    *,
    whole_trial: Sequence[str] = (),
) -> xr.Dataset:
    """Decode a trial label in windows that slide over the grid, and from each window in every other.

    Windows are cut again, with the trials, the transform and the splits of a run. ``paths`` are the latents of models along the
    grid, see :meth:`neuromvm.folders.study.Study.paths`; latents of models in ``whole_trial`` are inferred from the whole trial,
    and have no onsets.

    Returns
    -------
    Balanced accuracies, mean over splits. ``value (representation, setting, window)``, mean over animals, with ``low, high``
    (bootstrap), ``null_mean, null_low, null_high`` (95 % of the null), ``p``, ``p_max`` (corrected for all windows) and
    ``cluster_p`` (of the cluster in which a window lies, 1 if in none); the same with prefix ``target_`` for each animal
    (target). ``generalization, generalization_p_max, generalization_cluster_p (representation, setting, train_window,
    test_window)``, mean over animals; p of a window tested in itself are those of the curve, all others are corrected for all
    pairs of different windows. ``period_*`` and ``share_* (representation, setting, period)``: mean accuracy, and share of
    windows with p_max <= level, over the ``windows`` that lie wholly before or wholly after the event. ``onset_* (representation,
    setting, onset)``, see :func:`neuromvm.analysis.time.curves.onsets`. ``chance (representation, setting)``, ``trials
    (representation, setting, target)``, ``splits, width, whole_trial (representation)``, ``null_kind, generalization_null_kind
    (representation, setting)``. NaN where no trial is scored, and for windows that a representation does not have.

    Settings: ``within``, the decoder of the animal itself; ``others``, a decoder fitted on the latents of all other animals. Its
    null renames the classes of every animal (:mod:`neuromvm.analysis.statistics.renamed_classes`), for a single target the
    classes of this target only: with few animals and classes, p cannot be small. Between different windows p of ``within`` is the
    larger of those of permuted trials and of renamed classes, since a decoder answers each class of another window in one way, by
    luck the right one, although the two windows share nothing.

    SpecError is raised if labels are those of windows, or a model is called "raw"; SplitError if no animal can be scored.

    References
    ----------
    King & Dehaene (2014). Characterizing the dynamics of mental representations: the temporal generalization method. *Trends
    Cogn. Sci.* 18, 203-210.
    """
    options, paths = options or Options(), paths or {}
    if RAW in paths:
        raise SpecError(f"models.{RAW}", found="a model with the name of the raw features", next_step="Rename the model")
    check_same_trials(samples, splits)
    windows = make_samples(recordings, window_spec(recordings, sample_spec(samples), options))
    draws = 0 if in_sample(splits) else options.permutations
    followed = {RAW: follow_features(windows, splits, draws, options.permute_within)}
    followed |= {name: follow_latents(tree, windows, splits, draws, options.permute_within) for name, tree in paths.items()}
    dataset = next(iter(recordings.children.values())).to_dataset()
    grid = grid_dim(dataset)
    other_recordings = {target: schema.other_animals(windows, target) for target in windows.children}
    parts = [
        _scores(representation, other_recordings, options, grid)
        for representation in steps(followed.values(), "time_resolved", "row")
    ]
    if not any(np.isfinite(part["value"]).any() for part in parts):
        raise SplitError(
            "analysis time_resolved",
            found="no trial that any decoder can be tested on",
            expected="animals with trials on both sides of a split",
            next_step="Use split.kind=halves or kfold",
        )
    return (
        xr.concat(parts, dim="representation", join="outer")
        .assign(whole_trial=("representation", [int(name in whole_trial) for name in followed]))
        .assign_coords(representation=list(followed))
        .assign_attrs(
            label=windows.attrs["label"],
            classes=windows.attrs["classes"],
            grid=grid,
            grid_name=str(dataset[grid].attrs.get("long_name", grid)).removesuffix(", bin centres"),
            level=options.level,
            permutations=draws,
            interval=f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and class",
            in_sample=int(in_sample(splits)),
        )
    )


def window_spec(recordings: xr.DataTree, spec: SampleSpec, options: Options) -> SampleSpec:
    """Return the spec of a run's samples with the windows and the label of this analysis."""
    decoded = [options.label] if isinstance(options.label, str) else options.label
    label = [name for name in spec.label if name != "window"] if decoded is None else decoded
    if not label or "window" in label:
        raise SpecError(
            "analyses.time_resolved.label",
            found="the window" if label else "no label of trials among those decoded",
            expected="trial labels, which are the same in all windows of a trial",
            next_step="Name a trial label in 'label'",
        )
    dataset = next(iter(recordings.children.values())).to_dataset()
    grid = dataset[grid_dim(dataset)]
    fine = float(grid.attrs["bin_width"])
    width = fine * max(1, round(len(grid) / WINDOWS_OF_GRID)) if options.width is None else options.width
    step = fine * max(1, int(width / fine + 1e-6) // 2) if options.step is None else options.step
    along = {"start": None, "stop": None, "width": width, "step": step, "bin_width": options.bin_width}
    return spec.model_copy(update={**along, "label": label, "match": None})


def periods(centres: NDArray[np.floating], width: float, grid: str) -> dict[str, NDArray[np.bool_]]:
    """Return which windows lie wholly before and wholly after the event; on a grid of positions, all of them as one period."""
    if grid != "time":
        return {"whole": np.ones(len(centres), dtype=bool)}
    return {"before": centres + width / 2 < 1e-6, "after": centres - width / 2 > -1e-6}


def _scores(followed: Followed, other_recordings: Mapping[str, Sequence[str]], options: Options, grid: str) -> xr.Dataset:
    """Score a representation in every setting; ``others`` are the recordings of other animals than a target."""
    settings, targets = [], list(other_recordings)
    for setting, null_kind in ((WITHIN, followed.null), (OTHERS, RENAMED_NULL)):
        usable = followed.animals if setting == WITHIN or followed.shared else ()
        asked = {target: [target] if setting == WITHIN else names for target, names in other_recordings.items()}
        sources = {target: [name for name in names if name in usable] for target, names in asked.items()}
        decoded = [
            decode_windows(followed.animals, target, names, options.bootstraps, options.seed) for target, names in sources.items()
        ]
        between = _between_windows_kind(null_kind, decoded) if setting == WITHIN else null_kind
        summary = _summary(decoded, followed, options, grid)
        settings.append(summary.assign(null_kind=null_kind, generalization_null_kind=between))
    centres = np.round(followed.centres, 9)  # windows at the same time get equal coordinates in all representations
    splits = max(len(animal.scored) for animal in followed.animals.values())
    return (
        xr.concat(settings, dim="setting")
        .assign(splits=splits, width=followed.width)
        .assign_coords(setting=[WITHIN, OTHERS], target=list(targets), window=centres, train_window=centres, test_window=centres)
    )


def _summary(decoded: Sequence[Decoded], followed: Followed, options: Options, grid: str) -> xr.Dataset:
    """Return the scores of each animal and of their mean."""
    matrix = np.stack([animal.matrix for animal in decoded])
    null = np.stack([animal.null for animal in decoded], axis=1)
    bootstrap = np.stack([animal.bootstrap for animal in decoded], axis=1)
    curves = Draws(np.einsum("aww->aw", matrix), np.einsum("daww->daw", null), bootstrap)
    mean = Draws(*(over_trials.mean_of_scored(values, axis=-2) for values in curves))
    targets = [Draws(curves.value[index], animal.alone, animal.bootstrap) for index, animal in enumerate(decoded)]
    summaries = [curve.summary() | curve.corrected(options.level) for curve in (mean, *targets)]
    inside = periods(followed.centres, followed.width, grid)
    onset = onsets(mean, followed.centres + followed.width / 2, options.level)
    renamed = np.stack([animal.renamed for animal in decoded], axis=1)
    mean_matrix, *nulls = (over_trials.mean_of_scored(values, axis=-3) for values in (matrix, null, renamed))
    variables: dict[str, Variable] = {
        **{key: (("window",), values) for key, values in summaries[0].items()},
        **{f"target_{key}": (("target", "window"), np.stack([row[key] for row in summaries[1:]])) for key in summaries[0]},
        **_over_periods(mean, inside, "period"),
        **_over_periods(mean.significant(options.level), inside, "share"),
        **{f"onset_{key}": (("onset",), numbers) for key, numbers in onset.items()},
        **_generalization(mean_matrix, nulls, summaries[0], options.level),
        "trials": (("target",), np.array([animal.trials for animal in decoded])),
        "chance": ((), over_trials.mean_of_scored(np.array([animal.chance for animal in decoded]), axis=0)),
        "windows": (("period",), np.array([int(windows.sum()) for windows in inside.values()])),
    }
    return xr.Dataset(variables, coords={"period": list(inside), "onset": list(ONSETS)})


def _generalization(matrix: Floats, nulls: Sequence[Floats], of_curve: Mapping[str, Floats], level: float) -> dict[str, Variable]:
    """Return the accuracy of each pair of windows and its p, on the diagonal that of the curve."""
    dims = ("train_window", "test_window")
    p_between = between_windows(matrix, nulls, level)
    with_diagonal = {key: np.where(np.eye(len(p), dtype=bool), of_curve[key], p) for key, p in p_between.items()}
    return {"generalization": (dims, matrix), **{f"generalization_{key}": (dims, p) for key, p in with_diagonal.items()}}


def _between_windows_kind(null_kind: str, decoded: Sequence[Decoded]) -> str:
    """Say in words what the null is between different windows, and how many ways there are to rename classes."""
    ways = prod(animal.namings for animal in decoded)
    return f"{null_kind}; {BETWEEN_WINDOWS} ({ways if ways < MANY else f'more than {MANY}'} ways)"


def _over_periods(curve: Draws, inside: Mapping[str, NDArray[np.bool_]], prefix: str) -> dict[str, Variable]:
    """Return the mean over the windows of each period."""
    summaries = [curve.mean_over(windows).summary() for windows in inside.values()]
    return {f"{prefix}_{key}": (("period",), np.concatenate([row[key] for row in summaries])) for key in summaries[0]}


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return mean accuracy, share of significant windows and onsets; no best window is selected.

    An onset is the end of a window, when the decoded activity had been recorded. Only the onset of significance, not that of the
    first significant cluster, may be claimed.
    """
    lines: list[Score] = []
    for representation, setting in itertools.product(scores["representation"].values, scores["setting"].values):
        selected = scores.sel(representation=representation, setting=setting)
        if np.isfinite(selected["value"]).any():
            lines += [*_period_lines(selected), *_onset_lines(selected)]
    return lines


def _period_lines(scores: xr.Dataset) -> Iterator[Score]:
    """Yield mean accuracy and share of significant windows before and after the event."""
    resampled = scores.attrs["interval"]
    for period in scores["period"].values:
        part = scores.sel(period=period)
        shared = _shared_parts(scores, int(part["windows"]))
        if np.isfinite(part["period_value"]):
            accuracy = {"what": f"balanced accuracy {PERIODS[period]}", "resampled": resampled, "chance": float(part["chance"])}
            yield score_of(part, *_null(scores), {**accuracy, **shared}, prefix="period_")
        if np.isfinite(part["share_value"]):
            share = {
                "what": f"share of windows significant {PERIODS[period]}",
                "resampled": f"{resampled}, thresholds as they are",
                "chance": Absent("how few windows noise makes significant is the floor"),
            }
            yield score_of(part, *_null(scores), {**share, **shared}, prefix="share_")


def _onset_lines(scores: xr.Dataset) -> Iterator[Score]:
    """Yield the end of the first window of a significant cluster, and of the first window significant by itself.

    If no window is significant, the value is NaN and p is the smallest of all windows. There are no lines for a grid of
    positions, without a null, and for latents inferred from the whole trial.
    """
    if scores.attrs["grid"] != "time" or scores.attrs["in_sample"] or scores["whole_trial"]:
        return
    null_kind, draws = _null(scores)
    null_kind += "; floor none: p is that of the window, corrected for all windows"
    for key, title in ONSETS.items():
        onset = scores.sel(onset=key)
        share = f"{float(onset['onset_found']):.1%} of the draws hold a window of this run"
        interval: Interval | Absent = saved_interval(onset, "onset_")
        if not np.isfinite(onset["onset_low"]):
            interval = Absent(share if np.isfinite(onset["onset_value"]) else "no window stands out")
        yield Score(
            what=title,
            value=float(onset["onset_value"]),
            interval=interval,
            resampled=f"{scores.attrs['interval']}: where the run of windows begins, thresholds as they are; {share}",
            null=Null(null_kind, draws, np.nan, np.nan, np.nan, float(onset["onset_p"])),
            chance=Absent("a time"),
            **_shared_parts(scores, int(scores["value"].notnull().sum())),
        )


def _null(scores: xr.Dataset) -> tuple[str, int]:
    """Return the kind of the null in words, and the number of its draws."""
    draws = int(scores.attrs["permutations"])
    return NO_FLOOR if scores.attrs["in_sample"] else f"{draws} draws: {scores['null_kind'].item()}", draws


def _shared_parts(scores: xr.Dataset, windows: int) -> dict[str, Any]:
    """Return the parts that all lines of a representation and setting have in common."""
    representation, trials = str(scores["representation"].item()), scores["trials"]
    raw = representation == RAW
    return {
        "representation": representation,
        "setting": str(scores["setting"].item()),
        "n": Counts(int((trials > 0).sum()), int(trials.sum()), windows, int(scores["splits"])),
        "difference": Absent(
            "activity itself is scored" if raw else "latents are followed in one split, in windows of their own"
        ),
        "in_sample": bool(scores.attrs["in_sample"]),
    }


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw accuracy over time, for the mean and each animal, and temporal generalization."""
    from neuromvm.analysis.figures import time_resolved as figures  # here, so that computing needs no plotting library

    return {
        "curves": figures.curves(scores),
        "animals": figures.animals(scores),
        "generalization": figures.generalization(scores),
    }
