import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from neuromvm.analysis.consistency import similarity
from neuromvm.analysis.consistency.similarity import Products, shape_distance
from neuromvm.errors import ShapeError


def animal(rng, conditions=8, features=5):
    return rng.standard_normal((conditions, features)), rng.standard_normal((conditions, features))


@pytest.mark.parametrize(("features", "others"), [(3, 20), (20, 3), (6, 6)])
def test_the_linear_map_is_the_ridge_regression_of_sklearn(features, others):
    rng = np.random.default_rng(0)
    source, target = animal(rng, features=features), animal(rng, features=others)
    found = similarity.linear_map_r2([Products.of(*source), Products.of(*target)], 0.5)[0, 1]
    # Each side about its own mean.
    source, target = ([side - side.mean(axis=0) for side in one] for one in (source, target))
    regression = Ridge(alpha=0.5 * np.sum(source[0] ** 2) / 8, fit_intercept=False).fit(source[0], target[0])
    left = np.sum((target[1] - regression.predict(source[1])) ** 2)
    assert found == pytest.approx(1 - left / np.sum(target[1] ** 2))


def test_conditions_that_are_left_out_are_not_fitted():
    rng = np.random.default_rng(1)
    source, target = rng.standard_normal((8, 5)), rng.standard_normal((8, 4))
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    found = similarity.new_conditions_r2([source @ source.T, target @ target.T], 0.5, groups)[0, 1]
    error = total = 0.0
    for group in range(4):
        left = groups == group
        size = np.sum((source[~left] - source[~left].mean(axis=0)) ** 2) / 6
        predicted = Ridge(alpha=0.5 * size).fit(source[~left], target[~left]).predict(source[left])
        error += np.sum((target[left] - predicted) ** 2)
        total += np.sum((target[left] - target[~left].mean(axis=0)) ** 2)
    assert found == pytest.approx(1 - error / total)


def test_an_offset_between_the_sides_changes_no_measure():
    """Latents of training trials may lie elsewhere than those of test trials, in all animals alike: that is no code."""
    rng = np.random.default_rng(8)
    animals = [animal(rng) for _ in range(3)]
    away = 30 * rng.standard_normal(5)
    moved = [(fitted, held + away) for fitted, held in animals]
    before, after = ([Products.of(*one) for one in each] for each in (animals, moved))
    np.testing.assert_allclose(similarity.linear_map_r2(after, 1.0), similarity.linear_map_r2(before, 1.0))
    groups = np.arange(8)
    new = [similarity.new_conditions_r2([one.held for one in each], 1.0, groups) for each in (before, after)]
    np.testing.assert_allclose(new[0], new[1])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(similarity.dissimilarities(one.cross), similarity.dissimilarities(other.cross), atol=1e-8)
        np.testing.assert_allclose(similarity.debiased(one.held), similarity.debiased(other.held), atol=1e-8)
        assert similarity.pattern_reliability(one) == pytest.approx(similarity.pattern_reliability(other))


def test_debiased_cka_is_that_of_the_direct_formula():
    """Song et al. 2012, eq. 5, term by term."""
    rng = np.random.default_rng(2)
    points = rng.standard_normal((7, 3)), rng.standard_normal((7, 30))

    def hsic(first, second):
        n, one = len(first), np.ones(len(first))
        first, second = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
        middle = (one @ first @ one) * (one @ second @ one) / ((n - 1) * (n - 2))
        return (np.trace(first @ second) + middle - 2 / (n - 2) * one @ first @ second @ one) / (n * (n - 3))

    first, second = (one @ one.T for one in points)
    expected = hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))
    kernels = [similarity.debiased(one) for one in (first, second)]
    assert similarity.cosines(kernels)[0, 1] == pytest.approx(expected)
    moved = points[1] + rng.standard_normal(30)
    assert similarity.cosines([kernels[0], similarity.debiased(moved @ moved.T)])[0, 1] == pytest.approx(expected)
    with pytest.raises(ShapeError, match="at least 4"):
        similarity.debiased(np.eye(3))


def test_debiased_cka_of_noise_is_zero_in_any_dimension():
    rng = np.random.default_rng(3)
    for features in (3, 100):
        points = [rng.standard_normal((2000, 8, features)) for _ in range(2)]
        found = similarity.cosines([similarity.debiased(one @ one.swapaxes(1, 2)) for one in points])[:, 0, 1]
        assert abs(found.mean()) < 4 * found.std() / np.sqrt(2000)
        centred = [one - one.mean(axis=1, keepdims=True) for one in points]
        products = [one @ one.swapaxes(1, 2) for one in centred]
        plain = similarity.cosines([one.reshape(2000, -1) for one in products])[:, 0, 1]
        assert plain.mean() > (0.3 if features == 3 else 0.9)  # what it is debiased of


def test_dissimilarities_are_unbiased_where_conditions_have_different_numbers_of_trials():
    rng = np.random.default_rng(4)
    means, trials = rng.standard_normal((4, 6)), np.array([2, 5, 20, 50])
    sides = [means + rng.standard_normal((4000, 4, 6)) / np.sqrt(trials)[:, None] for _ in range(2)]
    found = similarity.dissimilarities(sides[1] @ sides[0].swapaxes(1, 2))
    expected = scipy.spatial.distance.pdist(means, "sqeuclidean")
    assert (np.abs(found.mean(axis=0) - expected) < 4 * found.std(axis=0) / np.sqrt(4000)).all()
    naive = np.mean([scipy.spatial.distance.pdist(one, "sqeuclidean") for one in sides[0]], axis=0)
    assert naive[0] - expected[0] == pytest.approx(6 * (1 / 2 + 1 / 5), rel=0.2)  # the two rarest seem far apart


def test_r2_in_sample_rises_with_dimension_on_noise():
    """That is why nothing is scored where it was fitted."""
    rng = np.random.default_rng(5)
    found = [
        np.mean([similarity.in_sample_r2(*(rng.standard_normal((40, features)) for _ in range(2))) for _ in range(20)])
        for features in (3, 16, 32, 64)
    ]
    # By chance as much is explained as directions there are, of n - 1.
    np.testing.assert_allclose(found, [3 / 39, 16 / 39, 32 / 39, 1], atol=0.02)


def test_reliability_is_the_correlation_of_patterns():
    rng = np.random.default_rng(6)
    fitted = rng.standard_normal((8, 5))
    held = fitted + 0.5 * rng.standard_normal((8, 5)) + 3
    centred = [one - one.mean(axis=0) for one in (fitted, held)]
    expected = np.sum(centred[0] * centred[1]) / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1])
    assert similarity.pattern_reliability(Products.of(fitted, held)) == pytest.approx(expected)


def test_shape_distance_is_that_of_scipy():
    rng = np.random.default_rng(7)
    first, second = rng.standard_normal((2, 9, 4))
    angle = shape_distance(first, second)
    disparity = scipy.spatial.procrustes(first, second)[2]
    assert np.sin(angle) ** 2 == pytest.approx(disparity)
    units = [(one - one.mean(axis=0)) / np.linalg.norm(one - one.mean(axis=0)) for one in (first, second)]
    rotation, cosine = scipy.linalg.orthogonal_procrustes(units[1], units[0])
    assert np.cos(angle) == pytest.approx(cosine)
    assert 2 * np.sin(angle / 2) == pytest.approx(np.linalg.norm(units[0] - units[1] @ rotation))


shapes = st.tuples(st.integers(0, 10_000), st.tuples(*[st.integers(1, 9)] * 3), st.integers(3, 7))


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_shape_distance_is_a_metric(drawn):
    seed, features, conditions = drawn
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((conditions, 9))
    # Near one another, too, where a triangle is hardest to close.
    one, two, three = (
        base[:, :count] + rng.choice([1e-3, 0.3, 3]) * rng.standard_normal((conditions, count)) for count in features
    )
    there, back = shape_distance(one, two), shape_distance(two, one)
    assert there == pytest.approx(back, abs=1e-9)
    assert 0 <= there <= np.pi / 2 + 1e-9
    assert there <= shape_distance(one, three) + shape_distance(three, two) + 1e-9
    assert shape_distance(one, one) == pytest.approx(0, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.integers(0, 4))
def test_shape_distance_does_not_see_rotation_size_place_or_empty_dimensions(seed, size, empty):
    rng = np.random.default_rng(seed)
    one, two = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    rotation = scipy.stats.ortho_group.rvs(4 + empty, random_state=rng)
    turned = size * np.pad(one, ((0, 0), (0, empty))) @ rotation + rng.standard_normal(4 + empty)
    assert shape_distance(one, turned) == pytest.approx(0, abs=1e-6)
    assert shape_distance(turned, two) == pytest.approx(shape_distance(one, two), abs=1e-9)


def test_a_point_has_no_shape():
    with pytest.raises(ShapeError, match="one point"):
        shape_distance(np.ones((4, 2)), np.eye(4))
    with pytest.raises(ShapeError, match="same conditions"):
        shape_distance(np.ones((4, 2)), np.eye(3))
