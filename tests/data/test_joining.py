"""A new animal starts at ridge regressions on the latents of others in the same conditions, which scikit-learn finds as well."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuromvm.data.closed_form_start import EncodedAnimal, fit_closed_form_start, ridge_of
from neuromvm.errors import SplitError

LATENT, CONDITIONS = 4, 3


def animal(random: np.random.Generator, counts: tuple[int, ...]) -> EncodedAnimal:
    match = np.repeat(np.arange(CONDITIONS), counts)
    mean = random.normal(size=(CONDITIONS, LATENT))[match] + random.normal(size=(len(match), LATENT))
    return EncodedAnimal(mean, mean, np.log(random.uniform(0.3, 2, size=mean.shape)), match)


def problem(seed: int, features: int, counts=(5, 3, 4)) -> tuple[np.ndarray, np.ndarray, list[EncodedAnimal]]:
    random = np.random.default_rng(seed)
    match = random.permutation(np.repeat(np.arange(CONDITIONS), counts))
    values = random.normal(size=(CONDITIONS, features))[match] + random.normal(size=(len(match), features)) + 2
    # The second animal lacks a condition.
    return values.astype(np.float32), match, [animal(random, (8, 6, 7)), animal(random, (9, 0, 5))]


def aims(others: list[EncodedAnimal]) -> np.ndarray:
    each = [
        [one.code[one.match == code].mean(axis=0) for one in others if (one.match == code).any()] for code in range(CONDITIONS)
    ]
    return np.array([np.mean(one, axis=0) for one in each])


@pytest.mark.parametrize("features", [5, 40])  # fewer than samples, more than samples
def test_the_encoder_is_ridge_regression_on_condition_means_scaled_back_to_their_spread(features):
    values, match, others = problem(0, features)
    wanted = aims(others)[match]
    strength = np.linalg.eigvalsh(np.cov(values.T.astype(float), bias=True))
    assert ridge_of(values.astype(float)) == pytest.approx(np.average(strength, weights=strength))
    ridge = Ridge(alpha=len(values) * ridge_of(values.astype(float))).fit(values, wanted).predict(values)
    start = fit_closed_form_start(values, match, others)
    reached = values @ start.encoder_weight.T + start.encoder_bias
    assert reached.mean(axis=0) == pytest.approx(wanted.mean(axis=0))
    axes = np.linalg.svd(wanted - wanted.mean(axis=0), full_matrices=False)[2][: CONDITIONS - 1]
    for axis in axes:
        assert (reached @ axis).std() == pytest.approx((wanted @ axis).std())
        assert np.corrcoef(reached @ axis, ridge @ axis)[0, 1] == pytest.approx(1)
    rest = np.linalg.svd(axes)[2][CONDITIONS - 1 :]
    assert (reached - reached.mean(axis=0)) @ rest.T == pytest.approx(0, abs=1e-6)


def test_the_decoder_is_the_regression_on_endless_draws_of_matched_latents():
    values, match, others = problem(1, 6)
    start = fit_closed_form_start(values, match, others)
    # Every pair of a trial with one of another animal; posterior noise of scale s is a ridge of s^2 on the latents.
    rows, targets, weights, noise = [], [], [], []
    for value, code in zip(values, match, strict=True):
        present = [one for one in others if (one.match == code).any()]
        for one in present:
            here = one.match == code
            rows.append(one.mean[here])
            targets.append(np.tile(value, (here.sum(), 1)))
            weights.append(np.full(here.sum(), 1 / (here.sum() * len(present))))
            noise.append(np.exp(2 * one.log_scale[here]))
    latents, features, weight = np.concatenate(rows), np.concatenate(targets), np.concatenate(weights)
    spread = np.sqrt(np.average(np.concatenate(noise), axis=0, weights=weight))
    found = Ridge(alpha=weight.sum()).fit(latents / spread, features, sample_weight=weight)
    assert start.decoder_weight == pytest.approx(found.coef_ / spread, abs=1e-6)
    assert start.decoder_bias == pytest.approx(found.intercept_, abs=1e-6)
    left = features - found.predict(latents / spread)
    variance = np.average(np.square(left), axis=0, weights=weight) + np.square(start.decoder_weight * spread).sum(axis=1)
    assert start.noise == pytest.approx(np.sqrt(variance), abs=1e-6)


def test_the_unit_of_features_does_not_matter_and_other_conditions_do_not_count():
    values, match, others = problem(2, 30)
    start, scaled = fit_closed_form_start(values, match, others), fit_closed_form_start(7 * values, match, others)
    assert 7 * scaled.encoder_weight == pytest.approx(start.encoder_weight, rel=1e-4)
    assert scaled.decoder_weight == pytest.approx(7 * start.decoder_weight, rel=1e-4)
    strange = np.concatenate([values, 100 * values]), np.concatenate([match, np.full(len(match), -1)])
    for more in (strange, (strange[0], np.where(strange[1] < 0, CONDITIONS, strange[1]))):
        assert fit_closed_form_start(*more, others).encoder_weight == pytest.approx(start.encoder_weight)


def test_it_finds_the_way_into_the_space_of_the_others():
    random = np.random.default_rng(3)
    means = random.normal(size=(CONDITIONS, LATENT))
    match = np.repeat(np.arange(CONDITIONS), 40)
    latent = means[match] + 0.1 * random.normal(size=(120, LATENT))
    features = means[match] @ random.normal(size=(LATENT, 50)) + 0.5 * random.normal(size=(120, 50))
    start = fit_closed_form_start(features[::2], match[::2], [EncodedAnimal(latent, latent, np.full(latent.shape, -3.0), match)])
    reached = features[1::2] @ start.encoder_weight.T + start.encoder_bias
    distance = np.linalg.norm(reached[:, None] - means, axis=2)
    assert (distance.argmin(axis=1) == match[1::2]).mean() > 0.95
    left = features[1::2] - latent[1::2] @ start.decoder_weight.T - start.decoder_bias
    assert left.var() < 1.2 * 0.5**2 + 0.05
    assert start.noise.mean() == pytest.approx(0.5, abs=0.1)


def test_nothing_in_common_and_nothing_that_varies():
    values, match, others = problem(4, 10)
    with pytest.raises(SplitError, match="common conditions"):
        fit_closed_form_start(values, match + CONDITIONS, others)
    one = fit_closed_form_start(values, np.zeros_like(match), others)
    assert one.encoder_weight == pytest.approx(0)
    assert one.encoder_bias == pytest.approx(aims(others)[0])
    silent = fit_closed_form_start(np.zeros_like(values), match, others)
    assert all(np.isfinite(part).all() for part in silent)
    assert silent.encoder_weight == pytest.approx(0)
