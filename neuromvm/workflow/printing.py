"""What commands print: scores as tables, and the verdict of a run."""

from typing import TYPE_CHECKING, Any

import typer

from neuromvm.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

    from neuromvm.folders.study import Study


def print_short(study: "Study", only: str | None = None) -> None:
    """Print a line for each method of the main analyses of a run, or of one analysis, as wide as 80 columns."""
    from neuromvm.analysis.score_table import SETTINGS

    longer = {}
    for name, entry in _analyses(study, only).items():
        if entry["scores"] and name in SETTINGS:
            _print_methods(name, entry["scores"])
        elif entry["scores"]:
            longer[name] = len(entry["scores"])
    if longer and only is not None:
        print_scores(study, only)
    elif longer:
        counts = ", ".join(f"{name} {count}" for name, count in longer.items())
        typer.echo(f"More scores ({counts}): neuromvm scores {study.path} --all")


def _print_methods(analysis: str, lines: list[dict[str, Any]]) -> None:
    """Print a line for each method, what p stands for, and a warning if there are too few null data sets."""
    from neuromvm.analysis.score_table import SETTINGS, short_table, too_few_null_data

    shown = [line for line in lines if line["setting"] in SETTINGS[analysis]]
    counts = f"{lines[0]['n_animals']} animals, {lines[0]['n_trials']} trials, {lines[0]['n_splits']} splits"
    chances = " and ".join(dict.fromkeys(f"{line['chance']:.3g}" for line in shown))
    print_table(short_table(analysis, lines), f"{analysis}: {lines[0]['what']}; {counts}; chance {chances}")
    for null in dict.fromkeys(line["null_kind"] for line in shown if line.get("p") is not None):
        typer.echo(f"p: {null}")
    if warning := too_few_null_data(shown):
        typer.secho(f"Warning: {warning}", fg="yellow")


def _analyses(study: "Study", only: str | None) -> dict[str, Any]:
    """Return the entries of all analyses in the summary, or of one; SpecError if it is not there."""
    analyses: dict[str, Any] = study.summary["analyses"]
    if only is not None and only not in analyses:
        raise SpecError(f"analysis {only!r}", found="no scores in this run")
    return analyses if only is None else {only: analyses[only]}


def print_csv(study: "Study") -> None:
    """Print every score of a run as a line of comma-separated values."""
    import pandas as pd

    tables = [pd.DataFrame(entry["scores"]).assign(analysis=name) for name, entry in study.summary["analyses"].items()]
    table = pd.concat([table for table in tables if len(table)])
    typer.echo(table[["analysis", *table.columns.drop("analysis")]].to_csv(index=False), nl=False)


def print_scores(study: "Study", only: str | None = None) -> None:
    """Print the scores of all analyses of a run, or of one of them; SpecError if it has none."""
    import pandas as pd

    for name, entry in _analyses(study, only).items():
        if entry["scores"]:
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
    """Print a table as wide as the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    typer.secho(title, bold=True)
    printed = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
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
