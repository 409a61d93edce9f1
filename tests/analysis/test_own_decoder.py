import numpy as np
import pytest
from scipy.stats import kstest

from neuromvm.analysis.decoding.nulls import exchanged, exchanges, own_minus_others
from neuromvm.analysis.statistics.over_trials import mean_of_scored, p_value


def gap(accuracy):
    return mean_of_scored(own_minus_others(accuracy), axis=-1)


def additive(rng, animals, own=0.0):
    """Return accuracies of decoders and animals that differ, and of pairs that differ by chance, own ones by ``own`` more."""
    pairs = 0.02 * rng.standard_normal((animals, animals)) + own * np.eye(animals)
    return 0.5 + 0.1 * rng.standard_normal((animals, 1)) + 0.1 * rng.standard_normal(animals) + pairs


def p_of(accuracy, rng, draws=200):
    return float(p_value(gap(accuracy), exchanged(accuracy, draws, rng)))


def test_the_gap_is_that_of_brute_force():
    accuracy = np.random.default_rng(0).random((4, 4))
    accuracy[1, 2] = np.nan
    each = [accuracy[one, one] - np.nanmean(np.delete(accuracy[:, one], one)) for one in range(4)]
    assert gap(accuracy) == pytest.approx(np.mean(each))
    accuracy[3, 3] = np.nan
    assert gap(accuracy) == pytest.approx(np.mean(each[:3]))
    assert np.isnan(gap(np.ones((1, 1))))


@pytest.mark.parametrize("animals", [5, 9])  # all ways, and some
def test_p_is_uniform_where_an_own_decoder_is_one_of_all(animals):
    rng = np.random.default_rng(1)
    found = [p_of(additive(rng, animals), rng) for _ in range(400)]
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.09


def test_what_is_lost_between_animals_is_found():
    rng = np.random.default_rng(2)
    assert np.mean([p_of(additive(rng, 5, own=0.05), rng) for _ in range(50)]) < 0.02
    assert p_of(additive(rng, 2, own=0.5), rng) == 0.5  # two animals cannot tell


def test_it_is_said_how_many_ways_there_are():
    for animals, count in ((3, 5), (5, 119), (8, 300)):
        assert len(exchanged(np.eye(animals), 300, np.random.default_rng(0))) == exchanges(animals, 300)[0] == count
    assert exchanges(5, 300)[1].startswith("all 120 ways")
    assert exchanges(8, 300)[1].startswith("300 of 40320 ways")
