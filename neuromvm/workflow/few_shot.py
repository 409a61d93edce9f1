"""Few-shot question: how many trials of a new animal does a model need? Each animal in turn is new."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from neuromvm import schema
from neuromvm.data.splits import few_trials, without_animal
from neuromvm.errors import SpecError, SplitError, did_you_mean
from neuromvm.files import claim, kept_tree, locked
from neuromvm.folders.few_shot import Content, FewShotFolder, Trials, from_few_to_all
from neuromvm.folders.study import Study
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.training import NEUTRAL
from neuromvm.training.adapt import TRAINING_AFTER, Beginning, adapt
from neuromvm.training.fit import fit

log = logging.getLogger(__name__)
PER_CLASS: tuple[Trials, ...] = (1, 2, 4, 8, None)
Compute = Callable[[], xr.DataTree]


class FewShotLatents(NamedTuple):
    """Latents of all animals for each number of the new animal's training trials a class; None is all of them.

    ``adapted``: the new animal was added to a stack trained without it. ``scratch``: all animals were trained together, the
    new one with its few trials. ``splits``: which trials those are.
    """

    splits: dict[Trials, xr.DataTree]
    adapted: dict[Trials, xr.DataTree]
    scratch: dict[Trials, xr.DataTree]


def few_shot(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    animal: str,
    per_class: Sequence[Trials] = PER_CLASS,
    adaptation: TrainingSpec | None = None,
    *,
    start: Beginning = "random",
    seed: int = 0,
    progress: bool = True,
    base_folder: Path | None = None,
    keep: Callable[[Content, Trials, Compute], xr.DataTree] = lambda content, trials, compute: compute(),
) -> FewShotLatents:
    """Adapt a model to an animal with few training trials, and train all animals from scratch with the same trials.

    ``per_class`` are the numbers of its training trials of each class, drawn with ``seed`` by
    :func:`neuromvm.data.splits.few_trials`; None is all. ``model`` and ``training`` are used without the animal and from scratch,
    ``adaptation`` and ``start`` by :func:`neuromvm.training.adapt.adapt`. The model folder ``base_folder`` of the training
    without the animal is continued or read. ``keep`` returns what a computation gives or has given before. Raises SplitError if
    there is no such animal, or fewer than two others.
    """
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    likelihood = {animal: model.likelihood_of[animal]} if animal in model.likelihood_of else None

    @cache
    def base() -> FittedStack:
        if base_folder is not None and (base_folder / "fitted.json").is_file():
            return FittedStack.load(base_folder)
        return fit_without(samples, splits, model, training, animal, folder=base_folder, progress=progress)

    def adapted(few_splits: xr.DataTree) -> xr.DataTree:
        settings = adaptation or TRAINING_AFTER[start]
        fitted = adapt(base(), samples, few_splits, settings, start=start, likelihood_of=likelihood, progress=progress)
        return fitted.embed(samples)

    def scratch(few_splits: xr.DataTree) -> xr.DataTree:
        return fit(samples, few_splits, model, training, progress=progress).embed(samples)

    latents = FewShotLatents({}, {}, {})
    for trials in from_few_to_all(per_class):
        few_splits = keep("splits", trials, partial(few_trials, samples, splits, animal, trials, seed))
        latents.splits[trials] = few_splits
        latents.adapted[trials] = keep("adapted", trials, partial(adapted, few_splits))
        # All training trials: the splits as they are, validation trials included.
        latents.scratch[trials] = keep("scratch", trials, partial(scratch, splits if trials is None else few_splits))
    return latents


def run_few_shot(
    run: str | Path | Study,
    model: str | None = None,
    animals: Sequence[str] | None = None,
    per_class: Sequence[Trials] = PER_CLASS,
    adaptation: TrainingSpec | None = None,
    *,
    start: Beginning = "random",
    seed: int = 0,
    progress: bool = True,
) -> Study:
    """Answer the few-shot question for animals of a run, by default all; results in the run folder are not computed again.

    The model is by default the first of the run; further parameters are those of :func:`few_shot`. Raises RunFolderError if the
    folder is no run, is not trained or holds few-shot trainings with other settings, SpecError if an animal is unknown or cannot
    start from the others, SplitError if there are fewer than three animals.
    """
    study = run if isinstance(run, Study) else Study(run)
    name = study.models[0] if model is None else model
    study.model_folder(name)  # raises RunFolderError for an unknown model
    known = list(study.samples.children)
    new_animals = known if animals is None else animals
    if unknown := [animal for animal in new_animals if animal not in known]:
        raise SpecError("animals", found=f"no animal {unknown[0]!r}", next_step=did_you_mean(unknown[0], known))
    folder = FewShotFolder(study)
    training = (adaptation or TRAINING_AFTER[start]).model_dump(mode="json", exclude={*NEUTRAL, "seeds"})
    settings = {"adaptation": training, "start": start if start != "random" else None, "seed": seed}
    with locked(study.path):
        home = folder.path / name
        claim(home / "few_shot.json", settings, "few-shot trainings", f"Delete {home} to start again")
        for animal in new_animals:
            log.info("%s: new animal %s", name, animal)
            few_shot(
                study.samples,
                study.splits,
                study.spec.models[name],
                study.spec.training_for(name),
                animal,
                per_class,
                adaptation,
                start=start,
                seed=seed,
                progress=progress,
                base_folder=home / animal / "base",
                keep=partial(_keep, folder, name, animal),
            )
    return study


def _keep(folder: FewShotFolder, model: str, animal: str, content: Content, trials: Trials, compute: Compute) -> xr.DataTree:
    return kept_tree(folder.file(model, animal, content, trials), compute)


def change_adaptation(settings: Mapping[str, object], start: Beginning = "random") -> TrainingSpec:
    """Return the default training of a new animal with other settings; SpecError if a setting is unknown or out of range.

    >>> change_adaptation({"epochs": 50}).epochs
    50
    """
    return TrainingSpec(**{**TRAINING_AFTER[start].model_dump(), **dict(settings)})


def fit_without(
    samples: xr.DataTree,
    splits: xr.DataTree,
    model: ModelSpec,
    training: TrainingSpec,
    animal: str,
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> FittedStack:
    """Train a model without one animal, see :func:`neuromvm.training.fit.fit`; SplitError if fewer than two animals are left."""
    if len(samples.children) < 3:
        raise SplitError(
            "few-shot",
            found=f"{len(samples.children)} animals",
            expected="at least three: a new one, and two others that share a latent space",
            next_step="Add animals to the experiment",
        )
    likelihoods = {name: likelihood for name, likelihood in model.likelihood_of.items() if name != animal}
    model = model.model_copy(update={"likelihood_of": likelihoods})
    return fit(without_animal(samples, animal), without_animal(splits, animal), model, training, folder=folder, progress=progress)
