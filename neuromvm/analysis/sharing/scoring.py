"""Scores of held-out conditions with intervals and the null of scrambled correspondence."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.judged import (
    ALL_ANIMALS,
    NULL_STATISTICS,
    STATISTIC_COORDS,
    STATISTICS,
    UNITS_OF_INFERENCE,
    subject_coord,
    with_mean,
)
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import AMONG, OWN_LABELS
from neuromvm.analysis.statistics import hierarchy, over_trials
from neuromvm.analysis.statistics.over_trials import Floats, mean_of_scored, under_null
from neuromvm.data.correspondence import CORRESPONDENCE

NULL_KIND = (
    "refits: the names of the conditions exchanged within each animal, independently of other animals; all that is fitted is "
    "fitted anew, settings chosen anew"
)
NO_OTHERS = "the row uses no other animal"
NO_REFITS = "nothing was fitted again with exchanged names: neuromvm sharing RUN --n 200"


class Rows(NamedTuple):
    """Scores of several rows; the first target is the mean over all."""

    names: list[str]
    value: Floats  # (row, among, target)
    draws: Floats  # (draw, row, among, target), trials resampled
    chance: Floats  # (among, target)


def rows_of(answers: Sequence[xr.DataTree], bootstraps: int, seed: int) -> Rows:
    """Average the answers of all sources over splits, and resample the trials of each condition, or those windows are from."""
    names = [str(name) for tree in answers for name in tree["row"].to_numpy()]
    accuracy = np.concatenate([tree["accuracy"].to_numpy() for tree in answers])
    value, draws = mean_of_scored(accuracy, axis=2), []
    for number, target in enumerate(answers[0]["target"].to_numpy().tolist()):
        correct = np.concatenate([tree[target]["correct"].to_numpy() for tree in answers])
        random = np.random.default_rng([seed, number])
        draws.append(_resampled(correct, answers[0][target].to_dataset(), bootstraps, random))
    chance = mean_of_scored(answers[0]["chance"].to_numpy(), axis=1)
    return Rows(names, with_mean(value), with_mean(np.stack(draws, axis=-1)), with_mean(chance))


def _resampled(correct: Floats, labels: xr.Dataset, draws: int, random: np.random.Generator) -> Floats:
    """Return balanced accuracies ``(draw, row, among)`` of resampled trials, from ``correct (row, among, split, trial)``."""
    codes = labels["match"].to_numpy()
    unit = labels["of_trial"].to_numpy() if "of_trial" in labels.coords else None
    weight = _weights(codes, unit, draws, random)
    splits = []
    for split in range(correct.shape[2]):
        tested = np.isfinite(correct[0, 0, split])
        if not tested.any():
            continue
        recalls = []
        for code in np.unique(codes[tested]):
            members = np.flatnonzero(tested & (codes == code))
            counted = weight[:, members]
            hits = np.tensordot(counted, correct[:, :, split][:, :, members], axes=(1, 2))
            total = counted.sum(axis=1)[:, None, None]
            recalls.append(np.where(total > 0, hits / np.where(total > 0, total, 1), np.nan))
        splits.append(mean_of_scored(np.stack(recalls), axis=0))
    return mean_of_scored(np.stack(splits), axis=0)


def _weights(codes: NDArray[np.integer], unit: NDArray[np.generic] | None, draws: int, random: np.random.Generator) -> Floats:
    """Return how often each trial counts in each draw ``(draw, trial)``.

    n - 1 of the n trials of a condition are drawn, or of the units, such as laps, that trials are windows of: see
    :func:`neuromvm.analysis.statistics.over_trials.bootstrap`.
    """
    strata = codes if unit is None else np.zeros(len(codes), dtype=int)
    units = np.arange(len(codes)) if unit is None else np.unique(unit, return_inverse=True)[1]
    weight = np.zeros((draws, int(units.max()) + 1))
    for stratum in np.unique(strata):
        members = np.unique(units[strata == stratum])
        if len(members) < 2:
            weight[:, members] = 1
            continue
        counts = random.multinomial(len(members) - 1, np.full(len(members), 1 / len(members)), size=draws)
        weight[:, members] = counts * len(members) / (len(members) - 1)
    return weight[:, units]


def judge(
    rows: Rows,
    refits: Mapping[str, xr.Dataset],
    animals: Sequence[str],
    trials: NDArray[np.integer],
    seed: int,
    subjects: NDArray[np.intp] | None = None,
) -> xr.Dataset:
    """Judge rows: intervals, paired differences, the null of scrambled correspondence, and the share of the ceiling.

    ``refits`` hold ``accuracy (exchange, row, among, split, target)`` by row; ``trials (target,)`` are how many were tested;
    ``subjects (target,)`` number the animals that are recorded, by default one a target.

    Returns
    -------
    Scores in the layout of :mod:`neuromvm.analysis.judged`, the settings being what a decoder chooses among; and ``effect
    (representation, setting, unit_of_inference, statistic)``: (score - chance) / (ceiling - chance), the mean over animals of
    both being taken first; the ceiling is what the target's own decoder reads that knows labels of these conditions.
    """
    subjects = np.arange(len(animals)) if subjects is None else subjects
    scores = np.stack([_intervals(rows.value[row], rows.draws[:, row], subjects, seed) for row in range(len(rows.names))])
    scores[..., 1, 1:] = np.clip(scores[..., 1, 1:], 0, 1)
    differences = np.stack(
        [
            [
                _intervals(rows.value[row] - rows.value[reference], rows.draws[:, row] - rows.draws[:, reference], subjects, seed)
                for row in range(len(rows.names))
            ]
            for reference in range(len(rows.names))
        ]
    )
    null = np.full((1, *rows.value.shape, len(NULL_STATISTICS)), np.nan)
    absent, kinds, counts = [], [], []
    for number, name in enumerate(rows.names):
        refit = refits.get(name)
        kinds.append("" if refit is None else NULL_KIND)
        counts.append(0 if refit is None else refit.sizes["exchange"])
        absent.append(_absent(name, refit))
        if refit is not None:
            accuracy = refit["accuracy"].sel(row=name, target=list(animals)).transpose("exchange", "among", "split", "target")
            null[0, number] = under_null(rows.value[number], with_mean(mean_of_scored(accuracy.to_numpy(), axis=2)))
    dims = ("representation", "setting", "target")
    variables = {
        "score": ((*dims, "unit_of_inference", "statistic"), scores),
        "difference": (("reference", *dims, "unit_of_inference", "statistic"), differences),
        "null_score": (("null", *dims, "null_statistic"), null),
        "null_kind": (("null", "representation"), [kinds]),
        "null_draws": (("null", "representation"), [counts]),
        "null_absent": (("null", "representation", "setting"), [[[reason] * len(AMONG) for reason in absent]]),
        "chance": (dims, np.broadcast_to(rows.chance, rows.value.shape)),
        "tested": (("target",), trials),
    }
    if OWN_LABELS in rows.names:
        variables["effect"] = (("representation", "setting", "unit_of_inference", "statistic"), _effects(rows, subjects, seed))
    coords = {
        "representation": rows.names,
        "reference": rows.names,
        "setting": list(AMONG),
        "target": [ALL_ANIMALS, *animals],
        "null": [CORRESPONDENCE],
        **subject_coord(subjects),
        **STATISTIC_COORDS,
    }
    return xr.Dataset(variables, coords)


def _absent(name: str, refit: xr.Dataset | None) -> str:
    if name == OWN_LABELS or (name in ROWS and not ROWS[name].uses_others):
        return NO_OTHERS
    return NO_REFITS if refit is None else ""


def _intervals(value: Floats, draws: Floats, subjects: NDArray[np.intp], seed: int) -> Floats:
    """Return ``(among, target, unit_of_inference, statistic)`` of ``value (among, target)``, over animals only of their mean."""
    statistics = np.full((*value.shape, len(UNITS_OF_INFERENCE), len(STATISTICS)), np.nan)
    statistics[..., 0] = value[..., None]
    statistics[..., 0, 1], statistics[..., 0, 2] = over_trials.interval(draws)
    for index in range(len(AMONG)):
        random = np.random.default_rng([seed, index])
        of_animals = hierarchy.over_animals(value[index, 1:], draws[:, index, 1:], random, subjects)
        statistics[index, 0, 1, 1:] = of_animals.low, of_animals.high
    return statistics


def _effects(rows: Rows, subjects: NDArray[np.intp], seed: int) -> Floats:
    """Return the share of the ceiling ``(row, among, unit_of_inference, statistic)``; animals are drawn with their sessions."""
    ceiling = rows.names.index(OWN_LABELS)
    effects = np.full((*rows.value.shape[:2], len(UNITS_OF_INFERENCE), len(STATISTICS)), np.nan)

    def share(values: Floats) -> Floats:
        above = values[..., ceiling, :] - rows.chance[:, 0]
        return np.asarray((values - rows.chance[:, 0]) / np.where(above > 0, above, np.nan)[..., None, :])

    effects[..., 0] = share(rows.value[..., 0])[..., None]
    effects[..., 0, 1], effects[..., 0, 2] = over_trials.interval(share(rows.draws[..., 0]))
    random = np.random.default_rng(seed)
    sessions = (np.unique(subjects)[:, None] == subjects).astype(np.float64)  # (subject, target)
    if len(sessions) > 1:
        drawn = random.multinomial(len(sessions), np.full(len(sessions), 1 / len(sessions)), size=len(rows.draws)) @ sessions
        known = np.isfinite(rows.value[..., 1:])
        weight = known @ drawn.T  # (row, among, draw)
        resampled = np.where(known, rows.value[..., 1:], 0) @ drawn.T / np.where(weight > 0, weight, np.nan)
        effects[..., 1, 1], effects[..., 1, 2] = over_trials.interval(share(np.moveaxis(resampled, -1, 0)))
    return effects
