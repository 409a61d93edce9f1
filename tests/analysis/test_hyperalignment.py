import numpy as np
import pytest
from scipy.stats import ortho_group

from neuromvm.analysis.baselines.hyperalignment import Hyperaligned, hyperalign
from neuromvm.analysis.readouts.representations import Inputs
from tests.analysis.simulation import simulate


def turned(animals=4, classes=6, dims=3, noise=0.0, seed=0):
    """Return class means of animals that are one another's rotations, with shifts, and the means before that."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((classes, dims))
    rotations = ortho_group.rvs(dims, size=animals, random_state=seed)
    found = {
        f"rat{number}": means @ rotation + rng.standard_normal(dims) + noise * rng.standard_normal(means.shape)
        for number, rotation in enumerate(rotations)
    }
    return found, means


def test_rotations_are_recovered_exactly_without_noise():
    means, truth = turned()
    aligned = [rigid(means[name]) for name, rigid in hyperalign(means).items()]
    for one in aligned[1:]:
        np.testing.assert_allclose(one, aligned[0], atol=1e-10)
    gram = [(one - one.mean(axis=0)) @ (one - one.mean(axis=0)).T for one in (aligned[0], truth)]
    np.testing.assert_allclose(*gram, atol=1e-10)  # rotated, not bent


def test_rotations_are_recovered_where_animals_lack_classes():
    means, _ = turned()
    full = {name: one.copy() for name, one in means.items()}
    means["rat1"][0] = np.nan
    means["rat2"][[1, 2]] = np.nan
    aligned = [rigid(full[name]) for name, rigid in hyperalign(means).items()]
    for one in aligned[1:]:
        np.testing.assert_allclose(one, aligned[0], atol=1e-10)


def test_directions_in_which_class_means_do_not_differ_are_left_out():
    means, _ = turned(classes=3, dims=5)
    aligned = [rigid(means[name]) for name, rigid in hyperalign(means).items()]
    assert {one.shape for one in aligned} == {(3, 2)}
    np.testing.assert_allclose(aligned[1], aligned[0], atol=1e-10)


def test_an_animal_without_two_common_classes_is_left_out():
    means, _ = turned()
    means["rat3"][1:] = np.nan
    assert set(hyperalign(means)) == {"rat0", "rat1", "rat2"}


def distance(means, maps):
    aligned = np.stack([maps[name](one) for name, one in means.items()])
    return np.square(aligned - aligned.mean(axis=0)).sum()


def test_more_rounds_bring_animals_nearer_and_nothing_near_it_is_better():
    means, _ = turned(noise=0.5)
    before, after = (distance(means, hyperalign(means, rounds=rounds)) for rounds in (1, 100))
    assert after < before
    maps = hyperalign(means)
    for seed in range(5):
        for name in means:
            noise = 0.05 * np.random.default_rng(seed).standard_normal((3, 3))
            left, _, right = np.linalg.svd(maps[name].rotation + noise)
            moved = {**maps, name: maps[name]._replace(rotation=left @ right)}
            assert distance(means, moved) > after * (1 - 1e-4)


def test_order_of_animals_is_irrelevant():
    means, _ = turned(noise=0.5)
    there, back = hyperalign(means), hyperalign(dict(reversed(means.items())))
    for name, one in means.items():
        np.testing.assert_allclose(there[name](one), back[name](one), atol=1e-8)


def test_all_animals_lie_in_one_space():
    study = simulate()
    one = Hyperaligned(Inputs(study.samples, study.splits), components=30, inverse_penalty=1)
    assert one.shared
    shapes = {one.seen(0, "rat0", name).shape[-1] for name in study.samples.children}
    assert shapes == {3}  # four classes: fewer components than asked
    assert one.seen(1, "rat1", "rat0") == pytest.approx(one.seen(1, "rat0", "rat0"))
