"""A module of the study runs, and a second call computes nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.tables import PAGES, Request, bracketed, score_table, write_page
from neuromvm.errors import SpecError

ROOT = Path(__file__).parents[2]


def test_a_module_fills_its_page_and_does_not_run_twice(tmp_path):
    command = [
        sys.executable,
        "-m",
        "analysis.simulated_rats",
        "--quick",
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "pages" / "simulated_rats.md").read_text()
    assert re.search(r"\| mmvm \| 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] \|", page)
    assert "--quick" in page
    for figure in re.findall(r"!\[[^]]*\]\(([^)]*)\)", page):
        assert (tmp_path / "out" / "pages" / figure).is_file()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0
    assert "training" not in again.stderr
    assert (tmp_path / "out" / "pages" / "simulated_rats.md").read_text() == page


SCORES = [
    {
        "representation": "mmvm",
        "setting": setting,
        **{"value": value, "low": value - 0.1, "high": value + 0.1},
        **{"difference": difference, "difference_low": -0.1, "difference_high": 0.1},
        **{"floor": 0.25, "floor_low": 0.2, "floor_high": 0.3, "p": 0.002},
    }
    for setting, value, difference in (("within", 0.5, None), ("cross", 0.4, 0.01), ("within - cross", 0.1, None))
]


def test_a_table_judges_a_row_by_its_score_across_animals():
    (row,) = score_table(SCORES).to_dict("records")
    assert row["within"] == "0.500 [0.400, 0.600]"
    assert row["others"] == ""
    assert row["difference"] == "+0.010 [-0.100, +0.100]"
    assert row["p"] == "0.002"


def test_a_discriminant_of_each_animal_stands_among_rows_of_single_animals():
    within = [{**score, "representation": "raw"} for score in SCORES[:1]]
    discriminant = [{**score, "representation": "simplex_bayes"} for score in SCORES]
    table = score_table([*discriminant, *within, *SCORES])
    assert table["row"].tolist() == ["mmvm", "simplex_bayes", "raw"]
    assert table["cross"].tolist() == ["0.400 [0.300, 0.500]", "", ""]
    assert table["within"].tolist() == ["0.500 [0.400, 0.600]"] * 3


def test_an_absent_value_is_an_empty_cell():
    assert bracketed({"value": None, "low": None, "high": None}, "value", "low", "high") == ""
    assert bracketed({"value": 0.5, "low": None, "high": None}, "value", "low", "high") == "0.500"


def test_a_part_that_a_page_lacks_is_named(tmp_path):
    request = Request(tmp_path, tmp_path, tmp_path, quick=True)
    with pytest.raises(SpecError, match="no part 'no such part'"):
        write_page(request, "linear_track", {"no such part": ""})
    assert "no such part" not in (PAGES / "linear_track.md").read_text()
