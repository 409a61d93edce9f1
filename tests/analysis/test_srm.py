import itertools

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal

from neuromvm.analysis.baselines.srm import shared_response
from neuromvm.analysis.readouts.representations import Training


def simulated(noise=0.3, lacking=True, seed=0, trials=(4, 3, 5)):
    """Return training sides of three animals of 5, 7 and 6 features, and the truth; the second one may lack condition 2."""
    rng = np.random.default_rng(seed)
    response = rng.standard_normal((6, 2)) @ np.diag([2.0, 1.0])
    training, bases = {}, {}
    for number, (features, repeats) in enumerate(zip((5, 7, 6), trials, strict=True)):
        match = np.repeat(np.arange(6), repeats).astype(np.int16)
        match = match[match != 2] if lacking and number == 1 else match
        basis = np.linalg.qr(rng.standard_normal((features, 2)))[0]
        values = response[match] @ basis.T + rng.standard_normal(features)
        name = f"rat{number}"
        training[name] = Training(values + noise * (number + 1) * rng.standard_normal(values.shape), match)
        bases[name] = basis
    return training, response, bases


def log_likelihood(model, training):
    """Return the log-likelihood from the covariance of all trials of a condition, written out."""
    total = 0.0
    for code in range(6):
        trials, means, maps, noise = [], [], [], []
        for name, one in training.items():
            for trial in one.features[one.match == code]:
                trials.append(trial)
                means.append(model.maps[name].center)
                maps.append(model.maps[name].axes)
                noise.append(np.full(len(trial), model.noise[name]))
        stacked = np.concatenate(maps)
        covariance = stacked @ model.covariance @ stacked.T + np.diag(np.concatenate(noise))
        total += multivariate_normal.logpdf(np.concatenate(trials), np.concatenate(means), covariance)
    return total


def test_the_likelihood_is_that_of_the_model_written_out_and_never_falls():
    training, _, _ = simulated()
    fitted = [shared_response(training, 2, steps=steps) for steps in (1, 2, 3)]
    for before, after in itertools.pairwise(fitted):
        # a step notes the likelihood of the parameters that it began with
        assert after.log_likelihood[-1] == pytest.approx(log_likelihood(before, training), abs=1e-6)
    whole = shared_response(training, 2).log_likelihood
    assert (np.diff(whole) > -1e-9).all()
    assert len(whole) < 100


def test_no_neighbour_of_the_fit_is_more_likely():
    training, _, _ = simulated(trials=(3, 2, 3))
    model = shared_response(training, 2, steps=200)
    best = log_likelihood(model, training)
    rng = np.random.default_rng(0)
    for name in training:
        for size in (0.03, 0.1):
            one = model.maps[name]
            basis = np.linalg.qr(one.axes + size * rng.standard_normal(one.axes.shape))[0]
            basis *= np.sign((basis * one.axes).sum(axis=0))
            maps = {**model.maps, name: one._replace(axes=basis)}
            assert log_likelihood(model._replace(maps=maps), training) < best
            assert (
                log_likelihood(model._replace(noise={**model.noise, name: model.noise[name] * (1 + size)}), training)
                < best + 0.05
            )


def test_the_shared_response_is_recovered():
    training, response, bases = simulated(noise=0.01)
    model = shared_response(training, 2)
    turn = np.linalg.lstsq(model.response, response - response.mean(axis=0), rcond=None)[0]
    centred = model.response - model.response.mean(axis=0)
    np.testing.assert_allclose(centred @ turn, response - response.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(turn.T @ turn, np.eye(2), atol=0.05)  # a rotation: responses keep their size
    for place, (name, basis) in enumerate(bases.items()):
        assert subspace_angles(model.maps[name].axes, basis).max() < 0.1
        np.testing.assert_allclose(model.maps[name].axes.T @ model.maps[name].axes, np.eye(2), atol=1e-10)
        assert np.sqrt(model.noise[name]) == pytest.approx(0.01 * (place + 1), rel=0.15)


def test_the_same_trial_lies_at_the_same_place_for_all_animals():
    training, _, _ = simulated(noise=1e-3)
    model = shared_response(training, 2)
    seen = [model.maps[name](one.features[one.match == 1]).mean(axis=0) for name, one in training.items()]
    np.testing.assert_allclose(seen[1:], [seen[0]] * 2, atol=0.01)


def test_dimensions_are_as_many_as_class_means_span():
    training, _, _ = simulated()
    assert shared_response(training, 50).response.shape == (6, 4)  # five conditions of rat1
    assert shared_response({"rat0": training["rat0"]}, 2) is None
    alone = {name: Training(one.features[one.match == 1], one.match[one.match == 1]) for name, one in training.items()}
    assert shared_response(alone, 2) is None


def test_order_of_animals_is_irrelevant():
    training, _, _ = simulated()
    turned = shared_response(dict(reversed(training.items())), 2)
    model = shared_response(training, 2)
    for name, one in model.maps.items():
        np.testing.assert_allclose(
            np.abs(one(training[name].features)), np.abs(turned.maps[name](training[name].features)), atol=1e-6
        )
