"""How many trials does a new animal need? One animal after the other is new: adapted to with few trials, or all trained again."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import xarray as xr
from pydantic import ValidationError

from neuromvm import schema
from neuromvm.data.splits import few_trials, without_animal
from neuromvm.errors import SpecError, SplitError, did_you_mean
from neuromvm.files import claim, kept_tree, locked
from neuromvm.folders.few_shot import FewShotFolder, Trials, Way, from_few_to_all
from neuromvm.folders.study import Study
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.specs import ModelSpec, TrainingSpec
from neuromvm.specs.training import NEUTRAL
from neuromvm.training.adapt import TRAINING_AFTER, Beginning, adapt
from neuromvm.training.fit import fit

log = logging.getLogger(__name__)
PER_CLASS: tuple[Trials, ...] = (1, 2, 4, 8, None)
Keep = Callable[[Way, Trials, Callable[[], xr.DataTree]], xr.DataTree]


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
) -> FewShotLatents:
    """Pretend that one animal is new, and that little was recorded of it.

    Parameters
    ----------
    samples, splits
        Of at least three animals.
    model, training
        What is trained, and how, without the animal and from scratch.
    animal
        The new one.
    per_class
        Numbers of its training trials of each class; None is all of them.
    adaptation, start
        How it is adapted to: its training and where its weights begin; see :func:`neuromvm.training.adapt.adapt`.
    seed
        Of the draw of its trials, see :func:`neuromvm.data.splits.few_trials`.
    progress
        Show bars.

    Returns
    -------
    For each number of trials the splits and two trees of :meth:`neuromvm.inference.fitted_stack.FittedStack.embed`.

    Raises
    ------
    SplitError
        If there is no such animal, or fewer than two others.

    Examples
    --------
    >>> found = few_shot(samples, splits, model, training, "mitt", per_class=(1, 4, None))  # doctest: +SKIP
    >>> found.adapted[4]["mitt"]["latent_mean"].dims  # doctest: +SKIP
    ('replica', 'trial', 'window', 'latent')
    """
    schema.expect_samples(samples)
    schema.expect_splits(splits)
    few = {one: few_trials(samples, splits, animal, one, seed) for one in from_few_to_all(per_class)}
    base = cache(partial(fit_without, samples, splits, model, training, animal, progress=progress))
    how = _Adaptation(start, adaptation or TRAINING_AFTER[start])
    return _train(samples, splits, few, model, training, animal, how, base, _keep_nothing, progress=progress)


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
    """Leave out one animal of a run after the other, adapt to it and train from scratch; what is there is not done again.

    Parameters
    ----------
    run
        A run folder of ``neuromvm run``, whose recordings, splits and training are used.
    model
        Name of a model of the run; default: the first.
    animals
        Those that are new in turn; default: every animal of the run.
    per_class, adaptation, start, seed, progress
        As in :func:`few_shot`.

    Raises
    ------
    RunFolderError
        If it is no run folder, its models are not trained, or few-shot trainings with other settings are in it.
    SpecError
        If an animal is unknown, or cannot start from the others.
    SplitError
        If there are fewer than three animals.

    Examples
    --------
    >>> study = run_few_shot("runs/odor", "mmvm", per_class=(1, 4, None))  # doctest: +SKIP
    """
    study = run if isinstance(run, Study) else Study(run)
    name = study.models[0] if model is None else model
    study.model_folder(name)  # refuses an unknown one
    chosen = list(study.samples.children if animals is None else animals)
    for animal in chosen:
        if animal not in study.samples.children:
            raise SpecError(
                "animals", found=f"no animal {animal!r}", next_step=did_you_mean(animal, list(study.samples.children))
            )
    how = _Adaptation(start, adaptation or TRAINING_AFTER[start])
    folder = FewShotFolder(study)
    with locked(study.path):
        about = {"adaptation": _settings(how.training), "start": start if start != "random" else None, "seed": seed}
        home = folder.path / name
        claim(home / "few_shot.json", about, "few-shot trainings", f"Delete {home} to start again")
        for animal in chosen:
            log.info("%s: new animal %s", name, animal)
            _train_in(folder, name, animal, from_few_to_all(per_class), how, seed, progress)
    return study


def change_adaptation(settings: Mapping[str, object], start: Beginning = "random") -> TrainingSpec:
    """Return the default training of a new animal after its start, with other settings.

    Raises
    ------
    SpecError
        If a setting is unknown or out of range.

    Examples
    --------
    >>> change_adaptation({"epochs": 50}).epochs
    50
    """
    try:
        return TrainingSpec.model_validate({**TRAINING_AFTER[start].model_dump(), **settings})
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(str(part) for part in first["loc"])
        known = did_you_mean(setting, sorted(TrainingSpec.model_fields))
        raise SpecError(f"adaptation.{setting}", found=str(first["msg"]), next_step=known) from error


class _Adaptation(NamedTuple):
    """How a new animal is adapted to."""

    start: Beginning
    training: TrainingSpec


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
    """Train a model without one animal, see :func:`neuromvm.training.fit.fit`.

    Raises
    ------
    SplitError
        If fewer than two animals are left.
    """
    if len(samples.children) < 3:
        raise SplitError(
            "few-shot",
            found=f"{len(samples.children)} animals",
            expected="at least three: a new one, and two others that share a latent space",
            next_step="Add animals to the experiment",
        )
    rest = without_animal(samples, animal), without_animal(splits, animal)
    likelihoods = {name: one for name, one in model.likelihood_of.items() if name != animal}
    model = model.model_copy(update={"likelihood_of": likelihoods})
    return fit(*rest, model, training, folder=folder, progress=progress)


def _train_in(
    folder: FewShotFolder, name: str, animal: str, per_class: list[Trials], how: "_Adaptation", seed: int, progress: bool
) -> None:
    """Do for one animal of a run what is not in its folder."""
    study = folder.study
    model, training = study.spec.models[name], study.spec.training_for(name)

    @cache
    def base() -> FittedStack:
        kept = folder.path / name / animal / "base"
        if (kept / "fitted.json").is_file():
            return FittedStack.load(kept)
        return fit_without(study.samples, study.splits, model, training, animal, folder=kept, progress=progress)

    def keep(way: Way, trials: Trials, make: Callable[[], xr.DataTree]) -> xr.DataTree:
        return kept_tree(folder.latents_file(name, animal, way, trials), make)

    few = {
        one: kept_tree(folder.splits_file(name, animal, one), partial(few_trials, study.samples, study.splits, animal, one, seed))
        for one in per_class
    }
    _train(study.samples, study.splits, few, model, training, animal, how, base, keep, progress=progress)


def _train(
    samples: xr.DataTree,
    splits: xr.DataTree,
    few: Mapping[Trials, xr.DataTree],
    model: ModelSpec,
    training: TrainingSpec,
    animal: str,
    how: "_Adaptation",
    base: Callable[[], FittedStack],
    keep: Keep,
    *,
    progress: bool = True,
) -> FewShotLatents:
    own = {animal: model.likelihood_of[animal]} if animal in model.likelihood_of else None

    def adapted(some: xr.DataTree) -> xr.DataTree:
        found = adapt(base(), samples, some, how.training, start=how.start, likelihood_of=own, progress=progress)
        return found.embed(samples)

    def scratch(some: xr.DataTree) -> xr.DataTree:
        return fit(samples, some, model, training, progress=progress).embed(samples)

    found = FewShotLatents(dict(few), {}, {})
    for trials, some in few.items():
        found.adapted[trials] = keep("adapted", trials, partial(adapted, some))
        # With all trials nothing is few: validation trials stay what they are.
        found.scratch[trials] = keep("scratch", trials, partial(scratch, splits if trials is None else some))
    return found


def _keep_nothing(way: Way, trials: Trials, make: Callable[[], xr.DataTree]) -> xr.DataTree:
    return make()


def _settings(training: TrainingSpec) -> dict[str, object]:
    return training.model_dump(mode="json", exclude={*NEUTRAL, "seeds"})
