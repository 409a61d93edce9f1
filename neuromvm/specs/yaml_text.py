"""YAML text of settings with the reason of each in a comment above it."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

WIDTH = 110
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.-]*")
RESERVED = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"}


class Setting(NamedTuple):
    """A setting as YAML, ``value`` on its line, and why it has this value; ``inner`` are the settings of a group."""

    name: str
    value: str = ""
    why: str = ""
    inner: Sequence["Setting"] = ()


def yaml_of(settings: Iterable[Setting], indent: int = 0) -> list[str]:
    """Return the lines of settings.

    >>> yaml_of([Setting("samples", inner=[Setting("start", "0", "at the event [s]")])])
    ['samples:', '  # at the event [s]', '  start: 0']
    """
    lines = []
    for setting in settings:
        if setting.why:
            lines += comment(setting.why, indent)
        lines.append(f"{' ' * indent}{setting.name}:{f' {setting.value}' if setting.value else ''}")
        lines += yaml_of(setting.inner, indent + 2)
    return lines


def comment(words: str, indent: int = 0, *, width: int = WIDTH, hanging: str = "") -> list[str]:
    """Return the lines of a comment; nothing in it can end it. Later lines begin with ``hanging``, below the first letter."""
    printable = "".join(letter if letter.isprintable() else " " for letter in words)
    text = printable.lstrip()
    begin = f"{' ' * indent}# {printable[: len(printable) - len(text)]}"
    return textwrap.wrap(text, width, initial_indent=begin, subsequent_indent=begin + hanging, break_on_hyphens=False)


def scalar(value: bool | int | float | str) -> str:
    """Return a value as a YAML scalar, text in quotes where it could be read as something else.

    >>> scalar("A"), scalar("yes"), scalar(True), scalar(0.25), scalar("1: #")
    ('A', '"yes"', 'true', '0.25', '"1: #"')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.9g}"
    if PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    letters = (letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}" for letter in value)
    return f'"{"".join(letters)}"'


def listed(values: Iterable[bool | int | float | str]) -> str:
    """Return values as a YAML list in a line."""
    return f"[{', '.join(map(scalar, values))}]"


def short(number: float) -> float:
    """Return a number of at most nine digits, without a negative zero.

    >>> short(0.1 + 0.2), short(-0.0)
    (0.3, 0.0)
    """
    return float(f"{number:.9g}") + 0.0
