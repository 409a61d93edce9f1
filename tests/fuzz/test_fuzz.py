"""A small part of the fuzz run, and inputs that it found."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from neuromvm.analysis.verdict import QUESTIONS
from neuromvm.errors import RunFolderError
from neuromvm.files import read_json
from neuromvm.folders.records import Summary
from neuromvm.folders.study import Study
from neuromvm.workflow.printing import print_verdict
from tests.fuzz import nwb_cases, spec_cases
from tests.fuzz.values import changed_json, damaged_bytes

REPOSITORY = Path(__file__).parents[2]
CASES = 40


def test_cases_of_all_kinds_end_well(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--n",
        str(CASES),
        "--seed",
        "2026",
        "--minutes",
        "9",
    ]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{CASES} cases" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_case_is_the_same_again() -> None:
    makers: list[Callable[[np.random.Generator], object]] = [
        lambda random: damaged_bytes(bytes(range(256)) * 4, random),
        lambda random: spec_cases.mutated(spec_cases.DATA, random),
        lambda random: repr(changed_json({"a": [1, {"b": 2}], "c": "d"}, random)),
    ]
    for make in makers:
        assert make(np.random.default_rng([3, 4])) == make(np.random.default_rng([3, 4]))
        assert any(make(np.random.default_rng([3, number])) != make(np.random.default_rng([3, 4])) for number in range(9))


def test_what_is_read_outside_of_the_folder_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside.h5"
    nwb_cases.write_outside(outside)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setattr(nwb_cases, "_described", lambda *_: "CANARY")
    monkeypatch.setattr(nwb_cases, "mutate", lambda *_: None)
    assert nwb_cases.run(folder, np.random.default_rng(0), outside) == "outside"


@pytest.mark.parametrize("seed", range(3))
def test_the_file_before_mutation_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(nwb_cases, "mutate", lambda *_: None)
    assert nwb_cases.run(tmp_path, np.random.default_rng(seed), tmp_path / "outside.h5") == ""


def test_a_verdict_with_a_question_too_many_or_too_few_is_read_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = {name: {"answer": "yes", "sentence": f"{name}."} for name in QUESTIONS}
    summary = {"experiment": "mine", "analyses": {}, "verdict": {**claims, "more": {}}}
    file = tmp_path / "summary.json"
    file.write_text(json.dumps(summary))
    study = cast(Study, SimpleNamespace(path=tmp_path, summary=read_json(file, Summary)))
    print_verdict(study)
    assert "better_than_linear." in capsys.readouterr().out
    del claims["helps"]
    file.write_text(json.dumps({**summary, "verdict": claims}))
    with pytest.raises(RunFolderError, match="helps"):
        read_json(file, Summary)
    print_verdict(cast(Study, SimpleNamespace(path=tmp_path, summary={})))
    assert "earlier version" in capsys.readouterr().out
