"""Write the reference of settings, docs/reference, and the JSON schemas in data_specs, from the spec classes.

python docs/make_reference.py
"""

import json
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel

from neuromvm.specs import DataSpec, ExperimentSpec
from neuromvm.specs.fields import SettingInfo, first_words, settings_of, tag_of
from neuromvm.specs.json_schema import experiment_schema, sweep_schema
from neuromvm.specs.sweep import SweepSpec

ROOT = Path(__file__).parents[1]
MADE = "Made from the code by `python docs/make_reference.py`. In the terminal: `neuromvm explain SETTING`."
PAGES: dict[str, tuple[str, str, type[BaseModel]]] = {
    "experiment": ("Settings of an experiment", "Every setting of the YAML file of `neuromvm run`.", ExperimentSpec),
    "data_spec": ("Settings of a data spec", "Every setting of the YAML file that says how files become trials.", DataSpec),
    "sweep": ("Settings of a sweep", "Every setting of the YAML file of `neuromvm sweep`.", SweepSpec),
}
SCHEMAS = {
    "data_spec": DataSpec.model_json_schema,
    "experiment": experiment_schema,
    "sweep": sweep_schema,
}


def pages() -> dict[Path, str]:
    """Return the text of every page and schema by its path."""
    texts = {ROOT / "docs" / "reference" / f"{name}.md": page(*parts) for name, parts in PAGES.items()}
    texts[ROOT / "docs" / "reference" / "analyses.md"] = analyses_page()
    for name, schema in SCHEMAS.items():
        texts[ROOT / "data_specs" / f"{name}.schema.json"] = json.dumps(schema(), indent=2) + "\n"
    return texts


def page(title: str, sentence: str, kind: type[BaseModel]) -> str:
    """Return the page of a kind of file: a table for each group of settings, the outer ones first."""
    lines = [f"# {title}", "", f"{sentence} {MADE}", "", *table(kind, "")]
    for path, inner in groups(kind):
        tag = f", kind `{tag_of(inner)}`" if tag_of(inner) else ""
        lines += ["", f"## `{path}`{tag}", "", first_words(inner), "", *table(inner, path)]
    return "\n".join(lines) + "\n"


def groups(kind: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield path and spec of each group of settings below a spec, in the order of its fields; a spec is described once."""
    waiting, seen = [("", kind)], {kind}
    while waiting:
        before, spec = waiting.pop(0)
        inner_groups = []
        for info in settings_of(spec, before):
            new = [inner for inner in info.kinds if inner not in seen]
            seen.update(new)
            named = f"{info.path}.NAME" if info.takes.startswith("NAME:") else info.path
            inner_groups += [(named, inner) for inner in new]
        yield from inner_groups
        waiting += inner_groups


def table(kind: type[BaseModel], path: str) -> list[str]:
    """Return the table of the fields of a spec."""
    return ["| setting | takes | default | meaning |", "|---|---|---|---|", *map(row, settings_of(kind, path))]


def row(info: SettingInfo) -> str:
    """Return the line of a field in a table."""
    name = info.path.rpartition(".")[2]
    default = info.default if info.default == "required" else f"`{info.default}`"
    return f"| `{name}` | {cell(info.takes)} | {cell(default)} | {cell(info.description)} |"


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def analyses_page() -> str:
    """Return the page with the options of every analysis that is shipped."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = ["# Options of analyses", "", f"Settings below `analyses:` of an experiment. {MADE}"]
    for name, module in sorted(project["entry-points"]["neuromvm.analyses"].items()):
        options = import_module(module).Options
        lines += ["", f"## `analyses.{name}`", "", first_words(options), "", *table(options, f"analyses.{name}")]
        for path, inner in groups(options):
            tag = f", kind `{tag_of(inner)}`" if tag_of(inner) else ""
            lines += ["", f"### `analyses.{name}.{path}`{tag}", "", first_words(inner), "", *table(inner, path)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all pages and schemas."""
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
