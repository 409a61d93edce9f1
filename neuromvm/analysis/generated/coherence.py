"""Analysis ``coherence``: does activity that a model generates for one animal from another's latents mean the same odor?

A classifier that knows an animal's real activity names the class of what is generated for it. Settings: *within*, generated from
the animal's own latents; *cross*, from those of each other animal; *imputed*, from those of all others together; *ceiling*, the
animal's real test trials.

References
----------
Shi, Y., Siddharth, N., Paige, B. & Torr, P. (2019). Variational mixture-of-experts autoencoders for multi-modal deep generative
models. *NeurIPS* 32: coherence. Sutter et al. (2024). Unity by Diversity. *NeurIPS* 37: coherence of the rats' activity.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis import judged
from neuromvm.analysis.decoding.scoring import NAMES_WITHIN, NO_FLOOR, Resampling, failures_in_words
from neuromvm.analysis.generated.activity import chosen_models
from neuromvm.analysis.generated.classes import Classifiers, Perceptron
from neuromvm.analysis.generated.coherence_scores import CEILING, RENAMED, SETTINGS, score_model
from neuromvm.analysis.judged import ALL_ANIMALS, CLASS_NAMES, LABELS, NOT_OF_SETTING, NULL_STATISTICS, TRIALS
from neuromvm.analysis.readouts.classifiers import Logistic
from neuromvm.analysis.readouts.representations import Floats, ever_held_out
from neuromvm.analysis.scores import ABSENT_PREFIX, Absent, Counts, Difference, Null, Score
from neuromvm.analysis.statistics.over_trials import under_refits
from neuromvm.analysis.statistics.renamed_classes import PLACES, exchangeable
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

NULLS = {  # null -> what is measured against it, and how labels are broken
    LABELS: (
        "coherence (balanced accuracy)",
        "{} permutations of labels among the scored trials of each animal, decode-only: neither models nor classifiers refitted",
    ),
    CLASS_NAMES: (
        "coherence, classes renamed",
        "{} draws in which the classes of each animal are renamed, all trials of a class alike, decode-only: latents that carry "
        "the classes, but not as the other animals do",
    ),
}
PUBLISHED = Absent(
    "as published, the classifier was fitted on the trials that are scored too, and all pairs are averaged, own ones too"
)
EXCHANGED = (
    "refits: the names of the conditions exchanged within each animal, independently of other animals; model and classifiers are "
    "fitted anew"
)
NOT_EXCHANGED = (
    "the model was not scored on refits with exchanged names and this classifier: neuromvm refit RUN --null correspondence"
)
COHERENCE = "coherence"
NEEDS = ("transferred", "imputed")


class Options(Spec):
    """Classifier of activity, and resampling."""

    models: list[str] | None = Field(None, description="Models; default: all")
    classifier: Literal["logistic", "mlp"] = Field("logistic", description="mlp: as published, slow")
    inverse_penalty: float = Field(0.02, gt=0, description="logistic: C, of features scaled to 1 sd")
    hidden: tuple[int, ...] = Field((1024, 512, 256, 64), min_length=1, description="mlp: sizes of hidden layers, as published")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(1000, ge=500, description="Permutations of labels among test trials")
    seed: int = Field(0, ge=0, description="Of the resamples, the permutations and the mlp")


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Score the models of a run; see :func:`coherence`."""
    models = chosen_models(study, options.models, "coherence")
    transferred = {name: study.transferred(name) for name in models}
    refits = {name: study.exchanged_scores(name, COHERENCE, refit_settings(options)) for name in models}
    known = {name: refit for name, refit in refits.items() if refit is not None}
    return coherence(study.samples, study.splits, transferred, {name: study.imputed(name) for name in models}, options, known)


def refit_settings(options: Options) -> str:
    """Return the options on which scores of refits depend, as JSON."""
    return json.dumps(options.model_dump(mode="json", include={"classifier", "inverse_penalty", "hidden", "seed"}))


def classifiers_of(samples: xr.DataTree, splits: xr.DataTree, options: Options) -> Classifiers:
    """Return the classifiers of real activity."""
    perceptron, logistic = partial(Perceptron, options.hidden, options.seed), partial(Logistic, options.inverse_penalty)
    return Classifiers(samples, splits, perceptron if options.classifier == "mlp" else logistic)


def coherence(
    samples: xr.DataTree,
    splits: xr.DataTree,
    transferred: Mapping[str, xr.DataTree],
    imputed: Mapping[str, xr.DataTree],
    options: Options | None = None,
    refits: Mapping[str, xr.Dataset] | None = None,
) -> xr.Dataset:
    """Classify the activity that models generate for every animal.

    Parameters
    ----------
    samples, splits
        What the models were trained on.
    transferred, imputed
        Model -> tree of :func:`neuromvm.inference.transfer.transfer`, and of :func:`neuromvm.inference.transfer.impute_each`,
        which may lack models.
    options
        Classifier and resampling.
    refits
        Model -> ``value (permutation, setting, target)`` of refits with exchanged names of conditions
        (:mod:`neuromvm.analysis.generated.coherence_refit`).

    Returns
    -------
    Scores with the dims of :mod:`neuromvm.analysis.judged`; ``target`` is the animal that activity is generated for:

    ``score, difference, null_score, chance``, with the dims ``representation, setting, target``
        Balanced accuracies, means over splits, then over pairs of animals; intervals are over the scored trials, differences are
        to the ceiling. Null ``labels``: labels of the scored trials permuted. Null ``class names``, of *cross* and *imputed*:
        classes renamed, see :mod:`neuromvm.analysis.statistics.renamed_classes`; of imputed activity in the same way for all
        targets.
    ``correspondence (representation, setting, target, null_statistic)``
        Mean, 95 % range and p of the null ``scrambled correspondence``: names of conditions exchanged within each animal, model
        and classifiers fitted again. With ``correspondence_draws, correspondence_kind (representation)``, how often and how, and
        ``correspondence_absent (representation, setting)``, why there is no such null.
    ``pair_score, pair_p (representation, source, target)``
        Balanced accuracy of what is generated for the target from the test trials of the source, and p of permuted labels, not
        corrected for the number of pairs. Scores of pairs are NaN at ``all animals``.
    ``pair_accuracy (representation, source, target)``, ``accuracy (representation, unit_of_inference, statistic)``
        As published: plain accuracy of a classifier fitted on all trials of the target in a split; and its mean over pairs.
    ``skill (representation, target, unit_of_inference, statistic)``
        Share by which imputed activity is nearer to the matched test trials of the target than their condition mean is, see
        :func:`neuromvm.analysis.generated.imputation_skill.skill`.
    ``trials (target)``
        Number of scored trials.
    """
    options = options or Options()
    check_same_trials(samples, splits)
    is_in_sample = in_sample(splits)
    resampling = Resampling(options.bootstraps, 0 if is_in_sample else options.permutations, options.seed)
    classifiers = classifiers_of(samples, splits, options)
    of_models = [score_model(classifiers, tree, imputed.get(name), resampling) for name, tree in transferred.items()]
    scores = xr.concat(of_models, dim="representation").assign_coords(representation=list(transferred))
    trials = [int(ever_held_out(splits, animal).sum()) for animal in samples.children]
    return (
        scores.assign(_nulls(samples, is_in_sample, resampling))
        .assign(_correspondence(scores, {} if is_in_sample else refits or {}, NO_FLOOR if is_in_sample else NOT_EXCHANGED))
        .assign(trials=("target", [sum(trials), *trials]))
        .assign_attrs(
            interval=f"95 % over {options.bootstraps} bootstrap draws of the scored trials within animal and label",
            skill_interval=f"95 % over {options.bootstraps} bootstrap draws of the target's scored trials within label",
            floor=NO_FLOOR if is_in_sample else NULLS[LABELS][1].format(options.permutations),
            chance=1 / len(json.loads(samples.attrs["classes"])),
            label=samples.attrs.get("label", "label"),
            classifier=options.classifier,
            windows=next(iter(samples.children.values())).sizes["window"],
            splits=next(iter(splits.children.values())).sizes["split"],
            in_sample=int(is_in_sample),
        )
    )


def _nulls(
    samples: xr.DataTree, is_in_sample: bool, resampling: Resampling
) -> dict[str, tuple[tuple[str, ...], Sequence[object]]]:
    """Return ``null_kind, null_draws (null)`` and ``null_absent (null, setting)``."""
    kinds, draws, absent = [], [], []
    for null, (_, kind) in NULLS.items():
        is_missing = is_in_sample or (null == CLASS_NAMES and not exchangeable(samples))
        reason = (NO_FLOOR if is_in_sample else PLACES).removeprefix(ABSENT_PREFIX) if is_missing else ""
        kinds.append("" if is_missing else kind.format(resampling.permutations))
        draws.append(0 if is_missing else resampling.permutations)
        absent.append([reason if null == LABELS or setting in RENAMED else NOT_OF_SETTING for setting in SETTINGS])
    return {"null_kind": (("null",), kinds), "null_draws": (("null",), draws), "null_absent": (("null", "setting"), absent)}


def _correspondence(
    scores: xr.Dataset, refits: Mapping[str, xr.Dataset], reason: str
) -> dict[str, tuple[tuple[str, ...], Sequence[object] | Floats]]:
    """Return the null of scrambled correspondence; ``reason`` says why models without refits have none."""
    values = scores["score"].sel(unit_of_inference=TRIALS, statistic="value").transpose("representation", "setting", "target")
    statistics, draws, kinds, absent = [], [], [], []
    of_others = [setting in RENAMED for setting in SETTINGS]
    for name in scores["representation"].values.tolist():
        value, null = values.sel(representation=name).to_numpy(), np.empty((0, *values.shape[1:]))
        if name in refits:
            order = {"setting": values["setting"].values, "target": values["target"].values}
            null = refits[name]["value"].sel(order).transpose("permutation", "setting", "target").to_numpy()
        of_model = under_refits(value, null)
        of_model[np.logical_not(of_others)] = np.nan
        statistics.append(of_model)
        draws.append(len(null))
        kinds.append(EXCHANGED + failures_in_words((np.isnan(null) & ~np.isnan(value))[:, of_others]) if len(null) else "")
        missing = "" if name in refits else reason.removeprefix(ABSENT_PREFIX)
        absent.append([missing if setting in RENAMED else NAMES_WITHIN for setting in SETTINGS])
    return {
        "correspondence": (("representation", "setting", "target", "null_statistic"), np.stack(statistics)),
        "correspondence_draws": (("representation",), draws),
        "correspondence_kind": (("representation",), kinds),
        "correspondence_absent": (("representation", "setting"), absent),
    }


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return for each model a line for each setting and null, one as published, and one for the skill of imputation."""
    trials = int(scores["trials"].sel(target=ALL_ANIMALS))
    counts = Counts(scores.sizes["target"] - 1, trials, int(scores.attrs["windows"]), int(scores.attrs["splits"]))
    lines = []
    for name in scores["representation"].values:
        of_model = scores.sel(representation=name, target=ALL_ANIMALS)
        for setting in of_model["setting"].values[np.isfinite(judged.values(of_model))]:
            lines += _lines_of_setting(of_model.sel(setting=setting), counts)
        lines.append(_published_line(of_model, counts))
        if np.isfinite(judged.value_of(of_model["skill"])):
            lines.append(_skill_line(of_model, counts))
    return lines


def _lines_of_setting(scores: xr.Dataset, counts: Counts) -> list[Score]:
    """Return a line for each null of a setting."""
    setting = str(scores["setting"].item())
    line = Score(
        what=NULLS[LABELS][0],
        representation=str(scores["representation"].item()),
        setting=setting,
        value=judged.value_of(scores["score"]),
        n=counts,
        interval=judged.interval_of(scores["score"]),
        resampled=scores.attrs["interval"],
        null=judged.null_of(scores, LABELS),
        chance=float(scores["chance"]),
        difference=Absent("what is generated is compared with it")
        if setting == CEILING
        else judged.difference_of(scores, CEILING),
        in_sample=bool(scores.attrs["in_sample"]),
    )
    lines = [line]
    if scores["null_absent"].sel(null=CLASS_NAMES) != NOT_OF_SETTING:
        lines.append(line._replace(what=NULLS[CLASS_NAMES][0], null=judged.null_of(scores, CLASS_NAMES)))
    if "correspondence_absent" in scores and not scores["correspondence_absent"].item():  # earlier scores have none
        mean, low, high, p = (float(scores["correspondence"].sel(null_statistic=name)) for name in NULL_STATISTICS)
        null = Null(str(scores["correspondence_kind"].item()), int(scores["correspondence_draws"]), mean, low, high, p)
        lines.append(line._replace(setting=f"{setting}, {CORRESPONDENCE}", null=null))
    return lines


def _published_line(scores: xr.Dataset, counts: Counts) -> Score:
    return Score(
        what="coherence as published (accuracy)",
        representation=str(scores["representation"].item()),
        setting="within and cross",
        value=judged.value_of(scores["accuracy"]),
        n=counts,
        interval=judged.interval_of(scores["accuracy"]),
        resampled=f"{scores.attrs['interval']} of the source",
        null=PUBLISHED,
        chance=float(scores.attrs["chance"]),
        difference=Absent("a classifier that has seen the scored trials is right of all of them"),
        in_sample=True,
    )


def _skill_line(scores: xr.Dataset, counts: Counts) -> Score:
    value, interval = judged.value_of(scores["skill"]), judged.interval_of(scores["skill"])
    return Score(
        what="imputation skill",
        representation=str(scores["representation"].item()),
        setting="imputed",
        value=value,
        n=counts,
        interval=interval,
        resampled=scores.attrs["skill_interval"],
        null=Absent("0 is the condition mean of the training side, above 0 is nearer to the trials than that"),
        chance=0.0,
        difference=interval if isinstance(interval, Absent) else Difference("condition mean", value, interval),
        in_sample=bool(scores.attrs["in_sample"]),
    )


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, whose latents generate what for whom, and the skill of imputation."""
    from neuromvm.analysis.figures import coherence as figures  # imported here: computing needs no plotting library

    drawn = {"settings": figures.settings(scores), "pairs": figures.pairs(scores)}
    if np.isfinite(scores["skill"]).any():
        drawn["skill"] = figures.skill(scores)
    return drawn
