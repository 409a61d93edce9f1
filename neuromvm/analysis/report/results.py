"""Scores and figures of every analysis of a run, and what was not computed."""

import base64
import json
import shlex
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from neuromvm.analysis.figures.style import Figure, applied
from neuromvm.analysis.report.few_shot import each_animal
from neuromvm.analysis.report.headline import PAIRED, Row, paired_difference
from neuromvm.analysis.report.tables import NONE, Table, between, cell, interval, number
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study

RESOLUTION = 150  # dots an inch of figures that the report alone holds
DECODING, FEW_SHOT = "decoding", "few_shot"  # the analyses that the headline reads
SHOWN = (  # what tables and headline read of a line; what came later may be absent
    *("what", "representation", "setting", "value", "low", "high", "floor", "floor_low", "floor_high", "chance", "p"),
    *("n_animals", "n_trials", "n_splits"),
)
TEXT = ("setting", "representation", "to")  # columns that are no numbers
NOTES = (
    "interval",
    "floor",
    "floor_of_within_minus_cross",
    "floor_of_unrelated_codes",
    "settings",
    "omitted",
)  # attributes of scores that the report writes out
FIRST = ("settings", "difference", "transfer")  # figures, in the order of what they tell; others follow by name


class Picture(NamedTuple):
    """A figure inside the report."""

    caption: str
    alt: str
    data: str  # base64 of the PNG
    numbers: str  # name of the CSV beside it, or ''


class AnalysisResult(NamedTuple):
    """One analysis of a run."""

    name: str
    table: Table | None
    details: list[Table]  # what the table is the mean of
    pictures: list[Picture]
    notes: list[str]
    problems: list[str]


class Entry(NamedTuple):
    """What the summary holds of one analysis."""

    rows: list[Row]
    options: dict[str, Any]
    problem: str = ""


class Summary(NamedTuple):
    """The analyses of a run by name, and why the file that lists them cannot be read, '' if it can."""

    analyses: dict[str, Entry]
    problem: str = ""


class Saved(NamedTuple):
    """The scores of an analysis, and why they cannot be used, '' if they can."""

    scores: xr.Dataset | None
    problem: str = ""


class Missing(NamedTuple):
    """An analysis that the run does not hold."""

    name: str
    asked_for: bool


def read_summary(study: Study) -> Summary:
    """Read ``summary.json``; where it is damaged, the analyses are those with saved scores, without lines."""
    if not (study.path / "summary.json").is_file():
        return Summary({})
    try:
        analyses = study.summary["analyses"]
        return Summary({name: _entry(study, name, content) for name, content in analyses.items()})
    except (RunFolderError, KeyError, TypeError, AttributeError) as error:
        found = error.found if isinstance(error, RunFolderError) else "no analyses in it"
        known = sorted(file.stem for file in (study.path / "scores").glob("*.nc"))
        problem = f"summary.json cannot be read: {found}. Delete it, then compute every analysis again: {command(study, 'NAME')}"
        return Summary({name: Entry([], {}) for name in known}, problem)


def _entry(study: Study, name: str, content: Mapping[str, Any]) -> Entry:
    rows = content.get("scores", [])
    if all(set(SHOWN) <= set(row) for row in rows):
        return Entry(rows, content.get("options", {}))
    problem = f"The lines of {name} in summary.json are of another version. Compute them again: {command(study, name)}"
    return Entry([], content.get("options", {}), problem)


def saved_scores(study: Study, analysis: str) -> Saved:
    """Read the scores of an analysis; those of ``decoding`` must hold paired differences."""
    again = f"Compute them again: {command(study, analysis)}"
    try:
        scores = study.scores(analysis)
    except RunFolderError as error:
        return Saved(None, f"The saved scores of {analysis} cannot be used: {error.found}. {again}")
    if analysis == DECODING and not _has_differences(scores):
        return Saved(scores, f"The saved scores of {analysis} lack paired differences. {again}")
    return Saved(scores)


def command(study: Study, analysis: str) -> str:
    """Write the command that computes an analysis."""
    return f"neuromvm analyze {analysis} {shlex.quote(str(study.path))}"


def results(study: Study, summary: Summary) -> list[AnalysisResult]:
    """Gather every analysis in the summary, and what the scores say about their own intervals and floors."""
    found = []
    for name, entry in summary.analyses.items():
        saved = saved_scores(study, name)
        about = saved.scores.attrs if saved.scores is not None and entry.rows else {}
        notes = [f"{key.replace('_', ' ').capitalize()}: {about[key]}." for key in NOTES if about.get(key)]
        problems = [problem for problem in (entry.problem, saved.problem) if problem]
        table = score_table(name, entry.rows, saved.scores) if entry.rows else None
        details = each_animal(saved.scores) if name == FEW_SHOT else []
        found.append(AnalysisResult(name, table, details, pictures(study.path, name), notes, problems))
    return found


def missing(study: Study, summary: Summary) -> list[Missing]:
    """Name the analyses that are installed or asked for and not computed, asked for first."""
    asked = list(study.spec.analyses)
    installed = sorted(point.name for point in entry_points(group="neuromvm.analyses"))
    names = [name for name in dict.fromkeys([*asked, *installed]) if name not in summary.analyses]
    return [Missing(name, name in asked) for name in names]


def options_used(summary: Summary) -> str:
    """Write the options with which every analysis was computed, '' if there is none."""
    lines = []
    for name, entry in summary.analyses.items():
        if entry.options:
            lines += [f"{name}:", *(f"  {option}: {json.dumps(value)}" for option, value in entry.options.items())]
    return "\n".join(lines)


def score_table(name: str, rows: list[Row], scores: xr.Dataset | None) -> Table:
    """Lay out all lines of an analysis by setting, the best first and marked; what is the same in all stands in the caption."""
    reference = "" if scores is None or not _has_differences(scores) else str(scores.attrs.get("reference", ""))
    kinds = sorted({str(row["what"]) for row in rows})
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["setting"] if len(kinds) == 1 else f"{row['what']}: {row['setting']}", []).append(row)
    lines: list[dict[str, str]] = []
    best = set()
    for setting, group in groups.items():
        ranked = sorted(group, key=lambda row: float("inf") if row["value"] is None else -row["value"])
        for row in ranked:
            # Neither a late onset nor a large difference between settings is a merit, nor what was not tested.
            judged = None not in (row["p"], row["chance"]) and " - " not in row["setting"]
            if len(group) > 1 and judged and NONE != number(row["value"]) == number(ranked[0]["value"]):
                best.add(len(lines))
            line = {
                "setting": setting,
                "representation": str(row["representation"]),
                "score [95 %]": interval(row["value"], row["low"], row["high"]),
                "over animals": between(row.get("animals_low"), row.get("animals_high")),
                f"difference to {reference} [95 %]" if reference else "difference [95 %]": _difference(scores, row, reference)
                if scores is not None and reference
                else _own_difference(row),
                "to": "" if reference or not _own_difference(row) else str(row["baseline"]),
                "floor [95 %]": interval(row["floor"], row["floor_low"], row["floor_high"]),
                "p": NONE if row["p"] is None else f"{row['p']:.2g}",
                "chance": number(row["chance"]),
                "animals": cell(row["n_animals"]),
                "trials": cell(row["n_trials"]),
                "splits": cell(row["n_splits"]),
            }
            lines.append({column: text for column, text in line.items() if text})
    lines = [{column: line.get(column, "") for column in dict.fromkeys(key for one in lines for key in one)} for line in lines]
    same = [key for key in ("chance", "animals", "trials", "splits") if len({line[key] for line in lines}) == 1]
    about = ", ".join([*kinds, *(f"{key} {lines[0][key]}" for key in same)])
    caption = f"Analysis {name}: {about}. The highest scores of each setting, as printed, stand first and are marked."
    columns = [column for column in lines[0] if column not in same]
    text = [[line[column] for column in columns] for line in lines]
    return Table(caption, columns, text, [column not in TEXT for column in columns], frozenset(best))


def pictures(run: Path, analysis: str) -> list[Picture]:
    """Read the figures of an analysis, the most telling first; their names are ``<analysis>-<key>.png``."""
    found = []
    files = {file.stem.removeprefix(f"{analysis}-"): file for file in sorted((run / "figures").glob(f"{analysis}-*.png"))}
    first = {key: files.pop(key) for key in FIRST if key in files}
    for name, file in (first | files).items():
        key = name.replace("_", " ")
        numbers = file.with_suffix(".csv")
        found.append(
            Picture(
                f"{analysis}: {key}",
                f"Figure {key} of the analysis {analysis}; what its lines and marks are is written below its panels.",
                embedded(file.read_bytes()),
                f"figures/{numbers.name}" if numbers.is_file() else "",
            )
        )
    return found


def embedded(png: bytes) -> str:
    """Write a picture as text."""
    return base64.b64encode(png).decode("ascii")


def embedded_figure(draw: Callable[[], Figure]) -> str:
    """Draw a figure that the report alone holds, as text."""
    picture = BytesIO()
    with applied():
        draw().savefig(picture, format="png", dpi=RESOLUTION, metadata={"Software": None})
    return embedded(picture.getvalue())


def _has_differences(scores: xr.Dataset) -> bool:
    dims = {"reference", "representation", "setting"}
    return dims <= set(scores.coords) and all(key in scores and set(scores[key].dims) == dims for key in PAIRED)


def _own_difference(row: Row) -> str:
    """Write the difference to its baseline that a line holds."""
    if row.get("difference") is None:
        return ""
    return interval(row["difference"], row["difference_low"], row["difference_high"], signed=True)


def _difference(scores: xr.Dataset, row: Row, reference: str) -> str:
    if row["representation"] == reference:
        return "reference"
    found = paired_difference(scores, reference, row["representation"], row["setting"])
    # A line that is not of one setting holds its own.
    return (_own_difference(row) or NONE) if found is None else interval(*found[:3], signed=True)
