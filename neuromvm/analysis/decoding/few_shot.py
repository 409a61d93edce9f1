"""Analysis ``few_shot``, leave one animal out: how many trials of a new animal do decoders of the others need to read it?

Every animal is new once: the shared model and the maps are fitted without it, and adapted to it with a number of its training
trials of each class. Compared are the adapted model, the same model trained from scratch, multiset canonical correlation (maps of
the others frozen, or fitted again), and two decoders of the animal alone. A decoder of the other animals reads all but these
two.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from pydantic import Field

from neuromvm.analysis.baselines.adapted_maps import FrozenCanonicalVariates
from neuromvm.analysis.baselines.mcca import CanonicalVariates
from neuromvm.analysis.baselines.raw import ShrunkMeanDiscriminants
from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.refit import EXCHANGED_KIND
from neuromvm.analysis.decoding.scoring import ONE_ANIMAL, Resampling, null_scores, score
from neuromvm.analysis.judged import LABELS, check_judged
from neuromvm.analysis.readouts.decoders import OTHERS, POOLED, decode
from neuromvm.analysis.readouts.representations import Inputs, Latents, RawFeatures, Representation
from neuromvm.analysis.scores import Score
from neuromvm.data.correspondence import CORRESPONDENCE, exchanged
from neuromvm.errors import RunFolderError, SchemaError, SpecError
from neuromvm.folders.few_shot import FewShotFolder, Trials, from_few_to_all, write_trials
from neuromvm.schema import Part, is_fitted
from neuromvm.specs.base import Spec

if TYPE_CHECKING:
    from neuromvm.analysis.figures.style import Figure
    from neuromvm.folders.study import Study

__all__ = ["NewAnimal", "Options", "compare_few_shot", "compute", "new_animal", "plot", "summarize"]

FROZEN_MAPS, REFITTED_MAPS, ALONE, SHRUNK_ALONE = "linear map", "mcca", "own decoder", "own shrunk_lda"
LINEAR = FROZEN_MAPS, REFITTED_MAPS
MODELS_KEPT = "models are not fitted again for new animals with exchanged names"
LEAVE_ONE_OUT = "balanced accuracy, leave one animal out"


class Options(Spec):
    """Resampling and the linear map. Penalties and components are those of the run's analysis ``decoding``."""

    map_ridge: float | None = Field(
        None, gt=0, description="linear map: added to the covariance of scaled features; default: the ridge of decoding"
    )
    bootstraps: int = Field(1000, ge=100, description="Resamples of test trials")
    permutations: int = Field(1000, ge=500, description="Permutations of labels among test trials")
    exchanges: int = Field(50, ge=0, description="Refits of linear methods with the names of conditions exchanged; 0: none")
    seed: int = Field(0, ge=0, description="Of the resamples and permutations")


class NewAnimal(NamedTuple):
    """A new animal with a number of training trials: splits, and latents of all animals in each method."""

    splits: xr.DataTree
    latents: Mapping[str, xr.DataTree]


def compute(study: "Study", options: Options) -> xr.Dataset:
    """Score what ``neuromvm few-shot`` trained in a run; :func:`compare_few_shot` says what is returned.

    RunFolderError if there is nothing, or models were given different trials.
    """
    folder = FewShotFolder(study)
    models = folder.models
    command = f"neuromvm few-shot {study.path}"
    if not models:
        raise RunFolderError(str(folder.path), found="no few-shot trainings", next_step=f"Train them: {command}")
    animals = [name for name in folder.animals(models[0]) if all(name in folder.animals(model) for model in models)]
    trained = [set(folder.trials(model, animal)) for model in models for animal in animals]
    per_class = from_few_to_all(list(set.intersection(*trained) if trained else ()))
    if not per_class:
        raise RunFolderError(
            str(folder.path),
            found=f"no number of trials that {', '.join(models)} were all trained with",
            next_step=f"Finish each: {command} --model MODEL",
        )
    new_animals = {trials: {animal: new_animal(folder, animal, trials) for animal in animals} for trials in per_class}
    baselines = decoding.Options.model_validate(study.spec.analyses.get("decoding", {}))
    return compare_few_shot(study.samples, new_animals, options, baselines)


def new_animal(folder: FewShotFolder, animal: str, trials: Trials) -> NewAnimal:
    """Return what all models inferred with a number of training trials of an animal; RunFolderError if they had other trials."""
    models = folder.models
    splits = folder.splits(models[0], animal, trials)
    for model in models[1:]:
        if not folder.splits(model, animal, trials).identical(splits):
            raise RunFolderError(
                str(folder.path / model), found="other few trials than other models have", next_step="Delete this folder"
            )
    latents = {f"{model} adapted": folder.latents(model, animal, "adapted", trials) for model in models}
    latents |= {f"{model} from scratch": folder.latents(model, animal, "scratch", trials) for model in models}
    return NewAnimal(splits, latents)


def compare_few_shot(
    samples: xr.DataTree,
    new_animals: Mapping[Trials, Mapping[str, NewAnimal]],
    options: Options | None = None,
    baselines: decoding.Options | None = None,
) -> xr.Dataset:
    """Read each new animal by a decoder of the others.

    Parameters
    ----------
    samples
        What the latents were inferred from.
    new_animals
        Training trials a class -> new animal -> its splits, and latents by the name of their method; the same animals and methods
        for each number of trials.
    options
        Resampling and the linear map.
    baselines
        Penalties of decoders, components and ridge of the linear alignments.

    Returns
    -------
    As of :func:`neuromvm.analysis.decoding.scoring.score`, ``representation`` being methods and ``setting`` numbers of trials
    a class; ``target`` are the new animals, each left out in turn, after the mean over them. ``training_trials (setting,
    target)``: how many the animal had, mean over splits. The null ``labels`` permutes labels among the test trials of the animal
    left out; nothing is fitted again. The null ``scrambled correspondence`` exchanges the names of conditions within each animal
    and fits the linear methods again; ``null_absent`` says why others have none.

    Raises
    ------
    SpecError
        If a method has the name of a baseline.
    """
    options, baselines = options or Options(), baselines or decoding.Options()
    resampling = Resampling(options.bootstraps, options.permutations, options.seed)
    ridge = baselines.ridge if options.map_ridge is None else options.map_ridge
    floor = f"{options.permutations} permutations of labels among the test trials of the animal left out; nothing fitted again"
    exchanges, reason = _exchanges(samples, options.exchanges)
    by_setting = []
    for trials, animals in new_animals.items():
        read = {animal: _read(samples, animal, new, ridge, baselines) for animal, new in animals.items()}
        refits = _refits(samples, animals, ridge, baselines, exchanges)
        scored = score(_by_method(read), _only(samples, *animals), resampling, FROZEN_MAPS, refits=refits)
        scored = scored.sel(setting=[OTHERS], null=[LABELS, CORRESPONDENCE])
        for method in scored["representation"].values.tolist():
            absent = ONE_ANIMAL if method in (ALONE, SHRUNK_ALONE) else reason if method in LINEAR else MODELS_KEPT
            scored["null_absent"].loc[{"null": CORRESPONDENCE, "representation": method}] = absent
        counts = [is_fitted(new.splits[animal]["part"].to_numpy()).sum(axis=1).mean() for animal, new in animals.items()]
        scored = scored.assign(training_trials=(("setting", "target"), [[np.mean(counts), *counts]]))
        scored["null_kind"] = scored["null_kind"].astype(object).where(scored["null"] != LABELS, floor).astype(str)
        coords = {"setting": [write_trials(trials)], "per_class": ("setting", [-1 if trials is None else trials])}
        by_setting.append(scored.drop_dims(["source", "correction"], errors="ignore").assign_coords(coords))
    scores = xr.concat(by_setting, "setting", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")
    return scores.assign_attrs(animals=len(samples.children), settings=_settings(baselines, ridge))


def _exchanges(samples: xr.DataTree, count: int) -> tuple[int, str]:
    """Return how often names are exchanged, and why not, '' if they are."""
    if count == 0:
        return 0, "no exchanges of names were asked for"
    try:
        exchanged(samples, 1)
    except SchemaError as error:
        return 0, f"names of conditions cannot be exchanged: {error.found}"
    return count, ""


def _refits(
    samples: xr.DataTree, animals: Mapping[str, NewAnimal], map_ridge: float, options: decoding.Options, exchanges: int
) -> dict[str, dict[str, xr.Dataset]]:
    """Fit the linear methods again with exchanged names; return method -> null -> scores, empty without ``exchanges``."""
    scores: dict[str, list[xr.Dataset]] = {}
    for number in range(1, exchanges + 1):
        renamed = exchanged(samples, number)
        read: dict[str, dict[str, xr.Dataset]] = {}
        for animal, new in animals.items():
            splits = _without_other_tests(new.splits, animal)
            maps = _maps(Inputs(renamed, splits), animal, map_ridge, options)
            read[animal] = {name: decode(method, renamed, splits, [OTHERS])[animal].to_dataset() for name, method in maps.items()}
        for name, tree in _by_method(read).items():
            replicas = next(iter(tree.children.values())).sizes["replica"]
            numbers = np.full(replicas, number)
            scores.setdefault(name, []).append(null_scores(tree, _only(renamed, *animals), numbers, EXCHANGED_KIND))
    return {name: {CORRESPONDENCE: xr.concat(drawn, "permutation", data_vars="minimal")} for name, drawn in scores.items()}


def _by_method(read: Mapping[str, Mapping[str, xr.Dataset]]) -> dict[str, xr.DataTree]:
    """Turn predictions of the decoder of the others by animal and method into trees of predictions of each method."""
    decoders, unread = [*read, OTHERS, POOLED], {"predicted": np.int16(-1), "common": False}
    methods = list(next(iter(read.values())))
    return {
        method: xr.DataTree.from_dict(
            {
                animal: predicted[method].sel(decoder=[OTHERS]).reindex(decoder=decoders, fill_value=unread)
                for animal, predicted in read.items()
            }
        )
        for method in methods
    }


def _maps(
    inputs: Inputs, animal: str, map_ridge: float, options: decoding.Options
) -> dict[str, FrozenCanonicalVariates | CanonicalVariates]:
    """Return the linear methods in which the others read an animal."""
    components, ridge, penalty = options.canonical_components, options.ridge, options.canonical_inverse_penalty
    return {
        FROZEN_MAPS: FrozenCanonicalVariates(
            inputs, animal, components=components, ridge=ridge, map_ridge=map_ridge, inverse_penalty=penalty
        ),
        REFITTED_MAPS: CanonicalVariates(inputs, components=components, ridge=ridge, inverse_penalty=penalty),
    }


def summarize(scores: xr.Dataset) -> list[Score]:
    """Return one line for each method and number of training trials, the mean over animals left out."""
    check_judged(scores, "few_shot")
    return [line._replace(what=LEAVE_ONE_OUT) for line in decoding.summarize(scores)]


def plot(scores: xr.Dataset) -> dict[str, "Figure"]:
    """Draw accuracy and the difference to the linear map over the number of trials, and every animal left out."""
    from neuromvm.analysis.figures import few_shot as figures  # here, so that computing needs no plotting library

    check_judged(scores, "few_shot")
    return {"animals": figures.animals(scores), "curve": figures.curve(scores), "difference": figures.difference(scores)}


def _settings(baselines: decoding.Options, map_ridge: float) -> str:
    return (
        "training trials of each class of the animal left out; not tuned, as given to the analysis decoding: "
        f"{FROZEN_MAPS}: canonical_components {baselines.canonical_components}, ridge {baselines.ridge:g}, of the animal left "
        f"out {map_ridge:g}, canonical_inverse_penalty {baselines.canonical_inverse_penalty:g}; {REFITTED_MAPS}: the same; "
        f"models: latent_inverse_penalty {baselines.latent_inverse_penalty:g}; {ALONE}: raw_inverse_penalty "
        f"{baselines.raw_inverse_penalty:g}; {SHRUNK_ALONE}: mean_lda_shrinkage {baselines.mean_lda_shrinkage:g}"
    )


def _read(
    samples: xr.DataTree, animal: str, new: NewAnimal, map_ridge: float, options: decoding.Options
) -> dict[str, xr.Dataset]:
    """Return the predictions of the new animal's test trials in each method, by one decoder named ``others``."""
    splits = _without_other_tests(new.splits, animal)
    inputs = Inputs(samples, splits)
    representations: dict[str, Representation] = {
        name: Latents(tree, splits, inverse_penalty=options.latent_inverse_penalty) for name, tree in new.latents.items()
    }
    for name in (FROZEN_MAPS, REFITTED_MAPS, ALONE, SHRUNK_ALONE):
        if name in representations:
            raise SpecError(f"method {name!r}", found="the name of a baseline", next_step="Rename it")
    representations |= _maps(inputs, animal, map_ridge, options)
    predicted = {name: decode(method, samples, splits)[animal].to_dataset() for name, method in representations.items()}
    alone = _only(samples, animal), _only(splits, animal)
    inputs_alone = Inputs(*alone)
    by_itself: dict[str, Representation] = {
        ALONE: RawFeatures(inputs_alone, inverse_penalty=options.raw_inverse_penalty),
        SHRUNK_ALONE: ShrunkMeanDiscriminants(inputs_alone, shrinkage=options.mean_lda_shrinkage),
    }
    for name, method in by_itself.items():
        decoded = decode(method, *alone)[animal].to_dataset()
        # In place of the decoder of the others in the other methods.
        predicted[name] = decoded.sel(decoder=[animal]).assign_coords(decoder=[OTHERS])
    return predicted


def _without_other_tests(splits: xr.DataTree, animal: str) -> xr.DataTree:
    """Leave nothing to be tested of the other animals."""
    without = splits.copy()
    for name in set(splits.children) - {animal}:
        part = splits[name]["part"]
        without[name]["part"] = part.where(part != Part.TEST, 0)
    return without


def _only(tree: xr.DataTree, *animals: str) -> xr.DataTree:
    return xr.DataTree.from_dict({"/": tree.to_dataset(), **{name: tree[name].to_dataset() for name in animals}})
