"""The audit fails a pipeline that scores what it was fitted on, passes one that does not, and sees what crosses a split."""

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import neuromvm.workflow.audit as audit_module
from neuromvm.analysis.decoding.audit import verdicts
from neuromvm.data.correspondence import exchanged
from neuromvm.data.simulate.codes import simulate_codes
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import ExperimentSpec, SampleSpec, SharingSpec, to_yaml
from neuromvm.workflow.audit import crossings
from neuromvm.workflow.command_line import app
from tests.conftest import tuned_recordings, with_trial_label
from tests.integration.make_run import CONFIG

MODEL = {"sharing": "mmvm", "latent": 3, "networks": "linear", "scale": "constant", "beta": 0.01}


def experiment(folder, **changed):
    """Return the published geometry, windows of 100 ms that overlap by 90 %, on two small rats."""
    content = {
        "name": "geometry",
        "data": {"spec": "simulated_rats", "root": str(folder)},
        "samples": {
            "start": 0.25,
            "stop": 0.5,
            "width": 0.1,
            "step": 0.01,
            "label": "odor",
            "keep": {"odor": ["A", "B", "C", "D"]},
        },
        "split": {"kind": "kfold", "folds": 3},
        "models": {"mmvm": MODEL},
        "training": {"epochs": 3, "learning_rate": 0.01},
        "analyses": {"decoding": {"baselines": ["raw"], "raw_inverse_penalty": 1.0, "bootstraps": 100, "permutations": 500}},
    }
    return ExperimentSpec.model_validate({**content, **changed})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    write_experiment(folder, CONFIG, seed=0)
    return folder


def audited(data, tmp_path, *options, **changed):
    file = tmp_path / "experiment.yaml"
    file.write_text(to_yaml(experiment(data, **changed)))
    made = CliRunner().invoke(app, ["audit", str(file), "--n", "6", "--out", str(tmp_path / "audit.json"), *options])
    return made, json.loads((tmp_path / "audit.json").read_text())


def test_folds_over_trials_pass(data, tmp_path):
    made, found = audited(data, tmp_path)
    assert made.exit_code == 0, made.output
    assert found["passed"]
    assert all(check["passed"] for check in found["checks"])
    assert {row["kind"] for row in found["scores"]} == {"labels permuted", "matched noise"}
    assert all(abs(row["mean"] - 0.25) < 0.1 for row in found["scores"])
    assert any("windows of a trial are not independent" in caveat for caveat in found["caveats"])
    assert any("saw the labels of training trials" in caveat for caveat in found["caveats"])


def test_scoring_what_was_fitted_fails_on_noise(data, tmp_path):
    made, found = audited(data, tmp_path, split={"kind": "published"})
    assert made.exit_code == 1
    assert "do not trust scores" in made.output
    failed = {check["what"]: check["found"] for check in found["checks"] if not check["passed"]}
    assert set(failed) == {"no trial is fitted and scored", "mmvm: scaling, pairs and training ignore test trials"}
    assert "both train and test" in failed["no trial is fitted and scored"]
    noise = {(row["representation"], row["setting"]): row for row in found["scores"] if row["kind"] == "matched noise"}
    assert noise["raw", "within"]["fails"]
    assert noise["raw", "within"]["mean"] > 0.4


def test_exchanged_names_leave_nothing_to_share(data, tmp_path):
    samples = {"start": 0.0, "stop": 0.5, "label": "odor"}
    sharing = {"rows": ["class_kernel", "order_kernel"], "split": {"kind": "conditions", "held_out": 2}}
    models = {"mmvm": MODEL}
    made, found = audited(
        data, tmp_path, samples=samples, sharing=sharing, models=models, split={"kind": "halves"}, training={"epochs": 1}
    )
    assert made.exit_code == 0, made.output
    rows = [row for row in found["scores"] if row["kind"] == "exchanged names"]
    assert [(row["representation"], row["setting"]) for row in rows] == [("class_kernel", "held-out conditions")]
    assert rows[0]["chance"] == 0.5
    assert abs(rows[0]["mean"] - 0.5) < 0.2


def test_a_code_that_is_shared_fails_where_names_were_not_exchanged(monkeypatch):
    """The check can fail: with the names as they are, held-out conditions are told by the others."""
    recordings = simulate_codes(4, 8, 12, 30, share=1.0, signal=1.0, seed=0)
    samples = make_samples(recordings, SampleSpec(label=["condition"]))
    sharing = SharingSpec(rows=["class_kernel"])

    def fails():
        scores = audit_module._scores_with_exchanged_names(sharing, samples, 6, 1)
        return bool(verdicts(scores.expand_dims(kind=["exchanged names"]))["fails"].any())

    assert not fails()
    monkeypatch.setattr(audit_module, "exchanged", lambda samples, number: exchanged(samples, 0))
    monkeypatch.setattr(audit_module, "exchanged_splits", lambda samples, splits: splits)
    assert fails()


def checks_of(recordings, spec):
    samples = make_samples(recordings, spec.samples)
    return {check.claim: check for check in crossings(spec, recordings, samples, make_splits(samples, spec.split))}


def test_trials_that_share_spikes_are_found():
    spec = experiment("", samples={"start": 0.0, "stop": 1.0, "label": "odor"}, split={"kind": "halves"})
    apart = tuned_recordings({"mitt": (4, 30), "stella": (4, 30)})
    assert all(check.passed for check in checks_of(apart, spec).values())
    close = with_trial_label(apart, "onset", lambda node: np.arange(node.sizes["trial"]) * 0.9)
    check = checks_of(close, spec)["no spike is on both sides"]
    assert not check.passed
    assert "mitt" in check.evidence
    twice = with_trial_label(
        apart, "onset", lambda node: np.arange(node.sizes["trial"]) // 3 * 100 + np.arange(node.sizes["trial"]) % 3 * 0.4
    )
    assert not checks_of(twice, spec)["no spike is on both sides"].passed


def test_verdicts_fail_what_leaves_chance_and_nothing_else():
    random = np.random.default_rng(0)
    dims = ("kind", "draw", "representation", "setting")
    failed = []
    for _ in range(200):
        value = random.normal(0.25, 0.03, (2, 10, 6, 4))
        drawn = xr.Dataset({"value": (dims, value), "chance": (dims, np.full(value.shape, 0.25))})
        failed.append(bool(verdicts(drawn)["fails"].any()))
    assert np.mean(failed) <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / 200)
    value[0, :, 2, 1] += 0.1
    fails = verdicts(xr.Dataset({"value": (dims, value), "chance": (dims, np.full(value.shape, 0.25))}))["fails"]
    assert fails[0, 2, 1]
    assert fails.sum() == 1


def test_scores_that_do_not_exist_are_no_verdict():
    value = np.random.default_rng(0).normal(0.25, 0.03, (1, 5, 1, 2))
    value[..., 1] = np.nan
    drawn = xr.Dataset({"value": (("kind", "draw", "representation", "setting"), value)})
    found = verdicts(drawn.assign(chance=drawn["value"] * 0 + 0.25))
    assert not found["fails"].any()
    assert np.isnan(found["p"][0, 0, 1])


@pytest.mark.parametrize(
    ("value", "fails"), [(1.0, True), (1 / 4, False), (float(np.float32(1 / 4)) + 1e-8, False), (0.0, False)]
)
def test_draws_that_are_all_alike_are_judged(value, fails):
    drawn = xr.Dataset({"value": (("kind", "draw", "representation", "setting"), np.full((1, 10, 1, 1), value))})
    assert verdicts(drawn.assign(chance=drawn["value"] * 0 + 0.25))["fails"].item() is fails
