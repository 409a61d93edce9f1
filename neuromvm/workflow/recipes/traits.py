"""What recipes read of recordings: animals, units, the label, its classes and trials, and the grid."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuromvm import schema
from neuromvm.data.describe import label_names
from neuromvm.data.loaders.labels import as_text
from neuromvm.data.numeric_labels import different_numbers, looks_continuous
from neuromvm.data.splits import sorted_by_label
from neuromvm.errors import SchemaError, SpecError, did_you_mean
from neuromvm.specs.yaml_text import short

FEWEST_TRIALS = 4  # of a class in an animal, to be used: two to train and two to test
MOST_VALUES = 60  # of a label that is proposed


@dataclass(frozen=True)
class Label:
    """A label of trials: ``counts`` holds the trials of each class of each animal, classes in order of their names."""

    name: str
    counts: Mapping[str, Counter[str]]
    values: Mapping[str, bool | int | float | str]  # class -> value in recordings
    sorted_animals: list[str]  # in which every class is one run of trials
    is_number: bool
    is_continuous: bool

    @property
    def classes(self) -> list[str]:
        """Classes that enough animals have often enough: two of them, or the only one."""
        least = min(2, len(self.counts))
        frequent = Counter(name for counts in self.counts.values() for name, trials in counts.items() if trials >= FEWEST_TRIALS)
        return [name for name in self.values if frequent[name] >= least]

    @property
    def rare(self) -> list[str]:
        """Classes that are not used, see :attr:`classes`."""
        return [name for name in self.values if name not in self.classes]

    @property
    def trials(self) -> list[int]:
        """Trials of each used class of each animal that has some, ascending."""
        classes = self.classes
        return sorted(counts[name] for counts in self.counts.values() for name in classes if counts[name] >= FEWEST_TRIALS)


class Window(NamedTuple):
    """Whole bins of ``bin_width``, from ``start`` to ``stop`` [s, or units of position]."""

    start: float
    stop: float
    bin_width: float

    @property
    def bins(self) -> int:
        """Number of bins."""
        return round((self.stop - self.start) / self.bin_width)


@dataclass(frozen=True)
class Traits:
    """Traits of recordings; ``window`` is the whole grid."""

    animals: list[str]
    units: list[int]
    label: Label
    other_labels: list[str]
    grid: str  # time or position
    window: Window

    @property
    def usual_units(self) -> int:
        """Median number of units of an animal."""
        return round(median(self.units))

    @property
    def fewest_trials(self) -> int:
        """Fewest trials of a used class in an animal."""
        return self.label.trials[0]

    @property
    def usual_trials(self) -> int:
        """Median number of trials of a used class in an animal."""
        return round(median(self.label.trials))


def read_traits(recordings: xr.DataTree, label: str | None = None) -> Traits:
    """Return the traits of recordings.

    ``label`` is what is to be decoded; by default the first label that has 2 to 60 classes with four trials or more in two
    animals, labels of true and false last. SpecError is raised if there is no such label, or it has fewer than two such classes.
    """
    animals = dict(schema.animals(recordings))
    first = next(iter(animals.values()))
    grid = first[schema.grid_dim(first)]
    width = float(grid.attrs["bin_width"])
    names = [name for name in label_names(first) if all(name in dataset.coords for dataset in animals.values())]
    labels = {name: _label(name, animals) for name in names}
    chosen = _choose(labels, label)
    return Traits(
        animals=list(animals),
        units=sorted(schema.activity(dataset).sizes["unit"] for dataset in animals.values()),
        label=labels[chosen],
        other_labels=[name for name in names if name != chosen],
        grid=str(grid.name),
        window=Window(short(float(grid[0]) - width / 2), short(float(grid[-1]) + width / 2), width),
    )


def _choose(labels: Mapping[str, Label], name: str | None) -> str:
    if name is not None:
        if name not in labels:
            raise SpecError("--label", found=f"no trial label {name!r}", next_step=did_you_mean(name, sorted(labels)))
        if len(labels[name].classes) < 2:
            raise SpecError(
                f"label {name!r}",
                found=f"{len(labels[name].classes)} classes with {FEWEST_TRIALS} trials or more in two animals",
                expected="two at least",
                next_step="Choose another label, or look at the numbers of trials: neuromvm data describe",
            )
        return name
    suited = [label for label in labels.values() if not label.is_continuous and 2 <= len(label.classes) <= MOST_VALUES]
    if not suited:
        raise SchemaError(
            "recordings",
            found=f"no label with {FEWEST_TRIALS} trials or more of two classes among: {', '.join(labels) or 'none'}",
            expected="labels of trials, trials.labels of the data spec",
            next_step="neuromvm data describe shows the labels; continuous ones are for the analysis continuous",
        )
    return min(suited, key=lambda label: _is_truth(label.values)).name  # the first of those that tie


def _is_truth(values: Mapping[str, object]) -> bool:
    return all(isinstance(value, bool) for value in values.values())


def _label(name: str, animals: Mapping[str, xr.Dataset]) -> Label:
    texts = {animal: as_text(dataset[name].to_numpy()) for animal, dataset in animals.items()}
    counts = {animal: Counter(text for text in values.tolist() if text) for animal, values in texts.items()}
    values = {text: value for dataset in animals.values() for text, value in _values(dataset[name].to_numpy()).items()}
    numbers = np.unique(np.concatenate([different_numbers(dataset[name].to_numpy()) for dataset in animals.values()]))
    is_number = len(numbers) > 0 and len(numbers) == len(values)
    return Label(
        name,
        counts,
        {text: values[text] for text in _in_order(list(values))},
        [animal for animal, dataset in animals.items() if _is_sorted(dataset, texts[animal])],
        is_number,
        is_number and any(looks_continuous(dataset[name].to_numpy()) for dataset in animals.values()),
    )


def _values(values: NDArray[np.generic]) -> dict[str, bool | int | float | str]:
    """Return the values of a label by their text; whole numbers are int, missing ones are left out."""
    texts = as_text(values)
    unique, rows = np.unique(texts, return_index=True)
    plain = {}
    for text, row in zip(unique.tolist(), rows.tolist(), strict=True):
        value = values[row].item() if hasattr(values[row], "item") else values[row]
        if text:
            plain[text] = int(value) if isinstance(value, float) and value.is_integer() else value
    return plain


def _in_order(texts: Sequence[str]) -> list[str]:
    """Return texts by size if all are numbers, else by name."""
    try:
        return sorted(texts, key=float)
    except ValueError:
        return sorted(texts)


def _is_sorted(dataset: xr.Dataset, texts: NDArray[np.str_]) -> bool:
    codes = np.unique(texts, return_inverse=True)[1].reshape(-1)
    codes = np.where(texts == "", -1, codes)
    return sorted_by_label(codes[schema.time_order(dataset)])
