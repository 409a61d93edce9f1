"""A model may learn the labels of its training trials by heart: what it makes of these must not pass for consistency."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest

from neuromvm.analysis.consistency.between_animals import OWN_NULL
from neuromvm.specs import SplitSpec
from tests.analysis.latents_of_classes import compared

BY_HEART = {"learnt": 2.0, "offset": 3.0, "turned": False}
FEW = {"labels": 6, "trials": 8}
OF_CONDITIONS = [measure for measure, null in OWN_NULL.items() if null == "conditions"]


def p_values(kind, studies, **how):
    """Return measure -> p of each study, each under the null that the measure can tell."""
    every = xr.concat([compared(kind, 4, seed, **FEW, **how)["p"] for seed in range(studies)], "study")
    return {measure: every.sel(measure=measure, null=null).to_numpy() for measure, null in OWN_NULL.items()}


def test_what_was_learnt_by_heart_is_not_consistent():
    found = compared("noise", 4, 3, **BY_HEART)
    assert all(found["p"].sel(measure=measure, null=null) > 0.03 for measure, null in OWN_NULL.items())
    assert (np.abs(found["calibrated"]) < 0.4).all()
    assert found["in_sample_r2"].mean() > 0.9  # which it is on the trials that were learnt


def test_what_was_learnt_by_heart_takes_part_in_the_linear_map_alone():
    plain, learnt = (compared("shared", 4, 5, turned=False, noise=0.5, learnt=size, offset=size) for size in (0.0, 2.0))
    chosen = {"measure": OF_CONDITIONS}
    # Latents are divided by their deviation on training trials, one number a dimension: all that is left of these trials.
    np.testing.assert_allclose(plain["value"].sel(chosen), learnt["value"].sel(chosen), atol=0.1)
    np.testing.assert_allclose(plain["p"].sel(chosen), learnt["p"].sel(chosen), atol=0.02)
    assert (learnt["p"].sel(null="conditions", **chosen) <= 0.03).all()
    assert (learnt["p"].sel(null="trials") <= 0.03).all()


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"learnt": 2.0}, BY_HEART])
def test_p_is_uniform_where_only_training_trials_know_their_labels(how):
    for values in p_values("noise", 80, **how).values():
        assert kstest(values, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_p_is_uniform_over_splits_that_share_trials():
    for kind in ("halves", "kfold"):
        splits = SplitSpec(kind=kind, repeats=3) if kind == "halves" else SplitSpec(kind=kind, folds=3)
        for values in p_values("noise", 80, splits=splits, **BY_HEART).values():
            assert kstest(values, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_geometries_learnt_by_heart_do_not_make_others_alike():
    """Test trials encode a geometry of each animal's own, training trials one in common besides."""
    found = p_values("own", 80, **BY_HEART)
    for measure in OF_CONDITIONS:
        assert kstest(found[measure], "uniform", alternative="greater").pvalue > 0.01


@pytest.mark.slow
def test_weak_consistency_is_found_as_often_whatever_was_learnt_by_heart():
    plain, learnt = (p_values("shared", 60, noise=2.0, **how) for how in ({}, {"learnt": 2.0, "offset": 3.0}))
    for measure in OWN_NULL:
        power = [np.mean(one[measure] <= 0.05) for one in (plain, learnt)]
        assert min(power) > 0.12
        assert power[1] > power[0] - 3 * np.sqrt(2 * 0.25 / 60)
