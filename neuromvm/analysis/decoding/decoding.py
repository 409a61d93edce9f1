"""Analysis ``decoding``: can decoders of some animals read the others, and how does a model compare with baselines?

Every representation is decoded from the same trials. Settings and intervals: :mod:`neuromvm.analysis.decoding.scoring`; nulls:
:mod:`~neuromvm.analysis.decoding.nulls`; choice of settings: :mod:`~neuromvm.analysis.decoding.tuning`.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from neuromvm.analysis.baselines.catalogue import BASELINES, BaselineOptions, baseline, missing, require
from neuromvm.analysis.decoding.confusion import confusion
from neuromvm.analysis.decoding.scoring import Resampling, score
from neuromvm.analysis.decoding.tuning import Tuned, tuned_options, tuned_penalties
from neuromvm.analysis.judged import (
    ALL_ANIMALS,
    ANIMALS,
    CLASS_NAMES,
    NOT_OF_SETTING,
    animals_of,
    check_judged,
    difference_of,
    interval_of,
    null_of,
    number_of_animals,
    value_of,
)
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents
from neuromvm.analysis.scores import Absent, Counts, Difference, Score
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.data.design import design_flags
from neuromvm.data.windows import sample_spec
from neuromvm.errors import SchemaError, SpecError, expect
from neuromvm.progress import steps
from neuromvm.schema import check_same_trials, expect_tree, in_sample

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

__all__ = ["Options", "baseline", "check", "chosen_settings", "compare", "compute", "plot", "summarize"]

LATENT_PENALTY = "latent_inverse_penalty"
RENAMED = "cross, classes renamed"


class Options(BaselineOptions):
    """Baselines, decoders and resampling."""

    reference: str = Field("mcca", description="Representation with which the others are compared, draw by draw")
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(1000, ge=500, description="Permutations of labels among test trials")
    seed: int = Field(0, ge=0, description="Of the resamples and permutations")


def check(options: Options) -> None:
    """Raise SpecError for baselines that need a package that is not installed, before anything is trained."""
    require(options.baselines)


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Decode every model of a run and the baselines; :func:`compare` says what is returned.

    For representations that were refitted on null data (``neuromvm refit``) under the same settings, the refits are the null.
    """
    return compare(study.samples, study.splits, {name: study.latents(name) for name in study.models}, options, study.refits)


def compare(
    samples: xr.DataTree,
    splits: xr.DataTree,
    latents: Mapping[str, xr.DataTree],
    options: Options | None = None,
    refits: Callable[[str, list[str]], Mapping[str, xr.Dataset]] | None = None,
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
        Representation and its settings -> name of a null -> its scores on null data
        (:meth:`neuromvm.folders.study.Study.refits`).

    Returns
    -------
    What :func:`neuromvm.analysis.decoding.scoring.score` returns; ``confusion`` of
    :func:`neuromvm.analysis.decoding.confusion.confusion`; and with the dims ``representation, split``: ``chosen``, the
    settings used, as JSON; ``inner_repeats``, how often training sides were divided into folds to choose them, 0 if they were
    given; ``chosen_share``, the share of these divisions in which they were the best. The attributes ``settings`` and ``omitted``
    say in words how settings were chosen, and which baselines the samples do not allow; ``design``, as JSON, what makes trials of
    an animal hard to exchange (:func:`neuromvm.data.design.design_flags`). :func:`neuromvm.analysis.judged.values` gives the
    plain table of scores.

    Raises
    ------
    SpecError
        If a model has the name of a baseline.
    SplitError
        If settings are to be chosen and a class has one training trial.

    Examples
    --------
    >>> scores = compare(samples, splits, {"mmvm": fitted.embed(samples)})  # doctest: +SKIP
    >>> values(scores).sel(representation="mmvm", setting="cross")  # doctest: +SKIP
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
    null_data = {} if refits is None else {name: refits(name, chosen[name].settings) for name in predictions}
    scores = score(predictions, samples, resampling, options.reference, in_sample=in_sample(splits), refits=null_data)
    scores = scores.assign(confusion=confusion(predictions, samples))
    fields = {"chosen": "settings", "inner_repeats": "repeats", "chosen_share": "share"}
    scores = scores.assign(
        {
            variable: (("representation", "split"), np.array([getattr(choice, field) for choice in chosen.values()]))
            for variable, field in fields.items()
        }
    )
    how = _how_chosen(options)
    return scores.assign_attrs(
        settings=f"{how}. " + ". ".join(f"{name}: {words}" for name, words in chosen_settings(scores).items()),
        omitted="; ".join(f"{name}: {reason}" for name, reason in left_out.items()),
        design=json.dumps([flag._asdict() for flag in design_flags(samples, splits)]),
    )


def predict(
    samples: xr.DataTree, splits: xr.DataTree, latents: Mapping[str, xr.DataTree], options: Options
) -> tuple[dict[str, xr.DataTree], dict[str, Tuned[str]], dict[str, str]]:
    """Fit the baselines, choose settings if ``tune`` is on, and decode everything; arguments are as of :func:`compare`.

    Return representation -> predictions of :func:`~neuromvm.analysis.readouts.decoders.decode`; representation -> its settings in
    each split, as JSON; and baseline -> what the samples lack for it.
    """
    left_out = {str(name): reason for name in options.baselines if (reason := missing(name, samples))}
    options = options.model_copy(update={"baselines": tuple(name for name in options.baselines if name not in left_out)})
    predictions: dict[str, xr.DataTree] = {}
    chosen: dict[str, Tuned[str]] = {}
    for name, tree in steps(latents.items(), "reading latents", "model"):
        penalties = tuned_penalties(tree, samples, splits, options)
        predictions[name] = decode(Latents(tree, splits, inverse_penalty=penalties.settings), samples, splits)
        texts = [json.dumps({LATENT_PENALTY: penalty}) for penalty in penalties.settings]
        chosen[name] = Tuned(texts, penalties.repeats, penalties.share)
    inputs = Inputs(samples, splits)
    for name, tuned in steps(tuned_options(samples, splits, options).items(), "reading baselines", "row"):
        predictions[name] = decode(baseline(name, inputs, tuned.settings), samples, splits)
        texts = [json.dumps({key: getattr(of_split, key) for key in BASELINES[name].grid}) for of_split in tuned.settings]
        chosen[name] = Tuned(texts, tuned.repeats, tuned.share)
    return predictions, chosen, left_out


def chosen_settings(scores: xr.Dataset) -> dict[str, str]:
    """Say in words which settings each representation had, and in how many splits.

    Examples
    --------
    >>> chosen = [['{"ridge": 3.0}', '{"ridge": 3.0}', '{"ridge": 10.0}']]
    >>> chosen_settings(xr.Dataset({"chosen": (("representation", "split"), chosen)}, {"representation": ["mcca"]}))
    {'mcca': 'ridge 3 (2 of 3 splits), 10 (1)'}
    """
    words = {}
    for name in map(str, scores["representation"].values):
        cell = scores.sel(representation=name)
        words[name] = _in_words(cell["chosen"].to_numpy())
        if "inner_repeats" in scores and cell["inner_repeats"].any():
            words[name] += f" (best in {float(cell['chosen_share'].mean()):.0%} of {_range(cell['inner_repeats'])} divisions)"
    return words


def _how_chosen(options: Options) -> str:
    """Say in words how settings were chosen."""
    if not options.tune:
        return "as given"
    how = f"chosen on {options.inner_folds} inner folds of the training side of each split"
    again = f", divided anew until choices did not change, {options.inner_repeats} times at most"
    return how if options.inner_repeats == 1 else how + again


def _range(counts: xr.DataArray) -> str:
    lowest, highest = int(counts.min()), int(counts.max())
    return str(lowest) if lowest == highest else f"{lowest} to {highest}"


def _in_words(chosen: NDArray[np.str_]) -> str:
    of_splits = [json.loads(str(settings)) for settings in chosen]
    words = []
    for name in of_splits[0]:
        texts = [value if isinstance(value := settings[name], str) else f"{value:g}" for settings in of_splits]
        (text, count), *rarer = Counter(texts).most_common()
        commonest = f"{text} ({count} of {len(of_splits)} splits)" if rarer else text
        words.append(", ".join([f"{name} {commonest}", *(f"{text} ({count})" for text, count in rarer)]))
    return "; ".join(words)


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return a line for each representation, setting and null; raise RunFolderError for scores saved by an earlier version."""
    check_judged(scores, "decoding")
    lines = []
    for name in scores["representation"].values:
        for null in map(str, scores["null"].values):
            selected = scores.sel(representation=name, null=null)
            for setting in map(str, scores["setting"].values):
                cell = selected.sel(setting=setting)
                if null == CORRESPONDENCE and cell["null_absent"].item():  # the saved scores say why
                    continue
                if cell["null_absent"].item() != NOT_OF_SETTING and np.isfinite(value_of(cell["score"].sel(target=ALL_ANIMALS))):
                    lines.append(_line(scores.sel(representation=name, setting=setting), null))
    return lines


def _line(cell: xr.Dataset, null: str) -> Score:
    """Return the line of a representation and setting that is judged against a null."""
    mean, setting = cell.sel(target=ALL_ANIMALS), str(cell["setting"].item())
    nulls = [str(name) for name in cell["null"].values if cell["null_absent"].sel(null=name).item() != NOT_OF_SETTING]
    scored = cell.sel(target=[name for name in animals_of(cell) if np.isfinite(value_of(cell["score"].sel(target=name)))])
    return Score(
        what="balanced accuracy",
        representation=str(cell["representation"].item()),
        setting=setting if null == nulls[0] else RENAMED if (setting, null) == ("cross", CLASS_NAMES) else f"{setting}, {null}",
        value=value_of(mean["score"]),
        n=Counts(
            animals=number_of_animals(scored["trials"]),
            trials=int(scored["trials"].sum()),
            windows=int(cell.attrs.get("windows", 0)),
            splits=cell.sizes["split"],
        ),
        interval=interval_of(mean["score"]),
        resampled=cell.attrs["interval"],
        over_animals=interval_of(mean["score"], ANIMALS),
        null=null_of(mean, null),
        chance=float(mean["chance"]),
        difference=_difference(mean, cell.attrs["reference"]),
        in_sample=bool(cell.attrs.get("in_sample", 0)),
    )


def _difference(cell: xr.Dataset, reference: str) -> Difference | Absent:
    if not reference:
        return Absent("what others are to be compared with was not decoded")
    if cell["representation"].item() == reference:
        return Absent("others are compared with it")
    return difference_of(cell, reference, f"{reference} has no such score")


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw the settings side by side, the differences to the reference, and who reads whom."""
    from neuromvm.analysis.figures import decoding as figures  # here, so that computing needs no plotting library

    check_judged(scores, "decoding")
    drawn = {"settings": figures.settings(scores), "transfer": figures.transfer(scores)}
    if scores.attrs["reference"]:
        drawn["difference"] = figures.difference(scores)
    if "confusion" in scores:
        drawn["confusion"] = figures.confusion(scores)
    return drawn
