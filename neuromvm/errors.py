"""Typed errors with the place of a mistake, the value found, the value expected and the next step."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from functools import partial

LONGEST_PART = 800  # [characters] of a part of a message
MOST_COMPARED = 5_000  # names that a misspelled one is compared with


class NeuromvmError(Exception):
    """Base of every error that a user can correct; the command line prints it as one paragraph and exits with 2.

    Parameters
    ----------
    where
        File, table, column or setting that is wrong.
    found
        Its value.
    expected
        A correct value.
    next_step
        How to correct it.

    Parts are printable text of one line; the middle of a long one is cut.
    """

    def __init__(self, where: str, *, found: str, expected: str = "", next_step: str = "") -> None:
        self.where, self.found, self.expected, self.next_step = map(shortened, (where, found, expected, next_step))
        sentences = [f"{self.where}: {self.found}"]
        if expected:
            sentences.append(f"Expected {self.expected}")
        if next_step:
            sentences.append(self.next_step)
        super().__init__(" ".join(sentence.rstrip(".") + "." for sentence in sentences))

    def __reduce__(self) -> tuple[object, ...]:
        """Make the error picklable, so that processes of a pool can raise it."""
        return partial(type(self), found=self.found, expected=self.expected, next_step=self.next_step), (self.where,)


class SpecError(NeuromvmError):
    """A YAML file or a `--set` value is not a valid spec."""


class DataFormatError(NeuromvmError):
    """A recording cannot be read: missing, damaged, or not in the format its spec says."""


class MissingTableError(DataFormatError):
    """A recording lacks a table, column or series that its spec names."""


class SchemaError(NeuromvmError):
    """A tree of recordings, splits or latents has wrong dims, names or types."""


class AlignmentError(NeuromvmError):
    """Events and activity do not share a clock, or windows lie outside the recording."""


class SplitError(NeuromvmError):
    """A split would leak, leave a class untrained, or confound time with the label."""


class ShapeError(NeuromvmError):
    """Arrays or tensors have dims that do not match."""


class TrainingError(NeuromvmError):
    """Training cannot continue (a loss that is not finite, a device that is absent)."""


class CompilerError(TrainingError):
    """A step cannot be compiled on this machine, whatever it is trained on."""


class RunFolderError(NeuromvmError):
    """A run folder is incomplete, damaged, of another version, or would be overwritten."""


class ArgumentError(NeuromvmError, TypeError):
    """A function was called with an argument of the wrong type."""


def expect(value: object, kind: type, name: str, make: str) -> None:
    """Raise ArgumentError unless the argument ``name`` has the expected type; ``make`` says how to make one.

    >>> expect(3, int, "bins", "count them")
    """
    if not isinstance(value, kind):
        raise ArgumentError(
            f"argument {name!r}", found=f"a {type(value).__name__}", expected=f"a {kind.__name__}", next_step=make
        )


def expect_choice(value: object, known: Collection[str], name: str) -> None:
    """Raise ArgumentError unless the argument ``name`` is one of the known words.

    >>> expect_choice("rates", ["counts", "rates"], "kind")
    """
    if not isinstance(value, str) or value not in known:
        raise ArgumentError(f"argument {name!r}", found=repr(value), expected=f"one of {', '.join(known)}")


def shortened(text: str, longest: int = LONGEST_PART) -> str:
    """Return text on one line of printable characters, without its middle if it is too long.

    >>> shortened("a" * 100, 11)
    'aaaaaa...aa'
    """
    if len(text) > longest:
        end = (longest - 3) // 3
        text = f"{text[: longest - 3 - end]}...{text[-end:]}"
    printable = "".join(character if character.isprintable() else "\n" for character in text)
    return re.sub("\n+", " ", printable)


def did_you_mean(name: str, known: list[str]) -> str:
    """Return "There are: ...", preceded by the nearest spelling if there is one.

    >>> did_you_mean("odour", ["odor", "position"])
    "Did you mean 'odor'? There are: odor, position"
    """
    close = get_close_matches(name[:100], known[:MOST_COMPARED], n=1)
    listed = f"There are: {', '.join(known)}" if known else "There are none"
    return f"Did you mean '{close[0]}'? {listed}" if close else listed
