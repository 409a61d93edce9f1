"""Labels that are numbers, and whether they look like a continuous quantity rather than classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 20  # different numbers above which a label looks continuous


def as_numbers(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return the values of a label as numbers, '' as NaN; None if they are no numbers (text, or true and false).

    Examples
    --------
    >>> as_numbers(np.array(["1.5", ""])).tolist(), as_numbers(np.array(["A", "1"])), as_numbers(np.array([True]))
    ([1.5, nan], None, None)
    """
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if values.dtype.kind == "b":
        return None
    try:
        return np.array([np.nan if str(value) == "" else float(value) for value in values.tolist()])
    except (TypeError, ValueError):
        return None


def different_numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the different numbers of a label, ascending; none if it is no number."""
    numbers = as_numbers(values)
    return np.empty(0) if numbers is None else np.unique(numbers[np.isfinite(numbers)])


def looks_continuous(values: NDArray[Any]) -> bool:
    """Return whether a label has more than ``MOST_CLASSES`` different values and all are numbers.

    >>> looks_continuous(np.arange(30)), looks_continuous(np.arange(30) % 4)
    (True, False)
    """
    return len(different_numbers(values)) > MOST_CLASSES
