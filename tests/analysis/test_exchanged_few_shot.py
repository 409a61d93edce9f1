"""The null of scrambled correspondence of new animals: linear methods fitted again with the names of conditions exchanged."""

import numpy as np
import pytest

from neuromvm.analysis.decoding import decoding
from neuromvm.analysis.decoding.few_shot import NewAnimal, Options, compare_few_shot, summarize
from neuromvm.analysis.judged import values
from neuromvm.data.correspondence import CORRESPONDENCE, exchanged
from neuromvm.data.simulate.codes import simulate_codes
from neuromvm.data.splits import few_trials, make_splits
from neuromvm.data.windows import make_samples
from neuromvm.specs import SampleSpec, SplitSpec
from tests.analysis.simulation import shared_latents, study_of

BASELINES = decoding.Options(canonical_components=3)


@pytest.fixture(scope="module")
def samples():
    return make_samples(simulate_codes(4, 4, 10, 20, signal=1.0, seed=0), SampleSpec(label=["condition"]))


@pytest.fixture(scope="module")
def few(samples):
    """Return the splits of two new animals; exchanged names leave them as they are."""
    splits = make_splits(samples, SplitSpec(kind="halves", repeats=1))
    return {name: few_trials(samples, splits, name, 2, 0) for name in ("animal0", "animal2")}


def curve(samples, few, exchanges):
    latents = {"mmvm adapted": shared_latents(study_of(samples, few["animal0"]))}
    new = {name: NewAnimal(splits, latents) for name, splits in few.items()}
    options = Options(bootstraps=100, permutations=500, exchanges=exchanges)
    return compare_few_shot(samples, {2: new}, options, BASELINES)


def test_linear_methods_are_fitted_again_with_exchanged_names(samples, few):
    scores = curve(samples, few, 3)
    null = scores["null_score"].sel(null=CORRESPONDENCE, setting="2", target="all animals")
    fitted = [values(curve(exchanged(samples, number), few, 0)).sel(setting="2") for number in (1, 2, 3)]
    for method in ("linear map", "mcca"):
        drawn = [float(of_number.sel(representation=method)) for of_number in fitted]
        assert float(null.sel(representation=method, null_statistic="mean")) == pytest.approx(np.mean(drawn))
        reached = np.array(drawn) >= float(values(scores).sel(representation=method, setting="2")) - 1e-6
        assert float(null.sel(representation=method, null_statistic="p")) == pytest.approx((reached.sum() + 1) / 4)
        assert scores["null_draws"].sel(null=CORRESPONDENCE, representation=method) == 3
    lines = [line.representation for line in summarize(scores) if line.setting == "2, scrambled correspondence"]
    assert sorted(lines) == ["linear map", "mcca"]
    assert str(scores["null_kind"].sel(null="labels").values[0]).startswith("500 permutations")


def test_methods_without_this_null_say_why(samples, few):
    for exchanges, reason in ((1, ""), (0, "asked for")):
        absent = curve(samples, few, exchanges)["null_absent"].sel(null=CORRESPONDENCE, setting="2").to_series()
        assert "not fitted again" in absent["mmvm adapted"]
        assert "one animal alone" in absent["own decoder"]
        assert "one animal alone" in absent["own shrunk_lda"]
        assert reason in absent["mcca"]
        assert bool(absent["mcca"]) == bool(reason)
