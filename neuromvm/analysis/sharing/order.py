"""Places of conditions along an order of the label, read from their names: position on a track, concentration of an odor."""

import re
from collections.abc import Sequence

import numpy as np

from neuromvm.analysis.readouts.representations import Floats

FAR = 1000.0  # between conditions that differ in words, in steps along the order: they tell nothing about each other
FEWEST = 3  # numbers that make an order
NUMBER = re.compile(r"-?\d+(?:\.\d+)?$")


def coordinates(conditions: Sequence[str]) -> Floats | None:
    """Return the place of each condition ``(condition, dimension)``, or None if their names hold no order.

    A part of a name (parts are joined by commas) that ends with a number has a place along an order, in steps between the numbers
    that occur; parts that differ in words are far from each other.

    Examples
    --------
    >>> coordinates(["left, 1", "left, 2", "left, 4", "right, 1"]).tolist()
    [[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1000.0, 0.0]]
    >>> coordinates(["odor A", "odor B"]) is None
    True
    """
    parts = [condition.split(", ") for condition in conditions]
    if len({len(part) for part in parts}) != 1:
        return None
    dimensions, ordered = [], False
    for column in zip(*parts, strict=True):
        numbers = [NUMBER.search(part) for part in column]
        words = [part[: number.start()] if number else part for part, number in zip(column, numbers, strict=True)]
        values = [float(number.group()) if number else 0.0 for number in numbers]
        if len(set(words)) > 1:
            dimensions.append([FAR * sorted(set(words)).index(word) for word in words])
        if len(set(values)) > 1:
            dimensions.append([float(sorted(set(values)).index(value)) for value in values])
        ordered |= len(set(values)) >= FEWEST
    return np.array(dimensions).T if ordered else None
