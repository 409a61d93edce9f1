"""A committed run folder, mutated: everything in it is read, and some are analysed again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load_file, save_file

from neuromvm.files import read_dataset
from neuromvm.folders.study import Study
from neuromvm.inference.fitted_stack import FittedStack
from neuromvm.training.checkpoints import load_latest_checkpoint
from tests.fuzz.nwb_cases import change
from tests.fuzz.spec_cases import mutated
from tests.fuzz.values import changed_json, damage_file

RUN = Path(__file__).parents[1] / "committed_runs" / "0.1.0"


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
        shutil.copyfile(files[int(random.integers(len(files)))], path)
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


def read_changed(folder: Path, changed: Path) -> None:
    """Read what a changed file holds: a part of a model, or all that the samples are made of."""
    study = Study(folder)
    parts = changed.relative_to(folder).parts
    if parts[0] != "models":
        assert study.provenance is not None
        assert study.summary["analyses"] is not None
        assert study.design is not None
        study.scores("decoding")
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
    shutil.copytree(RUN, folder / "run")
    read_changed(folder / "run", mutate(folder / "run", random, outside))
    return ""
