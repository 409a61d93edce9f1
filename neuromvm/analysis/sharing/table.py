"""The table of held-out conditions: every row solves the problems of all targets, with settings chosen on other animals."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Inputs
from neuromvm.analysis.sharing.fits import Fit, model_rows
from neuromvm.analysis.sharing.order import coordinates
from neuromvm.analysis.sharing.problem import Labelled, Problem, balanced_accuracy, right_trials
from neuromvm.analysis.sharing.rows import ROWS, Row, ceiling
from neuromvm.analysis.sharing.tuning import Pseudo, choose, pseudo_targets
from neuromvm.data.held_out import conditions
from neuromvm.data.splits import split_spec
from neuromvm.schema import is_fitted, is_scored, subjects

OWN_LABELS = "own labels"  # the row of the ceiling
LINEAR_ROWS = (*(name for name, row in ROWS.items() if row.linear), OWN_LABELS)  # computed unless rows are named
AMONG = ("held-out conditions", "all conditions")  # what a decoder chooses among

Side = tuple[str, bytes]  # name of an animal, and which of its trials are on the training side
Fits = Mapping[str, Mapping[str, Mapping[int, Sequence[Fit]]]]  # group of models -> model -> split -> one fit a seed


class Solved(NamedTuple):
    """The answers of a row to a problem."""

    scores: NDArray[np.floating]  # (trial, class)
    settings: Mapping[str, Any]


class Problems:
    """The problems of samples and splits: in each split the animals that are tested, with their answers.

    ``labelled`` remembers the labelled trials of animals by name and training side; problems of the same samples may share it.
    """

    def __init__(self, samples: xr.DataTree, splits: xr.DataTree, labelled: dict[Side, Labelled] | None = None) -> None:
        names = conditions(samples)
        self.animals, self.classes = list(samples.children), len(names)
        self.splits = next(iter(splits.children.values())).sizes["split"]
        self._places, self._inputs = coordinates(names), Inputs(samples, splits)
        self._subjects = dict(zip(self.animals, subjects(samples).tolist(), strict=True))
        self._codes = {name: node["match"].to_numpy()[:, 0] for name, node in samples.children.items()}
        self._parts = {name: node["part"].to_numpy() for name, node in splits.children.items()}
        self._splits, self._labelled = splits, {} if labelled is None else labelled

    @property
    def lacking(self) -> str:
        """Whether every animal lacks conditions in a split, or one animal does."""
        return split_spec(self._splits).lacking

    @property
    def has_order(self) -> bool:
        """Whether the names of conditions hold an order."""
        return self._places is not None

    def tested(self, split: int, animal: str) -> NDArray[np.intp]:
        """Return the numbers of an animal's test trials."""
        codes = self._codes[animal]
        return np.flatnonzero(is_scored(self._parts[animal][split]) & (codes >= 0))

    def held_out(self, animal: str) -> list[list[int]]:
        """Return the conditions that an animal lacks in each split in which it lacks some."""
        sets = [np.unique(self._codes[animal][self.tested(split, animal)]).tolist() for split in range(self.splits)]
        return [held_out for held_out in sets if held_out]

    def of_split(self, split: int) -> dict[str, Pseudo]:
        """Return the problem of each target with its answers; a target of fewer than two held-out conditions is left out."""
        problems = {target: self.of_target(split, target) for target in self.animals if len(self.tested(split, target))}
        return {target: pseudo for target, pseudo in problems.items() if len(pseudo.problem.held_out) > 1}

    def of_target(self, split: int, target: str) -> Pseudo:
        """Return the problem of a target with its answers."""
        subject = self._subjects[target]
        known = [name for name in self.animals if name == target or self._subjects[name] != subject]
        labelled = {name: self._animal(split, name) for name in known}
        tested = self.tested(split, target)
        answers = self._codes[target][tested].astype(np.intp)
        test = self._inputs.scaled(split, target)[tested, 0].astype(np.float64)
        sizes = self.classes, self._places, self._inputs.bins, self._subjects
        return Pseudo(Problem(target, labelled, test, np.unique(answers), *sizes), answers)

    def _animal(self, split: int, name: str) -> Labelled:
        """Return the labelled trials of an animal; the same object in splits with the same training side."""
        side = is_fitted(self._parts[name][split]) & (self._codes[name] >= 0)
        key = name, side.tobytes()
        if key not in self._labelled:
            features = self._inputs.scaled(split, name)[side, 0].astype(np.float64)
            self._labelled[key] = Labelled(features, self._codes[name][side].astype(np.intp))
        return self._labelled[key]


class Solver:
    """Solves problems by rows, whose settings are chosen on other animals.

    Where every animal lacks conditions, a target's settings are those with the highest mean accuracy of the other targets of the
    same split, which know as little of its held-out conditions as it does. Where one animal lacks conditions, the others play the
    target in turn, without it (:mod:`neuromvm.analysis.sharing.tuning`).
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._chosen: dict[tuple[str, str], Mapping[str, Any]] = {}

    def solve(self, name: str, row: Row, of_split: Mapping[str, Pseudo]) -> dict[str, Solved]:
        """Return the answers to the problem of each target of a split."""
        if self._problems.lacking == "every_animal":
            return _chosen_on_targets(row, of_split)
        # What other animals are, and so what is chosen on them, is the same in all splits of a target. A fit of a model is of one
        # split, and a single other animal needs the target's labelled trials, which in other splits are of held-out conditions.
        constant = name in ROWS and len(self._problems.animals) > 2
        solved = {}
        for target, (problem, _) in of_split.items():
            settings = self._chosen.get((name, target))
            if settings is None:
                settings = choose(row, pseudo_targets(problem, self._problems.held_out(target))).settings
            if constant:
                self._chosen[name, target] = settings
            solved[target] = Solved(row.read(problem, **settings), settings)
        return solved


def _chosen_on_targets(row: Row, of_split: Mapping[str, Pseudo]) -> dict[str, Solved]:
    tried = [dict(zip(row.grid, values, strict=True)) for values in product(*row.grid.values())]
    scores = [{target: row.read(problem, **settings) for target, (problem, _) in of_split.items()} for settings in tried]
    accuracy = np.array(
        [
            [balanced_accuracy(by_target[target], answers, problem.held_out) for target, (problem, answers) in of_split.items()]
            for by_target in scores
        ]
    )
    solved = {}
    for column, target in enumerate(of_split):
        of_others = np.delete(accuracy, column, axis=1)
        best = int(of_others.mean(axis=1).argmax()) if of_others.shape[1] else 0
        solved[target] = Solved(scores[best][target], tried[best])
    return solved


def solve_table(samples: xr.DataTree, splits: xr.DataTree, rows: Sequence[str], fits: Fits | None = None) -> xr.DataTree:
    """Solve all problems of samples and splits by some rows.

    Parameters
    ----------
    samples, splits
        Of one window a trial, and splits of the kind ``conditions``.
    rows
        Of :data:`neuromvm.analysis.sharing.rows.ROWS`, and ``own labels`` for the ceiling. Rows of an order are left out where
        the names of conditions hold none.
    fits
        Of models that were fitted on these splits, whose rows are added.

    Returns
    -------
    At the root ``accuracy (row, among, split, target)``, balanced over the held-out conditions and averaged over seeds, NaN where
    a target lacks none; ``chance (among, split, target)``; ``settings (row, split, target)``, chosen ones as JSON. A node a
    target: ``correct (row, among, split, trial)``, the share of seeds that are right; NaN where a trial is not tested.
    """
    problems = Problems(samples, splits)
    solver, fits = Solver(problems), fits or {}
    names = [name for name in rows if name == OWN_LABELS or problems.has_order or ROWS[name].uses_others]
    table = Table([*names, *(row for group in fits for row in model_rows(group, {}))], problems, samples)
    for split in range(problems.splits):
        of_split = problems.of_split(split)
        for name in names:
            if name == OWN_LABELS:
                solved = {target: Solved(ceiling(*pseudo), {}) for target, pseudo in of_split.items()}
            else:
                solved = solver.solve(name, ROWS[name], of_split)
            table.enter(name, split, of_split, [solved])
        for group, models in fits.items():
            of_seeds: dict[str, list[dict[str, Solved]]] = {}
            for of_seed in zip(*(of_model[split] for of_model in models.values()), strict=True):
                for name, row in model_rows(group, dict(zip(models, of_seed, strict=True))).items():
                    of_seeds.setdefault(name, []).append(solver.solve(name, row, of_split))
            for name, seeds in of_seeds.items():
                table.enter(name, split, of_split, seeds)
    return table.tree()


class Table:
    """The answers of rows to problems, as arrays."""

    def __init__(self, rows: Sequence[str], problems: Problems, samples: xr.DataTree) -> None:
        self._rows, self._problems, self._samples = list(rows), problems, samples
        shape = len(self._rows), len(AMONG), problems.splits
        self._accuracy = np.full((*shape, len(problems.animals)), np.nan)
        self._chance = np.full((len(AMONG), problems.splits, len(problems.animals)), np.nan)
        self._settings = np.full((len(self._rows), problems.splits, len(problems.animals)), "", dtype=object)
        self._correct = {
            name: np.full((*shape, node.sizes["trial"]), np.nan, dtype=np.float32) for name, node in samples.children.items()
        }

    def enter(self, name: str, split: int, of_split: Mapping[str, Pseudo], seeds: Sequence[Mapping[str, Solved]]) -> None:
        """Enter the answers of a row in a split, one mapping of targets for each seed."""
        row = self._rows.index(name)
        for target, (problem, answers) in of_split.items():
            column, tested = self._problems.animals.index(target), self._problems.tested(split, target)
            for index, among in enumerate((problem.held_out, None)):
                right = np.mean([right_trials(of_seed[target].scores, answers, among) for of_seed in seeds], axis=0)
                self._correct[target][row, index, split, tested] = right
                self._accuracy[row, index, split, column] = np.mean([right[answers == code].mean() for code in problem.held_out])
                self._chance[index, split, column] = 1 / (problem.classes if among is None else len(among))
            settings = [dict(of_seed[target].settings) for of_seed in seeds]
            self._settings[row, split, column] = json.dumps(settings)

    def tree(self) -> xr.DataTree:
        """Return the arrays, see :func:`solve_table`."""
        variables = {
            "accuracy": (("row", "among", "split", "target"), self._accuracy),
            "chance": (("among", "split", "target"), self._chance),
            "settings": (("row", "split", "target"), self._settings.astype(str)),
        }
        coords = {"row": self._rows, "among": list(AMONG), "target": self._problems.animals}
        nodes = {}
        for name, correct in self._correct.items():
            node = self._samples[name]
            of_animal = {"trial": node["trial"].to_numpy(), "match": ("trial", node["match"].to_numpy()[:, 0])}
            if "of_trial" in node.coords:
                of_animal["of_trial"] = ("trial", node["of_trial"].to_numpy())
            nodes[name] = xr.Dataset({"correct": (("row", "among", "split", "trial"), correct)}, of_animal)
        return xr.DataTree.from_dict({"/": xr.Dataset(variables, coords), **nodes})
