import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.ndimage import label as label_runs
from scipy.stats import kstest

from neuromvm.analysis.statistics.clusters import cluster_mass, cluster_p_of, max_statistic

POINTS = 30


def smooth_noise(rng, draws, points=POINTS, width=2.0):
    """Return draws of a stationary process that is smooth in time, of variance 1."""
    noise = gaussian_filter1d(rng.standard_normal((draws, points + 40)), width, axis=1)[:, 20:-20]
    return noise * np.sqrt(2 * width * np.sqrt(np.pi))


def flood(above):
    """Return sets of points that touch along an axis, by walking from neighbour to neighbour."""
    left, found = set(zip(*np.nonzero(above), strict=True)), []
    while left:
        todo, cluster = [left.pop()], set()
        while todo:
            point = todo.pop()
            cluster.add(point)
            for axis in range(len(point)):
                for step in (-1, 1):
                    near = tuple(place + step * (axis == number) for number, place in enumerate(point))
                    if near in left:
                        left.remove(near)
                        todo.append(near)
        found.append(cluster)
    return found


@pytest.mark.parametrize("shape", [(25,), (7, 9)])
def test_clusters_are_those_of_brute_force(shape):
    rng = np.random.default_rng(3)
    draws = rng.standard_normal((40, *shape))
    draws[0].flat[: draws[0].size // 3] += 1.5
    found = cluster_mass(draws[0], draws[1:], level=0.2)
    threshold = np.quantile(draws, 0.8, axis=0)
    masses = []
    for draw in draws:
        over_mean = draw - draws.mean(axis=0)
        masses.append({frozenset(one): sum(over_mean[point] for point in one) for one in flood(draw > threshold)})
    heaviest = [max(one.values(), default=0) for one in masses]
    labelled = {frozenset(zip(*np.nonzero(found.label == number), strict=True)) for number in range(1, len(found.p) + 1)}
    assert labelled == set(masses[0])
    assert len(labelled) > 1
    for points, mass in masses[0].items():
        expected = sum(other >= mass for other in heaviest) / len(draws)
        assert found.p[found.label[next(iter(points))] - 1] == pytest.approx(expected)
        assert all(found.p_of_points[point] == pytest.approx(expected) for point in points)
    assert (found.p_of_points[found.label == 0] == 1).all()


def test_points_that_touch_at_a_corner_are_apart():
    observed = np.eye(4) * 9
    found = cluster_mass(observed, np.random.default_rng(0).standard_normal((40, 4, 4)))
    assert len(set(found.label[np.arange(4), np.arange(4)].tolist())) == 4


def test_max_statistic_is_that_of_brute_force():
    rng = np.random.default_rng(0)
    observed, null = rng.standard_normal((4, 5)), rng.standard_normal((30, 4, 5))
    expected = [[(1 + sum(draw.max() >= value for draw in null)) / 31 for value in row] for row in observed]
    np.testing.assert_allclose(max_statistic(observed, null), expected)


def test_equal_values_reach_each_other():
    flat = np.full(5, 0.25)
    null = np.full((20, 5), 0.25 + 1e-12)
    assert (max_statistic(flat, null) == 1).all()
    assert len(cluster_mass(flat, null).p) == 0


@pytest.mark.parametrize("draws", [39, 199])
def test_on_smooth_noise_errors_are_as_frequent_as_promised(draws):
    rng, runs = np.random.default_rng(draws), 600
    single, cluster, uncorrected = [], [], []
    for _ in range(runs):
        values = smooth_noise(rng, draws + 1)
        single.append(max_statistic(values[0], values[1:]).min())
        cluster.append(cluster_mass(values[0], values[1:]).p.min(initial=1))
        uncorrected.append((values[0] > np.quantile(values[1:], 0.95, axis=0)).any())
    single, cluster = np.array(single), np.array(cluster)
    assert kstest(single - rng.random(runs) / (draws + 1), "uniform").pvalue > 1e-3  # discrete, so spread over its steps
    for level in (0.05, 0.1, 0.2):
        error = 4 * np.sqrt(level * (1 - level) / runs)
        assert abs((single <= level + 1e-9).mean() - level) < error
        assert abs((cluster <= level + 1e-9).mean() - level) < error
    assert np.mean(uncorrected) > 0.4  # what is corrected


@pytest.mark.parametrize("level", [0.01, 0.2])
def test_threshold_of_points_does_not_change_how_often_noise_makes_a_cluster(level):
    rng, runs = np.random.default_rng(7), 400
    p = []
    for _ in range(runs):
        values = smooth_noise(rng, 100)
        p.append(cluster_mass(values[0], values[1:], level).p.min(initial=1))
    assert (np.array(p) <= 0.05 + 1e-9).mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / runs)


def test_errors_on_smooth_matrices():
    rng, runs = np.random.default_rng(1), 300
    p = []
    for _ in range(runs):
        values = smooth_noise(rng, 60 * 10, 12).reshape(60, 10, 12)
        p.append(cluster_mass(values[0], values[1:]).p.min(initial=1))
    assert abs((np.array(p) <= 0.1 + 1e-9).mean() - 0.1) < 4 * np.sqrt(0.09 / runs)


def test_a_planted_bump_is_found_where_it_is():
    rng, runs = np.random.default_rng(0), 60
    bump = (np.abs(np.arange(POINTS) - 20) <= 4).astype(float)
    found_cluster, found_single, inside = 0, 0, []
    for _ in range(runs):
        values = smooth_noise(rng, 200, width=1.0)
        values[0] += 2.5 * bump
        clusters = cluster_mass(values[0], values[1:])
        significant = clusters.p_of_points <= 0.05
        found_cluster += significant.any()
        found_single += (max_statistic(values[0], values[1:]) <= 0.05).any()
        inside.append(bump[significant].mean() if significant.any() else np.nan)
    assert found_cluster / runs > 0.9
    assert found_cluster >= found_single  # broad and weak: what clusters are for
    assert np.nanmean(inside) > 0.9


def test_other_curves_are_judged_as_the_observed_one():
    rng = np.random.default_rng(5)
    smooth = gaussian_filter1d(rng.standard_normal((61, 40)), 2, axis=1)
    observed, null = smooth[0] + 0.5 * (np.arange(40) > 25), smooth[1:]
    curves = observed + gaussian_filter1d(rng.standard_normal((5, 40)), 2, axis=1)
    found = cluster_p_of(np.concatenate([observed[None], curves]), observed, null)
    np.testing.assert_allclose(found[0], cluster_mass(observed, null).p_of_points)
    draws = np.concatenate([observed[None], null])
    threshold, mean = np.quantile(draws, 0.95, axis=0), draws.mean(axis=0)

    def masses(curve):
        label = label_runs(curve > threshold)[0]
        return np.array([(curve - mean)[label == one].sum() if one else 0.0 for one in label])

    heaviest = np.array([masses(one).max() for one in null])
    for curve, p in zip(curves, found[1:], strict=True):
        expected = [(1 + (heaviest >= mass - 1e-6).sum()) / 61 if mass else 1.0 for mass in masses(curve)]
        np.testing.assert_allclose(p, expected)
