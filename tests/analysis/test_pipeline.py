"""What is shipped is valid: experiments, their options, and a page for every model."""

from pathlib import Path

import pytest

from neuromvm import models
from neuromvm.analysis.pipeline import check_analyses, options_of
from neuromvm.errors import SpecError
from neuromvm.models import MultimodalVAE
from neuromvm.specs import load_data_spec, load_experiment_spec
from neuromvm.specs.sweep import load_sweep_spec
from neuromvm.workflow.sweep.grid import variations

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "analysis" / "experiments").glob("*_sweep.yaml"))
EXPERIMENTS = sorted(set((ROOT / "analysis" / "experiments").glob("*.yaml")) - set(SWEEPS))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_shipped_experiment_is_valid(path):
    spec = load_experiment_spec(path)
    check_analyses(spec)
    assert spec.name == path.stem
    assert load_data_spec(spec.data.spec).name == spec.data.spec
    if spec.sharing is None:
        assert {"mmvm", "independent"} <= set(spec.models)
    else:
        assert {model for group in (spec.sharing.models or {}).values() for model in group} <= set(spec.models)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_shipped_sweep_is_valid(path):
    sweep = load_sweep_spec(path)
    assert sweep.name == path.stem
    for cell in variations(sweep):
        check_analyses(cell.experiment)


def test_there_are_experiments():
    assert len(EXPERIMENTS) >= 4
    assert SWEEPS


@pytest.mark.parametrize(("option", "said"), [({"ridg": 3}, "Did you mean 'ridge'"), ({"ridge": -1}, "greater than 0")])
def test_a_wrong_option_is_refused_before_anything_is_trained(option, said):
    with pytest.raises(SpecError, match=said):
        options_of("decoding", option)


def test_every_public_model_has_a_page():
    pages = " ".join(page.read_text() for page in (ROOT / "docs" / "models").glob("*.md"))
    public = [getattr(models, name) for name in models.__all__]
    names = [
        one.__name__ for one in public if isinstance(one, type) and issubclass(one, MultimodalVAE) and one is not MultimodalVAE
    ]
    assert names
    assert [name for name in names if f"`{name}`" not in pages] == []
