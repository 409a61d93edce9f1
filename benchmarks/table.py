"""Measured pairs as a table in Markdown."""

from collections.abc import Sequence

import numpy as np

from benchmarks.pairs import Measured

COLUMNS = ("pair", "threads", "ours", "against", "ratio", "10 to 90 %", "aim", "MB, ours", "MB, other")
HOW = (
    "Each pair is measured alternately, each side in a process of its own. Times are medians; the ratio is the median over "
    "repeats of our time to the other's, so below 1 (1/8: eight times faster) ours is quicker; 10 to 90 % of them lie between "
    "the next two numbers. MB: memory of the whole process with its libraries, when it was ready and at its peak."
)


def row(measured: Measured) -> list[str]:
    """Return one measured pair as text, in the order of ``COLUMNS``."""
    pair, ratios = measured.pair, measured.ratios
    low, high = np.quantile(ratios, [0.1, 0.9])
    return [
        pair.name,
        str(pair.threads) if pair.reference_threads is None else f"{pair.threads}, other {pair.reference_threads}",
        f"{pair.ours.name}: {duration(float(np.median(measured.ours)))} {pair.unit}",
        f"{pair.reference.name}: {duration(float(np.median(measured.reference)))}",
        ratio(float(np.median(ratios))),
        f"{ratio(float(low))} to {ratio(float(high))}",
        "" if pair.aim is None else f"at most {ratio(pair.aim)}: {'met' if np.median(ratios) <= pair.aim else 'missed'}",
        _memory(measured.ours_memory),
        _memory(measured.reference_memory),
    ]


def markdown(measured: Sequence[Measured], header: str, left_out: Sequence[str]) -> str:
    """Return table and notes as Markdown: what was compared between the sides of each pair, and remarks of sides."""
    lines = [header, "", HOW, "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(row(result))} |" for result in measured]
    lines += ["", "What both sides were checked to have in common:", ""]
    lines += [f"- {result.pair.name}: {'; '.join(filter(None, (result.pair.agreement, result.remark)))}" for result in measured]
    if left_out:
        lines += ["", "Left out:", "", *(f"- {line}" for line in left_out)]
    return "\n".join(lines) + "\n"


def ratio(value: float) -> str:
    """Return a ratio of times in words of speed.

    Examples
    --------
    >>> ratio(1.25), ratio(0.125)
    ('1.25', '1/8')
    """
    return f"{value:.3g}" if value >= 1 else f"1/{1 / value:.3g}"


def duration(seconds: float) -> str:
    """Return seconds in a unit that suits them.

    Examples
    --------
    >>> duration(0.0123), duration(2.5)
    ('12.3 ms', '2.5 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _memory(ready_and_peak: tuple[float, float]) -> str:
    ready, peak = ready_and_peak
    return f"{ready:.0f} → {peak:.0f}"
