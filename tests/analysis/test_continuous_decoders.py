import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import median_absolute_error, r2_score

from neuromvm.analysis.continuous.bayes import (
    BayesDecoder,
    GaussianTuning,
    Grid,
    HurdleGammaTuning,
    PoissonTuning,
    path_posterior,
    window_posterior,
)
from neuromvm.analysis.continuous.labels import Labels, Scale, null_kind, renamed, shifted
from neuromvm.analysis.continuous.measures import measures_of
from neuromvm.analysis.continuous.prediction import stretch_of
from neuromvm.analysis.continuous.regression import Regression
from tests.analysis.place_cells import fields

LINE, CIRCLE = Scale(), Scale(360.0)


def regressed(samples=40, features=6, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    x, tested = rng.standard_normal((samples, features)) + 1, rng.standard_normal((9, features))
    y = (x @ rng.standard_normal((features, columns)) + rng.standard_normal((samples, columns)))[:, :, None]
    return x, y, tested


@pytest.mark.parametrize("features", [6, 60])
def test_ridge_is_that_of_scikit_learn(features):
    x, y, tested = regressed(features=features)
    predicted = Regression("ridge", [0.3]).predict(x, y, np.zeros(len(x), int), tested)
    alpha = 0.3 * np.square(x - x.mean(axis=0)).sum(axis=1).mean()
    assert predicted[..., 0] == pytest.approx(Ridge(alpha=alpha).fit(x, y[..., 0]).predict(tested), abs=1e-8)


def test_kernel_ridge_is_that_of_scikit_learn():
    x, y, tested = regressed()
    distances = np.linalg.norm(x[:, None] - x, axis=2)
    gamma = 1 / (2 * (1.5 * np.median(distances[distances > 0])) ** 2)
    predicted = Regression("kernel ridge", [0.1], width=1.5).predict(x, y, np.zeros(len(x), int), tested)
    mean = y[..., 0].mean(axis=0)
    expected = KernelRidge(alpha=0.1, kernel="rbf", gamma=gamma).fit(x, y[..., 0] - mean).predict(tested) + mean
    assert predicted[..., 0] == pytest.approx(expected, abs=1e-6)


def test_every_column_has_the_penalty_with_the_smallest_error_over_folds():
    x, y, tested = regressed(samples=30, features=20)
    y[:, 0] = np.random.default_rng(5).standard_normal((30, 1))  # nothing to learn: a large penalty
    y[:, 1] = x[:, :1] * 10  # no noise: a small one
    group, penalties = np.repeat(np.arange(10), 3), [1e-4, 1e-2, 1.0, 100.0]
    chosen = []
    for column in range(y.shape[1]):
        errors = []
        for penalty in penalties:
            error = 0.0
            for fold in range(5):
                out = group % 5 == fold
                length = np.square(x[~out] - x[~out].mean(axis=0)).sum(axis=1).mean()
                fitted = Ridge(alpha=penalty * length).fit(x[~out], y[~out, column, 0])
                error += np.square(fitted.predict(x[out]) - y[out, column, 0]).sum()
            errors.append(error)
        chosen.append(penalties[int(np.argmin(errors))])
    assert chosen[0] > chosen[1]
    together = Regression("ridge", penalties, folds=5).predict(x, y, group, tested)
    for column, penalty in enumerate(chosen):
        alone = Regression("ridge", [penalty]).predict(x, y[:, [column]], group, tested)
        assert together[:, [column]] == pytest.approx(alone, abs=1e-8)


def test_poisson_posterior_is_bayes_rule():
    rng = np.random.default_rng(0)
    rates, prior, counts = rng.uniform(0.5, 6, (4, 5)), rng.dirichlet(np.ones(4)), rng.poisson(3, (2, 3, 5))
    likelihood = stats.poisson.pmf(counts[:, :, None], rates).prod(axis=-1) * prior
    found = window_posterior(PoissonTuning(rates).log_likelihood(counts.reshape(6, 5)).reshape(2, 3, 4), prior)
    assert found == pytest.approx(likelihood / likelihood.sum(axis=2, keepdims=True))


def test_log_likelihoods_are_those_of_scipy_up_to_a_number_for_each_sample():
    rng = np.random.default_rng(1)
    means, values = rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    root = rng.standard_normal((4, 4))
    covariance = root @ root.T + np.eye(4)
    gaussian = GaussianTuning(means, np.linalg.inv(covariance)).log_likelihood(values)
    expected = np.stack([stats.multivariate_normal(mean, covariance).logpdf(values) for mean in means], axis=1)
    assert np.diff(gaussian, axis=1) == pytest.approx(np.diff(expected, axis=1))
    probability, sizes, shape = rng.uniform(0.2, 0.8, (3, 4)), rng.uniform(0.5, 2, (3, 4)), rng.uniform(0.5, 3, 4)
    events = rng.gamma(2, 1, (5, 4)) * (rng.random((5, 4)) < 0.5)
    hurdle = HurdleGammaTuning(probability, sizes, shape).log_likelihood(events)
    density = np.log(probability) + stats.gamma.logpdf(np.where(events > 0, events, 1)[:, None], shape, scale=sizes / shape)
    expected = np.where(events[:, None] > 0, density, np.log(1 - probability)).sum(axis=2)
    assert np.diff(hurdle, axis=1) == pytest.approx(np.diff(expected, axis=1))


def test_hurdle_gamma_recovers_probability_mean_and_shape():
    rng = np.random.default_rng(2)
    state = np.repeat([0, 1], 4000)
    probability, mean = np.array([0.2, 0.7])[state], np.array([1.0, 3.0])[state]
    values = (rng.gamma(2.0, mean / 2.0) * (rng.random(8000) < probability))[:, None]
    fitted = HurdleGammaTuning.fit(values, np.eye(2)[:, state], state)
    assert fitted.probability[:, 0] == pytest.approx([0.2, 0.7], abs=0.03)
    assert fitted.means[:, 0] == pytest.approx([1, 3], rel=0.07)
    assert fitted.shape == pytest.approx([2], rel=0.15)


def test_path_posterior_is_the_sum_over_all_paths():
    rng = np.random.default_rng(3)
    states, windows = 4, 3
    log_likelihood, prior = rng.standard_normal((2, windows, states)), rng.dirichlet(np.ones(states))
    steps = rng.dirichlet(np.ones(states), states)
    expected = np.zeros((2, windows, states))
    for trial, path in itertools.product(range(2), itertools.product(range(states), repeat=windows)):
        chance = prior[path[0]] * np.prod([steps[before, after] for before, after in itertools.pairwise(path)])
        chance *= np.exp(sum(log_likelihood[trial, window, state] for window, state in enumerate(path)))
        for window, state in enumerate(path):
            expected[trial, window, state] += chance
    expected /= expected.sum(axis=2, keepdims=True)
    assert path_posterior(log_likelihood, prior, steps) == pytest.approx(expected)


def test_condition_stays_in_a_path_and_is_summed_over():
    """Of two directions with different tuning, a lap with one clear window tells the direction of all its windows."""
    grid = Grid(np.arange(3.0), 0.3, LINE)
    features = np.tile(np.eye(6) * 9, (20, 1))  # unit k fires in state k: direction k // 3, place k % 3
    labels, condition = np.tile(np.arange(3.0), 40), np.tile(np.repeat([0, 1], 3), 20)
    lap = np.zeros((1, 2, 6))
    lap[0, 0, 3] = 9
    lap[0, 1, [1, 5]] = 5, 4  # place 1 of direction 0, or place 2 of direction 1
    alone = BayesDecoder(grid, "poisson", 2).posterior(features, labels, condition, 5.0, lap)
    path = BayesDecoder(grid, "poisson", 2, path=True).posterior(features, labels, condition, 5.0, lap)
    assert alone.argmax(axis=2).tolist() == [[0, 1]]
    assert path.argmax(axis=2).tolist() == [[0, 2]]
    assert path.sum(axis=2) == pytest.approx(1)


@pytest.mark.parametrize("circular", [False, True])
def test_bayes_is_nearly_as_good_as_with_true_tuning(circular):
    """The posterior of the tuning curves that made the counts has the smallest possible squared error."""
    rng = np.random.default_rng(4)
    scale = Scale(1.0) if circular else LINE
    rates = fields(12, rng, peak=2.0, circular=circular)
    train, test = rng.uniform(0, 1, 3000), rng.uniform(0, 1, 2000)
    counts, tested = rng.poisson(rates(train)), rng.poisson(rates(test))[:, None]
    grid = Grid.over(train, 60, 0.03, scale)
    ideal = window_posterior(PoissonTuning(rates(grid.centres)).log_likelihood(tested[:, 0])[:, None], np.full(60, 1 / 60))
    best = scale.values(ideal @ scale.coordinates(grid.centres))[:, 0]
    nobody = np.zeros(len(train), int)
    decoded = BayesDecoder(grid, "poisson").predict(counts, train[:, None], nobody, nobody > 0, tested)[:, 0, 0]
    ridge = Regression("ridge", [1e-4, 1e-2, 1.0]).predict(
        counts, scale.coordinates(train[:, None]), np.arange(3000), tested[:, 0]
    )
    error = {name: np.square(scale.distance(values, test)).mean() for name, values in (("best", best), ("bayes", decoded))}
    error["ridge"] = np.square(scale.distance(scale.values(ridge)[:, 0], test)).mean()
    assert error["bayes"] < 1.1 * error["best"]
    assert error["bayes"] < (1 if circular else 0.8) * error["ridge"]  # cosine and sine are nearly linear in such rates


def test_smoothness_helps_where_the_label_moves_slowly():
    rng = np.random.default_rng(5)
    rates = fields(12, rng, peak=0.8)
    place = np.clip(rng.uniform(0, 1, (80, 1)) + np.cumsum(0.02 * rng.standard_normal((80, 20)), axis=1), 0, 1)
    counts = rng.poisson(rates(place))
    grid = Grid.over(place.ravel(), 40, 0.05, LINE)
    following = np.tile(np.arange(20) > 0, 40)
    error = []
    for path in (False, True):
        decoder = BayesDecoder(grid, "poisson", path=path)
        labels = place[:40].reshape(-1, 1)
        decoded = decoder.predict(counts[:40].reshape(800, -1), labels, np.zeros(800, int), following, counts[40:])
        error.append(np.abs(decoded[..., 0] - place[40:]).mean())
    assert error[1] < 0.7 * error[0]


def test_measures_are_those_of_scikit_learn_with_trials_repeated():
    rng = np.random.default_rng(6)
    true = rng.uniform(0, 10, (6, 4))
    predicted = np.stack([true + rng.standard_normal(true.shape) for _ in range(2)])
    predicted[0, :3], predicted[1, 3:], true[5, 2] = np.nan, np.nan, np.nan
    weight = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 1, 0], [0, 0, 0, 1, 0, 0]])
    for draw, found in zip(weight, measures_of(predicted, true, LINE, weight.astype(float)), strict=True):
        of = np.repeat(np.arange(6), draw)
        flat, truth = predicted[:, of].reshape(2, -1), np.broadcast_to(true[of].ravel(), (2, len(of) * 4))
        known = np.isfinite(flat) & np.isfinite(truth)
        error = np.abs(flat - truth)[known]
        expected = error.mean(), median_absolute_error(truth[known], flat[known]), r2_score(truth[known], flat[known])
        assert found == pytest.approx(expected, rel=1e-6)


def test_measures_of_angles_do_not_depend_on_where_the_circle_is_cut():
    rng = np.random.default_rng(7)
    true = rng.vonmises(0, 0.5, (5, 30)) * 180 / np.pi
    predicted = true + 20 * rng.standard_normal(true.shape)
    weight = np.ones((1, 5))
    found = measures_of(np.mod(predicted, 360)[None], np.mod(true, 360), CIRCLE, weight)[0]
    turned = measures_of(np.mod(predicted + 100, 360)[None], np.mod(true + 100, 360), CIRCLE, weight)[0]
    assert found == pytest.approx(turned)
    assert found[0] == pytest.approx(np.abs(predicted - true).mean(), rel=1e-6)
    residual = np.deg2rad(predicted - true).ravel()
    assert found[2] == pytest.approx(1 - (1 - np.cos(residual)).mean() / stats.circvar(np.deg2rad(true).ravel()))
    guess = np.full(true.shape, np.rad2deg(stats.circmean(np.deg2rad(true).ravel())))
    assert measures_of(guess[None], true, CIRCLE, weight)[0, 2] == pytest.approx(0)


def test_session_shifts_keep_the_sequence_and_what_is_unknown():
    rng = np.random.default_rng(8)
    values = rng.standard_normal((5, 4))
    values[2, 1] = np.nan
    labels = Labels(values, np.array([3, 0, 1, 4, 2]), np.zeros(5, int))
    drawn = shifted(labels, "session", 30, rng)
    series = values[labels.order].ravel()
    series = series[np.isfinite(series)]
    assert np.array_equal(drawn[..., 0], values, equal_nan=True)
    assert np.isnan(drawn[2, 1]).all()
    shifts = set()
    for draw in range(1, 31):
        moved = drawn[..., draw][labels.order].ravel()
        moved = moved[np.isfinite(moved)]
        matching = [shift for shift in range(len(series)) if np.array_equal(np.roll(series, shift), moved)]
        assert len(matching) == 1
        shifts |= set(matching)
    assert len(shifts) > 8
    assert 0 not in shifts


def test_labels_of_whole_trials_move_by_whole_trials():
    values = np.repeat(np.arange(6.0)[:, None], 3, axis=1)
    drawn = shifted(Labels(values, np.arange(6), np.zeros(6, int)), "session", 10, np.random.default_rng(0))
    assert (drawn == drawn[:, :1]).all()
    assert (drawn[..., 1:] != drawn[..., :1]).any(axis=(0, 1)).all()


def test_laps_that_run_through_the_same_labels_are_shifted_one_by_one():
    laps = np.tile(np.arange(8.0), (5, 1))
    assert null_kind({"a": laps, "b": laps[:3]}, "auto") == "trial"
    assert null_kind({"a": laps + np.arange(5)[:, None]}, "auto") == "session"
    assert null_kind({"a": laps[:, :1]}, "auto") == "session"
    drawn = shifted(Labels(laps, np.arange(5), np.zeros(5, int)), "trial", 20, np.random.default_rng(0))
    assert (np.sort(drawn, axis=1) == laps[..., None]).all()
    assert len({tuple(lap) for lap in drawn[..., 1:].transpose(0, 2, 1).reshape(-1, 8)}) == 8


def test_stretches_have_equally_many_samples_and_do_not_overlap():
    values = np.random.default_rng(9).uniform(0, 1, (10, 10))
    number = stretch_of(values, 4)
    assert np.bincount(number.ravel()).tolist() == [25, 25, 25, 25]
    assert all(values[number == before].max() < values[number == after].min() for before, after in itertools.pairwise(range(4)))


def test_renamed_values_stay_apart_and_keep_their_neighbours():
    laps = np.tile(np.arange(8.0), (5, 1))
    laps[2, 3] = np.nan
    drawn = renamed(laps[np.r_[:2, 3:5]], LINE, 200, np.random.default_rng(0))
    assert (drawn == drawn[:1]).all()  # the same map in all trials
    maps = drawn[0].T
    assert np.array_equal(maps[0], np.arange(8))
    assert (np.sort(maps, axis=1) == np.arange(8)).all()
    steps = np.mod(np.diff(maps, axis=1), 8)
    assert {tuple(set(row)) for row in steps} == {(1.0,), (7.0,)}
    assert len({tuple(row) for row in maps}) == 16  # eight turns, both ways round
    assert np.isnan(renamed(laps, LINE, 3, np.random.default_rng(0))[2, 3]).all()


def test_renamed_angles_keep_their_distances():
    angles = np.random.default_rng(0).uniform(0, 360, (20, 3))
    drawn = renamed(angles, CIRCLE, 10, np.random.default_rng(1))
    for draw in range(1, 11):
        turned = drawn[..., draw].ravel()
        expected = CIRCLE.distance(angles.ravel()[:, None], angles.ravel())
        assert CIRCLE.distance(turned[:, None], turned) == pytest.approx(expected, abs=1e-6)
        assert turned.min() >= 0
        assert turned.max() < 360
