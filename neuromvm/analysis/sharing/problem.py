"""A target animal lacks the labels of some conditions, which other animals have: the problem that rows solve."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuromvm.analysis.readouts.representations import Floats, Training

Codes = NDArray[np.integer]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled trials of an animal. Arrays are not changed after construction: what is computed from them is remembered."""

    features: Floats  # (trial, feature), scaled
    codes: Codes  # (trial,) class of each trial
    memory: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def recall(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what was computed from these trials before, or compute it."""
        if key not in self.memory:
            self.memory[key] = compute()
        result: Result = self.memory[key]
        return result

    @property
    def classes(self) -> Codes:
        """Return the classes that have trials, in ascending order."""
        return self.recall("classes", lambda: np.unique(self.codes))

    @property
    def counts(self) -> Floats:
        """Return the trials of each of these classes, ``(class,)``."""
        return self.recall("counts", lambda: self._members.sum(axis=1))

    @property
    def means(self) -> Floats:
        """Return their means, ``(class, feature)``."""
        return self.recall("means", lambda: (self._members @ self.features) / self.counts[:, None])

    @property
    def residuals(self) -> Floats:
        """Return the trials less the mean of their class, ``(trial, feature)``."""
        return self.recall("residuals", lambda: self.features - self._members.T @ self.means)

    @property
    def freedom(self) -> int:
        """Return the degrees of freedom of the residuals, 1 at least."""
        return max(len(self.codes) - len(self.classes), 1)

    @property
    def training(self) -> Training:
        """Return the trials as baselines take them."""
        return Training(self.features, self.codes.astype(np.int16))

    def hold_out(self, conditions: Sequence[int]) -> "Hidden":
        """Take the labels of ``conditions`` away."""
        return self.recall(("hold out", *conditions), lambda: self._hide(np.isin(self.codes, conditions)))

    def keep(self, trials: int, seed: int) -> "Hidden":
        """Keep the labels of a few random trials of each class; of classes with no more trials, keep all but one."""
        return self.recall(("keep", trials, seed), lambda: self._hide(self._all_but(trials, seed)))

    @property
    def _members(self) -> Floats:
        return self.recall("members", lambda: (self.codes == self.classes[:, None]).astype(np.float64))

    def _hide(self, hidden: NDArray[np.bool_]) -> "Hidden":
        return Hidden(Labelled(self.features[~hidden], self.codes[~hidden]), self.features[hidden], self.codes[hidden])

    def _all_but(self, trials: int, seed: int) -> NDArray[np.bool_]:
        rng, hidden = np.random.default_rng(seed), np.ones(len(self.codes), bool)
        for code in self.classes:
            members = np.flatnonzero(self.codes == code)
            hidden[rng.permutation(members)[: min(trials, len(members) - 1)]] = False
        return hidden


def recall_together(animals: Sequence[Labelled], key: Hashable, compute: Callable[[], Result]) -> Result:
    """Return what was computed from the trials of several animals, in any order, before, or compute it."""
    animals = sorted(animals, key=id)
    # The other animals are remembered with the result, so that their addresses stay theirs. The first would refer to itself.
    return animals[0].recall((key, *map(id, animals)), lambda: (compute(), animals[1:]))[0]


class Hidden(NamedTuple):
    """An animal some of whose labels were taken away."""

    seen: Labelled
    test: Floats  # (trial, feature) without labels
    answers: Codes  # (trial,) the labels that were taken away


@dataclass(frozen=True, eq=False)
class Problem:
    """Predict the labels of a target's trials of held-out conditions."""

    target: str
    labelled: Mapping[str, Labelled]  # of every animal; the target's without the held-out conditions, or with few trials of them
    test: Floats  # (trial, feature) the target's trials without a label, all of held-out conditions
    held_out: Codes  # (condition,) classes of the test trials
    classes: int  # of all animals
    coordinates: Floats | None = None  # (class, dimension) places of the classes along an order of the label
    bins: int = 1  # of a trial; features are flattened (bin, unit)
    subjects: Mapping[str, int] = field(default_factory=dict)  # of recordings, those of one number being of one animal

    def same_subject(self, name: str, partner: str) -> bool:
        """Return whether two recordings are of one animal."""
        return name == partner or (name in self.subjects and self.subjects[name] == self.subjects.get(partner))

    @property
    def seen(self) -> Labelled:
        """Return the labelled trials of the target."""
        return self.labelled[self.target]

    @property
    def others(self) -> dict[str, Labelled]:
        """Return the labelled trials of all animals but the target."""
        return {name: animal for name, animal in self.labelled.items() if name != self.target}


def spread_out(values: Floats, classes: Codes, size: int) -> Floats:
    """Return ``values (class, ...)`` of some classes among those of all classes; NaN elsewhere."""
    full = np.full((size, *values.shape[1:]), np.nan)
    full[classes] = values
    return full


def balanced_accuracy(scores: Floats, answers: Codes, among: Codes | None = None) -> float:
    """Return the mean over classes of the share of trials with the highest score for their class, ``scores (trial, class)``.

    ``among``: classes that may be answered, all by default. A trial without any finite score counts as wrong.
    """
    right = right_trials(scores, answers, among)
    return float(np.mean([right[answers == code].mean() for code in np.unique(answers)]))


def right_trials(scores: Floats, answers: Codes, among: Codes | None = None) -> NDArray[np.bool_]:
    """Return which trials have the highest score for their class ``(trial,)``; a trial without a finite score is wrong."""
    allowed = scores if among is None else np.where(np.isin(np.arange(scores.shape[1]), among), scores, -np.inf)
    return np.asarray((allowed.argmax(axis=1) == answers) & np.isfinite(allowed.max(axis=1)))
