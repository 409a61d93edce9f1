"""The command line as a user meets it: help that is quick, a run that can be read, and errors in one paragraph."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuromvm.analysis.judged import values
from neuromvm.data.simulate.experiment import SimulationConfig
from neuromvm.data.simulate.write_nwb import write_experiment
from neuromvm.files import locked
from neuromvm.folders.study import Study
from neuromvm.workflow import command_line as cli

EXPERIMENT = """
name: small
data: {spec: simulated_rats, root: data}
samples: {start: 0.1, stop: 0.35, label: [odor], keep: {odor: [A, B, C]}, path_step: 0.5}
split: {kind: halves, repeats: 2}
models:
  mmvm: {sharing: mmvm, latent: 3, networks: {kind: linear}}
training: {epochs: 5}
analyses: {decoding: {baselines: [raw, mcca], canonical_components: 2, permutations: 500, bootstraps: 100}, trajectories: {}}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with NWB files of two rats and an experiment."""
    folder = tmp_path_factory.mktemp("lab")
    sizes = {"mitt": {"units": 10, "trials": 90}, "stella": {"units": 8, "trials": 80}}
    write_experiment(folder / "data", SimulationConfig(animals=sizes), seed=2)
    (folder / "small.yaml").write_text(EXPERIMENT)
    (folder / "empty.yaml").write_text("")
    return folder


@pytest.fixture(scope="module")
def finished(lab) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "neuromvm", "run", "small.yaml", "--out", "run"],
        cwd=lab,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return lab / "run"


def call(arguments: list[str], folder: Path, monkeypatch, capsys) -> tuple[int, str, str]:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["neuromvm", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    printed = capsys.readouterr()
    return exit_info.value.code, printed.out, printed.err


def test_help_loads_nothing_heavy():
    script = (
        "import sys; sys.argv = ['neuromvm', '--help']\n"
        "from neuromvm.workflow.command_line import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pynwb', 'umap', 'matplotlib', 'xarray', 'sklearn', 'pandas', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "simulate" in done.stdout


def test_importing_the_package_loads_neither_pynwb_nor_a_plotting_library():
    script = (
        "import sys, neuromvm\nneuromvm.fit, neuromvm.load_recordings, neuromvm.Study, neuromvm.simulate\n"
        "heavy = {'pynwb', 'umap', 'matplotlib', 'seaborn', 'plotly'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    import neuromvm

    for name in neuromvm.__all__:
        assert getattr(neuromvm, name).__name__


def test_a_run_leaves_everything_that_was_promised(finished):
    for name in ("spec.yaml", "provenance.json", "recordings.nc", "splits.nc", "summary.json", "report.html"):
        assert (finished / name).stat().st_size > 0
    for name in ("metrics.jsonl", "pairs.nc", "weights.safetensors", "fitted.json", "latents.nc", "paths.nc"):
        assert (finished / "models" / "mmvm" / name).stat().st_size > 0
    assert (finished / "scores" / "decoding.nc").is_file()
    assert {path.suffix for path in (finished / "figures").iterdir()} == {".png", ".pdf", ".csv"}
    assert not list(finished.rglob("*.tmp"))
    provenance = json.loads((finished / "provenance.json").read_text())
    assert len(provenance["files"]["mitt"]["sha256"]) == 64


def test_every_score_has_interval_floor_chance_and_n(finished):
    lines = json.loads((finished / "summary.json").read_text())["analyses"]["decoding"]["scores"]
    assert {line["representation"] for line in lines} == {"mmvm", "raw", "mcca"}
    for line in lines:
        assert line["low"] <= line["value"] <= line["high"]
        assert line["floor_low"] <= line["floor"] <= line["floor_high"]
        lost = line["setting"] == "within - cross"  # two decoders can change animals in one other way
        assert line["chance"] == pytest.approx(0 if lost else 1 / 3)
        assert 1 / (2 if lost else 501) <= line["p"] <= 1
        assert line["n_animals"] == 2
        assert line["n_splits"] == 2
        assert line["n_trials"] > 50


def test_saved_pairs_match_conditions(finished):
    import xarray as xr

    study = Study(finished)
    pairs = xr.open_dataset(finished / "models" / "mmvm" / "pairs.nc", engine="h5netcdf").load()
    odor = {
        name: dict(zip(study.samples[name]["trial"].values, study.samples[name]["odor"].values, strict=True))
        for name in pairs.animal.values
    }
    for mitt, stella in pairs["trial"].sel(animal=["mitt", "stella"]).values.reshape(-1, 2):
        if mitt >= 0 and stella >= 0:
            assert odor["mitt"][mitt] == odor["stella"][stella]


def test_scores_are_printed_as_a_table_and_as_json(finished, monkeypatch, capsys):
    code, out, _ = call(["scores", "run", "--json"], finished.parent, monkeypatch, capsys)
    assert code == 0
    assert json.loads(out) == json.loads((finished / "summary.json").read_text())
    code, out, _ = call(["scores", "run", "--csv"], finished.parent, monkeypatch, capsys)
    assert code == 0
    lines = [
        line for entry in json.loads((finished / "summary.json").read_text())["analyses"].values() for line in entry["scores"]
    ]
    assert len(pd.read_csv(io.StringIO(out))) == len(lines)
    code, out, _ = call(["scores", "run", "--all"], finished.parent, monkeypatch, capsys)
    assert code == 0
    assert "null [95 %]" in out


def test_the_short_table_fits_80_columns_and_ends_with_the_verdict(finished, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(["scores", "run"], finished.parent, monkeypatch, capsys)
    assert code == 0
    table, verdict = out.split("p: ", 1)
    assert max(map(len, table.splitlines()[1:])) <= 80
    assert {line.split()[0] for line in table.splitlines()[4:] if line.strip()} == {"mmvm", "raw", "mcca"}
    assert "Is the label in each animal?" in verdict


def test_an_analysis_can_be_repeated_with_other_options(finished, monkeypatch, capsys):
    copy = finished.with_name("copy")
    shutil.copytree(finished, copy)
    code, _, _ = call(
        ["analyze", "decoding", "copy", "--set", "baselines=[raw]", "--set", "reference=raw"],
        finished.parent,
        monkeypatch,
        capsys,
    )
    assert code == 0
    assert Study(copy).scores("decoding")["representation"].values.tolist() == ["mmvm", "raw"]
    code, out, _ = call(["report", "copy"], finished.parent, monkeypatch, capsys)
    assert code == 0
    assert out.strip() == "copy/report.html"


def test_resuming_a_finished_run_trains_nothing_again(finished, monkeypatch, capsys):
    weights = finished / "models" / "mmvm" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    code, _, _ = call(["run", "small.yaml", "--out", "run", "--resume"], finished.parent, monkeypatch, capsys)
    assert code == 0
    assert weights.stat().st_mtime_ns == before


def test_data_can_be_described_validated_and_inspected(lab, monkeypatch, capsys):
    code, out, _ = call(["data", "describe", "simulated_rats", "--root", "data"], lab, monkeypatch, capsys)
    assert code == 0
    assert "stella" in out
    code, out, _ = call(["data", "validate", "simulated_rats", "--root", "data"], lab, monkeypatch, capsys)
    assert code == 0
    assert "2 animals" in out
    (file,) = (lab / "data" / "sub-mitt").glob("*.nwb")
    code, out, _ = call(["data", "inspect", str(file)], lab, monkeypatch, capsys)
    assert code == 0
    assert "poke_in_time" in out
    files = sorted(map(str, (lab / "data").glob("*/*.nwb")))
    code, out, _ = call(["data", "inspect", *files, "--spec", "proposed.yaml"], lab, monkeypatch, capsys)
    assert code == 0
    assert "differences between files" in out
    code, out, _ = call(["data", "describe", "proposed.yaml", "--figure", "look.png"], lab, monkeypatch, capsys)
    assert code == 0
    assert (lab / "look.png").stat().st_size > 10_000


MISTAKES = {
    "no such experiment": (["run", "smal.yaml", "--out", "x"], ["smal.yaml", "Did you mean 'small.yaml'"]),
    "unknown setting": (["run", "small.yaml", "--out", "x", "--set", "training.epoch=3"], ["Did you mean 'epochs'"]),
    "value out of range": (["run", "small.yaml", "--out", "x", "--set", "training.epochs=-1"], ["training.epochs", "found -1"]),
    "set without a value": (["run", "small.yaml", "--out", "x", "--set", "training.epochs"], ["--set training.epochs"]),
    "unknown analysis": (["run", "small.yaml", "--out", "x", "--set", "analyses={decodin: {}}"], ["Did you mean 'decoding'"]),
    "unknown option": (["run", "small.yaml", "--out", "x", "--set", "analyses={decoding: {ridg: 1}}"], ["Did you mean 'ridge'"]),
    "unknown data spec": (["data", "describe", "simulated_rat"], ["Did you mean 'simulated_rats'"]),
    "path that leaves the folder": (
        ["data", "describe", "simulated_rats", "--root", "data", "--set", "files=['../*.nwb']"],
        ["leaves the data folder"],
    ),
    "no such root": (["data", "describe", "simulated_rats", "--root", "nowhere"], ["nowhere"]),
    "unknown animal": (["run", "small.yaml", "--out", "x", "--set", "data.animals=[mit]"], ["Did you mean 'mitt'"]),
    "unknown label": (["run", "small.yaml", "--out", "x", "--set", "samples.label=[odour]"], ["Did you mean 'odor'"]),
    "window outside": (["run", "small.yaml", "--out", "x", "--set", "samples.stop=9"], ["inside the grid -2 to 2"]),
    "not a run folder": (["scores", "data"], ["no spec.yaml"]),
    "unknown analysis of a run": (["analyze", "decodin", "run"], ["Did you mean 'decoding'"]),
    "a folder that holds a run": (["run", "small.yaml", "--out", "run"], ["--resume"]),
    "another run's folder": (
        ["run", "small.yaml", "--out", "run", "--resume", "--set", "split.seed=9"],
        ["other settings of split"],
    ),
    "an animal held out": (
        ["run", "small.yaml", "--out", "x", "--set", "split.kind=leave_one_animal_out"],
        ["without training trials"],
    ),
    "an experiment that is there": (["simulate", "data"], ["--force"]),
    "a folder for a spec": (["run", "data", "--out", "x"], ["a folder", "a YAML file"]),
    "an empty spec": (["run", "empty.yaml", "--out", "x"], ["an empty file"]),
    "a file for a run folder": (["run", "small.yaml", "--out", "small.yaml"], ["a file", "choose another", "--out"]),
    "a run folder below a file": (["run", "small.yaml", "--out", "small.yaml/run"], ["small.yaml/run"]),
    "windows that run backwards": (["run", "small.yaml", "--out", "x", "--set", "samples.start=1"], ["not after their start"]),
    "a path between bins": (["run", "small.yaml", "--out", "x", "--set", "samples.path_step=0.003"], ["samples.path_step"]),
    "a seed twice": (["run", "small.yaml", "--out", "x", "--set", "training.seeds=[1,1]"], ["a seed occurs twice"]),
    "sharing settings that mean nothing": (
        ["run", "small.yaml", "--out", "x", "--set", "models.mmvm={sharing: {kind: independent, rate: pairwise}}"],
        ["unknown setting", "sharing.independent.rate"],
    ),
    "patience without validation": (["run", "small.yaml", "--out", "x", "--set", "training.patience=3"], ["split.validation"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_paragraph_and_exit_code_2(mistake, finished, monkeypatch, capsys):
    arguments, expected = MISTAKES[mistake]
    code, out, error = call(arguments, finished.parent, monkeypatch, capsys)
    left = finished.parent / "x"
    assert not (left / "models").exists()
    shutil.rmtree(left, ignore_errors=True)
    assert code == 2
    assert out == ""
    assert len([line for line in error.strip().splitlines() if not line.startswith("training: ")]) == 1
    for words in expected:
        assert words.lower() in error.lower()


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("summary.json", ["scores", "hurt"]),
        ("summary.json", ["run", "small.yaml", "--out", "hurt", "--resume"]),
        ("models/mmvm/metrics.jsonl", ["analyze", "decoding", "hurt"]),
        ("models/mmvm/fitted.json", ["run", "small.yaml", "--out", "hurt", "--resume"]),
        ("models/mmvm/latents.nc", ["analyze", "decoding", "hurt"]),
    ],
)
def test_a_damaged_run_folder_is_named_by_file(file, command, finished, monkeypatch, capsys):
    hurt = finished.with_name("hurt")
    shutil.copytree(finished, hurt)
    whole = (hurt / file).read_bytes()
    (hurt / file).write_bytes(whole[: len(whole) // 2] + b"\n")  # a last line without its end would be left out
    code, _, error = call(command, finished.parent, monkeypatch, capsys)
    shutil.rmtree(hurt)
    assert code == 2
    assert Path(file).name in error


def test_two_processes_cannot_work_in_one_run_folder(finished, monkeypatch, capsys):
    with locked(finished):
        code, _, error = call(["analyze", "trajectories", "run"], finished.parent, monkeypatch, capsys)
    assert code == 2
    assert "another process" in error


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_says_how_to_go_on_and_does(lab):
    command = [
        sys.executable,
        "-m",
        "neuromvm",
        "run",
        "small.yaml",
        "--out",
        "interrupted",
        "--set",
        "training.epochs=3000",
    ]
    process = subprocess.Popen(command, cwd=lab, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (lab / "interrupted" / "models" / "mmvm" / "checkpoints" / "epoch-000050").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in error
    assert "Traceback" not in error
    assert not (lab / "interrupted" / "models" / "mmvm" / "fitted.json").exists()


def test_animals_left_out_are_said(lab, monkeypatch, capsys):
    arguments = ["data", "validate", "simulated_rats", "--root", "data", "--set", "min_units=9"]
    code, out, _ = call(arguments, lab, monkeypatch, capsys)
    assert code == 0
    assert "1 animal\n" in out
    assert "left out: animal stella (8 units, fewer than 9)" in out


def test_a_damaged_file_stops_a_run_before_anything_is_trained(lab, monkeypatch, capsys):
    shutil.copytree(lab / "data", lab / "damaged")
    (file,) = (lab / "damaged" / "sub-stella").glob("*.nwb")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    code, _, error = call(["run", "small.yaml", "--out", "never", "--set", "data.root=damaged"], lab, monkeypatch, capsys)
    assert code == 2
    assert file.name in error
    assert not (lab / "never").exists()


def test_debug_shows_the_traceback(lab, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["neuromvm", "--debug", "scores", str(lab)])
    with pytest.raises(Exception, match=r"no spec\.yaml"):
        cli.main()


def test_numbers_of_a_figure_are_those_of_the_scores(finished):

    table = pd.read_csv(finished / "figures" / "decoding-settings.csv")
    scores = Study(finished).scores("decoding")
    selected = {"representation": "mmvm", "setting": "cross", "target": "all animals", "unit_of_inference": "trials"}
    one = table[np.logical_and.reduce([table[dim] == name for dim, name in selected.items()])]["score_value"].dropna()
    np.testing.assert_allclose(one.iloc[0], values(scores).sel(representation="mmvm", setting="cross"), rtol=1e-5)


def test_refit_scores_the_table_again_if_it_is_not_in_the_summary(tmp_path, monkeypatch, capsys):
    import neuromvm.analysis.pipeline
    import neuromvm.workflow.refits

    shutil.copytree(Path(__file__).parents[1] / "committed_runs" / "0.1.0", tmp_path / "run")
    file = tmp_path / "run" / "summary.json"
    summary = json.loads(file.read_text())
    scored = []
    monkeypatch.setattr(neuromvm.analysis.pipeline, "analyze", lambda study, *arguments: scored.append(arguments))
    monkeypatch.setattr(neuromvm.workflow.refits, "run_refits", lambda *arguments, **settings: [])
    monkeypatch.setattr("neuromvm.analysis.report.write_report", lambda study: None)
    monkeypatch.setattr(cli, "print_short", lambda *arguments: None)
    call(["refit", "run"], tmp_path, monkeypatch, capsys)
    assert scored == [("decoding", summary["analyses"]["decoding"]["options"])]
    # Killed after it wrote scores and before it wrote the summary.
    file.write_text(json.dumps({**summary, "analyses": {}}))
    assert (tmp_path / "run" / "scores" / "decoding.nc").is_file()
    call(["refit", "run"], tmp_path, monkeypatch, capsys)
    assert scored[1:] == [("decoding",)]
    file.unlink()
    monkeypatch.setattr(cli, "_refit", lambda *arguments: None)
    call(["refit", "run"], tmp_path, monkeypatch, capsys)
    assert scored[2:] == [("decoding",)]
