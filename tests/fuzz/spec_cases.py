"""Specs and settings, mutated: read, and data specs that pass are used on a good file."""

from pathlib import Path

import numpy as np

from neuromvm.analysis.pipeline import check_analyses
from neuromvm.data.describe import describe
from neuromvm.data.loaders import load_recordings
from neuromvm.specs import load_data_spec, load_experiment_spec
from neuromvm.specs.sweep import load_sweep_spec
from tests.fuzz import nwb_cases
from tests.fuzz.values import WORDS, damaged_bytes

DATA = """name: x
files: [a.nwb]
description: small
animal: subject_id
activity:
  kind: spikes
  keep: {quality: [good, mua]}
  min_rate: 0.1
grid:
  kind: time
  align: start_time
  window: [0, 0.8]
  bin_width: 0.4
trials:
  table: trials
  labels: {odor: odor}
  keep: {odor: [A, B]}
  map: {odor: {A: a}}
min_units: 1
min_trials: 2
exclude: []
rename: {m1: mitt}
shift: {mitt: 0.1}
sessions: separate
"""
EXPERIMENT = """name: small
data: {spec: simulated_rats, root: data}
samples: {start: 0.0, stop: 0.6, bin_width: 0.3, label: odor, keep: {odor: [A, B]}}
split: {kind: folds, folds: 4, seed: 1}
models:
  mmvm: {sharing: mmvm, latent: 3, networks: linear, likelihood: poisson, beta: 0.5}
  alone: {sharing: {kind: independent}, networks: {kind: mlp, hidden: [5]}}
training: {epochs: 2, seeds: [0, 1], learning_rate: 0.01, batch_size: 8}
training_of: {alone: {epochs: 3}}
analyses: {decoding: {bootstraps: 100, permutations: 500}, sequence: {}}
nulls: {refits: 3}
"""
SWEEP = """name: betas
experiment:
  name: small
  data: {spec: simulated_rats}
  samples: {label: odor}
  models: {mmvm: {sharing: mmvm}}
grid: {models.mmvm.beta: [0.1, 1.0]}
"""
SETTINGS = [
    "min_units",
    "grid.window",
    "grid.bin_width",
    "trials.labels",
    "activity",
    "activity.kind",
    "training.epochs",
    "models.mmvm.latent",
    "x.y.z",
    "",
]


def mutated(text: str, random: np.random.Generator) -> str | bytes:
    """Return YAML text with words replaced, lines moved or bytes damaged."""
    if random.random() < 0.1:
        return damaged_bytes(text.encode(), random)
    for _ in range(int(random.choice([1, 1, 2, 3]))):
        lines = text.splitlines()
        row = int(random.integers(len(lines)))
        way, word = int(random.integers(7)), WORDS[int(random.integers(len(WORDS)))]
        if way <= 2:
            key, colon, _ = lines[row].partition(":")
            lines[row] = f"{key}{colon} {word}" if colon else word
        elif way == 3:
            pieces = lines[row].replace("[", " [ ").replace("{", " { ").split(" ")
            pieces[int(random.integers(len(pieces)))] = word
            lines[row] = " ".join(pieces)
        elif way == 4:
            lines.insert(row, lines[int(random.integers(len(lines)))])
        elif way == 5:
            del lines[row]
        else:
            depth = int(random.choice([5, 50, 70, 3000]))
            nested = ["[" * depth + "]" * depth, "{a: " * depth + "1" + "}" * depth, "- " * depth + "a"][int(random.integers(3))]
            lines[row] = lines[row].partition(":")[0] + ": " + nested
        text = "\n".join(lines) or "\n"
    return text


def run(folder: Path, random: np.random.Generator, outside: Path) -> str:
    """Make the case in a folder and read it."""
    kind = ["data", "data", "experiment", "sweep"][int(random.integers(4))]
    text: str | bytes = {"data": DATA, "experiment": EXPERIMENT, "sweep": SWEEP}[kind]
    overrides = []
    assert isinstance(text, str)
    if random.random() < 0.75:
        text = mutated(text, random)
    else:
        overrides = [
            f"{random.choice(SETTINGS)}={WORDS[int(random.integers(len(WORDS)))]}" for _ in range(int(random.integers(1, 3)))
        ]
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    (folder / "s.yaml").write_bytes(content)
    (folder / "overrides.txt").write_text("\n".join(overrides), errors="replace")
    path = str(folder / "s.yaml")
    if kind == "experiment":
        check_analyses(load_experiment_spec(path, overrides))
    elif kind == "sweep":
        load_sweep_spec(path, overrides)
    else:
        spec = load_data_spec(path, overrides)
        nwb_cases.write_base(folder / nwb_cases.NAME, np.random.default_rng(0))
        describe(load_recordings(spec, folder))
    return ""
