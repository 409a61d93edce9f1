"""The verdict of a run: yes where codes are shared, no where they are private, open or not tested where nothing can be said."""

import json

import numpy as np
import pytest

from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.report.document import render
from neuromvm.analysis.verdict import QUESTIONS, Claim, _answer, _better_than_linear, _helps, _shared, entries, verdict
from neuromvm.data.correspondence import CORRESPONDENCE
from neuromvm.workflow.sharing import run_sharing
from tests.integration.sharing_run import SHARING, make_run

CLAIMS = ["decodable", "shared", "helps", "better_than_linear"]
PARTS = {"value", "low", "high", "p", "null", "null_draws", "sentence", "answer", "animals", "trials"}


@pytest.fixture(scope="module")
def shared_codes(tmp_path_factory):
    """A run on shared codes with 39 refits, decoding among its analyses."""
    settings = {"sharing": {**SHARING, "rows": ["class_kernel", "order_kernel", "procrustes_encoding"]}}
    study = make_run(tmp_path_factory.mktemp("shared") / "run", **settings)
    assert run_sharing(study, 39, ["class_kernel"], progress=False) == []
    run_sharing(study, 2, ["few labels"], progress=False)
    run_sharing(study, 0, ["order_kernel", "procrustes_encoding", "own labels"], progress=False)
    analyze(study, "sharing")
    return study


def test_questions_are_in_the_order_of_a_reviewer(shared_codes):
    assert list(QUESTIONS) == CLAIMS == list(verdict(shared_codes))


def test_shared_codes_are_shared(shared_codes):
    claim = verdict(shared_codes)["shared"]
    assert claim.answer == "yes"
    assert claim.p == pytest.approx(1 / 40)
    assert claim.null_draws == 39
    assert claim.low < claim.value < claim.high
    assert claim.low > claim.chance == 0.5
    assert 0.3 < claim.effect < 1.2
    assert claim.animals == 3
    assert claim.trials == 3 * 48
    for part in (
        "The animals share a code",
        f"{claim.value:.3f}",
        "p = 0.025 of 39 null data sets",
        "% of what the animal's own",
    ):
        assert part in claim.sentence


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.3, "It is more than the order of the label tells"),
        (-0.1, 0.3, "It cannot be told apart from the order of the label alone"),
        (-0.3, -0.1, "The order of the label tells more without any other animal"),
    ],
)
def test_sharing_is_set_against_the_order_of_the_label(shared_codes, low, high, words):
    scores = shared_codes.scores("sharing").copy(deep=True)
    cell = {"reference": "order_kernel", "representation": "class_kernel", "setting": "held-out conditions"}
    for statistic, bound in (("low", low), ("high", high)):
        scores["difference"].loc[{**cell, "unit_of_inference": "animals", "statistic": statistic}] = bound
    assert words in _shared(scores).sentence
    assert "order of the label" not in _shared(scores.drop_sel(representation="order_kernel")).sentence


def test_the_summary_and_the_report_hold_the_verdict(shared_codes):
    summary = json.loads((shared_codes.path / "summary.json").read_text())
    assert list(summary["verdict"]) == CLAIMS
    for claim in summary["verdict"].values():
        assert set(claim) >= PARTS
        assert claim["answer"] in ("yes", "no", "open", "not tested")
    assert summary["verdict"] == json.loads(json.dumps(entries(verdict(shared_codes))))
    assert summary["verdict"]["shared"]["value"] == verdict(shared_codes)["shared"].value
    assert summary["verdict"]["better_than_linear"]["p"] is None
    html = render(shared_codes)
    places = [html.index(question) for question in QUESTIONS.values()]
    assert places == sorted(places)
    for claim in verdict(shared_codes).values():
        assert claim.sentence.split(":")[0].replace("'", "&#39;") in html


def test_an_animal_with_few_labels_is_judged_against_its_own_decoder(shared_codes):
    claim, scores = verdict(shared_codes)["helps"], shared_codes.scores("sharing")
    table = scores["few_score"].sel(trials=2)
    gain = (table.sel(few_row="class_kernel") - table.sel(few_row="own")).mean().item()
    assert claim.value == pytest.approx(gain)
    assert claim.null_draws == 2
    assert claim.answer == ("open" if gain > 0 else "no")
    assert "2 labelled trials of each condition" in claim.sentence


def test_private_codes_are_not_shared(tmp_path):
    study = make_run(tmp_path / "run", share=0.0, sharing={**SHARING, "few_labels": []})
    run_sharing(study, 39, progress=False)
    analyze(study, "sharing")
    claim = verdict(study)["shared"]
    assert claim.answer == "no"
    assert claim.p > 0.05
    assert "No evidence that the animals share a code" in claim.sentence
    assert verdict(study)["helps"].answer == "not tested"
    assert "neuromvm sharing" in verdict(study)["helps"].sentence


def test_what_was_not_computed_is_not_tested(tmp_path):
    study = make_run(tmp_path / "run")
    claims = verdict(study)
    assert {name: claim.answer for name, claim in claims.items()} == dict.fromkeys(CLAIMS, "not tested")
    for name in ("shared", "helps", "better_than_linear"):
        assert f"neuromvm sharing {study.path}" in claims[name].sentence
    assert "neuromvm analyze decoding" in claims["decodable"].sentence


def test_too_few_refits_leave_it_open(shared_codes):
    scores = shared_codes.scores("sharing")
    few = scores.assign(null_draws=scores["null_draws"] * 0 + 10)
    few["null_score"].loc[{"null": CORRESPONDENCE, "null_statistic": "p"}] = 1 / 11
    claim = _shared(few)
    assert claim.answer == "open"
    assert "more refits are needed" in claim.sentence


@pytest.mark.parametrize(
    ("p", "draws", "answer"),
    [(1 / 20, 19, "yes"), (1 / 19, 18, "open"), (0.04, 199, "yes"), (0.06, 199, "no"), (np.nan, 0, "open")],
)
def test_an_answer_needs_enough_null_data(p, draws, answer):
    assert _answer(p, draws) == answer


def test_a_loss_is_no_help_and_an_uncertain_gain_is_open(shared_codes):
    scores = shared_codes.scores("sharing")
    for gain, p, answer in (
        ([-0.01, -0.03, 0.01], 0.03, "no"),
        ([0.02, 0.01, 0.03], 0.03, "yes"),
        ([0.02, 0.01, 0.03], 0.3, "no"),
        ([0.02, -0.01, 0.05], 0.03, "open"),
    ):
        changed = scores.copy(deep=True).assign_attrs(few_refits=39)
        changed["few_gain"].loc[{"few_row": "class_kernel", "trials": 2}] = gain
        changed["few_null"].loc[{"few_row": "class_kernel", "trials": 2, "null_statistic": "p"}] = p
        assert _helps(changed).answer == answer


def test_a_model_is_compared_with_the_best_linear_row(shared_codes):
    scores = shared_codes.scores("sharing")
    renamed = [{"order_kernel": "mmvm_imputed"}.get(str(name), str(name)) for name in scores["representation"].values]
    scores = scores.assign_coords(representation=renamed, reference=renamed)
    value = scores["score"].sel(
        setting="held-out conditions", target="all animals", unit_of_inference="trials", statistic="value"
    )
    best = max(("class_kernel", "procrustes_encoding"), key=lambda name: float(value.sel(representation=name)))
    claim = _better_than_linear(scores)
    assert claim.row == "mmvm_imputed"
    assert best in claim.sentence
    assert claim.value == pytest.approx(float(value.sel(representation="mmvm_imputed") - value.sel(representation=best)))
    for low, high, answer in ((0.01, 0.1, "yes"), (-0.1, 0.1, "open"), (-0.1, -0.01, "no")):
        changed = scores.copy(deep=True)
        bounds = {"reference": best, "representation": "mmvm_imputed", "unit_of_inference": "animals"}
        changed["difference"].loc[{**bounds, "statistic": "low"}] = low
        changed["difference"].loc[{**bounds, "statistic": "high"}] = high
        assert _better_than_linear(changed).answer == answer


def test_parts_that_do_not_exist_are_null():
    entry = entries({"shared": Claim("not tested", "Nothing was tested.")})["shared"]
    assert entry["p"] is None
    assert entry["value"] is None
    assert json.loads(json.dumps(entry)) == entry


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "answer"), [(0.6, "yes"), (0.0, "no")])
def test_a_label_is_decodable_where_activity_holds_it(tmp_path, signal, answer):
    study = make_run(tmp_path / "run", signal=signal, seed=1)
    options = {"baselines": ["raw_lda"], "reference": "raw_lda", "permutations": 500, "bootstraps": 100, "seed": 1}
    analyze(study, "decoding", options)
    claim, scores = verdict(study)["decodable"], study.scores("decoding").sel(representation="raw_lda", setting="within")
    assert claim.answer == answer
    assert claim.row == "raw_lda"
    own = scores["score"].sel(target=["animal0", "animal1", "animal2"], unit_of_inference="trials", statistic="value")
    assert claim.value == pytest.approx(float(own.mean()))
    assert claim.animals == 3
    assert claim.chance == pytest.approx(1 / 8)
    assert f"{claim.value:.3f}" in claim.sentence
