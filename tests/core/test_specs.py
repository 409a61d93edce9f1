"""Specs of models and trainings: names stand for groups of settings, and settings that mean nothing are refused."""

import pytest
from pydantic import ValidationError

from neuromvm.errors import SpecError
from neuromvm.specs import ExperimentSpec, ModelSpec

EXPERIMENT = {
    "name": "small",
    "data": {"spec": "simulated_rats"},
    "samples": {"label": "odor"},
    "models": {"mmvm": {"sharing": "mmvm"}, "alone": {"sharing": "independent"}},
    "training": {"epochs": 7, "seeds": [1, 2]},
}


def test_a_name_stands_for_a_group_with_default_settings():
    named = ModelSpec(sharing="mmvm", networks="linear", likelihood="poisson", likelihood_of={"mitt": "gaussian"})
    spelled = ModelSpec(
        sharing={"kind": "mmvm"},
        networks={"kind": "linear"},
        likelihood={"kind": "poisson"},
        likelihood_of={"mitt": {"kind": "gaussian"}},
    )
    assert named == spelled
    assert ModelSpec.model_validate(named.model_dump(mode="json")) == named


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sharing": {"kind": "independent", "rate": "pairwise"}}, "rate"),
        ({"sharing": {"kind": "mmvm", "pooled": True, "standard_normal": {"kind": "linear"}}}, "no standard-normal part"),
        ({"sharing": "mmvm", "code": "simplex", "networks": "convolution"}, "a path has no winner"),
        ({"sharing": "mmvm", "start": "bayes"}, "code 'simplex'"),
        (
            {"sharing": "mmvm", "start": "bayes", "code": "simplex", "networks": "linear", "likelihood": "poisson"},
            "scaled features",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(SpecError, match=words):
        ModelSpec(**settings)


def test_one_model_may_be_trained_otherwise():
    spec = ExperimentSpec.model_validate({**EXPERIMENT, "training_of": {"alone": {"learning_rate": 0.5}}})
    assert spec.training_for("mmvm") == spec.training
    alone = spec.training_for("alone")
    assert (alone.learning_rate, alone.epochs, alone.seeds) == (0.5, 7, [1, 2])
    for wrong, words in (({"allone": {}}, "Did you mean 'alone'"), ({"alone": {"epoch": 1}}, "Did you mean 'epochs'")):
        with pytest.raises(ValidationError, match=words):
            ExperimentSpec.model_validate({**EXPERIMENT, "training_of": wrong})
    with pytest.raises(ValidationError, match="validation"):
        ExperimentSpec.model_validate({**EXPERIMENT, "training_of": {"alone": {"patience": 3}}})
