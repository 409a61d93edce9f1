"""Short descriptions of objects for notebooks: escaped HTML in the colors of the page, light or dark."""

from collections.abc import Mapping
from html import escape

import pandas as pd

MOST_ROWS = 8  # of a table, before the rest is folded
BOX = "border:1px solid currentColor;border-radius:4px;padding:0.4em 0.8em;margin:0.2em 0;display:inline-block;max-width:100%"
CELL = "text-align:left;padding:0.1em 0.8em 0.1em 0;vertical-align:top;max-width:40em;overflow-wrap:anywhere"


def card(title: str, facts: Mapping[str, object], table: pd.DataFrame | None = None) -> str:
    """Return HTML with a title, facts by name, and a table whose later rows are folded.

    Examples
    --------
    >>> card("Splits <2>", {"kind": "halves"}).count("&lt;2&gt;")
    1
    """
    lines = "".join(f'<div><span style="opacity:0.65">{_text(name)}:</span> {_text(fact)}</div>' for name, fact in facts.items())
    content = f"<div><strong>{_text(title)}</strong></div>{lines}"
    if table is not None and len(table):
        content += _table(table.iloc[:MOST_ROWS])
        if len(table) > MOST_ROWS:
            content += f"<details><summary>{len(table) - MOST_ROWS} more</summary>{_table(table.iloc[MOST_ROWS:])}</details>"
    return f'<div style="{BOX};color:inherit;background:transparent;overflow-x:auto">{content}</div>'


def _table(table: pd.DataFrame) -> str:
    head = "".join(f'<th style="{CELL}">{_text(name)}</th>' for name in table.columns)
    cells = [[f'<td style="{CELL}">{_text(value)}</td>' for value in row] for row in table.itertuples(index=False)]
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    look = "border-collapse:collapse;background:transparent;color:inherit;font-size:0.92em;margin-top:0.3em"
    return f'<table style="{look}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _text(value: object) -> str:
    """Escape a value; numbers get three digits."""
    return escape(f"{value:z.3g}" if isinstance(value, float) else str(value))
