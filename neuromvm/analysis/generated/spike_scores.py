"""Log-likelihood of spike counts over that of the mean rate of each unit, with intervals and nulls over trials.

The score of a prediction is G / (N ln 2) [bits per spike]: G is the Poisson log-likelihood of all counts under the prediction
minus that under the mean rates, N the number of spikes; the deviance explained is G over its value under the counts themselves.
A test trial of the target is predicted by every test trial of the source that is matched with it: the mean of their
log-likelihoods.

Two nulls. Across animals the conditions of every animal are renamed, all trials of a condition alike: latents that carry the
conditions, but not as the target does, give a systematic answer, which permuted trials would not give
(:mod:`neuromvm.analysis.statistics.renamed_classes`). Within an animal the predictions are permuted among test trials.
"""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.rates import log_likelihood, saturated
from neuromvm.analysis.judged import ALL_ANIMALS, STATISTIC_COORDS, over_trials_alone, with_mean
from neuromvm.analysis.readouts.representations import Floats, held_out
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows, mean_of_scored
from neuromvm.analysis.statistics.renamed_classes import Renaming

MEASURES = ("bits_per_spike", "deviance_explained")
SETTINGS = ("cross", "own", "cosmoothing")
PERMUTATIONS = "permutations"  # name of the null


class Key(NamedTuple):
    """What a prediction is made from, and of which animal."""

    representation: str
    setting: str
    source: str
    target: str


class Account:
    """Sums of every prediction over splits, for the animals' trials as they are and for permutations.

    Sums are ``(3, trial)`` or, of permutations, ``(3, draw)``: nats gained over the mean rate, spikes, and the gain under the
    counts themselves as rates.
    """

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, resampling: Resampling) -> None:
        self.resampling, self._splits = resampling, splits
        self.animals = list(samples.children)
        labels = {animal: node["label"].to_numpy() for animal, node in samples.children.items()}
        self._labels = {animal: LabelRows.of(codes) for animal, codes in labels.items()}
        self.windows = next(iter(labels.values())).shape[1]
        self.splits = next(iter(splits.children.values())).sizes["split"]
        self.tested = {
            animal: np.any([held_out(splits, split, animal) for split in range(self.splits)], axis=0) for animal in self.animals
        }
        match = np.concatenate([node["match"].to_numpy() for node in samples.children.values()])
        conditions = np.unique(match, axis=0, return_inverse=True)[1].reshape(-1)
        borders = np.cumsum([len(codes) for codes in labels.values()])[:-1]
        self._condition = dict(zip(self.animals, np.split(conditions, borders), strict=True))
        self._order = {animal: self._permuted(animal) for animal in self.animals}
        self._renaming = Renaming(self.animals, int(conditions.max()) + 1, resampling.permutations, resampling.seed)
        self.sums: dict[Key, Floats] = {}
        self.null: dict[Key, Floats] = {}

    def begin(self, split: int, counts: Mapping[str, Floats], mean_rates: Mapping[str, Floats]) -> None:
        """Start a split, with its counts ``(test trial, window, output)`` and mean rates ``(output,)``."""
        self._counts = dict(counts)
        self._test_trials = {animal: np.flatnonzero(held_out(self._splits, split, animal)) for animal in counts}
        self._baselines = {}  # animal -> log-likelihood under mean rates, spikes, attainable gain (3, test trial)
        for animal, of_trials in counts.items():
            base = log_likelihood(of_trials, np.broadcast_to(mean_rates[animal], (1, *of_trials.shape[1:])))[:, 0]
            self._baselines[animal] = np.stack([base, of_trials.sum(axis=(1, 2)), saturated(of_trials) - base])

    def add(self, representation: str, setting: str, source: str, target: str, rates: Floats) -> None:
        """Enter the rates ``(test trial of source, window, output of target)`` that are predicted of a target."""
        target_trials, source_trials = self._test_trials[target], self._test_trials[source]
        if not len(target_trials) or not len(source_trials):
            return
        likelihood = log_likelihood(self._counts[target], rates)
        base, spikes, attainable = self._baselines[target]
        if source == target:
            order = self._order[source][:, source_trials]  # (draw, test trial): the trial that its prediction is scored on
            gain, is_predicted = np.diagonal(likelihood) - base, np.ones(len(target_trials), dtype=bool)
            null = _permuted_sums(likelihood, self._baselines[target], target_trials, order)
        else:
            codes, source_codes = self._condition[target][target_trials], self._condition[source][source_trials]
            matched = codes[:, None] == source_codes
            is_predicted = matched.any(axis=1)
            gain = (likelihood * matched).sum(axis=1) / np.maximum(matched.sum(axis=1), 1) - base
            names = self._target_conditions(source, target)[:, source_codes]
            null = _renamed_sums(likelihood, self._baselines[target], codes, names)
        sums = np.zeros((3, len(self.tested[target])))
        sums[:, target_trials] = np.where(is_predicted, np.stack([gain, spikes, attainable]), 0)
        key = Key(representation, setting, source, target)
        self.sums[key] = self.sums.get(key, 0) + sums
        self.null[key] = self.null.get(key, 0) + null

    def weights(self, target: str) -> Floats:
        """Return how often each trial counts in each bootstrap draw ``(draw, trial)``; the same for every prediction."""
        random = np.random.default_rng([self.resampling.seed, 1, zlib.crc32(target.encode())])
        return np.asarray(over_trials.bootstrap(self._labels[target], self.resampling.bootstraps, random).sum(axis=-1))

    def _permuted(self, animal: str) -> NDArray[np.intp]:
        """Return the trial that the prediction of each trial is scored on ``(draw, trial)``; trials never tested keep theirs."""
        tested = np.flatnonzero(self.tested[animal])
        order = np.tile(np.arange(len(self.tested[animal])), (self.resampling.permutations, 1))
        random = np.random.default_rng([self.resampling.seed, 2, zlib.crc32(animal.encode())])
        order[:, tested] = random.permuted(order[:, tested], axis=1)
        return order

    def _target_conditions(self, source: str, target: str) -> NDArray[np.intp]:
        """Return the condition of the target that has the same name as each of the source's ``(draw, condition)``.

        Only conditions in which both are tested are renamed; -1 stands for no condition of the target.
        """
        source_conditions, target_conditions = (self._condition[animal][self.tested[animal]] for animal in (source, target))
        conditions = np.full((self._renaming.draws, self._renaming.classes), -1)
        common = np.intersect1d(source_conditions, target_conditions)
        np.put_along_axis(conditions, *self._renaming.pairs(source, target, common), axis=1)
        return conditions


def _permuted_sums(likelihood: Floats, baselines: Floats, trials: NDArray[np.intp], order: NDArray[np.intp]) -> Floats:
    """Return sums ``(3, draw)`` with predictions permuted among trials; those assigned to a trial not tested do not count."""
    base, spikes, attainable = baselines
    index = np.full(max(trials.max(), order.max(initial=0)) + 1, -1)
    index[trials] = np.arange(len(trials))
    scored_on = index[order]  # (draw, prediction)
    gain = likelihood[scored_on, np.arange(len(trials))] - base[scored_on]
    return np.stack(
        [np.where(scored_on >= 0, values, 0).sum(axis=1) for values in (gain, spikes[scored_on], attainable[scored_on])]
    )


def _renamed_sums(likelihood: Floats, baselines: Floats, codes: NDArray[np.intp], renamed: NDArray[np.intp]) -> Floats:
    """Return sums ``(3, draw)`` with conditions renamed.

    ``likelihood`` is ``(test trial of target, test trial of source)``; of the target are baselines ``(3, test trial)`` and codes
    of conditions ``(test trial,)``; ``renamed`` are the conditions that trials of the source are given ``(draw, test trial)``.
    """
    conditions, index = np.unique(codes, return_inverse=True)
    member = (index == np.arange(len(conditions))[:, None]).astype(np.float64)  # (condition, test trial of target)
    base, spikes, attainable = (member @ values for values in baselines)
    has_condition = (renamed[:, :, None] == conditions).astype(np.float32)  # (draw, test trial of source, condition)
    number = has_condition.sum(axis=1)
    likelihoods = np.einsum("dsc,cs->dc", has_condition, member @ likelihood, optimize=True)
    is_predicted = number > 0
    gain = np.where(is_predicted, likelihoods / np.maximum(number, 1) - base, 0)
    return np.stack([gain.sum(axis=1), is_predicted @ spikes, is_predicted @ attainable])


def scores_of(account: Account, representations: Sequence[str], reference: str) -> xr.Dataset:
    """Average scores over sources, then targets; ``target`` is the animal whose spikes are predicted.

    Returns ``score, difference, null_score`` of :mod:`neuromvm.analysis.judged` with the dims ``measure, representation, setting,
    target``; intervals are over test trials of the target, and *own* has no null, since its latents have seen the spikes.
    ``pair_score (measure, representation, source, target)`` of each source is *own* where it is the target, and NaN at ``all
    animals``; ``trials (target)`` is the number of test trials.
    """
    animals = account.animals
    used = [name for name in representations if any(key.representation == name for key in account.sums)]
    value, bootstrap, null, pairs = _draws_of_targets(account, used)
    value, bootstrap, null = (with_mean(values) for values in (value, bootstrap, null))
    index = [used.index(reference)]
    difference = over_trials_alone(value - value[:, index], bootstrap - bootstrap[:, :, index])
    dims = ("measure", "representation", "setting", "target")
    statistics = ("unit_of_inference", "statistic")
    trials = [int(account.tested[animal].sum()) for animal in animals]
    of_pairs = xr.Dataset({"pair_score": (("measure", "representation", "source", "target"), pairs)}, {"target": animals})
    return (
        of_pairs.reindex(target=[ALL_ANIMALS, *animals])
        .assign(
            score=((*dims, *statistics), over_trials_alone(value, bootstrap)),
            difference=(("reference", *dims, *statistics), difference[None]),
            null_score=(("null", *dims, "null_statistic"), over_trials.under_null(value, null)[None]),
            trials=("target", [sum(trials), *trials]),
        )
        .assign_coords(
            measure=list(MEASURES),
            representation=used,
            setting=list(SETTINGS),
            source=animals,
            reference=[reference],
            null=[PERMUTATIONS],
            **STATISTIC_COORDS,
        )
    )


def _draws_of_targets(account: Account, representations: Sequence[str]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return scores ``(measure, representation, setting, target)``, means over sources, and their bootstrap and null draws.

    Draws are along a leading axis. The fourth array has the scores of every source ``(measure, representation, source, target)``.
    """
    animals, resampling = account.animals, account.resampling
    shape = (len(MEASURES), len(representations), len(SETTINGS), len(animals))
    value, bootstrap, null = (
        np.full((*draws, *shape), np.nan) for draws in ((), (resampling.bootstraps,), (resampling.permutations,))
    )
    pairs = np.full((*shape[:2], len(animals), len(animals)), np.nan)
    weights = {target: account.weights(target) for target in animals}
    predictions = defaultdict(list)
    for key in (key for key in account.sums if key.representation in representations):
        predictions[key.representation, key.setting, key.target].append(key)
    for (representation, setting, target), keys in predictions.items():
        row, column = representations.index(representation), animals.index(target)
        position, weight = (row, SETTINGS.index(setting), column), weights[target]
        scores = np.stack([_weighted_ratios(account.sums[key], np.ones((1, weight.shape[1])))[:, 0] for key in keys])
        value[:, *position] = mean_of_scored(scores, axis=0)
        draws = np.stack([_weighted_ratios(account.sums[key], weight) for key in keys])
        bootstrap[:, :, *position] = mean_of_scored(draws, axis=0).T
        if setting != "own":
            null[:, :, *position] = mean_of_scored(np.stack([_ratios(account.null[key]) for key in keys]), axis=0).T
        if setting != "cosmoothing":
            pairs[:, row, [animals.index(key.source) for key in keys], column] = scores.T
    return value, bootstrap, null, pairs


def _weighted_ratios(sums: Floats, weight: Floats) -> Floats:
    """Return the measures ``(measure, draw)`` of sums ``(3, trial)`` where trials count ``weight (draw, trial)`` times."""
    return _ratios(np.stack([weight @ of_trials for of_trials in sums]))


def _ratios(sums: Floats) -> Floats:
    """Return the measures ``(measure, draw)`` of sums ``(3, draw)``."""
    gain, spikes, attainable = sums
    divisor = np.stack([spikes * np.log(2), attainable])
    return np.where(divisor > 0, gain / np.where(divisor > 0, divisor, 1), np.nan)
