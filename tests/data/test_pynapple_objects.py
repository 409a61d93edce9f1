"""pynapple objects and recordings, counted anew by pynapple itself."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neuromvm.data.pynapple_objects import recordings_from_pynapple, to_pynapple
from neuromvm.errors import AlignmentError, ArgumentError, SchemaError
from neuromvm.schema import Dropped, dropped

nap = pytest.importorskip("pynapple")

START = 1.0 + 2.0 * np.arange(8)
ODORS = np.array(["A", "B"] * 4)


def group(seed=0, units=3):
    rng = np.random.default_rng(seed)
    trains = {4 + unit: nap.Ts(np.sort(rng.uniform(0, 16, 200))) for unit in range(units)}
    support = nap.IntervalSet(0, 16)
    return nap.TsGroup(trains, time_support=support, metadata={"region": ["CA1", "CA3", "CA1"], "depth": [1.0, 2.0, 3.5]})


def intervals():
    return nap.IntervalSet(start=START, end=START + 1, metadata={"odor": ODORS, "cue": START + 0.25})


def test_counts_are_those_of_pynapple():
    units = group()
    tree = recordings_from_pynapple({"ada": units}, {"ada": intervals()}, window=(0, 1), bin_width=0.25)
    for trial in range(7):
        counts = units.count(0.25, ep=nap.IntervalSet(START[trial], START[trial] + 1)).values
        np.testing.assert_array_equal(tree["ada"]["spike_count"][trial], counts)
    ada = tree["ada"]
    assert ada["unit"].values.tolist() == [4, 5, 6]
    assert ada["region"].values.tolist() == ["CA1", "CA3", "CA1"]
    assert ada["odor"].values.tolist() == ODORS.tolist()
    np.testing.assert_array_equal(ada["onset"], START)
    assert tree["time"].attrs["bin_width"] == 0.25


def test_tables_are_trials_and_those_that_cannot_be_used_are_counted():
    table = pd.DataFrame({"cue": [1.0, np.nan, 3.0, 15.5, -0.5], "odor": ["A", "B", None, "A", "B"], "n": [1, 2, 3, 4, 5]})
    tree = recordings_from_pynapple({"ada": group()}, {"ada": table}, window=(0, 1), bin_width=0.5, align="cue")
    assert tree["ada"]["odor"].values.tolist() == ["A", ""]
    assert tree["ada"]["trial"].values.tolist() == [0, 2]
    reasons = [Dropped("trials", "cue is NaN", 1), Dropped("trials", "window outside the recording", 2)]
    assert dropped(tree["ada"].to_dataset()) == reasons


def test_there_and_back():
    tree = recordings_from_pynapple({"ada": group()}, {"ada": intervals()}, window=(-0.25, 0.75), bin_width=0.25, align="cue")
    frame, windows = to_pynapple(tree, "ada")
    assert frame.shape == (32, 3)
    np.testing.assert_array_equal(windows["odor"], ODORS)
    np.testing.assert_array_equal(frame.metadata["region"], ["CA1", "CA3", "CA1"])
    np.testing.assert_allclose(windows.start, START)
    for trial, (start, stop) in enumerate(windows.values):
        np.testing.assert_array_equal(frame.get(start, stop).values, tree["ada"]["spike_count"][trial])
    spikes = group()
    np.testing.assert_array_equal(frame.values, spikes.count(0.25, ep=windows).values)


def test_arguments_are_checked(monkeypatch):
    settings = {"window": (0, 1), "bin_width": 0.25}
    with pytest.raises(ArgumentError, match=r"a pynapple\.TsGroup"):
        recordings_from_pynapple({"ada": [1.0]}, {"ada": intervals()}, **settings)
    with pytest.raises(ArgumentError, match="an IntervalSet or a DataFrame"):
        recordings_from_pynapple({"ada": group()}, {"ada": 3}, **settings)
    with pytest.raises(ArgumentError, match="argument 'trials': a IntervalSet"):
        recordings_from_pynapple(group(), intervals(), **settings)
    with pytest.raises(ArgumentError, match="argument 'units': no animals"):
        recordings_from_pynapple({}, {}, **settings)
    with pytest.raises(AlignmentError, match="a positive whole number of bins"):
        recordings_from_pynapple({"ada": group()}, {"ada": intervals()}, window=(0, 1), bin_width=0.3)
    with pytest.raises(SchemaError, match="bob"):
        recordings_from_pynapple({"ada": group()}, {"bob": intervals()}, **settings)
    with pytest.raises(SchemaError, match="Did you mean 'cue'"):
        recordings_from_pynapple({"ada": group()}, {"ada": intervals()}, align="cues", **settings)
    late = pd.DataFrame({"cue": START * 1000})
    with pytest.raises(AlignmentError, match="8 where window outside"):
        recordings_from_pynapple({"ada": group()}, {"ada": late}, align="cue", **settings)
    tree = recordings_from_pynapple({"ada": group()}, {"ada": intervals()}, window=(0, 2.5), bin_width=0.25)
    with pytest.raises(AlignmentError, match="6 windows that overlap"):
        to_pynapple(tree, "ada")
    with pytest.raises(SchemaError, match="no animal 'bob'"):
        to_pynapple(tree, "bob")
    with pytest.raises(SchemaError, match="no onset"):
        to_pynapple(
            xr.DataTree.from_dict({"/": tree.to_dataset(), "ada": tree["ada"].to_dataset(inherit=False).drop_vars("onset")}),
            "ada",
        )
    monkeypatch.setitem(__import__("sys").modules, "pynapple", None)
    with pytest.raises(ArgumentError, match=r"neuromvm\[pynapple\]"):
        to_pynapple(tree, "ada")
