"""Balanced accuracy of decoded labels for each setting, with everything needed to judge it.

Settings: *within*, the decoder of an animal on its own test trials; *cross*, mean over the decoders of every other animal;
*others*, one decoder fitted on all other animals; *pooled*, one decoder fitted on all animals; *within - cross*, what is lost
between animals.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding import nulls
from neuromvm.analysis.decoding.decoder_groups import SETTINGS, TargetDecoders, any_predicted
from neuromvm.analysis.decoding.nulls import NullScores, Variables
from neuromvm.analysis.judged import (
    ALL_ANIMALS,
    CLASS_NAMES,
    LABELS,
    NULL_STATISTICS,
    STATISTIC_COORDS,
    STATISTICS,
    UNITS_OF_INFERENCE,
    subject_coord,
    with_mean,
)
from neuromvm.analysis.scores import ABSENT_PREFIX
from neuromvm.analysis.statistics import hierarchy, over_trials
from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored, under_null, under_refits
from neuromvm.analysis.statistics.renamed_classes import NEIGHBOURS_ALIKE, Renaming, exchangeable
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.errors import SplitError
from neuromvm.schema import subjects

LARGEST_PIECE = 20_000_000  # numbers in an array of permutations
WITHIN, CROSS = SETTINGS.index("within"), SETTINGS.index("cross")
LOST = "within - cross"
ALL_SETTINGS = (*SETTINGS, LOST)
CORRECTIONS = ("none", "family-wise")
FITTED = "the scored trials were fitted on, and permuted labels do not say what such a fit gives on noise"
NAMES_WITHIN = "names of conditions do not matter within an animal"
ONE_ANIMAL = "the row reads one animal alone"
NOT_EXCHANGED = "nothing was fitted again with exchanged names: neuromvm refit RUN --null correspondence"
NO_FLOOR = f"{ABSENT_PREFIX}{FITTED}"


class Resampling(NamedTuple):
    """How many draws, and their seed; without permutations there is no null."""

    bootstraps: int = 1000
    permutations: int = 1000
    seed: int = 0


class Draws(NamedTuple):
    """Balanced accuracies of one representation, averaged over seeds; NaN where a decoder does not exist."""

    observed: Floats  # (split, setting, target)
    pairs: Floats  # (split, source, target)
    bootstrap: Floats  # (draw, setting, target), mean over splits
    null: Floats  # (draw, setting, target), mean over splits; labels permuted among test trials
    chance: Floats  # (setting, target)


class Accuracies(NamedTuple):
    """What is judged of one representation, or the difference of two of them; the first target is the mean over all."""

    value: Floats  # (setting, target), of all settings
    bootstrap: Floats  # (draw, setting, target)
    pairs: Floats  # (source, target), without the mean

    @classmethod
    def of(cls, draws: Draws) -> "Accuracies":
        """Average over splits and targets, and add what is lost between animals."""
        pairs = mean_of_scored(draws.pairs, axis=0)
        value = np.concatenate([mean_of_scored(draws.observed, axis=0), nulls.own_minus_others(pairs)[None]])
        lost = draws.bootstrap[:, [WITHIN]] - draws.bootstrap[:, [CROSS]]
        return cls(with_mean(value), with_mean(np.concatenate([draws.bootstrap, lost], axis=1)), pairs)

    def minus(self, reference: "Accuracies") -> "Accuracies":
        """Return the difference, paired by draw."""
        return Accuracies(*(ours - theirs for ours, theirs in zip(self, reference, strict=True)))

    def intervals(self, seed: int, of_subject: NDArray[np.intp]) -> Floats:
        """Return ``(setting, target, unit_of_inference, statistic)``; over animals only of the mean, of *cross* over pairs."""
        statistics = np.full((*self.value.shape, len(UNITS_OF_INFERENCE), len(STATISTICS)), np.nan)
        statistics[..., 0] = self.value[..., None]
        statistics[..., 0, 1], statistics[..., 0, 2] = over_trials.interval(self.bootstrap)
        for index in range(len(SETTINGS)):
            if index == CROSS:
                interval = hierarchy.over_pairs(self.pairs, of_subject)
            else:
                rng = np.random.default_rng([seed, index])
                interval = hierarchy.over_animals(self.value[index, 1:], self.bootstrap[:, index, 1:], rng, of_subject)
            statistics[index, 0, 1, 1:] = interval.low, interval.high
        return statistics


def score(
    predictions: Mapping[str, xr.DataTree],
    samples: xr.DataTree,
    resampling: Resampling,
    reference: str,
    *,
    in_sample: bool = False,
    refits: Mapping[str, Mapping[str, xr.Dataset]] | None = None,
) -> xr.Dataset:
    """Score the predictions of several representations on the same test trials.

    Parameters
    ----------
    predictions
        Representation -> what :func:`neuromvm.analysis.readouts.decoders.decode` returns; all of the same splits.
    samples
        True labels.
    resampling
        Number of bootstrap draws and permutations.
    reference
        Representation with which tables and figures compare the others.
    in_sample
        Whether trials that are scored were fitted on. Decoders that have seen the true labels beat permuted ones whatever the
        trials hold, so then there is no null.
    refits
        Representation -> name of a null -> :func:`null_scores` of refits on null data. Those of the null ``labels`` replace
        permutations of labels among test trials; those of ``scrambled correspondence`` judge what passes between animals.

    Returns
    -------
    Balanced accuracies, averaged over seeds, splits and targets, in the layout of :mod:`neuromvm.analysis.judged`: ``score,
    difference, null_score, chance`` with the dims ``representation, setting, target``. Intervals over trials are of bootstrap
    draws within animal and label, differences are paired by draw; for the nulls see :mod:`neuromvm.analysis.decoding.nulls`.
    ``split_value (representation, split, setting)``. ``accuracy (representation, split, source, target)``, NaN for the target
    ``all animals``, with ``accuracy_p (representation, correction, source, target)`` of refits: ``none``, or ``family-wise``
    against the largest score of all pairs of different animals in each refit. ``majority_share, trials (target)``; ``seeds
    (representation)``. Attributes ``chance``, ``classes``, ``label``, ``reference``, ``interval``, ``windows``, ``in_sample``.

    Raises
    ------
    SplitError
        If no trial can be tested.
    """
    if in_sample:
        resampling, refits = resampling._replace(permutations=0), {}
    trials, counts = _tested(predictions, samples)
    animals, judge = list(samples.children), _Judge(samples, resampling, FITTED if in_sample else "")
    draws, accuracies, null_scores_of, pair_p = [], [], [], []
    for name, tree in predictions.items():
        refits_of = {null: refit.sel(source=animals, target=animals) for null, refit in (refits or {}).get(name, {}).items()}
        draws.append(_draws(tree, samples, resampling, LABELS in refits_of))
        accuracies.append(Accuracies.of(draws[-1]))
        null_scores_of.append(judge.nulls(tree, draws[-1], accuracies[-1], refits_of))
        pair_p.append(_pair_p(accuracies[-1].pairs, draws[-1].pairs, refits_of.get(LABELS)))
    null_names, variables = nulls.null_variables(null_scores_of, ALL_SETTINGS, samples)
    dims, targets = ("representation", "setting", "target"), [tree[animals[0]] for tree in predictions.values()]
    variables |= _scores_and_differences(accuracies, dims, resampling.seed, subjects(samples))
    variables |= {
        "chance": (dims, np.stack([np.pad(with_mean(drawn.chance), ((0, 1), (0, 0))) for drawn in draws])),  # 0: of LOST
        "split_value": (("representation", "split", "setting"), np.stack([_by_split(drawn) for drawn in draws])),
        "accuracy": (("representation", "split", "source", "target"), _without_mean([drawn.pairs for drawn in draws])),
        "accuracy_p": (("representation", "correction", "source", "target"), _without_mean(pair_p)),
        "trials": (("target",), trials),
        "majority_share": (("target",), counts.max(axis=1) / np.maximum(counts.sum(axis=1), 1)),
        "seeds": (("representation",), np.array([np.bincount(node["split"]).max() for node in targets])),
    }
    coords = {
        "representation": list(predictions),
        "reference": list(predictions),
        "setting": list(ALL_SETTINGS),
        "target": [ALL_ANIMALS, *animals],
        "source": animals,
        "null": null_names,
        **subject_coord(subjects(samples)),
        **STATISTIC_COORDS,
        "correction": list(CORRECTIONS),
    }
    drawn_trials = "scored" if in_sample else "test"
    attrs = {
        "chance": 1 / int((counts[0] > 0).sum()),
        "classes": samples.attrs["classes"],
        "label": samples.attrs.get("label", "label"),
        "reference": reference if reference in predictions else "",
        "interval": f"95 % over {resampling.bootstraps} bootstrap draws of {drawn_trials} trials within animal and label",
        "windows": next(iter(samples.children.values())).sizes["window"],
        "in_sample": int(in_sample),  # netCDF has no truth values
    }
    return xr.Dataset(variables, coords, attrs)


def shifted(samples: xr.DataTree) -> str:
    """Say that a permutation shifts labels as well, where windows of a trial have labels of their own; else ''."""
    return "" if exchangeable(samples) else ", and shifted circularly among the windows of each trial"


def null_scores(predictions: xr.DataTree, samples: xr.DataTree, permutation: NDArray[np.integer], null_kind: str) -> xr.Dataset:
    """Score refits on null data as the data are scored; ``permutation (replica,)`` are the numbers of the null data.

    Return ``value (permutation, split, setting, target)``, ``accuracy (permutation, split, source, target)`` and
    ``chance (setting, target)``, what guessing gives. Null data leave the labels of ``samples`` in place.
    """
    targets = list(samples.children)
    numbers = np.unique(permutation)
    values, accuracy, chance = [], [], []
    for target in targets:
        labels, predicted = samples[target]["label"].to_numpy(), predictions[target].to_dataset()
        null_data = [TargetDecoders.of(predicted.isel(replica=permutation == number), labels, target) for number in numbers]
        values.append([decoders.by_setting.scores(over_trials.as_they_are(decoders.rows))[0] for decoders in null_data])
        accuracy.append([decoders.by_source.scores(over_trials.as_they_are(decoders.rows))[0] for decoders in null_data])
        chance.append(null_data[-1].by_setting.chance)
    return xr.Dataset(
        {
            "value": (("permutation", "split", "setting", "target"), np.stack(values, axis=-1)),
            "accuracy": (("permutation", "split", "source", "target"), np.stack(accuracy, axis=-1)),
            "chance": (("setting", "target"), np.stack(chance, axis=-1)),
        },
        coords={"permutation": numbers, "setting": list(SETTINGS), "target": targets, "source": targets},
        attrs={"null_kind": null_kind},
    )


def _tested(predictions: Mapping[str, xr.DataTree], samples: xr.DataTree) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the number of trials that any decoder is tested on ``(target,)``, and of windows ``(target, class)``; sums first."""
    classes = len(json.loads(samples.attrs["classes"]))
    trials, counts = [], []
    for target, node in samples.children.items():
        of_representation = [
            any_predicted(tree[target]["predicted"].to_numpy()).any(axis=(0, 1)) for tree in predictions.values()
        ]
        tested = np.any(of_representation, axis=0)
        trials.append(tested.sum())
        counts.append(np.bincount(node["label"].to_numpy()[tested].ravel(), minlength=classes))
    if not any(trials):
        raise SplitError(
            "analysis decoding",
            found="no trial that any decoder can be tested on",
            expected="animals with trials on both sides of a split",
            next_step="An animal without training trials cannot be encoded or aligned: use split.kind=halves or kfold",
        )
    return np.array([sum(trials), *trials]), np.array([np.sum(counts, axis=0), *counts])


def _draws(predictions: xr.DataTree, samples: xr.DataTree, resampling: Resampling, refitted: bool) -> Draws:
    """Score the data and their bootstrap draws, and if there are no refits, permutations of labels."""
    permutations = 0 if refitted else resampling.permutations
    of_target = []
    for target, node in samples.children.items():
        settings, sources, rows = TargetDecoders.of(predictions[target].to_dataset(), node["label"].to_numpy(), target)
        # Draws depend on the name of the target only, so that representations can be compared draw by draw.
        rng = np.random.default_rng([resampling.seed, zlib.crc32(target.encode())])
        bootstrap = settings.scores(over_trials.bootstrap(rows, resampling.bootstraps, rng))
        piece = max(1, LARGEST_PIECE // max(1, len(rows.row) * len(rows.labels)))
        pieces = [min(piece, permutations - begin) for begin in range(0, permutations, piece)]
        null = [settings.scores(over_trials.permutations(rows, draws, rng)) for draws in pieces]
        unchanged = over_trials.as_they_are(rows)
        observed, pairs = settings.scores(unchanged)[0], sources.scores(unchanged)[0]
        null_draws = np.concatenate([np.empty((0, *observed.shape)), *null])
        of_target.append(
            Draws(observed, pairs, mean_of_scored(bootstrap, axis=1), mean_of_scored(null_draws, axis=1), settings.chance)
        )
    return Draws(*(np.stack(field, axis=-1) for field in zip(*of_target, strict=True)))


class _Judge:
    """Compares representations with their nulls; ``absent`` says why there are none, '' if there are."""

    def __init__(self, samples: xr.DataTree, resampling: Resampling, absent: str) -> None:
        animals, classes = list(samples.children), len(json.loads(samples.attrs["classes"]))
        self._samples, self._resampling, self._unjudged = samples, resampling, absent
        self._absent = absent if resampling.permutations else absent or "no permutations were asked for"
        self._alike = "" if exchangeable(samples) else NEIGHBOURS_ALIKE
        self._renaming = Renaming(animals, classes, 0 if self._alike else resampling.permutations, resampling.seed)

    def nulls(
        self, predictions: xr.DataTree, draws: Draws, accuracies: Accuracies, refits: Mapping[str, xr.Dataset]
    ) -> dict[str, NullScores]:
        """Return all nulls of a representation by name."""
        count, value = self._resampling.permutations, accuracies.value
        kind = f"{count} permutations of labels among the test trials of each animal, decoders not refitted"
        permuted = under_null(value[: len(SETTINGS)], with_mean(draws.null))
        renamed = nulls.cross_with_renamed_classes(predictions, self._samples, self._renaming)
        exchanges, exchanged_kind = nulls.exchanges(len(accuracies.pairs), count)
        rng = np.random.default_rng(self._resampling.seed)
        exchanged = nulls.exchanged(accuracies.pairs, count, rng) if count else np.empty(0)
        refits = dict(refits)
        scrambled = _scrambled(refits.pop(CORRESPONDENCE, None), value, draws, self._unjudged or NOT_EXCHANGED)
        return {
            LABELS: NullScores(kind + shifted(self._samples), count, dict(zip(SETTINGS, permuted, strict=True)), self._absent),
            CLASS_NAMES: NullScores(
                nulls.RENAMED_KIND.format(self._renaming.draws),
                self._renaming.draws,
                {"cross": _of_mean(value[CROSS], renamed)},
                self._absent or self._alike,
            ),
            nulls.EXCHANGED_DECODERS: NullScores(exchanged_kind, exchanges, {LOST: _of_mean(value[-1], exchanged)}, self._absent),
            CORRESPONDENCE: scrambled,
            **{name: _refitted(refit, value, draws.observed) for name, refit in refits.items()},
        }


def _refitted(refit: xr.Dataset, value: Floats, observed: Floats) -> NullScores:
    """Compare scores ``(setting, target)`` with those of refits; ``observed (split, setting, target)`` are those of each split.

    A refit that failed counts as reaching every score, the mean over targets if a target failed.
    """
    settings = [str(setting) for setting in refit["setting"].values]
    of_refits = refit["value"].transpose("permutation", "split", "setting", "target").to_numpy()
    rows = [ALL_SETTINGS.index(setting) for setting in settings]
    null = _over_splits(of_refits, observed[:, rows])
    failed = np.isnan(null) & ~np.isnan(value[rows, 1:])  # (draw, setting, target)
    mean = np.where(failed.any(axis=-1), np.nan, mean_of_scored(null, axis=-1))
    null = np.concatenate([mean[..., None], null], axis=-1)
    statistics = under_refits(value[rows], null)
    kind = str(refit.attrs["null_kind"]) + failures_in_words(failed)
    return NullScores(kind, len(null), dict(zip(settings, statistics, strict=True)))


def failures_in_words(failed: NDArray[np.bool_]) -> str:
    """Say how many refits lack a score that the data have, ``failed (draw, ...)``; '' if none."""
    failures = int(failed.reshape(len(failed), -1).any(axis=1).sum())
    return f"; {failures} of {len(failed)} failed and count as reaching the score" if failures else ""


def _over_splits(refits: Floats, observed: Floats) -> Floats:
    """Return the mean over splits of refits ``(draw, split, ...)``, NaN where one lacks a score ``(split, ...)`` of the data."""
    failed = (np.isnan(refits) & ~np.isnan(observed)).any(axis=1)
    return np.where(failed, np.nan, mean_of_scored(refits, axis=1))


def _scrambled(refit: xr.Dataset | None, value: Floats, draws: Draws, absent: str) -> NullScores:
    """Compare scores ``(setting, target)`` with those of refits in which the names of conditions were exchanged.

    ``draws`` are of the data. A refit that failed counts as reaching every score. ``absent`` says why there are no refits.
    """
    if np.isnan(value[1 : len(SETTINGS), 0]).all():
        return NullScores("", 0, {}, absent_settings=dict.fromkeys(ALL_SETTINGS, ONE_ANIMAL))
    if refit is None:
        return NullScores("", 0, {}, absent_settings={**dict.fromkeys(ALL_SETTINGS, absent), "within": NAMES_WITHIN})
    null = _refitted(refit, value, draws.observed)
    pairs = refit["accuracy"].transpose("permutation", "split", "source", "target").to_numpy()
    lost = nulls.own_minus_others(_over_splits(pairs, draws.pairs))
    failed = (np.isnan(lost) & ~np.isnan(value[-1, 1:])).any(axis=-1)
    lost = np.concatenate([np.where(failed, np.nan, mean_of_scored(lost, axis=-1))[:, None], lost], axis=-1)
    statistics = {setting: numbers for setting, numbers in null.statistics.items() if setting != "within"}
    statistics[LOST] = nulls.own_minus_others_at_most(value[-1], lost)
    return null._replace(statistics=statistics, absent_settings={"within": NAMES_WITHIN})


def _of_mean(value: Floats, null: Floats) -> Floats:
    """Compare the mean over targets ``(target,)`` with its null ``(draw,)``; NaN for single targets."""
    statistics = np.full((len(value), len(NULL_STATISTICS)), np.nan)
    statistics[0] = under_null(value[0], null)
    return statistics


def _scores_and_differences(
    accuracies: Sequence[Accuracies], dims: tuple[str, ...], seed: int, of_subject: NDArray[np.intp]
) -> Variables:
    """Return scores, and the difference of each representation to each, with their intervals."""
    scores = np.stack([ours.intervals(seed, of_subject) for ours in accuracies])
    scores[..., 1, 1:] = np.clip(scores[..., 1, 1:], 0, 1)  # intervals over animals may exceed the range of an accuracy
    differences = np.array(
        [[ours.minus(reference).intervals(seed, of_subject) for ours in accuracies] for reference in accuracies]
    )
    dims = (*dims, "unit_of_inference", "statistic")
    return {"score": (dims, scores), "difference": (("reference", *dims), differences)}


def _pair_p(value: Floats, observed: Floats, refit: xr.Dataset | None) -> Floats:
    """Return p of each pair ``(correction, source, target)``, alone and against the largest of all pairs of a refit.

    ``observed (split, source, target)`` are the scores of each split. A refit in which a pair has no score counts as reaching it.
    """
    if refit is None:
        return np.full((len(CORRECTIONS), *value.shape), np.nan)
    null = _over_splits(refit["accuracy"].transpose("permutation", "split", "source", "target").to_numpy(), observed)
    between = ~np.isnan(value) & ~np.eye(len(value), dtype=bool)
    counted = np.where(between, np.where(np.isnan(null), np.inf, null), -np.inf)
    largest = np.broadcast_to(counted.max(axis=(1, 2), keepdims=True), null.shape)
    return np.stack([over_trials.p_value(value, null), np.where(between, over_trials.p_value(value, largest), np.nan)])


def _by_split(draws: Draws) -> Floats:
    """Return the mean over targets of every split ``(split, setting)``."""
    lost = nulls.own_minus_others(draws.pairs)
    return mean_of_scored(np.concatenate([draws.observed, lost[:, None]], axis=1), axis=-1)


def _without_mean(values: Sequence[Floats]) -> Floats:
    """Stack values ``(..., target)``, and put NaN where the mean over targets would be."""
    stacked = np.stack(values)
    return np.concatenate([np.full((*stacked.shape[:-1], 1), np.nan), stacked], axis=-1)
