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
    """Return the common beginning of names and the names without it; '' and the names if it is too short to leave out.

    Numbers are not cut, and no name becomes empty.
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
    """Sort names, numbers in them by size: ``odor_2`` before ``odor_10``."""

    def parts(name: str) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]

    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names, key=parts)


def brief(name: str, most: int = 28) -> str:
    """Cut a name that is too long for a legend.

    >>> brief("A very long name of an odor in mineral oil"), brief("limonene")
    ('A very long name of an odor…', 'limonene')
    """
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def signed(value: float, digits: int = 2) -> str:
    """Format a difference with its sign; what rounds to 0 has none.

    >>> signed(0.123), signed(-0.5), signed(-0.001)
    ('+0.12', '−0.50', '0.00')
    """
    text = f"{value:+z.{digits}f}".replace("-", "−")
    return text if any(digit in "123456789" for digit in text) else text.lstrip("+−")


def span(values: Sequence[int]) -> str:
    """Format the range of a number that may differ, e.g. between splits: ``75``, or ``70 to 75``."""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def tested_trials(attrs: Mapping[str, object]) -> str:
    """Name the trials that scores are of, from the attributes of saved scores."""
    return "trials fitted and scored" if attrs.get("in_sample") else "test trials"


def numbers_of(scores: "xr.Dataset") -> str:
    """Write n of animals, trials, windows and splits of scores with ``trials (target)`` and attributes windows, splits."""
    trials = scores["trials"].drop_sel(target=ALL_ANIMALS, errors="ignore")
    return (
        f"Animals: {trials.sizes['target']}; {tested_trials(scores.attrs)}: {int(trials.sum())}; "
        f"windows of a trial: {scores.attrs['windows']}; splits: {scores.attrs['splits']}"
    )


def counted(values: int | Sequence[int], noun: str) -> str:
    """Format a number, or a :func:`span` of numbers, with a noun, in the plural unless the number is 1."""
    number = span([values] if isinstance(values, int) else values)
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Write names as an enumeration; beyond ``most`` names, the number of the remaining names."""
    names = list(names) if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
