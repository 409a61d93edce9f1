"""Conditions over columns: what they select, and that nothing but comparisons is read."""

import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromvm.data.loaders import load_recordings
from neuromvm.data.loaders.conditions import unmet
from neuromvm.errors import MissingTableError, SpecError
from neuromvm.schema import dropped
from neuromvm.specs import DataSpec
from neuromvm.specs.expressions import parse_condition
from tests.data.nwb_files import spike_spec, trial_columns, write_spikes

TABLE = {
    "snr": np.array([5.0, 3.0, np.nan, 8.0]),
    "depth": np.array([1, 2, 3, 4]),
    "good": np.array([True, True, False, True]),
    "quality": np.array(["good", "good", "mua", "mua"]),
    "share": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
    "peak (uV)": np.array([10.0, 20.0, 30.0, 40.0]),
}


def kept(text: str) -> list[int]:
    reasons = unmet(text, lambda name, setting: TABLE[name], "activity.where", "units")
    assert not (reasons[0][1] & reasons[1][1]).any()
    return np.flatnonzero(~reasons[0][1] & ~reasons[1][1]).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("snr > 4", [0, 3]),
        ("snr > 4 and quality == 'good'", [0]),
        ("not snr > 4", [1]),
        ("snr > 4 or depth == 3", [0, 2, 3]),
        ("snr != 5", [1, 3]),
        ("1 < depth <= 3", [1, 2]),
        ("good", [0, 1, 3]),
        ("not good and depth < 4", [2]),
        ("good == False", [2]),
        ("quality in ['good', 'single']", [0, 1]),
        ("depth not in (1, 2)", [2, 3]),
        ("depth in [-1, 4]", [3]),
        ("share == 0.1", [0]),
        ("`peak (uV)` / depth == 10 and depth % 2 == 0", [1, 3]),
        ("quality != '`peak (uV)`'", [0, 1, 2, 3]),
        ("2 * depth - 1 >= 5", [2, 3]),
        ("1 / (depth - 1) > 0.4", [0, 1, 2]),
    ],
)
def test_conditions_select_rows(text, rows):
    assert kept(text) == rows


PARTS = st.recursive(
    st.sampled_from(["a < 2", "b >= a", "a = 1", "b <> 0", "a + b > 2"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda words: f"({' '.join(words)})"),
        part.map(lambda words: f"not ({words})"),
    ),
    max_leaves=5,
)


@given(PARTS, st.lists(st.tuples(*[st.sampled_from([None, 0.0, 1.0, 2.0, 3.0])] * 2), min_size=1, max_size=8))
def test_missing_values_are_those_of_sql(text, rows):
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE t (a REAL, b REAL)")
    base.executemany("INSERT INTO t VALUES (?, ?)", rows)
    (truth,) = zip(*base.execute(f"SELECT {text} FROM t ORDER BY rowid"), strict=True)
    columns = dict(zip("ab", np.array(rows, dtype=np.float64).T, strict=True))
    condition = text.replace(" = ", " == ").replace("<>", "!=")
    names = set(parse_condition(condition).columns)
    assert names <= set(columns)
    false, unknown = (mask for _, mask in unmet(condition, lambda name, _: columns[name], "where", "t"))
    assert false.tolist() == [value == 0 for value in truth]
    assert unknown.tolist() == [value is None for value in truth]


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os').system('true')", "snr.real > 1", "snr[0] > 1", "len(quality) > 1", "lambda: snr", "[x for x in snr]"),
        *(
            "snr := 3",
            "snr if good else depth",
            "f'{snr}' == '3'",
            "snr > 4; depth",
            "snr ** 9 ** 9 > 1",
            "snr > 1j",
            "snr is None",
        ),
        *(
            "good and",
            "",
            "3 > 2",
            "snr in depth",
            "snr == [1, 2]",
            "[1] == snr",
            "snr in [depth]",
            "snr > 10**400",
            "snr > " + "9" * 400,
        ),
        *("not " * 100 + "good", "snr > 1 and " * 60 + "good", "snr\x00 > 1", "*snr"),
    ],
)
def test_anything_else_is_refused_by_the_spec(text):
    with pytest.raises(ValueError, match="condition"):
        parse_condition(text)


def test_texts_and_numbers_are_not_compared():
    for text in ("quality > 3", "snr == 'good'", "snr in ['a']", "quality", "-quality == 'x'", "depth and good"):
        with pytest.raises(SpecError, match=r"activity\.where"):
            kept(text)


def test_files_are_read_with_conditions_and_drops_are_counted(tmp_path):
    trials = trial_columns(rt=[0.3, 1.8, np.nan, 0.4, 0.5, 0.6], correct=[True, True, True, False, True, True])
    write_spikes(tmp_path / "a.nwb", columns={"snr": [5.0, 1.0, 6.0]}, trials=trials)
    spec = spike_spec(activity={"where": "snr > 4"}, trials={"labels": {"smell": "odor"}, "where": "rt < 1.5 and correct"})
    rat = load_recordings(spec, tmp_path)["rat"].to_dataset()
    assert rat["unit"].values.tolist() == [0, 2]
    assert rat["trial"].values.tolist() == [0, 4, 5]
    assert [tuple(line) for line in dropped(rat)] == [
        ("trials", "not rt < 1.5 and correct", 2),
        ("trials", "unknown whether rt < 1.5 and correct: a value is missing", 1),
        ("units", "not snr > 4", 1),
    ]
    by_label = spike_spec(trials={"labels": {"smell": "odor"}, "where": "smell == 'A'"})
    assert load_recordings(by_label, tmp_path)["rat"].sizes["trial"] == 3


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write_spikes(tmp_path / "a.nwb", columns={"snr": [5.0, 1.0, 6.0]})
    with pytest.raises(MissingTableError, match=r"no column 'snrr'.*Did you mean 'snr'.*activity.where"):
        load_recordings(spike_spec(activity={"where": "snrr > 4"}), tmp_path)
    with pytest.raises(MissingTableError, match=r"no column 'rt'.*cue_time.*trials.where"):
        load_recordings(spike_spec(trials={"where": "rt > 4"}), tmp_path)
    with pytest.raises(ValueError, match="Call"):
        DataSpec.model_validate(spike_spec().model_dump() | {"trials": {"where": "eval('1')"}})
