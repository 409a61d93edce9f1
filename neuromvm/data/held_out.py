"""Which conditions of an animal are held out in each split: at random, in runs along their order, or by the value of a label."""

import json
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.windows import WINDOW_CENTRE
from neuromvm.errors import SplitError
from neuromvm.specs import SplitSpec

Codes = NDArray[np.integer]
FEWEST_VALUES = 3  # of a label by which conditions are held out in all animals: with two no animal knows both
FEWEST = 2  # conditions of a fold, among which a decoder chooses, and conditions that remain


def conditions(samples: xr.DataTree) -> list[str]:
    """Return the names of all conditions, in the order of the codes in ``match``."""
    names: list[str] = json.loads(next(iter(samples.children.values()))["match"].attrs["classes"])
    return names


def condition_folds(name: str, samples: xr.DataTree, known: NDArray[np.bool_], spec: SplitSpec, seed: int) -> list[Codes]:
    """Return the codes of the conditions that an animal lacks in each fold.

    ``known (trial,)`` are its labelled trials. The number of folds is the same for all animals; conditions that are left when
    folds are filled are never held out. SplitError if an animal has too few conditions, or samples have several windows a trial.
    """
    dataset = samples[name].to_dataset()
    if dataset.sizes["window"] != 1:
        raise SplitError(
            "split.kind=conditions",
            found=f"{dataset.sizes['window']} windows a trial",
            expected="one, so that a trial has one condition",
            next_step="Pass single_windows(samples), in which every window is a trial",
        )
    codes = dataset["match"].to_numpy()[:, 0]
    present = np.unique(codes[known & (codes >= 0)])
    if spec.by is not None:
        return _by_value(name, samples, known, spec)
    total = len(conditions(samples))
    size = max(FEWEST, round(total / 5)) if spec.held_out is None else spec.held_out
    folds = max(1, total // size)
    if len(present) < max(FEWEST * folds, size + FEWEST):
        raise SplitError(
            f"split.kind=conditions, animal {name}",
            found=f"{len(present)} conditions",
            expected=f"at least {max(FEWEST * folds, size + FEWEST)}, to hold out {size} of {total} in each of {folds} splits",
            next_step="Change split.held_out, leave the animal out with data.animals, or choose a label with more values",
        )
    random = np.random.default_rng(seed)
    if spec.choice == "random":
        return list(np.array_split(random.permutation(present)[: folds * size], folds))
    ordered = present[_order(name, samples, present, spec.order)]
    spare = max(0, len(ordered) - folds * size)
    start = int(random.integers(spare + 1))
    return _in_turn(name, samples, np.array_split(ordered[start : start + folds * size], folds))


def _in_turn(name: str, samples: xr.DataTree, folds: list[Codes]) -> list[Codes]:
    """Return folds that are the same for all animals in an order in which neighbouring animals lack different ones."""
    first = list(samples.children).index(name) % len(folds)
    return [*folds[first:], *folds[:first]]


def _by_value(name: str, samples: xr.DataTree, known: NDArray[np.bool_], spec: SplitSpec) -> list[Codes]:
    """Return the conditions with each value of the label ``spec.by``; the values are those of all animals."""
    label = str(spec.by)
    of_animal = {animal: _label(animal, dataset, label).astype(str) for animal, dataset in schema.animals(samples)}
    codes = samples[name]["match"].to_numpy()[:, 0]
    values, folds = of_animal[name], []
    distinct = sorted(set(np.concatenate(list(of_animal.values())).tolist()))
    if len(distinct) < FEWEST_VALUES and spec.lacking == "every_animal":
        raise SplitError(
            f"split.by={label}",
            found=f"{len(distinct)} values, one of which every animal lacks",
            expected=f"at least {FEWEST_VALUES}, or an animal that knows more than one of them",
            next_step="Set split.lacking to one_animal",
        )
    for value in distinct:
        inside = np.unique(codes[known & (values == value) & (codes >= 0)])
        both = np.intersect1d(inside, codes[known & (values != value)])
        if len(both):
            raise SplitError(
                f"split.by={label}, animal {name}",
                found=f"condition {conditions(samples)[both[0]]!r} with {label} {value!r} and with others",
                expected=f"one {label} in all trials of a condition",
                next_step=f"Make it part of the condition: samples.match: [..., {label}]",
            )
        folds.append(inside)
    return _in_turn(name, samples, folds)


def _label(name: str, dataset: xr.Dataset, label: str) -> NDArray[np.generic]:
    """Return a trial label; ``window`` is the centre of the window that a trial is."""
    centre = label == "window" and WINDOW_CENTRE in dataset.coords
    return np.asarray(schema.trial_label(name, dataset, WINDOW_CENTRE if centre else label, SplitError).to_numpy())


def _order(name: str, samples: xr.DataTree, present: Codes, label: str | None) -> list[int]:
    """Return the indices of conditions in their order: by the mean of a numeric label, or by name with numbers by size."""
    if label is None:
        keys: list[Any] = [_natural(conditions(samples)[code]) for code in present]
    else:
        codes = samples[name]["match"].to_numpy()[:, 0]
        values = _label(name, samples[name].to_dataset(), label)
        keys = [values[codes == code].astype(float).mean() for code in present]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _natural(condition: str) -> list[tuple[bool, float, str]]:
    """Return a key that sorts the parts of a name, numbers by size and before words.

    >>> sorted(["left, 10", "left, 9"], key=_natural)
    ['left, 9', 'left, 10']
    """
    key = []
    for part in condition.split(", "):
        try:
            key.append((False, float(part), ""))
        except ValueError:
            key.append((True, 0.0, part))
    return key
