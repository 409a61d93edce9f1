import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, poisson
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from neuromvm.analysis.readouts.classifiers import Logistic, PoissonBayes, ShrinkageDiscriminant, ShrunkMeans
from neuromvm.build import build_model
from neuromvm.data.trial_model import TrialModel
from neuromvm.data.windows import WindowShape
from neuromvm.specs import ModelSpec


def drawn(features, classes=4, trials=40, seed=0):
    """Return samples and labels; the first class has four times as many samples as any other."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.resize([2, 2, 2, *np.arange(classes) + 2], trials))
    return rng.standard_normal((trials, features)) + 0.7 * rng.standard_normal((classes + 2, features))[labels], labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("features", [5, 90])
def test_logistic_regression_is_that_of_scikit_learn_at_its_optimum(features, classes):
    values, labels = drawn(features, classes)
    new, _ = drawn(features, classes, seed=1)
    exact = LogisticRegression(C=0.1, tol=1e-10, max_iter=10000, class_weight="balanced").fit(values, labels)
    found = Logistic(0.1).fit(values, labels).class_scores(new)
    expected = exact.decision_function(new)
    expected = expected if classes > 2 else np.stack([np.zeros(len(new)), expected], axis=1)
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=1e-2
    )


def test_where_logistic_regression_begins_does_not_count():
    values, labels = drawn(5)
    near = Logistic(0.1).fit(values[:30], labels[:30])
    cold, warm = Logistic(0.1).fit(values, labels), near.as_start().fit(values, labels)
    np.testing.assert_allclose(cold.class_scores(values), warm.class_scores(values), atol=1e-2)
    fewer = labels > labels.min()
    np.testing.assert_array_equal(near.as_start().fit(values[fewer], labels[fewer]).classes_, np.unique(labels[fewer]))


@pytest.mark.parametrize("shrinkage", ["auto", 0.5])
@pytest.mark.parametrize("classes", [2, 4])
def test_discriminants_are_those_of_scikit_learn(shrinkage, classes):
    values, labels = drawn(20, classes)
    exact = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(values, labels)
    one = ShrinkageDiscriminant(shrinkage).fit(values, labels)
    new, _ = drawn(20, classes, trials=400, seed=1)
    posterior = exact.predict_proba(new)
    expected = (posterior / exact.priors_).argmax(axis=1)
    np.testing.assert_array_equal(one.class_scores(new).argmax(axis=1), expected)
    assert (expected != posterior.argmax(axis=1)).any()  # the priors would have counted


@pytest.mark.parametrize("features", [6, 90])
def test_shrunk_means_are_bayes_rule_of_the_model_of_trials(features):
    values, labels = drawn(features)
    found = ShrunkMeans(0.7, bins=3).fit(values, labels)
    np.testing.assert_array_equal(found.classes_, [2, 3, 4, 5])
    trials = TrialModel.fit(values, labels - 2, units=features // 3, conditions=4, covariance_shrinkage=0.7)
    covariance = trials.deviations.T @ trials.deviations + trials.white**2 * np.eye(features)
    expected = np.stack([multivariate_normal(mean, covariance).logpdf(values) for mean in trials.mean.astype(float)], axis=1)
    scores = found.class_scores(values)
    np.testing.assert_allclose(scores - scores[:, :1], expected - expected[:, :1], atol=1e-3)


def test_shrunk_means_name_the_largest_latent_of_a_simplex_code_that_starts_from_bayes_rule():
    values, labels = drawn(24, trials=60)
    new, _ = drawn(24, trials=200, seed=1)
    values, new = values.astype(np.float32), new.astype(np.float32)
    spec = ModelSpec(sharing="mmvm", latent=4, networks="linear", code="simplex", start="bayes")
    trials = TrialModel.fit(values, labels - 2, units=8, conditions=4, covariance_shrinkage=spec.start_shrinkage)
    model = build_model(spec, {"mitt": WindowShape(3, 8, 0.1)}, seed=0, trial_models={"mitt": trials})
    latents = model.encoders["mitt"](torch.from_numpy(new))[0].detach().numpy()
    found = ShrunkMeans(spec.start_shrinkage, bins=3).fit(values, labels).class_scores(new)
    np.testing.assert_array_equal(found.argmax(axis=1), latents.argmax(axis=1))
    assert len(np.unique(found.argmax(axis=1))) == 4


def test_poisson_bayes_is_the_posterior_of_independent_poisson_counts_of_classes_that_are_equally_probable():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 3, 4], [5, 10, 15])
    counts = rng.poisson(rng.gamma(2, size=(5, 7))[labels]).astype(np.uint8)
    one = PoissonBayes(2.0).fit(counts, labels)
    # The mean of a Gamma posterior: shape a m + sum, rate a + n, its prior having the mean m of all samples.
    shape = 2.0 * counts.mean(axis=0) + np.stack([counts[labels == code].sum(axis=0) for code in (1, 3, 4)])
    np.testing.assert_allclose(one.rates, shape / (2.0 + np.array([[5], [10], [15]])))
    new = rng.poisson(2.0, size=(20, 7))
    joint = poisson.logpmf(new[:, None], one.rates).sum(axis=-1)
    expected = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
    found = one.class_scores(new)
    np.testing.assert_allclose(found - np.logaddexp.reduce(found, axis=1, keepdims=True), expected, atol=1e-10)


def test_a_unit_that_was_silent_on_the_training_side_rules_no_class_out():
    counts = np.array([[0, 3], [0, 4], [0, 0], [0, 1]])
    scores = PoissonBayes(1.0).fit(counts, np.array([0, 0, 1, 1])).class_scores(np.array([[5, 4], [5, 0]]))
    assert np.isfinite(scores).all()
    assert scores.argmax(axis=1).tolist() == [0, 1]
