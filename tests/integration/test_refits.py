"""Nulls that refit, end to end: what is noise stays noise, what is signal leaves it, and nothing made is made again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from neuromvm.analysis.baselines.catalogue import baseline
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.decoding.nulls import own_minus_others_at_most
from neuromvm.analysis.decoding.scoring import null_scores
from neuromvm.analysis.generated.coherence import Options as CoherenceOptions
from neuromvm.analysis.generated.coherence import coherence, refit_settings
from neuromvm.analysis.judged import values
from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.readouts.decoders import decode
from neuromvm.analysis.readouts.representations import Inputs, Latents
from neuromvm.data.correspondence import CORRESPONDENCE, exchanged
from neuromvm.data.permutation import permuted
from neuromvm.data.simulate.codes import simulate_codes
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import RunFolderError, SchemaError, SpecError
from neuromvm.files import write_tree
from neuromvm.folders.study import Study, refit_file
from neuromvm.inference.transfer import impute_each, transfer
from neuromvm.specs import ExperimentSpec, ModelSpec, SampleSpec, SplitSpec, TrainingSpec, to_yaml
from neuromvm.training.fit import fit
from neuromvm.training.stack_size import stack_size
from neuromvm.workflow.command_line import app
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.refits import refit, run_refits
from tests.conftest import tuned_recordings
from tests.integration.make_run import CONFIG, SPEC

EARLIER = Path(__file__).parents[1] / "committed_runs" / "0.1.0"
MODEL = ModelSpec(
    sharing={"kind": "mmvm", "rate": "pairwise", "cross_reconstruction": 0.9},
    latent=3,
    beta=0.01,
    networks="linear",
    scale="constant",
)
TRAINING = TrainingSpec(epochs=25, learning_rate=0.03)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with the refits of two null data sets, made by one command."""
    folder = tmp_path_factory.mktemp("refits")
    write_experiment(folder / "data", CONFIG, seed=0)
    root = {"spec": "simulated_rats", "root": str(folder / "data")}
    models = {"mmvm": MODEL.model_dump(), "independent": {**MODEL.model_dump(), "sharing": "independent"}}
    training = {"epochs": 2, "seeds": [0, 1]}
    spec = ExperimentSpec.model_validate({**SPEC, "data": root, "models": models, "training": training})
    (folder / "experiment.yaml").write_text(to_yaml(spec))
    made = CliRunner().invoke(
        app, ["run", str(folder / "experiment.yaml"), "--out", str(folder / "run"), "--set", "nulls.refits=2"]
    )
    assert made.exit_code == 0, made.output
    return folder / "run"


def test_every_row_of_the_table_has_its_refits(finished):
    study = Study(finished)
    scores = study.scores("decoding")
    assert (scores["null_draws"].sel(null="labels") == 2).all()
    assert all(str(kind).startswith("refits: ") for kind in scores["null_kind"].sel(null="labels").values)
    # what is lost between animals and what codes of their own would give have nulls of their own
    own_nulls = ("within - cross", "cross, classes renamed")
    lines = [one for one in study.summary["analyses"]["decoding"]["scores"] if one["setting"] not in own_nulls]
    assert all(line["null_n"] == 2 and line["p"] >= 1 / 3 for line in lines)
    cross = values(scores).sel(setting="cross").dropna("representation")["representation"]
    p = scores["accuracy_p"].sel(target=scores["source"].values)
    alone, corrected = (p.sel(representation=cross, correction=name).to_numpy() for name in ("none", "family-wise"))
    others = ~np.eye(alone.shape[-1], dtype=bool)
    assert np.isfinite(alone).all()
    assert np.isnan(corrected[:, ~others]).all()
    assert p.sel(representation="raw", correction="family-wise").isnull().all()
    assert (corrected[:, others] >= alone[:, others]).all()


def test_what_is_made_is_kept_and_more_is_added(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    study = Study(tmp_path / "run")
    (row, *_) = study.models
    before = {file: file.stat().st_mtime_ns for file in (study.path / "refits" / row).iterdir()}
    run_refits(study, 3, [row], progress=False)
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    settings = [str(one) for one in study.scores("decoding")["chosen"].sel(representation=row).values]
    found = study.refits(row, settings)["labels"]
    assert found["permutation"].values.tolist() == [1, 2, 3]
    assert study.refits(row, [json.dumps({"latent_inverse_penalty": 7.0})] * len(settings)) == {}
    again = CliRunner().invoke(app, ["refit", str(study.path), "--n", "3", "--rows", row])
    assert again.exit_code == 0, again.output
    counts = Study(study.path).scores("decoding")["null_draws"].sel(null="labels", drop=True).to_series()
    assert counts[row] == 3
    assert (counts.drop(row) == 2).all()


def moved_along_the_session(finished, folder):
    """Return a copy of a run whose nulls move labels along the session."""
    shutil.copytree(finished, folder)
    spec = Study(folder).spec
    moved = spec.model_copy(update={"nulls": spec.nulls.model_copy(update={"rearrangement": "shift"})})
    (folder / "spec.yaml").write_text(to_yaml(moved))
    study = Study(folder)
    return study, [str(settings) for settings in study.scores("decoding")["chosen"].sel(representation="mcca").values]


def test_labels_may_move_along_the_session_instead(finished, tmp_path):
    study, settings = moved_along_the_session(finished, tmp_path / "run")
    assert study.refits("mcca", settings) == {}  # those that permute are of another null
    for row in ("mcca", next(iter(study.models))):
        run_refits(study, 2, [row], progress=False)
    found = study.refits("mcca", settings)["labels"]
    shifts = min(node.sizes["trial"] for node in study.samples.children.values()) - 1
    assert "labels moved together along all trials of each animal, circularly in order of onset" in found.attrs["null_kind"]
    assert (
        f"({shifts} distinct shifts of the animal with fewest, p is at least {1 / (shifts + 1):.2g})" in found.attrs["null_kind"]
    )
    null = permuted(study.samples, 2, rearrangement="shift")
    options = Options.model_validate(study.spec.analyses["decoding"])
    predictions = decode(baseline("mcca", Inputs(null, study.splits), options), study.samples, study.splits)
    replicas = next(iter(study.splits.children.values())).sizes["split"]
    expected = null_scores(predictions, study.samples, np.full(replicas, 2), "")
    xr.testing.assert_allclose(found["value"].sel(permutation=[2]), expected["value"])
    analyze(study, "decoding")
    kinds = study.scores("decoding")["null_kind"].sel(null="labels").to_series()
    assert kinds["mcca"] == kinds[next(iter(study.models))] == found.attrs["null_kind"]
    assert study.summary["design"] == json.loads(study.scores("decoding").attrs["design"])


def test_no_more_refits_are_made_than_there_are_shifts(finished, tmp_path, monkeypatch):
    study, settings = moved_along_the_session(finished, tmp_path / "run")
    monkeypatch.setattr("neuromvm.analysis.decoding.refit.fewest_shifts", lambda study: 1)
    run_refits(study, 5, ["mcca"], progress=False)
    assert study.refits("mcca", settings)["labels"]["permutation"].values.tolist() == [1]


def test_refits_of_several_nulls_lie_side_by_side(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    study = Study(tmp_path / "run")
    settings = [str(one) for one in study.scores("decoding")["chosen"].sel(representation="mcca").values]
    labels = study.refits("mcca", settings)["labels"]
    another = labels.assign_attrs(null_kind="refits: class correspondence scrambled")
    write_tree(refit_file(study.path, "mcca", range(1, 3), "class correspondence"), another)
    found = study.refits("mcca", settings)
    assert list(found) == ["labels", "class correspondence"]
    xr.testing.assert_equal(found["labels"], labels)
    assert analyze(study, "decoding")
    scores = study.scores("decoding")
    assert scores["null_draws"].sel(null="class correspondence").to_series()["mcca"] == 2


def test_refits_with_exchanged_names_judge_what_passes_between_animals(finished, tmp_path):
    study = Study(shutil.copytree(finished, tmp_path / "run"))
    before = study.scores("decoding")
    reasons = before["null_absent"].sel(null=CORRESPONDENCE)
    assert "neuromvm refit" in str(reasons.sel(representation="mcca", setting="cross").values)
    made = CliRunner().invoke(app, ["refit", str(study.path), "--n", "2", "--rows", "raw,mcca,mmvm", "--null", "correspondence"])
    assert made.exit_code == 0, made.output
    study = Study(study.path)
    assert not list((study.path / "refits").rglob("raw/*/*.nc"))
    scores = study.scores("decoding")
    xr.testing.assert_allclose(before["null_score"].sel(null="labels"), scores["null_score"].sel(null="labels"))
    assert scores["null_draws"].sel(null=CORRESPONDENCE).to_series()[["raw", "mcca", "mmvm", "independent"]].tolist() == [
        0,
        2,
        2,
        0,
    ]
    reasons = scores["null_absent"].sel(null=CORRESPONDENCE)
    assert "do not matter" in str(reasons.sel(representation="mmvm", setting="within").values)
    assert "one animal alone" in str(reasons.sel(representation="raw", setting="within").values)
    p = scores["null_score"].sel(null=CORRESPONDENCE, target="all animals", null_statistic="p")
    known = {"cross", "others", "pooled", "within - cross"}
    for row in ("mcca", "mmvm"):
        assert set(p["setting"].values[np.isfinite(p.sel(representation=row))]) == known
    lines = study.summary["analyses"]["decoding"]["scores"]
    shared = [line for line in lines if line["setting"].endswith(CORRESPONDENCE)]
    assert {line["representation"] for line in shared} == {"mcca", "mmvm"}
    assert len(shared) == 8
    report = (study.path / "report.html").read_text()
    assert "p decodable" in report
    assert "p shared" in report


@pytest.mark.parametrize("row", ["mcca", "mmvm"])
def test_refits_with_exchanged_names_are_fits_of_exchanged_samples(finished, tmp_path, row):
    study = Study(shutil.copytree(finished, tmp_path / "run"))
    run_refits(study, 2, [row], null=CORRESPONDENCE, progress=False)
    renamed = exchanged(study.samples, 2)
    if row == "mcca":
        options = Options.model_validate(study.spec.analyses["decoding"])
        representation = baseline("mcca", Inputs(renamed, study.splits), options)
    else:
        training = study.spec.training_for(row)
        latents = fit(renamed, study.splits, study.spec.models[row], training, progress=False).embed(renamed)
        representation = Latents(latents, study.splits, inverse_penalty=options_of(study)["latent_inverse_penalty"])
    predictions = decode(representation, renamed, study.splits)
    expected = null_scores(predictions, renamed, np.full(len(representation.replicas), 2), "")
    settings = [str(one) for one in study.scores("decoding")["chosen"].sel(representation=row).values]
    kept = study.refits(row, settings)[CORRESPONDENCE].sel(permutation=[2])
    tolerance = 1e-6 if row == "mcca" else 0.05  # stacks differ in the last bits of latents
    xr.testing.assert_allclose(kept["value"], expected["value"], atol=tolerance)


def options_of(study):
    return study.summary["analyses"]["decoding"]["options"]


@pytest.mark.slow
def test_a_run_makes_the_refits_that_its_experiment_asks_for(finished, tmp_path):
    spec = Study(finished).spec
    models = {"mmvm": spec.models["mmvm"].model_dump()}
    decoding = {**spec.analyses["decoding"], "baselines": ["raw", "mcca"]}
    asked = {**spec.model_dump(), "models": models, "analyses": {"decoding": decoding}, "nulls": {"correspondence": 2}}
    (tmp_path / "experiment.yaml").write_text(to_yaml(ExperimentSpec.model_validate(asked)))
    made = CliRunner().invoke(app, ["run", str(tmp_path / "experiment.yaml"), "--out", str(tmp_path / "run")])
    assert made.exit_code == 0, made.output
    draws = Study(tmp_path / "run").scores("decoding")["null_draws"]
    assert draws.sel(null=CORRESPONDENCE).to_series().to_dict() == {"mmvm": 2, "raw": 0, "mcca": 2}
    assert (draws.sel(null="labels") == 500).all()
    both = CliRunner().invoke(app, ["refit", str(tmp_path / "run"), "--n", "2", "--rows", "mcca", "--null", "both"])
    assert both.exit_code == 0, both.output
    assert Study(tmp_path / "run").scores("decoding")["null_draws"].sel(null="labels", representation="mcca") == 2


@pytest.mark.slow
def test_animals_are_compared_on_the_latents_of_refits(tmp_path):
    write_experiment(tmp_path / "data", CONFIG, seed=0)
    spec = ExperimentSpec.model_validate(
        {
            **SPEC,
            "data": {"spec": "simulated_rats", "root": str(tmp_path / "data")},
            "samples": {"start": 0.0, "stop": 0.6, "label": "odor", "keep": {"odor": ["A", "B", "C", "D"]}},
            "split": {"kind": "halves", "repeats": 1},
            "models": {"mmvm": MODEL.model_dump()},
            "training": {"epochs": 1},
            "analyses": {
                "decoding": {**SPEC["analyses"]["decoding"], "baselines": ["raw"], "reference": "raw"},
                "coherence": {"bootstraps": 100, "permutations": 500},
            },
        }
    )
    study = run_experiment(spec, tmp_path / "run", progress=False)
    analyze(study, "decoding")
    run_refits(study, 1, null=CORRESPONDENCE, progress=False)
    assert not list((study.path / "refits").rglob("consistency-*.nc"))
    analyze(study, "coherence", {"bootstraps": 100, "permutations": 500})
    assert study.scores("coherence")["correspondence_draws"].item() == 1
    analyze(study, "consistency", {"permutations": 99})
    assert study.scores("consistency")["correspondence_draws"].to_series().to_dict() == {"mmvm": 0, "raw": 99, "pca": 99}
    made = CliRunner().invoke(app, ["refit", str(study.path), "--n", "2", "--null", "correspondence"])
    assert made.exit_code == 0, made.output
    study = Study(study.path)
    saved = study.exchanged_scores("mmvm", "consistency", json.dumps({"ridge": 1.0}))
    assert saved["permutation"].values.tolist() == [1, 2]
    assert study.scores("decoding")["null_draws"].sel(null=CORRESPONDENCE, representation="mmvm") == 2
    scores = study.scores("consistency")
    assert scores["correspondence_draws"].sel(representation="mmvm") == 2
    assert np.isfinite(scores["correspondence_p"].sel(measure="linear map")).all()
    scores = study.scores("coherence").sel(representation="mmvm", target="all animals")
    assert scores["correspondence_draws"] == 2
    null = scores["correspondence"]
    assert np.isfinite(null.sel(setting=["cross", "imputed"])).all()
    assert null.sel(setting=["within", "ceiling"]).isnull().all()
    assert "do not matter" in str(scores["correspondence_absent"].sel(setting="within").item())
    shared = [line["setting"] for line in study.summary["analyses"]["coherence"]["scores"] if CORRESPONDENCE in line["setting"]]
    assert shared == ["cross, scrambled correspondence", "imputed, scrambled correspondence"]
    renamed = exchanged(study.samples, 2)  # independent check: fit, generate and score once more
    fitted = fit(renamed, study.splits, MODEL, study.spec.training_for("mmvm"), progress=False)
    trees = ({"mmvm": make(fitted, renamed, study.splits)} for make in (transfer, impute_each))
    expected = coherence(renamed, study.splits, *trees, CoherenceOptions(bootstraps=100, permutations=500))
    settings = refit_settings(CoherenceOptions())
    kept = study.exchanged_scores("mmvm", "coherence", settings)["value"].sel(permutation=2)
    np.testing.assert_allclose(
        kept.to_numpy(), expected["score"].isel(representation=0, unit_of_inference=0, statistic=0).to_numpy(), atol=0.05
    )
    analyze(study, "consistency", {"permutations": 99, "ridge": 3.0})  # refits were compared with another ridge
    assert study.scores("consistency")["correspondence_draws"].sel(representation="mmvm") == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_cross_is_blind_to_sharing(share):
    """With names exchanged and all refitted, other animals read as well as before, given as many dimensions as conditions."""
    recordings = simulate_codes(3, 5, 16, 25, share=share, signal=1.0, seed=3)
    samples = make_samples(recordings, SampleSpec(label=["condition"]))
    splits = make_splits(samples, SplitSpec(kind="halves"))

    def cross(representation, renamed):
        predictions = decode(representation, renamed, splits)
        value = null_scores(predictions, renamed, np.zeros(len(representation.replicas), int), "")["value"]
        return float(value.sel(setting="cross").mean())

    training, model = TRAINING.model_copy(update={"epochs": 60}), MODEL.model_copy(update={"latent": 5})
    scores = {"mcca": [], "mmvm": []}
    for number in range(4):
        renamed = exchanged(samples, number)
        scores["mcca"].append(cross(baseline("mcca", Inputs(renamed, splits), Options()), renamed))
        latents = fit(renamed, splits, model, training, progress=False).embed(renamed)
        scores["mmvm"].append(cross(Latents(latents, splits, inverse_penalty=1.0), renamed))
    for true, *scrambled in scores.values():
        assert true > 0.4  # chance is .2
        assert abs(true - np.mean(scrambled)) < 0.1


def test_a_loss_between_animals_is_judged_by_how_small_it_is():
    value, null = np.array([0.1, 0.5]), np.array([[0.3, 0.3], [0.4, 0.4], [0.2, 0.2]])
    mean, low, high, p = own_minus_others_at_most(value, null).T
    np.testing.assert_allclose(mean, 0.3)
    np.testing.assert_allclose(p, [0.25, 1.0])
    assert (low < mean).all()
    assert (mean < high).all()


def test_names_of_conditions_with_several_labels_are_not_exchanged(finished, tmp_path):
    study = Study(shutil.copytree(finished, tmp_path / "run"))
    for node in study.samples.children.values():
        node["match"] = node["match"] * 0
    with pytest.raises(SchemaError, match="one label for each condition"):
        run_refits(study, 1, ["mcca"], null=CORRESPONDENCE, progress=False)


def test_scores_of_an_earlier_version_are_refused(tmp_path):
    earlier = Study(shutil.copytree(EARLIER, tmp_path / "run"))
    with pytest.raises(RunFolderError, match=r"earlier version.*neuromvm analyze decoding"):
        run_refits(earlier, 2, ["raw"], progress=False)


def test_an_unknown_row_is_refused(finished):
    with pytest.raises(SpecError, match="no row 'mccca'"):
        run_refits(Study(finished), 2, ["mccca"], progress=False)


def scores_of(latents, samples, splits):
    permutation = latents[next(iter(latents.children))]["permutation"].to_numpy()
    return null_scores(decode(Latents(latents, splits, inverse_penalty=1), samples, splits), samples, permutation, "")


def cross_p(samples, splits, refits, epochs=25):
    training = TRAINING.model_copy(update={"epochs": epochs})
    observed = scores_of(fit(samples, splits, MODEL, training, progress=False).embed(samples), samples, splits)
    null = scores_of(refit(samples, splits, MODEL, training, range(1, refits + 1)), samples, splits)
    value, drawn = (one["value"].sel(setting="cross").mean(["split", "target"]).to_numpy() for one in (observed, null))
    return (1 + (drawn >= value[0] - 1e-9).sum()) / (1 + len(drawn))


def small(tuning, seed, trials=24):
    recordings = tuned_recordings({"mitt": (8, trials), "stella": (9, trials)}, tuning=tuning, seed=seed)
    samples = make_samples(recordings, SampleSpec(start=0, label=["odor"]))
    return samples, make_splits(samples, SplitSpec(repeats=1, seed=seed))


def test_signal_leaves_the_null():
    assert cross_p(*small(1.0, 0, trials=60), refits=39, epochs=100) == 1 / 40


@pytest.mark.slow
def test_p_values_are_uniform_on_noise():
    found = np.array([cross_p(*small(0.0, seed), refits=19) for seed in range(60)])
    # multiples of 1/20, each as probable: mean .525, standard error .037
    assert abs(found.mean() - 0.525) < 3 * 0.0372
    assert (found <= 0.1).mean() <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 60)
    assert (found >= 0.95).mean() <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 60)


def test_a_stack_holds_fewer_replicas_of_larger_models_and_none_where_it_does_not_pay():
    samples, _ = small(1.0, 0)

    def size(*hidden):
        return stack_size(samples, ModelSpec(sharing="mmvm", networks={"kind": "mlp", "hidden": hidden}), TRAINING)

    assert stack_size(samples, MODEL, TRAINING) == size(32) > size(600, 600) > size(4000, 4000) == 1


def test_refits_of_baselines_are_fits_of_permuted_samples(finished):
    study = Study(finished)
    options = Options.model_validate(study.spec.analyses["decoding"])
    predictions = decode(baseline("mcca", Inputs(permuted(study.samples, 2), study.splits), options), study.samples, study.splits)
    replicas = next(iter(study.splits.children.values())).sizes["split"]
    expected = null_scores(predictions, study.samples, np.full(replicas, 2), "")
    settings = [str(one) for one in study.scores("decoding")["chosen"].sel(representation="mcca").values]
    kept = study.refits("mcca", settings)["labels"].sel(permutation=[2])
    xr.testing.assert_allclose(kept["value"], expected["value"])


def test_null_data_that_cannot_be_fitted_count_as_reaching(finished, tmp_path, monkeypatch):
    import neuromvm.analysis.decoding.refit

    shutil.copytree(finished, tmp_path / "run")
    study, fit_one, fitted = Study(tmp_path / "run"), neuromvm.analysis.decoding.refit.baseline, []

    def fail_on_one(name, inputs, options):
        fitted.append(name)
        if len(fitted) in (2, 4):  # once in the pack, once alone
            raise ValueError("singular")
        return fit_one(name, inputs, options)

    monkeypatch.setattr(neuromvm.analysis.decoding.refit, "baseline", fail_on_one)
    shutil.rmtree(study.path / "refits" / "mcca")
    failed = run_refits(study, 3, ["mcca"], progress=False)
    assert len(failed) == 1
    assert "mcca, null data" in failed[0]
    settings = [str(one) for one in study.scores("decoding")["chosen"].sel(representation="mcca").values]
    values = study.refits("mcca", settings)["labels"]["value"].sel(setting="cross")
    assert values.sizes["permutation"] == 3
    assert values.isnull().all(["split", "target"]).sum() == 1


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_machine_without_a_compiler_makes_no_refits(finished, tmp_path, jobs):
    shutil.copytree(finished, tmp_path / "run")
    spec = Study(tmp_path / "run").spec
    training = spec.training.model_copy(update={"compile": True})
    (tmp_path / "run" / "spec.yaml").write_text(to_yaml(spec.model_copy(update={"training": training})))
    away = {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "neuromvm",
        "refit",
        str(tmp_path / "run"),
        "--n",
        "6",
        "--jobs",
        jobs,
        "--rows",
        "mmvm",
    ]
    done = subprocess.run(command, env={**os.environ, **away}, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "C++ compiler" in done.stderr
    assert [file.name for file in (tmp_path / "run" / "refits" / "mmvm").iterdir()] == ["00001-00002.nc"]


def test_refits_are_of_the_options_that_the_table_was_computed_with(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    run = str(tmp_path / "run")
    CliRunner().invoke(app, ["analyze", "decoding", run, "--set", "ridge=7"])
    made = CliRunner().invoke(app, ["refit", run, "--n", "2", "--rows", "mcca"])
    assert made.exit_code == 0, made.output
    scores = Study(run).scores("decoding")
    assert json.loads(str(scores["chosen"].sel(representation="mcca").values[0]))["ridge"] == 7
    assert scores["null_draws"].sel(representation="mcca", null="labels") == 2
