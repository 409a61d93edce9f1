"""Kernels of conditions, kriging and reading agree with closed forms, and noise does not bias them."""

import gc
import weakref

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct

from neuromvm.analysis.sharing.kernels import class_kernel, kernel_of_distances, kernel_of_means, order_kernel, squared_distances
from neuromvm.analysis.sharing.problem import Labelled, Problem, balanced_accuracy
from neuromvm.analysis.sharing.reading import Whitening, balanced, krige, prior, read_kernel, read_predicted, signal_variance
from neuromvm.errors import ShapeError
from tests.analysis.sharing_problems import CLASSES, animals, problem


def test_kriging_is_gaussian_process_regression_of_single_trials():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 6))
    codes = np.array([0, 0, 0, 1, 2, 2, 4])
    trials = rng.standard_normal((len(codes), 5))
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=1.0, optimizer=None).fit(root[codes], trials)
    animal = Labelled(trials, codes)
    means, counts = np.zeros((6, 5)), np.zeros(6)
    means[animal.classes], counts[animal.classes] = animal.means, animal.counts
    np.testing.assert_allclose(krige(root @ root.T, means, counts), process.predict(root), rtol=1e-6)


def test_distances_are_unbiased_with_unequal_noise_and_trials():
    rng = np.random.default_rng(1)
    true = rng.standard_normal((4, 6))
    codes = np.repeat(np.arange(4), [2, 3, 5, 9])
    deviation = np.array([3.0, 0.5, 1.0, 2.0])[codes, None]
    drawn = np.stack(
        [squared_distances(Labelled(true[codes] + deviation * rng.standard_normal((19, 6)), codes), 5) for _ in range(3000)]
    )
    assert np.isnan(drawn[:, 4]).all()
    assert np.isnan(drawn[:, :, 4]).all()
    upper = np.triu_indices(4, 1)
    values = drawn[:, upper[0], upper[1]]
    expected = np.square(true[upper[0]] - true[upper[1]]).sum(axis=1)
    error = (values.mean(axis=0) - expected) / (values.std(axis=0) / np.sqrt(len(values)))
    assert np.abs(error).max() < 4


def test_kernel_is_that_of_the_true_means_and_of_private_codes_has_no_structure():
    rng = np.random.default_rng(2)
    true = rng.standard_normal((CLASSES, CLASSES)) @ np.diag(np.linspace(2, 0.1, CLASSES))
    codes = np.repeat(np.arange(CLASSES), 10)
    noisy = {str(n): Labelled(n * (true[codes] + rng.standard_normal((len(codes), CLASSES))), codes) for n in range(1, 60)}
    np.testing.assert_allclose(class_kernel(noisy, CLASSES), kernel_of_means([true]), atol=0.1)
    off_diagonal = ~np.eye(CLASSES, dtype=bool)
    private = [class_kernel(animals(rng, shared=False), CLASSES)[off_diagonal] for _ in range(100)]
    error = (np.mean(private, axis=0) + 1 / (CLASSES - 1)) / (np.std(private, axis=0) / 10)
    assert np.square(error).mean() < 1.6  # 1 is expected; entries of private codes correlate


def test_what_animals_remember_is_freed_with_them():
    members = animals(np.random.default_rng(0), shared=True)
    class_kernel(members, CLASSES)
    references = [weakref.ref(animal) for animal in members.values()]
    gc.disable()
    try:
        del members
        assert not any(reference() for reference in references)
    finally:
        gc.enable()


def test_kernel_is_centred_and_positive_with_the_trace_of_independent_means():
    kernel = class_kernel(animals(np.random.default_rng(3), shared=True), CLASSES)
    np.testing.assert_allclose(kernel.sum(axis=0), 0, atol=1e-9)
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
    assert np.trace(kernel) == pytest.approx(CLASSES)


def test_kernel_of_noise_is_positive():
    rng = np.random.default_rng(15)
    for _ in range(20):
        noise = animals(rng, shared=False, signal=0.0)
        noise["c"] = noise["c"].hold_out((1, 4)).seen
        kernel = class_kernel(noise, CLASSES)
        assert np.trace(kernel) == pytest.approx(CLASSES)
        assert np.linalg.eigvalsh(kernel).min() > -1e-9


def test_missing_conditions_leave_the_kernel_of_animals_that_agree_unchanged():
    means = np.random.default_rng(4).standard_normal((6, 4))
    distances = np.square(means[:, None] - means).sum(axis=2)
    lacking, other = 7 * distances, 0.1 * distances
    lacking[1:3] = lacking[:, 1:3] = np.nan
    other[4] = other[:, 4] = np.nan
    np.testing.assert_allclose(kernel_of_distances([distances, lacking, other]), kernel_of_distances([distances]), atol=1e-3)


def test_kernel_of_conditions_that_no_animal_has():
    means = np.random.default_rng(5).standard_normal((5, 4))
    means[2] = np.nan
    kernel = kernel_of_means([means])
    known = [0, 1, 3, 4]
    assert np.isnan(kernel[2]).all()
    np.testing.assert_allclose(kernel[np.ix_(known, known)], kernel_of_means([means[known]]))
    assert np.isnan(kernel_of_means([means[[0, 2, 2]]])).all()  # one class has no distances
    with pytest.raises(ShapeError, match="no other animal"):
        kernel_of_distances([])


def test_kernel_of_order_is_a_centred_gaussian_kernel():
    places = np.random.default_rng(6).standard_normal((7, 2))
    kernel = order_kernel(places, 0.8)
    centre = np.eye(7) - 1 / 7
    expected = centre @ RBF(0.8)(places) @ centre
    np.testing.assert_allclose(kernel, expected * 7 / np.trace(expected), atol=1e-9)


def test_whitening_makes_noise_white_where_it_is_known_well():
    rng = np.random.default_rng(7)
    root = rng.standard_normal((5, 5))
    animal = Labelled(rng.standard_normal((20000, 5)) @ root.T, np.arange(20000) % 3)
    white = Whitening.fit(animal, shrinkage=0.0)(animal.features)
    np.testing.assert_allclose(np.cov(white.T), np.eye(5), atol=0.02)
    shrunk = Whitening.fit(animal, shrinkage=1.0)
    np.testing.assert_allclose(shrunk.factor, np.eye(5) * np.sqrt(np.trace(np.cov(root)) * 4 / 5), rtol=2)
    np.testing.assert_allclose(shrunk.factor, np.eye(5) * shrunk.factor[0, 0])


def test_signal_variance_is_unbiased():
    rng = np.random.default_rng(8)
    covariance = prior(kernel_of_means([rng.standard_normal((6, 4))]), 0.9)
    trials = np.array([2.0, 3, 0, 8, 1, 5])
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(6))
    estimates = []
    for _ in range(400):
        means = np.sqrt(2.5) * root @ rng.standard_normal((6, 40))
        means += rng.standard_normal((6, 40)) / np.sqrt(np.maximum(trials, 1e-9))[:, None] * (trials[:, None] > 0)
        estimates.append(signal_variance(covariance, means, trials))
    assert abs(np.mean(estimates) - 2.5) < 4 * np.std(estimates) / 20


def test_responsibilities_are_balanced():
    scores = np.random.default_rng(9).standard_normal((30, 3)) + np.array([3, 0, -3])
    share = balanced(scores)
    np.testing.assert_allclose(share.sum(axis=1), 1)
    np.testing.assert_allclose(share.sum(axis=0), 10, rtol=0.05)


def test_predicted_means_are_read_as_true_means_whatever_their_offset():
    labelled = animals(np.random.default_rng(10), shared=True, units=30)
    posed, hidden = problem(labelled, "b", (1, 4, 7))
    scores = read_predicted(posed, labelled["b"].means)
    np.testing.assert_allclose(read_predicted(posed, labelled["b"].means + np.arange(30)), scores, atol=1e-6)
    assert balanced_accuracy(scores, hidden.answers, among=posed.held_out) > 0.9
    unknown = labelled["b"].means.copy()
    unknown[4] = np.nan
    scores = read_predicted(posed, unknown, unlabelled=True)
    assert np.isneginf(scores[:, 4]).all()
    assert np.isfinite(np.delete(scores, 4, axis=1)).all()


def test_predictions_and_few_labelled_trials_are_combined_by_their_variances():
    """The posterior mean of a Gaussian prior about each prediction; predictions count more where the signal is weak."""
    for signal in (0.5, 2.0):
        rng = np.random.default_rng(12)
        animal = animals(rng, shared=True, signal=signal)["b"]
        hidden = animal.keep(3, seed=0)
        seen, classes = hidden.seen, np.arange(CLASSES)
        predicted = animal.means + 0.3 * rng.standard_normal(animal.means.shape)
        white = Whitening.fit(seen)
        observed, expected = white(seen.means), white(predicted + (seen.means - predicted).mean(axis=0))
        variance = 0.2 * (observed.var(axis=0, ddof=1).mean() - 1 / 3)
        means = (expected / variance + 3 * observed) / (1 / variance + 3)
        scores = white(hidden.test) @ means.T - 0.5 * np.square(means).sum(axis=1)
        posed = Problem("b", {"b": seen}, hidden.test, classes, CLASSES)
        np.testing.assert_allclose(read_predicted(posed, predicted, error=0.2), scores, rtol=1e-6, atol=1e-6)


def test_kernel_of_latent_means_reads_conditions():
    labelled = animals(np.random.default_rng(11), shared=True)
    posed, hidden = problem(labelled, "b", (1, 4, 7))
    scores = read_kernel(posed, kernel_of_means([labelled[name].means for name in "acd"]), 0.9)
    assert balanced_accuracy(scores, hidden.answers, among=posed.held_out) > 0.6


def test_balanced_accuracy_counts_classes_equally_and_trials_without_a_score_as_wrong():
    scores = np.array([[1.0, 0, 2], [1, 0, 2], [1, 0, 2], [0, 1, 2], [-np.inf, -np.inf, -np.inf]])
    answers = np.array([0, 0, 0, 1, 0])
    assert balanced_accuracy(scores, answers) == 0
    assert balanced_accuracy(scores, answers, among=np.array([0, 1])) == pytest.approx((0.75 + 1) / 2)
