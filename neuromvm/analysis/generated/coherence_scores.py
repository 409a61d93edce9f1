"""Balanced accuracies of generated activity, with intervals and nulls over trials."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.classes import Classified, Classifiers
from neuromvm.analysis.generated.imputation_skill import skill
from neuromvm.analysis.judged import ALL_ANIMALS, CLASS_NAMES, LABELS, STATISTIC_COORDS, over_trials_alone, with_mean
from neuromvm.analysis.readouts.decoders import OTHERS
from neuromvm.analysis.readouts.representations import Floats
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows, Tally
from neuromvm.analysis.statistics.renamed_classes import Renaming, exchangeable, recall

SETTINGS = ("within", "cross", "imputed", "ceiling")
CEILING, RENAMED = "ceiling", ("cross", "imputed")  # baseline, and settings with a null of renamed classes
BLOCK = 250  # permutations in memory at once
Variables = dict[str, tuple[tuple[str, ...], Floats]]


class Draws(NamedTuple):
    """Balanced accuracies, means over splits; the last axis is of classifiers, or of animals that activity is generated for."""

    observed: Floats  # (classifier,)
    bootstrap: Floats  # (draw, classifier)
    null: Floats  # (draw, classifier), labels permuted among trials
    chance: Floats  # (classifier,)


def score_model(
    classifiers: Classifiers, transferred: xr.DataTree, imputed: xr.DataTree | None, resampling: Resampling
) -> xr.Dataset:
    """Score what one model generates; :func:`neuromvm.analysis.generated.coherence.coherence` says what is returned."""
    samples = classifiers.samples
    animals = list(samples.children)
    kinds = {target: str(transferred[animals[0]][target].attrs["kind"]) for target in animals}
    generated = {source: classifiers.of_generated(transferred, source, kinds) for source in animals}
    published = {source: classifiers.of_generated(transferred, source, kinds, published=True) for source in animals}
    real = {animal: classifiers.of_real(animal, kinds[animal]) for animal in animals}
    imputations = {} if imputed is None else {target: node.to_dataset() for target, node in imputed.children.items()}
    classified = {target: classifiers.of_imputed(tuples, target, kinds[target]) for target, tuples in imputations.items()}
    pairs = Draws(*map(np.stack, zip(*(draw(codes, resampling, source) for source, codes in generated.items()), strict=True)))
    within = np.eye(len(animals), dtype=bool)
    settings = {
        "within": Draws(*(_mean_by_target(values, within) for values in pairs)),
        "cross": Draws(*(_mean_by_target(values, ~within) for values in pairs)),
        "imputed": _of_animals(classified, animals, resampling, "imputed {}"),
        CEILING: _of_animals(real, animals, resampling, "{}"),
    }
    draws = resampling.permutations if exchangeable(samples) else 0
    renaming = Renaming([*animals, OTHERS], generated[animals[0]].common.shape[1], draws, resampling.seed)
    renamed_pairs = np.stack([renamed(codes, source, animals, renaming) for source, codes in generated.items()])
    # Imputed activity is judged with classes renamed in the same way for all targets.
    renamed_imputations = {target: [renamed(codes, OTHERS, [None], renaming)[:, 0]] for target, codes in classified.items()}
    renamings = {
        "cross": _mean_by_target(renamed_pairs, ~within),
        "imputed": _by_animal(renamed_imputations, animals, [(renaming.draws,)])[0],
    }
    skills = {
        target: skill(samples, classifiers.splits, tuples, target, kinds[target], resampling)
        for target, tuples in imputations.items()
    }
    skill_of_animals = over_trials_alone(*_by_animal(skills, animals, ((), (resampling.bootstraps,))))
    targets = [ALL_ANIMALS, *animals]
    of_pairs = xr.Dataset(_of_pairs(pairs, published, resampling), {"source": animals, "target": animals})
    return xr.Dataset(
        {
            **_of_settings(settings, renamings),
            "skill": (("target", "unit_of_inference", "statistic"), skill_of_animals),
        },
        {
            "setting": list(SETTINGS),
            "target": targets,
            "reference": [CEILING],
            "null": [LABELS, CLASS_NAMES],
            **STATISTIC_COORDS,
        },
    ).merge(of_pairs.reindex(target=targets), join="exact")


def _of_settings(settings: Mapping[str, Draws], renamings: Mapping[str, Floats]) -> Variables:
    value = np.stack([draws.observed for draws in settings.values()])  # (setting, target)
    bootstrap = np.stack([draws.bootstrap for draws in settings.values()], axis=1)
    ceiling = settings[CEILING]
    difference = over_trials_alone(value - ceiling.observed, bootstrap - ceiling.bootstrap[:, None])
    difference[SETTINGS.index(CEILING)] = np.nan
    nulls = [
        [over_trials.under_null(draws.observed, draws.null) for draws in settings.values()],
        [over_trials.under_null(draws.observed, renamings.get(setting, draws.null[:0])) for setting, draws in settings.items()],
    ]
    dims = ("setting", "target", "unit_of_inference", "statistic")
    return {
        "score": (dims, over_trials_alone(value, bootstrap)),
        "difference": (("reference", *dims), difference[None]),
        "null_score": (("null", "setting", "target", "null_statistic"), np.array(nulls)),
        "chance": (("setting", "target"), np.stack([draws.chance for draws in settings.values()])),
    }


def _of_pairs(pairs: Draws, published: Mapping[str, Classified], resampling: Resampling) -> Variables:
    nulls = np.moveaxis(pairs.null, 1, 0)  # (draw, source, target)
    p = over_trials.p_value(pairs.observed, nulls) if len(nulls) else np.full_like(pairs.observed, np.nan)
    shares = [share_right(classified, resampling, source) for source, classified in published.items()]
    accuracy = np.stack([value for value, _ in shares])
    overall = over_trials.mean_of_scored(np.concatenate([draws for _, draws in shares], axis=1), axis=1)
    mean = over_trials.mean_of_scored(accuracy.ravel(), axis=0)
    return {
        "pair_score": (("source", "target"), pairs.observed),
        "pair_p": (("source", "target"), p),
        "pair_accuracy": (("source", "target"), accuracy),
        "accuracy": (("unit_of_inference", "statistic"), over_trials_alone(mean, overall)),
    }


def _of_animals(classified: Mapping[str, Classified], animals: Sequence[str], resampling: Resampling, name: str) -> Draws:
    """Score the samples of each animal; draws depend on ``name``, with the animal in it."""
    drawn = {animal: draw(codes, resampling, name.format(animal)) for animal, codes in classified.items()}
    columns = {animal: [field[..., 0] for field in draws] for animal, draws in drawn.items()}
    shapes = ((), (resampling.bootstraps,), (resampling.permutations,), ())
    return Draws(*_by_animal(columns, animals, shapes))


def _by_animal(fields: Mapping[str, Sequence[Any]], animals: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> list[Floats]:
    """Return each field ``(..., target)``, the mean over animals first; NaN for animals without it."""
    missing = [np.full(shape, np.nan) for shape in shapes]
    columns = zip(*(fields.get(animal, missing) for animal in animals), strict=True)
    return [with_mean(np.stack(column, axis=-1)) for column in columns]


def _mean_by_target(values: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Return the mean of ``(source, ..., target)`` over chosen pairs, then over the sources of each target: ``(..., target)``."""
    by_pair = np.moveaxis(values, 0, -2)
    by_target = over_trials.mean_of_scored(np.where(chosen, by_pair, np.nan), axis=-2)
    return np.concatenate([over_trials.mean_of_scored(by_pair[..., chosen], axis=-1)[..., None], by_target], axis=-1)


def draw(classified: Classified, resampling: Resampling, name: str) -> Draws:
    """Return balanced accuracies of the classes given to the samples of an animal, means over splits.

    Bootstrap draws are of trials within rows of labels. The null permutes labels among the scored trials: latents that carry no
    class. Draws depend on ``name`` and are paired between scores of the same name.
    """
    codes, common, labels = classified
    used = (codes >= 0).any(axis=(0, 1, 3))
    codes, rows = codes[:, :, used], LabelRows.of(labels[used])
    splits, classifiers = codes.shape[:2]
    flat = codes.reshape(-1, *codes.shape[2:])
    votes = (flat[..., None] == np.arange(common.shape[1])).astype(np.float32)
    tally = Tally.of(votes, np.asarray((flat >= 0).any(axis=-1)), np.tile(common, (splits, 1)), rows)
    random = np.random.default_rng([resampling.seed, zlib.crc32(name.encode())])

    def scores(assignments: Floats) -> Floats:
        accuracy = tally.balanced_accuracy(assignments).reshape(len(assignments), splits, classifiers)
        return over_trials.mean_of_scored(accuracy, axis=1)

    bootstrap = scores(over_trials.bootstrap(rows, resampling.bootstraps, random))
    blocks = [
        scores(over_trials.permutations(rows, min(BLOCK, resampling.permutations - begin), random))
        for begin in range(0, resampling.permutations, BLOCK)
    ]
    null = np.concatenate(blocks) if blocks else np.zeros((0, classifiers))
    chance = np.where(common.any(axis=1), 1 / np.maximum(common.sum(axis=1), 1), np.nan)
    return Draws(scores(over_trials.as_they_are(rows))[0], bootstrap, null, chance)


def renamed(classified: Classified, read: str, decoders: Sequence[str | None], renaming: Renaming) -> Floats:
    """Return balanced accuracies with the classes of animals renamed ``(draw, classifier)``, mean over splits.

    They are those of latents that carry the classes in a code that differs from that of the animal of the classifier. ``read`` is
    the animal of the samples, ``decoders`` are those of the classifiers, None where classes keep their names.
    """
    codes, common, labels = classified
    shares = recall(codes, labels, common.shape[1])  # (split, classifier, class, class given)
    shares = np.where(common[:, :, None], shares, np.nan)
    accuracies = [
        over_trials.mean_of_scored(renaming.accuracy(shares[:, classifier], common[classifier], read, decoder), axis=1)
        for classifier, decoder in enumerate(decoders)
    ]
    return np.stack(accuracies, axis=1)


def share_right(classified: Classified, resampling: Resampling, name: str) -> tuple[Floats, Floats]:
    """Return the share of samples given their true class, mean over splits, ``(classifier,)``, and draws ``(draw, classifier)``.

    Bootstrap draws are of trials within rows of labels.
    """
    codes, _, labels = classified
    used = (codes >= 0).any(axis=(0, 1, 3))
    codes, rows = codes[:, :, used], LabelRows.of(labels[used])
    tested = (codes >= 0).any(axis=-1)
    right = tested * (codes == labels[used]).mean(axis=-1)

    def shares(assignments: Floats) -> Floats:
        weight = assignments.sum(axis=2)  # (draw, trial)
        correct, total = (np.tensordot(weight, counts.astype(np.float64), axes=(1, 2)) for counts in (right, tested))
        return over_trials.mean_of_scored(np.where(total > 0, correct / np.where(total > 0, total, 1), np.nan), axis=1)

    random = np.random.default_rng([resampling.seed, 2, zlib.crc32(name.encode())])
    return shares(over_trials.as_they_are(rows))[0], shares(over_trials.bootstrap(rows, resampling.bootstraps, random))
