"""Settings by their dotted paths, the reference made from them, and the JSON schemas of what users write."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import jsonschema
import pytest

from neuromvm.errors import SpecError
from neuromvm.specs import DataSpec, ExperimentSpec
from neuromvm.specs.base import Spec
from neuromvm.specs.fields import find_setting, settings_of
from neuromvm.specs.json_schema import experiment_schema, sweep_schema
from neuromvm.specs.sweep import SweepSpec
from neuromvm.specs.yaml_values import read_yaml
from neuromvm.workflow.explain import explain, top_settings

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "analysis" / "experiments").glob("*.yaml"))


def specs_below(kind: type[Spec]) -> set[type[Spec]]:
    found, waiting = {kind}, [kind]
    while waiting:
        inner = {spec for info in settings_of(waiting.pop()) for spec in info.kinds} - found
        found |= inner
        waiting += inner
    return found


def test_every_setting_says_what_it_means():
    specs = set().union(*map(specs_below, (ExperimentSpec, DataSpec, SweepSpec)))
    silent = [(spec.__name__, info.path) for spec in specs for info in settings_of(spec) if not info.description]
    assert len(specs) > 40
    assert [(spec, name) for spec, name in silent if name != "kind"] == []


@pytest.mark.parametrize(
    ("path", "takes", "default"),
    [
        ("models.mmvm.initial_scale", "a number (above 0)", "1"),
        ("models.mmvm.latent", "a whole number (from 1)", "2"),
        ("models.mmvm.dropout", "a number (from 0, below 1)", "0"),
        ("models.mmvm.sharing.rate", "one of mixture, pairwise", "mixture"),
        ("models.mmvm.sharing.mmvm.rate", "one of mixture, pairwise", "mixture"),
        ("training_of.mmvm.epochs", "a whole number (from 0)", "200"),
        ("samples.clip", "a number (above 0) or null", "null"),
        ("samples.label", "a list: text (1 or more)", "required"),
        ("sharing.few_labels", "a list: a whole number", "[1, 2, 4]"),
        ("models.mmvm.networks", "settings of a kind: linear, mlp, published, convolution, residual, own", "mlp"),
    ],
)
def test_a_setting_says_what_it_takes_and_its_default(path, takes, default):
    (info,) = find_setting(ExperimentSpec, path)
    assert (info.takes, info.default) == (takes, default)


def test_a_setting_of_several_kinds_is_told_for_each():
    widths = find_setting(ExperimentSpec, "models.mmvm.networks.hidden")
    assert [info.of_kind for info in widths] == ["mlp", "convolution"]
    assert {info.path for info in widths} == {"models.NAME.networks.hidden"}
    assert [info.of_kind for info in find_setting(DataSpec, "activity.min_rate")] == ["spikes", "binned_spikes"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("models.mmvm.inital_scale", "Did you mean 'initial_scale'"),
        ("modles.mmvm", "Did you mean 'models'"),
        ("models.mmvm.beta.x", "is a value, not a group"),
        ("trainig", "Did you mean 'training'"),
        ("grid.widow", "Did you mean 'window'"),
        ("analyses.decodng.tune", "Did you mean 'decoding'"),
        ("analyses.decoding.tun", "Did you mean 'tune'"),
        ("", "no setting ''"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(path, words):
    with pytest.raises(SpecError, match=words):
        explain(path)


def test_explain_names_the_kind_of_file_and_the_inner_settings():
    text = "\n".join(explain("models.mmvm.initial_scale"))
    assert "models.NAME.initial_scale (experiment)" in text
    assert "where the posterior scale starts" in text
    text = "\n".join(explain("name"))
    assert all(f"name ({file})" in text for file in ("experiment", "data spec", "sweep"))
    text = "\n".join(explain("models.mmvm.sharing"))
    assert "kind mmvm: " in text
    assert "cross_reconstruction: " in text
    assert "analyses.NAME.tune (experiment)" in explain("analyses.decoding.tune")
    assert "  models: " in "\n".join(top_settings())


def test_reference_and_schemas_are_current():
    spec = spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    make_reference = module_from_spec(spec)
    spec.loader.exec_module(make_reference)
    for path, text in make_reference.pages().items():
        assert path.read_text("utf-8") == text, f"{path.name} is old: python docs/make_reference.py"


def test_the_schemas_take_what_is_shipped_and_refuse_typos():
    experiment, sweep = jsonschema.Draft202012Validator(experiment_schema()), jsonschema.Draft202012Validator(sweep_schema())
    for path in EXPERIMENTS:
        content = read_yaml(path.read_text("utf-8"), path.name)
        (sweep if path.stem.endswith("_sweep") else experiment).validate(content)
    content = read_yaml((ROOT / "analysis" / "experiments" / "demo.yaml").read_text("utf-8"), "demo")
    for change in (
        {"trainig": {}},
        {"models": {"a": {"sharing": "mmvn"}}},
        {"models": {"a": {"sharing": {"kind": "mmvm", "rat": "pairwise"}}}},
        {"training_of": {"mmvm": {"epoch": 1}}},
    ):
        assert not experiment.is_valid(content | change)
    assert sweep.is_valid({"name": "a", "experiment": "demo.yaml", "grid": {"models.*.beta": [1]}})
    assert not sweep.is_valid({"name": "a", "experiment": {"name": "b"}, "grid": {}})
