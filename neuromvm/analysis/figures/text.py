"""How names and numbers are written in captions, legends and tables."""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from neuromvm.analysis.judged import ALL_ANIMALS

if TYPE_CHECKING:
    import xarray as xr

SHORTEST = 3  # characters of a common beginning that is worth leaving out


def shortened(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the beginning that all names share, and the names without it; '' and the names where leaving it out would harm.

    Numbers stay whole, and every name keeps something.

    Examples
    --------
    >>> shortened(["plCoA_15-exp10", "plCoA_15-exp12"])
    ('plCoA_15-exp', ['10', '12'])
    >>> shortened(["rat", "rat2"]), shortened(["barat", "buchanan"])
    (('', ['rat', 'rat2']), ('', ['barat', 'buchanan']))
    """
    pairs = zip(min(names), max(names), strict=False)
    prefix = re.sub(r"[\d.]+$", "", "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    if len(prefix) < SHORTEST or prefix in names:
        return "", list(names)
    return prefix, [name.removeprefix(prefix) for name in names]


def ordered(names: Sequence[str]) -> list[str]:
    """Sort names, numbers in them by size.

    Examples
    --------
    >>> ordered(["odor_10", "odor_2", "air"]), ordered(["1.5", "-2", "10"])
    (['air', 'odor_2', 'odor_10'], ['-2', '1.5', '10'])
    """
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names, key=_parts)


def _parts(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def span(values: Sequence[int]) -> str:
    """Write a number that may differ, e.g. between splits.

    Examples
    --------
    >>> span([75, 75]), span([70, 75, 72])
    ('75', '70 to 75')
    """
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def tested_trials(attrs: Mapping[str, object]) -> str:
    """Name the trials that scores are of, from the attributes of saved scores.

    Examples
    --------
    >>> tested_trials({}), tested_trials({"in_sample": 1})
    ('test trials', 'trials fitted and scored')
    """
    return "trials fitted and scored" if attrs.get("in_sample") else "test trials"


def numbers_of(scores: "xr.Dataset") -> str:
    """Write n of animals, trials, windows and splits of scores with ``trials (target)`` and attributes windows, splits."""
    trials = scores["trials"].drop_sel(target=ALL_ANIMALS, errors="ignore")
    return (
        f"Animals: {trials.sizes['target']}; {tested_trials(scores.attrs)}: {int(trials.sum())}; "
        f"windows of a trial: {scores.attrs['windows']}; splits: {scores.attrs['splits']}"
    )


def counted(values: int | Sequence[int], noun: str) -> str:
    """Write a number, or a :func:`span` of numbers, of things; the noun takes an s unless there is one.

    Examples
    --------
    >>> counted(1, "animal"), counted([1, 3], "test trial")
    ('1 animal', '1 to 3 test trials')
    """
    number = span([values] if isinstance(values, int) else values)
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"
