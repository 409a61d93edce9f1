"""Checks of summary lines."""

import math

WORDS = {  # field with words -> numbers that may be missing if the words give the reason
    "interval": ("value", "low", "high"),
    "null_kind": ("null_n", "floor", "floor_low", "floor_high", "p"),
    "chance_kind": ("chance",),
    "baseline": ("difference", "difference_low", "difference_high"),
}
TEXTS = ("what", "representation", "setting", "interval", "null_kind", "baseline")
COUNTS = ("n_animals", "n_trials", "n_windows", "n_splits")


def unexplained(score) -> list[str]:
    """Return the fields of a line that are empty or NaN without a reason; intervals over animals may be missing."""
    return unexplained_of_row(score.row())


def unexplained_of_row(row) -> list[str]:
    """Return the same of a row of ``summary.json``."""
    numbers = [number for words, numbers in WORDS.items() if "none: " not in row[words] for number in numbers]
    return [name for name in (*TEXTS, *COUNTS) if not row[name]] + [name for name in numbers if math.isnan(row[name])]
