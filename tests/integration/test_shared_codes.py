"""The page of shared codes is generated from a run, and says what the run holds."""

from pathlib import Path

import numpy as np
import pytest

from analysis import shared_codes
from analysis.tables import Request
from neuromvm.analysis.pipeline import analyze
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.folders.sharing import SharingFolder
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.sharing import run_sharing
from tests.integration.make_run import CONFIG

MODEL = {"sharing": "mmvm", "latent": 2, "networks": "linear", "scale": "constant"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("shared_codes")
    write_experiment(folder / "data", CONFIG, seed=0)
    spec = ExperimentSpec.model_validate(
        {
            "name": "rats",
            "data": {"spec": "simulated_rats", "root": str(folder / "data")},
            "samples": {"start": 0.0, "stop": 0.6, "label": "odor", "keep": {"odor": ["A", "B", "C", "D"]}},
            "models": {"small": MODEL},
            "training": {"epochs": 2, "learning_rate": 0.01},
            "analyses": {"decoding": {"baselines": ["raw_lda"], "tune": False, "bootstraps": 100, "permutations": 500}},
            "sharing": {
                "split": {"kind": "conditions", "held_out": 2},
                "rows": ["class_kernel", "mcca_encoding"],
                "models": {"mmvm": ["small"]},
                "few_labels": [1],
                "refits": 1,
            },
        }
    )
    study = run_experiment(spec, folder / "rats", progress=False)
    analyze(study, "decoding")
    assert run_sharing(study, progress=False) == []
    analyze(study, "sharing")
    return study


def test_a_line_says_what_the_run_holds(run):
    scores = run.scores("sharing")
    table = shared_codes.row_table(scores).set_index("row")
    assert table.index.tolist()[-3:] == ["class_kernel", "mcca_encoding", "own labels"]
    assert "mmvm_imputed" in table.index
    accuracy = SharingFolder(run).answers("class_kernel")["accuracy"].to_numpy()[0, 0].mean(axis=0)  # (animal,)
    error = accuracy.std(ddof=1) / np.sqrt(len(accuracy))
    assert table.loc["class_kernel", "accuracy"] == f"{accuracy.mean():.3f} ± {error:.3f}"
    scrambled = SharingFolder(run).refits("class_kernel")["accuracy"].to_numpy()[0, 0, 0].mean()
    assert table.loc["class_kernel", "scrambled"] == f"{scrambled:.3f}"
    assert table.loc["class_kernel", "refits"] == "1"
    assert table.loc["class_kernel", "p"] in ("0.500", "1.000")
    assert table.loc["own labels", "refits"] == ""
    assert table.loc["own labels", "share of the ceiling"] == "1.000"
    assert table.loc["mcca_encoding", "less mcca_encoding"] == ""
    assert table.loc["class_kernel", "chosen most often"].startswith("share 0.")


def test_parts_hold_verdict_tables_and_figures(run, tmp_path):
    request = Request(tmp_path, run.path.parent, tmp_path / "pages", quick=True)
    part = shared_codes.every_part(request, run)
    assert run.summary["verdict"]["shared"]["sentence"] in part
    assert "every animal lacks conditions of its own" in part
    assert "| class_kernel | 1 |" in part  # with one labelled trial
    assert (tmp_path / "pages" / "figures" / "rats-sharing-held_out.png").is_file()
    assert "gain over the animal alone" in part


def test_rows_are_refitted_up_to_a_number_once(run, monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(shared_codes, "neuromvm", lambda *arguments: called.append(arguments))
    request = Request(tmp_path, tmp_path, tmp_path, quick=False)
    monkeypatch.setattr(shared_codes, "REFITS", {"class_kernel": 1, "mcca_read": 1})
    shared_codes.refit(request, run, ("class_kernel", "mcca_read"))
    assert called == []
    monkeypatch.setattr(shared_codes, "REFITS", {"class_kernel": 2, "mcca_read": 2})
    shared_codes.refit(request, run, ("class_kernel", "mcca_read"))
    ((_, _, *options),) = called
    assert options == ["--n", "2", "--rows", "class_kernel", "--jobs", "1"]  # mcca_read was not asked for in this run


def test_the_overview_has_a_line_a_data_set(run):
    claims = run.summary["verdict"]
    line = shared_codes.overview({"rats": ("simulated rats", run)}).splitlines()[-1]
    assert line.startswith("| [simulated rats](results/shared_codes.md) | 2 |")
    assert f"**{claims['decodable']['answer']}** {claims['decodable']['value']:.3f} [" in line
    assert f"**{claims['better_than_linear']['answer']}** {claims['better_than_linear']['value']:+.3f}" in line


def test_what_was_not_tested_is_said():
    assert shared_codes.cell_of({"answer": "not tested"}) == "not tested"
    assert shared_codes.sentences({"shared": {"answer": "not tested", "sentence": "Run it."}}) == ""


def test_choices_are_counted_over_splits_animals_and_seeds():
    both = '[{"share": 0.9, "model": "a"}, {"share": 0.5, "model": "b"}]'
    assert shared_codes.chosen(np.array([[both, '[{"share": 0.9, "model": "a"}]', ""]])) == "share 0.9, model a (67 % of 2)"
    assert shared_codes.chosen(np.array([["[{}]"]])) == ""


def test_time_adds_up_over_calls(tmp_path, monkeypatch):
    request, clock = Request(Path(), tmp_path, Path(), quick=True), iter([0.0, 3600.0, 10000.0, 11800.0])
    monkeypatch.setattr(shared_codes.time, "monotonic", lambda: next(clock))
    for _ in range(2):
        with shared_codes.timed(request, "rats"):
            pass
    assert shared_codes.hours(request, "rats") == 1.5
    assert shared_codes.hours(request, "mice") == 0.0
