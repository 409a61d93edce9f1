"""How names and numbers are written in captions, and small helpers of analyses."""

import numpy as np
import pytest
import xarray as xr

from neuromvm.analysis.figures import few_shot, style, text
from neuromvm.analysis.figures.matrices import without_zero
from neuromvm.analysis.sequence.means import balanced_mean
from neuromvm.analysis.time import curves
from neuromvm.analysis.time.time_resolved import periods


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["plCoA_15-exp10", "plCoA_15-exp12"], ("plCoA_15-exp", ["10", "12"])),
        (["rat", "rat2"], ("", ["rat", "rat2"])),
        (["barat", "buchanan"], ("", ["barat", "buchanan"])),
    ],
)
def test_a_common_beginning_is_left_out(names, expected):
    assert text.shortened(names) == expected


def test_numbers_in_names_are_sorted_by_size():
    assert text.ordered(["odor_10", "odor_2", "air"]) == ["air", "odor_2", "odor_10"]
    assert text.ordered(["1.5", "-2", "10"]) == ["-2", "1.5", "10"]


def test_numbers_are_written_with_nouns():
    assert (text.span([75, 75]), text.span([70, 75, 72])) == ("75", "70 to 75")
    assert (text.counted(1, "animal"), text.counted([1, 3], "test trial")) == ("1 animal", "1 to 3 test trials")
    assert (text.tested_trials({}), text.tested_trials({"in_sample": 1})) == ("test trials", "trials fitted and scored")
    assert without_zero(0.368) == ".37"


def test_names_are_enumerated():
    assert text.listed(["a", "b", "c"]) == "a, b and c"
    assert text.listed(["a", "b", "c"], most=2) == "a, b and 1 more"


def test_animals_are_shown_for_few_and_for_all_trials():
    assert few_shot.shown(xr.Dataset(coords={"setting": ["1", "2", "4", "8", "all"]})) == ["4", "all"]
    assert few_shot.shown(xr.Dataset(coords={"setting": ["1", "2"]})) == ["2"]


def test_windows_lie_before_or_after_the_event():
    inside = periods(np.array([-0.15, -0.05, 0.05, 0.15]), 0.2, "time")
    assert inside["before"].tolist() == [True, False, False, False]
    assert inside["after"].tolist() == [False, False, False, True]


def test_groups_have_equal_weight_in_a_balanced_mean():
    assert balanced_mean(np.array([1.0, 0, 0, 0]), np.array([0, 1, 1, 1])) == 0.5


def test_a_run_of_significant_windows_is_followed_to_its_start():
    significant = np.array([[1, 0, 0, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0]], dtype=bool)
    assert curves._run_starts(significant, 2, 5).tolist() == [3, 1]


def test_labels_are_text_and_never_mathematics(tmp_path):
    with style.applied():
        figure, axes = style.page(2.0)
        axes.plot([0, 1], label=r"$\badmacro{x$")
        axes.set_title("$5 mM$")
        axes.legend()
    figure.savefig(tmp_path / "labels.png")  # matplotlib raises ValueError where it reads a label as mathematics
    assert not axes.title.get_parse_math()
