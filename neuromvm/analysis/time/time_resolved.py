"""Analysis ``time_resolved``: when, relative to an event, does the activity of an animal tell the label of the trial?

A window slides over the whole grid of the recordings. In each window a decoder is fitted on training-side trials and read out on
test trials of the same window (the curve) and of every other one (temporal generalization). Raw features are decoded, and the
latents of models that were followed in time. The null of activity refits everything on permuted trials, that of an animal's own
latents permutes test trials, and that of latents read by decoders of other animals renames classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.decoding.scoring import NO_FLOOR
from neuromvm.analysis.flat_score import Score, numbers
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.time.curves import ONSETS, Draws, onsets
from neuromvm.analysis.time.sliding import RENAMED_NULL, Decoded, Followed, decode_windows, follow_features, follow_latents
from neuromvm.data.windows import make_samples, sample_spec
from neuromvm.errors import SpecError, SplitError
from neuromvm.schema import check_same_trials, grid_dim, in_sample
from neuromvm.specs import SampleSpec
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

RAW, WITHIN = "raw", "within"
SETTINGS = (WITHIN, OTHERS)
ACTIVITY = "none: activity itself is scored"
WINDOWS_OF_GRID = 16  # default: the grid holds so many windows side by side, and they overlap by half


class Options(Spec):
    """Windows, label and resampling. The defaults take some minutes for five animals of 100 units and 200 trials."""

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
    """Decode the windows of a run; :func:`decode_in_time` says what is returned."""
    paths = {model: study.paths(model) for model in study.models}
    known = {model: tree for model, tree in paths.items() if tree is not None}
    smooth = [model for model in known if study.spec.models[model].networks.kind == "convolution"]
    return decode_in_time(study.recordings, study.samples, study.splits, known, options, whole_trial=smooth)


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

    Parameters
    ----------
    recordings, samples, splits
        Of a run; windows are cut anew, with the trials, the transform and the splits of the run.
    paths
        Model -> latents along the grid, see :meth:`neuromvm.folders.study.Study.paths`.
    options
        Windows, label and resampling.
    whole_trial
        Models whose latents in one window are inferred from the whole trial; they say nothing of when.

    Returns
    -------
    Balanced accuracies, averaged over splits, ``value (representation, setting, window)``, mean over animals: with ``low, high``
    (bootstrap), ``null_mean, null_low, null_high`` (95 % of the null), ``p_max`` (corrected for all windows) and
    ``cluster_p`` (of the cluster in which a window lies, 1 in none). The same with prefix ``target_`` for each animal (target).
    ``generalization, generalization_p_max, generalization_cluster_p (representation, setting, train_window, test_window)``, mean
    over animals. ``period_*`` and ``share_* (representation, setting, period)``: mean accuracy, and the share of windows with
    p_max <= level, of the ``windows`` wholly before and wholly after the event; ``onset_* (representation, setting, onset)``, see
    :func:`neuromvm.analysis.time.curves.onsets`. ``chance (representation, setting)``, ``trials (representation, setting,
    target)``, ``splits, width, whole_trial (representation)``, ``null_kind (representation, setting)``. Settings: ``within``,
    an animal's own decoder; ``others``, one decoder fitted on the other animals' latents, whose null renames the classes of
    every animal (:mod:`neuromvm.analysis.statistics.renamed_classes`), that of one target its own classes alone: with few
    animals and classes their p cannot be small. NaN where there is nothing to score, and for windows that a representation does
    not have.

    Raises
    ------
    SpecError
        If labels are those of windows, or a model is called as the raw features are.
    SplitError
        If no animal can be scored.

    References
    ----------
    King & Dehaene (2014). Characterizing the dynamics of mental representations: the temporal generalization method. *Trends
    Cogn. Sci.* 18, 203-210.

    Examples
    --------
    >>> scores = decode_in_time(study.recordings, study.samples, study.splits)  # doctest: +SKIP
    >>> scores["value"].sel(representation="raw", setting="within")  # doctest: +SKIP
    """
    options = options or Options()
    if RAW in (paths or {}):
        raise SpecError(f"models.{RAW}", found="a model with the name of the raw features", next_step="Rename the model")
    check_same_trials(samples, splits)
    windows = make_samples(recordings, window_spec(recordings, sample_spec(samples), options))
    draws = 0 if in_sample(splits) else options.permutations
    followed = {RAW: follow_features(windows, splits, draws, options.permute_within)}
    for name, tree in (paths or {}).items():
        followed[name] = follow_latents(tree, windows, splits, draws, options.permute_within)
    first = next(iter(recordings.children.values())).to_dataset()
    grid = grid_dim(first)
    parts = [_scores(one, list(windows.children), options, grid) for one in followed.values()]
    if not any(np.isfinite(one["value"]).any() for one in parts):
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
            grid_name=str(first[grid].attrs.get("long_name", grid)).removesuffix(", bin centres"),
            level=options.level,
            permutations=draws,
            interval=f"95 % over {options.bootstraps} bootstrap draws of test trials within animal and class",
            in_sample=int(in_sample(splits)),
        )
    )


def window_spec(recordings: xr.DataTree, spec: SampleSpec, options: Options) -> SampleSpec:
    """Return the spec of a run's samples with the windows and the label of this analysis.

    Raises
    ------
    SpecError
        If what is decoded is not one value a trial.
    """
    decoded = [options.label] if isinstance(options.label, str) else options.label
    label = [one for one in spec.label if one != "window"] if decoded is None else decoded
    if not label or "window" in label:
        raise SpecError(
            "analyses.time_resolved.label",
            found="the window" if label else "no label of trials among those decoded",
            expected="trial labels, which are the same in all windows of a trial",
            next_step="Name one in 'label'",
        )
    dataset = next(iter(recordings.children.values())).to_dataset()
    grid = dataset[grid_dim(dataset)]
    fine = float(grid.attrs["bin_width"])
    width = fine * max(1, round(len(grid) / WINDOWS_OF_GRID)) if options.width is None else options.width
    step = fine * max(1, int(width / fine + 1e-6) // 2) if options.step is None else options.step
    along = {"start": None, "stop": None, "width": width, "step": step, "bin_width": options.bin_width}
    return spec.model_copy(update={**along, "label": label, "match": None})


def periods(centres: NDArray[np.floating], width: float, grid: str) -> dict[str, NDArray[np.bool_]]:
    """Say which windows lie wholly before and wholly after the event; on a grid of positions all count as one.

    Examples
    --------
    >>> import numpy as np
    >>> found = periods(np.array([-0.15, -0.05, 0.05, 0.15]), 0.2, "time")
    >>> found["before"].tolist(), found["after"].tolist()
    ([True, False, False, False], [False, False, False, True])
    """
    if grid != "time":
        return {"whole": np.ones(len(centres), dtype=bool)}
    return {"before": centres + width / 2 < 1e-6, "after": centres - width / 2 > -1e-6}


def _scores(followed: Followed, targets: Sequence[str], options: Options, grid: str) -> xr.Dataset:
    """Score one representation in every setting."""
    settings = []
    for setting in SETTINGS:
        decoded = []
        for target in targets:
            others = [name for name in followed.animals if name != target]
            sources = [target] if setting == WITHIN else others if followed.shared else []
            decoded.append(decode_windows(followed.animals, target, sources, options.bootstraps, options.seed))
        null_kind = followed.null if setting == WITHIN else RENAMED_NULL
        settings.append(_summary(decoded, followed, options, grid).assign(null_kind=null_kind))
    centres = np.round(followed.centres, 9)  # windows at the same time are one, whatever computed them
    return (
        xr.concat(settings, dim="setting")
        .assign(splits=max(len(one.scored) for one in followed.animals.values()), width=followed.width)
        .assign_coords(setting=list(SETTINGS), target=list(targets), window=centres, train_window=centres, test_window=centres)
    )


def _summary(decoded: Sequence[Decoded], followed: Followed, options: Options, grid: str) -> xr.Dataset:
    """Summarise what was decoded of every animal, apart and in the mean."""
    matrix = np.stack([one.matrix for one in decoded])
    null, bootstrap = (np.stack([getattr(one, field) for one in decoded], axis=1) for field in ("null", "bootstrap"))
    curve = Draws(np.einsum("aww->aw", matrix), np.einsum("daww->daw", null), bootstrap)
    mean = Draws(*(over_trials.mean_of_scored(values, axis=-2) for values in curve))
    variables: dict[str, tuple[tuple[str, ...], Floats]] = {}
    for key, value in (mean.summary() | mean.corrected(options.level)).items():
        variables[key] = (("window",), value)
    alone = [curve.of(place)._replace(null=one.alone) for place, one in enumerate(decoded)]
    each = [one.summary() | one.corrected(options.level) for one in alone]
    for key in each[0]:
        variables[f"target_{key}"] = (("target", "window"), np.stack([one[key] for one in each]))
    where = periods(followed.centres, followed.width, grid)
    for prefix, averaged in (("period", mean), ("share", mean.significant(options.level))):
        parts = [averaged.mean_over(inside).summary() for inside in where.values()]
        for key in parts[0]:
            variables[f"{prefix}_{key}"] = (("period",), np.concatenate([one[key] for one in parts]))
    for key, values in onsets(mean, followed.centres + followed.width / 2, options.level).items():
        variables[f"onset_{key}"] = (("onset",), values)
    # Bootstrap draws are of the diagonal alone.
    whole = Draws(over_trials.mean_of_scored(matrix, axis=-3), over_trials.mean_of_scored(null, axis=-3), bootstrap[:0])
    variables["generalization"] = (("train_window", "test_window"), whole.value)
    for key, value in whole.corrected(options.level).items():
        variables[f"generalization_{key}"] = (("train_window", "test_window"), value)
    trials, chance = (np.array([getattr(one, field) for one in decoded]) for field in ("trials", "chance"))
    return xr.Dataset(
        {
            **variables,
            "trials": (("target",), trials),
            "chance": over_trials.mean_of_scored(chance, axis=0),
            "windows": (("period",), np.array([int(inside.sum()) for inside in where.values()])),
        },
        coords={"period": list(where), "onset": list(ONSETS)},
    )


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return mean accuracy, share of significant windows and onsets, without searching for a best window.

    Onsets are the end of a window, by which what was decoded had been recorded. That of the first significant cluster says where
    to look; only the first window that is significant by itself may be claimed.
    """
    lines = []
    for representation in scores["representation"].values:
        for setting in scores["setting"].values:
            one = scores.sel(representation=representation, setting=setting)
            if np.isfinite(one["value"]).any():
                baseline = (
                    ACTIVITY if representation == RAW else "none: latents are followed in one split, in windows of their own"
                )
                about = {
                    "representation": str(representation),
                    "setting": str(setting),
                    "baseline": baseline,
                    **_about(scores, one),
                }
                lines += [Score(**{**about, **line}) for line in (*_periods(scores, one), *_onsets(scores, one))]
    return lines


def _periods(scores: xr.Dataset, one: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Yield mean accuracy and share of significant windows before and after the event."""
    for period in scores["period"].values:
        part = one.sel(period=period)
        where = "over the whole grid" if period == "whole" else f"{period} the event"
        windows = {"n_windows": int(part["windows"])}
        if np.isfinite(part["period_value"]):
            accuracy = {
                "what": f"balanced accuracy {where}",
                "interval": scores.attrs["interval"],
                "chance": float(one["chance"]),
            }
            yield accuracy | numbers(part, "period_") | windows
        if np.isfinite(part["share_value"]):
            share = {
                "what": f"share of windows significant {where}",
                "interval": f"{scores.attrs['interval']}, thresholds as they are",
                "chance_kind": "none: how few windows noise makes significant is the floor",
            }
            yield share | numbers(part, "share_") | windows


def _onsets(scores: xr.Dataset, one: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Yield the end of the first window of a significant cluster, and of the first that is significant by itself.

    NaN, with the smallest p of all windows, where there is none; nothing where windows do not tell time.
    """
    if scores.attrs["grid"] != "time" or scores.attrs["in_sample"] or one["whole_trial"]:
        return
    about = _about(scores, one)
    for key, what in ONSETS.items():
        onset = one.sel(onset=key)
        held = f"{float(onset['onset_found']):.1%} of the draws hold a window of this run"
        interval = f"{scores.attrs['interval']}: where the run of windows begins, thresholds as they are; {held}"
        if not np.isfinite(onset["onset_value"]):
            interval = "none: no window stands out"
        elif not np.isfinite(onset["onset_low"]):
            interval = f"none: {held}"
        yield {
            "what": what,
            **{name: float(onset[f"onset_{name}"]) for name in ("value", "low", "high", "p")},
            "interval": interval,
            "null_kind": f"{about['null_kind']}; floor none: p is that of the window, corrected for all windows",
            "chance_kind": "none: a time",
            "n_windows": int(one["value"].notnull().sum()),
        }


def _about(scores: xr.Dataset, one: xr.Dataset) -> dict[str, Any]:
    """Return what all lines of a representation and setting have in common."""
    fitted_on_test, draws = bool(scores.attrs["in_sample"]), int(scores.attrs["permutations"])
    return {
        "null_kind": NO_FLOOR if fitted_on_test else f"{draws} draws: {one['null_kind'].item()}",
        "null_n": draws,
        "n_animals": int((one["trials"] > 0).sum()),
        "n_trials": int(one["trials"].sum()),
        "n_splits": int(one["splits"]),
        "in_sample": fitted_on_test,
    }


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw accuracy over time, mean and each animal, and who generalizes to when."""
    from neuromvm.analysis.figures import time_resolved as figures  # here, so that computing needs no plotting library

    return {
        "curves": figures.curves(scores),
        "animals": figures.animals(scores),
        "generalization": figures.generalization(scores),
    }
