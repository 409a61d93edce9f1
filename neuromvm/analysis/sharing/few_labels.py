"""Does sharing help an animal with few labelled trials? Its own discriminant, and the same with other animals as a prior."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neuromvm.analysis.sharing.order import coordinates
from neuromvm.analysis.sharing.problem import Labelled, balanced_accuracy
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.analysis.sharing.table import Problems, Side
from neuromvm.analysis.sharing.tuning import choose, pseudo_few
from neuromvm.data.held_out import conditions
from neuromvm.data.splits import few_trials
from neuromvm.schema import is_fitted

FEW_LABELS = "few labels"  # the source of these scores
# A row with other animals, or with the order of the label, and the row of the animal alone with which it is compared
OWN_ROWS: Mapping[str, str] = {
    "class_kernel": "own",
    "class_kernel_em": "own_em",
    "order_kernel": "own",
    "order_kernel_em": "own_em",
}
FEW_ROWS = (*dict.fromkeys(OWN_ROWS.values()), *OWN_ROWS)
JUDGED_ROWS = ("own", "class_kernel")  # that are fitted again with exchanged names


def few_labels_table(
    samples: xr.DataTree, splits: xr.DataTree, trials: Sequence[int], rows: Sequence[str] = FEW_ROWS
) -> xr.Dataset:
    """Read each animal with a few labelled trials of each condition, all others having all of theirs.

    Parameters
    ----------
    samples
        Of one window a trial.
    splits
        Which trials may be labelled (training side), and which are read (test side).
    trials
        Numbers of labelled trials of each condition; those are left out that a class of an animal does not have.
    rows
        Some of ``FEW_ROWS``; those of an order are left out where the names of conditions hold none.

    Returns
    -------
    ``accuracy (row, trials, split, target)``, balanced over conditions; ``settings (row, trials, target)``, chosen on the other
    animals (:func:`neuromvm.analysis.sharing.tuning.pseudo_few`), as a JSON list: the same for all splits, or with two animals
    those of each split.
    """
    animals = list(samples.children)
    ordered = coordinates(conditions(samples)) is not None
    rows = [row for row in rows if ROWS[row].uses_others or ordered or row in OWN_ROWS.values()]
    count = next(iter(splits.children.values())).sizes["split"]
    possible = [number for number in trials if number <= _fewest(samples, splits)]
    accuracy = np.full((len(rows), len(possible), count, len(animals)), np.nan)
    settings = np.full((len(rows), len(possible), len(animals)), "", dtype=object)
    labelled: dict[Side, Labelled] = {}
    for column, number in enumerate(possible):
        for index_of_target, target in enumerate(animals):
            few_splits = few_trials(samples, splits, target, number)
            problems = Problems(samples, few_splits, labelled)
            chosen: dict[str, list[Mapping[str, Any]]] = {row: [] for row in rows}
            for split in range(count):
                problem, answers = problems.of_target(split, target)
                for index, row in enumerate(rows):
                    # A single other animal needs the target's labelled trials, which are tested in other splits.
                    if not chosen[row] or len(animals) < 3:
                        chosen[row].append(choose(ROWS[row], pseudo_few(problem, number, draws=1)).settings)
                    scores = ROWS[row].read(problem, **chosen[row][-1])
                    accuracy[index, column, split, index_of_target] = balanced_accuracy(scores, answers)
            for index, row in enumerate(rows):
                settings[index, column, index_of_target] = json.dumps(chosen[row])
    variables = {
        "accuracy": (("row", "trials", "split", "target"), accuracy),
        "settings": (("row", "trials", "target"), settings.astype(str)),
    }
    return xr.Dataset(variables, {"row": rows, "trials": possible, "target": animals})


def _fewest(samples: xr.DataTree, splits: xr.DataTree) -> int:
    """Return the smallest number of training-side trials of a condition, over animals and splits."""
    fewest = []
    for name, node in splits.children.items():
        codes = samples[name]["match"].to_numpy()[:, 0]
        for part in node["part"].to_numpy():
            side = codes[is_fitted(part) & (codes >= 0)]
            fewest.append(int(np.unique(side, return_counts=True)[1].min(initial=len(codes))))
    return min(fewest)
