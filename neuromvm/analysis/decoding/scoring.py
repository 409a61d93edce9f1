"""Balanced accuracy of decoded labels for each setting, with everything needed to judge it.

Settings: *within*, the decoder of an animal on its own test trials; *cross*, mean over the decoders of every other animal;
*others*, one decoder fitted on all other animals; *pooled*, one decoder fitted on all animals.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.decoding.decoder_groups import SETTINGS, Panels, predicted_at_all
from neuromvm.analysis.decoding.own_decoder import exchanged, exchanges, gap
from neuromvm.analysis.decoding.unrelated_codes import KIND, cross_if_unrelated
from neuromvm.analysis.statistics import hierarchy, over_trials, renamed_classes
from neuromvm.analysis.statistics.over_trials import Floats, LabelRows
from neuromvm.analysis.statistics.renamed_classes import PLACES, Renaming, exchangeable
from neuromvm.errors import SplitError

LARGEST_PIECE = 20_000_000  # numbers in an array of permutations
NO_FLOOR = "none: the scored trials were fitted on, and permuted labels do not say what such a fit gives on noise"


class Resampling(NamedTuple):
    """How many draws, and their seed; without permutations there is no floor."""

    bootstraps: int = 1000
    permutations: int = 1000
    seed: int = 0


class TargetDraws(NamedTuple):
    """Balanced accuracy on one target, averaged over seeds; NaN where a decoder does not exist."""

    observed: Floats  # (split, setting)
    sources: Floats  # (split, source)
    bootstrap: Floats  # (draw, setting), mean over splits
    null: Floats  # (draw, setting), mean over splits
    source_null: Floats  # (draw, source), mean over splits; of refits only
    chance: Floats  # (setting,)


def score(
    predictions: Mapping[str, xr.DataTree],
    samples: xr.DataTree,
    resampling: Resampling,
    reference: str,
    *,
    in_sample: bool = False,
    refits: Mapping[str, xr.Dataset] | None = None,
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
        trials hold, so then there is no floor: ``null_mean, null_low, null_high, p`` are NaN.
    refits
        Representation -> :func:`null_scores` of refits on null data, which then are its floor. Without, labels are permuted among
        test trials and decoders not refitted.

    Returns
    -------
    Balanced accuracies, averaged over seeds, splits and targets: ``value (representation, setting)`` with ``low, high`` (95 %
    bootstrap interval over test trials, drawn within animal and label; animals are not resampled), ``null_mean, null_low,
    null_high, chance, p``, ``difference, difference_low, difference_high (reference, representation, setting)``, paired by draw;
    ``animals_low, animals_high, difference_animals_low, difference_animals_high``, 95 % intervals with the animal as the unit.
    The same with prefix ``target_`` for each target. ``null_kind, null_n (representation)`` say what the floor is.
    ``split_value (representation, split, setting)``; ``accuracy (representation, split, source, target)`` with ``accuracy_p,
    accuracy_p_corrected (representation, source, target)`` of refits, the second against the largest score of all pairs of other
    animals in each refit; ``gap_value, gap_low, gap_high, gap_null_mean, gap_null_low, gap_null_high, gap_p (representation)``,
    within minus cross, paired by draw, and ``gap_difference, gap_difference_low, gap_difference_high (reference,
    representation)``: see :mod:`neuromvm.analysis.decoding.own_decoder`. ``renamed_mean, renamed_low, renamed_high, renamed_p
    (representation, setting)``: *cross* if animals had codes of their own, see :mod:`neuromvm.analysis.decoding.unrelated_codes`.
    ``majority_share, trials (target)``; ``seeds (representation)``.
    Attributes ``chance``, ``classes``, ``label``, ``reference``, ``in_sample``,
    ``floor_of_within_minus_cross``, ``gap_null_n``, ``floor_of_unrelated_codes``, ``renamed_n``.
    """
    refits = refits or {}
    if in_sample:
        resampling, refits = resampling._replace(permutations=0), {}
    targets, classes = list(samples.children), len(json.loads(samples.attrs["classes"]))
    draws = {
        name: [
            _draw(
                tree[target].to_dataset(), samples[target]["label"].to_numpy(), target, resampling, _of(refits.get(name), target)
            )
            for target in targets
        ]
        for name, tree in predictions.items()
    }
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {}
    for prefix, dims, over in (
        ("", ("representation", "setting"), lambda values: over_trials.mean_of_scored(values, axis=-1)),
        ("target_", ("representation", "setting", "target"), lambda values: values),
    ):
        summaries = [_summary(one, over) for one in draws.values()]
        variables |= {prefix + key: (dims, np.stack([one[key] for one in summaries])) for key in summaries[0]}
        for key, values in _differences(list(draws.values()), over).items():
            variables[prefix + key] = (("reference", *dims), values)
    observed = np.stack([_stack(one, "observed") for one in draws.values()])
    variables |= _over_animals(list(draws.values()), resampling.seed)
    variables["split_value"] = (("representation", "split", "setting"), over_trials.mean_of_scored(observed, axis=-1))
    variables["accuracy"] = (
        ("representation", "split", "source", "target"),
        np.stack([_stack(one, "sources") for one in draws.values()]),
    )
    for key, pairs in _pair_p(list(draws.values())).items():
        variables[key] = (("representation", "source", "target"), pairs)
    variables |= _gaps(list(draws.values()), resampling)
    renaming = Renaming(targets, classes, resampling.permutations if exchangeable(samples) else 0, resampling.seed)
    value = variables["value"][1].astype(np.float64)
    variables |= _if_unrelated(value, [cross_if_unrelated(tree, samples, renaming) for tree in predictions.values()])
    tested_gap = bool(np.isfinite(variables["gap_p"][1]).any())
    number, exchanged_in_words = exchanges(len(targets), resampling.permutations) if tested_gap else (0, "")
    tested = {
        target: np.any(
            [predicted_at_all(tree[target]["predicted"].to_numpy()).any(axis=(0, 1)) for tree in predictions.values()], axis=0
        )
        for target in targets
    }
    counts = {
        target: np.bincount(samples[target]["label"].to_numpy()[one].ravel(), minlength=classes) for target, one in tested.items()
    }
    variables["trials"] = (("target",), np.array([one.sum() for one in tested.values()]))
    variables["majority_share"] = (("target",), np.array([one.max() / max(one.sum(), 1) for one in counts.values()]))
    if not any(one.sum() for one in counts.values()):
        raise SplitError(
            "analysis decoding",
            found="no trial that any decoder can be tested on",
            expected="animals with trials on both sides of a split",
            next_step="An animal without training trials cannot be encoded or aligned: use split.kind=halves or kfold",
        )
    floor = f"{resampling.permutations} permutations of labels among the test trials of each animal, decoders not refitted"
    floor += shifted(samples)
    drawn, floor = ("scored", NO_FLOOR) if in_sample else ("test", floor)
    kinds = [str(refits[name].attrs["null_kind"]) if name in refits else floor for name in predictions]
    counted = [refits[name].sizes["permutation"] if name in refits else resampling.permutations for name in predictions]
    variables["null_kind"], variables["null_n"] = (("representation",), np.array(kinds)), (("representation",), np.array(counted))
    floor = "; ".join(dict.fromkeys(kinds))
    seeds = [np.bincount(tree[targets[0]]["split"].to_numpy()).max() for tree in predictions.values()]
    variables["seeds"] = (("representation",), np.array(seeds))
    return xr.Dataset(
        variables,
        coords={
            "representation": list(predictions),
            "reference": list(predictions),
            "setting": list(SETTINGS),
            "target": targets,
            "source": targets,
        },
        attrs={
            "chance": 1 / int(np.any(list(counts.values()), axis=0).sum()),
            "classes": samples.attrs["classes"],
            "label": samples.attrs.get("label", "label"),
            "reference": reference if reference in predictions else "",
            "interval": f"95 % over {resampling.bootstraps} bootstrap draws of {drawn} trials within animal and label",
            "floor": floor,
            "floor_of_within_minus_cross": exchanged_in_words,
            "floor_of_unrelated_codes": NO_FLOOR if in_sample else KIND.format(renaming.draws) if renaming.draws else PLACES,
            "renamed_n": renaming.draws,
            "gap_null_n": number,
            "windows": next(iter(samples.children.values())).sizes["window"],
            "in_sample": int(in_sample),  # netCDF has no truth values
        },
    )


def shifted(samples: xr.DataTree) -> str:
    """Say that a permutation shifts labels as well, where windows of a trial have labels of their own; else ''."""
    return "" if exchangeable(samples) else ", and shifted circularly among the windows of each trial"


def null_scores(predictions: xr.DataTree, samples: xr.DataTree, permutation: NDArray[np.integer], null_kind: str) -> xr.Dataset:
    """Score refits on null data as the data are scored.

    Parameters
    ----------
    predictions
        What :func:`neuromvm.analysis.readouts.decoders.decode` returns.
    samples
        Labels, which null data leave in place.
    permutation
        Number of the null data of each replica ``(replica,)``.
    null_kind
        In words.

    Returns
    -------
    ``value (permutation, split, setting, target)``; ``accuracy (permutation, split, source, target)``; ``chance (setting,
    target)``, what guessing gives.
    """
    targets = list(samples.children)
    numbers = np.unique(permutation)
    values, accuracy, chance = [], [], []
    for target in targets:
        labels = samples[target]["label"].to_numpy()
        each = []
        for number in numbers:
            panels = Panels.of(predictions[target].to_dataset().isel(replica=permutation == number), labels, target)
            each.append([one.scores(over_trials.as_they_are(panels.rows))[0] for one in (panels.settings, panels.sources)])
        chance.append(panels.settings.chance)
        values.append(np.stack([one for one, _ in each]))
        accuracy.append(np.stack([one for _, one in each]))
    return xr.Dataset(
        {
            "value": (("permutation", "split", "setting", "target"), np.stack(values, axis=-1)),
            "accuracy": (("permutation", "split", "source", "target"), np.stack(accuracy, axis=-1)),
            "chance": (("setting", "target"), np.stack(chance, axis=-1)),
        },
        coords={"permutation": numbers, "setting": list(SETTINGS), "target": targets, "source": targets},
        attrs={"null_kind": null_kind},
    )


def _draw(
    predicted: xr.Dataset, labels: NDArray[np.int16], target: str, resampling: Resampling, refits: xr.Dataset | None
) -> TargetDraws:
    """Score one target; its draws depend on its name only, so that representations can be compared draw by draw."""
    settings, sources, rows = Panels.of(predicted, labels, target)
    rng = np.random.default_rng([resampling.seed, zlib.crc32(target.encode())])
    bootstrap = over_trials.bootstrap(rows, resampling.bootstraps, rng)
    observed, pairs = (panel.scores(over_trials.as_they_are(rows)) for panel in (settings, sources))
    if refits is not None:
        null, source_null = refits["value"].to_numpy(), refits["accuracy"].to_numpy()
    else:
        drawn = [settings.scores(some) for some in _in_pieces(rows, resampling.permutations, rng)]
        null = np.concatenate(drawn or [np.full_like(observed, np.nan)])
        source_null = np.full_like(pairs, np.nan)
    return TargetDraws(
        observed[0],
        pairs[0],
        over_trials.mean_of_scored(settings.scores(bootstrap), axis=1),
        over_trials.mean_of_scored(null, axis=1),
        over_trials.mean_of_scored(source_null, axis=1),
        settings.chance,
    )


def _of(refits: xr.Dataset | None, target: str) -> xr.Dataset | None:
    return None if refits is None else refits.sel(target=target)


def _pair_p(draws: Sequence[Sequence[TargetDraws]]) -> dict[str, Floats]:
    """Return p of each pair ``(representation, source, target)``, alone and against the largest of all pairs of a refit."""
    alone, corrected = [], []
    for one in draws:
        value, null = over_trials.mean_of_scored(_stack(one, "sources"), axis=0), _stack(one, "source_null")
        known = ~np.isnan(null).all(axis=0)
        pairs = known & ~np.eye(len(value), dtype=bool)
        alone.append(np.where(known, over_trials.p_value(value, null), np.nan))
        # A refit in which a pair has no score counts as reaching it.
        others = np.where(pairs, np.where(np.isnan(null), np.inf, null), -np.inf)
        largest = np.broadcast_to(others.max(axis=(1, 2), keepdims=True), null.shape)
        corrected.append(np.where(pairs, over_trials.p_value(value, largest), np.nan))
    return {"accuracy_p": np.stack(alone), "accuracy_p_corrected": np.stack(corrected)}


def _over_animals(draws: Sequence[Sequence[TargetDraws]], seed: int) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """Return intervals of scores and of their differences with the animal as the unit."""
    observed = [over_trials.mean_of_scored(_stack(one, "observed"), axis=0) for one in draws]  # (setting, target)
    drawn = [_stack(one, "bootstrap") for one in draws]  # (draw, setting, target)
    pairs = [over_trials.mean_of_scored(_stack(one, "sources"), axis=0) for one in draws]  # (source, target)

    own = [_each_setting(*one, seed) for one in zip(observed, drawn, pairs, strict=True)]
    against = [
        [
            _each_setting(observed[one] - observed[other], drawn[one] - drawn[other], pairs[one] - pairs[other], seed)
            for one in range(len(draws))
        ]
        for other in range(len(draws))
    ]
    dims = ("representation", "setting")
    bounded = np.clip(np.array(own), 0, 1)  # accuracies of no animals are beyond; differences are left as they come
    return {
        "animals_low": (dims, bounded[..., 0]),
        "animals_high": (dims, bounded[..., 1]),
        "difference_animals_low": (("reference", *dims), np.array(against)[..., 0]),
        "difference_animals_high": (("reference", *dims), np.array(against)[..., 1]),
    }


def _each_setting(observed: Floats, drawn: Floats, pairs: Floats, seed: int) -> list[tuple[float, float]]:
    """Return the interval over animals of each setting: of *cross*, over pairs of them."""
    found = []
    for place, setting in enumerate(SETTINGS):
        if setting == "cross":
            one = hierarchy.over_pairs(pairs)
        else:
            one = hierarchy.over_animals(observed[place], drawn[:, place], np.random.default_rng([seed, place]))
        found.append((one.low, one.high))
    return found


def _gaps(draws: Sequence[Sequence[TargetDraws]], resampling: Resampling) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """Return what is lost between animals in each representation, paired by draw; NaN where nothing is read within or between."""
    within, cross = SETTINGS.index("within"), SETTINGS.index("cross")
    pairs = [over_trials.mean_of_scored(_stack(one, "sources"), axis=0) for one in draws]  # (source, target)
    drawn = [_stack(one, "bootstrap") for one in draws]  # (draw, setting, target)
    lost = [over_trials.mean_of_scored(one[:, within] - one[:, cross], axis=-1) for one in drawn]
    found = []
    for one, bootstrap in zip(pairs, lost, strict=True):
        # Decoders that were fitted on the scored trials are better than those of others, whatever they know.
        null = (
            exchanged(one, resampling.permutations, np.random.default_rng(resampling.seed))
            if resampling.permutations
            else one[:0, 0]
        )
        found.append(over_trials.judged(gap(one), bootstrap, null))
    against = _paired(np.array([one["value"] for one in found]), lost)
    between = ("reference", "representation")
    return {
        **{f"gap_{key}": (("representation",), np.array([one[key] for one in found])) for key in found[0]},
        **{f"gap_{key}": (between, values) for key, values in against.items()},
    }


def _if_unrelated(value: Floats, draws: Sequence[Floats]) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """Return range and p of *cross* if codes were unrelated ``(representation, setting)``; NaN in other settings."""
    cross = SETTINGS.index("cross")
    each = [renamed_classes.judged(one[cross], null) for one, null in zip(value, draws, strict=True)]
    found = {key: np.full(value.shape, np.nan) for key in each[0]}
    for key, values in found.items():
        values[:, cross] = [one[key] for one in each]
    return {key: (("representation", "setting"), values) for key, values in found.items()}


def _in_pieces(rows: LabelRows, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield permutations in pieces that fit in memory."""
    piece = max(1, LARGEST_PIECE // max(1, len(rows.row) * len(rows.labels)))
    for begin in range(0, draws, piece):
        yield over_trials.permutations(rows, min(piece, draws - begin), rng)


def _stack(draws: Sequence[TargetDraws], field: str) -> Floats:
    return np.stack([getattr(one, field) for one in draws], axis=-1)


def _value(draws: Sequence[TargetDraws], over: Callable[[Floats], Floats]) -> Floats:
    return over(over_trials.mean_of_scored(_stack(draws, "observed"), axis=0))


def _summary(draws: Sequence[TargetDraws], over: Callable[[Floats], Floats]) -> dict[str, Floats]:
    """Summarise the draws of all targets, after ``over`` has averaged the targets or left them apart."""
    found = over_trials.judged(_value(draws, over), over(_stack(draws, "bootstrap")), over(_stack(draws, "null")))
    return found | {"chance": over(_stack(draws, "chance"))}


def _differences(draws: Sequence[Sequence[TargetDraws]], over: Callable[[Floats], Floats]) -> dict[str, Floats]:
    """Return the difference of each representation to each, paired by draw, ``(reference, representation, ...)``."""
    return _paired(np.stack([_value(one, over) for one in draws]), [over(_stack(one, "bootstrap")) for one in draws])


def _paired(values: Floats, draws: Sequence[Floats]) -> dict[str, Floats]:
    """Return the difference of values ``(representation, ...)`` to each other, with its interval over paired draws."""
    intervals = np.array([[over_trials.interval(one - other) for one in draws] for other in draws])
    return {
        "difference": values[None] - values[:, None],
        "difference_low": intervals[:, :, 0],
        "difference_high": intervals[:, :, 1],
    }
