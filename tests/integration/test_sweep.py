"""A sweep from its YAML to its table: the same from every engine, whatever is killed, and without a look at test trials."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import xarray as xr
from safetensors.numpy import load_file

from neuromvm.analysis.judged import values
from neuromvm.errors import RunFolderError, SpecError
from neuromvm.files import locked, read_tree, write_tree
from neuromvm.folders.sweep import DONE, FAILED, SweepFolder
from neuromvm.schema import is_fitted
from neuromvm.specs import ExperimentSpec
from neuromvm.workflow import command_line as cli
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.sweep.batches import CellTask
from neuromvm.workflow.sweep.cells import run_batch
from neuromvm.workflow.sweep.engines import Dask, Lost, Processes, Slurm
from neuromvm.workflow.sweep.runner import count_cells, run_sweep
from tests.integration import small_sweep

COMMAND = [sys.executable, "-m", "neuromvm", "sweep"]
EXPERIMENT = {
    **small_sweep.EXPERIMENT,
    "models": {
        "mmvm": {"sharing": "mmvm", "latent": 3, "networks": "linear"},
        "plain": {"sharing": "autoencoder", "latent": 3, "networks": "linear"},
    },
    "training": {"epochs": 3, "learning_rate": 0.01},
}
DECODING = {"decoding": {"baselines": ["raw", "mcca"], "canonical_components": 2, "permutations": 500, "bootstraps": 100}}
ADAM_DECAYS = {"models.*.beta": [0.001, 0.1, 1.0]}


sweep_of = partial(small_sweep.spec_of, EXPERIMENT)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with NWB files of two rats."""
    return small_sweep.write_rats(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(autouse=True)
def inside(request, lab, monkeypatch):
    monkeypatch.chdir(lab)


@pytest.fixture(scope="module")
def whole(lab) -> SweepFolder:
    """A sweep over beta with decoding and selection."""
    os.chdir(lab)
    spec = sweep_of({"models.*.beta": [0.001, 1.0]}, select={"inner_folds": 2}, experiment={"analyses": DECODING})
    return run_sweep(spec, lab / "whole", progress=False)


@pytest.fixture(scope="module")
def undisturbed(lab) -> SweepFolder:
    """Three cells without analyses, done in this process."""
    os.chdir(lab)
    return run_sweep(sweep_of(ADAM_DECAYS), lab / "undisturbed", progress=False)


def identical_tables(one: SweepFolder, other: SweepFolder) -> None:
    assert (one.path / "table.csv").read_bytes() == (other.path / "table.csv").read_bytes()
    for cell in one.cells:
        for model in EXPERIMENT["models"]:
            file = Path("models") / model / "weights.safetensors"
            assert (one.cell_folder(cell.name) / file).read_bytes() == (other.cell_folder(cell.name) / file).read_bytes()


def same_tables(one: SweepFolder, other: SweepFolder) -> None:
    """Say that tables are equal but for rounding: cells may have been trained in other stacks."""
    tables = [pd.read_csv(sweep.path / "table.csv") for sweep in (one, other)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)
    for cell in one.cells:
        for model in EXPERIMENT["models"]:
            weights = [
                load_file(sweep.cell_folder(cell.name) / "models" / model / "weights.safetensors") for sweep in (one, other)
            ]
            for name, value in weights[0].items():
                np.testing.assert_allclose(weights[1][name], value, rtol=1e-4, atol=1e-5)


def test_a_cell_is_the_run_that_its_spec_alone_gives(whole, tmp_path):
    cell = whole.cells[1]
    content = deepcopy(EXPERIMENT)
    content["models"]["mmvm"]["beta"] = 1.0
    alone = run_experiment(ExperimentSpec.model_validate(content), tmp_path / "run", progress=False)
    for model in EXPERIMENT["models"]:
        for name, node in whole.study(cell.name).latents(model).children.items():
            xr.testing.assert_allclose(node.to_dataset(), alone.latents(model)[name].to_dataset(), rtol=1e-4, atol=1e-5)


def test_the_table_has_the_scores_of_the_cells(whole):
    table = pd.read_csv(whole.path / "table.csv")
    assert table["models.*.beta"].tolist() == [0.001, 1.0]
    assert table["state"].tolist() == ["done", "done"]
    for row, cell in zip(table.to_dict("records"), whole.cells, strict=True):
        study = whole.study(cell.name)
        scored = values(study.scores("decoding")).sel(representation="mmvm", setting="cross")
        assert row["decoding: balanced accuracy, mmvm, cross"] == pytest.approx(float(scored), rel=1e-5)
        lines = study.summary["analyses"]["decoding"]["scores"]
        (line,) = [line for line in lines if (line["representation"], line["setting"]) == ("mmvm", "cross")]
        assert row["decoding: balanced accuracy, mmvm, cross, low"] == pytest.approx(line["low"], rel=1e-5)
        assert row["mmvm loss"] == pytest.approx(np.mean(study.metrics("mmvm")[-1]["loss"]), rel=1e-5)
        error = xr.load_dataset(study.model_folder("mmvm") / "reconstruction.nc", engine="h5netcdf")["error"]
        assert row["mmvm reconstruction error"] == pytest.approx(float(error.mean()), rel=1e-5)
    gathered = xr.load_dataset(whole.path / "sweep.nc", engine="h5netcdf")
    assert gathered["beta"].sel(model="mmvm").values.tolist() == [0.001, 1.0]
    assert {path.stem for path in (whole.path / "figures").glob("*.png")} == {"tradeoff", "objective"}


def test_a_model_that_no_cell_changes_is_trained_once(whole):
    folders = [whole.cell_folder(cell.name) / "models" for cell in whole.cells]
    plain, mmvm = ([(folder / model / "weights.safetensors").stat().st_ino for folder in folders] for model in ("plain", "mmvm"))
    assert plain[0] == plain[1]
    assert mmvm[0] != mmvm[1]


def test_the_chosen_cell_is_the_best_on_inner_folds_and_its_outer_score_is_reported(whole):
    table = pd.read_csv(whole.path / "table.csv", dtype=str, keep_default_na=False)
    inner = [json.loads(whole.inner_file(cell.name, whole.selection).read_text())["mmvm"] for cell in whole.cells]
    best = np.argmax(inner, axis=0)
    for number, chosen in enumerate(table["mmvm chosen in splits"]):
        assert chosen.split() == [str(split) for split in range(2) if best[split] == number]
    outer = [
        float(whole.study(whole.cells[cell].name).scores("decoding")["split_value"].sel(
            representation="mmvm", setting="cross", split=split
        ))
        for split, cell in enumerate(best)
    ]  # fmt: skip
    selected = pd.read_csv(whole.path / "selected.csv").set_index(["representation", "setting"]).loc[("mmvm", "cross")]
    assert selected["value"] == pytest.approx(np.mean(outer), rel=1e-5)
    assert selected["low"] < selected["value"] < selected["high"]
    assert selected["null_n"] == 500


def test_test_trials_take_no_part_in_choosing(lab, tmp_path):
    # One split, so that a trial is either on the training side or a test trial; test trials then get another activity.
    spec = sweep_of(
        {"models.mmvm.beta": [0.1]},
        select={"inner_folds": 2},
        experiment={"split": {"kind": "chronological", "train_share": 0.6}, "analyses": DECODING},
    )
    clean = run_sweep(spec, tmp_path / "clean", progress=False)
    (cell,) = clean.cells
    (data,) = (clean.path / "data").glob("*.nc")
    recordings, splits = read_tree(data), clean.study(cell.name).splits
    samples = clean.study(cell.name).samples
    random = np.random.default_rng(0)
    for name, node in recordings.children.items():
        kept = samples[name]["trial"].to_numpy()[is_fitted(splits[name]["part"].to_numpy()[0])]
        tested = ~np.isin(node["trial"].to_numpy(), kept)
        counts = node["spike_count"].to_numpy().copy()
        counts[tested] = random.poisson(3, counts[tested].shape)
        recordings[name] = xr.DataTree(
            node.to_dataset(inherit=False).assign(spike_count=(node["spike_count"].dims, counts.astype(np.uint8)))
        )
    write_tree(tmp_path / "other" / "data" / data.name, recordings)
    experiment = clean.study(cell.name).spec.model_dump(mode="json")
    task = CellTask(str(tmp_path / "other"), cell.name, experiment, data.stem, spec.select.model_dump(mode="json"))
    (tmp_path / "other" / "plan.json").write_bytes((clean.path / "plan.json").read_bytes())
    assert run_batch((task,)) == ["done"]
    other = SweepFolder(tmp_path / "other")
    files = [folder.inner_file(cell.name, spec.select) for folder in (clean, other)]
    assert files[0].read_text() == files[1].read_text()
    values = [folder.study(cell.name).scores("decoding")["score"].values for folder in (clean, other)]
    assert not np.array_equal(*values, equal_nan=True)


def test_what_is_done_is_not_done_again_and_more_cells_may_come(undisturbed, lab):
    before = {cell.name: (undisturbed.cell_folder(cell.name) / DONE).stat().st_mtime_ns for cell in undisturbed.cells}
    table = (undisturbed.path / "table.csv").read_text().splitlines()
    grid = {"models.*.beta": [*ADAM_DECAYS["models.*.beta"], 0.5]}
    more = run_sweep(sweep_of(grid), undisturbed.path, progress=False)
    assert count_cells(more).done == 4
    assert all((more.cell_folder(name) / DONE).stat().st_mtime_ns == time_ for name, time_ in before.items())
    assert (more.path / "table.csv").read_text().splitlines()[:4] == table
    again = run_sweep(sweep_of(ADAM_DECAYS), undisturbed.path, progress=False)
    assert (again.path / "table.csv").read_text().splitlines() == table


def test_cells_that_differ_in_analyses_alone_are_trained_once(lab, tmp_path):
    grid = {"analyses.decoding.latent_inverse_penalty": [0.1, 10.0]}
    sweep = run_sweep(sweep_of(grid, experiment={"analyses": DECODING}), tmp_path / "out", progress=False)
    folders = [sweep.cell_folder(cell.name) for cell in sweep.cells]
    assert len({(folder / "models/mmvm/weights.safetensors").stat().st_ino for folder in folders}) == 1
    assert len({(folder / "summary.json").read_text() for folder in folders}) == 2
    assert "training:" not in (folders[1] / "log.txt").read_text()


def test_a_cell_that_fails_stops_no_other_and_is_tried_again(lab, tmp_path, monkeypatch, capsys):
    data = {**EXPERIMENT["data"], "root": str(lab / EXPERIMENT["data"]["root"])}
    (tmp_path / "base.yaml").write_text(json.dumps({**EXPERIMENT, "data": data}))
    (tmp_path / "rates.yaml").write_text(
        "name: rates\nexperiment: base.yaml\ngrid: {training.learning_rate: [0.01, 1.0e+30], training.epochs: [3]}\n"
    )
    arguments = ["neuromvm", "sweep", str(tmp_path / "rates.yaml"), "--out", str(tmp_path / "out")]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1
        printed = capsys.readouterr()
        assert "1 failed" in printed.err
        table = pd.read_csv(tmp_path / "out" / "table.csv")
        assert table["state"].tolist() == ["done", "failed"]
        assert "not finite" in table["error"][1]
        sweep = SweepFolder(tmp_path / "out")
        failed = sweep.cell_folder(sweep.cells[1].name) / FAILED
        assert "Traceback" in failed.read_text()
    # Mended from outside (here: the cell would now train), it is done, and is failed no more.
    failed.unlink()
    assert sweep.state(sweep.cells[1].name) == "waiting"


def test_nothing_runs_when_a_cell_is_wrong(lab, tmp_path):
    for grid, message in (
        ({"models.mmvm.beta": [0.1, -1]}, "greater than or equal"),
        ({"analyses.decodin.seed": [0]}, "Did you mean 'decoding'"),
        ({"analyses.decoding.sed": [0]}, "Did you mean 'seed'"),
    ):
        with pytest.raises(SpecError, match=message):
            run_sweep(sweep_of(grid), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunFolderError, match="no sweep"):
        run_sweep(sweep_of(ADAM_DECAYS), lab / "data", progress=False)


def test_a_cell_at_which_another_process_works_is_left_to_it(lab, tmp_path):
    spec = sweep_of({"models.*.beta": [0.1]})
    done = run_sweep(spec, tmp_path / "out", progress=False)
    (cell,) = done.cells
    (done.cell_folder(cell.name) / DONE).unlink()
    with locked(done.path / "locks" / cell.name):
        assert count_cells(run_sweep(spec, tmp_path / "out", progress=False)).waiting == 1
    assert count_cells(run_sweep(spec, tmp_path / "out", progress=False)).done == 1


@pytest.mark.slow
def test_processes_give_the_same(undisturbed, tmp_path):
    same_tables(undisturbed, run_sweep(sweep_of(ADAM_DECAYS), tmp_path / "out", Processes(2), progress=False))


def test_shards_give_the_same_and_the_last_writes_the_table(undisturbed, tmp_path):
    for part in ("2/2", "1/2"):
        assert not (tmp_path / "out" / "table.csv").exists()
        sweep = run_sweep(sweep_of(ADAM_DECAYS), tmp_path / "out", part=part, progress=False)
    same_tables(undisturbed, sweep)


@pytest.mark.slow
def test_packs_of_submitit_give_the_same(undisturbed, tmp_path):
    engine = Slurm(tmp_path / "jobs", parameters={"timeout_min": 10}, cluster="local", poll=0.2)
    same_tables(undisturbed, run_sweep(sweep_of(ADAM_DECAYS), tmp_path / "out", engine, pack=2, progress=False))
    assert len(list((tmp_path / "jobs").glob("*_result.pkl"))) == 2


@pytest.mark.slow
def test_a_dask_cluster_that_loses_a_worker_gives_the_same(undisturbed, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        victim = psutil.Process(next(iter(cluster.workers.values())).pid)
        killer = threading.Thread(target=kill_when, args=(lambda: two_at_work(tmp_path / "out"), victim))
        killer.start()
        sweep = run_sweep(sweep_of(ADAM_DECAYS), tmp_path / "out", Dask(cluster.scheduler_address), progress=False)
        killer.join()
    assert not psutil.pid_exists(victim.pid)
    same_tables(undisturbed, sweep)


def two_at_work(out: Path) -> bool:
    return len(list((out / "locks").glob("*/.lock"))) == 2


def kill_when(ready: Callable[[], bool], process: psutil.Process) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()


def test_a_lost_cell_is_written_down_as_failed(lab, tmp_path):
    class Losing:
        jobs = None

        def map(self, function, items):
            yield Lost(0, "its process was killed")
            yield from map(function, items[1:])

    sweep = run_sweep(sweep_of(ADAM_DECAYS), tmp_path / "out", Losing(), progress=False)
    table = pd.read_csv(sweep.path / "table.csv")
    assert table["state"].tolist() == ["failed", "done", "done"]
    assert table["error"][0] == "its process was killed"
    assert count_cells(run_sweep(sweep_of(ADAM_DECAYS), tmp_path / "out", progress=False)).done == 3


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_sweep_stopped_midway_goes_on_as_if_it_had_not(lab, tmp_path, sent, code):
    experiment = {**EXPERIMENT, "training": {"epochs": 300, "learning_rate": 0.01, "checkpoint_every": 20}}
    (tmp_path / "base.yaml").write_text(json.dumps(experiment))
    (tmp_path / "rates.yaml").write_text(f"name: rates\nexperiment: base.yaml\ngrid: {json.dumps(ADAM_DECAYS)}\n")
    command = [*COMMAND, str(tmp_path / "rates.yaml"), "--out"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = subprocess.Popen([*command, str(stopped)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 120
    while not list(stopped.glob("stacks/*/checkpoints/*/state.json")):  # the three trainings of mmvm are in the middle
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(sent)
    _, said = process.communicate()
    assert process.returncode == code
    assert ("same command" in said) == (sent == signal.SIGINT)
    assert not (stopped / "table.csv").exists()
    for out in (stopped, whole):
        subprocess.run([*command, str(out)], check=True, capture_output=True)
    identical_tables(SweepFolder(whole), SweepFolder(stopped))
