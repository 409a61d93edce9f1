"""Nulls of single analyses hold their level on simulated data with known truth, and find what is there."""

import pytest

from analysis.calibration_design import blocked_designs
from analysis.calibration_time import false_generalization


@pytest.mark.slow
def test_generalization_is_found_where_a_code_stays_and_nowhere_else():
    table = false_generalization(40, seed=1000)
    false, true = table[~table["shared"]], table[table["shared"]]
    assert (false[["cluster low", "cell low"]] <= 0.05).all(axis=None)
    assert (true[["cluster", "cell"]] > 0.9).all(axis=None)


@pytest.mark.slow
def test_shifted_labels_call_drift_a_signal_less_often_than_permuted_ones():
    table = blocked_designs(20, seed=1000).set_index(["design", "drift", "signal"])
    drift = table.loc[("sorted", "wandering", 0.0)]
    assert drift["permute low"] > 0.05 >= drift["shift low"]
    assert table.loc[("random", "wandering", 0.0), "permute low"] <= 0.05
    assert (table.xs("none", level="drift").xs(0.0, level="signal")[["permute low", "shift low"]] <= 0.05).all(axis=None)
    assert (table.loc[("random", "wandering", 0.8), ["permute", "shift"]] > 0.5).all()
