"""Scores and figures of every analysis of a run, and what was not computed."""

import json
import shlex
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from neuromvm.analysis.decoding.decoding import RENAMED
from neuromvm.analysis.judged import check_judged, is_difference, is_judged, null_in_words
from neuromvm.analysis.report.embedded import picture_of
from neuromvm.analysis.report.few_shot import each_animal
from neuromvm.analysis.report.headline import Row, paired_difference
from neuromvm.analysis.report.tables import NONE, Table, between, cell, interval, number
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.errors import RunFolderError
from neuromvm.folders.study import Study

DECODING, FEW_SHOT = "decoding", "few_shot"  # the analyses that the headline reads
SHOWN = (  # fields of a line that tables and headline read; lines of earlier versions may lack further fields
    *("what", "representation", "setting", "value", "low", "high", "floor", "floor_low", "floor_high", "chance", "p"),
    *("n_animals", "n_trials", "n_splits"),
)
TEXT = ("setting", "representation", "to")  # columns that are no numbers
SHARED_COLUMNS = ("chance", "animals", "trials", "splits")  # in the caption where all lines have the same value
NOTES = ("interval", "floor", "settings", "omitted")  # attributes of scores that the report writes out
P_NAMES = (
    "p decodable: labels permuted. p shared: names of conditions exchanged within each animal and everything fitted again; a "
    "large one is no evidence against a shared code, since maps made with labels carry any code onto any other."
)
LEADING_FIGURES = ("held_out", "settings", "difference", "transfer")  # further figures follow by name
VERDICT_FIGURES = ("sharing-held_out", "decoding-settings")  # those that carry the verdict


class Picture(NamedTuple):
    """A figure inside the report."""

    caption: str  # what it shows
    words: str  # what its marks are, n, split and null
    alt: str
    data: str  # base64 of the PNG
    numbers: str  # name of the CSV beside it, or ''
    name: str


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


def saved_scores(study: Study, analysis: str) -> tuple[xr.Dataset | None, str]:
    """Return the scores of an analysis, and why they cannot be used, '' if they can.

    Those of ``decoding`` and ``few_shot`` must have the dims of this version.
    """
    try:
        scores = study.scores(analysis)
        if analysis in (DECODING, FEW_SHOT):
            check_judged(scores, analysis)
    except RunFolderError as error:
        again = f"Compute them again: {command(study, analysis)}"
        return None, f"The saved scores of {analysis} cannot be used: {error.found}. {again}"
    return scores, ""


def command(study: Study, analysis: str) -> str:
    """Write the command that computes an analysis."""
    return f"neuromvm analyze {analysis} {shlex.quote(str(study.path))}"


def results(study: Study, summary: Summary) -> list[AnalysisResult]:
    """Gather every analysis in the summary, and what the scores say about their own intervals and floors."""
    gathered = []
    for name, entry in summary.analyses.items():
        scores, problem = saved_scores(study, name)
        notes = _notes(scores) if scores is not None and entry.rows else []
        table = score_table(name, entry.rows, scores) if entry.rows else None
        details = each_animal(scores) if name == FEW_SHOT else []
        problems = [sentence for sentence in (entry.problem, problem) if sentence]
        gathered.append(AnalysisResult(name, table, details, pictures(study.path, name), notes, problems))
    return gathered


def leading(gathered: list[AnalysisResult]) -> list[Picture]:
    """Return the figures that carry the verdict, those that there are."""
    by_name = {picture.name: picture for result in gathered for picture in result.pictures}
    return [by_name[name] for name in VERDICT_FIGURES if name in by_name]


def _notes(scores: xr.Dataset) -> list[str]:
    """Write out what scores say of their intervals, nulls and settings."""
    notes = {key: str(scores.attrs[key]) for key in NOTES if scores.attrs.get(key)}
    if is_judged(scores):
        notes |= {f"null, {null}": null_in_words(scores, str(null)) for null in scores["null"].values}
    return [f"{key.capitalize()}: {words}." for key, words in notes.items() if words]


def missing(study: Study, summary: Summary) -> dict[str, bool]:
    """Return the analyses without scores that are asked for (True, first) or only installed (False)."""
    installed = sorted(point.name for point in entry_points(group="neuromvm.analyses"))
    asked_for = dict.fromkeys(installed, False) | dict.fromkeys(study.spec.analyses, True)
    return {name: asked_for[name] for name in [*study.spec.analyses, *installed] if name not in summary.analyses}


def options_used(summary: Summary) -> str:
    """Write the options with which every analysis was computed, '' if there is none."""
    written = {
        name: [f"  {option}: {json.dumps(value)}" for option, value in entry.options.items()]
        for name, entry in summary.analyses.items()
    }
    return "\n".join("\n".join([f"{name}:", *lines]) for name, lines in written.items() if lines)


def score_table(name: str, rows: list[Row], scores: xr.Dataset | None) -> Table:
    """Lay out the ``rows`` of an analysis in ``summary.json`` by setting, the best first and marked.

    The saved scores give paired differences to their reference; None if there are none.
    """
    measures = sorted({str(row["what"]) for row in rows})
    shared, rows = _p_shared(rows) if name in (DECODING, FEW_SHOT) else ({}, rows)
    groups = _by_setting(rows, with_measure=len(measures) > 1)
    ranked = [(group, row) for group, members in groups.items() for row in sorted(members, key=_rank)]
    best = frozenset(number for number, (group, row) in enumerate(ranked) if _is_best(row, groups[group]))
    lines, names_of_p = [_line(group, row, scores) for group, row in ranked], ""
    if shared:
        names_of_p = f" {P_NAMES}"
        lines = [_with_p_shared(line, row, shared) for line, (_, row) in zip(lines, ranked, strict=True)]
    table = pd.DataFrame(lines)
    constant = [column for column in SHARED_COLUMNS if len(set(table[column])) == 1]
    table = table.loc[:, [column not in constant and bool(table[column].any()) for column in table]]
    conditions = ", ".join([*measures, *(f"{column} {lines[0][column]}" for column in constant)])
    caption = f"Analysis {name}: {conditions}. {_order_in_words(rows)}{names_of_p}"
    columns = [str(column) for column in table]
    return Table(caption, columns, table.to_numpy().tolist(), [column not in TEXT for column in columns], best)


def _order_in_words(rows: list[Row]) -> str:
    """Say in which order the rows of a setting stand."""
    best = "highest scores (smallest errors)" if any(map(_is_error, rows)) else "highest scores"
    return f"The {best} of each setting, as printed, stand first and are marked."


def _by_setting(rows: list[Row], *, with_measure: bool) -> dict[str, list[Row]]:
    """Group rows by setting, or by what is measured and setting."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['what']}: {row['setting']}" if with_measure else row["setting"], []).append(row)
    return groups


def _p_shared(rows: list[Row]) -> tuple[dict[tuple[str, str, str], str], list[Row]]:
    """Return the p of scrambled correspondence by measure, representation and setting, and the rows of other nulls."""
    suffix = f", {CORRESPONDENCE}"
    shared, others = {}, []
    for row in rows:
        if str(row["setting"]).endswith(suffix):
            key = str(row["what"]), str(row["representation"]), str(row["setting"]).removesuffix(suffix)
            shared[key] = _p(row)
        else:
            others.append(row)
    return shared, others


def _with_p_shared(line: dict[str, str], row: Row, shared: Mapping[tuple[str, str, str], str]) -> dict[str, str]:
    """Write the p of a line under the name of its null, and beside it the p of scrambled correspondence."""
    columns: dict[str, str] = {}
    for title, text in line.items():
        if title == "p":
            of_labels = row["setting"] != RENAMED and not is_difference(row["setting"])
            columns |= {"p decodable": text if of_labels else "", "p": "" if of_labels else text}
            columns["p shared"] = shared.get((str(row["what"]), str(row["representation"]), str(row["setting"])), "")
        else:
            columns[title] = text
    return columns


def _p(row: Row) -> str:
    return NONE if row["p"] is None else f"{row['p']:.2g}"


def _rank(row: Row) -> float:
    if row["value"] is None:
        return float("inf")
    return float(row["value"]) if _is_error(row) else -float(row["value"])


def _is_error(row: Row) -> bool:
    """Say whether a row is better the smaller its value."""
    return "absolute error" in str(row["what"])


def _is_best(row: Row, group: list[Row]) -> bool:
    """Say whether a row is marked: differences of settings are no merit, nor is what was not tested or stands alone."""
    judged = None not in (row["p"], row["chance"]) and not is_difference(row["setting"])
    return len(group) > 1 and judged and NONE != number(row["value"]) == number(min(group, key=_rank)["value"])


def _line(group: str, row: Row, scores: xr.Dataset | None) -> dict[str, str]:
    """Write the cells of a row, by the titles of their columns."""
    reference = ""
    difference = _row_difference(row)
    title, to = "difference [95 %]", str(row["baseline"]) if difference else ""
    if scores is not None and is_judged(scores) and "split_value" in scores and (reference := scores.attrs.get("reference", "")):
        difference, title, to = _difference(scores, row, reference), f"difference to {reference} [95 %]", ""
    return {
        "setting": group,
        "representation": str(row["representation"]),
        "score [95 %]": interval(row["value"], row["low"], row["high"]),
        "p": _p(row),
        "chance": number(row["chance"]),
        title: difference,
        "to": to,
        "floor [95 %]": interval(row["floor"], row["floor_low"], row["floor_high"]),
        "over animals": between(row.get("animals_low"), row.get("animals_high")),
        "animals": cell(row["n_animals"]),
        "trials": cell(row["n_trials"]),
        "splits": cell(row["n_splits"]),
    }


def pictures(run: Path, analysis: str) -> list[Picture]:
    """Read the figures of an analysis, the most telling first; their names are ``<analysis>-<key>.png``.

    Figures say themselves what they show; of those of other packages only the name is known.
    """
    files = {file.stem.removeprefix(f"{analysis}-"): file for file in sorted((run / "figures").glob(f"{analysis}-*.png"))}
    leading = {name: files[name] for name in LEADING_FIGURES if name in files}
    return [_picture(analysis, name, file) for name, file in (leading | files).items()]


def _picture(analysis: str, name: str, file: Path) -> Picture:
    told, title = picture_of(file), name.replace("_", " ")
    alt = " ".join([told.shows, told.words]).strip()
    return Picture(
        told.shows or f"{analysis}: {title}.",
        told.words,
        alt or f"Figure {title} of the analysis {analysis}; what its lines and marks are is written below its panels.",
        told.data,
        f"figures/{file.stem}.csv" if file.with_suffix(".csv").is_file() else "",
        f"{analysis}-{name}",
    )


def _row_difference(row: Row) -> str:
    """Write the difference of a row to its baseline."""
    if row.get("difference") is None:
        return ""
    return interval(row["difference"], row["difference_low"], row["difference_high"], signed=True)


def _difference(scores: xr.Dataset, row: Row, reference: str) -> str:
    """Write the paired difference to the reference, or if a row has no setting of the scores, that of the row."""
    if row["representation"] == reference:
        return "reference"
    difference = paired_difference(scores, reference, row["representation"], row["setting"])
    return (_row_difference(row) or NONE) if difference is None else interval(*difference[:3], signed=True)
