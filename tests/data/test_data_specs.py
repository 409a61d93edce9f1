"""The shipped data specs are valid, and their JSON schema is the one of the code."""

import json
import re
from pathlib import Path

import pytest

from neuromvm.specs import DataSpec, load_data_spec
from neuromvm.specs.files import read_mapping

FOLDER = Path(__file__).parents[2] / "data_specs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def test_schema_is_current():
    shipped = json.loads((FOLDER / "data_spec.schema.json").read_text("utf-8"))
    assert shipped == DataSpec.model_json_schema(), "write it anew, as data_specs/README.md says"


@pytest.mark.parametrize("name", NAMES)
def test_shipped_spec_is_valid_and_named_after_its_file(name):
    spec = load_data_spec(name)
    assert spec.name == name
    assert spec.description
    assert spec.licence, "say under which licence the recordings are, or that none is stated"
    assert not Path(spec.root).is_absolute()


def test_readme_explains_every_setting():
    text = (FOLDER / "README.md").read_text("utf-8")
    missing = [setting for setting in DataSpec.model_fields if f"`{setting}`" not in text]
    assert not missing


def test_readme_has_a_valid_example_of_every_source(tmp_path):
    _, sources = (FOLDER / "README.md").read_text("utf-8").split("\n## Sources\n")
    blocks = re.findall(r"```yaml\n(.*?)```", sources, flags=re.DOTALL)
    kinds = set()
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, "utf-8")
        kinds.add(DataSpec.model_validate(read_mapping(path, str(path))).source.kind)
    schema = DataSpec.model_json_schema()
    assert kinds == set(schema["properties"]["source"]["discriminator"]["mapping"]) - {"nwb"}
