"""Typed errors. Each says where, what was found, what was expected and the next step."""

from difflib import get_close_matches
from functools import partial


class NeuromvmError(Exception):
    """Base of every error that a user can mend; the command line prints it as one paragraph and exits with 2.

    Parameters
    ----------
    where
        File, table, column or setting that is wrong.
    found
        What is there.
    expected
        What should be there.
    next_step
        What to do about it.
    """

    def __init__(self, where: str, *, found: str, expected: str = "", next_step: str = "") -> None:
        self.where, self.found, self.expected, self.next_step = where, found, expected, next_step
        sentences = [f"{where}: {found}"]
        if expected:
            sentences.append(f"Expected {expected}")
        if next_step:
            sentences.append(next_step)
        super().__init__(" ".join(sentence.rstrip(".") + "." for sentence in sentences))

    def __reduce__(self) -> tuple[object, ...]:
        """Let it cross from a process of a pool to the one that waits for it."""
        return partial(type(self), found=self.found, expected=self.expected, next_step=self.next_step), (self.where,)


class SpecError(NeuromvmError):
    """A YAML file or a `--set` value does not describe what it should."""


class DataFormatError(NeuromvmError):
    """A recording cannot be read: missing, damaged, or not in the format its spec says."""


class MissingTableError(DataFormatError):
    """A recording lacks a table, column or series that its spec names."""


class SchemaError(NeuromvmError):
    """A tree of recordings, splits or latents does not have the promised dims, names or types."""


class AlignmentError(NeuromvmError):
    """Events and activity do not share a clock, or windows lie outside the recording."""


class SplitError(NeuromvmError):
    """A split would leak, leave a class untrained, or confound time with the label."""


class ShapeError(NeuromvmError):
    """Arrays or tensors whose dims do not fit together."""


class TrainingError(NeuromvmError):
    """Training cannot go on (a loss that is not finite, a device that is absent)."""


class CompilerError(TrainingError):
    """A step cannot be compiled on this machine, whatever it is trained on."""


class RunFolderError(NeuromvmError):
    """A run folder is incomplete, damaged, of another version, or would be overwritten."""


class ArgumentError(NeuromvmError, TypeError):
    """A function was given something of another kind than it takes."""


def expect(value: object, kind: type, name: str, make: str) -> None:
    """Raise ArgumentError unless an argument is of the kind it should be.

    Parameters
    ----------
    value
        The argument.
    kind
        What it should be.
    name
        Its name.
    make
        How to make one.

    Examples
    --------
    >>> expect(3, int, "bins", "count them")
    """
    if not isinstance(value, kind):
        raise ArgumentError(
            f"argument {name!r}", found=f"a {type(value).__name__}", expected=f"a {kind.__name__}", next_step=make
        )


def did_you_mean(name: str, known: list[str]) -> str:
    """Return "The choices are: ...", preceded by the nearest spelling if there is one.

    Examples
    --------
    >>> did_you_mean("odour", ["odor", "position"])
    "Did you mean 'odor'? There are: odor, position"
    """
    close = get_close_matches(name, known, n=1)
    listed = f"There are: {', '.join(known)}" if known else "There are none"
    return f"Did you mean '{close[0]}'? {listed}" if close else listed
