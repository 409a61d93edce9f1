"""What commands print: scores as tables, and the verdict of a run."""

from typing import TYPE_CHECKING

import typer

from neuromvm.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

    from neuromvm.folders.study import Study


def print_scores(study: "Study", only: str | None = None) -> None:
    """Print the scores of all analyses of a run, or of one of them; SpecError if it has none."""
    import pandas as pd

    analyses = study.summary["analyses"]
    if only is not None and only not in analyses:
        raise SpecError(f"analysis {only!r}", found="no scores in this run")
    for name, entry in analyses.items():
        if only in (None, name) and entry["scores"]:
            scores = pd.DataFrame(entry["scores"])
            print_table(_brief(scores), name)
            for column, title in (("interval", "interval"), ("null_kind", "null")):
                for description in dict.fromkeys(scores.get(column, pd.Series(dtype=str))):
                    if description:
                        typer.echo(f"  {title}: {description}")


def print_verdict(study: "Study") -> None:
    """Print the answers to the questions of the verdict, in their order."""
    from neuromvm.analysis.verdict import QUESTIONS

    for name, claim in study.summary["verdict"].items():
        typer.secho(f"{QUESTIONS[name]} {claim['answer']}", bold=True)
        typer.echo(f"  {claim['sentence']}")


def _brief(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return the columns of scores that fit a line; ``--json`` prints all."""
    import pandas as pd

    table = scores[["what", "representation", "setting"]].copy()
    columns = {
        "score [95 %]": ("value", "low", "high"),
        "over animals": (None, "animals_low", "animals_high"),
        "null [95 %]": ("floor", "floor_low", "floor_high"),
        "difference [95 %]": ("difference", "difference_low", "difference_high"),
        "over animals ": (None, "difference_animals_low", "difference_animals_high"),
    }
    for title, (value, low, high) in columns.items():
        if low in scores:
            values = scores[value] if value else pd.Series("", scores.index)
            table[title] = [_with_interval(*row) for row in zip(values, scores[low], scores[high], strict=True)]
    if "baseline" in scores:
        table["to"] = scores["baseline"].where(scores["difference"].notna(), "")
    table[["p", "chance"]] = scores[["p", "chance"]]
    counts = {"n_animals": "animals", "n_trials": "trials", "n_windows": "windows", "n_splits": "splits", "null_n": "null n"}
    table = pd.concat([table, scores[[column for column in counts if column in scores]].rename(columns=counts)], axis=1)
    return table.loc[:, [bool((table[column].astype(str) != "").any()) for column in table.columns]]


def _with_interval(value: float | str | None, low: float | None, high: float | None) -> str:
    def text(number: float | str | None) -> str:
        return f"{number:.3f}" if isinstance(number, float) and number == number else ""

    return f"{text(value)} [{text(low)}, {text(high)}]".strip() if text(low) else text(value)


def print_table(table: "pd.DataFrame", title: str) -> None:
    """Print a table with lines, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    printed = Table(title=title, title_justify="left")
    for column in table.columns:
        printed.add_column(str(column), overflow="fold", justify="right" if table[column].dtype.kind in "fiu" else "left")
    for _, row in table.iterrows():
        printed.add_row(*map(_cell, row))
    # A pipe has no width: use a fixed one that holds whole tables, for grep and for logs.
    Console(width=None if Console().is_terminal else 200).print(printed)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}"
    return "" if value is None else str(value)
