"""The study's calibration: p-values by hand, all data sets in rounds, and nothing computed twice."""

import numpy as np
import pytest

from analysis import calibration
from analysis.tables import Request
from neuromvm.files import read_json

SMALL = {"animals": 2, "conditions": 6, "trials": 3, "units": 4, "signal": 1.0, "share": 0.0}


def test_equal_scores_count_against_a_row_and_are_broken_at_random():
    datasets = [{"row": [0.5, 0.6, 0.5, 0.4]}] * 2000
    reported, broken = calibration.p_values(datasets, "row")
    assert np.unique(reported) == 0.75  # one copy above, one equal, of three
    assert broken.min() > 0.25
    assert broken.max() < 0.75
    assert broken.mean() == pytest.approx(0.5, abs=0.02)


def test_p_of_exchangeable_scores_is_uniform_despite_ties():
    scores = np.random.default_rng(0).integers(4, size=(4000, 20)) / 4
    reported, broken = calibration.p_values([{"row": data.tolist()} for data in scores], "row")
    assert np.mean(broken <= 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(reported <= 0.05) < 0.01  # a quarter of the copies are equal to the best score


def test_the_share_of_small_p_has_an_exact_interval():
    assert calibration.share_below(np.r_[np.full(2, 0.05), np.full(8, 0.5)]) == "0.20 [0.03, 0.56]"


def test_rounds_hold_every_data_set_once():
    table = {"few": calibration.Cell(SMALL, 3), "many": calibration.Cell(SMALL, 25)}
    for name, cell in table.items():
        blocks = [block for blocks in calibration.rounds(table) for block in blocks if block.cell == name]
        assert [number for block in blocks for number in range(block.first, block.last + 1)] == list(range(cell.sets))


def test_a_stopped_calibration_continues(tmp_path, monkeypatch):
    cell = calibration.Cell(SMALL, 2, (calibration.MAIN,), scrambles=1)
    decoder = calibration.Cell({**SMALL, "signal": 0.0}, 2, (calibration.DECODER,))
    design = next(iter(calibration.DESIGNS))
    table = {"private": cell, f"shared, {design}": cell, f"decodable, {design}": decoder}
    monkeypatch.setattr(calibration, "cells", lambda: table)
    request = Request(tmp_path, tmp_path, tmp_path / "pages", quick=False)
    calibration.main(request)
    assert calibration.progress(tmp_path / "calibration", table) == ""
    page = (tmp_path / "pages" / "calibration.md").read_text()
    assert f"| {calibration.MAIN} | 2 | 1 |" in page
    assert f"| {design} | 2 and 2 |" in page
    files = list((tmp_path / "calibration").rglob("*.json"))
    assert [len(score[calibration.MAIN]) for score in calibration.results(tmp_path / "calibration", "private")] == [2, 2]
    assert all(0 < score["p"][0] <= 1 for score in calibration.results(tmp_path / "calibration", f"decodable, {design}"))
    monkeypatch.setattr(calibration, "accuracies", None)  # nothing is computed again
    files[0].unlink()
    assert "5 of 6 data sets" in calibration.progress(tmp_path / "calibration", table)
    lost = files[0].parent.name
    if lost.startswith("decodable"):
        monkeypatch.setattr(calibration, "decoded", lambda cell, seed: {"p": [0.5]})
    else:
        monkeypatch.setattr(calibration, "accuracies", lambda cell, seed: {calibration.MAIN: [1.0, 0.0]})
    calibration.main(request)
    assert len(read_json(files[0])) == 1


def test_codes_in_common_are_told_and_private_ones_are_not():
    settings = {"animals": 4, "conditions": 8, "trials": 6, "units": 20, "signal": 2.0}
    told = {}
    for share in (0.0, 1.0):
        cell = calibration.Cell({**settings, "share": share}, 1, (calibration.MAIN,), scrambles=0)
        told[share] = np.mean([calibration.accuracies(cell, seed)[calibration.MAIN][0] for seed in range(4)])
    assert told[1.0] > 0.6
    assert told[0.0] < 0.5
