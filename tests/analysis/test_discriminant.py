import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from neuromvm.analysis.readouts.discriminant import fit_discriminants, shrinkage

WINDOWS, CLASSES = 3, 4


def trials(rng, samples, features):
    """Return features of different spread and their classes, unequally frequent."""
    codes = rng.permutation(np.resize([0, 0, 0, 1, 1, 2, 3], samples))
    means = 0.7 * rng.standard_normal((CLASSES, WINDOWS, features))
    return (means[codes] + rng.standard_normal((samples, WINDOWS, features))) * np.exp(rng.standard_normal(features)), codes


@pytest.mark.parametrize(("samples", "features"), [(90, 12), (30, 50)])
def test_predictions_are_those_of_sklearn(samples, features):
    """More samples than features, and fewer, where the smaller system is solved."""
    rng = np.random.default_rng(0)
    training, codes = trials(rng, samples, features)
    tested, _ = trials(rng, 200, features)
    predicted = fit_discriminants(training, codes).predict(tested)
    for window in range(WINDOWS):
        scaler = StandardScaler().fit(training[:, window])
        scaled = scaler.transform(training[:, window])
        residuals = scaled - np.stack([scaled[codes == code].mean(axis=0) for code in range(CLASSES)])[codes]
        share = LedoitWolf(assume_centered=True).fit(residuals).shrinkage_
        assert shrinkage(residuals[None])[0][0] == pytest.approx(share)
        # Its covariance is pooled by its priors, so they stay as they are there and leave the decision only.
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share).fit(scaled, codes)
        for other in range(WINDOWS):
            decision = model.decision_function(scaler.transform(tested[:, other])) - np.log(model.priors_)
            assert np.array_equal(predicted[:, other, window], decision.argmax(axis=1))


def test_windows_without_activity_choose_the_first_class():
    training = np.zeros((20, 2, 3))
    found = fit_discriminants(training, np.arange(20) % 2)
    assert np.isfinite(found.weights).all()
    assert (found.predict(np.ones((5, 2, 3))) == 0).all()


def test_classes_without_spread_are_told_apart():
    codes = np.arange(6) % 3
    training = np.eye(3)[codes][:, None]
    assert np.array_equal(fit_discriminants(training, codes).predict(training)[:, 0, 0], codes)


def test_a_choice_among_some_classes():
    rng = np.random.default_rng(1)
    training, codes = trials(rng, 60, 8)
    assert set(fit_discriminants(training, codes).among(np.array([1, 3])).predict(training).ravel().tolist()) == {0, 1}
