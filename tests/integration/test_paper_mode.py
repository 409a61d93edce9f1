"""Paper mode computes what was published, says what that is worth, and shows on noise why nothing else may be done so."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import compare
from analysis.decoding import Options
from analysis.pipeline import analyze
from analysis.report import write_report
from analysis.report.caveats import caveats, scored_as_trained
from neuromvm import cli
from neuromvm.data.features import features
from neuromvm.data.simulate import SimulationConfig
from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.data.write_npy import write_published_layout
from neuromvm.experiment import run_experiment
from neuromvm.fitting import fit
from neuromvm.runs import Study
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec, load_experiment_spec
from tests.conftest import tuned_recordings

EXPERIMENTS = Path(__file__).parents[2] / "analysis" / "experiments"
RATS = {
    "mitt": {"units": 7, "trials": 90},
    "stella": {"units": 5, "trials": 70},
    "superchris": {"units": 6, "trials": 80},
}
WINDOWS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    write_published_layout(directory, SimulationConfig.model_validate({"animals": RATS}), seed=3)
    return directory


def run(name: str, folder: Path, out: Path) -> Study:
    """Run a shipped experiment with everything in it, but a few epochs and draws."""
    spec = load_experiment_spec(
        EXPERIMENTS / f"{name}.yaml",
        [
            f"data.root={folder}",
            "training.epochs=3",
            "training.device=cpu",
            "analyses.decoding.bootstraps=100",
            "analyses.decoding.permutations=500",
            "analyses.decoding.principal_components=5",
        ],
    )
    study = run_experiment(spec, out, progress=False)
    for analysis in spec.analyses:
        analyze(study, analysis)
    write_report(study)
    return study


@pytest.fixture(scope="module")
def paper(folder, tmp_path_factory) -> Study:
    return run("published_rats", folder, tmp_path_factory.mktemp("runs") / "paper")


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
        pairs = paper.pairs(model)
        windows = pairs["window"].isel(replica=0).values
        assert (windows == windows[:, :1]).all()
        rows = pairs["trial"].isel(replica=0)
        found = [(*map(int, row), int(window[0])) for row, window in zip(rows.values, windows, strict=True)]
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


def test_scores_have_no_floor_and_say_so(paper):
    rows = rows_of(paper)
    models = {"independent", "average", "product_of_experts", "mixture_of_experts", "mixture_of_products", "mmvm"}
    assert models <= {row["representation"] for row in rows}
    for row in rows:
        assert row["in_sample"] is True
        assert [row[name] for name in ("p", "floor", "floor_low", "floor_high")] == [None] * 4
        assert None not in (row["value"], row["low"], row["high"], row["chance"])


def test_the_report_says_first_what_the_scores_are_not(paper):
    shared = [name for name in paper.models if name != "independent"]
    said = caveats(paper, shared, ["mmvm", "mcca"])
    assert said[0].startswith("Training and scored trials are the same: scores say how well the models fit")
    assert "0.52-0.56" in said[0]
    report = (paper.path / "report.html").read_text()
    limits = report[report.index('id="meaning-title"') :]
    assert limits.index("Training and scored trials are the same") < limits.index("Samples of different animals are paired")
    assert "not what it reaches on new trials" in report
    assert "Floor: none" in report
    assert "samples of trials that were both trained on and scored" in report
    assert "by odor, trials trained on and scored" in report
    assert "floor of permuted labels" not in report
    assert "test trials" not in report[report.index("<body>") : report.index('id="meaning-title"')]


def test_the_honest_counterpart_has_a_floor(folder, tmp_path):
    study = run("published_rats_honest", folder, tmp_path / "honest")
    for row in rows_of(study):
        assert row["in_sample"] is False
        assert 0 < row["p"] <= 1
        assert None not in (row["floor"], row["floor_low"], row["floor_high"])
    assert scored_as_trained(study.splits) == ""
    assert not any((node["part"] == 4).any() for node in study.splits.children.values())
    text = (study.path / "report.html").read_text()
    assert "Training and scored trials are the same" not in text
    published = load_experiment_spec(EXPERIMENTS / "published_rats.yaml")
    assert study.spec.models.keys() == published.models.keys()
    assert study.spec.samples == published.samples


def test_on_noise_the_published_split_decodes_and_folds_of_trials_do_not():
    noise = tuned_recordings({"mitt": (8, 80), "stella": (6, 70)}, classes="ABCD", tuning=0, seed=4)
    samples = make_samples(noise, SampleSpec(label=["odor"], start=-1, stop=1, width=0.5, step=0.1, bin_width=0.1))
    assert samples["mitt"].sizes["window"] == WINDOWS
    model = ModelSpec(sharing="independent", latent=16, beta=1e-4, networks="linear", dropout=0.2)
    options = Options(baselines=("raw",), raw_inverse_penalty=1, bootstraps=100, permutations=500)
    within = {}
    for kind in ("published", "kfold"):
        splits = make_splits(samples, SplitSpec(kind=kind, folds=4))
        training = TrainingSpec(epochs=60, learning_rate=0.01, pairing="published", device="cpu")
        latents = fit(samples, splits, model, training, progress=False).embed(samples)
        scores = compare(samples, splits, {"independent": latents}, options).sel(setting="within")
        print(kind, scores["value"].values, scores["p"].values)
        within[kind] = scores
    chance = 0.25
    assert (within["published"]["low"] > chance + 0.1).all()
    assert np.isnan(within["published"]["p"]).all()
    assert (abs(within["kfold"]["value"] - chance) < 0.06).all()
    assert (within["kfold"]["p"] > 0.05).all()


def test_the_command_line_simulates_the_published_layout(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "neuromvm.data.write_npy.write_published_layout", lambda folder, **options: asked.append((folder, options)) or []
    )
    done = CliRunner().invoke(cli.app, ["simulate", str(tmp_path), "--layout", "published", "--seed", "7", "--force"])
    assert done.exit_code == 0, done.output
    assert asked == [(tmp_path, {"seed": 7, "overwrite": True})]
    assert CliRunner().invoke(cli.app, ["simulate", str(tmp_path), "--layout", "nix"]).exit_code == 2
