"""Run folders at the beginning and on resume, paths of specs, shipped names, and the options that every command has."""

import logging
import sys

import pytest

import neuromvm as nm
from neuromvm.analysis.pipeline import analyze, is_analyzed
from neuromvm.errors import RunFolderError, SpecError, TrainingError
from neuromvm.files import read_json, write_json
from neuromvm.specs import ExperimentSpec
from neuromvm.specs.files import load_run_spec, shipped_data_specs, shipped_experiments, shipped_sweeps
from neuromvm.specs.sweep import load_sweep_spec
from neuromvm.workflow import command_line as cli
from neuromvm.workflow import experiment
from neuromvm.workflow.experiment import run_experiment
from tests.integration.sharing_run import SPEC, make_run

EXPERIMENT = """
name: mine
data: {spec: my_lab.yaml, root: nwb}
samples: {label: odor}
models: {mmvm: {sharing: mmvm}}
"""
DATA = "name: my_lab\nfiles: ['*.nwb']\ngrid: {kind: time, window: [0, 1]}\n"


def call(arguments: list[str], monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["neuromvm", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


def fail(*_, **__):
    raise TrainingError("training.device", found="no such device")


def test_a_run_that_failed_before_training_leaves_a_folder_for_the_corrected_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "fit", fail)
        with pytest.raises(TrainingError):
            make_run(tmp_path / "run")
    assert (tmp_path / "run" / "recordings.nc").is_file()
    samples = {"label": ["condition"], "transform": "none"}
    study = make_run(tmp_path / "run", seed=1, samples=samples)
    assert study.spec.samples.transform == "none"
    other = make_run(tmp_path / "other", seed=1, samples=samples)
    assert study.recordings.identical(other.recordings)
    with pytest.raises(RunFolderError, match="--resume"):  # now a training is kept
        make_run(tmp_path / "run", seed=1)


def test_a_folder_with_other_files_is_not_used(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "fit", fail)
        with pytest.raises(TrainingError):
            make_run(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty"):
        make_run(tmp_path / "run", seed=1)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_whole_analysis_is_known_and_a_changed_one_is_not(tmp_path):
    study = make_run(tmp_path / "run", analyses={"latent_scatter": {}})
    assert not is_analyzed(study, "latent_scatter")
    analyze(study, "latent_scatter")
    assert is_analyzed(nm.Study(tmp_path / "run"), "latent_scatter")
    file = tmp_path / "run" / "summary.json"
    summary = read_json(file, dict)
    summary["analyses"]["latent_scatter"]["options"]["split"] = 1
    write_json(file, summary)
    assert not is_analyzed(nm.Study(tmp_path / "run"), "latent_scatter")
    analyze(nm.Study(tmp_path / "run"), "latent_scatter")
    scores = tmp_path / "run" / "scores" / "latent_scatter.nc"
    scores.write_bytes(scores.read_bytes()[:200])
    assert not is_analyzed(nm.Study(tmp_path / "run"), "latent_scatter")
    analyze(nm.Study(tmp_path / "run"), "latent_scatter")
    (tmp_path / "run" / "models" / "mmvm" / "fitted.json").touch()
    assert not is_analyzed(nm.Study(tmp_path / "run"), "latent_scatter")


def test_an_unknown_option_of_an_analysis_is_one_short_sentence(tmp_path, monkeypatch, capsys):
    make_run(tmp_path / "run")
    capsys.readouterr()
    assert call(["analyze", "decoding", str(tmp_path / "run"), "--set", "unknown=1"], monkeypatch) == 2
    error = capsys.readouterr().err
    assert "unknown setting 'analyses.decoding.unknown'" in error
    assert len(error.splitlines()) == 1
    assert "pydantic" not in error
    assert call(["analyze", "decoding", str(tmp_path / "run"), "--set", "baselines=[mca]"], monkeypatch) == 2
    assert "Did you mean 'mcca'" in capsys.readouterr().err


def test_paths_in_a_file_are_beside_it_and_those_of_settings_in_the_working_directory(tmp_path, monkeypatch):
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "mine.yaml").write_text(EXPERIMENT)
    (lab / "my_lab.yaml").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    spec = nm.load_experiment_spec("lab/mine.yaml")
    assert (spec.data.spec, spec.data.root) == (str(lab / "my_lab.yaml"), str(lab / "nwb"))
    assert nm.load_data_spec(spec.data.spec).root == str(lab)
    assert nm.load_data_spec("lab/my_lab.yaml", ["root=here"]).root == "here"
    assert nm.load_experiment_spec("lab/mine.yaml", ["data.root=here"]).data.root == "here"
    assert nm.load_data_spec("simulated_rats").root == "simulated_rats"
    (lab / "deep").mkdir()
    (lab / "deep" / "sweep.yaml").write_text("name: s\nexperiment: ../mine.yaml\ngrid: {models.mmvm.beta: [1]}\n")
    assert load_sweep_spec("lab/deep/sweep.yaml").experiment["data"]["root"] == str(lab / "nwb")
    (lab / "my_lab.yaml").write_text(f"root: {tmp_path / 'elsewhere'}\n{DATA}")
    assert nm.load_data_spec("lab/my_lab.yaml").root == str(tmp_path / "elsewhere")


def test_a_run_of_an_earlier_version_with_relative_paths_is_resumed_from_its_directory(tmp_path, monkeypatch):
    data = {"spec": str(tmp_path / "my_lab.yaml"), "root": str(tmp_path / "nwb")}
    monkeypatch.chdir(tmp_path)
    study = make_run(tmp_path / "run", data=data)
    file = tmp_path / "run" / "spec.yaml"
    file.write_text(file.read_text().replace(str(tmp_path) + "/", ""))
    assert load_run_spec(file).data.root == "nwb"
    monkeypatch.setattr(experiment, "load_experiment_recordings", fail)
    spec = ExperimentSpec.model_validate({**SPEC, "data": data})
    assert run_experiment(spec, study.path, resume=True, progress=False).spec == spec


def test_shipped_specs_have_names():
    assert nm.load_experiment_spec("demo").name == "demo"
    assert {"simulated_rats", "layouts/ibl"} <= set(shipped_data_specs())
    for name in shipped_experiments():
        assert nm.load_experiment_spec(name).models
    for name in shipped_sweeps():
        assert load_sweep_spec(name).fields
    with pytest.raises(SpecError, match="Did you mean 'demo'"):
        nm.load_experiment_spec("dem")
    with pytest.raises(SpecError, match="no such name in the sweeps"):
        load_sweep_spec("demo")


def test_quiet_and_verbose_stand_anywhere_in_a_command(tmp_path, monkeypatch, capsys):
    run = str(tmp_path / "run")
    make_run(tmp_path / "run")
    logger = logging.getLogger("neuromvm")
    for option, level in (("--quiet", logging.WARNING), ("-v", logging.DEBUG), ("--verbose", logging.DEBUG)):
        assert call(["scores", option, run, "--json"], monkeypatch) == 2  # nothing was analyzed yet
        assert logger.level == level
    assert "No such option" not in capsys.readouterr().err
    assert call(["explain", "name"], monkeypatch) == 0
    assert logger.level == logging.INFO


def test_specs_made_in_python_say_what_is_wrong():
    for settings, words in (
        ({"sharing": "mmvn"}, "'sharing': no choice is 'mmvn'. Did you mean 'mmvm'"),
        ({"sharing": "mmvm", "latnt": 3}, "unknown setting 'latnt'. Did you mean 'latent'"),
        ({"sharing": {"kind": "mmvm", "rate": "pair"}}, "Did you mean 'pairwise'"),
        ({"sharing": {"rate": "pairwise"}}, "no 'kind'. There are: autoencoder"),
        ({"sharing": "mmvm", "latent": 0}, "'latent': Input should be greater than or equal to 1 (found 0)"),
        ({}, "setting 'sharing' is missing"),
    ):
        with pytest.raises(SpecError) as error:
            nm.ModelSpec(**settings)
        assert words in str(error.value)
        assert str(error.value).startswith("ModelSpec: ")
