"""The report of a run: a single HTML file without external resources."""

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from neuromvm.analysis.figures.palettes import fixed_in
from neuromvm.analysis.figures.style import Figure
from neuromvm.analysis.figures.timeline import timeline
from neuromvm.analysis.report import account
from neuromvm.analysis.report.caveats import caveats, discriminants
from neuromvm.analysis.report.embedded import embedded_figure, packed_library
from neuromvm.analysis.report.few_shot import leave_one_out
from neuromvm.analysis.report.headline import compare, sentences
from neuromvm.analysis.report.models import agreements, clouds, trainings
from neuromvm.analysis.report.results import (
    DECODING,
    FEW_SHOT,
    VERDICT_FIGURES,
    leading,
    missing,
    options_used,
    read_summary,
    results,
    saved_scores,
)
from neuromvm.analysis.report.tables import Table
from neuromvm.analysis.verdict import QUESTIONS, verdict
from neuromvm.data.describe import label_names
from neuromvm.errors import RunFolderError
from neuromvm.files import write_atomically
from neuromvm.folders.study import Study
from neuromvm.schema import animals

FILE = "report.html"
LONG = 12  # rows above which a table is folded


def write_report(study: Study) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Figures, styles and the plotting library of the interactive clouds are embedded. Names from recordings are escaped. Missing
    results are listed with the command that computes them.

    Raises
    ------
    RunFolderError
        If the folder has no recordings or splits.
    """
    path = study.path / FILE
    write_atomically(path, render(study).encode())
    return path


def render(study: Study) -> str:
    """Return the report as HTML."""
    environment = Environment(
        loader=PackageLoader("neuromvm.analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with fixed_in(study):
        return environment.get_template("report.html.j2").render(_content(study))


def _content(study: Study) -> dict[str, Any]:
    """Return the variables of the template."""
    attrs = study.recordings.attrs
    shared = [name for name, model in study.spec.models.items() if model.sharing.kind != "independent"]
    summary = read_summary(study)
    rows = summary.analyses[DECODING].rows if DECODING in summary.analyses else []
    comparisons = compare(rows, saved_scores(study, DECODING)[0], shared, study.models, discriminants(study))
    headline = [(comparison.verdict, sentences(comparison)) for comparison in comparisons]
    if FEW_SHOT in summary.analyses and (few_shot := leave_one_out(saved_scores(study, FEW_SHOT)[0])) is not None:
        headline.append(few_shot)
    gathered = results(study, summary)
    representations = list(dict.fromkeys(str(row["representation"]) for row in rows))
    return {
        "name": study.spec.name,
        "about": study.spec.description or attrs.get("description", ""),
        "data": {"spec": study.spec.data.spec, **{key: attrs.get(key, "") for key in ("licence", "citation", "doi")}},
        "claims": [(QUESTIONS[name], claim) for name, claim in verdict(study, study.design).items()],
        "headline": headline,
        "scored": bool(rows),
        "shared": shared,
        "run": shlex.quote(str(study.path)),
        "summary_problem": summary.problem,
        "results": gathered,
        "missing": missing(study, summary),
        "options": options_used(summary),
        "clouds": (drawn := clouds(study)),
        "library": packed_library() if any(cloud.html for cloud in drawn) else "",
        "leading": leading(gathered),
        "verdict_figures": VERDICT_FIGURES,
        "recordings": account.recordings_table(study),
        "dropped": account.dropped_table(study),
        "classes": account.classes_table(study),
        "timeline": embedded_figure(partial(_timeline, study)),
        "splits": account.splits_table(study),
        "splits_sentence": account.splits_sentence(study),
        "caveats": caveats(study, shared, representations),
        "agreements": agreements(study),
        "trainings": trainings(study),
        **_provenance(study),
        "spec": (study.path / "spec.yaml").read_text(encoding="utf-8"),
        "long": LONG,
    }


def _timeline(study: Study) -> Figure:
    """Draw the sessions by the first label that is decoded and belongs to trials."""
    known = {name for _, node in animals(study.recordings) for name in label_names(node)}
    decoded = [label for label in study.spec.samples.label if label in known]
    return timeline(study.recordings, study.samples, next(iter(decoded), None))


def _provenance(study: Study) -> dict[str, Any]:
    """Return tables of versions, device, command, seeds and input files, or the reason why they are unknown."""
    try:
        provenance = dict(study.provenance)
    except RunFolderError as error:
        return {"provenance": [], "provenance_problem": error.found}
    files, versions, seeds = (provenance.pop(key, {}) for key in ("files", "versions", "seeds"))
    provenance["command"] = shlex.join(provenance.get("command", []))
    if isinstance(resumed := provenance.get("resumed"), list):
        provenance["resumed"] = ", ".join(str(record.get("created")) for record in resumed if isinstance(record, dict))
    provenance |= {f"seed of {key}" if key == "split" else f"seeds of {key}": json.dumps(value) for key, value in seeds.items()}
    rows = [[str(key), str(value)] for key, value in (provenance | versions).items()]
    hashes = [[name, str(file.get("source_file", "")), str(file.get("sha256", ""))] for name, file in files.items()]
    tables = [
        Table("Where and with what the run was made.", ["what", "value"], rows, [False, False]),
        Table("Files read.", ["animal", "file", "SHA-256"], hashes, [False, False, False]),
    ]
    return {"provenance": tables, "provenance_problem": ""}
