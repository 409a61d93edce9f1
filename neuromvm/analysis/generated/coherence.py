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
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.decoding.scoring import NO_FLOOR, Resampling
from neuromvm.analysis.flat_score import Score, difference, numbers
from neuromvm.analysis.generated.activity import chosen_models, flattened, recorded, scored_rows
from neuromvm.analysis.generated.classes import Classified, Classifiers, Draws, classify, draw, renamed, share_right
from neuromvm.analysis.generated.imputation_skill import carriers, skill
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.readouts.representations import Floats, ever_held_out, held_out
from neuromvm.analysis.statistics import over_trials, renamed_classes
from neuromvm.analysis.statistics.renamed_classes import PLACES, Renaming, exchangeable
from neuromvm.schema import check_same_trials, in_sample
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

SETTINGS = ("within", "cross", "imputed", "ceiling")
FLOOR = "{} permutations of labels among the scored trials of each animal, decode-only: neither models nor classifiers refitted"
RENAMED = (
    "{} draws in which the classes of each animal are renamed, all trials of a class alike, decode-only: latents that carry the "
    "classes, but not as the other animals do"
)
PUBLISHED = (
    "none: as published, the classifier was fitted on the trials that are scored too, and all pairs are averaged, own ones too"
)


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
    """Score the models of a run; see :func:`coherence`.

    Raises
    ------
    RunFolderError
        If a model is not there, or the experiment did not ask for this analysis.
    """
    models = chosen_models(study, options.models, "coherence")
    transferred = {name: study.transferred(name) for name in models}
    return coherence(study.samples, study.splits, transferred, {name: study.imputed(name) for name in models}, options)


def coherence(
    samples: xr.DataTree,
    splits: xr.DataTree,
    transferred: Mapping[str, xr.DataTree],
    imputed: Mapping[str, xr.DataTree],
    options: Options | None = None,
) -> xr.Dataset:
    """Classify generated activity.

    Parameters
    ----------
    samples, splits
        What the models were trained on.
    transferred
        Model -> tree of :func:`neuromvm.inference.transfer.transfer`.
    imputed
        Model -> tree of :func:`neuromvm.inference.transfer.impute_each`; may lack models.
    options
        Classifier and resampling.

    Returns
    -------
    Balanced accuracies, means over splits, then animals: ``value (representation, setting)`` with ``low, high`` (95 % bootstrap
    interval over the scored trials), ``null_mean, null_low, null_high, p`` (labels of the scored trials permuted),
    ``renamed_mean, renamed_low, renamed_high, renamed_p`` (cross and imputed: classes renamed, see
    :mod:`neuromvm.analysis.statistics.renamed_classes`; of imputed activity in the same way for all targets), ``chance``;
    ``difference, difference_low, difference_high`` to the ceiling, of the same draws.

    ``pair_value, pair_p (representation, source, target)``: what is generated for the target from the source's test trials; p is
    of permuted labels, not corrected for the number of pairs. ``ceiling_value (representation, target)``. ``published_value
    (representation, source, target)``: plain accuracy of a classifier fitted on all the target's trials of a split;
    ``published_low, published_high (representation)`` of its mean over all pairs.

    ``skill (representation, target)`` with ``skill_low, skill_high``, and ``mean_skill (representation)`` with its interval:
    share by which imputed activity is nearer to the target's matched test trials than their condition mean is; see
    :func:`neuromvm.analysis.generated.imputation_skill.skill`.

    Examples
    --------
    >>> scores = coherence(samples, splits, {"mmvm": transfer(fitted, samples, splits)}, {})  # doctest: +SKIP
    >>> scores["value"].sel(representation="mmvm", setting="cross")  # doctest: +SKIP
    """
    options = options or Options()
    check_same_trials(samples, splits)
    unscored = in_sample(splits)
    resampling = Resampling(options.bootstraps, 0 if unscored else options.permutations, options.seed)
    classifiers = Classifiers(samples, splits, options.classifier, options.inverse_penalty, options.hidden, options.seed)
    parts = {}
    for name, tree in transferred.items():
        parts[name] = _score_model(samples, splits, tree, imputed.get(name), classifiers, resampling)
    scores = xr.concat(list(parts.values()), dim="representation").assign_coords(representation=list(parts))
    counted = {name: int(ever_held_out(splits, name).sum()) for name in samples.children}
    return scores.assign(trials=("target", np.array(list(counted.values())))).assign_attrs(
        interval=f"95 % over {options.bootstraps} bootstrap draws of the scored trials within animal and label",
        skill_interval=f"95 % over {options.bootstraps} bootstrap draws of the target's scored trials within label",
        floor=NO_FLOOR if unscored else FLOOR.format(options.permutations),
        renamed_floor=RENAMED.format(options.permutations) if exchangeable(samples) else PLACES,
        permutations=resampling.permutations,
        chance=1 / len(json.loads(samples.attrs["classes"])),
        label=samples.attrs.get("label", "label"),
        classifier=options.classifier,
        windows=next(iter(samples.children.values())).sizes["window"],
        splits=next(iter(splits.children.values())).sizes["split"],
        in_sample=int(unscored),
    )


def _score_model(
    samples: xr.DataTree,
    splits: xr.DataTree,
    tree: xr.DataTree,
    imputed: xr.DataTree | None,
    classifiers: Classifiers,
    resampling: Resampling,
) -> xr.Dataset:
    animals = list(samples.children)
    kinds = {target: str(tree[animals[0]][target].attrs["kind"]) for target in animals}
    generated, as_published = _classified(samples, splits, tree, kinds, classifiers)
    own = np.eye(len(animals), dtype=bool)
    drawn = [draw(generated[source], resampling, source) for source in animals]
    pairs = Draws(*(np.stack(each) for each in zip(*drawn, strict=True)))  # (source, ..., target)
    ceilings = [draw(_real(samples, splits, name, kinds[name], classifiers), resampling, name) for name in animals]
    ceiling = Draws(*(np.stack(each)[..., 0] for each in zip(*ceilings, strict=True)))  # (target, ...)
    named = resampling.permutations if exchangeable(samples) else 0
    renaming = Renaming([*animals, OTHERS], generated[animals[0]].common.shape[1], named, resampling.seed)
    by_name = {"cross": _over(np.stack([renamed(generated[one], one, animals, renaming) for one in animals]), ~own)}
    settings = {
        "within": Draws(*(_over(one, own) for one in pairs)),
        "cross": Draws(*(_over(one, ~own) for one in pairs)),
        "ceiling": Draws(*(over_trials.mean_of_scored(one, axis=0) for one in ceiling)),
    }
    targets = list(imputed.children) if imputed is not None else []
    skills = np.full((3, len(animals)), np.nan)
    mean_skill = np.full(3, np.nan)
    if imputed is not None and targets:
        said = {name: _imputed(samples, imputed[name].to_dataset(), name, kinds[name], classifiers) for name in targets}
        each = [draw(one, resampling, f"imputed {name}") for name, one in said.items()]
        # One renaming a draw for all targets: what is imputed for one and for another are lucky together.
        of_targets = np.stack([renamed(one, OTHERS, [None], renaming)[:, 0] for one in said.values()])
        by_name["imputed"] = over_trials.mean_of_scored(of_targets, axis=0)
        joined = Draws(*(np.stack(one)[..., 0] for one in zip(*each, strict=True)))
        settings["imputed"] = Draws(*(over_trials.mean_of_scored(one, axis=0) for one in joined))
        found = [skill(samples, splits, imputed[name].to_dataset(), name, kinds[name], resampling) for name in targets]
        values, bootstraps = np.array([one for one, _ in found]), np.stack([draws for _, draws in found])
        skills[:, [animals.index(name) for name in targets]] = np.stack([values, *over_trials.interval(bootstraps.T)])
        ends = over_trials.interval(over_trials.mean_of_scored(bootstraps, axis=0))
        mean_skill = np.array([over_trials.mean_of_scored(values, axis=0), *ends], dtype=float)
    variables = _summary(settings, by_name)
    variables["pair_value"] = (("source", "target"), pairs.observed)
    nulls = np.moveaxis(pairs.null, 1, 0)  # (draw, source, target)
    p = over_trials.p_value(pairs.observed, nulls) if len(nulls) else np.full(own.shape, np.nan)
    variables["pair_p"] = (("source", "target"), p)
    published = [share_right(as_published[source], resampling, source) for source in animals]
    variables["published_value"] = (("source", "target"), np.stack([value for value, _ in published]))
    overall = over_trials.mean_of_scored(np.concatenate([draws for _, draws in published], axis=1), axis=1)
    variables["published_low"], variables["published_high"] = (((), end) for end in over_trials.interval(overall))
    variables["ceiling_value"] = (("target",), ceiling.observed)
    for key, one, over in zip(("skill", "skill_low", "skill_high"), skills, mean_skill, strict=True):
        variables[key] = (("target",), one)
        variables[f"mean_{key}"] = ((), over)
    return xr.Dataset(variables, coords={"setting": list(SETTINGS), "source": animals, "target": animals})


def _classified(
    samples: xr.DataTree, splits: xr.DataTree, tree: xr.DataTree, kinds: Mapping[str, str], classifiers: Classifiers
) -> tuple[dict[str, Classified], dict[str, Classified]]:
    """Classify what is generated from each source for each target, by classifiers of other trials and by those as published."""
    animals, count = list(samples.children), next(iter(splits.children.values())).sizes["split"]
    found, published = {}, {}
    for source in animals:
        labels = samples[source]["label"].to_numpy()
        codes, common = classifiers.empty(count, len(animals), labels)
        as_published = codes.copy()
        for split in range(count):
            rows = scored_rows(tree, samples, splits, source, split)
            if rows is None:
                continue
            tested = held_out(splits, split, source)
            for column, target in enumerate(animals):
                activity = flattened(tree[source][target].to_dataset()["activity"].isel(row=rows))
                among = classifiers.shared(target, labels)
                if len(among) < 2:
                    continue
                codes[split, column, tested] = classify(classifiers.of(target, kinds[target], split), activity, among)
                common[column, among] = True
                said = classify(classifiers.of(target, kinds[target], split, published=True), activity, among)
                as_published[split, column, tested] = said
        found[source], published[source] = (Classified(one, common, labels) for one in (codes, as_published))
    return found, published


def _real(samples: xr.DataTree, splits: xr.DataTree, name: str, kind: str, classifiers: Classifiers) -> Classified:
    """Classify an animal's own test trials."""
    labels, count = samples[name]["label"].to_numpy(), splits[name].sizes["split"]
    codes, common = classifiers.empty(count, 1, labels)
    among, real = classifiers.shared(name, labels), recorded(samples, name, kind)
    for split in range(count):
        tested = held_out(splits, split, name)
        if tested.any() and len(among) > 1 and classifiers.exists(name, split):
            codes[split, 0, tested] = classify(classifiers.of(name, kind, split), real[tested], among)
            common[0, among] = True
    return Classified(codes, common, labels)


def _imputed(samples: xr.DataTree, imputed: xr.Dataset, target: str, kind: str, classifiers: Classifiers) -> Classified:
    """Classify imputed activity; a tuple counts as the trial of the first animal that is in it."""
    carried = carriers(samples, imputed)
    values = flattened(imputed["mean"])
    codes, common = classifiers.empty(imputed.sizes["replica"], 1, carried.labels)
    among = classifiers.shared(target, carried.labels)
    for replica, split in enumerate(imputed["split"].to_numpy()):
        there = np.flatnonzero(carried.trial[replica] >= 0)
        if len(among) > 1 and len(there):
            said = classify(classifiers.of(target, kind, int(split)), values[replica, there][:, None], among)[:, 0]
            codes[replica, 0, carried.trial[replica, there], carried.window[replica, there]] = said
            common[0, among] = True
    return Classified(codes, common, carried.labels)


def _over(values: Floats, which: np.ndarray) -> Floats:
    """Average ``(source, ..., target)`` over some pairs."""
    moved = np.moveaxis(values, 0, -2)
    return over_trials.mean_of_scored(moved[..., which], axis=-1)


def _summary(settings: Mapping[str, Draws], by_name: Mapping[str, Floats]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    ceiling = settings["ceiling"]
    found: list[dict[str, Any]] = []
    for setting in SETTINGS:
        if setting not in settings:
            found.append(dict.fromkeys(found[0], np.nan))
            continue
        one = settings[setting]
        ends = over_trials.interval(one.bootstrap - ceiling.bootstrap)
        apart = (np.nan, np.nan, np.nan) if one is ceiling else (one.observed - ceiling.observed, *ends)
        found.append(
            {
                **over_trials.judged(one.observed, one.bootstrap, one.null),
                **renamed_classes.judged(one.observed, by_name.get(setting, one.null[:0])),
                **dict(zip(("difference", "difference_low", "difference_high"), apart, strict=True)),
                "chance": one.chance,
            }
        )
    return {key: (("setting",), np.array([one[key] for one in found], dtype=np.float64)) for key in found[0]}


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return for each model a line for each setting, one as published, and one for the skill of imputation."""
    unscored = bool(scores.attrs["in_sample"])
    blank = Score(
        what="",
        representation="",
        setting="",
        value=np.nan,
        n_animals=scores.sizes["target"],
        n_trials=int(scores["trials"].sum()),
        n_windows=int(scores.attrs["windows"]),
        n_splits=int(scores.attrs["splits"]),
        in_sample=unscored,
    )
    lines = []
    for name in scores["representation"].values:
        model, empty = scores.sel(representation=name), blank._replace(representation=str(name))
        for setting in scores["setting"].values:
            one = model.sel(setting=setting)
            if not np.isfinite(one["value"]):
                continue
            nulls = {"null": ("coherence (balanced accuracy)", "floor", "p")}
            if setting in ("cross", "imputed"):
                nulls["renamed"] = "coherence, classes renamed", "renamed_floor", "renamed_p"
            for null, (what, kind, p) in nulls.items():
                lines.append(
                    empty._replace(
                        what=what,
                        setting=str(setting),
                        **numbers(one, null=null, p=p),
                        interval=scores.attrs["interval"],
                        null_kind=NO_FLOOR if unscored else scores.attrs[kind],
                        null_n=0 if scores.attrs[kind] == PLACES else int(scores.attrs["permutations"]),
                        chance=float(one["chance"]),
                        baseline="none: what is generated is compared with it" if setting == "ceiling" else "ceiling",
                        **difference(one),
                    )
                )
        lines.append(
            empty._replace(
                what="coherence as published (accuracy)",
                setting="within and cross",
                value=float(over_trials.mean_of_scored(model["published_value"].to_numpy().ravel(), axis=0)),
                low=float(model["published_low"]),
                high=float(model["published_high"]),
                interval=f"{scores.attrs['interval']} of the source",
                null_kind=PUBLISHED,
                chance=float(scores.attrs["chance"]),
                baseline="none: a classifier that has seen the scored trials is right of all of them",
                in_sample=True,
            )
        )
        if np.isfinite(model["mean_skill"]):
            lines.append(
                empty._replace(
                    what="imputation skill",
                    setting="imputed",
                    value=float(model["mean_skill"]),
                    low=float(model["mean_skill_low"]),
                    high=float(model["mean_skill_high"]),
                    interval=scores.attrs["skill_interval"],
                    null_kind="none: 0 is the condition mean of the training side, above 0 is nearer to the trials than that",
                    chance=0.0,
                    baseline="condition mean",
                    difference=float(model["mean_skill"]),
                    difference_low=float(model["mean_skill_low"]),
                    difference_high=float(model["mean_skill_high"]),
                )
            )
    return lines


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, whose latents generate what for whom, and the skill of imputation."""
    from neuromvm.analysis.figures import coherence as figures  # here, so that computing needs no plotting library

    drawn = {"settings": figures.settings(scores), "pairs": figures.pairs(scores)}
    if np.isfinite(scores["skill"]).any():
        drawn["skill"] = figures.skill(scores)
    return drawn
