import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import balanced_accuracy_score

from neuromvm.analysis.statistics import over_trials
from neuromvm.analysis.statistics.over_trials import LabelRows, Tally


def tally_of(labels, predicted, classes):
    """Tally one decoder's predictions ``(trial, window)``, every trial tested."""
    votes = (predicted[None, ..., None] == np.arange(classes)).astype(np.float32)
    rows = LabelRows.of(labels)
    return rows, Tally.of(votes, np.ones((1, len(labels)), bool), np.ones((1, classes), bool), rows)


@pytest.fixture
def decoded():
    rng = np.random.default_rng(0)
    direction = rng.integers(0, 2, 40)
    labels = (3 * direction[:, None] + np.arange(3)).astype(np.int16)  # three windows a trial, labels depend on both
    predicted = np.where(rng.random(labels.shape) < 0.5, labels, rng.integers(0, 6, labels.shape))
    return labels, predicted


def test_balanced_accuracy_is_that_of_sklearn(decoded):
    labels, predicted = decoded
    rows, tally = tally_of(labels, predicted, 6)
    found = tally.balanced_accuracy(over_trials.as_they_are(rows))
    assert found.item() == pytest.approx(balanced_accuracy_score(labels.ravel(), predicted.ravel()))


def test_permutations_agree_with_scores_of_permuted_rows(decoded):
    labels, predicted = decoded
    rows, tally = tally_of(labels, predicted, 6)
    assignments = over_trials.permutations(rows, 20, np.random.default_rng(1))
    found, shifted = tally.balanced_accuracy(assignments)[:, 0], 0
    for assignment, value in zip(assignments, found, strict=True):
        permuted = rows.labels[assignment.argmax(axis=1)]
        assert sorted(map(first_shift, permuted)) == sorted(map(first_shift, labels))
        shifted += sum(tuple(row) not in set(map(tuple, labels)) for row in permuted)
        assert value == pytest.approx(balanced_accuracy_score(permuted.ravel(), predicted.ravel()))

    assert shifted / (20 * len(labels)) == pytest.approx(2 / 3, abs=0.1)  # two of three shifts of a row are new


def test_permutations_of_labels_of_trials_shift_nothing():
    labels = np.random.default_rng(0).integers(0, 3, 30).astype(np.int16)[:, None].repeat(4, axis=1)
    rows = LabelRows.of(labels)
    assert len(rows.labels) == 3
    for assignment in over_trials.permutations(rows, 5, np.random.default_rng(1)):
        assert sorted(assignment.argmax(axis=1)) == sorted(rows.row)


def first_shift(row):
    """Name a row by the smallest of its circular shifts."""
    return min(tuple(np.roll(row, shift).tolist()) for shift in range(len(row)))


def test_bootstrap_agrees_with_scores_of_repeated_trials(decoded):
    labels, predicted = decoded
    rows, tally = tally_of(labels, predicted, 6)
    assignments = over_trials.bootstrap(rows, 20, np.random.default_rng(1))
    found = tally.balanced_accuracy(assignments)[:, 0]
    sizes = np.bincount(rows.row)[rows.row]
    for assignment, value in zip(assignments, found, strict=True):
        times = assignment.sum(axis=1) * (sizes - 1) / sizes
        drawn = np.repeat(np.arange(len(labels)), np.rint(times).astype(int))
        assert np.array_equal(np.bincount(rows.row[drawn]), np.maximum(np.bincount(rows.row) - 1, 0))
        assert value == pytest.approx(balanced_accuracy_score(labels[drawn].ravel(), predicted[drawn].ravel()), abs=1e-6)


@pytest.mark.parametrize("trials", [3, 5, 40])
def test_bootstrap_has_the_variance_of_fresh_trials_however_few(trials):
    truth, classes, variances, values = 0.6, 10, [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(classes), trials)[:, None].astype(np.int16)
        predicted = np.where(rng.random(labels.shape) < truth, labels, (labels + 1) % classes)
        rows, tally = tally_of(labels, predicted, classes)
        values.append(tally.balanced_accuracy(over_trials.as_they_are(rows)).item())
        variances.append(tally.balanced_accuracy(over_trials.bootstrap(rows, 300, rng)).var())
    # The variance of 150 values is known to about 12 %.
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.35)
    assert np.mean(variances) == pytest.approx(truth * (1 - truth) / (trials * classes), rel=0.12)


def test_bootstrap_interval_covers_the_true_recall():
    truth, covered = 0.6, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(2), 40)[:, None].astype(np.int16)
        predicted = np.where(rng.random(labels.shape) < truth, labels, 1 - labels)
        rows, tally = tally_of(labels, predicted, 2)
        low, high = over_trials.interval(tally.balanced_accuracy(over_trials.bootstrap(rows, 300, rng)))
        covered += bool(low[0] <= truth <= high[0])
    assert abs(covered - 95) < 4 * np.sqrt(100 * 0.95 * 0.05)


def test_p_values_of_guesses_are_uniform():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(3), 40)[:, None].astype(np.int16)
        rows, tally = tally_of(labels, rng.integers(0, 3, labels.shape), 3)
        null = tally.balanced_accuracy(over_trials.permutations(rows, 199, rng))
        p.append(over_trials.p_value(tally.balanced_accuracy(over_trials.as_they_are(rows))[0], null).item())
    assert kstest(p, "uniform").pvalue > 0.01


def test_p_value_counts_the_observed_score():
    null = np.array([[0.1], [0.2], [0.3]])
    assert over_trials.p_value(np.array([0.25]), null) == pytest.approx(0.5)
    assert over_trials.p_value(np.array([0.9]), null) == pytest.approx(0.25)
    assert np.isnan(over_trials.p_value(np.array([np.nan]), null))


def test_mean_leaves_out_what_was_not_scored():
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert over_trials.mean_of_scored(values, axis=0)[0] == 2
    assert np.isnan(over_trials.mean_of_scored(values, axis=0)[1])


def test_a_null_draw_without_score_counts_as_reaching():
    null = np.array([np.nan, 0.1, 0.2])
    assert over_trials.p_value(np.float64(0.9), null) == pytest.approx(2 / 4)
    assert over_trials.judged(np.float64(0.9), null[:0], null)["p"] == pytest.approx(2 / 4)
