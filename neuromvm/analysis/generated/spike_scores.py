"""Log-likelihood of spike counts over that of each unit's mean rate, with intervals and floors over trials.

The score of a prediction is G / (N ln 2) [bits per spike]: G is the Poisson log-likelihood of all counts under the prediction
less that under the mean rates, N the number of spikes; the deviance explained is G over its value under the counts themselves.
A test trial of the target is predicted by every test trial of the source that is matched with it: the mean of their
log-likelihoods.

Two nulls. Across animals the conditions of every animal are renamed, all trials of a condition alike: latents that carry the
conditions, but not as the target does, give a systematic answer, which permuted trials would not give
(:mod:`neuromvm.analysis.statistics.renamed_classes`). Within an animal the predictions are permuted among test trials.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding.scoring import Resampling
from neuromvm.analysis.generated.rates import log_likelihood, saturated
from neuromvm.analysis.readouts.representations import Floats, held_out
from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows
from neuromvm.analysis.statistics.renamed_classes import Renaming

MEASURES = ("bits_per_spike", "deviance_explained")
SETTINGS = ("cross", "own", "cosmoothing")
Key = tuple[str, str, str, str]  # representation, setting, source, target


class Sums(NamedTuple):
    """What scores are ratios of, summed over splits: nats gained over the mean rate, spikes, and nats that could be gained."""

    gain: Floats  # (trial,), or (draw,)
    spikes: Floats
    room: Floats

    def ratios(self, weight: Floats) -> Floats:
        """Return the measures ``(measure, draw)`` where trials count ``weight (draw, trial)`` times."""
        gain, spikes, room = (weight @ one for one in self)
        return _ratios(gain, spikes, room)


def _ratios(gain: Floats, spikes: Floats, room: Floats) -> Floats:
    over = np.stack([spikes * np.log(2), room])
    return np.where(over > 0, gain / np.where(over > 0, over, 1), np.nan)


class Account:
    """Sums of every prediction over splits, for the animals' trials as they are and for permutations.

    Parameters
    ----------
    samples, splits
        Trials and their conditions.
    resampling
        Number of draws, and their seed.
    """

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, resampling: Resampling) -> None:
        self.resampling, self._splits = resampling, splits
        self.animals = list(samples.children)
        labels = {name: node["label"].to_numpy() for name, node in samples.children.items()}
        self.labels = {name: LabelRows.of(one) for name, one in labels.items()}
        self.windows = next(iter(labels.values())).shape[1]
        self.splits = next(iter(splits.children.values())).sizes["split"]
        self.tested = {
            name: np.any([held_out(splits, split, name) for split in range(self.splits)], axis=0) for name in self.animals
        }
        rows = np.concatenate([node["match"].to_numpy() for node in samples.children.values()])
        conditions = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        borders = np.cumsum([len(one) for one in labels.values()])[:-1]
        self._condition = dict(zip(self.animals, np.split(conditions, borders), strict=True))
        self._order = {name: self._permuted(name) for name in self.animals}
        self._renaming = Renaming(self.animals, int(conditions.max()) + 1, resampling.permutations, resampling.seed)
        self.sums: dict[Key, Sums] = {}
        self.null: dict[Key, Sums] = {}

    def begin(self, split: int, counts: Mapping[str, Floats], mean_rates: Mapping[str, Floats]) -> None:
        """Take the counts ``(test trial, window, output)`` and mean rates ``(output,)`` of a split."""
        self._counts = dict(counts)
        self._here = {name: np.flatnonzero(held_out(self._splits, split, name)) for name in counts}
        self._about = {}
        for name, one in counts.items():
            base = log_likelihood(one, np.broadcast_to(mean_rates[name], (1, *one.shape[1:])))[:, 0]
            self._about[name] = np.stack([base, one.sum(axis=(1, 2)), saturated(one) - base])  # (3, test trial)

    def add(self, representation: str, setting: str, source: str, target: str, rates: Floats) -> None:
        """Enter the rates ``(test trial of source, window, output of target)`` that are predicted of a target."""
        here, there = self._here[target], self._here[source]
        if not len(here) or not len(there):
            return
        likelihood = log_likelihood(self._counts[target], rates)
        base, spikes, room = self._about[target]
        key = representation, setting, source, target
        if source == target:
            order = self._order[source][:, there]  # (draw, test trial): the trial whose place its prediction takes
            gain, known = np.diagonal(likelihood) - base, np.ones(len(here), dtype=bool)
            null = _carried(likelihood, base, spikes, room, here, order)
        else:
            codes, sources = self._condition[target][here], self._condition[source]
            matched = codes[:, None] == sources[there]
            known = matched.any(axis=1)
            gain = (likelihood * matched).sum(axis=1) / np.maximum(matched.sum(axis=1), 1) - base
            null = _rematched(likelihood, base, spikes, room, codes, self._namesakes(source, target)[:, sources[there]])
        sums = np.zeros((3, len(self.tested[target])))
        sums[:, here] = np.where(known, np.stack([gain, spikes, room]), 0)
        before, before_null = self.sums.get(key), self.null.get(key)
        self.sums[key] = Sums(*sums) if before is None else Sums(*(one + two for one, two in zip(before, sums, strict=True)))
        self.null[key] = (
            Sums(*null) if before_null is None else Sums(*(one + two for one, two in zip(before_null, null, strict=True)))
        )

    def weights(self, target: str) -> Floats:
        """Return how often each trial counts in each bootstrap draw ``(draw, trial)``; the same for every prediction."""
        random = np.random.default_rng([self.resampling.seed, 1, zlib.crc32(target.encode())])
        return np.asarray(over_trials.bootstrap(self.labels[target], self.resampling.bootstraps, random).sum(axis=-1))

    def _permuted(self, name: str) -> NDArray[np.intp]:
        """Return the trial whose place each trial takes ``(draw, trial)``; those never tested stay."""
        tested = np.flatnonzero(self.tested[name])
        order = np.tile(np.arange(len(self.tested[name])), (self.resampling.permutations, 1))
        random = np.random.default_rng([self.resampling.seed, 2, zlib.crc32(name.encode())])
        order[:, tested] = random.permuted(order[:, tested], axis=1)
        return order

    def _namesakes(self, source: str, target: str) -> NDArray[np.intp]:
        """Return the target's condition that bears the same name as each of the source's ``(draw, condition)``.

        Only conditions that both are tested in are renamed; -1 stands for the target's of all others.
        """
        of = {name: np.unique(self._condition[name][self.tested[name]]) for name in (source, target)}
        common = np.intersect1d(of[source], of[target])
        found = np.full((self._renaming.draws, self._renaming.classes), -1)
        np.put_along_axis(found, *self._renaming.pairs(source, target, common), axis=1)
        return found


def _carried(
    likelihood: Floats, base: Floats, spikes: Floats, room: Floats, here: NDArray[np.intp], order: NDArray[np.intp]
) -> Floats:
    """Return sums ``(3, draw)`` where the prediction of each test trial is that of another; partners not tested do not count."""
    place = np.full(max(here.max(), order.max(initial=0)) + 1, -1)
    place[here] = np.arange(len(here))
    partner = place[order]  # (draw, prediction): test trial that it is scored on
    known = partner >= 0
    gain = likelihood[partner, np.arange(len(here))] - base[partner]
    return np.stack([np.where(known, one, 0).sum(axis=1) for one in (gain, spikes[partner], room[partner])])


def _rematched(
    likelihood: Floats,
    base: Floats,
    spikes: Floats,
    room: Floats,
    codes: NDArray[np.intp],
    carried: NDArray[np.intp],
) -> Floats:
    """Return sums ``(3, draw)`` where the source's trials carry other conditions, ``carried (draw, test trial of source)``."""
    found, place = np.unique(codes, return_inverse=True)
    member = (place == np.arange(len(found))[:, None]).astype(np.float64)  # (condition, test trial of target)
    carries = (carried[:, :, None] == found).astype(np.float32)  # (draw, test trial of source, condition)
    number = carries.sum(axis=1)
    sums = np.einsum("dsc,cs->dc", carries, member @ likelihood, optimize=True)
    there = number > 0
    gain = np.where(there, sums / np.maximum(number, 1) - member @ base, 0)
    return np.stack([gain.sum(axis=1), there @ (member @ spikes), there @ (member @ room)])


def summaries(account: Account, representations: Sequence[str], reference: str) -> xr.Dataset:
    """Average over sources, then targets.

    Returns
    -------
    ``value, low, high (measure, representation, setting)`` with 95 % bootstrap intervals over test trials of the target, drawn
    within animal and label; ``null_mean, null_low, null_high, p`` under permutations; ``difference, difference_low,
    difference_high`` to the reference, paired by draw; ``target_value`` for each target; ``pair_value (measure, representation,
    source, target)``; ``trials (target)``.
    """
    animals, draws = account.animals, account.resampling.bootstraps
    used = [name for name in representations if any(key[0] == name for key in account.sums)]
    shape = (len(MEASURES), len(used), len(SETTINGS), len(animals))
    value = np.full(shape, np.nan)
    boot, null = np.full((draws, *shape), np.nan), np.full((account.resampling.permutations, *shape), np.nan)
    pairs = np.full((len(MEASURES), len(used), len(animals), len(animals)), np.nan)
    for column, target in enumerate(animals):
        weight = account.weights(target)
        for row, name in enumerate(used):
            for place, setting in enumerate(SETTINGS):
                keys = [key for key in account.sums if (key[0], key[1], key[3]) == (name, setting, target)]
                if not keys:
                    continue
                each = np.stack([account.sums[key].ratios(np.ones((1, weight.shape[1])))[:, 0] for key in keys])
                value[:, row, place, column] = over_trials.mean_of_scored(each, axis=0)
                drawn = np.stack([account.sums[key].ratios(weight) for key in keys])
                boot[:, :, row, place, column] = over_trials.mean_of_scored(drawn, axis=0).T
                nulls = np.stack([_ratios(*account.null[key]) for key in keys])
                null[:, :, row, place, column] = over_trials.mean_of_scored(nulls, axis=0).T
                if setting != "cosmoothing":
                    for key, one in zip(keys, each, strict=True):
                        pairs[:, row, animals.index(key[2]), column] = one
    mean, spread, floor = (over_trials.mean_of_scored(one, axis=-1) for one in (value, boot, null))
    against = used.index(reference)
    other = np.where(np.isnan(spread).all(axis=0), np.nan, spread - spread[:, :, against : against + 1])
    difference_low, difference_high = over_trials.interval(other)
    dims = ("measure", "representation", "setting")
    named = {
        **over_trials.judged(mean, spread, floor),
        "difference": mean - mean[:, against : against + 1],
        "difference_low": difference_low,
        "difference_high": difference_high,
    }
    return xr.Dataset(
        {
            **{key: (dims, one) for key, one in named.items()},
            "target_value": ((*dims, "target"), value),
            "pair_value": (("measure", "representation", "source", "target"), pairs),
            "trials": ("target", np.array([account.tested[name].sum() for name in animals])),
        },
        coords={
            "measure": list(MEASURES),
            "representation": used,
            "setting": list(SETTINGS),
            "source": animals,
            "target": animals,
        },
        attrs={
            "interval": f"95 % over {draws} bootstrap draws of the target's test trials within animal and label",
            "permutations": account.resampling.permutations,
            "windows": account.windows,
            "splits": account.splits,
            "reference": reference,
        },
    )
