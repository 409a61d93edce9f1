import itertools

import numpy as np
import pytest
import xarray as xr
from scipy.stats import chisquare

from neuromvm.analysis.consistency.class_means import Side, class_means, layout_of, permute_tested
from neuromvm.analysis.readouts.representations import Latents
from neuromvm.data.splits import make_splits
from neuromvm.specs import SplitSpec
from tests.analysis.simulation import shared_latents, simulate, study_of


def labelled(labels):
    return xr.Dataset({"label": (("trial", "window"), np.array(labels, dtype=np.int16))})


@pytest.fixture(scope="module")
def study():
    plain = simulate(repeats=(10, 12, 14), windows=2)
    return study_of(plain.samples, plain.splits, {"ideal": shared_latents(plain, seeds=2)})


@pytest.mark.parametrize("codes", [[[0, 1], [2, 3]] * 4, [[0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, -1]] * 2])
def test_products_are_means_over_pairs_of_different_trials(codes):
    """Windows of a trial that are conditions of their own, and labels that change within a trial."""
    codes, rng = np.array(codes), np.random.default_rng(0)
    values = rng.standard_normal((*codes.shape, 5))
    side = Side(values, codes, 4)
    carried = permute_tested("rat0", labelled(codes), np.ones(len(codes), dtype=bool), [3])[0]
    for draw in (None, carried):
        moved = values if draw is None else values.reshape(-1, 5)[draw.samples()].reshape(values.shape)
        means = side.means(draw)
        np.testing.assert_allclose(means, [moved[codes == condition].mean(axis=0) for condition in range(4)])
        found = side.apart(means, draw)
        for one, other in itertools.product(range(4), repeat=2):
            pairs = [
                moved[tuple(first)] @ moved[tuple(second)]
                for first in np.argwhere(codes == one)
                for second in np.argwhere(codes == other)
                if first[0] != second[0]
            ]
            assert found[one, other] == pytest.approx(np.mean(pairs))


def test_products_of_different_trials_do_not_hold_the_noise():
    """Few trials, noise that the windows of a trial share: the mean is the product of the true means."""
    rng, codes = np.random.default_rng(1), np.array([[0, 1], [2, 3]] * 2)
    means = rng.standard_normal((4, 3))
    found, plain = [], []
    for _ in range(3000):
        side = Side(means[codes] + rng.standard_normal((4, 1, 3)) + rng.standard_normal((4, 2, 3)), codes, 4)
        found.append(side.apart(side.means()))
        plain.append(side.means() @ side.means().T)
    error = np.std(found, axis=0) / np.sqrt(3000)
    assert (np.abs(np.mean(found, axis=0) - means @ means.T) < 4 * error).all()
    assert np.mean(plain, axis=0)[0, 1] - means[0] @ means[1] == pytest.approx(3 / 2, rel=0.2)  # the noise that windows share


def test_one_trial_has_no_pair():
    side = Side(np.ones((3, 1, 2)), np.array([[0], [0], [1]]), 2)
    assert np.isnan(side.apart(side.means())[1, 1])
    assert np.isfinite(side.apart(side.means())[[0, 0, 1], [0, 1, 0]]).all()


def test_test_trials_take_the_place_of_one_another_with_equal_chance():
    node, tested = labelled([[0], [1], [0], [1], [-1], [0]]), np.array([True, True, True, False, True, False])
    orders = np.array([one.trial for one in permute_tested("rat0", node, tested, range(1, 1201))])
    assert (orders[:, 3] == 3).all()  # a trial without label, the fourth test trial, keeps its own
    counts = [(orders[:, :3] == order).all(axis=1).sum() for order in itertools.permutations(range(3))]
    assert sum(counts) == 1200
    assert chisquare(counts).pvalue > 1e-3
    assert permute_tested("rat0", node, tested, [0])[0].trial.tolist() == [0, 1, 2, 3]


def test_windows_are_shifted_only_where_labels_differ_between_them():
    tested = np.ones(6, dtype=bool)
    places = permute_tested("rat0", labelled([[0, 1, 2]] * 6), tested, range(1, 50))
    assert set(np.concatenate([one.shift for one in places]).tolist()) == {0, 1, 2}
    odors = permute_tested("rat0", labelled([[0, 0, 0], [1, 1, 1]] * 3), tested, range(50))
    assert not np.any([one.shift for one in odors])
    assert not permute_tested("rat0", labelled([[0, 1, 2]] * 6), tested, [0])[0].shift.any()


def test_a_trial_that_splits_share_takes_about_the_same_label_in_all():
    codes = np.repeat(np.arange(4), 30)[:, None]
    parts = [np.arange(120) % 3 > 0, np.arange(120) % 3 < 2]
    alike = []
    for draw in range(1, 40):
        taken = np.full((2, 120), -1)
        for split, tested in enumerate(parts):
            number = np.flatnonzero(tested)
            taken[split, number[permute_tested("rat0", labelled(codes), tested, [draw])[0].trial]] = codes[number, 0]
        both = (taken >= 0).all(axis=0)
        alike.append(np.mean(taken[0, both] == taken[1, both]))
    assert np.mean(alike) > 0.8


def test_null_draws_leave_training_trials_as_they_are(study):
    tree, layout = study.latents("ideal"), layout_of(study.samples, study.splits)
    latents = Latents(tree, study.splits, inverse_penalty=1.0)
    found = class_means(latents, 0, "rat0", study.samples, study.splits, layout, 2)
    values, labels = latents.seen(0, "rat0", "rat0"), study.samples["rat0"]["label"].values
    part = study.splits["rat0"]["part"].values[0]
    for draw in range(3):
        moved, test = values.copy(), np.flatnonzero(part == 3)
        moved[test] = values[test][permute_tested("rat0", study.samples["rat0"].to_dataset(), part == 3, [draw])[0].trial]
        means = [
            [moved[(labels[:, 0] == label) & (part == side), window].mean(axis=0) for label in range(4) for window in range(2)]
            for side in (1, 3)
        ]
        np.testing.assert_allclose(found.products.fitted[0], np.array(means[0]) @ np.array(means[0]).T, atol=1e-5)
        np.testing.assert_allclose(found.products.cross[draw], np.array(means[1]) @ np.array(means[0]).T, atol=1e-5)
        if draw == 0:
            np.testing.assert_allclose(found.points[1], means[1], atol=1e-6)


def test_maps_learn_nothing_from_the_trials_they_are_scored_on(study):
    """Other latents on test trials change the score but not the fitted class means."""
    tree = study.latents("ideal").copy(deep=True)
    layout = layout_of(study.samples, study.splits)
    test = study.splits["rat0"]["part"].values[0] == 3
    before = class_means(Latents(tree, study.splits, inverse_penalty=1.0), 0, "rat0", study.samples, study.splits, layout, 0)
    tree["rat0"]["latent_mean"].values[:, test] += 9
    after = class_means(Latents(tree, study.splits, inverse_penalty=1.0), 0, "rat0", study.samples, study.splits, layout, 0)
    np.testing.assert_array_equal(before.products.fitted, after.products.fitted)
    np.testing.assert_array_equal(before.fitted_apart, after.fitted_apart)
    assert (before.products.held != after.products.held).all()


def test_labels_with_one_test_trial_are_known():
    plain = simulate(repeats=(4, 4, 4))
    assert layout_of(plain.samples, plain.splits).repeated
    assert not layout_of(plain.samples, make_splits(plain.samples, SplitSpec(kind="kfold", folds=4))).repeated
