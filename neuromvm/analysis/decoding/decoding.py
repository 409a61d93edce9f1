"""Analysis ``decoding``: can decoders of some animals read the others, and how does a model compare with baselines?

Every representation is decoded from the same trials; see :mod:`neuromvm.analysis.decoding.scoring` for the settings and for
the floors and intervals, :mod:`neuromvm.analysis.baselines.catalogue` for the baselines,
:mod:`neuromvm.analysis.decoding.tuning` for how their settings are chosen.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.baselines.catalogue import BASELINES, BaselineOptions, baseline, missing, require
from neuromvm.analysis.decoding.scoring import Resampling, score
from neuromvm.analysis.decoding.tuning import tuned_options, tuned_penalties
from neuromvm.analysis.flat_score import Score, difference, numbers
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError, SpecError, expect
from neuromvm.schema import check_same_trials, expect_tree, in_sample

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

__all__ = ["Options", "baseline", "check", "chosen_settings", "compare", "compute", "plot", "summarize"]

AGAINST = ("difference", "difference_low", "difference_high", "difference_animals_low", "difference_animals_high")
LATENT_PENALTY = "latent_inverse_penalty"
RENAMED = "cross, classes renamed"


class Options(BaselineOptions):
    """Baselines, decoders and resampling."""

    reference: str = Field("mcca", description="Representation with which the others are compared, draw by draw")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(1000, ge=500, description="Permutations of labels among test trials")
    seed: int = Field(0, ge=0, description="Of the resamples and permutations")


def check(options: Options) -> None:
    """Refuse what is asked for and cannot be had, before anything is trained.

    Raises
    ------
    SpecError
        If a baseline needs a package that is not installed.
    """
    require(options.baselines)


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Decode every model of a run and the baselines; :func:`compare` says what is returned.

    Rows that were refitted on null data (``neuromvm refit``) under the same settings have these refits as their floor.
    """
    return compare(study.samples, study.splits, {name: study.latents(name) for name in study.models}, options, study.refits)


def compare(
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Mapping[str, xr.DataTree],
    options: Options | None = None,
    refits: Callable[[str, list[str]], xr.Dataset | None] | None = None,
) -> xr.Dataset:
    """Decode latents and the baselines on the same splits.

    Parameters
    ----------
    samples, splits
        What the latents were inferred from, and the splits they were trained on.
    latents
        Name -> tree of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`.
    options
        Baselines, decoders and resampling.
    refits
        Row and its settings -> its scores on null data, or None; see :meth:`neuromvm.folders.study.Study.refits`.

    Returns
    -------
    What :func:`neuromvm.analysis.decoding.scoring.score` returns, and ``chosen (representation, split)``, the settings used,
    as JSON. In words, the attributes ``settings``, how they were chosen, and ``omitted``, the baselines for which the samples
    lack something.

    Raises
    ------
    SpecError
        If a model has the name of a baseline.
    SplitError
        If settings are to be chosen and a class has one training trial.

    Examples
    --------
    >>> scores = compare(samples, splits, {"mmvm": fitted.embed(samples)})  # doctest: +SKIP
    >>> scores["value"].sel(representation="mmvm", setting="cross")  # doctest: +SKIP
    """
    options = options or Options()
    expect(latents, Mapping, "latents", 'Name each tree: {"mmvm": fitted.embed(samples)}')
    for name, tree in latents.items():
        expect_tree(tree, "latent_mean", f"latents[{name!r}]", "Make it: fitted.embed(samples)")
        if "sample_spec" in tree.attrs and sample_spec(tree) != sample_spec(samples):
            raise SchemaError(
                f"latents[{name!r}]", found="latents of samples made with another spec", expected="latents of these samples"
            )
    check_same_trials(samples, splits)
    for name in options.baselines:
        if name in latents:
            raise SpecError(f"models.{name}", found="a model with the name of a baseline", next_step="Rename the model")
    predictions, chosen, left_out = predict(samples, splits, latents, options)
    resampling = Resampling(options.bootstraps, options.permutations, options.seed)
    nulls = {name: found for name in predictions if refits is not None and (found := refits(name, chosen[name])) is not None}
    scores = score(predictions, samples, resampling, options.reference, in_sample=in_sample(splits), refits=nulls)
    scores["chosen"] = (("representation", "split"), np.array(list(chosen.values())))
    how = f"chosen on {options.inner_folds} inner folds of the training side of each split" if options.tune else "as given"
    return scores.assign_attrs(
        settings=f"{how}. " + ". ".join(f"{name}: {words}" for name, words in chosen_settings(scores).items()),
        omitted="; ".join(f"{name}: {reason}" for name, reason in left_out.items()),
    )


class Predicted(NamedTuple):
    """What every row of the table predicts of test trials.

    Attributes
    ----------
    predictions
        Row -> what :func:`neuromvm.analysis.readouts.decoders.decode` returns.
    chosen
        Row -> its settings in each split, as JSON.
    left_out
        Baseline -> what the samples lack for it.
    """

    predictions: dict[str, xr.DataTree]
    chosen: dict[str, list[str]]
    left_out: dict[str, str]


def predict(samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, xr.DataTree], options: Options) -> Predicted:
    """Fit the baselines, choose settings if asked to, and decode every row; arguments are as of :func:`compare`."""
    left_out = {str(name): reason for name in options.baselines if (reason := missing(name, samples))}
    # Alignments need two animals, counts are counts: what cannot be fitted is left out, and it is said why.
    options = options.model_copy(update={"baselines": tuple(name for name in options.baselines if name not in left_out)})
    predictions, chosen = {}, {}
    for name, tree in latents.items():
        penalties = tuned_penalties(tree, samples, splits, options)
        predictions[name] = decode(Latents(tree, splits, inverse_penalty=penalties), samples, splits)
        chosen[name] = [json.dumps({LATENT_PENALTY: penalty}) for penalty in penalties]
    inputs = Inputs(samples, splits)
    for name, settings in tuned_options(samples, splits, options).items():
        predictions[name] = decode(baseline(name, inputs, settings), samples, splits)
        chosen[name] = [json.dumps({setting: getattr(one, setting) for setting in BASELINES[name].grid}) for one in settings]
    return Predicted(predictions, chosen, left_out)


def chosen_settings(scores: xr.Dataset) -> dict[str, str]:
    """Say in words which settings each representation had, and in how many splits.

    Examples
    --------
    >>> chosen = [['{"ridge": 3.0}', '{"ridge": 3.0}', '{"ridge": 10.0}']]
    >>> chosen_settings(xr.Dataset({"chosen": (("representation", "split"), chosen)}, {"representation": ["mcca"]}))
    {'mcca': 'ridge 3 (2 of 3 splits), 10 (1)'}
    """
    return {
        str(name): _in_words(scores["chosen"].sel(representation=name).to_numpy()) for name in scores["representation"].values
    }


def _in_words(chosen: NDArray[np.str_]) -> str:
    settings = [json.loads(str(one)) for one in chosen]
    words = []
    for setting in settings[0]:
        counted = Counter(
            one[setting] if isinstance(one[setting], str) else f"{one[setting]:g}" for one in settings
        ).most_common()
        (first, times), *others = counted
        said = f"{first} ({times} of {len(settings)} splits)" if others else first
        words.append(", ".join([f"{setting} {said}", *(f"{value} ({number})" for value, number in others)]))
    return "; ".join(words)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each representation and setting that exists, and two about *cross*.

    Of these one has another null, that animals have codes of their own, the other is of what is lost between animals.
    """
    reference, in_sample = scores.attrs["reference"], bool(scores.attrs.get("in_sample", 0))
    compared = scores.sel(reference=reference) if reference else scores.isel(reference=0)
    lines: list[Score] = []
    for representation in scores["representation"].values:
        for setting in scores["setting"].values:
            one = compared.sel(representation=representation, setting=setting)
            if not np.isfinite(one["value"]):
                continue
            other = bool(reference) and reference != representation and bool(np.isfinite(one["difference"]))
            against: dict[str, Any] = {key: float(one[key]) for key in AGAINST} if other else {}
            lines.append(
                Score(
                    what="balanced accuracy",
                    representation=str(representation),
                    setting=str(setting),
                    **numbers(one),
                    interval=scores.attrs["interval"],
                    null_kind=str(one["null_kind"].item()),
                    null_n=int(one["null_n"]),
                    chance=float(one["chance"]),
                    animals_low=float(one["animals_low"]),
                    animals_high=float(one["animals_high"]),
                    baseline=_compared_with(reference, str(representation), other),
                    **against,
                    n_animals=int(np.isfinite(one["target_value"]).sum()),
                    n_trials=int(one["trials"].where(np.isfinite(one["target_value"])).sum()),
                    n_windows=int(scores.attrs.get("windows", 0)),
                    n_splits=scores.sizes["split"],
                    in_sample=in_sample,
                )
            )
        one = compared.sel(representation=representation)
        for cross in [line for line in lines if (line.representation, line.setting) == (representation, "cross")]:
            lines.append(_renamed_line(scores, one.sel(setting="cross"), cross))
            if np.isfinite(one["gap_value"]):
                lines.append(_gap_line(scores, one, cross))
    return lines


def _compared_with(reference: str, representation: str, other: bool) -> str:
    """Name what a representation is compared with, or say why with nothing."""
    if other:
        return reference
    if not reference:
        return "none: what others are to be compared with was not decoded"
    return f"none: {'others are compared with it' if reference == representation else f'{reference} has no such score'}"


def _renamed_line(scores: xr.Dataset, one: xr.Dataset, cross: Score) -> Score:
    """Return the line of *cross* against what it would be if animals had codes of their own."""
    return cross._replace(
        setting=RENAMED,
        **numbers(one, null="renamed", p="renamed_p"),
        null_kind=scores.attrs["floor_of_unrelated_codes"],
        null_n=int(scores.attrs["renamed_n"]),
    )


def _gap_line(scores: xr.Dataset, one: xr.Dataset, cross: Score) -> Score:
    """Return the line of what is lost between animals; trials and animals are those of the line of *cross*."""
    other = cross.representation != scores.attrs["reference"] and bool(np.isfinite(one["gap_difference"]))
    against = difference(one, "gap_") if other and scores.attrs["reference"] else {}
    return Score(
        what=cross.what,
        representation=cross.representation,
        setting="within - cross",
        **numbers(one, "gap_"),
        interval=cross.interval,
        null_kind=scores.attrs["floor_of_within_minus_cross"] or cross.null_kind,
        null_n=int(scores.attrs["gap_null_n"]),
        chance=0.0,
        baseline=_compared_with(scores.attrs["reference"], cross.representation, bool(against)),
        **against,
        n_animals=int(np.isfinite(one["target_value"].sel(setting=["within", "cross"]).sum("setting", skipna=False)).sum()),
        n_trials=cross.n_trials,
        n_windows=cross.n_windows,
        n_splits=cross.n_splits,
        in_sample=cross.in_sample,
    )


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, the differences to the reference, and who reads whom."""
    from neuromvm.analysis.figures import decoding as figures  # here, so that computing needs no plotting library

    drawn = {"settings": figures.settings(scores), "transfer": figures.transfer(scores)}
    if scores.attrs["reference"]:
        drawn["difference"] = figures.difference(scores)
    return drawn
