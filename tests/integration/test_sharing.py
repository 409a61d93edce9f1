"""Held-out conditions end to end: nothing is computed twice, a kill loses nothing, models run in stacks of any size."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from typer.testing import CliRunner

from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.sharing.fits import MODEL_ROWS
from neuromvm.analysis.verdict import QUESTIONS, verdict
from neuromvm.errors import RunFolderError, ShapeError, SpecError
from neuromvm.files import read_dataset, read_json, write_json, write_tree
from neuromvm.folders.sharing import SharingFolder
from neuromvm.folders.study import Study
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow import experiment, sharing
from neuromvm.workflow.command_line import app
from neuromvm.workflow.sharing import run_sharing, sources_of
from tests.conftest import tuned_recordings, with_trial_label
from tests.integration.sharing_run import SHARING, SPEC, make_run

MODELS = {"mmvm": ["mmvm"]}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run without results of held-out conditions; tests work on copies."""
    return make_run(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture
def study(plain, tmp_path):
    shutil.copytree(plain.path, tmp_path / "run")
    return Study(tmp_path / "run")


def files(study: Study) -> dict[str, int]:
    return {str(file.relative_to(study.path)): file.stat().st_mtime_ns for file in study.path.glob("sharing/*/*.nc")}


def accuracies(study: Study, source: str) -> xr.Dataset:
    return SharingFolder(study).refits(source)


def test_the_command_shares_and_the_report_shows_the_claims(study):
    done = CliRunner().invoke(app, ["sharing", str(study.path), "--n", "3", "--rows", "class_kernel"])
    assert done.exit_code == 0, done.output
    assert "class_kernel" in done.output
    assert sorted(files(study)) == ["sharing/class_kernel/answers.nc", "sharing/class_kernel/refits-00001-00003.nc"]
    html = (study.path / "report.html").read_text()
    for question in QUESTIONS.values():
        assert question in html
        assert question in done.output
    claim = read_json(study.path / "summary.json")["verdict"]["shared"]
    assert (claim["answer"], claim["null_draws"]) == ("open", 3)
    assert claim["p"] in (0.25, 0.5, 0.75, 1.0)
    assert claim["sentence"].split(":")[0] in html
    assert claim["sentence"] in done.output
    assert (study.path / "figures" / "sharing-held_out.png").is_file()
    unknown = CliRunner().invoke(app, ["sharing", str(study.path), "--rows", "class_kernal"])
    assert unknown.exit_code != 0
    assert "class_kernel" in f"{unknown.output} {unknown.exception}"


def test_the_same_call_computes_nothing_and_a_larger_one_only_what_is_missing(study):
    run_sharing(study, 2, ["class_kernel"], progress=False)
    before = files(study)
    run_sharing(study, 2, ["class_kernel"], progress=False)
    assert files(study) == before
    run_sharing(study, 5, ["class_kernel"], progress=False)
    after = files(study)
    assert {name: after[name] for name in before} == before
    assert accuracies(study, "class_kernel")["exchange"].values.tolist() == [1, 2, 3, 4, 5]


def test_a_partial_folder_is_completed_with_the_same_result(study):
    run_sharing(study, 3, ["class_kernel", "own labels", "few labels"], progress=False)
    analyze(study, "sharing")
    whole = study.scores("sharing")
    (study.path / "sharing" / "class_kernel" / "answers.nc").unlink()
    for source in ("class_kernel", "few labels"):
        for file in (study.path / "sharing" / source).glob("refits-*.nc"):
            kept = read_dataset(file).isel(exchange=[0, 2])
            file.unlink()
            for number in kept["exchange"].values.tolist():
                write_tree(file.with_name(f"refits-{number:05d}-{number:05d}.nc"), kept.sel(exchange=[number]))
    run_sharing(study, 3, ["class_kernel", "own labels", "few labels"], progress=False)
    analyze(study, "sharing")
    xr.testing.assert_identical(study.scores("sharing"), whole)


def test_other_splits_are_refused_with_a_next_step(study):
    run_sharing(study, 0, ["class_kernel"], progress=False)
    changed = read_json(study.path / "sharing" / "sharing.json")
    changed["split"]["held_out"] = 3
    write_json(study.path / "sharing" / "sharing.json", changed)
    with pytest.raises(RunFolderError, match=r"other split.*[Dd]elete"):
        run_sharing(study, 0, ["class_kernel"], progress=False)


def test_a_refit_that_fails_is_lost_alone_and_counts_as_reaching(study, monkeypatch):
    solve = sharing.solve_table
    wrong = sharing.exchanged(SharingFolder(study).samples(), 3)["animal0"]["match"].to_numpy()

    def failing(samples, *rest):
        if (samples["animal0"]["match"].to_numpy() == wrong).all():
            raise ShapeError("test", found="nothing", expected="a table")
        return solve(samples, *rest)

    monkeypatch.setattr(sharing, "solve_table", failing)
    failed = run_sharing(study, 5, ["class_kernel"], progress=False)
    assert len(failed) == 1
    assert "class_kernel, null data 3" in failed[0]
    null = accuracies(study, "class_kernel")["accuracy"]
    assert np.isnan(null.sel(exchange=3)).all()
    assert np.isfinite(null.drop_sel(exchange=3)).all()
    analyze(study, "sharing")
    score = study.scores("sharing").sel(representation="class_kernel", setting="held-out conditions", target="all animals")
    value = score["score"].sel(unit_of_inference="trials", statistic="value").item()
    reached = (null.sel(among="held-out conditions").mean(["split", "target", "row"]).values >= value - 1e-6).sum()
    assert score["null_score"].sel(null_statistic="p").item() == pytest.approx((reached + 2) / 6)


def test_rows_are_those_of_the_experiment(study):
    assert sources_of(study) == ["class_kernel", "own labels", "few labels"]
    with pytest.raises(SpecError, match="class_kernel"):
        run_sharing(study, 0, ["kernel"], progress=False)
    run_sharing(study, 1, ["own labels", "class_kernel"], progress=False)
    assert not list((study.path / "sharing" / "own labels").glob("refits-*"))  # no correspondence to lose


def test_models_of_a_row_need_equally_many_seeds():
    both = dict.fromkeys(("mmvm", "wide"), SPEC["models"]["mmvm"])
    spec = {**SPEC, "models": both, "sharing": {**SHARING, "models": {"row": ["mmvm", "wide"]}}}
    ExperimentSpec.model_validate(spec)
    with pytest.raises(ValidationError, match="equally many seeds"):
        ExperimentSpec.model_validate({**spec, "training_of": {"wide": {"seeds": [0, 1]}}})


def test_few_labels_of_more_trials_than_there_are_leave_the_question_open(tmp_path):
    study = make_run(tmp_path / "run", sharing={**SHARING, "few_labels": [50]})
    run_sharing(study, 0, progress=False)
    analyze(study, "sharing")
    assert verdict(study)["helps"].answer == "not tested"


@pytest.mark.parametrize(
    ("samples", "by", "lacking"),
    [
        ({"label": ["odor"], "match": ["odor", "block"]}, "block", "every_animal"),
        ({"label": ["odor", "window"], "width": 1.0}, "window", "one_animal"),
    ],
)
def test_contexts_and_times_without_labels_are_told_by_animals_that_know_them(tmp_path, monkeypatch, samples, by, lacking):
    """Mean activity of a condition is the same in all animals, which know the contexts that the others lack."""
    recordings = with_trial_label(
        tuned_recordings({"mitt": (40, 72), "stella": (40, 72), "barat": (40, 72)}, tuning=0.0),
        "block",
        lambda animal: np.arange(animal.sizes["trial"]) // 24,
    )
    random = np.random.default_rng(0)
    gain = random.normal(size=(3, 3, 2, 2)) @ random.normal(size=(2, 40))  # odor, block, half of the trial, unit
    for number, animal in enumerate(recordings.children.values()):
        drawn = np.random.default_rng([1, number])
        odor = np.searchsorted(list("ABC"), animal["odor"].values)
        rate = np.exp(0.7 * gain[odor, animal["block"].values * (by == "block")]).repeat(10, axis=1)
        animal["spike_count"] = animal["spike_count"].copy(data=drawn.poisson(0.3 * rate).astype(np.uint8))
    monkeypatch.setattr(experiment, "load_experiment_recordings", lambda spec: recordings)
    section = {**SHARING, "split": {"kind": "conditions", "by": by, "lacking": lacking}, "few_labels": []}
    spec = ExperimentSpec.model_validate({**SPEC, "samples": samples, "sharing": section})
    study = experiment.run_experiment(spec, tmp_path / "run", progress=False)
    run_sharing(study, 0, progress=False)
    analyze(study, "sharing")
    scores = study.scores("sharing").sel(setting="held-out conditions", representation="class_kernel", statistic="value")
    accuracy = scores["score"].sel(target="all animals", unit_of_inference="trials").item()
    assert accuracy > 1.5 * scores["chance"].sel(target="all animals").item()
    assert ("windows" in scores.attrs["interval"]) == (by == "window")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A run whose model is refitted in a single stack."""
    training = {"epochs": 3, "device": "cpu", "seeds": [0, 1]}
    study = make_run(tmp_path_factory.mktemp("models") / "run", training=training, sharing={**SHARING, "models": MODELS})
    shutil.rmtree(study.path / "sharing", ignore_errors=True)
    shutil.copytree(study.path, study.path.parent / "single")
    run_sharing(study, 2, ["mmvm", "class_kernel"], progress=False)
    return study


@pytest.mark.slow
def test_rows_of_a_model_have_answers_refits_and_a_claim(models):
    tree = SharingFolder(models).answers("mmvm")
    assert tree["row"].values.tolist() == [f"mmvm_{suffix}" for suffix in MODEL_ROWS]
    assert np.isfinite(tree["accuracy"]).all()
    # two seeds: a trial is right in none, in one or in both
    shares = np.unique(tree["animal0"]["correct"].to_numpy())
    assert set(shares[np.isfinite(shares)]) <= {0, 0.5, 1}
    for settings in tree["settings"].values.ravel():
        assert [choice["model"] for choice in json.loads(settings)] == ["mmvm", "mmvm"]
    assert accuracies(models, "mmvm")["exchange"].values.tolist() == [1, 2]
    analyze(models, "sharing")
    claim = verdict(models)["better_than_linear"]
    assert claim.row == "mmvm_imputed"
    assert claim.answer in ("yes", "no", "open")
    absent = models.scores("sharing")["null_absent"].sel(representation="mmvm_imputed")
    assert set(absent.values.ravel().tolist()) == {""}


@pytest.mark.slow
def test_results_do_not_depend_on_the_size_of_stacks(models, monkeypatch):
    single = Study(models.path.parent / "single")
    monkeypatch.setattr(sharing, "_batch_size", lambda *_: 1)
    run_sharing(single, 2, ["mmvm", "class_kernel"], progress=False)
    assert len(list((single.path / "sharing" / "mmvm").glob("refits-*"))) == 2
    assert len(list((models.path / "sharing" / "mmvm").glob("refits-*"))) == 1
    for source in ("class_kernel", "mmvm"):
        np.testing.assert_array_equal(accuracies(single, source)["accuracy"], accuracies(models, source)["accuracy"])
        xr.testing.assert_identical(
            SharingFolder(single).answers(source).to_dataset(), SharingFolder(models).answers(source).to_dataset()
        )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are killed by a signal")
def test_a_killed_command_continues_with_the_same_result(study, interruptible):
    undisturbed = Study(shutil.copytree(study.path, study.path.with_name("undisturbed")))
    run_sharing(undisturbed, 45, ["class_kernel"], progress=False)
    command = [sys.executable, "-m", "neuromvm", "sharing", str(study.path), "--n", "45", "--rows", "class_kernel"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        if list((study.path / "sharing" / "class_kernel").glob("refits-*")):
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(accuracies(study, "class_kernel")["exchange"]) < 45
    run_sharing(study, 45, ["class_kernel"], progress=False)
    xr.testing.assert_identical(accuracies(study, "class_kernel"), accuracies(undisturbed, "class_kernel"))
