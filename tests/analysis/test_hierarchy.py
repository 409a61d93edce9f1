import numpy as np
import pytest
from scipy import stats

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.hierarchy import mean_of_pairs, over_animals, over_pairs
from neuromvm.errors import ShapeError


def recorded(rng, animals, trials=10, between=1.0, within=1.0):
    """Return the mean of each animal and bootstrap draws of it; the truth is 0."""
    values = between * rng.standard_normal((animals, 1)) + within * rng.standard_normal((animals, trials))
    counts = rng.multinomial(trials - 1, np.full(trials, 1 / trials), size=(300, animals)) / (trials - 1)
    return values.mean(axis=1), np.einsum("dat,at->da", counts, values)


@pytest.mark.parametrize("animals", [5, 10, 20])
def test_the_interval_holds_the_mean_of_all_animals_and_one_over_trials_does_not(animals):
    rng, studies = np.random.default_rng(animals), 300
    held, held_over_trials = 0, 0
    for _ in range(studies):
        observed, draws = recorded(rng, animals)
        found = over_animals(observed, draws, rng)
        held += found.low <= 0 <= found.high
        low, high = over_trials.interval(draws.mean(axis=1))
        held_over_trials += low <= 0 <= high
    assert abs(held / studies - 0.95) < 4 * np.sqrt(0.95 * 0.05 / studies)
    assert held_over_trials / studies < 0.6


def test_trials_are_not_counted_twice():
    """The spread between animals holds that of their trials already."""
    rng, variances, means = np.random.default_rng(0), [], []
    for _ in range(300):
        observed, draws = recorded(rng, 20, between=0.5, within=3)
        found = over_animals(observed, draws, rng)
        means.append(observed.mean())
        variances.append(((found.high - found.low) / 2 / stats.t.ppf(0.975, 19)) ** 2)
    # A plain hierarchical bootstrap gives 1.8 times the variance; that of 300 means is known to 8 %.
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.35)
    assert np.mean(variances) == pytest.approx((0.25 + 9 / 10) / 20, rel=0.2)


def test_many_alike_trials_leave_students_t():
    observed = np.random.default_rng(1).standard_normal(30)
    found = over_animals(observed, np.tile(observed, (20000, 1)), np.random.default_rng(2))
    low, high = stats.t.interval(0.95, 29, observed.mean(), stats.sem(observed))
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.05 * (high - low))


def test_few_animals_are_named():
    rng = np.random.default_rng(0)
    observed, draws = recorded(rng, 4)
    assert "rough, being of 4 animals" in over_animals(observed, draws, rng).words
    assert "rough" not in over_animals(*recorded(rng, 8), rng).words
    one = over_animals(observed[:1], draws[:, :1], rng)
    assert np.isnan(one.low)
    assert "fewer than 2 animals" in one.words
    observed[1] = np.nan
    assert over_animals(observed, draws, rng).animals == 3


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"\(draw, animal\)"):
        over_animals(np.zeros(3), np.zeros((5, 4)), np.random.default_rng(0))
    with pytest.raises(ShapeError, match="the same animals"):
        over_pairs(np.zeros((3, 4)))


@pytest.mark.parametrize("animals", [3, 5, 10, 20])
def test_the_interval_of_pairs_knows_that_pairs_share_animals(animals):
    rng, studies = np.random.default_rng(animals), 400
    held, as_if_pairs_were_apart = 0, 0
    off = ~np.eye(animals, dtype=bool)
    for _ in range(studies):
        source, target = rng.standard_normal((2, animals))
        scores = source[:, None] + target + 0.3 * rng.standard_normal((animals, animals))
        found = over_pairs(scores)
        held += found.low <= 0 <= found.high
        low, high = stats.t.interval(0.95, off.sum() - 1, scores[off].mean(), stats.sem(scores[off]))
        as_if_pairs_were_apart += low <= 0 <= high
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / studies) < held / studies < 0.99
    assert as_if_pairs_were_apart / studies < 0.8


def test_an_animal_with_itself_is_no_pair():
    scores = np.random.default_rng(0).random((5, 5))
    other = scores + 100 * np.eye(5)
    assert over_pairs(scores) == over_pairs(other)
    assert mean_of_pairs(other) == pytest.approx(scores[~np.eye(5, dtype=bool)].mean())
    assert np.isnan(over_pairs(scores[:2, :2]).low)


def test_an_animal_without_pairs_is_left_out():
    scores = np.random.default_rng(0).random((5, 5))
    without = scores.copy()
    without[4] = without[:, 4] = np.nan
    assert over_pairs(without) == over_pairs(scores[:4, :4])


@pytest.mark.parametrize("animals", [2, 3, 5])
def test_trials_alone_leave_the_variance_of_a_mean_over_all_animals(animals):
    """Animals that do not differ: their mean varies by trials only, whose variance is divided by the number of animals."""
    rng = np.random.default_rng(animals)
    draws = 0.1 * rng.standard_normal((20000, animals))
    interval = over_animals(np.zeros(animals), draws, rng)
    half = stats.t.ppf(0.975, animals - 1) * 0.1 / np.sqrt(animals)
    np.testing.assert_allclose([interval.low, interval.high], [-half, half], rtol=0.05)
