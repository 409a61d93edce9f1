"""Paper mode computes what was published, says what that is worth, and shows on noise why nothing else may be done so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from neuromvm.analysis import compare
from neuromvm.analysis.decoding.decoding import Options
from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.report import write_report
from neuromvm.analysis.report.caveats import caveats, scored_as_trained
from neuromvm.analysis.report.results import read_summary
from neuromvm.data.features import features
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_npy import write_published_layout
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import SchemaError
from neuromvm.files import write_json
from neuromvm.folders.study import Study
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec, load_experiment_spec
from neuromvm.training.fit import fit
from neuromvm.workflow import command_line as cli
from neuromvm.workflow.experiment import run_experiment
from tests.conftest import tuned_recordings

EXPERIMENTS = Path(__file__).parents[2] / "analysis" / "experiments"
RATS = {
    "mitt": {"units": 7, "trials": 90},
    "stella": {"units": 5, "trials": 70},
    "superchris": {"units": 6, "trials": 80},
}
WINDOWS = 16
PAPER = {"independent", "mixture_of_products", "mmvm"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    write_published_layout(directory, SimulationConfig.model_validate({"animals": RATS}), seed=3)
    return directory


def run(name: str, folder: Path, out: Path, models: set[str], *more: str) -> Study:
    """Run a shipped experiment whole, but with some of its models, a few epochs and draws, and with more overrides."""
    spec = load_experiment_spec(
        EXPERIMENTS / f"{name}.yaml",
        [
            f"data.root={folder}",
            "training.epochs=3",
            "training.device=cpu",
            "analyses.decoding.bootstraps=100",
            "analyses.decoding.permutations=500",
            "analyses.decoding.baselines=[raw, mcca]",
            *more,
        ],
    )
    spec = spec.model_copy(update={"models": {model: one for model, one in spec.models.items() if model in models}})
    study = run_experiment(spec, out, progress=False)
    for analysis in spec.analyses:
        analyze(study, analysis)
    write_report(study)
    return study


@pytest.fixture(scope="module")
def paper(folder, tmp_path_factory) -> Study:
    return run("published_rats", folder, tmp_path_factory.mktemp("runs") / "paper", PAPER)


def rows_of(study: Study) -> list[dict]:
    return json.loads((study.path / "summary.json").read_text())["analyses"]["decoding"]["scores"]


def kept_rows(folder: Path, rat: str) -> np.ndarray:
    """Return odor, 1 to 4, of each row of a rat's file; 0 for one that the published filter leaves out."""
    correct, in_sequence, _, odor = np.load(next(folder.glob(f"*/{rat}_trial_info.npy"))).T
    return np.where((correct == 1) & (in_sequence == 1) & (odor < 5), odor, 0).astype(int)


def published_tuples(folder: Path) -> list[tuple[int, ...]]:
    """Pair by the published rule from the files alone: row of each rat, then the window that all of them share."""
    odors = {rat: kept_rows(folder, rat) for rat in RATS}
    tuples = []
    for odor in range(1, 5):
        rows = [np.flatnonzero(one == odor) for one in odors.values()]
        for trials in zip(*rows, strict=False):  # as many as the rat with fewest has
            tuples += [(*map(int, trials), window) for window in range(WINDOWS)]
    return sorted(tuples)


def test_training_tuples_are_those_of_the_published_rule(paper, folder):
    samples = paper.samples
    assert {node.sizes["window"] for node in samples.children.values()} == {WINDOWS}
    for model in paper.models:
        pairs = xr.load_dataset(paper.model_folder(model) / "pairs.nc", engine="h5netcdf")
        trials, windows = (pairs[name].isel(replica=0).values for name in ("trial", "window"))
        there = (trials >= 0).any(axis=1)  # the rest is padding of the last batch
        assert (windows == windows[:, :1]).all()
        found = [(*map(int, row), int(window[0])) for row, window in zip(trials[there], windows[there], strict=True)]
        assert sorted(found) == published_tuples(folder)


def test_scored_trials_are_those_that_train(paper, folder):
    trained = {rat: set(column) for rat, column in zip(RATS, zip(*published_tuples(folder), strict=True), strict=False)}
    predicted = 0
    for rat, node in paper.splits.children.items():
        part = node["part"].values
        assert part.shape[0] == 1
        assert set(node["trial"].values[part[0] == 4].tolist()) == trained[rat]
        assert set(np.unique(part)) <= {0, 4}
        predicted += len(trained[rat])
    assert {row["n_trials"] for row in rows_of(paper)} == {predicted}


def test_inputs_are_the_numbers_of_the_files(paper, folder):
    stored = np.load(folder / "mitt/mitt_spike_data_binned.npy")[kept_rows(folder, "mitt") > 0]
    values = features(paper.samples["mitt"]["activity"], paper.spec.samples).reshape(len(stored), WINDOWS, 10, -1)
    for window in range(WINDOWS):
        first = 250 + window  # 0.5 s after port entry in this rat
        np.testing.assert_array_equal(values[:, window], stored[:, :, first : first + 10].transpose(0, 2, 1))


def test_only_spikes_are_spikes_per_millisecond():
    noise = tuned_recordings({"mitt": (3, 12)})
    activity = make_samples(noise, SampleSpec(label=["odor"], bin_width=0.2))["mitt"]["activity"]
    spec = SampleSpec(label=["odor"], transform="per_millisecond")
    np.testing.assert_allclose(features(activity, spec) * 200, features(activity, spec.model_copy(update={"transform": "none"})))
    with pytest.raises(SchemaError, match=r"per_millisecond: event_amplitude\. Expected spike_count"):
        features(activity.assign_attrs(kind="event_amplitude"), spec)


def test_scores_have_no_floor_and_say_so(paper):
    rows = rows_of(paper)
    assert {row["representation"] for row in rows} >= PAPER
    for row in rows:
        assert row["in_sample"] is True
        assert [row[name] for name in ("p", "floor", "floor_low", "floor_high")] == [None] * 4
        assert None not in (row["value"], row["low"], row["high"], row["chance"])


def test_the_report_says_first_what_the_scores_are_not(paper):
    shared = [name for name in paper.models if name != "independent"]
    said = caveats(paper, shared, ["mmvm", "mcca"])
    assert said[0].startswith("Training and scored trials are the same: scores say how well the models fit")
    assert "0.5 to 0.7" in said[0]
    report = (paper.path / "report.html").read_text()
    limits = report[report.index('id="meaning-title"') :]
    assert limits.index("Training and scored trials are the same") < limits.index("Samples of different animals are paired")
    assert "not what it reaches on new trials" in report
    assert "Null, labels: none: the scored trials were fitted on" in report
    assert "samples of trials that were both trained on and scored" in report
    assert "by odor, trials trained on and scored" in report
    assert "floor of permuted labels" not in report
    assert "test trials" not in report[report.index("<body>") : report.index('id="meaning-title"')]


def test_a_summary_from_before_paper_mode_is_read(paper, tmp_path):
    shutil.copytree(paper.path, tmp_path / "run")
    summary = paper.summary
    for row in summary["analyses"]["decoding"]["scores"]:
        del row["in_sample"]
    write_json(tmp_path / "run" / "summary.json", summary)
    entry = read_summary(Study(tmp_path / "run")).analyses["decoding"]
    assert entry.problem == ""
    assert len(entry.rows) == len(rows_of(paper))


def test_the_honest_counterpart_has_a_floor(folder, tmp_path):
    study = run("published_rats_honest", folder, tmp_path / "honest", {"mmvm"})
    for row in rows_of(study):
        assert row["in_sample"] is False
        assert 0 < row["p"] <= 1
        assert None not in (row["floor"], row["floor_low"], row["floor_high"])
    assert scored_as_trained(study.splits) == ""
    text = (study.path / "report.html").read_text()
    assert "Training and scored trials are the same" not in text


def test_the_published_coherence_can_be_asked_for(folder, tmp_path):
    asked = "analyses.coherence={classifier: mlp, hidden: [16], bootstraps: 100, permutations: 500}"
    study = run("published_rats", folder, tmp_path / "coherence", {"mmvm"}, asked)
    lines = {(line["what"], line["setting"]): line for line in study.summary["analyses"]["coherence"]["scores"]}
    line = lines["coherence as published (accuracy)", "within and cross"]
    assert line["low"] - 1e-6 <= line["value"] <= line["high"] + 1e-6
    assert all(one["in_sample"] and one["p"] is None for one in lines.values())
    # The classifier has seen what it is scored on, as in the paper.
    assert lines["coherence (balanced accuracy)", "ceiling"]["value"] > 0.5


def test_both_experiments_have_the_same_samples_networks_and_weights_of_the_rate():
    published, honest = (load_experiment_spec(EXPERIMENTS / f"published_rats{end}.yaml") for end in ("", "_honest"))
    assert published.samples == honest.samples
    assert published.models.keys() == honest.models.keys()
    assert len(published.models) == 6
    for name, model in published.models.items():
        assert model.model_copy(update={"sharing": None}) == honest.models[name].model_copy(update={"sharing": None})
        assert model.networks.kind == "published"
    assert {name: model.beta for name, model in published.models.items() if model.beta != 1e-5} == {"average": 1e-2, "mmvm": 1e-3}
    assert not any(model.sharing.kind.startswith("published") for model in honest.models.values())


def test_on_noise_the_published_split_decodes_and_folds_of_trials_do_not():
    noise = tuned_recordings({"mitt": (30, 48), "stella": (24, 44)}, classes="ABCD", tuning=0, seed=1)
    samples = make_samples(noise, SampleSpec(label=["odor"], start=-1, stop=1, width=0.5, step=0.1, bin_width=0.1))
    assert samples["mitt"].sizes["window"] == WINDOWS
    model = ModelSpec(sharing="independent", latent=32, beta=1e-5, networks="linear")
    training = TrainingSpec(epochs=30, learning_rate=0.003, pairing="published", device="cpu")
    options = Options(baselines=("raw",), raw_inverse_penalty=1, bootstraps=100, permutations=500)
    within = {}
    for kind in ("published", "kfold"):
        splits = make_splits(samples, SplitSpec(kind=kind, folds=2))
        latents = fit(samples, splits, model, training, progress=False).embed(samples)
        within[kind] = compare(samples, splits, {"independent": latents}, options).sel(setting="within", target="all animals")
    chance = 0.25
    low = within["published"]["score"].sel(unit_of_inference="trials", statistic="low")
    assert low.sel(representation="independent") > chance + 0.05
    assert low.sel(representation="raw") > chance + 0.2
    p = {kind: scores["null_score"].sel(null="labels", null_statistic="p") for kind, scores in within.items()}
    assert np.isnan(p["published"]).all()
    assert (abs(within["kfold"]["score"].sel(statistic="value") - chance) < 0.05).all()
    assert (p["kfold"] > 0.05).all()


def test_the_command_line_simulates_the_published_layout(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "neuromvm.data.simulate.write_npy.write_published_layout", lambda folder, **options: asked.append((folder, options)) or []
    )
    options = ["--layout", "published", "--seed", "7", "--force", "--theta", "0.5"]
    done = CliRunner().invoke(cli.app, ["simulate", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    ((folder, given),) = asked
    assert folder == tmp_path
    assert given.pop("config").theta_coupling == 0.5
    assert given == {"seed": 7, "overwrite": True}
    assert CliRunner().invoke(cli.app, ["simulate", str(tmp_path), "--layout", "nix"]).exit_code == 2
