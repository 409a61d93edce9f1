"""Cells trained together are what each is alone: files, numbers, what goes on after an interruption, what fails."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neuromvm.data.splits import make_splits
from neuromvm.data.windows import make_samples
from neuromvm.errors import TrainingError
from neuromvm.folders.sweep import SweepFolder
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.specs import ModelSpec, SampleSpec, SplitSpec, TrainingSpec
from neuromvm.training import fit as fitting
from neuromvm.training.fit import fit
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.sweep import trainings
from neuromvm.workflow.sweep.runner import run_sweep
from neuromvm.workflow.sweep.trainings import CellTraining, fit_stacked
from tests.conftest import tuned_recordings
from tests.integration import small_sweep

EXPERIMENT = {
    **small_sweep.EXPERIMENT,
    "models": {
        "mmvm": {"sharing": "mmvm", "latent": 3, "networks": "linear"},
        "plain": {"sharing": "autoencoder", "latent": 3, "networks": {"kind": "mlp", "hidden": [6]}},
    },
    "training": {"epochs": 4, "learning_rate": 0.01},
}
DECODING = {"decoding": {"baselines": ["raw"], "permutations": 500, "bootstraps": 100}}
MMVM = {"mmvm": EXPERIMENT["models"]["mmvm"]}
GRID = {"models.*.beta": [0, 1.0], "training.seeds": [[0], [1, 0]]}

# Little is there to be learned: trainings stop early, at different times.
SAMPLES = make_samples(tuned_recordings({"mitt": (6, 36), "stella": (4, 48)}, tuning=0.5), SampleSpec(start=0, label=["odor"]))
SPLITS = make_splits(SAMPLES, SplitSpec(repeats=2, validation=1 / 3))


sweep_of = partial(small_sweep.spec_of, EXPERIMENT)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with NWB files of two rats."""
    return small_sweep.write_rats(tmp_path_factory.mktemp("stacks"))


@pytest.fixture(autouse=True)
def inside(lab, monkeypatch):
    monkeypatch.chdir(lab)


@pytest.fixture(scope="module")
def both(lab) -> tuple[SweepFolder, SweepFolder]:
    """The same sweep stacked and each cell alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab)
        return tuple(run_sweep(sweep_of(GRID), lab / str(pack), pack=pack, progress=False) for pack in (None, 1))


def logs(sweep: SweepFolder) -> str:
    return "".join((sweep.cell_folder(cell.name) / "log.txt").read_text() for cell in sweep.cells)


def test_cells_that_differ_in_beta_and_seeds_are_trained_together(both):
    stacked, alone = both
    for model, size in (("mmvm", 4), ("plain", 2)):
        assert f"training: {model}, a stack of {size} trainings" in logs(stacked)
        assert f"training: {model}\n" not in logs(stacked)
    assert "stack" not in logs(alone)
    assert not (stacked.path / "stacks").exists()


def test_a_table_of_stacked_cells_is_that_of_cells_alone(both):
    tables = [pd.read_csv(sweep.path / "table.csv") for sweep in both]
    assert tables[0]["state"].tolist() == ["done"] * 4
    assert tables[0]["mmvm loss"].nunique() == 4
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)


@pytest.mark.slow
def test_inner_folds_are_stacked_too_and_scores_are_those_of_cells_alone(lab, tmp_path):
    spec = sweep_of({"models.mmvm.beta": [0, 1.0]}, select={"inner_folds": 2}, experiment={"analyses": DECODING, "models": MMVM})
    sweeps = [run_sweep(spec, tmp_path / str(pack), pack=pack, progress=False) for pack in (None, 1)]
    assert "training: mmvm on inner folds, a stack of 2 trainings" in logs(sweeps[0])
    tables = [pd.read_csv(sweep.path / "table.csv") for sweep in sweeps]
    pd.testing.assert_frame_equal(*tables, rtol=1e-3, atol=0.02)  # a trial between two odors may go either way
    for cell in sweeps[0].cells:
        inner = [json.loads(sweep.inner_file(cell.name, sweep.selection).read_text()) for sweep in sweeps]
        np.testing.assert_allclose(inner[0]["mmvm"], inner[1]["mmvm"], atol=0.02)


def same_folders(one: Path, other: Path) -> None:
    for name in ("training.json", "fitted.json"):
        assert (one / name).read_text() == (other / name).read_text()
    records = [[json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()] for path in (one, other)]
    assert len(records[0]) == len(records[1])
    for mine, theirs in zip(*records, strict=True):
        assert mine.keys() == theirs.keys()
        assert mine["stopped"] == theirs["stopped"]
        for key in ("epoch", "loss", "log_likelihood", "rate", "validation_loss"):
            if mine[key] is not None:
                np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-4, atol=1e-4, err_msg=key)
    assert xr.load_dataset(one / "pairs.nc", engine="h5netcdf").identical(xr.load_dataset(other / "pairs.nc", engine="h5netcdf"))
    fitted = [FittedStack.load(path) for path in (one, other)]
    assert fitted[0].replicas == fitted[1].replicas
    for name, value in fitted[0].weights.items():
        np.testing.assert_allclose(value, fitted[1].weights[name], rtol=1e-3, atol=1e-4, err_msg=name)
    for name, each in fitted[0].scalers.items():
        for mine, theirs in zip(each, fitted[1].scalers[name], strict=True):
            np.testing.assert_array_equal(mine.spread, theirs.spread)


def test_what_a_cell_keeps_of_a_stack_is_what_its_own_training_would_have_left(both):
    for cell in both[0].cells:
        folders = [sweep.cell_folder(cell.name) for sweep in both]
        for model in EXPERIMENT["models"]:
            same_folders(*(folder / "models" / model for folder in folders))
            assert not (folders[0] / "models" / model / "checkpoints").exists()


def test_a_cell_of_a_stack_can_be_gone_on_with_as_a_run_of_its_own(both):
    stacked, alone = both
    cell = stacked.cells[1].name
    folder = stacked.cell_folder(cell)
    (folder / "models" / "mmvm" / "fitted.json").unlink()
    run_experiment(stacked.study(cell).spec, folder, resume=True, progress=False)
    same_folders(folder / "models" / "mmvm", alone.cell_folder(cell) / "models" / "mmvm")


def test_trainings_that_stop_early_at_different_times_are_those_alone(tmp_path):
    model = ModelSpec(sharing="mmvm", latent=2, networks="linear")
    training = TrainingSpec(epochs=60, patience=4, learning_rate=0.03, weight_decay=1e-3, clip_norm=5.0)
    parts = [
        CellTraining(f"part{number}", model.model_copy(update={"beta": beta}), training.model_copy(update={"seeds": seeds}))
        for number, (beta, seeds) in enumerate([(1e-4, [3]), (0.3, [0]), (0.3, [0, 3])])
    ]
    fit_stacked(SAMPLES, SPLITS, parts, tmp_path / "stack")
    lengths = []
    for number, part in enumerate(parts):
        fit(SAMPLES, SPLITS, part.model, part.training, folder=tmp_path / f"alone{number}", progress=False)
        same_folders(tmp_path / "stack" / "parts" / part.name, tmp_path / f"alone{number}")
        lengths.append(len((tmp_path / "stack" / "parts" / part.name / "metrics.jsonl").read_text().splitlines()))
    assert len(set(lengths)) > 1
    # What two parts have in common is trained once.
    assert len(FittedStack.load(tmp_path / "stack").replicas) == 6
    other = parts[1]._replace(model=model.model_copy(update={"latent": 3}))
    with pytest.raises(TrainingError, match="none but beta and seeds"):
        fit_stacked(SAMPLES, SPLITS, [parts[0], other], tmp_path / "other")


def test_a_stack_that_is_cut_off_goes_on_from_its_checkpoint(lab, tmp_path, monkeypatch):
    experiment = {"models": MMVM, "training": {"epochs": 6, "checkpoint_every": 2}}
    spec = sweep_of({"models.mmvm.beta": [0.1, 1.0]}, experiment=experiment)
    whole = run_sweep(spec, tmp_path / "whole", progress=False)
    add, epochs = fitting._Record.add, []

    def counted(record, epoch, *arguments):
        add(record, epoch, *arguments)
        if record.folder.parent.name == "stacks":
            epochs.append(epoch.epoch)
            if epochs == [1, 2, 3, 4, 5]:
                raise KeyboardInterrupt

    monkeypatch.setattr(fitting._Record, "add", counted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(spec, tmp_path / "cut", progress=False)
    cut = run_sweep(spec, tmp_path / "cut", progress=False)
    assert epochs == [1, 2, 3, 4, 5, 5, 6]
    assert (cut.path / "table.csv").read_bytes() == (whole.path / "table.csv").read_bytes()


def test_a_killed_pack_keeps_the_stacks_that_are_trained(lab, tmp_path, monkeypatch):
    models = {**MMVM, "other": {"sharing": "independent", "latent": 2, "networks": "linear"}}
    spec, trained = sweep_of({"models.*.beta": [0.1, 1.0]}, experiment={"models": models}), []

    def counted(samples, splits, model, *rest, **more):
        if trained == ["mmvm"] and model.sharing.kind == "independent":
            trained.append("killed")
            raise KeyboardInterrupt
        trained.append(model.sharing.kind)
        return fitting.train_stack(samples, splits, model, *rest, **more)

    monkeypatch.setattr(trainings, "train_stack", counted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(spec, tmp_path / "out", progress=False)
    done = run_sweep(spec, tmp_path / "out", progress=False)
    assert trained == ["mmvm", "killed", "independent"]
    assert [done.state(cell.name) for cell in done.cells] == ["done", "done"]


def test_one_training_that_diverges_fails_alone(lab, tmp_path):
    sweep = run_sweep(
        sweep_of({"models.mmvm.beta": [0.1, 0.2, 1e38]}, experiment={"models": MMVM}), tmp_path / "out", progress=False
    )
    table = pd.read_csv(sweep.path / "table.csv")
    assert table["state"].tolist() == ["done", "done", "failed"]
    assert "not finite" in table["error"][2]
    said = logs(sweep)
    assert "a stack of 3 trainings has failed and is divided: TrainingError" in said
    assert "a stack of 2 trainings has failed" in said
    assert not list((sweep.path / "stacks").iterdir())
