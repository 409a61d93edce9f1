"""The benchmarks run as a user runs them; seconds are never asserted."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not part of an installed package")


def benchmarks(*arguments):
    """Run ``python -m benchmarks`` in the folder of the project."""
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=500)


def test_list_names_every_pair_once():
    done = benchmarks("--list")
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert len(names) == len(set(names)) > 15
    assert {"step_paper_1_thread", "stack_32_hidden_32", "multivae_paper", "reading_h5py", "binning_pynapple"} <= set(names)


def test_an_unknown_pair_is_named():
    done = benchmarks("--only", "no_such_pair")
    assert done.returncode == 2
    assert "no_such_pair" in done.stderr
    assert "step_paper_1_thread" in done.stderr


@pytest.mark.slow
def test_the_table_has_times_ratio_aim_and_memory(tmp_path):
    done = benchmarks("--quick", "--only", "stack_32_hidden_32", "binning_*", "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "table.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    head, body = [cell.strip() for cell in rows[0]], {row[0].strip(): [cell.strip() for cell in row] for row in rows[2:]}
    expected = {"stack_32_hidden_32"} | ({"binning_pynapple"} if importlib.util.find_spec("pynapple") else set())
    assert set(body) == expected
    for cells in body.values():
        row = dict(zip(head, cells, strict=True))
        assert re.search(r": [\d.e+]+ (s|ms|us|ns) ", row["ours"])
        assert re.search(r": [\d.e+]+ (s|ms|us|ns)$", row["against"])
        assert re.fullmatch(r"(1/)?[\d.e+]+", row["ratio"])
        for side in ("MB, ours", "MB, other"):
            ready, peak = map(float, row[side].split(" → "))
            assert 10 < ready <= peak + 1  # both are rounded
    assert body["stack_32_hidden_32"][head.index("aim")].startswith("at most 1/8: ")
    assert "torch" in text
    assert "loss" in text
    if "binning_pynapple" not in expected:
        assert "pynapple is not installed" in text


def test_sides_that_differ_are_refused(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.pairs import expect_same

    counts = np.arange(6, dtype=np.uint16)
    expect_same({"counts": counts}, {"counts": counts.copy()}, tolerance=0.0)
    with pytest.raises(AssertionError, match="counts"):
        expect_same({"counts": counts}, {"counts": counts[::-1]}, tolerance=0.0)
    with pytest.raises(AssertionError, match="shape"):
        expect_same({"counts": counts}, {"counts": np.zeros((0,), dtype=np.uint16)}, tolerance=0.0)
    with pytest.raises(AssertionError, match="answers"):
        expect_same({}, {"counts": counts}, tolerance=0.0)


def test_a_pair_is_measured_in_turn_and_its_answers_compared(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.pairs import Pair, Side, measure

    both = Pair("toy", Side("a", wait_one), Side("b", wait_two), "a nap", agreement="the number")
    measured = measure(both, tmp_path, repeats=3, least=0.0)
    assert measured.ours.shape == measured.reference.shape == (3,)
    order = (tmp_path / "order").read_text()
    assert order == "1122" + "12" * 3  # each side's first two calls, then in turn
    assert measured.remark == "first"
    assert measured.ours_memory[1] >= measured.ours_memory[0] > 5
    with pytest.raises(AssertionError, match="number"):
        measure(both._replace(reference=Side("c", wait_three)), tmp_path, repeats=1, least=0.0)
    with pytest.raises(RuntimeError, match="no such side"):
        measure(both._replace(reference=Side("d", fail)), tmp_path, repeats=1, least=0.0)


def wait_one(folder):
    return nap(folder, "1", 7, "first")


def wait_two(folder):
    return nap(folder, "2", 7)


def wait_three(folder):
    return nap(folder, "3", 8)


def fail(folder):
    raise ValueError("no such side")


def nap(folder, mark, number, remark=""):
    from benchmarks.pairs import Work

    def run():
        with (folder / "order").open("a") as file:
            file.write(mark)
        return 1

    return Work(run, lambda: {"number": np.array(number)}, remark)
