"""How names and numbers are written in captions, legends and tables."""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

SHORTEST = 3  # characters of a common beginning that is worth leaving out


def shortened(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the common beginning of names and the names without it; '' and the names if it is too short to leave out.

    Numbers are not cut, and no name becomes empty.

    Examples
    --------
    >>> shortened(["plCoA_15-exp10", "plCoA_15-exp12"])
    ('plCoA_15-exp', ['10', '12'])
    >>> shortened(["rat", "rat2"]), shortened(["barat", "buchanan"])
    (('', ['rat', 'rat2']), ('', ['barat', 'buchanan']))
    """
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    prefix = re.sub(r"[\d.]+$", "", "".join(letter for letter, _ in pairs))
    if len(prefix) < SHORTEST or prefix in names:
        return "", list(names)
    return prefix, [name.removeprefix(prefix) for name in names]


def without_prefix(prefix: str) -> str:
    """Return the sentence of a caption about names that are :func:`shortened`; '' if they are not."""
    return f" Names of animals without their common beginning, {prefix}." if prefix else ""


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
    """Format the range of a number that may differ, e.g. between splits.

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
    """Return numbers of animals, trials, windows and splits of scores with ``trials (target)`` and attributes windows, splits."""
    return (
        f"Animals: {scores.sizes['target']}; {tested_trials(scores.attrs)}: {int(scores['trials'].sum())}; "
        f"windows of a trial: {scores.attrs['windows']}; splits: {scores.attrs['splits']}"
    )


def counted(values: int | Sequence[int], noun: str) -> str:
    """Format a number, or a :func:`span` of numbers, with a noun, in the plural unless the number is 1.

    Examples
    --------
    >>> counted(1, "animal"), counted([1, 3], "test trial")
    ('1 animal', '1 to 3 test trials')
    """
    number = span([values] if isinstance(values, int) else values)
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Write names as an enumeration; beyond ``most`` names, the number of the remaining names.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
    ('a, b and c', 'a, b and 1 more')
    """
    names = list(names) if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
