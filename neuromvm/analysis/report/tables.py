"""Tables of the report, and the format of numbers."""

import math
from typing import NamedTuple

import pandas as pd

NONE = "–"


class Table(NamedTuple):
    """A table with text in every cell."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]  # columns to align right
    best: frozenset[int] = frozenset()  # rows to mark

    @classmethod
    def of(cls, caption: str, frame: pd.DataFrame) -> "Table":
        """Convert a data frame, without its index."""
        numeric = [bool(kind.kind in "iuf") for kind in frame.dtypes]
        rows = [[cell(value) for value in row] for row in frame.itertuples(index=False)]
        return cls(caption, [str(name) for name in frame.columns], rows, numeric)


def cell(value: object) -> str:
    """Format a value of any type."""
    if isinstance(value, float):
        return number(value)
    return NONE if value is None or value == "" else str(value)


def number(value: float | None, signed: bool = False) -> str:
    """Format a number with three to four digits and a minus sign in place of a hyphen.

    >>> number(0.18933), number(-0.1, signed=True), number(1234.5), number(-0.0001), number(None)
    ('0.189', '−0.100', '1,234', '0.000', '–')
    >>> number(-0.0001, signed=True)
    '0.000'
    """
    if value is None or not math.isfinite(value):
        return NONE
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:{'+' if signed else ''}z,.{digits}f}".replace("-", "−")
    return text if any(digit in "123456789" for digit in text) else text.lstrip("+")


def interval(value: float | None, low: float | None, high: float | None, signed: bool = False) -> str:
    """Format ``value [low, high]``, or the value alone where there is no interval.

    >>> interval(0.189, 0.163, 0.218)
    '0.189 [0.163, 0.218]'
    """
    text = number(value, signed)
    if NONE in (number(low), number(high)):
        return text
    return f"{text} [{number(low, signed)}, {number(high, signed)}]"


def between(low: float | None, high: float | None) -> str:
    """Format an interval; '' if there is none.

    >>> between(0.163, 0.218), between(None, None)
    ('[0.163, 0.218]', '')
    """
    return "" if NONE in (number(low), number(high)) else f"[{number(low)}, {number(high)}]"
