"""The experiment that holds every analysis, whole: each line of its summary can be judged."""

from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from neuromvm.analysis.pipeline import analyze
from neuromvm.analysis.report import write_report
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.folders.study import Study
from neuromvm.specs import load_experiment_spec
from neuromvm.workflow.experiment import run_experiment
from tests.analysis.score_rows import unexplained_of_row

EXPERIMENT = Path(__file__).parents[2] / "analysis" / "experiments" / "simulated_rats_everything.yaml"
SIZES = {"barat": 14, "buchanan": 12, "mitt": 13, "stella": 11, "superchris": 12}
SMALLER = (
    "training.epochs=40",
    "split.folds=2",
    "analyses.decoding={canonical_components: 2, response_components: 2, permutations: 500, bootstraps: 100}",
    "analyses.consistency={permutations: 99, leave_out_units: [1, 5]}",
    "analyses.coherence={permutations: 500, bootstraps: 100}",
    "analyses.spikes={canonical_components: 2, permutations: 100, bootstraps: 100}",
    "analyses.time_resolved={width: 0.25, step: 0.25, permutations: 20, bootstraps: 100}",
    "analyses.sequence={permutations: 19, bootstraps: 100, step: 0.25}",
    "analyses.odor_or_position={permutations: 19, bootstraps: 100}",
    "analyses.trial_contrasts={permutations: 19, bootstraps: 100, fewest: 5, folds: 3}",
    "analyses.lag_distance={permutations: 99, bootstraps: 100}",
    "analyses.theta_phase={permutations: 19, bootstraps: 100}",
)
NOT_IN_IT = {"few_shot"}  # it needs trainings of its own; tested where these are
ROUNDING = 1e-6
WITHOUT_LINES = {"latent_scatter", "trajectories"}  # they show and do not measure


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Run a smaller version of the shipped experiment on smaller rats."""
    folder = tmp_path_factory.mktemp("everything")
    animals = {name: {"units": units, "trials": 130} for name, units in SIZES.items()}
    config = SimulationConfig.model_validate({"animals": animals, "theta_coupling": 0.5, "shared_strength": 1.5})
    write_experiment(folder / "data", config, seed=4)
    spec = load_experiment_spec(EXPERIMENT, [f"data.root={folder / 'data'}", *SMALLER])
    made = run_experiment(spec, folder / "run", progress=False)
    for name in spec.analyses:
        analyze(made, name)
    write_report(made)
    return made


def lines_of(study: Study) -> dict[str, list[dict]]:
    """Return the lines as saved; what JSON cannot hold is NaN again."""
    return {
        name: [{key: np.nan if value is None else value for key, value in line.items()} for line in entry["scores"]]
        for name, entry in study.summary["analyses"].items()
    }


@pytest.mark.slow
def test_every_analysis_is_there(study):
    installed = {point.name for point in entry_points(group="neuromvm.analyses")}
    lines = lines_of(study)
    assert set(lines) == installed - NOT_IN_IT
    assert {name for name, found in lines.items() if not found} == WITHOUT_LINES
    for name in lines:
        assert (study.path / "scores" / f"{name}.nc").is_file()
        assert list((study.path / "figures").glob(f"{name}-*.png"))
    report = (study.path / "report.html").read_text()
    assert [name for name in lines if f"Analysis {name}:" not in report and name not in WITHOUT_LINES] == []


@pytest.mark.slow
def test_every_line_can_be_judged(study):
    lacking = {
        f"{name}: {line['what']}, {line['representation']}, {line['setting']}": empty
        for name, lines in lines_of(study).items()
        for line in lines
        if (empty := unexplained_of_row(line))
    }
    assert lacking == {}


@pytest.mark.slow
def test_numbers_of_a_line_agree(study):
    for name, lines in lines_of(study).items():
        for line in lines:
            about = f"{name}: {line}"
            if np.isfinite(line["p"]):
                assert not line["in_sample"], about
                assert 1 / (line["null_n"] + 1) - ROUNDING <= line["p"] <= 1, about
            if np.isfinite(line["floor"]):
                assert line["floor_low"] - ROUNDING <= line["floor"] <= line["floor_high"] + ROUNDING, about
            if np.isfinite(line["low"]):
                assert line["low"] <= line["high"] + ROUNDING, about
        same = Counter((line["what"], line["representation"], line["setting"]) for line in lines)
        assert {key: count for key, count in same.items() if count > 1} == {}, name
