"""The scores of an analysis as a short table: a line for each method, a column for each setting."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

SETTINGS: Mapping[str, Mapping[str, str]] = {  # analysis -> setting -> title of its column
    "decoding": {"within": "within", "cross": "cross", "others": "others", "pooled": "pooled"},
    "sharing": {"among held-out conditions": "held out", "among all conditions": "among all"},
}
COMPARED = {"decoding": "cross", "sharing": "among held-out conditions"}  # setting whose difference to the reference is shown
LEVEL = 0.05


def short_table(analysis: str, lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a line for each method: its scores, its difference to the reference in one setting, and p.

    Parameters
    ----------
    analysis
        One of :data:`SETTINGS`.
    lines
        The scores of the analysis in ``summary.json``.

    Returns
    -------
    Columns are ``method``, a column for each setting, ``less <reference>`` with its interval, and ``p``: the largest p-value of
    the scores in the line. A column without any value is left out.

    Examples
    --------
    >>> score = {"representation": "mmvm", "setting": "within", "value": 0.8312, "p": 0.0005, "null_n": 1999}
    >>> short_table("decoding", [score]).to_dict("records")
    [{'method': 'mmvm', 'within': '.831', 'p': '< .001'}]
    """
    titles, compared, table = SETTINGS[analysis], COMPARED[analysis], []
    shown = [line for line in lines if line["setting"] in titles]
    reference = next((line["baseline"] for line in shown if is_number(line.get("difference"))), "")
    difference = f"{titles[compared]} less {reference}"
    for method in dict.fromkeys(line["representation"] for line in shown):
        scores = {line["setting"]: line for line in shown if line["representation"] == method}
        row = {title: decimal(scores[setting]["value"]) for setting, title in titles.items() if setting in scores}
        row[difference] = _difference(scores.get(compared, {}))
        p = [line["p"] for line in scores.values() if is_number(line.get("p"))]
        table.append({"method": method, **row, "p": p_text(max(p)) if p else ""})
    columns = ["method", *titles.values(), difference, "p"]
    complete = pd.DataFrame(table, columns=columns).fillna("")
    return complete.loc[:, [bool((complete[column] != "").any()) for column in columns]]


def is_number(value: object) -> bool:
    """Whether a value of a score is a number that is known: neither absent, nor text, nor NaN."""
    return isinstance(value, int | float) and value == value


def decimal(value: object, sign: str = "") -> str:
    """Write a number to three decimals without its leading zero, '' if it is not known.

    >>> decimal(0.8312), decimal(-0.0003, "+"), decimal(1.0), decimal(None)
    ('.831', '.000', '1.000', '')
    """
    if not is_number(value):
        return ""
    rounded = round(float(value), 3) + 0.0  # type: ignore[arg-type]  # + 0.0: no -0
    return f"{rounded:{sign if rounded else ''}.3f}".replace("0.", ".", 1) if abs(rounded) < 1 else f"{rounded:{sign}.3f}"


def p_text(p: float) -> str:
    """Write a p-value as it is printed.

    >>> p_text(0.0005), p_text(0.012), p_text(0.25)
    ('< .001', '.012', '.250')
    """
    return "< .001" if p < 0.001 else decimal(p)


def too_few_null_data(lines: Sequence[Mapping[str, Any]]) -> str:
    """Warn if a null has so few data sets that no score can reach the level .05; '' otherwise.

    >>> too_few_null_data([{"p": 0.1667, "null_n": 5}])
    '5 null data sets allow no p below .167; at least 19 are needed for .05.'
    """
    counts = [int(line["null_n"]) for line in lines if is_number(line.get("p")) and line.get("null_n")]
    fewest = min(counts, default=0)
    if not fewest or 1 / (fewest + 1) <= LEVEL:
        return ""
    needed = round(1 / LEVEL) - 1
    return f"{fewest} null data sets allow no p below {decimal(1 / (fewest + 1))}; at least {needed} are needed for .05."


def _difference(line: Mapping[str, Any]) -> str:
    """Write the difference of a score to the reference with its interval, over animals where there is one."""
    if not is_number(line.get("difference")):
        return ""
    over = "difference_animals" if is_number(line.get("difference_animals_low")) else "difference"
    low, high = line[f"{over}_low"], line[f"{over}_high"]
    return f"{decimal(line['difference'], '+')} [{decimal(low, '+')}, {decimal(high, '+')}]"
