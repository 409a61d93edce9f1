"""Scores and figures of every analysis of a run, and what was not computed."""

import base64
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from analysis.report.headline import Row
from analysis.report.tables import NONE, Table, cell, interval, number
from neuromvm.errors import RunFolderError
from neuromvm.runs import Study


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
    pictures: list[Picture]
    notes: list[str]


class Missing(NamedTuple):
    """An analysis that the run does not hold."""

    name: str
    asked_for: bool


def results(study: Study) -> list[AnalysisResult]:
    """Gather every analysis in the summary, and what the scores say about their own intervals and floors."""
    found = []
    for name, entry in _summarized(study).items():
        scores, rows = saved_scores(study, name), entry["scores"]
        about = {} if scores is None or not rows else scores.attrs
        notes = [f"{key.capitalize()}: {about[key]}." for key in ("interval", "floor") if key in about]
        found.append(AnalysisResult(name, score_table(name, rows, scores) if rows else None, pictures(study.path, name), notes))
    return found


def rows_of(study: Study, analysis: str) -> list[Row]:
    """Return the lines of one analysis, none if it was not computed."""
    return list(_summarized(study).get(analysis, {"scores": []})["scores"])


def missing(study: Study) -> list[Missing]:
    """Name the analyses that are installed or asked for and not computed, asked for first."""
    asked = list(study.spec.analyses)
    installed = sorted(point.name for point in entry_points(group="neuromvm.analyses"))
    computed = _summarized(study)
    names = [name for name in dict.fromkeys([*asked, *installed]) if name not in computed]
    return [Missing(name, name in asked) for name in names]


def saved_scores(study: Study, analysis: str) -> xr.Dataset | None:
    """Return the scores of an analysis, None if the file is not there."""
    try:
        return study.scores(analysis)
    except RunFolderError:
        return None


def score_table(name: str, rows: list[Row], scores: xr.Dataset | None) -> Table:
    """Lay out all lines of an analysis by setting, the best first and marked; what is the same in all stands in the caption."""
    reference = "" if scores is None or "difference" not in scores else str(scores.attrs["reference"])
    kinds = sorted({str(row["what"]) for row in rows})
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["setting"] if len(kinds) == 1 else f"{row['what']}: {row['setting']}", []).append(row)
    lines: list[dict[str, str]] = []
    best = set()
    for setting, group in groups.items():
        if len(group) > 1:
            best.add(len(lines))
        for row in sorted(group, key=lambda row: float("inf") if row["value"] is None else -row["value"]):
            line = {
                "setting": setting,
                "representation": str(row["representation"]),
                "score [95 %]": interval(row["value"], row["low"], row["high"]),
                f"difference to {reference} [95 %]": _difference(scores, row, reference)
                if scores is not None and reference
                else "",
                "floor [95 %]": interval(row["floor"], row["floor_low"], row["floor_high"]),
                "chance": number(row["chance"]),
                "p": NONE if row["p"] is None else f"{row['p']:.2g}",
                "animals": cell(row["n_animals"]),
                "trials": cell(row["n_trials"]),
                "splits": cell(row["n_splits"]),
            }
            lines.append({column: text for column, text in line.items() if text})
    same = [key for key in ("chance", "animals", "trials", "splits") if len({line[key] for line in lines}) == 1]
    about = ", ".join(f"{key} {lines[0][key]}" for key in same)
    caption = f"Analysis {name}: {', '.join(kinds)}; {about}. The highest score of each setting stands first and is marked."
    columns = [column for column in lines[0] if column not in same]
    text = [[line[column] for column in columns] for line in lines]
    return Table(caption, columns, text, [False, False, *[True] * (len(columns) - 2)], frozenset(best))


def pictures(run: Path, analysis: str) -> list[Picture]:
    """Read the figures of an analysis; their names are ``<analysis>-<key>.png``."""
    found = []
    for file in sorted((run / "figures").glob(f"{analysis}-*.png")):
        key = file.stem.removeprefix(f"{analysis}-").replace("_", " ")
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


def _summarized(study: Study) -> dict[str, Any]:
    try:
        return dict(study.summary["analyses"])
    except RunFolderError:
        return {}


def _difference(scores: xr.Dataset, row: Row, reference: str) -> str:
    if row["representation"] == reference:
        return "reference"
    one = scores.sel(reference=reference, representation=row["representation"], setting=row["setting"])
    value, low, high = (float(one[key]) for key in ("difference", "difference_low", "difference_high"))
    return interval(value, low, high, signed=True)
