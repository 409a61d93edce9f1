"""Every model and analysis has a page, links lead somewhere, and result pages hold no number written by hand."""

import pkgutil
import re
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from neuromvm import models
from neuromvm.analysis.sharing.fits import MODEL_ROWS
from neuromvm.analysis.sharing.rows import ROWS
from neuromvm.specs import SharingSpec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "data_specs" / "README.md"])
RESULTS = sorted((DOCS / "results").glob("*.md"))
WITHOUT_RESULT = {"__init__", "__main__", "tables", "calibration_time", "calibration_design"}  # the last two print their tables
STUDY = sorted(path for path in (ROOT / "analysis").glob("*.py") if path.stem not in WITHOUT_RESULT)
WITHOUT_PAGE = {"base"}  # what models have in common


def test_every_model_has_a_page():
    pages = {page.stem: page.read_text("utf-8") for page in (DOCS / "models").glob("*.md")}
    text = " ".join(pages.values())
    missing = []
    for name in {module.name for module in pkgutil.iter_modules(models.__path__)} - WITHOUT_PAGE:
        module = import_module(f"neuromvm.models.{name}")
        classes = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        if name not in pages and not any(f"`{key}`" in text for key in classes):
            missing.append(name)
    assert missing == []


def test_every_analysis_has_a_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    analyses = project["entry-points"]["neuromvm.analyses"]
    text = {page.stem: page.read_text("utf-8") for page in (DOCS / "analyses").glob("*.md")}
    missing = [name for name in analyses if name not in text and not any(f"`{name}`" in page for page in text.values())]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.stem)
def test_numbers_of_result_pages_are_generated(page):
    written = page.read_text("utf-8")
    for pattern in (r"<!-- begin (.*?) -->.*?<!-- end \1 -->", r"`[^`]*`", r"\]\([^)]*\)"):
        written = re.sub(pattern, "", written, flags=re.DOTALL)
    assert re.findall(r".*\d.*", written) == []


def test_every_published_result_has_a_module_and_a_page():
    assert {path.stem for path in STUDY} == {page.stem for page in RESULTS}
    index = (DOCS / "results.md").read_text("utf-8")
    assert [page.stem for page in RESULTS if f"results/{page.name}" not in index] == []


def test_moved_modules_are_where_the_page_says():
    now = re.findall(r"\| `[^`]+` \| `([^`]+)` \|", (DOCS / "moved_modules.md").read_text("utf-8"))
    assert now
    assert [name for name in now if find_spec(name) is None] == []


def test_the_page_of_sharing_names_every_row_and_setting():
    page = (DOCS / "analyses" / "sharing.md").read_text("utf-8")
    for name, row in ROWS.items():
        assert f"| `{name}` | {row.words} | {'yes' if row.uses_others else 'no'} |" in page
    for suffix, (words, _) in MODEL_ROWS.items():
        assert f"| `MODEL_{suffix}` | {words} | yes |" in page
    (shown,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL) if text.startswith("sharing:")]
    section = yaml.safe_load(shown)["sharing"]
    SharingSpec.model_validate(section)
    assert set(section) == set(SharingSpec.model_fields)
