"""The shipped data specs are valid, and their JSON schema is the one of the code."""

import json
from pathlib import Path

import pytest

from neuromvm.specs import DataSpec, load_data_spec

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
