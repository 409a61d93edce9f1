"""Numbers that move while training goes on."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(value: float) -> Schedule:
    """Return the value at any progress (0 at the start of training, 1 at its end)."""
    return lambda progress: value


def linear(start: float, stop: float, until: float = 1.0) -> Schedule:
    """Move in a straight line from start to stop, which is reached at the share ``until`` of training.

    Examples
    --------
    >>> [linear(1.0, 0.0, until=0.5)(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    return lambda progress: start + (stop - start) * min(progress / until, 1.0)


def cosine(start: float, stop: float, until: float = 1.0) -> Schedule:
    """Move along half a cosine, slow at both ends.

    Examples
    --------
    >>> [round(cosine(1.0, 0.0)(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.854, 0.5, 0.0]
    """
    return lambda progress: stop + (start - stop) * 0.5 * (1 + math.cos(math.pi * min(progress / until, 1.0)))
