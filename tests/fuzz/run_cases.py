"""A small run folder, mutated: everything in it is read, and some are analysed again."""

import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
from safetensors.numpy import load_file, save_file

from neuromvm.analysis.pipeline import analyze, find_analysis
from neuromvm.analysis.report import write_report
from neuromvm.files import read_dataset, write_tree
from neuromvm.folders.study import Study
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.specs import ExperimentSpec, to_yaml
from neuromvm.training.checkpoints import load_latest_checkpoint
from neuromvm.workflow.experiment import run_experiment
from neuromvm.workflow.printing import print_scores, print_verdict
from tests.conftest import tuned_recordings
from tests.fuzz.nwb_cases import change
from tests.fuzz.spec_cases import mutated
from tests.fuzz.values import changed_json, damage_file

REPORTS = 0.2  # share of the cases with a changed score or summary of which the report is written
SPEC = {
    "name": "small",
    "data": {"spec": "simulated_rats", "root": "data"},
    "samples": {"start": 0.0, "stop": 0.8, "bin_width": 0.4, "label": "odor"},
    "split": {"kind": "halves", "repeats": 2},
    "models": {"mmvm": {"sharing": "mmvm", "latent": 2, "networks": "linear", "likelihood": "poisson"}},
    "training": {"epochs": 2, "checkpoint_every": 2},
    "analyses": {"decoding": {"baselines": ["raw"], "reference": "raw", "bootstraps": 100, "permutations": 500}},
}


def made_run(folder: Path) -> Path:
    """Return a small finished run, made if it is not there."""
    out = folder / "base_run"
    if not (out / "summary.json").is_file():
        shutil.rmtree(out, ignore_errors=True)
        spec = ExperimentSpec.model_validate(SPEC)
        recordings = tuned_recordings({"mitt": (3, 24), "stella": (2, 18)})
        out.mkdir()
        (out / "spec.yaml").write_text(to_yaml(spec))
        write_tree(out / "recordings.nc", recordings)
        with patch.object(find_analysis("decoding"), "plot", return_value={}):  # figures take most of the time
            analyze(run_experiment(spec, out, resume=True, progress=False), "decoding")
        shutil.rmtree(out / "figures")
    return out


def mutate(folder: Path, random: np.random.Generator, outside: Path) -> Path:
    """Damage or change one file, in the ways of its kind, and return its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[int(random.integers(len(files)))]
    way = random.random()
    if way < 0.4:
        damage_file(path, random)
    elif way < 0.45:
        path.unlink()
    elif way < 0.5:
        shutil.copyfile(random.choice([str(file) for file in files if file != path]), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(changed_json(json.loads(path.read_text()), random)))
    elif path.suffix == ".jsonl":
        lines = path.read_text().splitlines()
        row = int(random.integers(len(lines)))
        lines[row] = json.dumps(changed_json(json.loads(lines[row]), random))
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".nc":
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            with suppress(OSError, ValueError, KeyError, RuntimeError, TypeError):  # changes that HDF5 itself refuses
                change(file, names[int(random.integers(len(names)))], random, outside)
    elif path.suffix == ".safetensors":
        tensors = dict(load_file(path))
        name = list(tensors)[int(random.integers(len(tensors)))]
        others: list[Any] = [np.nan, np.inf]
        if random.random() < 0.5 and tensors[name].size and tensors[name].dtype.kind == "f":
            tensors[name].flat[0] = others[int(random.integers(2))]
        else:
            tensors[name + "x"] = tensors.pop(name)[:1]
        save_file(tensors, path)
    else:
        changed = mutated(path.read_text(), random)
        path.write_bytes(changed if isinstance(changed, bytes) else changed.encode("utf-8", "replace"))
    return path


def read_changed(folder: Path, changed: Path, *, report: bool) -> None:
    """Read what a changed file holds: a part of a model, or all that the samples are made of."""
    study = Study(folder)
    parts = changed.relative_to(folder).parts
    if parts[0] != "models":
        assert study.provenance is not None
        assert study.design is not None
        find_analysis("decoding").summarize(study.scores("decoding"))
        print_scores(study)
        print_verdict(study)
        if report and parts[0] in ("scores", "summary.json"):
            write_report(study)
        return
    model = parts[1]
    readers: dict[str, Callable[[], object]] = {
        "latents.nc": lambda: study.latents(model),
        "agreement.nc": lambda: study.agreement(model),
        "metrics.jsonl": lambda: study.metrics(model),
        "training.json": lambda: study.rate_terms(model),
        "pairs.nc": lambda: read_dataset(changed),
        "checkpoints": lambda: load_latest_checkpoint(folder / "models" / model / "checkpoints"),
        "weights.safetensors": lambda: FittedStack.load(folder / "models" / model).embed(study.samples),
        "fitted.json": lambda: FittedStack.load(folder / "models" / model).embed(study.samples),
    }
    readers[parts[2]]()


def run(folder: Path, random: np.random.Generator, outside: Path) -> str:
    """Make the case in a folder and read it."""
    shutil.copytree(made_run(outside.parent), folder / "run", ignore=shutil.ignore_patterns(".*"))
    changed = mutate(folder / "run", random, outside)
    with redirect_stdout(StringIO()):
        read_changed(folder / "run", changed, report=random.random() < REPORTS)
    return ""
